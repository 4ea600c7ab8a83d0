//! From a key to what is asked of the band.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sideman_engine::limits;
use sideman_engine::live::{Action, Command, Mode, When};
use sideman_engine::task::Chords;

use super::editor::{Done, Editor};
use super::keys::{Act, Key};
use super::state::{Focus, State};

/// Bars that a freeze repeats: as many as undo brings back.
const BARS: u32 = 4;

/// What came of a key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeyResult {
    /// For the band, each with its boundary where it is not the command's own.
    pub commands: Vec<(Command, Option<When>)>,
    /// The session is to end.
    pub quit: bool,
}

impl KeyResult {
    fn command(command: Command) -> Self {
        KeyResult { commands: vec![(command, None)], quit: false }
    }
}

/// A key that was pressed.
pub fn press(state: &mut State, key: KeyEvent) -> KeyResult {
    // Ctrl-C is no key of the table: it must work whatever is bound.
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return match state.focus {
            Focus::Quit => KeyResult { quit: true, ..KeyResult::default() },
            _ => quit(state),
        };
    }
    match &mut state.focus {
        Focus::Model => match state.keys.act(Key::from(key)) {
            Some((act, nth)) => band(state, act, nth),
            None => KeyResult::default(),
        },
        Focus::Help => {
            state.focus = Focus::Model;
            KeyResult::default()
        }
        Focus::Quit => {
            let yes = matches!(key.code, KeyCode::Char('y' | 'Y') | KeyCode::Enter);
            state.focus = Focus::Model;
            KeyResult { quit: yes, ..KeyResult::default() }
        }
        Focus::Text(editor) => match editor.press(key) {
            Done::No => KeyResult::default(),
            Done::Leave => leave(state),
            Done::Enter => {
                let text = editor.text().trim().to_owned();
                state.focus = Focus::Model;
                KeyResult::command(Command::Text { part: 0, text, weight: 1.0 })
            }
        },
        Focus::Chords(editor, wrong) => match editor.press(key) {
            Done::No => {
                wrong.clear();
                KeyResult::default()
            }
            Done::Leave => leave(state),
            Done::Enter => {
                let text = editor.text().trim().to_owned();
                match text.parse::<Chords>() {
                    Err(e) if !text.is_empty() => {
                        *wrong = e.to_string();
                        KeyResult::default()
                    }
                    _ => {
                        state.focus = Focus::Model;
                        KeyResult::command(Command::Chords(text))
                    }
                }
            }
        },
    }
}

/// Text that was pasted: into a line that is being written, and nowhere else.
pub fn paste(state: &mut State, text: &str) {
    match &mut state.focus {
        Focus::Text(editor) | Focus::Chords(editor, _) => editor.paste(text),
        _ => state.say("what was pasted went nowhere: open the text or the chords first"),
    }
}

fn leave(state: &mut State) -> KeyResult {
    state.focus = Focus::Model;
    KeyResult::default()
}

fn quit(state: &mut State) -> KeyResult {
    if state.band.playing {
        state.focus = Focus::Quit;
        return KeyResult::default();
    }
    KeyResult { quit: true, ..KeyResult::default() }
}

fn band(state: &mut State, act: Act, nth: usize) -> KeyResult {
    let stems = state.stems.len() as u8;
    match act {
        Act::Stem if nth < usize::from(stems) => state.chosen = Some(nth as u8),
        Act::Stem => state.say(&format!("there is no stem {}: the model has {}", nth + 1, state.stems.join(", "))),
        Act::All => state.chosen = None,
        Act::Up => state.chosen = Some(state.chosen.map_or(stems, |s| s.max(1)).saturating_sub(1)),
        Act::Down => state.chosen = Some(state.chosen.map_or(0, |s| (s + 1).min(stems.saturating_sub(1)))),
        Act::Text => state.focus = Focus::Text(Editor::new(&state.text())),
        Act::Chords => state.focus = Focus::Chords(Editor::new(&state.chords()), String::new()),
        Act::Help => state.focus = Focus::Help,
        Act::Quit => return quit(state),
        // Of two that turn the band about, the first would still come true.
        Act::Play if state.turning() => {
            state.say(&format!("that waits for its bar already: {} takes it back", state.keys.written(Act::Cancel)))
        }
        _ => return ask(state, act),
    }
    KeyResult::default()
}

fn ask(state: &State, act: Act) -> KeyResult {
    let meant = state.meant();
    let any = |is: fn(&sideman_engine::live::StemState) -> bool| meant.iter().any(|s| is(&state.stem(*s)));
    let stem = |action| Command::Stem(state.which(), action);
    let fader = |by: f32| {
        let each = meant.iter().map(|s| {
            let gain = limits::GAIN.clamp_f32(state.stem(*s).gain + by);
            (Command::Stem(sideman_engine::live::Which::One(*s as u8), Action::Gain(gain)), None)
        });
        KeyResult { commands: each.collect(), quit: false }
    };
    KeyResult::command(match act {
        Act::Play => {
            if state.band.playing {
                Command::Stop
            } else {
                Command::Play
            }
        }
        Act::Tap => Command::Tap,
        Act::Mute => stem(Action::Mute(!meant.iter().all(|s| state.stem(*s).mute))),
        Act::Solo => stem(Action::Solo(!meant.iter().all(|s| state.stem(*s).solo))),
        Act::Louder => return fader(1.0),
        Act::Softer => return fader(-1.0),
        Act::Regenerate => stem(Action::Regen),
        Act::Reject => return KeyResult { commands: vec![(stem(Action::Regen), Some(When::Beat))], quit: false },
        Act::Freeze => stem(Action::Freeze(if any(|s| s.frozen > 0) { 0 } else { BARS })),
        Act::Undo => stem(Action::Undo),
        Act::Redo => stem(Action::Redo),
        Act::Next => Command::Section(String::new()),
        Act::Fill => Command::Fill,
        Act::Mode => Command::Mode(match state.mode() {
            Mode::Follow => Mode::Loop,
            Mode::Loop => Mode::Lead,
            Mode::Lead => Mode::Follow,
        }),
        Act::Faster => Command::Tempo(limits::TEMPO.clamp(state.tempo().round() + 1.0)),
        Act::Slower => Command::Tempo(limits::TEMPO.clamp(state.tempo().round() - 1.0)),
        Act::Click => Command::Click(!state.click()),
        Act::Record => Command::Record(!state.recording()),
        Act::Keep => Command::Keep(String::new()),
        Act::Cancel => Command::Cancel(None),
        Act::Panic => Command::Panic,
        Act::Stem | Act::All | Act::Up | Act::Down | Act::Text | Act::Chords | Act::Help | Act::Quit => {
            return KeyResult::default();
        }
    })
}

#[cfg(test)]
mod tests {
    use sideman_engine::live::{Snapshot, StemState, Which};

    use super::super::keys::{Keymap, TABLE};
    use super::*;

    fn state() -> State {
        let stems = ["bass", "drums", "other"].map(str::to_owned);
        let mut state = State::new("house", &stems, Keymap::default());
        let stems = vec![StemState::default(); 3];
        let chords = "Em C".into();
        state.see(Snapshot { time: 640, tempo: 112.4, stems, input_stem: Some(0), playing: true, chords, ..Snapshot::default() });
        state
    }

    fn key(state: &mut State, name: &str) -> Vec<Command> {
        let (code, modifiers) = match name {
            "esc" => (KeyCode::Esc, KeyModifiers::NONE),
            "enter" => (KeyCode::Enter, KeyModifiers::NONE),
            "up" => (KeyCode::Up, KeyModifiers::NONE),
            "down" => (KeyCode::Down, KeyModifiers::NONE),
            "space" => (KeyCode::Char(' '), KeyModifiers::NONE),
            "ctrl-r" => (KeyCode::Char('r'), KeyModifiers::CONTROL),
            one => (KeyCode::Char(one.chars().next().unwrap()), KeyModifiers::NONE),
        };
        let asked = press(state, KeyEvent::new(code, modifiers));
        asked.commands.into_iter().map(|c| c.0).inspect(|c| state.asked(c)).collect()
    }

    /// Every row of the table does something, and what it asks waits for what the table says.
    #[test]
    fn every_key_of_the_table_acts_and_waits_as_it_says() {
        for row in &TABLE {
            let mut state = state();
            let (chosen, focus) = (state.chosen, state.focus.clone());
            let code = row.keys[0].parse::<Key>().unwrap();
            let (act, nth) = state.keys.act(code).unwrap();
            assert_eq!(act, row.act);
            let asked = band(&mut state, act, nth);
            match (row.when, asked.commands.first()) {
                (Some(_), None) => {
                    assert!(matches!(state.focus, Focus::Text(_) | Focus::Chords(..)), "{} asks nothing", row.name)
                }
                (Some(when), Some((command, own))) => {
                    // A tap becomes a tempo, which is what waits.
                    let command = if *command == Command::Tap { Command::Tempo(100.0) } else { command.clone() };
                    assert_eq!(own.unwrap_or(command.when()), when, "{}", row.name);
                }
                (None, Some(_)) => panic!("{} asks something", row.name),
                (None, None) => assert!(chosen != state.chosen || focus != state.focus, "{} does nothing", row.name),
            }
        }
    }

    #[test]
    fn toggles_go_by_what_is_pending() {
        let mut state = state();
        let one = |action| vec![Command::Stem(Which::One(1), action)];
        assert_eq!(key(&mut state, "m"), one(Action::Mute(true)));
        assert_eq!(key(&mut state, "m"), one(Action::Mute(false)));
        assert_eq!(key(&mut state, "f"), one(Action::Freeze(BARS)));
        assert_eq!(key(&mut state, "f"), one(Action::Freeze(0)));
        assert_eq!(key(&mut state, "-"), one(Action::Gain(-1.0)));
        assert_eq!(key(&mut state, "-"), one(Action::Gain(-2.0)));
        assert_eq!((key(&mut state, ">"), key(&mut state, ">")), (vec![Command::Tempo(113.0)], vec![Command::Tempo(114.0)]));
        assert_eq!(key(&mut state, "o"), [Command::Mode(Mode::Loop)]);
        assert_eq!(key(&mut state, "o"), [Command::Mode(Mode::Lead)]);
        assert_eq!(key(&mut state, "space"), [Command::Stop]);
        assert_eq!(key(&mut state, "space"), [], "the stop that waits is not followed by another");
        assert!(state.messages.back().unwrap().contains("esc takes it back"));
        assert_eq!(key(&mut state, "esc"), [Command::Cancel(None)]);
        assert_eq!(key(&mut state, "space"), [Command::Stop]);
    }

    #[test]
    fn keys_are_for_the_chosen_stem_or_for_all() {
        let mut state = state();
        key(&mut state, "3");
        assert_eq!(key(&mut state, "r"), [Command::Stem(Which::One(2), Action::Regen)]);
        key(&mut state, "up");
        assert_eq!(key(&mut state, "s"), [Command::Stem(Which::One(1), Action::Solo(true))]);
        key(&mut state, "9");
        assert!(state.messages.back().unwrap().contains("no stem 9"));
        key(&mut state, "0");
        assert_eq!(key(&mut state, "u"), [Command::Stem(Which::All, Action::Undo)]);
        assert_eq!(key(&mut state, "+").len(), 2, "each stem of the band by its own fader");
    }

    #[test]
    fn text_and_chords_are_written() {
        let mut state = state();
        key(&mut state, "e");
        for c in ["f", "m", "!", "q"] {
            assert_eq!(key(&mut state, c), [], "{c} is a letter here");
        }
        paste(&mut state, " x\n");
        assert_eq!(key(&mut state, "enter"), [Command::Text { part: 0, text: "fm!q x".into(), weight: 1.0 }]);
        assert_eq!(state.text(), "fm!q x");
        key(&mut state, "c");
        key(&mut state, "H");
        assert_eq!(key(&mut state, "enter"), [], "\"Em CH\" is no chord");
        assert!(matches!(&state.focus, Focus::Chords(_, wrong) if wrong.contains("CH")));
        key(&mut state, "esc");
        assert_eq!(state.focus, Focus::Model);
        key(&mut state, "c");
        key(&mut state, "m");
        assert_eq!(key(&mut state, "enter"), [Command::Chords("Em Cm".into())]);
    }

    #[test]
    fn quitting_asks_while_the_band_plays() {
        let mut state = state();
        let quit = |state: &mut State, code| press(state, KeyEvent::new(code, KeyModifiers::NONE)).quit;
        assert!(!quit(&mut state, KeyCode::Char('q')) && state.focus == Focus::Quit);
        assert!(!quit(&mut state, KeyCode::Char('n')) && state.focus == Focus::Model);
        quit(&mut state, KeyCode::Char('q'));
        assert!(quit(&mut state, KeyCode::Char('y')));
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!press(&mut state, ctrl_c).quit && press(&mut state, ctrl_c).quit);
        (state.band.playing, state.focus) = (false, Focus::Model);
        assert!(quit(&mut state, KeyCode::Char('q')));
    }
}
