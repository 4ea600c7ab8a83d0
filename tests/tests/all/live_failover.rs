//! Failover: another backend takes over a session at a bar line, in phase, with the song as it was.

use sideman_engine::live::{Command, Request, Session, SessionConfig, Snapshot};
use sideman_engine::model::Model;
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::{Jam, bass};

/// Frames of a hop.
const HOP: usize = 4;

/// Everything that a session gave: tokens by frame, the click, and at which frame a window took over.
#[derive(Default)]
struct Heard {
    tokens: Vec<Vec<i32>>,
    click: Vec<f32>,
    windows: Vec<Option<i64>>,
    samples: usize,
}

impl Heard {
    fn hop(&mut self, session: &mut Session<CpuBackend>, cpu: &mut CpuBackend, model: &Model<CpuBackend>, heard: &[f32]) {
        session.hop(cpu, model, heard).unwrap();
        self.note(session, model);
    }

    fn note(&mut self, session: &Session<CpuBackend>, model: &Model<CpuBackend>) {
        let streams = model.config().streams.len();
        self.tokens.extend(session.tokens().1.chunks(streams).map(<[i32]>::to_vec));
        self.click.extend_from_slice(session.click());
        self.windows.push(session.window());
        self.samples += session.stem(1).len();
    }
}

/// A fast song with a chart and a click.
fn settings(jam: &Jam) -> SessionConfig {
    let chords = Some("Em C".into());
    SessionConfig { lag: 6, tempo: 240.0, chords, click: true, ..SessionConfig::for_model(jam.model.config()) }
}

#[test]
fn after_failover_the_band_comes_in_at_a_bar_line_in_phase() {
    for (lagged, lost) in [(true, 30), (true, 61), (false, 40)] {
        let (mut jam, mut standby) =
            (Jam::open(Fixture { lagged, ..Fixture::short() }), Jam::open(Fixture { lagged, ..Fixture::short() }));
        let settings = settings(&jam);
        let input_stem = bass(110 * HOP * 640);
        let hops: Vec<&[f32]> = input_stem.chunks(HOP * 640).collect();
        // Without failover.
        let mut whole = Heard::default();
        let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
        for heard in &hops {
            whole.hop(&mut session, &mut jam.cpu, &jam.model, heard);
        }
        // The same with failover: the first backend fails in hop `lost`, and the second one takes over.
        let mut heard = Heard::default();
        let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
        for hop in &hops[..lost] {
            heard.hop(&mut session, &mut jam.cpu, &jam.model, hop);
        }
        session.request(Request { command: Command::Tempo(240.0), when: None, from: 0 });
        session.hop(&mut jam.cpu, &jam.model, hops[lost]).unwrap();
        let waits = SessionConfig { playing: false, ..settings.clone() };
        let mut next = Session::new(&mut standby.cpu, &standby.model, &waits, None).unwrap();
        let heard_to = session.heard_to();
        next.take_over(&mut standby.cpu, &standby.model, session, None).unwrap();
        assert_eq!((next.heard_to(), next.window()), (heard_to, None));
        heard.note(&next, &standby.model);
        let (mut shown, mut swap) = (Snapshot::default(), None);
        for hop in &hops[lost + 1..] {
            for frame in hop.chunks(640) {
                heard.hop(&mut next, &mut standby.cpu, &standby.model, frame);
                if swap.is_none() && next.window().is_some() {
                    next.snapshot(&mut shown);
                    swap = Some(shown.committed / 640 - 1);
                }
            }
        }
        // The click is the same on every sample.
        assert!(heard.click == whole.click && heard.samples == whole.samples, "lagged {lagged}: the click");
        // On the band's streams: the song before the lost hop, then silence up to the swap, then music.
        let swap = swap.expect("a window takes over");
        let bar = 50 * 60 * 4 / 240;
        assert!(swap % bar <= 1 || swap % bar == bar - 1, "lagged {lagged}: frame {swap}, bars of {bar} frames");
        let silence: Vec<i32> = (0..6).map(|k| next.silence(k)).collect();
        let gone = (0..whole.tokens.len()).find(|&t| heard.tokens[t][1..3] != whole.tokens[t][1..3]).expect("it was lost");
        assert!(
            (gone as i64 - (lost * HOP) as i64).abs() < 40,
            "lagged {lagged}: tokens differ from frame {gone} on, hop {lost}"
        );
        for t in gone..swap as usize {
            assert_eq!(heard.tokens[t][1..3], silence[1..3], "lagged {lagged}: frame {t}, the swap is at {swap}");
        }
        assert!((swap - gone as i64) < 2 * bar + 20, "lagged {lagged}: back after {} frames", swap - gone as i64);
        let after = &heard.tokens[swap as usize..];
        let drums: std::collections::BTreeSet<i32> = after.iter().map(|frame| frame[1]).collect();
        assert!(after.len() > 40 && drums.len() > 5, "lagged {lagged}: {drums:?} is no music");
    }
}

#[test]
fn a_model_that_rests_costs_music_and_no_time() {
    for lagged in [true, false] {
        let mut jam = Jam::open(Fixture { lagged, ..Fixture::short() });
        let settings = settings(&jam);
        let input_stem = bass(440 * 640);
        let mut runs = Vec::new();
        for rests in [false, true] {
            let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
            let mut heard = Heard::default();
            for (n, frame) in input_stem.chunks(640).enumerate() {
                let rest = [(120, true), (200, false)].iter().find(|(at, _)| rests && *at == n);
                if let Some((_, rest)) = rest {
                    session.request(Request { command: Command::Rest(*rest), when: None, from: 0 });
                }
                heard.hop(&mut session, &mut jam.cpu, &jam.model, frame);
            }
            let silence: Vec<i32> = (0..6).map(|k| session.silence(k)).collect();
            runs.push((heard, silence));
        }
        let [(whole, silence), (rested, _)] = &runs[..] else { unreachable!() };
        assert!(rested.click == whole.click && rested.samples == whole.samples, "lagged {lagged}: the click");
        // The model does not run, and comes in again at a bar line.
        assert!(rested.windows[121..200].iter().all(Option::is_none), "lagged {lagged}");
        let back = (200..440).find(|n| rested.windows[*n].is_some()).expect("it comes in again");
        let bar = 50 * 60 * 4 / 240;
        let gone = (0..).find(|t| rested.tokens[*t][1..3] != whole.tokens[*t][1..3]).expect("it rested");
        let silent = |t: &usize| rested.tokens[*t][1..3] == silence[1..3];
        let swap = gone + (gone..rested.tokens.len()).take_while(silent).count();
        assert!(swap % bar <= 1 || swap % bar == bar - 1, "lagged {lagged}: music from frame {swap} on, bars of {bar}");
        assert!((100..140).contains(&gone) && back < 200 + 3 * bar, "lagged {lagged}: {gone} to {swap}, back at {back}");
        let drums: std::collections::BTreeSet<i32> = rested.tokens[swap..].iter().map(|frame| frame[1]).collect();
        assert!(drums.len() > 5, "lagged {lagged}: {drums:?} is no music");
    }
}

#[test]
fn a_session_of_another_lag_cannot_take_over() {
    let mut jam = Jam::open(Fixture::short());
    let settings = SessionConfig { lag: 6, ..SessionConfig::for_model(jam.model.config()) };
    let lost = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
    let mut other = Session::new(&mut jam.cpu, &jam.model, &SessionConfig { lag: 7, ..settings }, None).unwrap();
    let Jam { cpu, model } = &mut jam;
    assert!(other.take_over(cpu, model, lost, None).is_err());
}
