//! [`Timeline`]: bars, beats and chords of a song. It says where in which bar a sample lies, and at which
//! sample a bar or a beat starts.
//!
//! Everything is exact. A stretch of one tempo and meter ([`Segment`]) is a ratio of integers, so that after
//! two hours a bar still starts at the sample that one division gives. A change of tempo or meter starts a
//! new segment at a whole sample and keeps the position in the bar (to 2⁻⁴⁰ of a quarter note). A bar starts
//! at the first sample that belongs to it.

use std::collections::VecDeque;

use crate::limits::TEMPO;
use crate::model::{FRAME, SAMPLE_RATE};
use crate::task::{Chords, Meter, clock_values};

/// Bits behind the point of [`Segment::position`], in quarter notes.
const Q: u32 = 40;
/// A quarter note lasts DEN / (BPM · 10⁶) samples.
const DEN: i128 = 60 * SAMPLE_RATE as i128 * 1_000_000;
/// One quarter note in units of [`Segment::at`].
const QUARTER: i128 = DEN << Q;
/// Segments and chart starts that are kept.
const KEPT: usize = 64;
/// Bars of a section of a chart without section names.
pub const SECTION: i64 = 8;

/// A quantize boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// A beat.
    Beat,
    /// A bar.
    Bar,
    /// A section of the chart. A chart without section names has one every 8 bars from bar 1 on.
    Section,
    /// The start of a bar, by its number. If the bar has started, the boundary is the current sample.
    Numbered(i64),
}

/// Where a sample lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Bar; 1 is the first.
    pub bar: i64,
    /// Beat in the bar, from 1.
    pub beat: u32,
    /// The part of the beat that has passed, 0 to 1.
    pub phase: f32,
    /// The part of the bar that has passed, as a fraction.
    pub bar_fraction: (i128, i128),
}

/// A stretch of one tempo and meter.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Segment {
    /// First sample.
    start: i64,
    /// The bar that `position` counts from.
    bar: i64,
    /// Quarter notes · 2^Q from the start of that bar to `start`.
    position: i128,
    /// Tempo in millionths of a BPM.
    micro_bpm: i128,
    meter: Meter,
}

impl Segment {
    /// Quarter notes · 2^Q · DEN since `self.bar` started.
    fn at(&self, t: i64) -> i128 {
        self.position * DEN + ((i128::from(t - self.start) * self.micro_bpm) << Q)
    }

    fn bar_len(&self) -> i128 {
        self.meter.quarters() as i128 * QUARTER
    }

    /// The first sample at or past a position, in units of [`Segment::at`].
    fn time(&self, position: i128) -> i64 {
        let step = self.micro_bpm << Q;
        self.start + (position - self.position * DEN + step - 1).div_euclid(step) as i64
    }

    /// The first multiple of `len` at or after sample `t`, as if the segment had no end: its sample, and how
    /// many since `self.bar` started.
    fn next_multiple(&self, t: i64, len: i128) -> (i64, i128) {
        // One that lies between two samples belongs to the later one. Those of the segment before are not
        // this one's.
        let n = if t == self.start { -(-self.at(t)).div_euclid(len) } else { self.at(t - 1).div_euclid(len) + 1 };
        (self.time(n * len), n)
    }
}

/// Tempo, meter, bars and chords of a song.
#[derive(Debug, Clone)]
pub struct Timeline {
    segments: VecDeque<Segment>,
    chords: Option<Chords>,
    /// Bars at which the chart was started or jumped in, each with the bar of the song that would be the
    /// chart's first. Before the first of them there are no chords.
    chart_starts: VecDeque<(i64, i64)>,
    /// Semitones by which the chords are transposed.
    transposition: i32,
}

/// The sample in the middle of a frame. The controls of a frame are those of this sample.
pub fn middle(frame: i64) -> i64 {
    frame * FRAME as i64 + FRAME as i64 / 2
}

fn micro_bpm(tempo: f64) -> i128 {
    (TEMPO.clamp(tempo) * 1e6).round() as i128
}

impl Timeline {
    /// A timeline of `tempo` BPM whose bar 1 starts at sample `bar1`.
    pub fn new(bar1: i64, tempo: f64, meter: Meter) -> Self {
        let mut segments = VecDeque::with_capacity(KEPT);
        segments.push_back(Segment { start: bar1, bar: 1, position: 0, micro_bpm: micro_bpm(tempo), meter });
        Timeline { segments, chords: None, chart_starts: VecDeque::with_capacity(KEPT), transposition: 0 }
    }

    /// The segment that sample `t` lies in, and the start of the next one.
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

    /// A segment from sample `t` on that keeps the position.
    fn split(&self, t: i64) -> Segment {
        let s = *self.segment(t).0;
        let mut position = s.at(t);
        // A change on a beat is exactly on it, not a part of a sample later.
        let beat = s.bar_len() / i128::from(s.meter.beats());
        if s.at(t - 1) < position - position.rem_euclid(beat) {
            position -= position.rem_euclid(beat);
        }
        let bars = position.div_euclid(s.bar_len());
        Segment { start: t, bar: s.bar + bars as i64, position: (position - bars * s.bar_len()) / DEN, ..s }
    }

    /// Changes the tempo at sample `t`, 20 to 400 BPM. The position in the bar stays.
    pub fn set_tempo(&mut self, t: i64, tempo: f64) {
        self.push(Segment { micro_bpm: micro_bpm(tempo), ..self.split(t) });
    }

    /// Changes the meter at sample `t`, which should be the start of a bar.
    pub fn set_meter(&mut self, t: i64, meter: Meter) {
        self.push(Segment { meter, ..self.split(t) });
    }

    /// Starts bar `bar` at sample `t`.
    pub fn start_bar(&mut self, t: i64, bar: i64) {
        let s = *self.segment(t).0;
        self.push(Segment { start: t, bar, position: 0, ..s });
    }

    /// Starts bar `bar` at sample `at`, with a tempo that holds from the earlier sample `t` on. From `t` to `at` the
    /// bars before `bar` pass.
    pub fn count_to(&mut self, t: i64, at: i64, bar: i64, tempo: f64) {
        let s = Segment { micro_bpm: micro_bpm(tempo), bar, ..*self.segment(t).0 };
        let before = -((i128::from(at - t) * s.micro_bpm) << Q).div_euclid(DEN);
        self.push(Segment { start: t, position: before, ..s });
        self.push(Segment { start: at, position: 0, ..s });
    }

    /// Sets the chords from bar `bar` on; `None`: not known. Returns the former ones, so that the caller
    /// frees them.
    pub fn set_chords(&mut self, chords: Option<Chords>, bar: i64) -> Option<Chords> {
        self.transposition = 0;
        self.restart_chords(bar);
        std::mem::replace(&mut self.chords, chords)
    }

    /// Whether there are chords.
    pub fn has_chords(&self) -> bool {
        self.chords.is_some()
    }

    /// Transposes the chords up by `semitones`.
    pub fn transpose(&mut self, semitones: i32) {
        self.transposition = (self.transposition + semitones).rem_euclid(12);
    }

    /// Semitones by which the chords have been transposed since they were set, 0 to 11.
    pub fn transposition(&self) -> i32 {
        self.transposition
    }

    /// Starts the chart again with bar `bar`. Before it there are no chords.
    pub fn restart_chords(&mut self, bar: i64) {
        self.chart_starts.clear();
        self.chart_starts.push_back((bar, bar));
    }

    /// From bar `bar` on, plays the chart from its bar `chart_bar` on, counted from 0. The bars before stay.
    /// It allocates nothing.
    pub fn jump(&mut self, bar: i64, chart_bar: i64) {
        while self.chart_starts.back().is_some_and(|c| c.0 >= bar) {
            self.chart_starts.pop_back();
        }
        if self.chart_starts.len() == KEPT {
            self.chart_starts.pop_front();
        }
        self.chart_starts.push_back((bar, bar - chart_bar));
    }

    /// The bar of the chart, counted from 0, that bar `bar` plays; −1 before the chart.
    fn chart_bar(&self, bar: i64) -> i64 {
        let start = self.chart_starts.iter().rev().find(|c| c.0 <= bar);
        start.map_or(-1, |c| bar - c.1)
    }

    /// The chart, if there is one.
    pub fn chords(&self) -> Option<&Chords> {
        self.chords.as_ref()
    }

    /// The section that sample `t` lies in: its index, its name, and the bars until the next one, the current
    /// bar included ([`Chords::section`]). `None`: the chart has no section names.
    pub fn section(&self, t: i64) -> Option<(usize, &str, i64)> {
        self.chords.as_ref()?.section(self.chart_bar(self.position(t).bar))
    }

    /// Bars from `bar` on until a section starts.
    fn to_section(&self, bar: i64) -> i64 {
        let Some(chords) = self.chords.as_ref().filter(|c| c.section_names().next().is_some()) else {
            return (1 - bar).rem_euclid(SECTION);
        };
        // Later bars are counted from the last start.
        let Some(&(from, first)) = self.chart_starts.back() else { return 0 };
        if bar <= from {
            return from - bar;
        }
        // A bar starts a section if the bar before it was the last of one.
        chords.section(bar - 1 - first).map_or(0, |(_, _, left)| left - 1)
    }

    /// Tempo at sample `t`, in quarter notes a minute (BPM).
    pub fn tempo(&self, t: i64) -> f64 {
        self.segment(t).0.micro_bpm as f64 / 1e6
    }

    /// Meter at sample `t`.
    pub fn meter(&self, t: i64) -> Meter {
        self.segment(t).0.meter
    }

    /// Length of a bar at sample `t`, in samples, as a fraction.
    pub fn bar_len(&self, t: i64) -> (i128, i128) {
        let s = self.segment(t).0;
        (s.meter.quarters() as i128 * DEN, s.micro_bpm)
    }

    /// Where sample `t` lies.
    pub fn position(&self, t: i64) -> Position {
        let s = self.segment(t).0;
        let (position, len) = (s.at(t), s.bar_len());
        let (bar, passed) = (position.div_euclid(len), position.rem_euclid(len));
        let beat = passed * i128::from(s.meter.beats());
        let phase = (beat % len) as f64 / len as f64;
        Position { bar: s.bar + bar as i64, beat: (beat / len) as u32 + 1, phase: phase as f32, bar_fraction: (passed, len) }
    }

    /// The first boundary at or after sample `t`.
    pub fn next(&self, t: i64, boundary: Boundary) -> i64 {
        let mut t = t;
        loop {
            let (s, end) = self.segment(t);
            if let Boundary::Numbered(bar) = boundary {
                // Some years either way, so that the arithmetic does not overflow.
                let at = s.time(i128::from(bar.clamp(-1 << 24, 1 << 24) - s.bar) * s.bar_len()).max(t);
                if at < end {
                    return at;
                }
                t = end;
                continue;
            }
            let len = match boundary {
                Boundary::Beat => s.bar_len() / i128::from(s.meter.beats()),
                _ => s.bar_len(),
            };
            let (mut at, n) = s.next_multiple(t, len);
            if boundary == Boundary::Section {
                let bar = s.bar + n as i64;
                at = s.time((n + i128::from(self.to_section(bar))) * len);
            }
            if at < end {
                return at;
            }
            t = end;
        }
    }

    /// The last boundary at or before sample `t` and after sample `from`.
    pub fn last(&self, from: i64, t: i64, boundary: Boundary) -> Option<i64> {
        let mut last = None;
        let mut at = self.next(from + 1, boundary);
        while at <= t {
            last = Some(at);
            at = self.next(at + 1, boundary);
        }
        last
    }

    /// Values of the `beat` and `tick` controls of a frame.
    pub fn clock_controls(&self, frame: i64) -> (i32, i32) {
        let t = middle(frame);
        let s = self.segment(t).0;
        clock_values(s.meter, self.position(t).bar_fraction, s.micro_bpm)
    }

    /// The chord at sample `t`: value of the `chord` control, transposed, and symbol as it was written, not
    /// transposed. `None`: not known.
    pub fn chord(&self, t: i64) -> Option<(i32, &str)> {
        let chords = self.chords.as_ref()?;
        let Position { bar, bar_fraction: (num, den), .. } = self.position(t);
        chords.at(self.chart_bar(bar), num, den).map(|(chord, symbol)| (chord.transpose(self.transposition).value(), symbol))
    }
}

#[cfg(test)]
mod tests;
