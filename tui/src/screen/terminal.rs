//! The terminal: taken, given back, also by a panic of any thread, and looked at for having gone.

use std::io::{self, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste, Event};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, terminal};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::event::{PollFd, PollFlags};

use super::capture;

/// Events that are taken between two pictures at most.
const EVENTS: usize = 64;

/// The terminal is ours.
static OURS: AtomicBool = AtomicBool::new(false);

/// Takes the terminal. A panic, of whatever thread, gives it back before it says anything.
///
/// # Errors
/// It is none.
pub fn enter() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            leave();
            capture::end();
            before(info);
        }));
    });
    terminal::enable_raw_mode()?;
    OURS.store(true, Ordering::Release);
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    Terminal::new(CrosstermBackend::new(io::stdout()))
}

/// Gives it back, once. A terminal that has gone can't be told anything.
pub fn leave() {
    if OURS.swap(false, Ordering::AcqRel) {
        let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

/// The terminal is ours still: nobody has given it back since.
pub fn ours() -> bool {
    OURS.load(Ordering::Acquire)
}

/// Keys and pastes of the next `wait`; an error where the terminal has gone.
///
/// # Errors
/// It has gone.
pub fn events(wait: Duration) -> io::Result<Vec<Event>> {
    // crossterm would read the end of a terminal that has gone for ever.
    let stdin = io::stdin();
    let mut look = [PollFd::new(&stdin, PollFlags::IN)];
    rustix::event::poll(&mut look, Some(&rustix::event::Timespec::default()))?;
    if look[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut all = vec![];
    let mut wait = wait;
    while all.len() < EVENTS && event::poll(wait)? {
        all.push(event::read()?);
        wait = Duration::from_millis(1);
    }
    Ok(all)
}
