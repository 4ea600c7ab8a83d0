//! [`TempoFinder`]: the tempo of onsets that nobody counted in, for an offer to start.
//!
//! It compares the distances between onsets with a row of beat lengths. It uses only + − × ÷, so a replay gives
//! the same bits on any machine. It does not find which beat is one: the musician says it.

use super::Onset;
use crate::model::SAMPLE_RATE;

/// Beat lengths that are compared, the ratio from one to the next, and the shortest, in samples (182 BPM).
const LENGTHS: usize = 98;
const RATIO: f64 = 1.0125;
const SHORTEST: f64 = 0.33 * SAMPLE_RATE as f64;
/// Index of the length that is likeliest (110 BPM), and what a distance of one index from it costs, squared: a
/// standard deviation of 0.32 octaves.
const USUAL: f64 = 40.4;
const UNUSUAL: f64 = 0.0031;
/// Onsets that are compared with a new one.
const KEPT: usize = 48;
/// Longest distance that is compared, in samples and in beats.
const REACH: (f64, f64) = (4.4 * SAMPLE_RATE as f64, 6.5);
/// Time in which the weight of a distance, and of what was heard, halves, in samples.
const FADES: f64 = 4.0 * SAMPLE_RATE as f64;
const FORGOTTEN: f64 = 6.0 * SAMPLE_RATE as f64;
/// How far from a whole beat a distance may be, in samples.
const NEAR: f64 = 0.03 * SAMPLE_RATE as f64;
/// What a distance of whole beats, of halves and of quarters is worth.
const WORTH: [f64; 3] = [1.0, 0.5, 0.1];
/// Shortest distance that is a whole beat, in beats.
const WHOLE: f64 = 0.75;
/// Weight of the distances against the usual tempo.
const WEIGHT: f64 = 12.0;
/// Greatest weight that the strength of an onset gives.
const LOUDEST: f64 = 1.5;
/// Onsets over which strengths are averaged.
const AVERAGED: f64 = 16.0;
/// Fewest onsets, and least time from the first to the last in beats, from which on a tempo is found.
const FEWEST: usize = 8;
const LEAST_BEATS: f64 = 12.0;
/// Lengths that count as the same tempo as the best one, on either side.
const SAME: usize = 4;
/// How far the best tempo must be ahead of the others.
const SURE: f64 = 1.2;
/// Pause after which the tempo is no longer known, in beats.
const PAUSE: f64 = 4.0;

/// Finds the tempo. It does not allocate.
#[derive(Debug, Clone)]
pub struct TempoFinder {
    /// Sample and weight of the last onsets, onset `n` at `n % KEPT`.
    onsets: [(f64, f64); KEPT],
    count: usize,
    /// Mean strength of the onsets.
    strength: f64,
    /// Sample of the first onset.
    first: f64,
    /// For each length, the worth of the distances, and the most that they can be worth.
    worth: [f64; LENGTHS],
    most: [f64; LENGTHS],
}

impl Default for TempoFinder {
    fn default() -> Self {
        TempoFinder::new()
    }
}

impl TempoFinder {
    /// Nothing was heard yet.
    pub fn new() -> Self {
        let (worth, most) = ([0.0; LENGTHS], [0.0; LENGTHS]);
        TempoFinder { onsets: [(0.0, 0.0); KEPT], count: 0, strength: 0.0, first: 0.0, worth, most }
    }

    /// Takes an onset.
    pub fn push(&mut self, onset: Onset) {
        let at = onset.sample as f64;
        if self.count == 0 {
            (self.strength, self.first) = (onset.strength, at);
        }
        self.strength += (onset.strength - self.strength) / AVERAGED;
        let weight = (onset.strength / self.strength).min(LOUDEST);
        if let Some(last) = self.last() {
            let left = 1.0 / (1.0 + (at - last) / FORGOTTEN);
            self.worth.iter_mut().chain(&mut self.most).for_each(|sum| *sum *= left);
        }
        for &(earlier, other) in &self.onsets[..self.count.min(KEPT)] {
            let distance = at - earlier;
            if distance > REACH.0 {
                continue;
            }
            let weight = weight * other / (1.0 + distance / FADES);
            let mut length = SHORTEST;
            for (worth, most) in self.worth.iter_mut().zip(&mut self.most) {
                let beats = distance / length;
                if beats < REACH.1 {
                    *most += weight;
                    *worth += weight * worth_of(beats, NEAR / length);
                }
                length *= RATIO;
            }
        }
        self.onsets[self.count % KEPT] = (at, weight);
        self.count += 1;
    }

    /// Length of a beat in samples, at sample `now`; `None`: it is not certain.
    pub fn length(&self, now: f64) -> Option<f64> {
        let last = self.last()?;
        let scores: [f64; LENGTHS] = std::array::from_fn(|i| {
            let off = i as f64 - USUAL;
            WEIGHT * self.worth[i] / (self.most[i] + 1e-9) - UNUSUAL * off * off
        });
        let best = (1..LENGTHS).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
        let others = (0..LENGTHS).filter(|&i| i.abs_diff(best) > SAME).map(|i| scores[i]);
        let next = others.fold(f64::NEG_INFINITY, f64::max);
        let length = (0..best).fold(SHORTEST, |length, _| length * RATIO) * (1.0 + between(&scores, best) * (RATIO - 1.0));
        let enough = self.count >= FEWEST && last - self.first >= LEAST_BEATS * length;
        (enough && scores[best] - next >= SURE && now - last < PAUSE * length).then_some(length)
    }

    /// The onset nearest to sample `at`.
    pub fn nearest(&self, at: f64) -> Option<f64> {
        let distance = |onset: f64| if onset > at { onset - at } else { at - onset };
        let onsets = self.onsets[..self.count.min(KEPT)].iter().map(|onset| onset.0);
        onsets.min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
    }

    fn last(&self) -> Option<f64> {
        self.count.checked_sub(1).map(|n| self.onsets[n % KEPT].0)
    }
}

/// What a distance is worth that is so many beats long; `near` is how far it may be from its line, in beats.
fn worth_of(beats: f64, near: f64) -> f64 {
    let beside = |lines: f64, from: f64| {
        let place = beats * lines - from;
        let off = (place - (place + 0.5).floor()) / lines;
        let off = if off < 0.0 { -off } else { off };
        (1.0 - off / near).max(0.0)
    };
    let whole = if beats >= WHOLE { WORTH[0] * beside(1.0, 0.0) } else { 0.0 };
    whole + WORTH[1] * beside(1.0, 0.5) + WORTH[2] * beside(2.0, 0.5)
}

/// Where the top of the parabola through the best score and its neighbours is, from −0.5 to 0.5.
fn between(scores: &[f64; LENGTHS], best: usize) -> f64 {
    let (Some(before), Some(after)) = (best.checked_sub(1).map(|i| scores[i]), scores.get(best + 1)) else { return 0.0 };
    let bend = before - 2.0 * scores[best] + after;
    if bend < -1e-12 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A finder that has heard onsets at these seconds.
    fn after(seconds: impl IntoIterator<Item = f64>) -> (TempoFinder, f64) {
        let (mut finder, mut last) = (TempoFinder::new(), 0.0);
        for at in seconds {
            last = at * SAMPLE_RATE as f64;
            finder.push(Onset { sample: last as i64, strength: 1.0, ranges: [1.0; 3] });
        }
        (finder, last)
    }

    #[test]
    fn the_tempo_of_a_line_is_found_and_forgotten_in_a_pause() {
        for bpm in [93.0, 100.0, 120.0, 138.0] {
            let beat = 60.0 / bpm;
            // A dotted figure and its bar, 16 beats.
            let line = (0..4).flat_map(|bar| [0.0, 1.0, 1.5, 2.0, 3.0, 3.5].map(|place| (f64::from(4 * bar) + place) * beat));
            let (finder, last) = after(line);
            let found = finder.length(last).map(|length| 60.0 * SAMPLE_RATE as f64 / length);
            assert!(found.is_some_and(|found| (found / bpm - 1.0).abs() < 0.01), "{bpm}: {found:?}");
            assert_eq!(finder.length(last + 6.0 * beat * SAMPLE_RATE as f64), None);
        }
    }

    #[test]
    fn onsets_at_random_have_no_tempo() {
        let (mut at, mut state) = (0.0, 1u64);
        let mut sure = 0;
        let mut finder = TempoFinder::new();
        for n in 0..400 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            at += 4_000.0 + 24_000.0 * (state >> 40) as f64 / 16_777_216.0;
            finder.push(Onset { sample: at as i64, strength: 1.0, ranges: [1.0; 3] });
            sure += usize::from(n > 20 && finder.length(at).is_some());
        }
        assert!(sure < 60, "{sure}");
    }

    #[test]
    fn the_nearest_onset_is_found() {
        let (finder, _) = after([0.5, 1.0, 1.5]);
        let near = |seconds: f64| finder.nearest(seconds * SAMPLE_RATE as f64).map(|at| at / SAMPLE_RATE as f64);
        assert_eq!([near(0.0), near(1.1), near(9.0)], [Some(0.5), Some(1.0), Some(1.5)]);
        assert_eq!(TempoFinder::new().nearest(0.0), None);
    }
}
