//! Keeps alsa-lib's own messages off the terminal.

use std::cell::RefCell;
use std::rc::Rc;

use alsa::Output;

/// While it lives, what alsa-lib would write to the terminal about each device that this thread tries in vain is
/// kept; then it goes to the log.
pub(super) struct AlsaMessages(Option<Rc<RefCell<Output>>>);

impl AlsaMessages {
    /// Keeps the messages of this thread from now on.
    pub fn keep() -> Self {
        AlsaMessages(Output::local_error_handler().ok())
    }
}

impl Drop for AlsaMessages {
    fn drop(&mut self) {
        let Some(kept) = &self.0 else { return };
        for line in kept.borrow().to_string().lines() {
            tracing::debug!("alsa-lib: {line}");
        }
    }
}
