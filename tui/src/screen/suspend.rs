//! Stopping and continuing the program: while it is stopped (`kill -TSTP`, `kill -STOP`) or in the background (`bg`), the
//! terminal is the shell's. Back in the foreground the screen takes it again, whatever its modes are by then.
//!
//! Ctrl-Z on the screen is a key without an action: a slip does not stop the band.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::{flag, low_level};

use super::terminal;

/// What the signals said. The screen's thread asks between two frames, so it never stops in the middle of one.
pub struct Suspend {
    stop: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
    /// The terminal may be another program's.
    away: bool,
}

impl Suspend {
    /// Begins to watch.
    ///
    /// # Errors
    /// The system refuses.
    pub fn watch() -> io::Result<Suspend> {
        let (stop, continued) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        flag::register(SIGTSTP, stop.clone())?;
        flag::register(SIGCONT, continued.clone())?;
        Ok(Suspend { stop, continued, away: false })
    }

    /// Stops the program if SIGTSTP came: restores the terminal first. Returns when the program is continued.
    ///
    /// # Errors
    /// The system refuses.
    pub fn stop_if_asked(&mut self) -> io::Result<()> {
        if self.stop.swap(false, Ordering::AcqRel) {
            terminal::leave();
            low_level::emulate_default_handler(SIGTSTP)?;
            self.away = true;
        }
        Ok(())
    }

    /// Whether the terminal may be another program's: the program was stopped, or is in the background.
    pub fn is_away(&mut self) -> bool {
        self.away |= self.continued.swap(false, Ordering::AcqRel);
        self.away
    }

    /// The screen has the terminal again.
    pub fn returned(&mut self) {
        self.away = false;
    }
}

/// Whether the terminal is this program's: one in the background that reads it or sets its modes is stopped. A terminal
/// that is not the controlling one can always be used.
pub fn in_foreground() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |group| group == getpgrp())
}
