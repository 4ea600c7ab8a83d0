//! Measures how fast this machine is: memory bandwidth, a step of a model, a codec. `sideman doctor` and
//! `sideman-bench` use it. Both measure all in one run, so that a step's speed can be given as a share of the
//! memory bandwidth at that time.

use std::time::{Duration, Instant};

use sideman_engine::codec::Codec;
use sideman_engine::lm::{Lm, RunSpec};
use sideman_engine::model::{Config, FRAME, SAMPLE_RATE};
use sideman_engine::text::Hidden;
use sideman_engine::{Error, Result};
use sideman_kernels::{Backend, Format, Sampling};

/// Bytes that are read for the bandwidth: more than any cache holds.
const SWEEP: usize = 512 << 20;

/// Times of repeated runs, sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts the times.
    pub fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The times of several runs as one.
    pub fn of(runs: impl IntoIterator<Item = Times>) -> Self {
        Self::new(runs.into_iter().flat_map(|times| times.0).collect())
    }

    /// The time that a share (0 to 1) of the runs stay within, in ms: nearest rank. NaN where there are none.
    pub fn ms(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
    }
}

/// Bytes a second that `threads` threads read from memory together: the best of five passes.
pub fn memory_bandwidth(threads: usize) -> f64 {
    // Ones, not zeros: pages that were never written are all the same page of zeros, which stays in the
    // cache.
    let words = vec![1u64; SWEEP / size_of::<u64>()];
    let part = words.len().div_ceil(threads.max(1));
    let sweep = |_| {
        let began = Instant::now();
        let total: u64 = std::thread::scope(|scope| {
            let sums: Vec<_> = words.chunks(part).map(|part| scope.spawn(move || sum(part))).collect();
            sums.into_iter().map(|s| s.join().unwrap_or(0)).sum()
        });
        assert_eq!(total, words.len() as u64, "a word was not read");
        SWEEP as f64 / began.elapsed().as_secs_f64()
    };
    (0..5).map(sweep).fold(0.0, f64::max)
}

/// Sum in eight lanes: wide enough to be bound by memory.
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0u64; 8];
    for chunk in words.chunks_exact(8) {
        for (lane, word) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().sum::<u64>() + words.chunks_exact(8).remainder().iter().sum::<u64>()
}

/// Which step is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepCase {
    /// Songs in one batch.
    pub songs: usize,
    /// Two lanes (conditioned, null), as with guidance.
    pub guided: bool,
    /// Steps in the cache before the first timed one.
    pub context: usize,
    /// Timed steps.
    pub steps: usize,
}

/// Times a prefill of `context` steps (in blocks of 64) and each single step after it, sampling included. A
/// text, where the model takes one, is 16 tokens long.
///
/// # Errors
/// The backend's memory is full.
pub fn step<B: Backend>(backend: &mut B, lm: &Lm<B>, case: StepCase) -> Result<(Duration, Times)> {
    let config = lm.config();
    let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
    let hidden = config.text.as_ref().map(|t| Hidden { len: 16, data: vec![0.1; 16 * t.dim] });
    let spec = RunSpec {
        songs: case.songs,
        guided: case.guided,
        delays: &delays,
        frames: case.context + case.steps,
        texts: &vec![hidden.as_ref(); case.songs],
        text_room: 0,
        kv: lm.cache(),
        block: 64,
        sampling: Sampling { temperature: 1.0, top_k: 250, top_p: 0.0, cfg: 3.0, seed: 0, frame_base: 0 },
    };
    let mut run = lm.run(backend, &spec)?;
    for (k, stream) in config.streams.iter().enumerate() {
        let known: Vec<i32> = (0..case.context).map(|t| (t * 7 % stream.card) as i32).collect();
        for song in 0..case.songs {
            run.put(backend, song, k, 0, &known)?;
        }
    }
    let began = Instant::now();
    while run.at() < case.context && run.next(backend, lm, case.context) > 0 {}
    let mut column = vec![0; case.songs * config.streams.len()];
    run.column(backend, 0, &mut column);
    let prefill = began.elapsed();
    let mut times = Vec::with_capacity(case.steps);
    for _ in 0..case.steps {
        let began = Instant::now();
        if !run.step(backend, lm) {
            break;
        }
        // Waits for the result, as a caller that decodes the frame does.
        run.column(backend, run.at(), &mut column);
        times.push(began.elapsed());
    }
    match times.is_empty() {
        true => Err(Error::Input("no step to time".into())),
        false => Ok((prefill, Times::new(times))),
    }
}

/// Bytes of memory that one step reads: every matrix once, whatever the number of lanes, and the cache of
/// each lane.
pub fn step_bytes(config: &Config, weights: Format, case: StepCase) -> f64 {
    let (d, ffn, layers) = (config.lm.dim as f64, config.lm.ffn as f64, config.lm.layers as f64);
    let cross = if config.text.is_some() { 2.0 * d * d } else { 0.0 };
    let heads: f64 = config.streams.iter().map(|s| s.card as f64 * d).sum();
    let matrices = layers * (4.0 * d * d + 2.0 * d * ffn + cross) + heads;
    let each = match weights {
        Format::F32 => 4.0,
        Format::Bf16 => 2.0,
        Format::Q8 => 1.125,
        Format::Q4 => 0.625,
    };
    let lanes = case.songs as f64 * if case.guided { 2.0 } else { 1.0 };
    let steps = case.context as f64 + case.steps as f64 / 2.0;
    let cached = if weights == Format::F32 { 4.0 } else { 2.0 };
    matrices * each + layers * lanes * steps * 2.0 * d * cached
}

/// How many times faster than real time a codec encodes and decodes `seconds` of noise.
///
/// # Errors
/// The backend's memory is full.
pub fn codec<B: Backend>(backend: &mut B, codec: &Codec<B>, seconds: usize) -> Result<(f64, f64)> {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
    };
    let samples: Vec<f32> = (0..seconds * SAMPLE_RATE / FRAME * FRAME).map(|_| noise()).collect();
    let began = Instant::now();
    let codes = codec.encode(backend, &samples)?;
    let encoded = began.elapsed();
    let began = Instant::now();
    codec.decode(backend, &codes)?;
    let decoded = began.elapsed();
    let times = |took: Duration| seconds as f64 / took.as_secs_f64().max(1e-9);
    Ok((times(encoded), times(decoded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let times = Times::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!((times.ms(0.5), times.ms(0.99), times.ms(1.0), times.ms(0.0)), (50.0, 99.0, 100.0, 1.0));
        assert!(Times::new(Vec::new()).ms(0.5).is_nan());
    }

    #[test]
    fn the_sum_reads_every_word() {
        for n in [0, 1, 7, 8, 9, 1000] {
            assert_eq!(sum(&vec![1; n]), n as u64);
        }
    }
}
