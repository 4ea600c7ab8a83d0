//! The terminal: enters and leaves raw mode and the alternate screen, also when a thread panics, and reads
//! keys until the terminal closes.

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

/// The most events that are read between two frames.
const MAX_EVENTS: usize = 64;

/// Whether the screen has the terminal.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Enters raw mode and the alternate screen. A panic in any thread leaves them before its message is printed.
///
/// # Errors
/// Stdout is no terminal, or it can't be set up.
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
    ENTERED.store(true, Ordering::Release);
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    Terminal::new(CrosstermBackend::new(io::stdout()))
}

/// Enters them again, after another program has had the terminal.
///
/// # Errors
/// Those of [`enter`].
pub fn enter_again() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    // Else crossterm takes the terminal to be raw still.
    terminal::disable_raw_mode()?;
    let terminal = enter()?;
    // Terminal::clear would ask the terminal for its cursor, and wait for the answer.
    execute!(io::stdout(), terminal::Clear(terminal::ClearType::All))?;
    Ok(terminal)
}

/// Leaves the alternate screen and raw mode, if they were entered. Errors of a closed terminal are ignored.
pub fn leave() {
    if ENTERED.swap(false, Ordering::AcqRel) {
        let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

/// Whether the screen still has the terminal: a panic may have left it.
pub fn is_entered() -> bool {
    ENTERED.load(Ordering::Acquire)
}

/// Key presses and pastes; waits at most `wait` for the first.
///
/// # Errors
/// The terminal has closed.
pub fn events(wait: Duration) -> io::Result<Vec<Event>> {
    // On a closed terminal crossterm would read end-of-file without end.
    let stdin = io::stdin();
    let mut look = [PollFd::new(&stdin, PollFlags::IN)];
    rustix::event::poll(&mut look, Some(&rustix::event::Timespec::default()))?;
    if look[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut all = vec![];
    let mut wait = wait;
    while all.len() < MAX_EVENTS && event::poll(wait)? {
        all.push(event::read()?);
        wait = Duration::from_millis(1);
    }
    Ok(all)
}
