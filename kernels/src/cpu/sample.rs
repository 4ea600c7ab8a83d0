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

use super::quantize::first_maximum;
use super::random::{gumbel, philox};
use super::scalar::exp;
use crate::{BackendError, Grid, Sampling, UNKNOWN};

/// Sampling parameters, grid shape, scratch memory and a counter.
pub struct Sampler {
    grid: Grid,
    sampling: Sampling,
    /// Tokens sampled from logits without a finite value.
    nonfinite: u32,
    logits: Vec<f32>,
    order: Vec<u32>,
    sorted: Vec<f32>,
}

impl Sampler {
    pub(super) fn new(grid: &Grid) -> Result<Sampler, BackendError> {
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
        let (logits, sorted, order) = (vec![0.0; largest], vec![0.0; largest], vec![0; largest]);
        Ok(Sampler { grid: grid.clone(), sampling, nonfinite: 0, logits, order, sorted })
    }

    pub(super) fn set(&mut self, s: &Sampling) {
        self.sampling = *s;
    }

    pub(super) fn nonfinite(&self) -> u32 {
        self.nonfinite
    }

    /// Samples the unknown tokens of step `s + 1` from the logits [lanes, Σ cards] of step `s`.
    pub(super) fn sample(&mut self, logits: &[f32], s: usize, seq: &mut [i32]) {
        let (streams, steps) = (self.grid.cards.len(), self.grid.steps);
        let width: usize = self.grid.cards.iter().sum();
        assert!(logits.len() >= self.grid.songs * self.grid.branches * width, "sample: logits of {}", logits.len());
        assert!(seq.len() >= self.grid.songs * streams * steps, "sample: sequence of {}", seq.len());
        if s + 1 >= steps {
            return;
        }
        for song in 0..self.grid.songs {
            let mut first = 0;
            for stream in 0..streams {
                let card = self.grid.cards[stream];
                let slot = &mut seq[(song * streams + stream) * steps + s + 1];
                if *slot == UNKNOWN {
                    *slot = match s.checked_sub(self.grid.delays[stream]) {
                        None => card as i32,
                        Some(frame) => {
                            let lane = |branch: usize| &logits[(song * self.grid.branches + branch) * width + first..][..card];
                            let null = (self.grid.branches == 2).then(|| lane(1));
                            self.guide(lane(0), null, self.grid.cfg_scale[stream]);
                            self.choose(card, song, stream, frame) as i32
                        }
                    };
                }
                first += card;
            }
        }
    }

    /// Writes the guided logits of one stream to `self.logits`.
    fn guide(&mut self, cond: &[f32], null: Option<&[f32]>, cfg_scale: f32) {
        let g = cfg_scale.mul_add(self.sampling.cfg, 1.0 - cfg_scale);
        for (code, (out, cond)) in self.logits.iter_mut().zip(cond).enumerate() {
            let l = null.map_or(*cond, |null| (cond - null[code]).mul_add(g, null[code]));
            *out = if l.is_finite() { l } else { f32::NEG_INFINITY };
        }
    }

    /// Samples one code from `self.logits`.
    fn choose(&mut self, card: usize, song: usize, stream: usize, frame: usize) -> usize {
        let Sampling { temperature, top_k, top_p, seed, frame_base, .. } = self.sampling;
        let logits = &mut self.logits[..card];
        let best = first_maximum(logits);
        if logits[best] == f32::NEG_INFINITY {
            self.nonfinite += 1;
            return 0;
        }
        if temperature.is_nan() || temperature <= 0.0 {
            return best;
        }
        if top_p > 0.0 {
            let largest = logits[best];
            let order = &mut self.order[..card];
            order.iter_mut().enumerate().for_each(|(i, o)| *o = i as u32);
            order.sort_unstable_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
            let weight = |code: u32, logits: &[f32]| exp((logits[code as usize] - largest) / temperature);
            let total: f32 = order.iter().map(|code| weight(*code, logits)).sum();
            let mut before = 0.0;
            for code in order.iter() {
                let w = weight(*code, logits);
                if before > top_p * total {
                    logits[*code as usize] = f32::NEG_INFINITY;
                }
                before += w;
            }
        } else if top_k > 0 && (top_k as usize) < card {
            let sorted = &mut self.sorted[..card];
            sorted.copy_from_slice(logits);
            let (_, kth, _) = sorted.select_nth_unstable_by(top_k as usize - 1, |a, b| b.total_cmp(a));
            let kth = *kth;
            logits.iter_mut().filter(|l| **l < kth).for_each(|l| *l = f32::NEG_INFINITY);
        }
        let frame = frame_base.wrapping_add(frame as i64) as u32;
        let key = [seed as u32, (seed >> 32) as u32];
        let (mut highest, mut code) = (f32::NEG_INFINITY, best);
        for (word, four) in logits.chunks(4).enumerate() {
            if four.iter().all(|l| *l == f32::NEG_INFINITY) {
                continue;
            }
            let random = philox([word as u32, frame, stream as u32, song as u32], key);
            for (i, (l, random)) in four.iter().zip(random).enumerate() {
                let value = l / temperature + gumbel(random);
                if value > highest {
                    (highest, code) = (value, word * 4 + i);
                }
            }
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARDS: [usize; 2] = [9, 50];

    fn sampler(songs: usize, branches: usize, delays: [usize; 2]) -> Sampler {
        Sampler::new(&Grid { songs, branches, cards: CARDS.to_vec(), delays: delays.to_vec(), cfg_scale: vec![1.0; 2], steps: 6 })
            .unwrap()
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
            p.sample(logits, 0, &mut seq);
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
                p.sample(&logits, 0, &mut seq);
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
        p.sample(&logits, 2, &mut seq);
        assert_eq!(seq[3], first_maximum(&guided[..9]) as i32);
        assert_eq!(seq[9], first_maximum(&guided[9..]) as i32);
        assert!(seq.iter().enumerate().all(|(i, t)| i == 3 || i == 9 || *t == UNKNOWN));
        logits[4] = f32::NAN;
        logits[5] = f32::INFINITY;
        seq = [UNKNOWN; 12];
        p.sample(&logits, 2, &mut seq);
        assert!(![4, 5].contains(&seq[3]) && p.nonfinite() == 0);
    }

    #[test]
    fn known_tokens_stay_and_slots_before_frame_0_are_special() {
        let mut p = sampler(1, 1, [0, 3]);
        p.set(&sampling());
        let mut seq = [UNKNOWN; 12];
        seq[1] = 4;
        p.sample(&lane(0), 0, &mut seq);
        assert_eq!((seq[1], seq[7]), (4, 50));
        p.sample(&lane(0), 3, &mut seq);
        assert!((0..50).contains(&seq[10]));
        p.sample(&lane(0), 5, &mut seq);
    }

    #[test]
    fn logits_without_a_finite_value_are_counted() {
        let mut p = sampler(1, 1, [0, 0]);
        p.set(&sampling());
        let mut logits = lane(0);
        logits[..9].fill(f32::NAN);
        let mut seq = [UNKNOWN; 12];
        p.sample(&logits, 0, &mut seq);
        assert_eq!((seq[1], p.nonfinite()), (0, 1));
    }

    #[test]
    fn random_numbers_depend_on_song_stream_absolute_frame_and_seed_only() {
        let sample = |seed: u64, base: i64, songs: usize| {
            let mut p = sampler(songs, 1, [0, 0]);
            p.set(&Sampling { seed, frame_base: base, temperature: 50.0, ..sampling() });
            let mut seq = vec![UNKNOWN; songs * 12];
            (0..5).for_each(|s| p.sample(&lane(0).repeat(songs), s, &mut seq));
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
