//! A hop allocates and frees nothing after the first one, whatever is requested between hops and however the band
//! starts; and the engine's thread sends what it has to say without memory.

use assert_no_alloc::{assert_no_alloc, reset_violation_count, violation_count};
use sideman_engine::live::{Action, Clock, Command, Mode, Pending, Request, Session, SessionConfig, Snapshot, StemState, Which};
use sideman_engine::task::Meter;
use sideman_io::control::Control;
use sideman_io::event::{EngineEvent, Event};
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::{Jam, bass, counted_line};

/// The counter counts, and is 0 afterwards: without it no test here could fail.
fn counter() {
    assert_no_alloc(|| drop(std::hint::black_box(vec![0u8; 100])));
    assert!(violation_count() > 0);
    reset_violation_count();
}

/// One hop; the first one of a session may allocate.
fn hop(jam: &mut Jam, session: &mut Session<CpuBackend>, heard: &[f32], first: bool) -> u32 {
    let mut play = || session.hop(&mut jam.cpu, &jam.model, heard).unwrap();
    if first {
        play()
    } else {
        assert_no_alloc(play)
    }
    violation_count()
}

#[test]
fn a_hop_allocates_nothing() {
    counter();
    let input_stem = bass(60 * 640);
    for lagged in [true, false] {
        let mut jam = Jam::open(Fixture { lagged, ..Fixture::short() });
        let text = jam.model.text.as_mut().unwrap().encode("funk drums").unwrap();
        let settings =
            SessionConfig { lag: 6, tempo: 240.0, guided: true, text_room: 32, ..SessionConfig::for_model(jam.model.config()) };
        let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, Some(&text)).unwrap();
        hop(&mut jam, &mut session, &input_stem[..4 * 640], true);
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
            Command::Clock(Clock::Ear),
            Command::Lag(9),
            Command::Guided(false),
            Command::Fill,
            Command::Guided(true),
            Command::Rest(true),
            Command::Rest(false),
            Command::Seed(3),
            Command::Stop,
            Command::CountIn(1),
            Command::Play,
            Command::Panic,
            Command::Play,
            Command::Clock(Clock::Ear),
            Command::Half,
            Command::One,
            Command::Stop,
            Command::Play,
        ];
        for (i, command) in requests.into_iter().enumerate() {
            session.request(Request { command, when: None, from: 0 });
            session.set_text(&mut jam.cpu, &jam.model, Some(&text).filter(|_| i % 2 == 0)).unwrap();
            for frames in [1, 25, 7, 16] {
                let count = hop(&mut jam, &mut session, &input_stem[..frames * 640], false);
                assert_eq!(count, 0, "request {i}, hop of {frames}, lagged {lagged}");
            }
        }
    }
}

/// The model runs for the first time in a hop: nothing was played when the session began.
#[test]
fn a_band_that_starts_later_allocates_nothing() {
    counter();
    let input_stem = bass(60 * 640);
    for (lagged, clock) in [(true, Clock::Internal), (false, Clock::Internal), (true, Clock::Jack), (true, Clock::Free)] {
        let mut jam = Jam::open(Fixture { lagged, ..Fixture::short() });
        let defaults = SessionConfig::for_model(jam.model.config());
        let settings = SessionConfig { lag: 6, tempo: 240.0, guided: true, clock, playing: false, ..defaults };
        let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
        for n in 0..100 {
            if n == 20 {
                session.request(Request { command: Command::Play, when: None, from: 0 });
            }
            let count = hop(&mut jam, &mut session, &input_stem[..4 * 640], n == 0);
            assert_eq!(count, 0, "hop {n}, lagged {lagged}, clock {clock:?}");
        }
        assert!(session.window().is_some(), "the model runs");
    }
}

#[test]
fn a_band_that_a_count_starts_and_the_musician_leads_allocates_nothing() {
    counter();
    let mut jam = Jam::open(Fixture::short());
    let defaults = SessionConfig::for_model(jam.model.config());
    let settings = SessionConfig {
        lag: 6,
        tempo: 120.0,
        clock: Clock::Ear,
        playing: false,
        guided: true,
        chords: Some("ear".into()),
        ..defaults
    };
    let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
    // The tempo slows down, so beat lines move.
    let input_stem = counted_line(24, 40.0, |beat| beat * 0.5 + (beat - 12.0).max(0.0) * 0.01);
    for (n, heard) in input_stem.chunks_exact(3 * 640).enumerate() {
        let count = hop(&mut jam, &mut session, heard, n == 0);
        assert_eq!(count, 0, "hop {n}");
    }
    let mut snapshot = Snapshot::default();
    session.snapshot(&mut snapshot);
    assert!(snapshot.playing && snapshot.tempo < 119.0 && !snapshot.chord.is_empty(), "it listens: {snapshot:?}");
}

/// What the engine's thread does after each hop.
#[test]
fn events_and_snapshots_are_sent_without_memory() {
    counter();
    let (control, mut controls) = Control::new();
    let events = control.events();
    let thread = controls.forward_events().unwrap();
    let snapshot = Snapshot {
        chord: "Em".into(),
        chords: "[A] Em C [B] G".into(),
        stems: vec![StemState::default(); 3],
        pending: vec![Pending { command: Command::Fill, at: 3 }; 5],
        ..Snapshot::default()
    };
    // The three buffers of the snapshots get their size; a reader gives the third one back.
    for _ in 0..4 {
        controls.publish(&snapshot);
        control.snapshot();
    }
    for n in 0..100 {
        let late = Event::Engine(EngineEvent::LateHop { late: f64::from(n) });
        assert_no_alloc(|| {
            controls.publish(&snapshot);
            controls.tell(late);
        });
        assert_eq!((violation_count(), control.snapshot()), (0, snapshot.clone()));
    }
    drop(controls);
    thread.join().unwrap();
    assert_eq!(events.try_iter().count(), 100);
}
