//! What each action of the key table does: it changes the screen's state or sends commands to the session.

use sideman_engine::limits;
use sideman_engine::live::{Action, Command, Mode, StemState, When, Which};

use super::input::KeyResult;
use super::keys::Act;
use super::state::{Focus, State};
use super::text_field::TextField;

/// Bars that a freeze repeats.
const FREEZE_BARS: u32 = 4;

/// Ends the session; while the band plays, asks first.
pub fn quit(state: &mut State) -> KeyResult {
    if state.snapshot.playing {
        state.focus = Focus::Quit;
        return KeyResult::default();
    }
    KeyResult::quit()
}

/// Performs an action; `nth`: which of the action's keys was pressed.
pub fn perform(state: &mut State, act: Act, nth: usize) -> KeyResult {
    let stems = state.stems.len() as u8;
    match act {
        Act::Stem if nth < usize::from(stems) => state.selected = Some(nth as u8),
        Act::Stem => state.show_message(&format!("there is no stem {}: the model has {}", nth + 1, state.stems.join(", "))),
        Act::All => state.selected = None,
        Act::Up => state.selected = Some(state.selected.map_or(stems, |s| s.max(1)).saturating_sub(1)),
        Act::Down => state.selected = Some(state.selected.map_or(0, |s| (s + 1).min(stems.saturating_sub(1)))),
        Act::Text => state.focus = Focus::Text(TextField::new(&state.expected_text())),
        Act::Chords => state.focus = Focus::Chords(TextField::new(&state.expected_chords()), String::new()),
        Act::Help => state.focus = Focus::Help,
        Act::Quit => return quit(state),
        // A second command would not replace the pending one: both would take effect.
        Act::Play if state.play_or_stop_is_pending() => {
            let cancel = state.keys.written(Act::Cancel);
            state.show_message(&format!("play or stop is pending already: {cancel} cancels it"));
        }
        _ => return send(state, act),
    }
    KeyResult::default()
}

/// The commands of an action. Toggles and steps start from the values that are expected once all pending
/// commands have taken effect.
fn send(state: &State, act: Act) -> KeyResult {
    let selected = state.selected_stems();
    let all = |is: fn(&StemState) -> bool| selected.iter().all(|s| is(&state.expected_stem(*s)));
    let any = |is: fn(&StemState) -> bool| selected.iter().any(|s| is(&state.expected_stem(*s)));
    let stem = |action| Command::Stem(state.which(), action);
    let change_gain = |by: f32| {
        let each = selected.iter().map(|s| {
            let gain = limits::GAIN.clamp_f32(state.expected_stem(*s).gain + by);
            (Command::Stem(Which::One(*s as u8), Action::Gain(gain)), None)
        });
        KeyResult { commands: each.collect(), quit: false }
    };
    KeyResult::command(match act {
        Act::Play if state.snapshot.playing => Command::Stop,
        Act::Play => Command::Play,
        Act::Tap => Command::Tap,
        Act::Half => Command::Half,
        Act::Double => Command::Double,
        Act::One => Command::One,
        Act::Mute => stem(Action::Mute(!all(|s| s.mute))),
        Act::Solo => stem(Action::Solo(!all(|s| s.solo))),
        Act::Louder => return change_gain(1.0),
        Act::Softer => return change_gain(-1.0),
        Act::Regenerate => stem(Action::Regen),
        Act::Reject => return KeyResult { commands: vec![(stem(Action::Regen), Some(When::Beat))], quit: false },
        Act::Freeze => stem(Action::Freeze(if any(|s| s.frozen > 0) { 0 } else { FREEZE_BARS })),
        Act::Undo => stem(Action::Undo),
        Act::Redo => stem(Action::Redo),
        Act::Next => Command::Section(String::new()),
        Act::Fill => Command::Fill,
        Act::Mode => Command::Mode(match state.expected_mode() {
            Mode::Follow => Mode::Loop,
            Mode::Loop => Mode::Lead,
            Mode::Lead => Mode::Follow,
        }),
        Act::Faster => Command::Tempo(limits::TEMPO.clamp(state.expected_tempo().round() + 1.0)),
        Act::Slower => Command::Tempo(limits::TEMPO.clamp(state.expected_tempo().round() - 1.0)),
        Act::Wetter => Command::Room(limits::ROOM.clamp_f32(state.expected_room() + 0.1)),
        Act::Drier => Command::Room(limits::ROOM.clamp_f32(state.expected_room() - 0.1)),
        Act::Click => Command::Click(!state.expected_click()),
        Act::Record => Command::Record(!state.expected_recording()),
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
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use sideman_engine::live::Snapshot;

    use super::super::input::{paste, press};
    use super::super::keys::{Key, Keymap, TABLE};
    use super::*;

    fn state() -> State {
        let stems = ["bass", "drums", "other"].map(str::to_owned);
        let mut state = State::new("house", &stems, Keymap::default());
        let stems = vec![StemState::default(); 3];
        let chords = "Em C".into();
        state.update(Snapshot {
            time: 640,
            tempo: 112.4,
            stems,
            input_stem: Some(0),
            playing: true,
            chords,
            ..Snapshot::default()
        });
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
        let result = press(state, KeyEvent::new(code, modifiers));
        result.commands.into_iter().map(|c| c.0).inspect(|c| state.sent(c)).collect()
    }

    #[test]
    fn every_action_of_the_key_table_does_something_at_the_boundary_that_the_table_names() {
        for row in &TABLE {
            let mut state = state();
            let (selected, focus) = (state.selected, std::mem::discriminant(&state.focus));
            let code = row.keys[0].parse::<Key>().unwrap();
            let (act, nth) = state.keys.act(code).unwrap();
            assert_eq!(act, row.act);
            let result = perform(&mut state, act, nth);
            match (row.when, result.commands.first()) {
                (Some(_), None) => {
                    assert!(matches!(state.focus, Focus::Text(_) | Focus::Chords(..)), "{} sends nothing", row.name)
                }
                (Some(when), Some((command, own))) => {
                    // The second tap sets the tempo, which has the boundary.
                    let command = if *command == Command::Tap { Command::Tempo(100.0) } else { command.clone() };
                    assert_eq!(own.unwrap_or(command.when()), when, "{}", row.name);
                }
                (None, Some(_)) => panic!("{} sends a command", row.name),
                (None, None) => assert!(
                    selected != state.selected || focus != std::mem::discriminant(&state.focus),
                    "{} does nothing",
                    row.name
                ),
            }
        }
    }

    #[test]
    fn toggles_start_from_the_pending_values() {
        let mut state = state();
        let one = |action| vec![Command::Stem(Which::One(1), action)];
        assert_eq!(key(&mut state, "m"), one(Action::Mute(true)));
        assert_eq!(key(&mut state, "m"), one(Action::Mute(false)));
        assert_eq!(key(&mut state, "f"), one(Action::Freeze(FREEZE_BARS)));
        assert_eq!(key(&mut state, "f"), one(Action::Freeze(0)));
        assert_eq!(key(&mut state, "-"), one(Action::Gain(-1.0)));
        assert_eq!(key(&mut state, "-"), one(Action::Gain(-2.0)));
        assert_eq!((key(&mut state, ">"), key(&mut state, ">")), (vec![Command::Tempo(113.0)], vec![Command::Tempo(114.0)]));
        assert_eq!(key(&mut state, "o"), [Command::Mode(Mode::Loop)]);
        assert_eq!(key(&mut state, "o"), [Command::Mode(Mode::Lead)]);
        assert_eq!(key(&mut state, "space"), [Command::Stop]);
        assert_eq!(key(&mut state, "space"), [], "a second stop is not sent while one is pending");
        assert_eq!(state.messages.len(), 1, "the key that cancels is named");
        assert_eq!(key(&mut state, "esc"), [Command::Cancel(None)]);
        assert_eq!(key(&mut state, "space"), [Command::Stop]);
    }

    #[test]
    fn stem_keys_address_the_selected_stem_or_all_stems() {
        let mut state = state();
        key(&mut state, "3");
        assert_eq!(key(&mut state, "r"), [Command::Stem(Which::One(2), Action::Regen)]);
        key(&mut state, "up");
        assert_eq!(key(&mut state, "s"), [Command::Stem(Which::One(1), Action::Solo(true))]);
        key(&mut state, "9");
        assert_eq!((state.messages.len(), state.selected), (1, Some(1)), "there is no stem 9");
        key(&mut state, "0");
        assert_eq!(key(&mut state, "u"), [Command::Stem(Which::All, Action::Undo)]);
        assert_eq!(key(&mut state, "+").len(), 2, "each stem of the band from its own gain");
    }

    #[test]
    fn enter_without_a_change_changes_nothing() {
        let mut state = state();
        // Over 500 characters, on two lines, and with a text.
        let chords = "[Verse] Em7 Am7 D7 Gmaj7\n".repeat(40);
        let snapshot = Snapshot { time: 1280, chords: chords.clone(), text: "dub".into(), ..state.snapshot.clone() };
        state.update(snapshot);
        for opens in ["c", "e"] {
            key(&mut state, opens);
            assert_eq!(key(&mut state, "enter"), []);
            assert!(matches!(state.focus, Focus::Session));
        }
        // With a change, the rest is kept.
        key(&mut state, "c");
        paste(&mut state, " C");
        let sent = key(&mut state, "enter");
        assert_eq!(sent, [Command::Chords((chords.replace('\n', " ") + " C").into())]);
    }

    #[test]
    fn text_and_chords_are_edited_and_sent() {
        let mut state = state();
        key(&mut state, "e");
        for c in ["f", "m", "!", "q"] {
            assert_eq!(key(&mut state, c), [], "{c} is text here");
        }
        paste(&mut state, " x\n");
        assert_eq!(key(&mut state, "enter"), [Command::Text { part: 0, text: "fm!q x".into(), weight: 1.0 }]);
        assert_eq!(state.expected_text(), "fm!q x");
        key(&mut state, "c");
        key(&mut state, "H");
        assert_eq!(key(&mut state, "enter"), [], "\"Em CH\" is not a chord");
        assert!(matches!(&state.focus, Focus::Chords(_, error) if error.contains("CH")));
        key(&mut state, "esc");
        assert!(matches!(state.focus, Focus::Session));
        key(&mut state, "c");
        key(&mut state, "m");
        assert_eq!(key(&mut state, "enter"), [Command::Chords("Em Cm".into())]);
    }

    #[test]
    fn quit_asks_first_while_the_band_plays() {
        let mut state = state();
        let quit = |state: &mut State, code| press(state, KeyEvent::new(code, KeyModifiers::NONE)).quit;
        assert!(!quit(&mut state, KeyCode::Char('q')) && matches!(state.focus, Focus::Quit));
        assert!(!quit(&mut state, KeyCode::Char('n')) && matches!(state.focus, Focus::Session));
        quit(&mut state, KeyCode::Char('q'));
        assert!(quit(&mut state, KeyCode::Char('y')));
        // The key that asked, again.
        quit(&mut state, KeyCode::Char('q'));
        assert!(quit(&mut state, KeyCode::Char('q')));
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!press(&mut state, ctrl_c).quit && press(&mut state, ctrl_c).quit);
        (state.snapshot.playing, state.focus) = (false, Focus::Session);
        assert!(quit(&mut state, KeyCode::Char('q')));
    }
}
