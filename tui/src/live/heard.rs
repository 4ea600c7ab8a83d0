//! [`Heard`]: the beats and chords of a session, for the JSON report of `live`. They are those in force, whether
//! they were heard or given.

use serde_json::{Value, json};
use sideman_engine::audio::RATE;
use sideman_engine::live::{Clock, Snapshot};

/// Collects beats and chords.
#[derive(Default)]
pub struct Heard {
    beats: Vec<Value>,
    chords: Vec<Value>,
    /// Bar and beat of the last one.
    last: (i64, u32),
    chord: String,
}

impl Heard {
    /// Takes the state after a hop.
    pub fn update(&mut self, s: &Snapshot) {
        let seconds = s.time as f64 / f64::from(RATE);
        if s.playing && s.bar >= 1 && s.clock != Clock::Free && (s.bar, s.beat) != self.last {
            self.last = (s.bar, s.beat);
            let beat = 60.0 / s.tempo.max(1.0) * s.meter.quarters() as f64 / s.meter.beats() as f64;
            let time = seconds - f64::from(s.phase) * beat;
            self.beats.push(json!({ "time": (time * 1e4).round() / 1e4, "bar": s.bar, "beat": s.beat }));
        }
        if s.playing && s.chord != self.chord {
            self.chord.clone_from(&s.chord);
            let name = if s.chord.is_empty() { "N" } else { &s.chord };
            self.chords.push(json!({ "time": (seconds * 1e4).round() / 1e4, "name": name }));
        }
    }

    /// The collected beats and chords.
    pub fn finish(self) -> (Vec<Value>, Vec<Value>) {
        (self.beats, self.chords)
    }
}
