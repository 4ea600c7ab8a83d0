//! [`Heard`]: the beats and chords of a session, for the JSON report of `live`. They are those in force, whether
//! they were heard or given.

use serde_json::{Value, json};
use sideman_engine::audio::RATE;
use sideman_engine::live::{Clock, Snapshot};

/// A beat. A session has thousands of them, so they become JSON at its end.
struct Beat {
    /// Seconds of song time.
    time: f64,
    bar: i64,
    beat: u32,
}

/// Collects beats and chords.
#[derive(Default)]
pub struct Heard {
    beats: Vec<Beat>,
    /// Each with the seconds of song time from which it holds; without a name there is none.
    chords: Vec<(f64, String)>,
    /// Bar and beat of the last one.
    last: (i64, u32),
}

impl Heard {
    /// Takes the state after a hop.
    pub fn update(&mut self, s: &Snapshot) {
        let seconds = s.time as f64 / f64::from(RATE);
        if s.playing && s.bar >= 1 && s.clock != Clock::Free && (s.bar, s.beat) != self.last {
            self.last = (s.bar, s.beat);
            let length = 60.0 / s.tempo.max(1.0) * s.meter.quarters() as f64 / s.meter.beats() as f64;
            self.beats.push(Beat { time: seconds - f64::from(s.phase) * length, bar: s.bar, beat: s.beat });
        }
        let before = self.chords.last().map_or("", |(_, chord)| chord);
        if s.playing && s.chord != before {
            self.chords.push((seconds, s.chord.clone()));
        }
    }

    /// The collected beats and chords.
    pub fn finish(self) -> (Vec<Value>, Vec<Value>) {
        let round = |seconds: f64| (seconds * 1e4).round() / 1e4;
        let beat = |b: Beat| json!({ "time": round(b.time), "bar": b.bar, "beat": b.beat });
        let name = |chord: String| if chord.is_empty() { "N".to_owned() } else { chord };
        let chord = |(time, chord): (f64, String)| json!({ "time": round(time), "name": name(chord) });
        (self.beats.into_iter().map(beat).collect(), self.chords.into_iter().map(chord).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_and_chords_are_reported_once_each_and_take_little_memory() {
        let mut heard = Heard::default();
        let state = |time: i64, bar, beat, chord: &str| Snapshot {
            time,
            bar,
            beat,
            phase: 0.5,
            tempo: 120.0,
            playing: true,
            chord: chord.into(),
            ..Snapshot::default()
        };
        for s in [state(24_000, 1, 1, "Em"), state(26_000, 1, 1, "Em"), state(40_000, 1, 2, ""), state(56_000, 1, 3, "C")] {
            heard.update(&s);
        }
        let (beats, chords) = heard.finish();
        let wanted = [json!({"time": 0.5, "bar": 1, "beat": 1}), json!({"time": 1.0, "bar": 1, "beat": 2})];
        assert_eq!(beats[..2], wanted);
        assert_eq!((beats.len(), chords.len()), (3, 3));
        assert_eq!(chords[1], json!({"time": 1.25, "name": "N"}));
        // Two hours have 14,000 of them at 120 BPM.
        assert!(size_of::<Beat>() <= 24);
    }
}
