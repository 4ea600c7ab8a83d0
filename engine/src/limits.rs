//! Limits of the parameters that a user can set. The session, the command line, OSC, MIDI and the keys all take them from here.

use std::fmt;
use std::ops::RangeInclusive;

/// An inclusive range of values, with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// Unit; empty for a plain number.
    pub unit: &'static str,
}

/// Tempo.
pub const TEMPO: Range = Range { min: 20.0, max: 400.0, unit: "BPM" };
/// Level of a stem; −60 dB is silence.
pub const GAIN: Range = Range { min: -60.0, max: 12.0, unit: "dB" };
/// Pan of a stem: left to right.
pub const PAN: Range = Range { min: -1.0, max: 1.0, unit: "" };
/// Dim: attenuation of everything but the input stem, as a gain.
pub const DIM: Range = Range { min: -60.0, max: 0.0, unit: "dB" };
/// Level of the room in the mix; 0 is dry.
pub const ROOM: Range = Range { min: 0.0, max: 1.0, unit: "" };
/// Sampling temperature of a live session.
pub const TEMPERATURE: Range = Range { min: 0.0, max: 4.0, unit: "" };
/// Sampling temperature that the command line accepts.
pub const START_TEMPERATURE: Range = Range { min: 0.0, max: 10.0, unit: "" };
/// Top-p (nucleus) sampling; 0 turns it off.
pub const TOP_P: Range = Range { min: 0.0, max: 1.0, unit: "" };
/// Guidance scale of a live session; 1 turns guidance off.
pub const CFG_SCALE: Range = Range { min: -10.0, max: 20.0, unit: "" };
/// Guidance scale that the command line accepts.
pub const START_CFG_SCALE: Range = Range { min: 0.0, max: 20.0, unit: "" };
/// Count-in.
pub const COUNT_IN: Range = Range { min: 0.0, max: 4.0, unit: "bars" };
/// Bars that a loop or a freeze repeats. A freeze of 0 bars ends the freeze.
pub const LOOP_BARS: Range = Range { min: 1.0, max: 16.0, unit: "bars" };
/// Hop: frames that are decided at a time.
pub const HOP: Range = Range { min: 1.0, max: MAX_HOP as f64, unit: "frames" };
/// The longest hop, frames.
pub const MAX_HOP: usize = 25;
/// Position of bar 1 in a recording.
pub const BAR1: Range = Range { min: -3600.0, max: 3600.0, unit: "s" };

/// Length of a rendered song, or of what is added to one: from a frame to the longest recording.
pub const SONG_SECONDS: Range = Range { min: 0.02, max: (crate::audio::MAX_MINUTES * 60) as f64, unit: "s" };
/// Length of a live session.
pub const SESSION_SECONDS: Range = Range { min: 0.02, max: 1e6, unit: "s" };
/// Round-trip latency that a device does not report.
pub const EXTRA_LATENCY: Range = Range { min: -1000.0, max: 1000.0, unit: "ms" };
/// The most bars of a chart, repeats written out: as many as takes of the first version may hold.
pub const CHART_BARS: usize = 1 << 14;
/// The most chords of a bar of a chart.
pub const CHART_CHORDS: usize = 16;

impl Range {
    /// Whether the range holds a value. NaN is in no range.
    pub fn contains(&self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }

    /// The nearest value in the range; for NaN the smallest one.
    pub fn clamp(&self, value: f64) -> f64 {
        if value.is_nan() { self.min } else { value.clamp(self.min, self.max) }
    }

    /// The nearest value in the range; for NaN the smallest one.
    pub fn clamp_f32(&self, value: f32) -> f32 {
        if value.is_nan() { self.min as f32 } else { value.clamp(self.min as f32, self.max as f32) }
    }

    /// The range in whole numbers.
    pub fn whole(&self) -> RangeInclusive<i64> {
        self.min as i64..=self.max as i64
    }
}

/// As in an error message: `20 to 400 BPM`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)?;
        if self.unit.is_empty() { Ok(()) } else { write!(f, " {}", self.unit) }
    }
}
