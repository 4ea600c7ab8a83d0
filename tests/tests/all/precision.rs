//! The house model's logits with weights in bf16, q8 and q4, compared with f32, on songs that it sampled itself.
//! `cargo test -p sideman-tests --test all precision -- --nocapture` prints the figures of docs/measurements/quality.md.

use std::path::Path;

use sideman_engine::lm::{Lm, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Format, Sampling, UNKNOWN};
use sideman_tests::golden::relative_error;

const FRAMES: usize = 250;
/// Seeds of the songs. Several, because the share of steps where q4 has the same likeliest code varies from 69 to 83 % between songs.
const SONGS: std::ops::Range<u64> = 3..9;

/// Tokens [streams][frames] and logits [steps, Σ cards] of a song. Its tokens are sampled with `seed`, or given as `known`.
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

#[test]
fn logits_with_quantized_weights_are_close_to_f32() {
    let dir = ModelDir::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/house")).unwrap();
    let cards: Vec<usize> = dir.config.streams.iter().map(|s| s.card).collect();
    // Format, the largest relative error of the logits, the least share of equal likeliest codes. The model's file is in q8, so q8 is exact.
    let bounds = [(Format::Bf16, 0.02, 0.97), (Format::Q8, 1e-4, 0.999), (Format::Q4, 0.25, 0.7)];
    let mut sums = [(0.0, 0.0); 3];
    for seed in SONGS {
        let (tokens, exact) = song(&dir, Format::F32, seed, None);
        let (again, same) = song(&dir, Format::F32, seed, Some(&tokens));
        assert_eq!((&again, &same), (&tokens, &exact), "given tokens give other logits than the same tokens sampled");
        let best = likeliest(&exact, &cards);
        for ((format, max_error, _), (errors, equal)) in bounds.iter().zip(&mut sums) {
            let (_, logits) = song(&dir, *format, seed, Some(&tokens));
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
