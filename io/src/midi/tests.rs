use std::collections::BTreeSet;

use proptest::prelude::*;
use sideman_engine::live::{Action, Command, Pending, Request, Snapshot, StemState, Which};

use super::*;
use crate::clock::ClockMessage;
use crate::command_language::Namespace;

const STEMS: [&str; 3] = ["bass", "drums", "other"];

const MAP: &str = "chord_channel = 4\nclock_offset = -6.0\n\n[[control]]\ncontrol = \"note 10 36\"\naddress = \"/jam/stem/drums/freeze 2\"\n\
        mode = \"switch\"\nhold = \"/jam/stem/drums/undo\"\ndouble = \"/jam/stem/drums/freeze 0\"\n\n[[control]]\ncontrol = \"program 1 4\"\n\
        address = \"/jam/section/next\"\nmode = \"toggle\"\n";

fn mapper(map: Map) -> MidiMapper {
    MidiMapper::new(Namespace::new(&STEMS), map, 5)
}

fn commands(requests: &[Request]) -> Vec<Command> {
    requests.iter().map(|r| r.command.clone()).collect()
}

/// The commands that a message at a time, s, gives.
fn played(mapper: &mut MidiMapper, bytes: &[u8], at: f64) -> Vec<Command> {
    commands(&mapper.message(Message::parse(bytes).unwrap(), at).requests)
}

#[test]
fn valid_bytes_are_messages() {
    assert_eq!(Message::parse(&[0x92, 36, 100]), Some(Message::Note { channel: 3, key: 36, velocity: 100 }));
    assert_eq!(Message::parse(&[0x82, 36, 64]), Some(Message::Note { channel: 3, key: 36, velocity: 0 }));
    assert_eq!(Message::parse(&[0xb0, 7, 127]), Some(Message::Control { channel: 1, number: 7, value: 127 }));
    assert_eq!(Message::parse(&[0xf2, 3, 1]), Some(Message::Clock(ClockMessage::Position(131))));
    assert_eq!(Message::parse(&[0xf8]), Some(Message::Clock(ClockMessage::Tick)));
    for bytes in [&[][..], &[0xfe], &[0xb0, 7], &[0xb0, 7, 128], &[7, 7], &[0xf0, 1, 2, 0xf7], &[0xf8, 1]] {
        assert_eq!(Message::parse(bytes), None, "{bytes:?}");
    }
}

#[test]
fn the_default_map_has_faders_pedals_pads_and_programs() {
    let mut h = mapper(default_map(&STEMS));
    assert_eq!(played(&mut h, &[0xb1, 7, 127], 0.0), [Command::Stem(Which::One(1), Action::Gain(6.0))]);
    assert_eq!(played(&mut h, &[0xb2, 64, 127], 0.0), [Command::Stem(Which::One(2), Action::Freeze(2))]);
    assert_eq!(played(&mut h, &[0xb2, 64, 0], 0.0), [Command::Stem(Which::One(2), Action::Freeze(0))]);
    assert_eq!(played(&mut h, &[0xb0, 11, 127], 0.0), [Command::Dim(0.0)]);
    assert_eq!(played(&mut h, &[0xb0, 1, 0], 0.0), [Command::Temperature(0.0)]);
    // Pads, at any velocity, and programs go to sections.
    assert_eq!(played(&mut h, &[0x99, 37, 9], 0.0), [Command::Section("2".into())]);
    assert_eq!(played(&mut h, &[0x89, 37, 0], 0.0), []);
    assert_eq!(played(&mut h, &[0xc0, 0], 0.0), [Command::Section("1".into())]);
    assert_eq!(played(&mut h, &[0xc0, 0], 0.0), [Command::Section("1".into())]);
    for (panic, at) in [(120, 1.0), (123, 2.0)] {
        assert_eq!(played(&mut h, &[0xb9, panic, 0], at), []);
        assert_eq!(commands(&h.time(at + 0.1).requests), [Command::Panic]);
        assert_eq!(commands(&h.time(at + 0.2).requests), []);
    }
    assert_eq!(played(&mut h, &[0xb9, 99, 1], 0.0), []);
}

#[test]
fn a_map_survives_its_file() {
    let map = Map::parse(MAP).unwrap();
    assert_eq!(Map::parse(&map.text().unwrap()).unwrap(), map);
    let map = default_map(&STEMS);
    assert_eq!(Map::parse(&map.text().unwrap()).unwrap(), map);
}

#[test]
fn the_old_key_way_still_works() {
    assert_eq!(Map::parse(&MAP.replace("mode = ", "way = ")).unwrap(), Map::parse(MAP).unwrap());
}

#[test]
fn an_error_in_a_map_names_what_is_wrong() {
    for (wrong, what) in [
        ("[[control]]\ncontrol = \"cc 17 1\"\naddress = \"/jam/fill\"\nway = \"toggle\"", "cc 17 1"),
        ("[[control]]\ncontrol = \"cc 1 1\"\naddress = \"/jam/fill\"\nway = \"sideways\"", "sideways"),
        ("[[control]]\ncontrol = \"cc 1 1\"\naddress = \"/jam/fill\"\nway = \"toggle\"\nto = nan", "cc 1 1"),
        ("clock_offset = 5000", "clock_offset"),
        ("tempo = 3", "tempo"),
    ] {
        let error = Map::parse(wrong).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_footswitch_has_three_gestures() {
    // A tap is known when no second tap can follow, a hold while the switch is pressed, a double tap at once.
    let mut h = mapper(Map::parse(MAP).unwrap());
    let mut press = |down: u8, at: f64| played(&mut h, &[0x99, 36, down], at);
    let (tap, undo, thaw) = (
        Command::Stem(Which::One(1), Action::Freeze(2)),
        Command::Stem(Which::One(1), Action::Undo),
        Command::Stem(Which::One(1), Action::Freeze(0)),
    );
    assert_eq!((press(127, 0.0), press(0, 0.1)), (vec![], vec![]));
    assert_eq!(commands(&h.time(0.35).requests), [tap]);
    let mut press = |down: u8, at: f64| played(&mut h, &[0x99, 36, down], at);
    assert_eq!([press(127, 1.0), press(0, 1.1), press(127, 1.2), press(0, 1.3)].concat(), [thaw]);
    assert_eq!(press(127, 2.0), []);
    assert_eq!(commands(&h.time(2.6).requests), []);
    assert_eq!(commands(&h.time(2.75).requests), [undo]);
    assert_eq!(played(&mut h, &[0x99, 36, 0], 3.0), []);
    assert_eq!(commands(&h.time(9.0).requests), []);
}

#[test]
fn a_control_is_learned_by_moving_it() {
    type Case = (&'static str, &'static [u8], ControlMode, &'static [u8], Command);
    let cases: [Case; 4] = [
        ("/jam/stem/drums/gain", &[40, 41, 43], ControlMode::Absolute, &[0], Command::Stem(Which::One(1), Action::Gain(-40.0))),
        ("/jam/stem/drums/mute", &[127, 0], ControlMode::Toggle, &[127], Command::Stem(Which::One(1), Action::Mute(true))),
        ("/jam/fill", &[127, 0], ControlMode::Momentary, &[127], Command::Fill),
        ("/jam/sample/temperature", &[1, 1, 1], ControlMode::Relative, &[1], Command::Temperature(2.0 / 127.0)),
    ];
    for (address, moves, mode, play, command) in cases {
        let mut h = mapper(Map::default());
        h.learn(address).unwrap();
        let mut learned = None;
        for value in moves {
            let response = h.message(Message::parse(&[0xb4, 20, *value]).unwrap(), 0.0);
            assert_eq!(response.requests, []);
            learned = learned.or(response.learned);
        }
        let control = Control::Cc { channel: 5, number: 20 };
        assert_eq!(h.map().get(control), learned.as_ref());
        assert_eq!(learned.map(|m| (m.control, m.address, m.mode)), Some((control, address.to_owned(), mode)));
        assert_eq!(play.iter().flat_map(|v| played(&mut h, &[0xb4, 20, *v], 1.0)).collect::<Vec<_>>(), [command]);
    }
}

#[test]
fn an_unknown_address_is_not_learned() {
    let mut h = mapper(Map::default());
    assert!(h.learn("/jam/nonsense").is_err() && h.learn("/jam/beat").is_err());
    assert_eq!(h.message(Message::parse(&[0xb0, 9, 127]).unwrap(), 0.0), Response::default());
}

#[test]
fn a_toggle_alternates() {
    let mut h = mapper(Map::default());
    h.learn("/jam/stem/bass/solo").unwrap();
    [127, 0].iter().for_each(|v| drop(h.message(Message::parse(&[0xb0, 9, *v]).unwrap(), 0.0)));
    let solo = |on| Command::Stem(Which::One(0), Action::Solo(on));
    let all: Vec<Command> = [127, 0, 127, 0].iter().flat_map(|v| played(&mut h, &[0xb0, 9, *v], 0.0)).collect();
    assert_eq!(all, [solo(true), solo(false)]);
}

#[test]
fn an_endless_knob_stays_in_its_range() {
    let mut map = Map::default();
    map.put(Mapping::new(Control::Cc { channel: 1, number: 3 }, "/jam/sample/top_p", ControlMode::Relative));
    let mut h = mapper(map);
    (0..9).for_each(|_| drop(played(&mut h, &[0xb0, 3, 63], 0.0)));
    assert_eq!(played(&mut h, &[0xb0, 3, 127], 0.0), [Command::TopP(126.0 / 127.0)]);
}

#[test]
fn held_keys_set_the_chord() {
    let chord = |keys: &[u8]| chord_name(&keys.iter().copied().collect::<BTreeSet<u8>>()).unwrap_or_default();
    for (keys, symbol) in [
        (&[60, 64, 67][..], "C"),
        (&[57, 60, 64], "Am"),
        (&[55, 59, 62, 65], "G7"),
        (&[50, 53, 57, 60], "Dm7"),
        (&[64, 67, 72], "C"),
        (&[59, 62, 65, 69], "Bm7b5"),
        (&[60, 61, 62], ""),
        (&[], ""),
    ] {
        assert_eq!(chord(keys), symbol, "{keys:?}");
        assert!(symbol.is_empty() || symbol.parse::<sideman_engine::task::Chord>().is_ok());
    }
    let mut h = mapper(Map::parse("chord_channel = 4").unwrap());
    let mut all = Vec::new();
    for (bytes, at) in
        [([0x93, 57, 90], 0.0), ([0x93, 60, 90], 0.1), ([0x93, 64, 90], 0.2), ([0x83, 60, 0], 1.0), ([0x93, 60, 90], 1.1)]
    {
        all.extend(played(&mut h, &bytes, at));
    }
    // A fifth on the way to it is a chord, too.
    assert_eq!(all.last(), Some(&Command::Chords("Am".into())));
    assert_eq!(all.iter().filter(|c| **c == Command::Chords("Am".into())).count(), 1);
}

/// Teaches a mapper an address by some messages, with pauses of 10 ms. The mapping that was learned.
fn taught(address: &str, messages: &[&[u8]]) -> (MidiMapper, Option<Mapping>) {
    let mut h = mapper(Map::default());
    h.learn(address).unwrap();
    let mut learned = None;
    for (n, bytes) in messages.iter().enumerate() {
        h.time(n as f64 * 0.01);
        let response = h.message(Message::parse(bytes).unwrap(), n as f64 * 0.01);
        assert!(response.requests.is_empty() || learned.is_some());
        learned = learned.or(response.learned);
    }
    (h, learned)
}

/// The session's state with the drums at a level and mute.
fn session(gain: f32, mute: bool) -> Snapshot {
    let drums = StemState { gain, mute, ..StemState::default() };
    Snapshot { stems: vec![StemState::default(), drums, StemState::default()], tempo: 120.0, ..Snapshot::default() }
}

#[test]
fn a_relative_knob_starts_from_the_session_s_value() {
    let gain = |db: f32| Command::Stem(Which::One(1), Action::Gain(db));
    let step = 46.0 / 127.0;
    let mut h = taught("/jam/stem/drums/gain", &[&[0xb0, 20, 1], &[0xb0, 20, 1], &[0xb0, 20, 1]]).0;
    h.session(session(0.0, false));
    assert_eq!(played(&mut h, &[0xb0, 20, 1], 1.0), [gain(step)]);
    // Quick clicks add up before the session has taken them.
    assert_eq!(played(&mut h, &[0xb0, 20, 1], 1.1), [gain(2.0 * step)]);
    // Another hand has moved the level since.
    h.session(session(-20.0, false));
    assert_eq!(played(&mut h, &[0xb0, 20, 127], 3.0), [gain(-20.0 - step)]);
    // A level outside the knob's range does not jump into it.
    h.session(session(-60.0, false));
    assert_eq!(played(&mut h, &[0xb0, 20, 1], 5.0), [gain(-60.0 + step)]);
    // What is pending counts.
    let pending = Pending { command: gain(-10.0), at: 0 };
    h.session(Snapshot { pending: vec![pending], ..session(0.0, false) });
    assert_eq!(played(&mut h, &[0xb0, 20, 1], 7.0), [gain(-10.0 + step)]);
    // All stems, each from its own level.
    let mut h = taught("/jam/stem/all/gain", &[&[0xb0, 20, 1], &[0xb0, 20, 1], &[0xb0, 20, 1]]).0;
    h.session(session(-20.0, false));
    let of = |stem, db| Command::Stem(Which::One(stem), Action::Gain(db));
    assert_eq!(played(&mut h, &[0xb0, 20, 1], 1.0), [of(0, step), of(1, -20.0 + step), of(2, step)]);
    // A value that is in no snapshot.
    let mut h = taught("/jam/sample/temperature", &[&[0xb0, 20, 1], &[0xb0, 20, 1], &[0xb0, 20, 1]]).0;
    h.applied(&Command::Temperature(1.0));
    assert_eq!(played(&mut h, &[0xb0, 20, 1], 1.0), [Command::Temperature(1.0 + 2.0 / 127.0)]);
}

#[test]
fn a_toggle_follows_the_session_s_state() {
    let mute = |on| Command::Stem(Which::One(1), Action::Mute(on));
    let mut h = taught("/jam/stem/drums/mute", &[&[0xb0, 9, 127], &[0xb0, 9, 0]]).0;
    h.session(session(0.0, true));
    assert_eq!(played(&mut h, &[0xb0, 9, 127], 1.0), [mute(false)]);
    assert_eq!(played(&mut h, &[0xb0, 9, 127], 1.2), [mute(true)]);
    h.session(session(0.0, false));
    assert_eq!(played(&mut h, &[0xb0, 9, 127], 3.0), [mute(true)]);
    // All are on if each one is.
    let mut h = taught("/jam/stem/all/mute", &[&[0xb0, 9, 127], &[0xb0, 9, 0]]).0;
    h.session(session(0.0, true));
    assert_eq!(played(&mut h, &[0xb0, 9, 127], 1.0), [Command::Stem(Which::All, Action::Mute(true))]);
    // What is triggered has no state: each press counts.
    let mut h = mapper(Map::parse(MAP).unwrap());
    assert_eq!([1.0, 1.1, 9.0].map(|at| played(&mut h, &[0xc0, 4], at).len()), [1; 3]);
}

#[test]
fn wide_controls_are_learned_and_played() {
    let gain = |fraction: f32| Command::Stem(Which::One(1), Action::Gain(-40.0 + 46.0 * fraction));
    type Case<'a> = (&'a [&'a [u8]], Control, &'a [&'a [u8]], f32);
    let cases: [Case; 5] = [
        // A pair of controllers.
        (
            &[&[0xb0, 7, 64], &[0xb0, 39, 3], &[0xb0, 7, 64]],
            Control::Cc14 { channel: 1, number: 7 },
            &[&[0xb0, 7, 32], &[0xb0, 39, 1]],
            4097.0 / 16_383.0,
        ),
        // The lower half first.
        (&[&[0xb0, 39, 64], &[0xb0, 7, 3], &[0xb0, 39, 64]], Control::Cc14 { channel: 1, number: 7 }, &[&[0xb0, 7, 127]], 1.0),
        // NRPN 260, of 14 bits.
        (
            &[&[0xb0, 99, 2], &[0xb0, 98, 4], &[0xb0, 6, 9], &[0xb0, 38, 1], &[0xb0, 6, 10]],
            Control::Nrpn { channel: 1, number: 260 },
            &[&[0xb0, 99, 2], &[0xb0, 98, 4], &[0xb0, 6, 32], &[0xb0, 38, 1]],
            4097.0 / 16_383.0,
        ),
        // A motor fader: a touch, then pitch bend.
        (
            &[&[0x90, 104, 127], &[0xe2, 0, 9], &[0xe2, 5, 9], &[0xe2, 9, 10], &[0x90, 104, 0]],
            Control::Bend { channel: 3 },
            &[&[0xe2, 1, 32]],
            4097.0 / 16_383.0,
        ),
        // 7 bits, as before.
        (&[&[0xb0, 7, 64], &[0xb0, 7, 66], &[0xb0, 7, 70]], Control::Cc { channel: 1, number: 7 }, &[&[0xb0, 7, 127]], 1.0),
    ];
    for (messages, control, play, fraction) in cases {
        let (mut h, learned) = taught("/jam/stem/drums/gain", messages);
        let learned = learned.unwrap_or_else(|| panic!("{control} is not learned"));
        assert_eq!((learned.control, learned.mode), (control, ControlMode::Absolute));
        assert_eq!(control.to_string().parse(), Ok(control));
        let all: Vec<Command> = play.iter().flat_map(|bytes| played(&mut h, bytes, 1.0)).collect();
        let Some(Command::Stem(_, Action::Gain(db))) = all.last() else { panic!("{control}: {all:?}") };
        let Command::Stem(_, Action::Gain(wanted)) = gain(fraction) else { unreachable!() };
        assert!((db - wanted).abs() < 1e-3, "{control}: {db} for {wanted}");
    }
}

#[test]
fn endless_knobs_are_learned_in_all_their_encodings() {
    type Case<'a> = (&'a str, &'a [u8], ControlMode, u8, u8);
    let cases: [Case; 7] = [
        ("two's complement", &[1, 1, 1], ControlMode::Relative, 1, 127),
        ("two's complement, down", &[127, 127, 126], ControlMode::Relative, 1, 127),
        ("two's complement, accelerated", &[1, 3, 7, 5, 2, 1], ControlMode::Relative, 1, 127),
        ("sign", &[1, 1, 65], ControlMode::Relative, 1, 65),
        ("binary offset, down", &[63, 63, 62], ControlMode::RelativeOffset, 65, 63),
        ("binary offset, up", &[65, 65, 65, 65, 65, 65], ControlMode::RelativeOffset, 65, 63),
        ("binary offset, accelerated", &[65, 68, 66, 69, 66, 65], ControlMode::RelativeOffset, 65, 63),
    ];
    for (name, values, mode, up, down) in cases {
        let messages: Vec<[u8; 3]> = values.iter().map(|value| [0xb0, 20, *value]).collect();
        let (mut h, learned) = taught("/jam/tempo", &messages.iter().map(|m| &m[..]).collect::<Vec<_>>());
        assert_eq!(learned.map(|m| m.mode), Some(mode), "{name}");
        h.session(session(0.0, false));
        let mut tempo = |value: u8, at| match played(&mut h, &[0xb0, 20, value], at)[..] {
            [Command::Tempo(bpm)] => bpm,
            ref other => panic!("{name}: {other:?}"),
        };
        assert!(tempo(up, 1.0) > 120.0 && (tempo(down, 1.1) - 120.0).abs() < 1e-3, "{name}");
    }
    // A fader from its lower end and through its middle.
    for start in [1u8, 60, 113] {
        let messages: Vec<[u8; 3]> = (start..start + 7).map(|value| [0xb0, 20, value]).collect();
        let (_, learned) = taught("/jam/tempo", &messages.iter().map(|m| &m[..]).collect::<Vec<_>>());
        assert_eq!(learned.map(|m| m.mode), Some(ControlMode::Absolute), "from {start}");
    }
}

#[test]
fn a_key_is_learned_when_it_is_released() {
    let (_, learned) = taught("/jam/fill", &[&[0x90, 60, 100], &[0x90, 60, 0]]);
    assert_eq!(learned.map(|m| (m.control, m.mode)), Some((Control::Note { channel: 1, key: 60 }, ControlMode::Momentary)));
}

#[test]
fn learning_is_given_up_after_ten_seconds() {
    let mut h = mapper(Map::default());
    h.learn("/jam/tempo").unwrap();
    assert_eq!(h.time(100.0), Response::default());
    h.message(Message::parse(&[0xb0, 20, 40]).unwrap(), 101.0);
    assert_eq!(h.time(109.9), Response::default());
    assert_eq!(h.time(110.1).errors.len(), 1);
    assert_eq!(h.time(110.2), Response::default());
    for value in [41, 42, 43] {
        assert_eq!(h.message(Message::parse(&[0xb0, 20, value]).unwrap(), 111.0), Response::default());
    }
}

#[test]
fn a_sequencer_s_reset_is_no_panic() {
    // What a sequencer sends before it plays: all sound off and all notes off on every channel.
    let mut h = mapper(default_map(&STEMS));
    for channel in 0..16 {
        for number in [120, 123] {
            assert_eq!(played(&mut h, &[0xb0 | channel, number, 0], 1.0 + f64::from(channel) * 1e-3), []);
        }
    }
    assert_eq!(commands(&h.time(2.0).requests), []);
    // On one channel, before or after a start or stop.
    for (message, off) in [(0xfa, -0.01), (0xfa, 0.01), (0xfc, 0.1)] {
        let at = 10.0 * f64::from(message) + off;
        let mut both = [(at, vec![0xb0, 123, 0]), (at - off, vec![message])];
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both.iter().for_each(|(at, bytes)| assert_eq!(played(&mut h, bytes, *at), []));
        assert_eq!(commands(&h.time(at + 1.0).requests), []);
    }
    // A panic button in the middle of a song.
    played(&mut h, &[0xb0, 123, 0], 9000.0);
    assert_eq!(commands(&h.time(9000.1).requests), [Command::Panic]);
}

proptest! {
    #[test]
    fn any_bytes_are_handled(all in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..4), 0.0..9.0f64, any::<u8>()), 0..80)) {
        let mut map = default_map(&STEMS);
        map.chord_channel = Some(2);
        let mut h = mapper(map);
        for (bytes, at, other) in all {
            if other < 9 {
                h.learn("/jam/stem/all/mute").unwrap();
            }
            if let Some(message) = Message::parse(&bytes) {
                h.message(message, at);
            }
            h.time(at);
        }
    }
}
