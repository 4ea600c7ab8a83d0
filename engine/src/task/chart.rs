//! The chart of a song: tempo, meter, start of bar 1 and chords, and the control values that they give each
//! frame (docs/reference/model-format.md, "Controls"). Offline tasks use it; live play has a timeline that
//! can change instead.

use super::beat_map::BeatMap;
use super::{Chords, Meter, clock_values};
use crate::model::{FRAME, SAMPLE_RATE};
use crate::{Error, limits};

/// Tempo, meter, start of bar 1 and chords of a song.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    clock: Clock,
    meter: Meter,
    /// From bar 1 on; empty where the chords are not known.
    chords: Chords,
}

/// What says where the bars are.
#[derive(Debug, Clone, PartialEq)]
enum Clock {
    /// A constant tempo in quarter notes per minute, and bar 1 in seconds.
    Tempo { tempo: f64, bar1: f64 },
    /// A beat map.
    Beats(BeatMap),
}

impl Chart {
    /// A chart without chords.
    ///
    /// * `tempo`: quarter notes per minute, within [`limits::TEMPO`].
    /// * `bar1`: position of bar 1 in the song in seconds, within [`limits::BAR1`].
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn new(tempo: f64, bar1: f64, meter: Meter) -> Result<Self, Error> {
        if !limits::TEMPO.contains(tempo) {
            return Err(Error::Input(format!("tempo {tempo}: it should be {}", limits::TEMPO)));
        }
        if !limits::BAR1.contains(bar1) {
            return Err(Error::Input(format!("bar 1 at {bar1}: it should be {}", limits::BAR1)));
        }
        Ok(Chart { clock: Clock::Tempo { tempo, bar1 }, meter, chords: Chords::default() })
    }

    /// A chart without chords for a tempo that is not constant.
    pub fn of_beats(beats: BeatMap, meter: Meter) -> Self {
        Chart { clock: Clock::Beats(beats), meter, chords: Chords::default() }
    }

    /// Adds chords, which are written as [`Chords`] reads them.
    ///
    /// # Errors
    /// A chord or section can't be read.
    pub fn with_chords(mut self, chords: &str) -> Result<Self, Error> {
        self.chords = chords.parse()?;
        Ok(self)
    }

    /// The meter.
    pub fn meter(&self) -> Meter {
        self.meter
    }

    /// The chords, from bar 1 on; empty where they are not known.
    pub(super) fn chords(&self) -> &Chords {
        &self.chords
    }

    /// The second at which a part (0 to 1) of bar `bar`, counted from 0, has passed. It also holds for the bars before.
    pub(super) fn time_of(&self, bar: i64, part: f64) -> f64 {
        let bars = bar as f64 + part;
        match &self.clock {
            Clock::Tempo { tempo, bar1 } => bar1 + bars * 60.0 / tempo * self.meter.quarters() as f64,
            Clock::Beats(beats) => beats.time_of(bars * self.meter.beats() as f64),
        }
    }

    /// The bar, counted from 0, that a second lies in.
    pub(super) fn bar_at(&self, seconds: f64) -> i64 {
        match &self.clock {
            Clock::Tempo { tempo, bar1 } => ((seconds - bar1) * tempo / 60.0 / self.meter.quarters() as f64).floor() as i64,
            Clock::Beats(beats) => beats.position((seconds * SAMPLE_RATE as f64) as i64, self.meter).bar,
        }
    }

    /// Position of the middle of frame `frame`: its bar, counted from 0, the exact fraction `num / den` of that
    /// bar, and the tempo there in millionths of a quarter note per minute.
    fn position(&self, frame: i64) -> (i64, (i128, i128), i128) {
        let (frame_len, rate) = (FRAME as i128, SAMPLE_RATE as i128);
        let middle = frame_len * i128::from(frame) + frame_len / 2;
        match &self.clock {
            Clock::Tempo { tempo, bar1 } => {
                let micro = (tempo * 1e6).round() as i128;
                let samples = middle - (bar1 * SAMPLE_RATE as f64).round() as i128;
                let (num, den) = (samples * micro, 60 * rate * 1_000_000 * self.meter.quarters() as i128);
                (num.div_euclid(den) as i64, (num.rem_euclid(den), den), micro)
            }
            Clock::Beats(beats) => {
                let at = beats.position(middle as i64, self.meter);
                let minute = 60 * rate * 1_000_000 * self.meter.quarters() as i128;
                (at.bar, at.fraction, minute / (i128::from(self.meter.beats()) * i128::from(at.beat_len)))
            }
        }
    }

    /// Values of the controls `beat` and `tick` at a frame. The clock also runs before bar 1.
    pub fn clock(&self, frame: i64) -> (i32, i32) {
        let (_, fraction, micro) = self.position(frame);
        clock_values(self.meter, fraction, micro)
    }

    /// Whether the chart has chords.
    pub fn has_chords(&self) -> bool {
        !self.chords.is_empty()
    }

    /// Value of the control `chord` at a frame; none before bar 1 and where the chart has no chords.
    pub fn chord(&self, frame: i64) -> Option<i32> {
        let (bar, (num, den), _) = self.position(frame);
        self.chords.at(bar, num, den).map(|(chord, _)| chord.value())
    }

    /// Value of the control `name` at a frame; none where it is not known (the model then gets the control's
    /// null value).
    pub fn control(&self, name: &str, frame: i64) -> Option<i32> {
        match name {
            "beat" => Some(self.clock(frame).0),
            "tick" => Some(self.clock(frame).1),
            "chord" => self.chord(frame),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_values_follow_tempo_and_meter() {
        // 120 BPM, 4/4: a bar is exactly 100 frames, a 48th of it 41.7 ms; the middle of frame 0 is 10 ms
        // after the bar line.
        let chart = Chart::new(120.0, 0.0, Meter::FourFour).unwrap();
        assert_eq!((0..4).map(|f| chart.clock(f)).collect::<Vec<_>>(), [(0, 10), (1, 6), (1, 10), (2, 5)]);
        assert_eq!((chart.clock(100), chart.clock(99), chart.clock(-1)), ((0, 10), (0, 6), (0, 6)));
        assert_eq!(chart.chord(0), None);
        // 97 BPM, 3/4, bar 1 at 0.5 s: compared with floating-point arithmetic, except where that rounds the
        // other way.
        let chart = Chart::new(97.0, 0.5, Meter::ThreeFour).unwrap();
        for f in 0..2000 {
            let length = 3.0 * 60.0 / 97.0;
            let at = ((f as f64 + 0.5) * 0.02 - 0.5) / length * 48.0;
            let ticks = (at - at.round()) * length / 48.0 / 0.005;
            if (at - at.floor() - 0.5).abs() > 1e-6 && (ticks - ticks.floor() - 0.5).abs() > 1e-6 {
                assert_eq!(chart.clock(f), (48 + (at.round() as i32).rem_euclid(48), ticks.round() as i32 + 8), "frame {f}");
            }
        }
        assert_eq!(Chart::new(120.0, 0.01, "12/8".parse().unwrap()).unwrap().clock(75), (144 + 24, 8));
        // 20 BPM: a frame can be more than 8 ticks from the next 48th; the value stays at the limit.
        assert_eq!(Chart::new(20.0, 0.0, Meter::FourFour).unwrap().clock(4), (0, 16));
    }

    #[test]
    fn equal_beats_give_the_clock_of_their_tempo() {
        for (meter, tempo) in [("4/4", 97.0), ("3/4", 141.3), ("6/8", 90.0), ("12/8", 111.0)] {
            let meter: Meter = meter.parse().unwrap();
            let beat = 60.0 / tempo * meter.quarters() as f64 / meter.beats() as f64;
            let seconds: Vec<f64> = (0..80).map(|k| 0.5 + beat * f64::from(k)).collect();
            let of_beats = Chart::of_beats(BeatMap::new(&seconds, 0).unwrap(), meter);
            let of_tempo = Chart::new(tempo, 0.5, meter).unwrap();
            // A beat is a whole number of samples, so now and then a value is rounded the other way.
            let different = (0..2000).filter(|&f| of_beats.clock(f) != of_tempo.clock(f)).count();
            assert!(different <= 20, "{meter}: {different} of 2000 frames differ");
        }
    }

    #[test]
    fn chords_change_with_their_bars() {
        let chart = Chart::new(120.0, 1.0, Meter::FourFour).unwrap().with_chords("| Em % | Dm7,G7 NC |").unwrap();
        let at = |frame| chart.chord(frame);
        assert_eq!((at(49), at(50), at(249), at(250)), (None, Some(33), Some(33), Some(20)));
        assert_eq!((at(299), at(300), at(350), at(450)), (Some(20), Some(58), Some(96), Some(33)));
        assert!(Chart::new(120.0, 0.0, Meter::FourFour).unwrap().with_chords("Em X").is_err());
        assert!(Chart::new(120.0, 0.0, Meter::FourFour).unwrap().with_chords(" | ").is_err());
        assert!(Chart::new(f64::NAN, 0.0, Meter::FourFour).is_err());
        assert!(Chart::new(120.0, f64::INFINITY, Meter::FourFour).is_err());
        assert!("5/4".parse::<Meter>().is_err());
    }
}
