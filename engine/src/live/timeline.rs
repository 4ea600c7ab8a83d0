//! Bars and beats of a running song: where in which bar a sample lies, and at which sample a bar or beat begins.
//!
//! Everything is exact: a stretch of one tempo and meter ([`Segment`]) is a ratio of integers, so two hours of bars lie where one
//! division puts them. A change of tempo or meter begins a new stretch at a whole sample and keeps the place in the bar (to 2⁻⁴⁰
//! of a quarter note). A bar begins at the first sample that belongs to it.

use std::collections::VecDeque;

use crate::model::{FRAME, SAMPLE_RATE};
use crate::task::{Chords, Meter, clock_values};

/// Parts of a quarter note in which a stretch's first place is kept.
const Q: u32 = 40;
/// A quarter note lasts DEN / (quarters a minute · 10⁶) samples.
const DEN: i128 = 60 * SAMPLE_RATE as i128 * 1_000_000;
/// One quarter note in units of [`Segment::at`].
const QUARTER: i128 = DEN << Q;
/// Stretches that are remembered.
const KEPT: usize = 64;
/// Bars of a section of a chart without names.
pub const SECTION: i64 = 8;

/// Beats in a bar: quarter notes, dotted ones in 6/8 and 12/8.
pub fn beats(meter: Meter) -> i64 {
    match meter {
        Meter::FourFour | Meter::TwelveEight => 4,
        Meter::ThreeFour => 3,
        Meter::SixEight => 2,
    }
}

/// What a line of the clock divides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Beats.
    Beat,
    /// Bars.
    Bar,
    /// Sections of the chart; where it has no names, every 8 bars from bar 1 on.
    Section,
    /// The beginning of one bar, by its number; what lies past it is past it.
    Numbered(i64),
}

/// Where a sample lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Bar; 1 is the first.
    pub bar: i64,
    /// Beat, from 1.
    pub beat: u32,
    /// Share of the beat gone by.
    pub phase: f32,
    /// `num / den` of the bar gone by.
    pub part: (i128, i128),
}

/// A stretch of one tempo and meter.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Segment {
    /// First sample.
    start: i64,
    /// Bar that `place` counts from.
    bar: i64,
    /// Quarters · 2^Q since that bar began, at `start`.
    place: i128,
    /// Millionths of quarter notes a minute.
    micro: i128,
    meter: Meter,
}

impl Segment {
    /// Quarters · 2^Q · DEN since `self.bar` began.
    fn at(&self, t: i64) -> i128 {
        self.place * DEN + ((i128::from(t - self.start) * self.micro) << Q)
    }

    fn bar_len(&self) -> i128 {
        self.meter.quarters() as i128 * QUARTER
    }

    /// First sample at or past `place` (as [`Segment::at`] counts).
    fn time(&self, place: i128) -> i64 {
        let step = self.micro << Q;
        self.start + (place - self.place * DEN + step - 1).div_euclid(step) as i64
    }

    /// First line at or after sample `t`, as if the stretch went on for ever: its sample, and lines since `self.bar`.
    fn line(&self, t: i64, len: i128) -> (i64, i128) {
        // A line between two samples belongs to the later one; those of the stretch before are not this one's.
        let n = if t == self.start { -(-self.at(t)).div_euclid(len) } else { self.at(t - 1).div_euclid(len) + 1 };
        (self.time(n * len), n)
    }
}

/// Tempo, meter, bars and chords of a song.
#[derive(Debug, Clone)]
pub struct Timeline {
    segments: VecDeque<Segment>,
    chords: Option<Chords>,
    /// Bars from which the chords are counted anew, each with the bar of the song that is the chart's first. Before the first of them there
    /// are none.
    counted: VecDeque<(i64, i64)>,
    /// Semitones that they are moved by.
    transposition: i32,
}

/// A frame's middle sample: what the controls say of a frame, they say of it.
pub fn middle(frame: i64) -> i64 {
    frame * FRAME as i64 + FRAME as i64 / 2
}

fn micro(tempo: f64) -> i128 {
    (crate::limits::TEMPO.clamp(tempo) * 1e6).round() as i128
}

impl Timeline {
    /// A clock of `tempo` quarter notes a minute whose bar 1 begins at sample `bar1`.
    pub fn new(bar1: i64, tempo: f64, meter: Meter) -> Self {
        let mut segments = VecDeque::with_capacity(KEPT);
        segments.push_back(Segment { start: bar1, bar: 1, place: 0, micro: micro(tempo), meter });
        Timeline { segments, chords: None, counted: VecDeque::with_capacity(KEPT), transposition: 0 }
    }

    /// The stretch that sample `t` lies in, and the start of the next one.
    fn segment(&self, t: i64) -> (&Segment, i64) {
        let i = self.segments.iter().rposition(|s| s.start <= t).unwrap_or(0);
        (&self.segments[i], self.segments.get(i + 1).map_or(i64::MAX, |s| s.start))
    }

    fn push(&mut self, segment: Segment) {
        while self.segments.back().is_some_and(|s| s.start >= segment.start) && self.segments.len() > 1 {
            self.segments.pop_back();
        }
        if self.segments.len() == KEPT {
            self.segments.pop_front();
        }
        self.segments.push_back(segment);
    }

    /// A stretch from `t` on that keeps the place.
    fn split(&self, t: i64) -> Segment {
        let s = *self.segment(t).0;
        let mut place = s.at(t);
        // A change on a beat begins exactly there, not a part of a sample later.
        let beat = s.bar_len() / i128::from(beats(s.meter));
        if s.at(t - 1) < place - place.rem_euclid(beat) {
            place -= place.rem_euclid(beat);
        }
        let bars = place.div_euclid(s.bar_len());
        Segment { start: t, bar: s.bar + bars as i64, place: (place - bars * s.bar_len()) / DEN, ..s }
    }

    /// Another tempo from sample `t` on, 20 to 400 quarter notes a minute; the place in the bar stays.
    pub fn set_tempo(&mut self, t: i64, tempo: f64) {
        self.push(Segment { micro: micro(tempo), ..self.split(t) });
    }

    /// Another meter from sample `t` on, which should begin a bar.
    pub fn set_meter(&mut self, t: i64, meter: Meter) {
        self.push(Segment { meter, ..self.split(t) });
    }

    /// Bar `bar` begins at sample `t`.
    pub fn start_bar(&mut self, t: i64, bar: i64) {
        let s = *self.segment(t).0;
        self.push(Segment { start: t, bar, place: 0, ..s });
    }

    /// Chords from bar `bar` on; none: not known. Gives those before, to be dropped elsewhere.
    pub fn set_chords(&mut self, chords: Option<Chords>, bar: i64) -> Option<Chords> {
        self.transposition = 0;
        self.restart_chords(bar);
        std::mem::replace(&mut self.chords, chords)
    }

    /// Whether there are chords.
    pub fn has_chords(&self) -> bool {
        self.chords.is_some()
    }

    /// The chords move up by so many semitones.
    pub fn transpose(&mut self, semitones: i32) {
        self.transposition = (self.transposition + semitones).rem_euclid(12);
    }

    /// Semitones that the chords are moved by since they were set, 0 to 11.
    pub fn transposition(&self) -> i32 {
        self.transposition
    }

    /// The chords begin again with bar `bar`; before it there are none.
    pub fn restart_chords(&mut self, bar: i64) {
        self.counted.clear();
        self.counted.push_back((bar, bar));
    }

    /// Bar `bar` is bar `of` of the chart, counted from 0; what was before it stays. Allocates nothing.
    pub fn jump(&mut self, bar: i64, of: i64) {
        while self.counted.back().is_some_and(|c| c.0 >= bar) {
            self.counted.pop_back();
        }
        if self.counted.len() == KEPT {
            self.counted.pop_front();
        }
        self.counted.push_back((bar, bar - of));
    }

    /// The bar of the chart, counted from 0, that bar `bar` is; below 0, and none, before it.
    fn of(&self, bar: i64) -> i64 {
        let counted = self.counted.iter().rev().find(|c| c.0 <= bar);
        counted.map_or(-1, |c| bar - c.1)
    }

    /// The chart, where there is one.
    pub fn chords(&self) -> Option<&Chords> {
        self.chords.as_ref()
    }

    /// Section that sample `t` lies in, and bars from its bar until the next one: see [`Chords::section`].
    pub fn section(&self, t: i64) -> Option<(usize, &str, i64)> {
        self.chords.as_ref()?.section(self.of(self.position(t).bar))
    }

    /// Bars from `bar` on until a section begins.
    fn to_section(&self, bar: i64) -> i64 {
        let Some(chords) = self.chords.as_ref().filter(|c| c.section_names().next().is_some()) else {
            return (1 - bar).rem_euclid(SECTION);
        };
        // What is decided further on is counted from where it was counted anew last.
        let Some(&(from, first)) = self.counted.back() else { return 0 };
        if bar <= from {
            return from - bar;
        }
        // A bar begins a section where the bar before it was the last of one.
        chords.section(bar - 1 - first).map_or(0, |(_, _, left)| left - 1)
    }

    /// Quarter notes a minute at sample `t`.
    pub fn tempo(&self, t: i64) -> f64 {
        self.segment(t).0.micro as f64 / 1e6
    }

    /// Meter at sample `t`.
    pub fn meter(&self, t: i64) -> Meter {
        self.segment(t).0.meter
    }

    /// Length in samples of a bar as at sample `t`: a fraction.
    pub fn bar_len(&self, t: i64) -> (i128, i128) {
        let s = self.segment(t).0;
        (s.meter.quarters() as i128 * DEN, s.micro)
    }

    /// Where sample `t` lies.
    pub fn position(&self, t: i64) -> Position {
        let s = self.segment(t).0;
        let (place, len) = (s.at(t), s.bar_len());
        let (bar, part) = (place.div_euclid(len), place.rem_euclid(len));
        let beat = part * i128::from(beats(s.meter));
        let phase = (beat % len) as f64 / len as f64;
        Position { bar: s.bar + bar as i64, beat: (beat / len) as u32 + 1, phase: phase as f32, part: (part, len) }
    }

    /// First line at or after sample `t`.
    pub fn next(&self, t: i64, line: Boundary) -> i64 {
        let mut t = t;
        loop {
            let (s, end) = self.segment(t);
            if let Boundary::Numbered(bar) = line {
                // Some years either way: the arithmetic stays in its range.
                let at = s.time(i128::from(bar.clamp(-1 << 24, 1 << 24) - s.bar) * s.bar_len()).max(t);
                if at < end {
                    return at;
                }
                t = end;
                continue;
            }
            let len = match line {
                Boundary::Beat => s.bar_len() / i128::from(beats(s.meter)),
                _ => s.bar_len(),
            };
            let (mut at, n) = s.line(t, len);
            if line == Boundary::Section {
                let bar = s.bar + n as i64;
                at = s.time((n + i128::from(self.to_section(bar))) * len);
            }
            if at < end {
                return at;
            }
            t = end;
        }
    }

    /// Last line at or before sample `t` and after `from`.
    pub fn last(&self, from: i64, t: i64, line: Boundary) -> Option<i64> {
        let mut last = None;
        let mut at = self.next(from + 1, line);
        while at <= t {
            last = Some(at);
            at = self.next(at + 1, line);
        }
        last
    }

    /// `beat` and `tick` control values of a frame.
    pub fn clock_controls(&self, frame: i64) -> (i32, i32) {
        let t = middle(frame);
        let s = self.segment(t).0;
        clock_values(s.meter, self.position(t).part, s.micro)
    }

    /// Chord at sample `t`: `chord` control value, and symbol as it was written ([`Timeline::moved`]); none where it is not known.
    pub fn chord(&self, t: i64) -> Option<(i32, &str)> {
        let chords = self.chords.as_ref()?;
        let place = self.position(t);
        chords
            .at(self.of(place.bar), place.part.0, place.part.1)
            .map(|(chord, symbol)| (chord.transpose(self.transposition).value(), symbol))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::Chart;

    /// First sample of bar `n` after bar 1 (n from 0), by one division.
    fn bar(bar1: i64, tempo_micro: i128, quarters: i128, n: i64) -> i64 {
        let exact = i128::from(n) * quarters * 60 * 32000 * 1_000_000;
        bar1 + (exact + tempo_micro - 1).div_euclid(tempo_micro) as i64
    }

    #[test]
    fn two_hours_do_not_drift() {
        let line = Timeline::new(12_345, 97.0, Meter::FourFour);
        let (mut t, mut n) = (12_345, 0);
        while t < 2 * 3600 * 32000 {
            assert_eq!(t, bar(12_345, 97_000_000, 4, n));
            let place = line.position(t);
            assert_eq!((place.bar, place.beat), (n + 1, 1));
            assert_eq!(line.position(t - 1).bar, n);
            (t, n) = (line.next(t + 1, Boundary::Bar), n + 1);
        }
        assert_eq!(n, 2910); // 7200 s · 97 / 60 / 4 bars, and the one begun before 12 345
    }

    #[test]
    fn beats_of_meters() {
        for (meter, name) in [(Meter::FourFour, 4), (Meter::ThreeFour, 3), (Meter::SixEight, 2), (Meter::TwelveEight, 4)] {
            let line = Timeline::new(0, 120.0, meter);
            let bar = line.next(1, Boundary::Bar);
            assert_eq!(bar, 16000 * meter.quarters() as i64);
            let (mut t, mut count) = (0, 0);
            while t < bar {
                assert_eq!(line.position(t).beat, count + 1);
                (t, count) = (line.next(t + 1, Boundary::Beat), count + 1);
            }
            assert_eq!((t, i64::from(count)), (bar, name));
        }
    }

    #[test]
    fn sections_are_eight_bars_from_bar_one() {
        let line = Timeline::new(64_000, 120.0, Meter::FourFour);
        assert_eq!(line.next(0, Boundary::Section), 64_000);
        assert_eq!(line.next(64_001, Boundary::Section), 64_000 + 8 * 64_000);
    }

    #[test]
    fn numbered_bars_are_found_across_changes() {
        let mut line = Timeline::new(1000, 120.0, Meter::FourFour);
        line.set_tempo(65_000, 240.0);
        line.set_meter(97_000, Meter::ThreeFour);
        let at = |t, bar| line.next(t, Boundary::Numbered(bar));
        assert_eq!([at(0, 1), at(0, 2), at(0, 3), at(0, 4)], [1000, 65_000, 97_000, 97_000 + 24_000]);
        // What is past is now; what is far is far.
        assert_eq!([at(70_000, 1), at(70_000, 2), at(97_001, 3)], [70_000, 70_000, 97_001]);
        assert!(at(0, i64::MAX) > 1 << 32 && at(500, i64::MIN) == 500);
        (4..200).for_each(|bar| assert_eq!(line.position(at(0, bar)).bar, bar));
    }

    #[test]
    fn chords_follow_their_bars() {
        let mut line = Timeline::new(640, 120.0, Meter::FourFour);
        line.set_chords(Some("Em C,D".parse().unwrap()), 1);
        let at = |t| line.chord(t).map(|c| c.1.to_owned());
        assert_eq!((at(639), at(640).as_deref(), at(64_640).as_deref()), (None, Some("Em"), Some("C")));
        assert_eq!((at(96_640).as_deref(), at(128_640).as_deref()), (Some("D"), Some("Em")));
        line.restart_chords(2);
        assert_eq!((line.chord(640), line.chord(64_640).map(|c| c.1)), (None, Some("Em")));
    }

    #[test]
    fn sections_are_the_chart_s() {
        let mut line = Timeline::new(0, 120.0, Meter::FourFour);
        line.set_chords(Some("[A] Em Em C [B] G D".parse().unwrap()), 1);
        let bar = |n: i64| (n - 1) * 64_000;
        let next = |line: &Timeline, n| line.position(line.next(bar(n), Boundary::Section)).bar;
        let name = |line: &Timeline, n| line.section(bar(n)).map(|s| (s.1.to_owned(), s.2));
        assert_eq!([-2, 1, 2, 4, 5, 6, 7].map(|n| next(&line, n)), [1, 1, 4, 4, 6, 6, 9]);
        assert_eq!(line.next(bar(4) + 1, Boundary::Section), bar(6));
        assert_eq!([name(&line, 0), name(&line, 1), name(&line, 5)], [None, Some(("A".into(), 3)), Some(("B".into(), 1))]);
        // Bar 3 is the first of B; what was before it stays.
        line.jump(3, 3);
        assert_eq!([2, 3, 4, 5].map(|n| line.chord(bar(n)).unwrap().1.to_owned()), ["Em", "G", "D", "Em"]);
        assert_eq!([3, 4, 5, 6].map(|n| next(&line, n)), [3, 5, 5, 8]);
        // Often and far: nothing is lost but what nobody asks for any more.
        (4..500).for_each(|n| line.jump(n, n % 5));
        assert_eq!((line.chord(bar(499)).unwrap().1, line.chord(bar(499 - KEPT as i64))), ("D", None));
        assert!(line.counted.len() <= KEPT && line.counted.capacity() < 2 * KEPT);
    }

    #[test]
    fn many_changes_of_tempo_keep_the_place() {
        let mut line = Timeline::new(0, 120.0, Meter::FourFour);
        let mut t = 0;
        for i in 0..500 {
            let before = line.position(t);
            line.set_tempo(t, 60.0 + (i % 90) as f64);
            let after = line.position(t);
            assert_eq!((after.bar, after.beat), (before.bar, before.beat));
            assert!((after.phase - before.phase).abs() < 2e-4);
            assert_eq!(after.beat as i64, i % 4 + 1);
            t = line.next(t + 1, Boundary::Beat);
        }
        assert_eq!(line.position(t).bar, 126);
        assert!(line.segments.len() <= KEPT);
    }

    proptest! {
        #[test]
        fn control_values_are_the_chart_s(tempo in 20.0f64..400.0, bar1 in -100_000i64..100_000, meter in 0usize..4, frame in -5000i64..400_000) {
            let meter = [Meter::FourFour, Meter::ThreeFour, Meter::SixEight, Meter::TwelveEight][meter];
            let chart = Chart::new(tempo, bar1 as f64 / 32000.0, meter).unwrap().with_chords("Em C,D,A F").unwrap();
            let mut line = Timeline::new(bar1, tempo, meter);
            line.set_chords(Some("Em C,D,A F".parse().unwrap()), 1);
            prop_assert_eq!(line.clock_controls(frame), chart.clock(frame));
            prop_assert_eq!(line.chord(middle(frame)).map(|c| c.0), chart.chord(frame));
        }

        #[test]
        fn lines_begin_where_the_place_says(
            changes in prop::collection::vec((0i64..3_000_000, 20.0f64..400.0), 0..5), from in -100_000i64..3_000_000,
        ) {
            let mut line = Timeline::new(1000, 100.0, Meter::ThreeFour);
            let mut changes = changes;
            changes.sort_by_key(|c| c.0);
            for (t, tempo) in changes {
                line.set_tempo(t, tempo);
            }
            let beat = line.next(from, Boundary::Beat);
            let bar = line.next(from, Boundary::Bar);
            prop_assert!(from <= beat && beat <= bar);
            let (here, before) = (line.position(bar), line.position(bar - 1));
            prop_assert!(here.beat == 1 && before.bar == here.bar - 1 && before.beat == 3, "{here:?} {before:?}");
            prop_assert_ne!(line.position(beat).beat, line.position(beat - 1).beat);
            // Nothing between is the start of a beat.
            if beat > from {
                prop_assert_eq!(line.position(from).beat, line.position(beat - 1).beat);
            }
        }
    }
}
