//! A beat map: the sample at which each beat of a song begins, for a tempo that is not constant.

use super::Meter;
use crate::Error;
use crate::model::SAMPLE_RATE;

/// Most beats of a map: an hour at 400 BPM.
const MAX_BEATS: usize = 24_000;
/// Shortest and longest beat in samples: 0.1 s and 6 s.
const BEAT: std::ops::RangeInclusive<i64> = 3_200..=192_000;

/// Beats of a song. Before the first beat and after the last one, the nearest beat's length continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeatMap {
    /// Sample of each beat, rising; at least two.
    beats: Vec<i64>,
    /// Index of the first beat of bar 1.
    bar1: usize,
}

/// Where a sample lies in a beat map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapPosition {
    /// Bar, counted from 0.
    pub bar: i64,
    /// The part of the bar that has passed, as numerator and denominator.
    pub fraction: (i128, i128),
    /// Length of the beat in samples.
    pub beat_len: i64,
}

impl BeatMap {
    /// A map of beats at these times.
    ///
    /// * `seconds`: rising, each beat between 0.1 s and 6 s long; at least two.
    /// * `bar1`: index of the first beat of bar 1.
    ///
    /// # Errors
    /// The beats do not rise, a beat is too short or too long, or `bar1` is not one of them.
    pub fn new(seconds: &[f64], bar1: usize) -> Result<Self, Error> {
        let bad = |what: String| Err(Error::Input(what));
        if seconds.len() < 2 || seconds.len() > MAX_BEATS {
            return bad(format!("{} beats: it should be 2 to {MAX_BEATS}", seconds.len()));
        }
        if bar1 >= seconds.len() {
            return bad(format!("bar 1 at beat {bar1} of {}: it should be one of the beats", seconds.len()));
        }
        if let Some(time) = seconds.iter().find(|t| !(-3600.0..=7200.0).contains(*t)) {
            return bad(format!("a beat at {time} s: it should be between -3600 and 7200 s"));
        }
        let beats: Vec<i64> = seconds.iter().map(|t| (t * SAMPLE_RATE as f64).round() as i64).collect();
        if let Some(pair) = beats.windows(2).find(|pair| !BEAT.contains(&(pair[1] - pair[0]))) {
            let at = |sample: i64| sample as f64 / SAMPLE_RATE as f64;
            return bad(format!("beats at {:.3} s and {:.3} s: a beat should last 0.1 to 6 s", at(pair[0]), at(pair[1])));
        }
        Ok(BeatMap { beats, bar1 })
    }

    /// Times of the beats in seconds.
    pub fn seconds(&self) -> impl Iterator<Item = f64> {
        self.beats.iter().map(|&sample| sample as f64 / SAMPLE_RATE as f64)
    }

    /// Index of the first beat of bar 1.
    pub fn bar1(&self) -> usize {
        self.bar1
    }

    /// The second at which `beat` begins, counted from the first beat of bar 1; it may lie between two beats.
    pub(super) fn time_of(&self, beat: f64) -> f64 {
        let index = beat + self.bar1 as f64;
        let found = (index.max(0.0) as usize).min(self.beats.len() - 2);
        let [from, to] = [self.beats[found], self.beats[found + 1]].map(|sample| sample as f64 / SAMPLE_RATE as f64);
        from + (index - found as f64) * (to - from)
    }

    /// Where a sample lies. Exact: a beat begins at its sample, whatever the tempo before it was.
    pub fn position(&self, sample: i64, meter: Meter) -> MapPosition {
        let last = self.beats.len() - 2;
        let found = self.beats.partition_point(|&beat| beat <= sample).saturating_sub(1).min(last);
        let len = self.beats[found + 1] - self.beats[found];
        // Outside of the map whole beats of the same length are added.
        let past = sample - self.beats[found];
        let (beat, rest) = (found as i64 + past.div_euclid(len), past.rem_euclid(len));
        let per_bar = meter.beats();
        let since = beat - self.bar1 as i64;
        let den = i128::from(per_bar) * i128::from(len);
        let num = i128::from(since.rem_euclid(per_bar)) * i128::from(len) + i128::from(rest);
        MapPosition { bar: since.div_euclid(per_bar), fraction: (num, den), beat_len: len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_begin_at_their_samples_after_ten_thousand_tempo_changes() {
        let mut state = 7u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        let mut seconds = vec![0.25];
        for _ in 0..10_000 {
            seconds.push(seconds[seconds.len() - 1] + 0.3 + 0.4 * random());
        }
        let map = BeatMap::new(&seconds, 2).unwrap();
        for (meter, per_bar) in [(Meter::FourFour, 4), (Meter::ThreeFour, 3), (Meter::SixEight, 2), (Meter::TwelveEight, 4)] {
            for (bar, beat) in (2..10_000).step_by(per_bar).enumerate() {
                let sample = (seconds[beat] * 32_000.0).round() as i64;
                let at = map.position(sample, meter);
                assert_eq!((at.bar, at.fraction.0), (bar as i64, 0), "beat {beat}");
                let before = map.position(sample - 1, meter);
                assert_eq!(before.bar, bar as i64 - 1);
                assert_eq!(before.fraction.1 - before.fraction.0, 1);
            }
        }
        // Outside of the map the nearest beat's length continues.
        assert_eq!(
            map.position(8_000 - 10 * 20_000, Meter::FourFour).bar,
            map.position(8_000, Meter::FourFour).bar - {
                let len = map.position(0, Meter::FourFour).beat_len;
                (10 * 20_000 / len + 3) / 4
            }
        );
    }

    #[test]
    fn impossible_beats_are_refused() {
        for (seconds, bar1) in [
            (&[0.0][..], 0),
            (&[0.0, 0.5], 2),
            (&[0.5, 0.0], 0),
            (&[0.0, 0.05], 0),
            (&[0.0, 7.0], 0),
            (&[0.0, f64::NAN], 0),
            (&[0.0, 1e12], 0),
        ] {
            assert!(BeatMap::new(seconds, bar1).is_err(), "{seconds:?}");
        }
    }
}
