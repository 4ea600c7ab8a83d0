//! A hop allocates and frees nothing after the first one, whatever is requested between hops.

use assert_no_alloc::{assert_no_alloc, reset_violation_count, violation_count};
use sideman_engine::live::{Action, Clock, Command, Mode, Request, Session, SessionConfig, Which};
use sideman_engine::task::Meter;
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::{Jam, bass};

#[test]
fn a_hop_allocates_nothing() {
    // The counter works.
    assert_no_alloc(|| drop(std::hint::black_box(vec![0u8; 100])));
    assert!(violation_count() > 0);
    reset_violation_count();

    let input_stem = bass(60 * 640);
    for lagged in [true, false] {
        let mut jam = Jam::open(Fixture { lagged, ..Fixture::short() });
        let text = jam.model.text.as_mut().unwrap().encode("funk drums").unwrap();
        let settings =
            SessionConfig { lag: 6, tempo: 240.0, guided: true, text_room: 32, ..SessionConfig::for_model(jam.model.config()) };
        let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, Some(&text)).unwrap();
        session.hop(&mut jam.cpu, &jam.model, &input_stem[..4 * 640]).unwrap();
        let requests = [
            Command::Chords("[A] Em C [B] G".into()),
            Command::Stem(Which::All, Action::Freeze(1)),
            Command::Stem(Which::One(1), Action::Undo),
            Command::Stem(Which::One(2), Action::Freeze(0)),
            Command::Stem(Which::All, Action::Regen),
            Command::Section("b".into()),
            Command::Section(String::new()),
            Command::Chords("F".into()),
            Command::Chords("ear".into()),
            Command::Tempo(210.0),
            Command::Meter(Meter::ThreeFour),
            Command::Mode(Mode::Loop),
            Command::Mode(Mode::Lead),
            Command::Section("verse".into()),
            Command::Mode(Mode::Follow),
            Command::InputStem(Some(1)),
            Command::Clock(Clock::Free),
            Command::Lag(9),
            Command::Guided(false),
            Command::Fill,
            Command::Guided(true),
            Command::Seed(3),
            Command::Stop,
            Command::CountIn(1),
            Command::Play,
            Command::Panic,
            Command::Play,
        ];
        for (i, command) in requests.into_iter().enumerate() {
            session.request(Request { command, when: None, from: 0 });
            session.set_text(&mut jam.cpu, &jam.model, Some(&text).filter(|_| i % 2 == 0)).unwrap();
            for frames in [1, 25, 7, 16] {
                assert_no_alloc(|| session.hop(&mut jam.cpu, &jam.model, &input_stem[..frames * 640]).unwrap());
                assert_eq!(violation_count(), 0, "request {i}, hop of {frames}, lagged {lagged}");
            }
        }
    }
}
