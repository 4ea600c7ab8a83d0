//! A live session on the fixture models gives what the offline task gives, whatever the hop.

use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use sideman_engine::live::{Session, SessionConfig};
use sideman_engine::task::{Chart, Lagged, Settings};
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::{Jam, bass};

/// Plays `frames` frames of a bass, and compares tokens and samples with the offline task's. Returns the
/// lead.
fn equals_offline(jam: &mut Jam, lag: usize, frames: usize) -> i64 {
    let input_stem = bass(frames * 640);
    let streams = jam.model.config().streams.len();
    let chart = Chart::new(97.0, 0.0, Default::default()).unwrap().with_chords("Em C,D").unwrap();
    let settings = Settings { chart: Some(chart), seed: 11, temperature: 0.9, ..Settings::new(jam.model.config()) };
    let task = Lagged { given: vec![Some(&input_stem), None, None], lag, settings };
    let song = task.render(&mut jam.model, &mut jam.cpu, &mut |_| ControlFlow::Continue(())).unwrap().remove(0);
    let settings = SessionConfig {
        lag,
        tempo: 97.0,
        chords: Some("Em C,D".into()),
        guided: true,
        seed: 11,
        temperature: 0.9,
        ..SessionConfig::for_model(jam.model.config())
    };
    let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
    let mut made = vec![vec![]; streams];
    let mut stems: Vec<Vec<f32>> = (0..3).map(|s| session.stem(s).to_vec()).collect();
    for hop in input_stem.chunks(4 * 640) {
        session.hop(&mut jam.cpu, &jam.model, hop).unwrap();
        stems.iter_mut().enumerate().for_each(|(s, stem)| stem.extend_from_slice(session.stem(s)));
        let (from, tokens) = session.tokens();
        assert_eq!(from as usize, made[0].len());
        tokens.chunks(streams).for_each(|frame| made.iter_mut().zip(frame).for_each(|(row, token)| row.push(*token)));
    }
    // The task's last columns lie past its grid: they have no controls, and streams have ended.
    let whole = made[0].len() - 3;
    assert!(whole > frames - 10, "{whole}");
    for (row, task) in made.iter().zip(&song.codes) {
        assert_eq!(row[..whole], task[..whole]);
    }
    // The samples of the band's stems are equal from song time 0 on.
    for s in [1, 2] {
        assert!(stems[s][..(whole - 5) * 640] == song.stems[s][..(whole - 5) * 640], "stem {s}");
        assert_eq!(stems[s].len() as i64, input_stem.len() as i64 + session.lead());
    }
    session.lead()
}

#[test]
fn the_first_window_equals_the_lagged_task() {
    let mut jam = Jam::open(Fixture::default());
    for lag in [4, 9] {
        equals_offline(&mut jam, lag, 150);
    }
    // Guided by input stem and chords: two lanes.
    equals_offline(&mut Jam::open(Fixture { guides: true, ..Fixture::default() }), 6, 100);
    // The shape of the house model: a bass of two codebooks, and codecs with different look-ahead.
    let mut house = Jam::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/house"));
    assert_eq!(equals_offline(&mut house, 8, 70), 1696);
}

/// All that a session gives: stems, levels, click, tokens.
type Heard = (Vec<Vec<f32>>, Vec<[f32; 2]>, Vec<f32>, Vec<i32>);

fn listen(jam: &mut Jam, settings: &SessionConfig, input_stem: &[f32], hops: &[usize]) -> Heard {
    let mut session = Session::new(&mut jam.cpu, &jam.model, settings, None).unwrap();
    let mut all = (vec![vec![]; 3], vec![], vec![], vec![]);
    let (mut at, mut i) = (0, 0);
    while at < input_stem.len() {
        let n = (hops[i % hops.len()] * 640).min(input_stem.len() - at);
        session.hop(&mut jam.cpu, &jam.model, &input_stem[at..at + n]).unwrap();
        (0..3).for_each(|s| all.0[s].extend_from_slice(session.stem(s)));
        all.1.extend_from_slice(session.levels(1));
        all.2.extend_from_slice(session.click());
        all.3.extend_from_slice(session.tokens().1);
        (at, i) = (at + n, i + 1);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn the_hop_changes_nothing(hops in prop::collection::vec(1usize..=25, 1..5), lagged: bool) {
        let mut jam = Jam::open(Fixture { lagged, ..Fixture::short() });
        let input_stem = bass(250 * 640);
        let settings = SessionConfig { lag: 6, bar1: 20_000, count_in: 1, click: true, ..SessionConfig::for_model(jam.model.config()) };
        prop_assert!(listen(&mut jam, &settings, &input_stem, &hops) == listen(&mut jam, &settings, &input_stem, &[4]));
    }
}
