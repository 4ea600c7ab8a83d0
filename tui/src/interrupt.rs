//! Ctrl-C, SIGTERM and SIGHUP while a command makes files: nothing incomplete stays on disk, and the exit
//! status is 128 and the signal's number. For commands that run to their end; live play has signals of its own.

use std::io::Write;

use sideman_engine::atomic;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// Starts to watch. Call it before the first file is written.
///
/// # Errors
/// The system refuses.
pub fn watch() -> std::io::Result<()> {
    let ignored = ignored_signals();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0))?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _no_more_files = atomic::abandon();
            // The terminal may be gone.
            let _ = writeln!(std::io::stderr(), "sideman: stopped by a signal");
            low_level::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// The signals that were ignored when the program was started, one per bit: `nohup` ignores SIGHUP, and a
/// script's shell SIGINT for what it runs in the background. They have to stay ignored.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).unwrap_or(0)
}
