//! The signals that end a session or close its terminal.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator, low_level};

/// Flags that signals set.
pub struct Signals {
    /// SIGINT (Ctrl-C) or SIGTERM: the session ends.
    pub stop: Arc<AtomicBool>,
    /// SIGHUP: the terminal has closed. The session continues without it.
    pub hangup: Arc<AtomicBool>,
}

/// What a SIGINT or SIGTERM does.
#[derive(Debug, PartialEq)]
enum Effect {
    /// Ends the session, which closes its take.
    Stop,
    /// Nothing: the take is being closed.
    Closing,
    /// Ends the program at once. A take that is open can be read like that of a program that was killed.
    Exit,
}

/// What the nth one does, from 1.
fn effect(nth: usize) -> Effect {
    match nth {
        0 | 1 => Effect::Stop,
        2 => Effect::Closing,
        _ => Effect::Exit,
    }
}

impl Signals {
    /// Starts to watch, on a thread of its own: it works even if a session hangs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> std::io::Result<Signals> {
        let (stop, hangup) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        flag::register(SIGHUP, hangup.clone())?;
        let mut signals = iterator::Signals::new([SIGINT, SIGTERM])?;
        let stopped = stop.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for (nth, signal) in (1..).zip(signals.forever()) {
                match effect(nth) {
                    Effect::Stop => stopped.store(true, Ordering::Relaxed),
                    // The terminal may be gone.
                    Effect::Closing => {
                        let closing = "sideman: closing the take; a third time ends the program at once";
                        let _ = writeln!(std::io::stderr(), "{closing}");
                    }
                    Effect::Exit => low_level::exit(128 + signal),
                }
            }
        })?;
        Ok(Signals { stop, hangup })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_third_ctrl_c_ends_the_program_without_closing_the_take() {
        assert_eq!((1..=4).map(effect).collect::<Vec<_>>(), [Effect::Stop, Effect::Closing, Effect::Exit, Effect::Exit]);
    }
}
