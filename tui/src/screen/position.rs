//! The musical position that sounds now. A snapshot describes the music that is computed next, which is ahead
//! of the sound by the lead, and there is one snapshot per hop: the screen extrapolates from it by the wall
//! clock.

use sideman_engine::audio::RATE;
use sideman_engine::live::Snapshot;

/// Seconds without a snapshot after which the position on the screen stands still.
const MAX_EXTRAPOLATION: f64 = 1.0;

/// A musical position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Bar, from 1; 0 and below are the count-in.
    pub bar: i64,
    /// Beat of the bar, from 1.
    pub beat: i64,
    /// Fraction of the beat that has passed, 0 to 1.
    pub phase: f64,
}

/// Song time that sounds now, `since` seconds after the snapshot was received.
pub fn now(s: &Snapshot, since: f64) -> i64 {
    s.time - s.lead + (since.clamp(0.0, MAX_EXTRAPOLATION) * f64::from(RATE)) as i64
}

/// Samples in a beat.
pub fn beat_len(s: &Snapshot) -> f64 {
    let quarters = s.meter.quarters() as f64 / s.meter.beats() as f64;
    quarters * 60.0 / s.tempo.max(1.0) * f64::from(RATE)
}

/// Beats from the start of bar 0 to a song time, at the snapshot's tempo and meter.
pub fn beats_at(s: &Snapshot, t: i64) -> f64 {
    let at_snapshot = (s.bar * s.meter.beats() + i64::from(s.beat.max(1)) - 1) as f64 + f64::from(s.phase);
    at_snapshot + (t - s.time) as f64 / beat_len(s)
}

/// Musical position of a song time.
pub fn at(s: &Snapshot, t: i64) -> Position {
    let (all, bar) = (beats_at(s, t), s.meter.beats());
    // A rounding error must not put a bar line into the bar before it.
    let whole = (all + 1e-3).floor();
    Position { bar: (whole as i64).div_euclid(bar), beat: (whole as i64).rem_euclid(bar) + 1, phase: (all - whole).max(0.0) }
}

/// A boundary as the screen writes it: `bar 13`, `13.2` (bar and beat), or `now` if that music is decided
/// already.
pub fn boundary(s: &Snapshot, at: i64) -> String {
    let position = self::at(s, at);
    match (at <= s.time + 2 * 640, position.beat, position.phase < 0.02) {
        (true, ..) => "now".into(),
        (_, 1, true) => format!("bar {}", position.bar),
        _ => format!("{}.{}", position.bar, position.beat),
    }
}

/// A duration as minutes and seconds: `1:05`.
pub fn clock(samples: i64) -> String {
    let seconds = samples.max(0) / i64::from(RATE);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_a_lead_behind_the_snapshot_and_moves_with_the_clock() {
        // 120 bpm: a beat is 16000 samples.
        let s = Snapshot { time: 100_000, lead: 8_000, tempo: 120.0, bar: 3, beat: 1, phase: 0.25, ..Snapshot::default() };
        assert_eq!(now(&s, 0.0), 92_000);
        assert_eq!(at(&s, now(&s, 0.0)), Position { bar: 2, beat: 4, phase: 0.75 });
        assert_eq!(now(&s, 0.125), 96_000);
        assert_eq!(at(&s, now(&s, 0.125)), Position { bar: 3, beat: 1, phase: 0.0 });
        assert_eq!(now(&s, 60.0), 92_000 + 32_000);
        assert_eq!(
            (boundary(&s, 100_000), boundary(&s, 96_000 + 64_000), boundary(&s, 96_000 + 16_000)),
            ("now".into(), "bar 4".into(), "3.2".into())
        );
        let s = Snapshot { meter: "6/8".parse().unwrap(), beat: 2, ..s };
        assert_eq!(beat_len(&s), 24_000.0);
        assert_eq!(at(&s, 94_000), Position { bar: 3, beat: 2, phase: 0.0 });
        assert_eq!(clock(65 * 32_000), "1:05");
    }
}
