//! The house model's logits with weights in bf16, q8 and q4, compared with f32, on songs that it sampled itself; and with activations in
//! 8-bit integers, compared with those in f32, on songs that it sampled to the bass lines in `examples/`.
//! `cargo test -p sideman-tests --test all precision -- --nocapture` prints the figures of docs/measurements/quality.md.

use std::path::{Path, PathBuf};

use sideman_engine::audio;
use sideman_engine::codec::Codec;
use sideman_engine::lm::{Lm, RunSpec};
use sideman_engine::model::{FRAME, ModelDir};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Activations, Format, Sampling, UNKNOWN};
use sideman_tests::golden::relative_error;

const FRAMES: usize = 250;
/// Seeds of the songs. Several, because the share of steps where q4 has the same likeliest code varies from 69 to 83 % between songs.
const SONGS: std::ops::Range<u64> = 3..9;

/// Tokens [streams][frames] and logits [steps, Σ cards] of a song. Its tokens are sampled with `seed`, except those of the first streams
/// that are `known`.
fn song(
    dir: &ModelDir,
    format: Format,
    activations: Activations,
    seed: u64,
    known: Option<&[Vec<i32>]>,
) -> (Vec<Vec<i32>>, Vec<f32>) {
    let cpu = &mut CpuBackend::new(2).with_activations(activations);
    let lm = Lm::load(cpu, dir, format).unwrap();
    let streams = &lm.config().streams;
    let delays: Vec<usize> = streams.iter().map(|s| s.delay).collect();
    let spec = RunSpec {
        songs: 1,
        guided: false,
        delays: &delays,
        frames: FRAMES,
        texts: &[None],
        text_room: 0,
        kv: Format::F32,
        block: 1,
        sampling: Sampling { temperature: 1.0, top_k: 250, top_p: 0.0, cfg: 1.0, seed, frame_base: 0 },
    };
    let mut run = lm.run(cpu, &spec).unwrap();
    for (k, codes) in known.into_iter().flatten().enumerate() {
        run.put(cpu, 0, k, 0, codes).unwrap();
    }
    let width: usize = run.grid().cards.iter().sum();
    let mut logits = Vec::new();
    while run.step(cpu, &lm) {
        let at = logits.len();
        logits.resize(at + width, 0.0);
        run.logits(cpu, &mut logits[at..]);
    }
    let mut tokens = vec![vec![UNKNOWN; FRAMES]; streams.len()];
    for (k, row) in tokens.iter_mut().enumerate() {
        run.codes(cpu, 0, k, 0, row);
    }
    (tokens, logits)
}

/// The likeliest code for each step and stream.
fn likeliest(logits: &[f32], cards: &[usize]) -> Vec<usize> {
    let mut all = Vec::new();
    for mut row in logits.chunks_exact(cards.iter().sum()) {
        for card in cards {
            let (codes, rest) = row.split_at(*card);
            all.extend((0..*card).max_by(|a, b| codes[*a].total_cmp(&codes[*b])));
            row = rest;
        }
    }
    all
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn house() -> ModelDir {
    ModelDir::open(repository("models/house")).unwrap()
}

#[test]
fn logits_with_quantized_weights_are_close_to_f32() {
    let dir = house();
    let cards: Vec<usize> = dir.config.streams.iter().map(|s| s.card).collect();
    // Format, the largest relative error of the logits, the least share of equal likeliest codes. The model's file is in q8, so q8 is exact.
    let bounds = [(Format::Bf16, 0.02, 0.97), (Format::Q8, 1e-4, 0.999), (Format::Q4, 0.25, 0.7)];
    let mut sums = [(0.0, 0.0); 3];
    for seed in SONGS {
        let (tokens, exact) = song(&dir, Format::F32, Activations::F32, seed, None);
        let (again, same) = song(&dir, Format::F32, Activations::F32, seed, Some(&tokens));
        assert_eq!((&again, &same), (&tokens, &exact), "given tokens give other logits than the same tokens sampled");
        let best = likeliest(&exact, &cards);
        for ((format, max_error, _), (errors, equal)) in bounds.iter().zip(&mut sums) {
            let (_, logits) = song(&dir, *format, Activations::F32, seed, Some(&tokens));
            let error = relative_error(&logits, &exact);
            assert!(error <= *max_error, "{format:?}, song {seed}: {error:.1e}");
            *errors += error;
            *equal += likeliest(&logits, &cards).iter().zip(&best).filter(|(a, b)| a == b).count() as f64 / best.len() as f64;
        }
    }
    for ((format, _, min_equal), (errors, equal)) in bounds.into_iter().zip(sums) {
        let (error, equal) = (errors / SONGS.count() as f64, equal / SONGS.count() as f64);
        println!(
            "{format:?}: relative error of the logits {error:.1e}; the likeliest code is the same in {:.1} %",
            equal * 100.0
        );
        assert!(equal >= min_equal, "{format:?}: {equal:.3}");
    }
}

/// Relative entropy of the softmax of `other` to that of `exact`, in nats, on average over steps and streams.
fn divergence(exact: &[f32], other: &[f32], cards: &[usize]) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    let width: usize = cards.iter().sum();
    for (mut exact, mut other) in exact.chunks_exact(width).zip(other.chunks_exact(width)) {
        for card in cards {
            let (p, q);
            (p, exact) = exact.split_at(*card);
            (q, other) = other.split_at(*card);
            let log_softmax = |logits: &[f32]| {
                let largest = logits.iter().fold(f64::NEG_INFINITY, |m, x| m.max(f64::from(*x)));
                let total: f64 = logits.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
                logits.iter().map(|x| f64::from(*x) - largest - total.ln()).collect::<Vec<f64>>()
            };
            let (p, q) = (log_softmax(p), log_softmax(q));
            sum += p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            count += 1;
        }
    }
    sum / f64::from(count)
}

/// Songs of [`FRAMES`] frames from the middle of each bass line in `examples/`, the other streams sampled.
fn songs_to_bass_lines(dir: &ModelDir) -> Vec<(Vec<Vec<i32>>, Vec<f32>)> {
    let cpu = &mut CpuBackend::new(2);
    let bass = dir.config.stems.iter().position(|stem| stem == "bass").unwrap();
    assert_eq!(dir.config.streams_of("bass"), [0, 1], "the first streams are the bass");
    let codec = Codec::load(cpu, dir, &dir.config.stems[bass]).unwrap();
    ["funk", "jazz", "rock"]
        .iter()
        .zip(1..)
        .map(|(name, seed)| {
            let samples = audio::read(&repository(&format!("examples/{name}.flac"))).unwrap().samples;
            let codes = codec.encode(cpu, &samples[samples.len() / 3..][..FRAMES * FRAME]).unwrap();
            let line: Vec<Vec<i32>> =
                (0..codec.books()).map(|q| codes.iter().skip(q).step_by(codec.books()).map(|c| *c as i32).collect()).collect();
            song(dir, Format::Q8, Activations::F32, seed, Some(&line))
        })
        .collect()
}

#[test]
fn logits_with_8_bit_activations_are_close_to_those_with_f32() {
    let dir = house();
    let cards: Vec<usize> = dir.config.streams.iter().map(|s| s.card).collect();
    let songs = songs_to_bass_lines(&dir);
    // Weights and activations, what they are compared with, the largest divergence in nats, the least share of equal likeliest codes.
    for (format, activations, other, most, least) in [
        (Format::Q8, Activations::Int8, Format::Q8, 2.5e-4, 0.97),
        (Format::Q4, Activations::Int8, Format::Q4, 2.5e-4, 0.97),
        (Format::Bf16, Activations::F32, Format::Q8, 5e-5, 0.98),
    ] {
        let (mut nats, mut equal) = (0.0, 0.0);
        for (tokens, exact) in &songs {
            let exact = if other == Format::Q8 { exact } else { &song(&dir, other, Activations::F32, 1, Some(tokens)).1 };
            let (_, logits) = song(&dir, format, activations, 1, Some(tokens));
            nats += divergence(exact, &logits, &cards) / songs.len() as f64;
            let (a, b) = (likeliest(exact, &cards), likeliest(&logits, &cards));
            equal += a.iter().zip(&b).filter(|(a, b)| a == b).count() as f64 / (a.len() * songs.len()) as f64;
        }
        let share = equal * 100.0;
        println!(
            "{format:?} by {activations:?} against {other:?} by F32: {nats:.2e} nats; the likeliest code is the same in {share:.2} %"
        );
        assert!(nats > 0.0 && nats <= most, "{format:?}: {nats:.2e}");
        assert!(equal >= least, "{format:?}: {equal:.4}");
    }
}
