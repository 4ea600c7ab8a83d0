//! The draw: guidance, temperature, top-k or top-p, and Gumbel-max over dice that any player throws alike.
//!
//! # Dice
//! Philox4x32-10 (Salmon et al. 2011). Key: (low, high) 32 bits of the seed. Counter words: 0 = code / 4, 1 = low 32 bits of the
//! absolute frame, 2 = stream, 3 = song. The four outputs belong to codes 4·word0 + 0..3. A word w becomes
//! u = ((w >> 9) + 0.5) · 2^-23 (exact in f32, never 0 or 1) and the noise −ln(−ln u), with the player's own `ln`
//! ([`super::scalar::ln`]).
//!
//! # Order
//! 1. l = null + (cond − null)·g (an fma) where a song has two lanes, else the only lane's logit. Not finite counts as −∞ (dropped).
//!    g = lean·cfg + (1 − lean) (an fma): how much of the guidance the stream takes.
//! 2. Greedy (temperature ≤ 0): first maximum.
//! 3. top_p > 0: codes by falling l, equal ones by rising code; weight e^((l − max)/T); code i stays where the sum of the weights
//!    before it is ≤ top_p · the sum of all (in that order, f32). Else top_k > 0: stays where l ≥ the k-th largest.
//! 4. First maximum of l/T + noise among those that stay.

use super::quantize::first_maximum;
use super::scalar::{exp, ln};
use crate::{BackendError, Grid, Sampling, UNKNOWN};

/// Sampling parameters, grid shape and scratch.
pub struct Picker {
    grid: Grid,
    sampling: Sampling,
    faults: u32,
    logits: Vec<f32>,
    order: Vec<u32>,
    sorted: Vec<f32>,
}

impl Picker {
    pub(super) fn new(grid: &Grid) -> Result<Picker, BackendError> {
        let bad = |what: String| Err(BackendError::Shape { op: "picker", what });
        let (cards, delays, cfg_scale) = (grid.cards.len(), grid.delays.len(), grid.cfg_scale.len());
        if cards != delays || cards != cfg_scale || cards == 0 {
            return bad(format!("{cards} cards, {delays} delays and {cfg_scale} leans; one of each for every stream"));
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
        Ok(Picker { grid: grid.clone(), sampling, faults: 0, logits, order, sorted })
    }

    pub(super) fn set(&mut self, s: &Sampling) {
        self.sampling = *s;
    }

    pub(super) fn faults(&self) -> u32 {
        self.faults
    }

    /// Picks the unknown tokens of step `s + 1` from the logits [lanes, Σ cards] of step `s`.
    pub(super) fn pick(&mut self, logits: &[f32], s: usize, seq: &mut [i32]) {
        let (streams, steps) = (self.grid.cards.len(), self.grid.steps);
        let width: usize = self.grid.cards.iter().sum();
        assert!(logits.len() >= self.grid.songs * self.grid.branches * width, "pick: logits of {}", logits.len());
        assert!(seq.len() >= self.grid.songs * streams * steps, "pick: sequence of {}", seq.len());
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
                            self.draw(card, song, stream, frame) as i32
                        }
                    };
                }
                first += card;
            }
        }
    }

    fn guide(&mut self, cond: &[f32], null: Option<&[f32]>, cfg_scale: f32) {
        let g = cfg_scale.mul_add(self.sampling.cfg, 1.0 - cfg_scale);
        for (code, (out, cond)) in self.logits.iter_mut().zip(cond).enumerate() {
            let l = null.map_or(*cond, |null| (cond - null[code]).mul_add(g, null[code]));
            *out = if l.is_finite() { l } else { f32::NEG_INFINITY };
        }
    }

    fn draw(&mut self, card: usize, song: usize, stream: usize, frame: usize) -> usize {
        let Sampling { temperature, top_k, top_p, seed, frame_base, .. } = self.sampling;
        let logits = &mut self.logits[..card];
        let best = first_maximum(logits);
        if logits[best] == f32::NEG_INFINITY {
            self.faults += 1;
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
        let (mut highest, mut picked) = (f32::NEG_INFINITY, best);
        for (word, four) in logits.chunks(4).enumerate() {
            if four.iter().all(|l| *l == f32::NEG_INFINITY) {
                continue;
            }
            let dice = philox([word as u32, frame, stream as u32, song as u32], key);
            for (i, (l, dice)) in four.iter().zip(dice).enumerate() {
                let value = l / temperature + gumbel(dice);
                if value > highest {
                    (highest, picked) = (value, word * 4 + i);
                }
            }
        }
        picked
    }
}

/// −ln(−ln u) of a die.
fn gumbel(word: u32) -> f32 {
    let u = ((word >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0);
    -ln(-ln(u))
}

/// Philox4x32 with 10 rounds.
pub(super) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random123's published vectors (kat_vectors, philox4x32 10).
    #[test]
    fn philox_known_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, want) in cases {
            assert_eq!(philox(counter, key), want);
        }
    }

    const CARDS: [usize; 2] = [9, 50];

    fn picker(songs: usize, branches: usize, delays: [usize; 2]) -> Picker {
        Picker::new(&Grid { songs, branches, cards: CARDS.to_vec(), delays: delays.to_vec(), cfg_scale: vec![1.0; 2], steps: 6 })
            .unwrap()
    }

    fn sampling() -> Sampling {
        Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 3.0, seed: 7, frame_base: 0 }
    }

    /// Logits of one lane with some spread.
    fn lane(salt: usize) -> Vec<f32> {
        (0..59).map(|i| ((i * 31 + salt * 17) % 23) as f32 * 0.3).collect()
    }

    /// How often each code of stream 1 is drawn in `n` frames.
    fn histogram(s: Sampling, logits: &[f32], n: i64) -> Vec<f64> {
        let (mut p, mut counts) = (picker(1, 1, [0, 0]), vec![0.0; CARDS[1]]);
        for frame_base in 0..n {
            let mut seq = [UNKNOWN; 12];
            p.set(&Sampling { frame_base, ..s });
            p.pick(logits, 0, &mut seq);
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
    fn draws_follow_the_softmax_at_a_temperature() {
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
    fn a_stream_takes_its_share_of_the_guidance() {
        // Half of "three times as far" is twice as far; no share of it is the told lane.
        let logits = [lane(0), lane(5).iter().map(|l| 0.3 * l).collect()].concat();
        let drawn = |cfg_scale: f32, cfg: f32| {
            let mut p = picker(1, 2, [0, 0]);
            p.grid.cfg_scale[1] = cfg_scale;
            let mut codes = Vec::new();
            for frame_base in 0..200 {
                let mut seq = [UNKNOWN; 12];
                p.set(&Sampling { frame_base, cfg, ..sampling() });
                p.pick(&logits, 0, &mut seq);
                codes.push((seq[1], seq[7]));
            }
            codes
        };
        let (all, half, none) = (drawn(1.0, 3.0), drawn(0.5, 3.0), drawn(0.0, 3.0));
        let second = |codes: &[(i32, i32)]| codes.iter().map(|c| c.1).collect::<Vec<_>>();
        assert_eq!(second(&half), second(&drawn(1.0, 2.0)));
        assert_eq!(second(&none), second(&drawn(1.0, 1.0)));
        assert_ne!(second(&half), second(&all));
        assert!(all.iter().zip(&half).all(|(a, b)| a.0 == b.0), "the other stream takes all of it");
    }

    #[test]
    fn top_k_keeps_the_largest_and_their_ties() {
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
    fn top_p_keeps_what_begins_below_p_and_goes_before_top_k() {
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
    fn greedy_takes_the_first_maximum_of_guided_logits() {
        let mut logits = [lane(1), lane(2)].concat();
        let mut p = picker(1, 2, [0, 0]);
        p.set(&Sampling { temperature: 0.0, ..sampling() });
        let guided: Vec<f32> = (0..59).map(|i| (logits[i] - logits[59 + i]).mul_add(3.0, logits[59 + i])).collect();
        let mut seq = [UNKNOWN; 12];
        p.pick(&logits, 2, &mut seq);
        assert_eq!(seq[3], first_maximum(&guided[..9]) as i32);
        assert_eq!(seq[9], first_maximum(&guided[9..]) as i32);
        assert!(seq.iter().enumerate().all(|(i, t)| i == 3 || i == 9 || *t == UNKNOWN));
        logits[4] = f32::NAN;
        logits[5] = f32::INFINITY;
        seq = [UNKNOWN; 12];
        p.pick(&logits, 2, &mut seq);
        assert!(![4, 5].contains(&seq[3]) && p.faults() == 0);
    }

    #[test]
    fn known_slots_stay_and_frames_before_the_first_are_special() {
        let mut p = picker(1, 1, [0, 3]);
        p.set(&sampling());
        let mut seq = [UNKNOWN; 12];
        seq[1] = 4;
        p.pick(&lane(0), 0, &mut seq);
        assert_eq!((seq[1], seq[7]), (4, 50));
        p.pick(&lane(0), 3, &mut seq);
        assert!((0..50).contains(&seq[10]));
        p.pick(&lane(0), 5, &mut seq);
    }

    #[test]
    fn nothing_finite_is_a_fault() {
        let mut p = picker(1, 1, [0, 0]);
        p.set(&sampling());
        let mut logits = lane(0);
        logits[..9].fill(f32::NAN);
        let mut seq = [UNKNOWN; 12];
        p.pick(&logits, 0, &mut seq);
        assert_eq!((seq[1], p.faults()), (0, 1));
    }

    #[test]
    fn dice_differ_by_song_stream_frame_and_seed_and_repeat_otherwise() {
        let draw = |seed: u64, base: i64, songs: usize| {
            let mut p = picker(songs, 1, [0, 0]);
            p.set(&Sampling { seed, frame_base: base, temperature: 50.0, ..sampling() });
            let mut seq = vec![UNKNOWN; songs * 12];
            (0..5).for_each(|s| p.pick(&lane(0).repeat(songs), s, &mut seq));
            seq
        };
        let two = draw(7, 0, 2);
        assert_eq!(draw(7, 0, 1), two[..12]);
        assert_ne!(two[..12], two[12..]);
        assert_ne!(draw(8, 0, 1), two[..12]);
        assert_ne!(draw(7 << 32, 0, 1), two[..12]);
        // The same absolute frame throws the same dice in another window.
        assert_eq!(draw(7, 2, 1)[1..4], two[3..6]);
    }
}
