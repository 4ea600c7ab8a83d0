//! Sampling: guidance, temperature, top-k or top-p, and Gumbel-max with random numbers that are the same on every backend.
//!
//! # Random numbers
//! [`philox`] with the low and high 32 bits of the seed as its key. Counter words: 0 = code / 4, 1 = low 32 bits of the absolute
//! frame, 2 = stream, 3 = song. The four output words belong to codes 4·word0 + 0..3. Noise: [`gumbel`].
//!
//! # Order
//! 1. l = null + (cond − null)·g (an fma) where a song has two lanes, else the only lane's logit; not finite counts as −∞.
//!    g = cfg_scale·cfg + (1 − cfg_scale) (an fma), cfg_scale the stream's.
//! 2. Temperature 0 or less: the first maximum.
//! 3. top_p > 0: codes by falling l, equal ones by rising code; weight e^((l − max)/T); code i is kept where the sum of the
//!    weights before it is ≤ top_p · the sum of all (in that order, f32). Else top_k > 0: kept where l ≥ the k-th largest.
//! 4. The first maximum of l/T + noise among the kept codes.
//!
//! Streams are divided among the threads. The loops of one stream are compiled for each instruction set
//! ([`super::kernel::sample_code`]), and none of them depends on how.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::maximum::{first_maximum, limit_of_largest, maximum};
use super::pool::Shared;
use super::random::{CODES, Slot, gumbel_noise};
use super::scalar::exp;
use super::{Workers, kernel};
use crate::{BackendError, Grid, Sampling, UNKNOWN};

/// Sampling parameters, grid shape, scratch memory and a counter.
pub struct Sampler {
    grid: Grid,
    /// Index of each stream's first logit in its lane.
    first: Vec<usize>,
    sampling: Sampling,
    /// Tokens sampled from logits without a finite value.
    nonfinite: u32,
    /// One for each thread.
    scratch: Vec<Scratch>,
}

/// Scratch memory for one stream: a value for each code.
#[derive(Clone)]
pub(super) struct Scratch {
    logits: Vec<f32>,
    values: Vec<f32>,
    order: Vec<u64>,
}

/// Logits of one stream [card], and its guidance.
#[derive(Clone, Copy)]
pub(super) struct Logits<'a> {
    /// Of the conditioned lane.
    pub cond: &'a [f32],
    /// Of the null lane.
    pub null: Option<&'a [f32]>,
    /// The stream's share of the guidance.
    pub cfg_scale: f32,
}

impl Scratch {
    fn new(card: usize) -> Scratch {
        Scratch { logits: vec![0.0; card], values: vec![0.0; card], order: vec![0; card] }
    }
}

impl Sampler {
    pub(super) fn new(grid: &Grid, threads: usize) -> Result<Sampler, BackendError> {
        let bad = |what: String| Err(BackendError::Shape { op: "sampler", what });
        let (cards, delays, cfg_scale) = (grid.cards.len(), grid.delays.len(), grid.cfg_scale.len());
        if cards != delays || cards != cfg_scale || cards == 0 {
            return bad(format!("{cards} cards, {delays} delays and {cfg_scale} guidance scales; one of each for every stream"));
        }
        if grid.songs == 0 || !(1..=2).contains(&grid.branches) || grid.steps == 0 {
            return bad(format!("{} songs of {} branches, {} steps; branches is 1 or 2", grid.songs, grid.branches, grid.steps));
        }
        let largest = grid.cards.iter().copied().max().unwrap_or(0);
        if grid.cards.contains(&0) || largest > 1 << 24 {
            return bad(format!("cards {:?}; from 1 to 2^24", grid.cards));
        }
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 1.0, seed: 0, frame_base: 0 };
        let first = (0..cards).map(|stream| grid.cards[..stream].iter().sum()).collect();
        Ok(Sampler { grid: grid.clone(), first, sampling, nonfinite: 0, scratch: vec![Scratch::new(largest); threads.max(1)] })
    }

    pub(super) fn set(&mut self, s: &Sampling) {
        self.sampling = *s;
    }

    pub(super) fn nonfinite(&self) -> u32 {
        self.nonfinite
    }

    /// Samples the unknown tokens of step `s + 1` from the logits [lanes, Σ cards] of step `s`.
    pub(super) fn sample(&mut self, work: &mut Workers, logits: &[f32], s: usize, seq: &mut [i32]) {
        let Sampler { grid, first, sampling, nonfinite, scratch } = self;
        let (streams, steps, isa) = (grid.cards.len(), grid.steps, work.isa);
        let width: usize = grid.cards.iter().sum();
        assert!(logits.len() >= grid.songs * grid.branches * width, "sample: logits of {}", logits.len());
        assert!(seq.len() >= grid.songs * streams * steps, "sample: sequence of {}", seq.len());
        if s + 1 >= steps {
            return;
        }
        // A sampler of a backend with fewer threads.
        let largest = scratch[0].logits.len();
        scratch.resize_with(scratch.len().max(work.pool.threads()), || Scratch::new(largest));
        let (seq, scratch, faults) = (Shared::new(seq), Shared::new(scratch), AtomicU32::new(0));
        work.pool.each(grid.songs * streams, &|worker, item| {
            let (song, stream) = (item / streams, item % streams);
            // SAFETY: each item is another slot.
            let slot = &mut unsafe { seq.slice(item * steps + s + 1, 1) }[0];
            if *slot != UNKNOWN {
                return;
            }
            let card = grid.cards[stream];
            let Some(frame) = s.checked_sub(grid.delays[stream]) else {
                *slot = card as i32;
                return;
            };
            let lane = |branch: usize| &logits[(song * grid.branches + branch) * width + first[stream]..][..card];
            let null = (grid.branches == 2).then(|| lane(1));
            let logits = Logits { cond: lane(0), null, cfg_scale: grid.cfg_scale[stream] };
            let random = Slot {
                key: [sampling.seed as u32, (sampling.seed >> 32) as u32],
                frame: sampling.frame_base.wrapping_add(frame as i64) as u32,
                stream: stream as u32,
                song: song as u32,
            };
            // SAFETY: each thread takes only its own scratch memory.
            let scratch = &mut unsafe { scratch.slice(worker, 1) }[0];
            let code = kernel::sample_code(isa, logits, sampling, random, scratch);
            if code.is_none() {
                faults.fetch_add(1, Relaxed);
            }
            *slot = code.unwrap_or(0) as i32;
        });
        *nonfinite += faults.into_inner();
    }
}

/// Samples one code of one stream; `None` where no logit is finite.
#[inline(always)]
pub(super) fn sample_code(from: Logits, sampling: &Sampling, slot: Slot, scratch: &mut Scratch) -> Option<usize> {
    let Sampling { temperature, top_k, top_p, .. } = *sampling;
    let card = from.cond.len();
    let (logits, values) = (&mut scratch.logits[..card], &mut scratch.values[..card]);
    guide(from, sampling.cfg, logits);
    let best = first_maximum(logits);
    if logits[best] == f32::NEG_INFINITY {
        return None;
    }
    if temperature.is_nan() || temperature <= 0.0 {
        return Some(best);
    }
    if top_p > 0.0 {
        keep_nucleus(logits, logits[best], (temperature, top_p), values, &mut scratch.order[..card]);
    } else if top_k > 0 && (top_k as usize) < card {
        let limit = limit_of_largest(logits, top_k as usize);
        for l in logits.iter_mut() {
            *l = if *l < limit { f32::NEG_INFINITY } else { *l };
        }
    }
    let mut noise = [0.0; CODES];
    for (at, (values, logits)) in values.chunks_mut(CODES).zip(logits.chunks(CODES)).enumerate() {
        if maximum(logits) == f32::NEG_INFINITY {
            values.fill(f32::NEG_INFINITY);
            continue;
        }
        gumbel_noise(slot, at * CODES, &mut noise);
        for ((value, l), noise) in values.iter_mut().zip(logits).zip(&noise) {
            *value = l / temperature + noise;
        }
    }
    let code = first_maximum(values);
    // A temperature near 0 makes every value −∞.
    Some(if values[code] > f32::NEG_INFINITY { code } else { best })
}

/// Writes the guided logits of one stream.
#[inline(always)]
fn guide(from: Logits, cfg: f32, logits: &mut [f32]) {
    let factor = from.cfg_scale.mul_add(cfg, 1.0 - from.cfg_scale);
    let finite = |l: f32| if l.is_finite() { l } else { f32::NEG_INFINITY };
    match from.null {
        Some(null) => {
            for ((l, cond), null) in logits.iter_mut().zip(from.cond).zip(null) {
                *l = finite((cond - null).mul_add(factor, *null));
            }
        }
        None => logits.iter_mut().zip(from.cond).for_each(|(l, cond)| *l = finite(*cond)),
    }
}

/// Nucleus sampling: sets the logits that are not kept to −∞.
#[inline(always)]
fn keep_nucleus(logits: &mut [f32], largest: f32, (temperature, top_p): (f32, f32), weights: &mut [f32], order: &mut [u64]) {
    for (weight, l) in weights.iter_mut().zip(logits.iter()) {
        *weight = exp((l - largest) / temperature);
    }
    // By falling logit, then by rising code. Flipped bits of an f32 have the order of its values, as integers.
    for (code, (entry, l)) in order.iter_mut().zip(logits.iter()).enumerate() {
        let bits = l.to_bits();
        let falling = if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) };
        *entry = u64::from(falling) << 32 | code as u64;
    }
    order.sort_unstable();
    let code = |entry: &u64| *entry as u32 as usize;
    let total: f32 = order.iter().map(|entry| weights[code(entry)]).sum();
    let mut before = 0.0;
    for code in order.iter().map(code) {
        if before > top_p * total {
            logits[code] = f32::NEG_INFINITY;
        }
        before += weights[code];
    }
}

#[cfg(test)]
mod tests {
    use super::super::CpuBackend;
    use super::*;

    const CARDS: [usize; 2] = [9, 50];

    fn sampler(songs: usize, branches: usize, delays: [usize; 2]) -> Sampler {
        let grid = Grid { songs, branches, cards: CARDS.to_vec(), delays: delays.to_vec(), cfg_scale: vec![1.0; 2], steps: 6 };
        Sampler::new(&grid, 1).unwrap()
    }

    /// [`Sampler::sample`] on one thread.
    fn sample(sampler: &mut Sampler, logits: &[f32], s: usize, seq: &mut [i32]) {
        let mut backend = CpuBackend::new(1);
        sampler.sample(&mut backend.work, logits, s, seq);
    }

    fn sampling() -> Sampling {
        Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 3.0, seed: 7, frame_base: 0 }
    }

    /// Logits of one lane with some spread.
    fn lane(salt: usize) -> Vec<f32> {
        (0..59).map(|i| ((i * 31 + salt * 17) % 23) as f32 * 0.3).collect()
    }

    /// Share of each code of stream 1 in `n` sampled frames.
    fn histogram(s: Sampling, logits: &[f32], n: i64) -> Vec<f64> {
        let (mut p, mut counts) = (sampler(1, 1, [0, 0]), vec![0.0; CARDS[1]]);
        for frame_base in 0..n {
            let mut seq = [UNKNOWN; 12];
            p.set(&Sampling { frame_base, ..s });
            sample(&mut p, logits, 0, &mut seq);
            counts[seq[7] as usize] += 1.0 / n as f64;
        }
        counts
    }

    fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
        let e: Vec<f64> = logits.iter().map(|l| (f64::from(*l) / temperature).exp()).collect();
        let total: f64 = e.iter().sum();
        e.iter().map(|e| e / total).collect()
    }

    #[test]
    fn samples_follow_the_softmax_at_a_temperature() {
        let logits = lane(0);
        for temperature in [0.7, 1.0, 2.0] {
            let got = histogram(Sampling { temperature, ..sampling() }, &logits, 20_000);
            let want = softmax(&logits[9..], f64::from(temperature));
            for (code, (got, want)) in got.iter().zip(&want).enumerate() {
                let sigma = (want * (1.0 - want) / 20_000.0).sqrt();
                assert!((got - want).abs() < 5.0 * sigma + 1e-9, "T {temperature}, code {code}: {got} of {want}");
            }
        }
    }

    #[test]
    fn cfg_scale_scales_the_guidance_of_a_stream() {
        // Half of cfg 3 is cfg 2; none of it is the conditioned lane.
        let logits = [lane(0), lane(5).iter().map(|l| 0.3 * l).collect()].concat();
        let sampled = |cfg_scale: f32, cfg: f32| {
            let mut p = sampler(1, 2, [0, 0]);
            p.grid.cfg_scale[1] = cfg_scale;
            let mut codes = Vec::new();
            for frame_base in 0..200 {
                let mut seq = [UNKNOWN; 12];
                p.set(&Sampling { frame_base, cfg, ..sampling() });
                sample(&mut p, &logits, 0, &mut seq);
                codes.push((seq[1], seq[7]));
            }
            codes
        };
        let (all, half, none) = (sampled(1.0, 3.0), sampled(0.5, 3.0), sampled(0.0, 3.0));
        let second = |codes: &[(i32, i32)]| codes.iter().map(|c| c.1).collect::<Vec<_>>();
        assert_eq!(second(&half), second(&sampled(1.0, 2.0)));
        assert_eq!(second(&none), second(&sampled(1.0, 1.0)));
        assert_ne!(second(&half), second(&all));
        assert!(all.iter().zip(&half).all(|(a, b)| a.0 == b.0), "the other stream has cfg_scale 1");
    }

    #[test]
    fn top_k_keeps_the_k_largest_and_ties() {
        let logits = lane(0);
        for k in [1u32, 3, 10] {
            let mut sorted = logits[9..].to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let kth = sorted[k as usize - 1];
            let got = histogram(Sampling { top_k: k, ..sampling() }, &logits, 3000);
            for (code, got) in got.iter().enumerate() {
                assert_eq!(*got > 0.0, logits[9 + code] >= kth, "k {k}, code {code}");
            }
        }
    }

    #[test]
    fn top_p_keeps_codes_that_begin_at_or_below_p_and_overrides_top_k() {
        let logits = lane(0);
        let p = softmax(&logits[9..], 1.0);
        let mut order: Vec<usize> = (0..50).collect();
        order.sort_by(|a, b| p[*b].total_cmp(&p[*a]).then(a.cmp(b)));
        let got = histogram(Sampling { top_p: 0.53, top_k: 1, ..sampling() }, &logits, 5000);
        let mut before = 0.0;
        for code in order {
            assert_eq!(got[code] > 0.0, before <= 0.53, "code {code} after {before}");
            before += p[code];
        }
    }

    #[test]
    fn temperature_zero_takes_the_first_maximum_of_the_guided_logits() {
        let mut logits = [lane(1), lane(2)].concat();
        let mut p = sampler(1, 2, [0, 0]);
        p.set(&Sampling { temperature: 0.0, ..sampling() });
        let guided: Vec<f32> = (0..59).map(|i| (logits[i] - logits[59 + i]).mul_add(3.0, logits[59 + i])).collect();
        let mut seq = [UNKNOWN; 12];
        sample(&mut p, &logits, 2, &mut seq);
        assert_eq!(seq[3], first_maximum(&guided[..9]) as i32);
        assert_eq!(seq[9], first_maximum(&guided[9..]) as i32);
        assert!(seq.iter().enumerate().all(|(i, t)| i == 3 || i == 9 || *t == UNKNOWN));
        logits[4] = f32::NAN;
        logits[5] = f32::INFINITY;
        seq = [UNKNOWN; 12];
        sample(&mut p, &logits, 2, &mut seq);
        assert!(![4, 5].contains(&seq[3]) && p.nonfinite() == 0);
    }

    #[test]
    fn known_tokens_stay_and_slots_before_frame_0_are_special() {
        let mut p = sampler(1, 1, [0, 3]);
        p.set(&sampling());
        let mut seq = [UNKNOWN; 12];
        seq[1] = 4;
        sample(&mut p, &lane(0), 0, &mut seq);
        assert_eq!((seq[1], seq[7]), (4, 50));
        sample(&mut p, &lane(0), 3, &mut seq);
        assert!((0..50).contains(&seq[10]));
        sample(&mut p, &lane(0), 5, &mut seq);
    }

    #[test]
    fn logits_without_a_finite_value_are_counted() {
        let mut p = sampler(1, 1, [0, 0]);
        p.set(&sampling());
        let mut logits = lane(0);
        logits[..9].fill(f32::NAN);
        let mut seq = [UNKNOWN; 12];
        sample(&mut p, &logits, 0, &mut seq);
        assert_eq!((seq[1], p.nonfinite()), (0, 1));
    }

    #[test]
    fn random_numbers_depend_on_song_stream_absolute_frame_and_seed_only() {
        let sample = |seed: u64, base: i64, songs: usize| {
            let mut p = sampler(songs, 1, [0, 0]);
            p.set(&Sampling { seed, frame_base: base, temperature: 50.0, ..sampling() });
            let mut seq = vec![UNKNOWN; songs * 12];
            (0..5).for_each(|s| sample(&mut p, &lane(0).repeat(songs), s, &mut seq));
            seq
        };
        let two = sample(7, 0, 2);
        assert_eq!(sample(7, 0, 1), two[..12]);
        assert_ne!(two[..12], two[12..]);
        assert_ne!(sample(8, 0, 1), two[..12]);
        assert_ne!(sample(7 << 32, 0, 1), two[..12]);
        // The same absolute frame in another window has the same random numbers.
        assert_eq!(sample(7, 2, 1)[1..4], two[3..6]);
    }
}
