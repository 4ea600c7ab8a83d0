//! Where the music is that is heard now. A snapshot speaks of what is decided next, a lead ahead of the ear, and comes once a hop; the
//! screen counts on from it by the clock.

use sideman_engine::audio::RATE;
use sideman_engine::live::{Snapshot, beats};

/// A band that has shown nothing for so long (s) stands still on the screen, too.
const STILL: f64 = 1.0;

/// A bar, from 1, and a beat of it, from 1, with its share gone by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Bar; 0 and less count in.
    pub bar: i64,
    /// Beat.
    pub beat: i64,
    /// Share of the beat, 0 to 1.
    pub phase: f64,
}

/// Song time that is heard now, `since` seconds after the snapshot came.
pub fn now(s: &Snapshot, since: f64) -> i64 {
    s.time - s.lead + (since.clamp(0.0, STILL) * f64::from(RATE)) as i64
}

/// Samples of a beat.
pub fn beat_len(s: &Snapshot) -> f64 {
    let quarters = s.meter.quarters() as f64 / beats(s.meter) as f64;
    quarters * 60.0 / s.tempo.max(1.0) * f64::from(RATE)
}

/// Beats since the beginning of bar 0 at a song time, by the snapshot's tempo and meter.
pub fn beats_at(s: &Snapshot, t: i64) -> f64 {
    let there = (s.bar * beats(s.meter) + i64::from(s.beat.max(1)) - 1) as f64 + f64::from(s.phase);
    there + (t - s.time) as f64 / beat_len(s)
}

/// Where a song time lies.
pub fn place(s: &Snapshot, t: i64) -> Position {
    let (all, bar) = (beats_at(s, t), beats(s.meter));
    // A line itself must not fall a rounding before it.
    let whole = (all + 1e-3).floor();
    Position { bar: (whole as i64).div_euclid(bar), beat: (whole as i64).rem_euclid(bar) + 1, phase: (all - whole).max(0.0) }
}

/// A boundary in words: `bar 13`, `13.2`, or `now` where it is not ahead of what is decided.
pub fn boundary(s: &Snapshot, at: i64) -> String {
    let place = place(s, at);
    match (at <= s.time + 2 * 640, place.beat, place.phase < 0.02) {
        (true, ..) => "now".into(),
        (_, 1, true) => format!("bar {}", place.bar),
        _ => format!("{}.{}", place.bar, place.beat),
    }
}

/// `1:05`.
pub fn clock(samples: i64) -> String {
    let seconds = samples.max(0) / i64::from(RATE);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ear_is_a_lead_behind_and_goes_on_by_the_clock() {
        // 120 bpm: a beat is 16000 samples.
        let s = Snapshot { time: 100_000, lead: 8_000, tempo: 120.0, bar: 3, beat: 1, phase: 0.25, ..Snapshot::default() };
        assert_eq!(now(&s, 0.0), 92_000);
        assert_eq!(place(&s, now(&s, 0.0)), Position { bar: 2, beat: 4, phase: 0.75 });
        assert_eq!(now(&s, 0.125), 96_000);
        assert_eq!(place(&s, now(&s, 0.125)), Position { bar: 3, beat: 1, phase: 0.0 });
        assert_eq!(now(&s, 60.0), 92_000 + 32_000);
        assert_eq!(
            (boundary(&s, 100_000), boundary(&s, 96_000 + 64_000), boundary(&s, 96_000 + 16_000)),
            ("now".into(), "bar 4".into(), "3.2".into())
        );
        let s = Snapshot { meter: "6/8".parse().unwrap(), beat: 2, ..s };
        assert_eq!(beat_len(&s), 24_000.0);
        assert_eq!(place(&s, 94_000), Position { bar: 3, beat: 2, phase: 0.0 });
        assert_eq!(clock(65 * 32_000), "1:05");
    }
}
