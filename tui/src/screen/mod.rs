//! The terminal screen of a live session (docs/reference/keys.md).
//!
//! Like OSC and MIDI it is a control surface: it sends commands through a [`Control`] and shows the snapshots
//! that come back. It runs on a thread of its own, and nothing waits for it. If the terminal closes, the
//! session continues without a screen.
//!
//! - input.rs, actions.rs: from keys (keys.rs) to commands
//! - state.rs, expected.rs, text_field.rs: what is shown
//! - draw.rs: the layout, with a file for each block
//! - terminal.rs, suspend.rs, capture.rs: the terminal, another program's turn on it, and stderr meanwhile

mod actions;
mod capture;
mod digits;
mod draw;
mod expected;
mod footer;
mod header;
mod health;
mod input;
mod keys;
mod messages;
mod pending;
mod plan;
mod position;
mod song;
mod state;
mod stems;
mod suspend;
mod terminal;
mod text_field;
mod theme;

#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crossterm::event::{Event, KeyEventKind};
use sideman_engine::live::{Origin, Request};
use sideman_io::control::Control;

use capture::Capture;
use input::KeyResult;
pub use keys::Keymap;
use state::State;
use suspend::Suspend;
use theme::Theme;

use crate::escapes;

/// Time between two frames of the screen.
const FRAME_TIME: Duration = Duration::from_millis(40);
/// How long to wait for the screen's thread to end before going on without it.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// Whether stdin and stdout are a terminal that can show the screen.
pub fn has_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && escapes::are_understood()
}

/// A running screen. Dropping it restores the terminal.
pub struct Screen {
    end: Arc<AtomicBool>,
    terminal_closed: Arc<AtomicBool>,
    ended: Receiver<()>,
    capture: Option<Capture>,
}

/// What the screen shows that is not in a snapshot.
pub struct About<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Names of the stems, in the model's order.
    pub stems: &'a [String],
}

impl Screen {
    /// Opens the screen. `hangup` is set by the signal that the terminal has closed.
    ///
    /// # Errors
    /// The terminal can't be used.
    pub fn open(control: &Control, about: &About, keys: Keymap, hangup: Arc<AtomicBool>) -> anyhow::Result<Screen> {
        let failed = |e| anyhow::anyhow!("the terminal can't show the screen ({e}); run with --headless");
        let mut state = State::new(about.model, about.stems, keys);
        let (control, origin, theme) = (control.clone(), control.origin(), Theme::of_environment());
        let mut terminal = terminal::enter().map_err(failed)?;
        let mut capture = capture::begin().map_err(|e| {
            terminal::leave();
            failed(e)
        })?;
        let lines = std::mem::replace(&mut capture.lines, channel().1);
        let (end, terminal_closed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (send_ended, ended) = channel();
        let (stop, closed) = (end.clone(), terminal_closed.clone());
        let mut suspend = Suspend::watch().map_err(failed)?;
        let mut frame = move || -> std::io::Result<()> {
            suspend.stop_if_asked()?;
            if suspend.is_away() {
                if !suspend::in_foreground() {
                    std::thread::sleep(FRAME_TIME);
                    return Ok(());
                }
                terminal = terminal::enter_again()?;
                suspend.returned();
            }
            for event in terminal::events(FRAME_TIME)? {
                let result = match event {
                    Event::Key(key) if key.kind != KeyEventKind::Release => input::press(&mut state, key),
                    Event::Paste(text) => {
                        input::paste(&mut state, &text);
                        KeyResult::default()
                    }
                    _ => KeyResult::default(),
                };
                send(&control, &mut state, result, origin);
            }
            lines.try_iter().for_each(|line| state.show_message(&line));
            state.update(control.snapshot());
            // After a panic in another thread the terminal must not be drawn on.
            if terminal::is_entered() {
                let since = state.received.elapsed().as_secs_f64();
                terminal.draw(|frame| draw::draw(frame.buffer_mut(), &state, theme, since))?;
            }
            Ok(())
        };
        std::thread::Builder::new().name("screen".into()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                if hangup.load(Ordering::Acquire) || frame().is_err() {
                    closed.store(true, Ordering::Release);
                    tracing::warn!("the terminal has closed: the session continues without a screen");
                    break;
                }
            }
            terminal::leave();
            let _ = send_ended.send(());
        })?;
        Ok(Screen { end, terminal_closed, ended, capture: Some(capture) })
    }
}

impl Drop for Screen {
    /// Restores the terminal and prints the captured lines. If the terminal has closed, stderr stays
    /// captured.
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        let _ = self.ended.recv_timeout(END_TIMEOUT);
        terminal::leave();
        if let Some(capture) = self.capture.take().filter(|_| !self.terminal_closed.load(Ordering::Acquire)) {
            capture.finish();
        }
    }
}

/// Sends the commands of a key and notes them as pending.
fn send(control: &Control, state: &mut State, result: KeyResult, from: Origin) {
    for (command, when) in result.commands {
        match control.send(Request { command: command.clone(), when, from }) {
            Ok(()) => state.sent(&command),
            Err(full) => state.show_message(&full.to_string()),
        }
    }
    if result.quit {
        control.end();
    }
}
