//! [`BeatFollower`]: beat and tempo that follow the onsets of the input stem, from a tempo that is known.
//!
//! Each onset is assigned to a line of a grid, and moves the beat and the tempo by a part of its distance from
//! that line: nothing jumps. It uses only + − × ÷, so a replay gives the same bits on any machine.

use super::Onset;
use crate::model::SAMPLE_RATE;

/// Lines of a beat in the two grids: straight and triplet.
const LINES: [i64; 2] = [4, 6];
/// The most lines of a grid.
const MOST_LINES: usize = 6;
/// Share of the onsets on each line before any was heard. The beat and its half are common.
const USUAL: [f64; MOST_LINES] = [0.4, 0.12, 0.2, 0.12, 0.12, 0.12];
/// The least share that a line keeps.
const LEAST: f64 = 0.02;
/// Onsets over which these shares are averaged.
const REMEMBERED: f64 = 24.0;
/// How much a rare line costs, in squared standard deviations.
const RARE: f64 = 2.0;
/// Standard deviation of the change of a beat's length from one beat to the next, as a share of it.
const DRIFT: f64 = 0.005;
/// Standard deviation of onsets around their lines, in seconds.
const JITTER: f64 = 0.025;
/// Standard deviation of the beat that was counted in, in seconds, and of its length, as a share.
const COUNTED: (f64, f64) = (0.01, 0.005);
/// How far from its line an onset counts less, in squared standard deviations.
const OUTLIER: f64 = 6.0;
/// The longest pause that makes the beat less certain, in beats: in a longer one the musician hears the band.
const PAUSE: f64 = 8.0;
/// Greatest weight that the strength of an onset gives.
const LOUDEST: f64 = 1.5;
/// Weight of a note without an onset.
const QUIET: f64 = 0.7;
/// How far the tempo may leave the tempo that was counted in.
const RANGE: (f64, f64) = (0.8, 1.25);
/// Distance of an onset from its line that counts as no fit, in spacings of the lines.
const FAR: f64 = 0.48;
/// Onsets over which distances and strengths are averaged.
const AVERAGED: f64 = 16.0;
/// The other grid leads when its onsets are this much nearer to their lines.
const NEARER: f64 = 0.8;
/// Greatest correction of the position within one beat, and greatest change from one beat to the next, as
/// shares of a beat.
const CORRECTION: f64 = 0.04;
const CHANGE: f64 = 0.02;

/// What follows the onsets.
#[derive(Debug, Clone, PartialEq)]
pub struct BeatFollower {
    grids: [Grid; 2],
    /// Index of the grid that leads.
    lead: usize,
    /// Mean strength of the onsets; 0: there was none.
    strength: f64,
    /// Sample of the last onset.
    last: f64,
}

/// A beat on one grid.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Grid {
    lines: i64,
    /// Sample of a beat.
    beat: f64,
    /// Length of a beat in samples, and the range that it may have.
    length: f64,
    range: (f64, f64),
    /// Variance of the beat, covariance of beat and length, variance of the length; in beats.
    variance: [f64; 3],
    /// Sample of the last onset.
    last: f64,
    /// Share of the onsets on each line.
    seen: [f64; MOST_LINES],
    /// Mean distance of the onsets from their lines: 0 on them, 1 far from them.
    distance: f64,
}

impl BeatFollower {
    /// A follower of beats of `length` samples, one of which is at sample `beat`.
    pub fn new(beat: f64, length: f64) -> Self {
        BeatFollower { grids: LINES.map(|lines| Grid::new(lines, beat, length)), lead: 0, strength: 0.0, last: beat }
    }

    /// Takes an onset.
    pub fn push(&mut self, onset: Onset) {
        self.strength = match self.strength {
            0.0 => onset.strength,
            mean => mean + (onset.strength - mean) / AVERAGED,
        };
        self.take(onset.sample, (onset.strength / self.strength).min(LOUDEST));
    }

    /// Takes a note that began at sample `at` without an onset.
    pub fn push_note(&mut self, at: i64) {
        self.take(at, QUIET);
    }

    fn take(&mut self, at: i64, weight: f64) {
        self.last = at as f64;
        self.grids.iter_mut().for_each(|grid| grid.push(self.last, weight));
        let other = 1 - self.lead;
        if self.grids[other].distance < NEARER * self.grids[self.lead].distance {
            self.lead = other;
        }
    }

    /// Length of a beat, in samples.
    pub fn length(&self) -> f64 {
        self.grids[self.lead].length
    }

    /// The beat nearest to sample `at`.
    pub fn nearest(&self, at: f64) -> f64 {
        let grid = &self.grids[self.lead];
        grid.beat + ((at - grid.beat) / grid.length + 0.5).floor() * grid.length
    }

    /// Length of the beat that begins at sample `line`, if the one before was `before` samples long: it ends
    /// where a beat is expected, as far as the tempo may change from one beat to the next.
    pub fn next_length(&self, line: f64, before: f64) -> f64 {
        let length = self.length();
        let wanted = self.nearest(line + length) - line;
        wanted
            .clamp(length * (1.0 - CORRECTION), length * (1.0 + CORRECTION))
            .clamp(before * (1.0 - CHANGE), before * (1.0 + CHANGE))
    }

    /// How well the onsets fit, 0 to 1. Onsets at random have about 0.5.
    pub fn lock(&self) -> f64 {
        1.0 - self.grids[self.lead].distance
    }

    /// Sample of the last onset; of the first beat, if there was none.
    pub fn last_onset(&self) -> f64 {
        self.last
    }
}

impl Grid {
    fn new(lines: i64, beat: f64, length: f64) -> Self {
        let spread = COUNTED.0 * SAMPLE_RATE as f64 / length;
        Grid {
            lines,
            beat,
            length,
            range: (length * RANGE.0, length * RANGE.1),
            variance: [spread * spread, 0.0, COUNTED.1 * COUNTED.1],
            last: beat,
            seen: USUAL,
            distance: 0.3,
        }
    }

    fn push(&mut self, at: f64, weight: f64) {
        while at > self.beat + self.length / 2.0 {
            self.beat += self.length;
        }
        // A Kalman filter of the beat's position and length. The length is a random walk.
        let beats = ((at - self.last) / self.length).clamp(0.0, PAUSE);
        let [beat, both, length] = self.variance;
        let drift = DRIFT * DRIFT;
        let beat = beat + beats * (2.0 * both + beats * (length + drift * beats / 3.0));
        let both = both + beats * (length + drift * beats / 2.0);
        let length = length + drift * beats;
        let jitter = JITTER * SAMPLE_RATE as f64 / self.length;
        let jitter = jitter * jitter;

        let place = (at - self.beat) / self.length;
        let (line, error) = self.line(place, beat + jitter);
        for (seen, k) in self.seen.iter_mut().zip(0..) {
            let here = if k == line { 1.0 } else { 0.0 };
            *seen = (*seen + (here - *seen) / REMEMBERED).max(LEAST);
        }
        let distance = if error < 0.0 { -error } else { error } * self.lines as f64 / FAR;
        self.distance += (distance.min(1.0) - self.distance) / AVERAGED;

        let weight = weight / (1.0 + error * error / ((beat + jitter) * OUTLIER));
        let total = beat + jitter / weight;
        let (for_beat, for_length) = (beat / total, both / total);
        self.beat += for_beat * error * self.length;
        self.length = (self.length * (1.0 + for_length * error)).clamp(self.range.0, self.range.1);
        self.variance = [beat - for_beat * beat, both - for_beat * both, length - for_length * both];
        self.last = at;
    }

    /// The line that an onset at `place` belongs to, and its distance from it, both in beats: a near one, and
    /// one on which there are many onsets. `variance` is that of the distance.
    fn line(&self, place: f64, variance: f64) -> (i64, f64) {
        let most = self.seen.iter().fold(0.0f64, |most, &share| most.max(share));
        let candidate = |line: i64| {
            let error = place - line as f64 / self.lines as f64;
            let line = line.rem_euclid(self.lines);
            let share = self.seen[line as usize] / most;
            (error * error / variance + RARE * (1.0 - share) / (share + 0.2), (line, error))
        };
        let first = (place * self.lines as f64).floor() as i64;
        let mut best = candidate(first - 1);
        for other in (first..first + 3).map(candidate) {
            if other.0 < best.0 {
                best = other;
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn onset(at: f64) -> Onset {
        Onset { sample: at.round() as i64, strength: 1.0, ranges: [1.0; 3] }
    }

    /// A pseudo-random number from -1 to 1.
    fn noise(n: usize) -> f64 {
        ((n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / 8_388_608.0 - 1.0
    }

    /// A follower of beats of 16,000 samples after `beats` beats with onsets at `places` of each beat, `jitter` samples
    /// beside them.
    fn after(beats: usize, places: &[f64], jitter: f64) -> BeatFollower {
        let mut follower = BeatFollower::new(0.0, 16_000.0);
        for beat in 0..beats {
            for (k, place) in places.iter().enumerate() {
                follower.push(onset((beat as f64 + place) * 16_000.0 + jitter * noise(31 * beat + k)));
            }
        }
        follower
    }

    #[test]
    fn steady_beats_stay_where_they_are() {
        let follower = after(64, &[0.0, 0.5], 320.0);
        assert!((follower.length() - 16_000.0).abs() < 60.0 && follower.lock() > 0.8);
        assert!((follower.nearest(64.2 * 16_000.0) - 64.0 * 16_000.0).abs() < 500.0);
    }

    #[test]
    fn a_slower_tempo_is_followed() {
        let mut follower = BeatFollower::new(0.0, 16_000.0);
        let place = |beat: f64| 16_000.0 * beat + (beat - 8.0).max(0.0) * 640.0;
        (0..80).for_each(|half| follower.push(onset(place(f64::from(half) / 2.0))));
        assert!((follower.length() - 16_640.0).abs() < 100.0, "{}", follower.length());
        assert!((follower.nearest(place(40.1)) - place(40.0)).abs() < 500.0);
    }

    #[test]
    fn swing_is_on_the_triplet_grid_and_does_not_move_the_beat() {
        let follower = after(32, &[0.0, 2.0 / 3.0], 160.0);
        assert!(follower.lock() > 0.8 && (follower.length() - 16_000.0).abs() < 60.0, "{}", follower.lock());
        assert!((follower.nearest(32.0 * 16_000.0) - 32.0 * 16_000.0).abs() < 500.0);
    }

    #[test]
    fn onsets_at_random_do_not_lock() {
        let mut follower = BeatFollower::new(0.0, 16_000.0);
        let (mut at, mut state) = (0.0, 1u64);
        for _ in 0..400 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            at += 3000.0 + 9000.0 * (state >> 40) as f64 / 16_777_216.0;
            follower.push(onset(at));
        }
        assert!(follower.lock() < 0.7, "{}", follower.lock());
        assert!((12_800.0..=20_000.0).contains(&follower.length()));
    }

    #[test]
    fn a_beat_changes_by_little_at_a_time() {
        let mut follower = BeatFollower::new(0.0, 16_000.0);
        let (mut line, mut length) = (0.0, 16_000.0);
        for n in 0..200 {
            follower.push(onset(f64::from(n) * 9000.0));
            let next = follower.next_length(line, length);
            assert!((next / length - 1.0).abs() < 0.0201, "{length} {next}");
            (line, length) = (line + next, next);
        }
    }
}
