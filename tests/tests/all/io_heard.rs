//! Requests change what is heard from their bar on and nothing before it: takes of file sessions with the
//! random model, one without requests and one with each request, are compared.

use std::path::Path;

use sideman_engine::live::{Action, Command, Request, When, Which};
use sideman_io::device::file::{self, Pace};
use sideman_io::run_mode::RunMode;
use sideman_io::take::Entry;
use sideman_tests::stage;

/// Samples and frames of a bar at 240 BPM.
const BAR: usize = 32_000;
const FRAMES: usize = BAR / 640;
/// Streams of the model: bass 2, drums 2, other 4; their delays are up to three frames.
const STREAMS: usize = 8;
const DRUMS: usize = 2;
const LATE: usize = 3;

struct Take {
    /// By frame.
    tokens: Vec<Vec<i32>>,
    drums: Vec<f32>,
    click: Vec<f32>,
}

/// Ten bars of a session with `requests`, each for a bar.
fn play(chords: &str, requests: &[(Command, i64)]) -> Take {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let config = sideman_engine::live::SessionConfig { tempo: 240.0, chords: Some(chords.into()), ..stage::config(12) };
    let (mut runner, _control) = stage::runner(config, RunMode::Files);
    runner.record(Some(dir.path().to_owned()), None).unwrap();
    let request = |(command, bar): &(Command, i64)| Entry {
        at: 0,
        request: Request { command: command.clone(), when: Some(When::AtBar(*bar)), from: 1 },
    };
    let events = requests.iter().map(request).collect();
    file::play(&mut runner, &stage::bass(10 * BAR, 32_000), Pace::Fast, events, |_| true);
    runner.finish();
    Take { tokens: tokens(&at("tokens.safetensors")), drums: stage::wav(&at("drums.wav")), click: stage::wav(&at("click.wav")) }
}

fn tokens(path: &Path) -> Vec<Vec<i32>> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensors().into_iter().next().unwrap().1;
    assert_eq!(tensor.shape()[1], STREAMS);
    let all: Vec<i32> = tensor.data().chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    all.chunks_exact(STREAMS).map(<[i32]>::to_vec).collect()
}

/// Frames of a bar, from 1.
fn bar(n: usize) -> std::ops::Range<usize> {
    (n - 1) * FRAMES..n * FRAMES
}

/// Two takes are the same before bar `n`, and differ within the next `bars` bars, in tokens and in the
/// samples of the drums.
fn differ_from(n: usize, bars: usize, a: &Take, b: &Take) {
    let from = bar(n).start;
    assert_eq!(a.tokens[..from - LATE], b.tokens[..from - LATE], "they differ before bar {n}");
    let to = from + bars * FRAMES;
    assert!((from..to).any(|f| a.tokens[f][DRUMS..] != b.tokens[f][DRUMS..]), "the tokens are the same from bar {n} on");
    // A frame of the codec begins 1280 samples earlier.
    let heard = from * 640 - 1280;
    assert!(a.drums[..heard] == b.drums[..heard], "the drums differ before bar {n}");
    let off = |r: std::ops::Range<usize>| r.map(|i| (a.drums[i] - b.drums[i]).abs()).fold(0.0, f32::max);
    assert!(off(heard..to * 640) > 1e-3, "the drums sound the same from bar {n} on");
}

#[test]
fn chords_and_fills_are_heard_from_their_bar_on() {
    let plain = play("Em C", &[]);
    assert!(plain.tokens.len() + LATE >= 10 * FRAMES);
    differ_from(5, 2, &plain, &play("Em C", &[(Command::Chords("F#m B7".into()), 5)]));
    differ_from(5, 1, &plain, &play("Em C", &[(Command::Fill, 5)]));
}

#[test]
fn sections_are_heard_from_their_bar_on() {
    const CHART: &str = "[A] Em C G [B] Am F [C] D";
    let plain = play(CHART, &[]);
    let gone = play(CHART, &[(Command::Section("B".into()), 3)]);
    differ_from(3, 2, &plain, &gone);
    // In the middle of A the next section is B, and so is section 2. Where the chart goes there anyway,
    // nothing changes.
    for name in ["", "2"] {
        let next = play(CHART, &[(Command::Section(name.into()), 3)]);
        assert!(next.tokens == gone.tokens && next.drums == gone.drums, "{name:?}");
    }
    assert_eq!(play(CHART, &[(Command::Section("B".into()), 4)]).tokens, plain.tokens);
}

#[test]
fn a_tempo_moves_the_clicks_from_its_bar_on() {
    let strikes = |take: &Take| {
        let quiet = |i: usize| i == 0 || take.click[i.saturating_sub(20)..i].iter().all(|x| x.abs() < 0.02);
        (0..take.click.len()).filter(|&i| take.click[i] > 0.4 && quiet(i)).collect::<Vec<_>>()
    };
    let (plain, faster) = (play("Em C", &[]), play("Em C", &[(Command::Tempo(300.0), 4)]));
    assert_eq!(strikes(&plain), (0..40).map(|n| n * 8000).collect::<Vec<_>>());
    let moved = (0..12).map(|n| n * 8000).chain((0..35).map(|n| 3 * BAR + n * 6400)).collect::<Vec<_>>();
    assert_eq!(strikes(&faster), moved);
    differ_from(4, 2, &plain, &faster);
}

#[test]
fn undo_brings_the_former_bar_back_and_redo_the_new_one() {
    let drums = |action| Command::Stem(Which::One(1), action);
    let take =
        play("Em C", &[(Command::LoopBars(1), 1), (drums(Action::Regen), 4), (drums(Action::Undo), 6), (drums(Action::Redo), 9)]);
    let of = |n: usize| take.tokens[bar(n)].iter().map(|f| f[DRUMS..DRUMS + 2].to_vec()).collect::<Vec<_>>();
    assert_ne!(of(4), of(3), "something else");
    for again in [6, 7, 8] {
        assert!(of(again) == of(3), "bar {again} is not the bar that was undone to");
    }
    assert_ne!(of(9), of(3));
    // The samples too, except where the codec still rings at the start of the bar.
    let heard = |n: usize| &take.drums[(n - 1) * BAR + BAR / 4..n * BAR - 1280];
    let power = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>();
    let apart = |a: usize, b: usize| {
        power(&mut heard(a).iter().zip(heard(b)).map(|(x, y)| x - y)) / power(&mut heard(b).iter().copied()).max(1e-9)
    };
    eprintln!("bar 7 is {:.4} beside bar 3, bar 4 {:.4}, bar 9 {:.4}", apart(7, 3), apart(4, 3), apart(9, 3));
    assert!(apart(7, 3) < 0.01 && apart(4, 3) > 0.1 && apart(9, 3) > 0.1);
}
