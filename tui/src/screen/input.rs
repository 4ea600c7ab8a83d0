//! Keys and pasted text: the focus of the screen decides what they do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sideman_engine::live::{Command, When};
use sideman_engine::task::WrittenChords;

use super::actions;
use super::keys::{Act, Key};
use super::state::{Focus, State};
use super::text_field::FieldEvent;

/// The result of a key: what to send to the session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeyResult {
    /// Commands to send, each with its boundary if that is not the command's own.
    pub commands: Vec<(Command, Option<When>)>,
    /// The session ends.
    pub quit: bool,
}

impl KeyResult {
    /// A command with its own boundary.
    pub fn command(command: Command) -> Self {
        KeyResult { commands: vec![(command, None)], quit: false }
    }

    /// The end of the session.
    pub fn quit() -> Self {
        KeyResult { quit: true, ..KeyResult::default() }
    }
}

/// Handles a key press.
pub fn press(state: &mut State, key: KeyEvent) -> KeyResult {
    // Ctrl-C is not in the key table: it quits whatever is bound, and the second time without a question.
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return match state.focus {
            Focus::Quit => KeyResult::quit(),
            _ => actions::quit(state),
        };
    }
    match &mut state.focus {
        Focus::Session => match state.keys.act(Key::from(key)) {
            Some((act, nth)) => actions::perform(state, act, nth),
            None => KeyResult::default(),
        },
        Focus::Help => close(state),
        Focus::Quit => {
            // The key that asked, pressed again, is no change of mind.
            let again = matches!(state.keys.act(Key::from(key)), Some((Act::Quit, _)));
            let yes = again || matches!(key.code, KeyCode::Char('y' | 'Y') | KeyCode::Enter);
            KeyResult { quit: yes, ..close(state) }
        }
        Focus::Text(field) => match field.press(key) {
            FieldEvent::Edited => KeyResult::default(),
            FieldEvent::Cancelled => close(state),
            FieldEvent::Submitted if !field.changed() => close(state),
            FieldEvent::Submitted => {
                let text = field.text().trim().to_owned();
                close(state);
                KeyResult::command(Command::Text { part: 0, text, weight: 1.0 })
            }
        },
        Focus::Chords(field, error) => match field.press(key) {
            FieldEvent::Edited => {
                error.clear();
                KeyResult::default()
            }
            FieldEvent::Cancelled => close(state),
            FieldEvent::Submitted if !field.changed() => close(state),
            FieldEvent::Submitted => {
                let chords = WrittenChords::from(field.text().trim());
                match chords.chords() {
                    Err(why) => {
                        *error = why.to_owned();
                        KeyResult::default()
                    }
                    Ok(_) => {
                        close(state);
                        KeyResult::command(Command::Chords(chords))
                    }
                }
            }
        },
    }
}

/// Handles pasted text: it goes into the line that is being edited.
pub fn paste(state: &mut State, text: &str) {
    match &mut state.focus {
        Focus::Text(field) | Focus::Chords(field, _) => field.paste(text),
        _ => state.show_message("nothing to paste into: open the text or the chords first"),
    }
}

fn close(state: &mut State) -> KeyResult {
    state.focus = Focus::Session;
    KeyResult::default()
}
