//! A grid of beats and bars through a recording, and how well the recording's events fit it.

use super::bar_pointer::{BACKGROUND, SPREAD, SWITCH};
use super::events::{Event, KINDS, Voice};
use super::patterns::{Feel, LINES};
use crate::model::FRAME_RATE;

/// Beats in order of time, in bars of one length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    /// Seconds of each beat.
    pub beats: Vec<f64>,
    /// Place of the first beat in its bar, from 0.
    pub first: usize,
    /// Beats of a bar.
    pub beats_in_bar: usize,
    /// Index of the feel whose patterns it uses.
    pub feel: usize,
}

impl Grid {
    /// Place of a beat in its bar, from 0.
    pub fn place(&self, beat: usize) -> usize {
        (self.first + beat) % self.beats_in_bar
    }

    /// Indices of the beats on which bars begin.
    pub fn bar_lines(&self) -> impl Iterator<Item = usize> {
        let first = (self.beats_in_bar - self.first) % self.beats_in_bar;
        (first..self.beats.len()).step_by(self.beats_in_bar)
    }

    /// Median beat in seconds.
    pub fn period(&self) -> f64 {
        let mut all: Vec<f64> = self.beats.windows(2).map(|w| w[1] - w[0]).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(0.5)
    }

    /// The same bars with the bar line `by` beats later.
    pub fn rotated(&self, by: usize) -> Grid {
        let first = (self.first + self.beats_in_bar - by % self.beats_in_bar) % self.beats_in_bar;
        Grid { first, ..self.clone() }
    }

    /// The same beats with a bar line on the beat that is nearest to a time.
    pub fn with_bar_near(&self, time: f64) -> Grid {
        let near = |beat: usize| (self.beats[beat] - time).abs();
        let beat = (0..self.beats.len()).min_by(|a, b| near(*a).total_cmp(&near(*b))).unwrap_or(0);
        Grid { first: (self.beats_in_bar - beat % self.beats_in_bar) % self.beats_in_bar, ..self.clone() }
    }

    /// Beats half a beat later.
    pub fn shifted(&self) -> Grid {
        Grid { beats: self.beats.windows(2).map(|w| 0.5 * (w[0] + w[1])).collect(), ..self.clone() }
    }

    /// Twice as many beats.
    pub fn doubled(&self) -> Grid {
        let mut beats: Vec<f64> = self.beats.windows(2).flat_map(|w| [w[0], 0.5 * (w[0] + w[1])]).collect();
        beats.extend(self.beats.last());
        Grid { beats, first: 0, ..self.clone() }
    }

    /// Every second beat, from beat `from` on (0 or 1).
    pub fn halved(&self, from: usize) -> Grid {
        Grid { beats: self.beats.iter().copied().skip(from).step_by(2).collect(), first: 0, ..self.clone() }
    }

    /// Continues the beats at both ends until they cover 0 to `seconds`.
    pub fn extended(mut self, seconds: f64) -> Grid {
        if self.beats.len() < 2 {
            return self;
        }
        let step = (self.beats[1] - self.beats[0]).max(0.05);
        while self.beats[0] > step {
            self.beats.insert(0, self.beats[0] - step);
            self.first = (self.first + self.beats_in_bar - 1) % self.beats_in_bar;
        }
        let n = self.beats.len();
        let step = (self.beats[n - 1] - self.beats[n - 2]).max(0.05);
        while self.beats[self.beats.len() - 1] < seconds {
            self.beats.push(self.beats[self.beats.len() - 1] + step);
        }
        self
    }

    /// Logarithm of the probability of the events, up to a constant: the best sequence of patterns.
    ///
    /// * `inputs`: the events of each recording.
    /// * `feel`: the patterns.
    pub fn rhythm(&self, inputs: &[(Voice, &[Event])], feel: &Feel) -> f64 {
        // Patterns of different recordings are independent of each other.
        inputs.iter().map(|(voice, events)| self.rhythm_of(*voice, events, feel)).sum()
    }

    fn rhythm_of(&self, voice: Voice, events: &[Event], feel: &Feel) -> f64 {
        let patterns = feel.fine(voice);
        let count = patterns.weights.len();
        let lines = self.beats_in_bar * LINES;
        // Events that a pattern expects in a beat of the bar.
        let expected: Vec<Vec<f64>> = (0..count)
            .map(|m| {
                let beat =
                    |b: usize| (b * LINES..(b + 1) * LINES).flat_map(|l| (0..KINDS).map(move |k| patterns.rate(m, l, k))).sum();
                (0..self.beats_in_bar).map(beat).collect()
            })
            .collect();
        let mut scores: Vec<f64> = patterns.weights.iter().map(|w| w.ln()).collect();
        let mut next = events.partition_point(|e| e.time < self.beats.first().copied().unwrap_or(0.0) - 0.03);
        for beat in 0..self.beats.len().saturating_sub(1) {
            let (from, to) = (self.beats[beat], self.beats[beat + 1]);
            let place = self.place(beat);
            if place == 0 {
                let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                for (score, weight) in scores.iter_mut().zip(&patterns.weights) {
                    *score = (*score + (1.0 - SWITCH).ln()).max(best + (SWITCH * weight).ln());
                }
            }
            let line = (to - from) / LINES as f64;
            let background = BACKGROUND * KINDS as f64 * (to - from);
            // Silence says nothing.
            let quiet = next.checked_sub(1).is_none_or(|i| events[i].time < from - 2.0)
                && events.get(next).is_none_or(|e| e.time > to + 2.0);
            if !quiet {
                for (score, expected) in scores.iter_mut().zip(&expected) {
                    *score -= expected[place] + background;
                }
            }
            while next < events.len() && events[next].time < to - 0.5 * line {
                let event = events[next];
                let at = (event.time - from) / line;
                let kind = usize::from(event.kind);
                // The two nearest lines, each with the density of an event that belongs to it.
                let near = [at.floor(), at.floor() + 1.0].map(|x| {
                    let off = (at - x) * line / SPREAD;
                    let l = (place as i64 * LINES as i64 + x as i64).rem_euclid(lines as i64) as usize;
                    (l, (-0.5 * off * off).exp() / (SPREAD * 2.5066))
                });
                for (m, score) in scores.iter_mut().enumerate() {
                    let density: f64 = near.iter().map(|&(l, share)| patterns.rate(m, l, kind) * share).sum();
                    *score += ((BACKGROUND + density) / FRAME_RATE as f64).ln();
                }
                next += 1;
            }
        }
        scores.into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
}
