//! Runs fuzz targets for long: `cargo run -p sideman-tests --bin fuzz -- TARGET|all N`. The development profile checks arithmetic too.

use std::process::ExitCode;
use std::time::Instant;

use peak_alloc::PeakAlloc;
use sideman_tests::fuzz;

#[global_allocator]
static ALLOC: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(which), Some(Ok(executions))) = (args.first(), args.get(1).map(|n| n.parse::<u64>())) else {
        eprintln!("usage: fuzz TARGET|all N; targets: {}", fuzz::NAMES.join(", "));
        return ExitCode::from(2);
    };
    let names = if which == "all" { &fuzz::NAMES[..] } else { &[which.as_str()] };
    // What fails is told at the end.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    for name in names {
        let start = Instant::now();
        let mut tick = |n: u64, seen: &fuzz::Seen| {
            if n % 50_000 == 49_999 {
                eprintln!("{name}: {} executions, {seen:?}", n + 1);
            }
        };
        match fuzz::run(name, executions, &mut tick) {
            Ok(seen) => {
                let (held, len) = seen.peak;
                println!(
                    "{name}: {executions} executions in {:.0} s, {} read without complaint, {} kinds of answer, at most {held} bytes held (for {len})",
                    start.elapsed().as_secs_f64(),
                    seen.fine,
                    seen.answers
                );
            }
            Err(what) => {
                eprintln!("{what}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
