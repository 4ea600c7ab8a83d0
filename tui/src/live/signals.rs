//! The signals that end a session or close its terminal.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Flags that signal handlers set.
pub struct Signals {
    /// SIGINT (Ctrl-C) or SIGTERM: the session ends. A second one ends the program at once.
    pub stop: Arc<AtomicBool>,
    /// SIGHUP: the terminal has closed. The session continues without it.
    pub hangup: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> std::io::Result<Signals> {
        let (stop, hangup) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        flag::register(SIGHUP, hangup.clone())?;
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 1, stop.clone())?;
            flag::register(signal, stop.clone())?;
        }
        Ok(Signals { stop, hangup })
    }
}
