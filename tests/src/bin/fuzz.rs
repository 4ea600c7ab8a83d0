//! Runs fuzz targets: `cargo run -p sideman-tests --bin fuzz -- TARGET|all EXECUTIONS [SEED]`. The dev profile also checks for integer overflow.

use std::process::ExitCode;
use std::time::Instant;

use peak_alloc::PeakAlloc;
use sideman_tests::fuzz;

#[global_allocator]
static ALLOC: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seed = args.get(2).map_or(Ok(fuzz::SEED), |n| n.parse::<u64>());
    let (Some(which), Some(Ok(executions)), Ok(seed)) = (args.first(), args.get(1).map(|n| n.parse::<u64>()), seed) else {
        eprintln!("usage: fuzz TARGET|all EXECUTIONS [SEED]\ntargets: {}", fuzz::NAMES.join(", "));
        return ExitCode::from(2);
    };
    let names = if which == "all" { &fuzz::NAMES[..] } else { &[which.as_str()] };
    // One line for a panic; the run's error, printed last, says which input caused it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    for name in names {
        let start = Instant::now();
        let mut progress = |n: u64, stats: &fuzz::Stats| {
            if n % 50_000 == 49_999 {
                eprintln!("{name}: {} executions, {stats:?}", n + 1);
            }
        };
        match fuzz::run(name, executions, seed, &mut progress) {
            Ok(stats) => {
                let (peak, len) = stats.peak;
                println!(
                    "{name}: {executions} executions in {:.0} s, {} inputs accepted, {} outcomes, at most {peak} bytes allocated (input of {len} bytes)",
                    start.elapsed().as_secs_f64(),
                    stats.accepted,
                    stats.outcomes
                );
            }
            Err(failure) => {
                eprintln!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
