//! Windows of live play, each compared with one run of the model that is given the same all at once.

use std::path::Path;

use sideman_engine::live::{Session, SessionConfig, Snapshot};
use sideman_engine::lm::{Pattern, Run, RunSpec};
use sideman_engine::task::Chart;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Format, Sampling, UNKNOWN};
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::{Jam, bass};

/// Tokens of a session, [streams][frames], and its windows.
struct Song {
    rows: Vec<Vec<i32>>,
    /// Of each window: the frame at which it takes over, and the frame at which it starts.
    swaps: Vec<(i64, i64)>,
}

fn play(jam: &mut Jam, settings: &SessionConfig, frames: usize) -> Song {
    let input_stem = bass(frames * 640);
    let mut session = Session::new(&mut jam.cpu, &jam.model, settings, None).unwrap();
    let mut song = Song { rows: vec![vec![]; jam.model.config().streams.len()], swaps: vec![] };
    let (mut snapshot, mut window) = (Snapshot::default(), session.window());
    for hop in input_stem.chunks(640) {
        session.hop(&mut jam.cpu, &jam.model, hop).unwrap();
        for frame in session.tokens().1.chunks(song.rows.len()) {
            song.rows.iter_mut().zip(frame).for_each(|(row, token)| row.push(*token));
        }
        if session.window() != window {
            window = session.window();
            session.snapshot(&mut snapshot);
            song.swaps.push((snapshot.committed / 640 - 1, window.unwrap()));
        }
    }
    song
}

/// A run whose target starts at frame `start`; its prefix is known before frame `cut`.
fn equivalent_run(
    jam: &mut Jam,
    settings: &SessionConfig,
    song: &Song,
    start: i64,
    cut: i64,
    lag: usize,
) -> (Run<CpuBackend>, usize) {
    let config = jam.model.config().clone();
    let (edit, delays) = (config.edit.clone().unwrap(), config.streams.iter().map(|s| s.delay).collect::<Vec<_>>());
    let input_stem: Vec<bool> = config.streams.iter().map(|s| s.stem == "bass").collect();
    let prefix = edit.window / edit.decimation + 1;
    let run = RunSpec {
        songs: 1,
        guided: false,
        delays: &Pattern::lagged(&delays, &input_stem, lag),
        frames: prefix + edit.window,
        texts: &[None],
        text_room: 0,
        kv: Format::F32,
        block: 7,
        sampling: Sampling {
            temperature: settings.temperature,
            top_k: settings.top_k,
            top_p: settings.top_p,
            cfg: 1.0,
            seed: settings.seed,
            frame_base: start - prefix as i64,
        },
    };
    let mut run = jam.model.lm.run(&mut jam.cpu, &run).unwrap();
    let chart = Chart::new(settings.tempo, settings.bar1 as f64 / 32000.0, settings.meter).unwrap();
    for (k, stream) in config.streams.iter().enumerate() {
        let special = stream.card as i32;
        let summary = |i: usize| Some(start + (i * edit.decimation) as i64).filter(|&t| t < cut && i + 1 < prefix);
        let row: Vec<i32> = (0..prefix).map(|i| summary(i).map_or(special, |t| song.rows[k][t as usize])).collect();
        run.put(&mut jam.cpu, 0, k, 0, &row).unwrap();
    }
    for (c, control) in config.controls.iter().enumerate() {
        let value = |t: i64| chart.control(&control.name, t).unwrap_or(UNKNOWN);
        let before: Vec<i32> = (0..prefix - 1).map(|i| value(start + (i * edit.decimation) as i64)).collect();
        run.control(&mut jam.cpu, &jam.model.lm, c, 0, &before);
        let after: Vec<i32> = (0..edit.window as i64).map(|i| value(start + i)).collect();
        run.control(&mut jam.cpu, &jam.model.lm, c, prefix, &after);
    }
    (run, prefix)
}

#[test]
fn a_window_continues_the_last_one_at_a_bar_line() {
    let mut jam = Jam::open(Fixture::short());
    // A bar is 50 frames.
    let settings = SessionConfig { lag: 7, tempo: 240.0, seed: 3, ..SessionConfig::for_model(jam.model.config()) };
    let song = play(&mut jam, &settings, 420);
    let starts: Vec<i64> = song.swaps.iter().map(|s| s.1).collect();
    assert_eq!(song.swaps.iter().map(|s| s.0).collect::<Vec<_>>(), [100, 150, 200, 250, 300, 350, 400], "{starts:?}");
    let delays = [0, 0, 0, 1, 2, 3];
    for &(swap, start) in &song.swaps[..3] {
        assert_eq!(start, swap - 20);
        // Priming starts 8 frames before, when the input stem is known up to `lag` frames before that.
        let (mut run, prefix) = equivalent_run(&mut jam, &settings, &song, start, swap - 8 - 7, 7);
        let (from, frames) = (prefix, 60usize);
        for (k, delay) in delays.iter().enumerate() {
            let known = if k == 0 { frames as i64 } else { swap - delay - start };
            let row = &song.rows[k][start as usize..][..known as usize];
            run.put(&mut jam.cpu, 0, k, from, row).unwrap();
        }
        let limit = from + frames;
        while run.next(&mut jam.cpu, &jam.model.lm, limit) > 0 {}
        for (k, delay) in delays.iter().enumerate().skip(1) {
            let first = (swap - delay - start) as usize;
            let mut made = vec![0; 30];
            run.codes(&mut jam.cpu, 0, k, from + first, &mut made);
            assert_eq!(made, song.rows[k][start as usize + first..][..30], "stream {k}, window from {start}");
        }
    }
    // If no bar line lies in a window, it changes on a beat: a bar is 120 frames, a beat 30.
    let slow = play(&mut jam, &SessionConfig { tempo: 100.0, ..settings.clone() }, 300);
    let swaps: Vec<i64> = slow.swaps.iter().map(|s| s.0).collect();
    assert_eq!(swaps, [90, 120, 180, 240, 300], "{:?}", slow.swaps);
}

/// The band's frame `f` when the input stem is known before frame `known`, by one run.
fn predicted(jam: &mut Jam, settings: &SessionConfig, song: &Song, f: i64, known: i64) -> Vec<i32> {
    let (mut run, prefix) = equivalent_run(jam, settings, song, 0, 0, 0);
    let delays: Vec<i64> = jam.model.config().streams.iter().map(|s| s.delay as i64).collect();
    let bass = jam.model.config().streams_of("bass");
    for (k, delay) in delays.iter().enumerate() {
        let to = if bass.contains(&k) { known } else { (f - delay).max(0) };
        run.put(&mut jam.cpu, 0, k, prefix, &song.rows[k][..to as usize]).unwrap();
    }
    while run.next(&mut jam.cpu, &jam.model.lm, prefix + f as usize + 1) > 0 {}
    let mut column = vec![0; delays.len()];
    run.column(&mut jam.cpu, prefix + f as usize + 1, &mut column);
    column
}

#[test]
fn wrong_predictions_of_the_input_stem_are_corrected() {
    for golden in [None, Some("six")] {
        let mut jam = match golden {
            None => Jam::open(Fixture { lagged: false, ..Fixture::short() }),
            Some(name) => Jam::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)),
        };
        let ahead = (0..3).map(|s| 100 - jam.model.codecs[s].known_frames(64_000) as i64).max().unwrap();
        let lag = 6;
        let settings = SessionConfig { lag, seed: 5, ..SessionConfig::for_model(jam.model.config()) };
        let first = jam.model.config().edit.as_ref().unwrap().window as i64;
        let song = play(&mut jam, &settings, first as usize + 10);
        let mut checked = 0;
        for f in [7, 13, 22, 23, 24, 25, 31].into_iter().filter(|&f| f < song.swaps[0].0) {
            // The prediction is corrected every four frames.
            let n = (f - lag as i64 + ahead) / 4 * 4;
            let column = predicted(&mut jam, &settings, &song, f, (n - ahead).max(0));
            for (k, stream) in jam.model.config().streams.iter().enumerate().filter(|(_, s)| s.stem != "bass") {
                if f >= stream.delay as i64 {
                    assert_eq!(column[k], song.rows[k][f as usize - stream.delay], "frame {f}, stream {k}");
                    checked += 1;
                }
            }
        }
        assert!(checked > 20);
    }
}
