use std::collections::BTreeSet;

use proptest::prelude::*;
use sideman_engine::live::{Action, Command, Request, Which};

use super::*;

const STEMS: [&str; 3] = ["bass", "drums", "other"];

fn hands(map: Map) -> MidiMapper {
    MidiMapper::new(Names::new("house", &STEMS), map, 5)
}

fn commands(wishes: &[Request]) -> Vec<Command> {
    wishes.iter().map(|r| r.command.clone()).collect()
}

/// What bytes at a time make the hands wish.
fn played(hands: &mut MidiMapper, bytes: &[u8], at: f64) -> Vec<Command> {
    commands(&hands.message(Message::parse(bytes).unwrap(), at).0)
}

#[test]
fn bytes_are_messages() {
    assert_eq!(Message::parse(&[0x92, 36, 100]), Some(Message::Note { channel: 3, key: 36, velocity: 100 }));
    assert_eq!(Message::parse(&[0x82, 36, 64]), Some(Message::Note { channel: 3, key: 36, velocity: 0 }));
    assert_eq!(Message::parse(&[0xb0, 7, 127]), Some(Message::Control { channel: 1, number: 7, value: 127 }));
    assert_eq!(Message::parse(&[0xf2, 3, 1]), Some(Message::Position(131)));
    assert_eq!(Message::parse(&[0xf8]), Some(Message::Tick));
    for bytes in [&[][..], &[0xfe], &[0xb0, 7], &[0xb0, 7, 128], &[7, 7], &[0xf0, 1, 2, 0xf7], &[0xf8, 1]] {
        assert_eq!(Message::parse(bytes), None, "{bytes:?}");
    }
}

#[test]
fn the_default_page_is_the_contracts() {
    let mut h = hands(default_page(&STEMS));
    assert_eq!(played(&mut h, &[0xb1, 7, 127], 0.0), [Command::Stem(Which::One(1), Action::Gain(6.0))]);
    assert_eq!(played(&mut h, &[0xb2, 64, 127], 0.0), [Command::Stem(Which::One(2), Action::Freeze(2))]);
    assert_eq!(played(&mut h, &[0xb2, 64, 0], 0.0), [Command::Stem(Which::One(2), Action::Freeze(0))]);
    assert_eq!(played(&mut h, &[0xb0, 11, 127], 0.0), [Command::Dim(0.0)]);
    assert_eq!(played(&mut h, &[0xb0, 1, 0], 0.0), [Command::Temperature(0.0)]);
    // Pads, however softly, and programs go to sections.
    assert_eq!(played(&mut h, &[0x99, 37, 9], 0.0), [Command::Section("2".into())]);
    assert_eq!(played(&mut h, &[0x89, 37, 0], 0.0), []);
    assert_eq!(played(&mut h, &[0xc0, 0], 0.0), [Command::Section("1".into())]);
    assert_eq!(played(&mut h, &[0xc0, 0], 0.0), [Command::Section("1".into())]);
    for panic in [120, 123] {
        assert_eq!(played(&mut h, &[0xb9, panic, 0], 0.0), [Command::Panic]);
    }
    assert_eq!(played(&mut h, &[0xb9, 99, 1], 0.0), []);
    assert_eq!(played(&mut h, &[0xfa], 0.0), [Command::Play]);
    assert_eq!(played(&mut h, &[0xfc], 0.0), [Command::Stop]);
}

#[test]
fn a_map_is_its_file() {
    let text = "chord_channel = 4\nclock_offset = -6.0\n\n[[control]]\ncontrol = \"note 10 36\"\naddress = \"/jam/stem/drums/freeze 2\"\n\
        way = \"switch\"\nhold = \"/jam/stem/drums/undo\"\ndouble = \"/jam/stem/drums/freeze 0\"\n\n[[control]]\ncontrol = \"program 1 4\"\n\
        address = \"/jam/section/next\"\nway = \"toggle\"\n";
    let map = Map::parse(text).unwrap();
    assert_eq!(Map::parse(&map.text().unwrap()).unwrap(), map);
    let page = default_page(&STEMS);
    assert_eq!(Map::parse(&page.text().unwrap()).unwrap(), page);
    for (wrong, what) in [
        ("[[control]]\ncontrol = \"cc 17 1\"\naddress = \"/jam/fill\"\nway = \"toggle\"", "a channel of 1 to 16"),
        ("[[control]]\ncontrol = \"cc 1 1\"\naddress = \"/jam/fill\"\nway = \"sideways\"", "sideways"),
        ("[[control]]\ncontrol = \"cc 1 1\"\naddress = \"/jam/fill\"\nway = \"toggle\"\nto = nan", "should be numbers"),
        ("clock_offset = 5000", "-1000 and 1000"),
        ("tempo = 3", "tempo"),
    ] {
        let error = Map::parse(wrong).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
    // A tap is known once no second one can come; a hold while the foot is down; a double tap at once.
    let mut h = hands(map);
    let mut press = |down: u8, at: f64| played(&mut h, &[0x99, 36, down], at);
    let (tap, undo, thaw) = (
        Command::Stem(Which::One(1), Action::Freeze(2)),
        Command::Stem(Which::One(1), Action::Undo),
        Command::Stem(Which::One(1), Action::Freeze(0)),
    );
    assert_eq!((press(127, 0.0), press(0, 0.1)), (vec![], vec![]));
    assert_eq!(commands(&h.time(0.35)), [tap]);
    let mut press = |down: u8, at: f64| played(&mut h, &[0x99, 36, down], at);
    assert_eq!([press(127, 1.0), press(0, 1.1), press(127, 1.2), press(0, 1.3)].concat(), [thaw]);
    assert_eq!(press(127, 2.0), []);
    assert_eq!(commands(&h.time(2.6)), []);
    assert_eq!(commands(&h.time(2.75)), [undo]);
    assert_eq!(played(&mut h, &[0x99, 36, 0], 3.0), []);
    assert_eq!(commands(&h.time(9.0)), []);
}

#[test]
fn a_control_is_learned_by_moving_it() {
    type Case = (&'static str, &'static [u8], Way, &'static [u8], Command);
    let cases: [Case; 4] = [
        ("/jam/stem/drums/gain", &[40, 41, 43], Way::Absolute, &[0], Command::Stem(Which::One(1), Action::Gain(-40.0))),
        ("/jam/stem/drums/mute", &[127, 0], Way::Toggle, &[127], Command::Stem(Which::One(1), Action::Mute(true))),
        ("/jam/fill", &[127, 0], Way::Momentary, &[127], Command::Fill),
        ("/jam/sample/temperature", &[1, 1, 1], Way::Relative, &[1], Command::Temperature(2.0 / 127.0)),
    ];
    for (address, moves, way, play, command) in cases {
        let mut h = hands(Map::default());
        assert!(h.learn(address).contains("move"));
        let mut told = None;
        for value in moves {
            let (wishes, said) = h.message(Message::parse(&[0xb4, 20, *value]).unwrap(), 0.0);
            assert_eq!(wishes, []);
            told = told.or(said);
        }
        assert_eq!(told, Some(format!("learned: cc 5 20 is {address}")));
        assert_eq!(h.map().get(Control::Cc { channel: 5, number: 20 }).unwrap().way, way);
        assert_eq!(play.iter().flat_map(|v| played(&mut h, &[0xb4, 20, *v], 1.0)).collect::<Vec<_>>(), [command]);
    }
    // A toggle goes to and fro; a knob without ends stays in its range.
    let mut h = hands(Map::default());
    assert!(h.learn("/jam/nonsense").contains("no address"));
    h.learn("/jam/stem/bass/solo");
    [127, 0].iter().for_each(|v| drop(h.message(Message::parse(&[0xb0, 9, *v]).unwrap(), 0.0)));
    let solo = |on| Command::Stem(Which::One(0), Action::Solo(on));
    let all: Vec<Command> = [127, 0, 127, 0].iter().flat_map(|v| played(&mut h, &[0xb0, 9, *v], 0.0)).collect();
    assert_eq!(all, [solo(true), solo(false)]);
    let mut map = Map::default();
    map.put(Entry::new(Control::Cc { channel: 1, number: 3 }, "/jam/sample/top_p", Way::Relative));
    let mut h = hands(map);
    (0..9).for_each(|_| drop(played(&mut h, &[0xb0, 3, 63], 0.0)));
    assert_eq!(played(&mut h, &[0xb0, 3, 127], 0.0), [Command::TopP(126.0 / 127.0)]);
}

#[test]
fn held_keys_are_the_chord() {
    let chord = |keys: &[u8]| name(&keys.iter().copied().collect::<BTreeSet<u8>>()).unwrap_or_default();
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
    let mut h = hands(Map::parse("chord_channel = 4").unwrap());
    let mut all = Vec::new();
    for (bytes, at) in
        [([0x93, 57, 90], 0.0), ([0x93, 60, 90], 0.1), ([0x93, 64, 90], 0.2), ([0x83, 60, 0], 1.0), ([0x93, 60, 90], 1.1)]
    {
        all.extend(played(&mut h, &bytes, at));
    }
    // A fifth alone on the way to it is a chord too.
    assert_eq!(all.last(), Some(&Command::Chords("Am".into())));
    assert_eq!(all.iter().filter(|c| **c == Command::Chords("Am".into())).count(), 1);
}

#[test]
fn the_band_meets_the_clock_that_comes_in() {
    let mut h = hands(Map::default());
    // Its next samples are decided 0.3 s ahead of what sounds.
    let mut model = Snapshot { tempo: 120.0, bar: 1, beat: 1, clock: Source::Midi, ..Snapshot::default() };
    let at = |t: f64| (t * 32_000.0).round() as i64;
    let tick = 60.0 / 100.0 / 24.0;
    model.time = at(0.3);
    assert_eq!(h.follow(&model, 0.0), []);
    h.message(Message::Start, 0.0);
    (0..=96).for_each(|k| drop(h.message(Message::Tick, f64::from(k) * tick)));
    let now = 96.0 * tick;
    // The clock is at beat 1 of bar 2. Its bar 3 is the first that the band, which is still, can meet: 4 quarters on.
    model.time = at(now + 0.3);
    let wishes = h.follow(&model, now);
    let [Request { command: Command::Tempo(tempo), .. }, Request { command: Command::Play, when: Some(When::Sample(bar)), .. }] =
        wishes[..]
    else {
        panic!("{wishes:?}")
    };
    assert!((tempo - 100.0).abs() < 0.01 && (bar - at(now + 2.4)).abs() <= 1, "{wishes:?}");
    // The band plays, 0.3 of a beat ahead of where the clock will be: a little slower than the clock.
    (model.playing, model.tempo, model.bar, model.beat, model.phase) = (true, 100.0, 1, 1, 0.5 + 0.3);
    let wishes = h.follow(&model, now);
    let [Request { command: Command::Tempo(tempo), .. }] = wishes[..] else { panic!("{wishes:?}") };
    assert!((95.9..96.5).contains(&tempo), "{tempo}");
    model.phase = 0.5;
    assert_eq!(h.follow(&model, now), []);
    // It starts anew with its bars elsewhere: the band is still, and comes in again.
    h.message(Message::Start, now);
    (97..=145).for_each(|k| drop(h.message(Message::Tick, f64::from(k) * tick)));
    let now = 145.0 * tick;
    (model.time, model.beat) = (at(now + 0.3), 4);
    assert_eq!(commands(&h.follow(&model, now)), [Command::Stop]);
    assert!(!commands(&h.follow(&model, now)).contains(&Command::Stop));
    model.playing = false;
    assert!(commands(&h.follow(&model, now)).contains(&Command::Play));
    // Its stop is at once; and who has another source of the beat is left alone.
    assert_eq!(h.message(Message::Stop, now).0[0].when, Some(When::Now));
    model.clock = Source::Internal;
    assert_eq!(h.follow(&model, now), []);
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(all in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..4), 0.0..9.0f64, any::<u8>()), 0..80)) {
        let mut map = default_page(&STEMS);
        map.chord_channel = Some(2);
        let mut h = hands(map);
        for (bytes, at, other) in all {
            if other < 9 {
                h.learn("/jam/stem/all/mute");
            }
            if let Some(message) = Message::parse(&bytes) {
                h.message(message, at);
            }
            h.time(at);
        }
    }
}
