//! The screen of a running band (docs/reference/keys.md). It is a hand like OSC and MIDI: it asks by a [`Control`] and shows its snapshots, on a
//! thread of its own, and nothing waits for it. A terminal that goes away takes the screen with it, and the band plays on.
//!
//! keys.rs the one table · act.rs key to request · state.rs what is known · draw.rs and its blocks · terminal.rs · capture.rs stderr.

mod act;
mod capture;
mod digits;
mod draw;
mod editor;
mod keys;
mod messages;
mod plan;
mod position;
mod state;
mod stems;
mod terminal;
mod theme;

#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crossterm::event::{Event as Pressed, KeyEventKind};
use sideman_engine::live::{Origin, Request};
use sideman_io::control::Control;

use act::KeyResult;
use capture::Capture;
pub use keys::Keymap;
use state::State;
use theme::Theme;

/// Between two pictures.
const PICTURE: Duration = Duration::from_millis(40);
/// A screen that doesn't end by itself is left behind after so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// There is somebody to show it to, and keys to hear them by.
pub fn possible() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// A screen that is up.
pub struct Screen {
    end: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    ended: Receiver<()>,
    capture: Option<Capture>,
}

/// What is shown that no snapshot says.
pub struct About<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Stems in its order.
    pub stems: &'a [String],
}

impl Screen {
    /// Puts it up. `hangup` is set when the terminal is said to be gone.
    ///
    /// # Errors
    /// The terminal can't be used.
    pub fn open(control: &Control, about: &About, keys: Keymap, hangup: Arc<AtomicBool>) -> anyhow::Result<Screen> {
        let failed = |e| anyhow::anyhow!("the screen can't be shown ({e}): add --headless");
        let mut state = State::new(about.model, about.stems, keys);
        let (control, from, theme) = (control.clone(), control.origin(), Theme::of_environment());
        let mut terminal = terminal::enter().map_err(failed)?;
        let mut capture = capture::begin().map_err(|e| {
            terminal::leave();
            failed(e)
        })?;
        let lines = std::mem::replace(&mut capture.lines, channel().1);
        let (end, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (tell, ended) = channel();
        let (over, gone) = (end.clone(), lost.clone());
        let mut picture = move || -> std::io::Result<()> {
            for event in terminal::events(PICTURE)? {
                let asked = match event {
                    Pressed::Key(key) if key.kind != KeyEventKind::Release => act::press(&mut state, key),
                    Pressed::Paste(text) => {
                        act::paste(&mut state, &text);
                        KeyResult::default()
                    }
                    _ => KeyResult::default(),
                };
                ask(&control, &mut state, asked, from);
            }
            lines.try_iter().for_each(|line| state.say(&line));
            state.see(control.snapshot());
            // A panic elsewhere has given the terminal back: it is not to be drawn on again.
            if terminal::ours() {
                let since = state.came.elapsed().as_secs_f64();
                terminal.draw(|frame| draw::draw(frame.buffer_mut(), &state, theme, since))?;
            }
            Ok(())
        };
        std::thread::Builder::new().name("screen".into()).spawn(move || {
            while !over.load(Ordering::Acquire) {
                if hangup.load(Ordering::Acquire) || picture().is_err() {
                    gone.store(true, Ordering::Release);
                    tracing::warn!("the terminal is gone: the band plays on without a screen");
                    break;
                }
            }
            terminal::leave();
            let _ = tell.send(());
        })?;
        Ok(Screen { end, lost, ended, capture: Some(capture) })
    }
}

impl Drop for Screen {
    /// Gives the terminal back, and says there what was kept from it. A terminal that is gone is told nothing: stderr stays the pipe's.
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        let _ = self.ended.recv_timeout(PATIENCE);
        terminal::leave();
        if let Some(capture) = self.capture.take().filter(|_| !self.lost.load(Ordering::Acquire)) {
            capture.finish();
        }
    }
}

/// Sends what was asked for, and shows it pending.
fn ask(control: &Control, state: &mut State, asked: KeyResult, from: Origin) {
    for (command, when) in asked.commands {
        match control.send(Request { command: command.clone(), when, from }) {
            Ok(()) => state.asked(&command),
            Err(full) => state.say(&full.to_string()),
        }
    }
    if asked.quit {
        control.end();
    }
}
