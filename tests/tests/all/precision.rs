//! What a coarser weight costs the trained house model: its logits over songs of its own, beside those of the same weights in f32.
//! `cargo test -p sideman-tests --test precision -- --nocapture` prints the figures of docs/measurements/quality.md.

use std::path::Path;

use sideman_engine::lm::{Lm, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Format, Sampling, UNKNOWN};
use sideman_tests::golden::relative_error;

const FRAMES: usize = 250;
/// Seeds of the songs: how sure a model is differs from song to song, and with it how often q4 has the same likeliest code (69 to 83 %).
const SONGS: std::ops::Range<u64> = 3..9;

/// Tokens [streams][frames] and logits [steps, Σ cards] of the song of a seed: drawn where `known` is none, else fed.
fn song(dir: &ModelDir, format: Format, seed: u64, known: Option<&[Vec<i32>]>) -> (Vec<Vec<i32>>, Vec<f32>) {
    let cpu = &mut CpuBackend::new(2);
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

/// The likeliest code of every stream and step.
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

#[test]
fn coarser_weights_are_near() {
    let dir = ModelDir::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/house")).unwrap();
    let cards: Vec<usize> = dir.config.streams.iter().map(|s| s.card).collect();
    // The file is in q8, so that q8 is what it stands for.
    let bounds = [(Format::Bf16, 0.02, 0.97), (Format::Q8, 1e-4, 0.999), (Format::Q4, 0.25, 0.7)];
    let mut sums = [(0.0, 0.0); 3];
    for seed in SONGS {
        let (tokens, exact) = song(&dir, Format::F32, seed, None);
        let (again, same) = song(&dir, Format::F32, seed, Some(&tokens));
        assert_eq!((&again, &same), (&tokens, &exact), "a song fed is not the song drawn");
        let best = likeliest(&exact, &cards);
        for ((format, most, _), (off, equal)) in bounds.iter().zip(&mut sums) {
            let (_, logits) = song(&dir, *format, seed, Some(&tokens));
            let apart = relative_error(&logits, &exact);
            assert!(apart <= *most, "{format:?}, song {seed}: {apart:.1e}");
            *off += apart;
            *equal += likeliest(&logits, &cards).iter().zip(&best).filter(|(a, b)| a == b).count() as f64 / best.len() as f64;
        }
    }
    for ((format, _, least), (off, equal)) in bounds.into_iter().zip(sums) {
        let (off, equal) = (off / SONGS.count() as f64, equal / SONGS.count() as f64);
        println!("{format:?}: logits {off:.1e} off, the likeliest code is the same in {:.1} %", equal * 100.0);
        assert!(equal >= least, "{format:?}: {equal:.3}");
    }
}
