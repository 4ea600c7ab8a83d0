//! What a listener reports about recordings: tempo, meter, bars, chords and key, with how sure it is.

use super::analysis::{Analysis, analyse};
use super::events::{Event, Voice, events, features};
use super::grid::Grid;
use super::harmony::HeardChord;
use super::refine::refine;
use super::tables::TABLES;
use crate::Error;
use crate::listen::Features;
use crate::task::{BeatMap, Chart, Meter, chord_name};

/// Beat in BPM below which a triplet feel can be 12/8.
const SLOW: f64 = 95.0;

/// One recording that belongs to a song.
#[derive(Debug, Clone, Copy)]
pub struct Recording<'a> {
    /// How it is heard.
    pub voice: Voice,
    /// Samples at 32 kHz, mono.
    pub samples: &'a [f32],
}

/// What is known before listening.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The beats; none: they are to be found.
    pub clock: Option<KnownClock>,
    /// The meter, where the beats are not known.
    pub meter: Option<Meter>,
    /// Where bar 1 begins, in seconds, where the beats are not known.
    pub bar1: Option<f64>,
}

/// Beats that are known.
#[derive(Debug, Clone)]
pub struct KnownClock {
    /// Seconds of each beat.
    pub beats: Vec<f64>,
    /// Index of the first beat of bar 1.
    pub bar1: usize,
    /// The meter.
    pub meter: Meter,
}

/// How the beats that were found are to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// Half as many beats.
    Half,
    /// Twice as many beats.
    Double,
    /// Bars begin this many beats later.
    Shift(u8),
    /// Beats half a beat later.
    OffBeat,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Seconds of each beat, from the start to the end of the recording.
    pub beats: Vec<f64>,
    /// Index of the first beat of bar 1.
    pub bar1: usize,
    /// Meter.
    pub meter: Meter,
    /// Quarter notes per minute, if the tempo is constant; else the median, and the beats say where it changes.
    pub tempo: f64,
    /// Whether the tempo is constant.
    pub constant: bool,
    /// Chords from bar 1 on, in the notation of [`crate::task::Chords`]; empty where nothing with a pitch plays.
    pub chords: String,
    /// Key, such as "Em"; empty where nothing with a pitch plays.
    pub key: String,
    /// How sure the beats are: 0 to 1.
    pub beat_confidence: f64,
    /// How sure it is which beat begins the bar: 0 to 1.
    pub bar_confidence: f64,
}

/// The analysed recordings, for `sideman listen`.
#[derive(Debug, Clone)]
pub struct Notes {
    /// Onsets with their notes.
    pub events: Vec<Event>,
    /// Features of each frame of 20 ms.
    pub features: Vec<Features>,
}

/// Listens to recordings that were made together. Returns `None` where no beat can be found: too few onsets.
pub fn listen(recordings: &[Recording], known: &Known, corrections: &[Correction]) -> Option<Heard> {
    let parts: Vec<(Voice, Notes)> = recordings.iter().map(|r| (r.voice, notes(r))).collect();
    listen_to(&parts, known, corrections)
}

/// Features and events of a recording.
pub fn notes(recording: &Recording) -> Notes {
    let features = features(recording.samples);
    Notes { events: events(recording.voice, &features), features }
}

/// [`listen`] for recordings whose features are known.
pub fn listen_to(parts: &[(Voice, Notes)], known: &Known, corrections: &[Correction]) -> Option<Heard> {
    let tables = &*TABLES;
    let clock = known.clock.as_ref().map(|clock| Grid {
        beats: clock.beats.clone(),
        first: (clock.meter.beats() as usize - clock.bar1 % clock.meter.beats() as usize) % clock.meter.beats() as usize,
        beats_in_bar: clock.meter.beats() as usize,
        feel: match clock.meter {
            Meter::FourFour => 0,
            Meter::TwelveEight => 1,
            Meter::ThreeFour => 2,
            Meter::SixEight => 3,
        },
    });
    let known_clock = clock.is_some();
    let mut found = analyse(parts, tables, clock, known.meter)?;
    let (_, first) = active(parts)?;
    let mut constant = false;
    if !known_clock {
        let inputs: Vec<(Voice, &[Event])> = parts.iter().map(|(voice, notes)| (*voice, &notes.events[..])).collect();
        let (grid, equal) = refine(&found.grid, &inputs, &tables.rhythm.feels[found.grid.feel]);
        constant = equal;
        let end = found.grid.beats.last().copied().unwrap_or(0.0);
        let grid = match known.bar1 {
            Some(bar1) => grid.with_bar_near(bar1),
            None => grid,
        };
        let grid = corrections.iter().fold(grid, |grid, correction| corrected(&grid, *correction)).extended(end);
        found = Analysis { harmony: super::harmony::of_parts(&grid, parts, &tables.harmony), grid, ..found };
    }
    Some(report(&found, parts, known, first, constant))
}

fn corrected(grid: &Grid, correction: Correction) -> Grid {
    match correction {
        Correction::Half => grid.halved(grid.first % 2),
        Correction::Double => grid.doubled(),
        Correction::Shift(by) => grid.rotated(usize::from(by)),
        Correction::OffBeat => grid.shifted(),
    }
}

/// Number of onsets and the time of the first.
fn active(parts: &[(Voice, Notes)]) -> Option<(usize, f64)> {
    let count = parts.iter().map(|(_, notes)| notes.events.len()).sum();
    let first = parts.iter().filter_map(|(_, notes)| notes.events.first()).map(|e| e.time).min_by(f64::total_cmp)?;
    Some((count, first))
}

fn report(found: &Analysis, parts: &[(Voice, Notes)], known: &Known, first: f64, constant: bool) -> Heard {
    let grid = &found.grid;
    let told = known.clock.as_ref().map(|clock| clock.meter).or(known.meter);
    let meter = told.unwrap_or_else(|| meter(grid, parts));
    // Bar 1 is the bar in which the music begins; a pickup of less than half a bar is before it.
    let lines: Vec<usize> = grid.bar_lines().collect();
    let bar1 = known.clock.as_ref().map_or_else(
        || {
            if let Some(bar1) = known.bar1 {
                let near = |beat: usize| (grid.beats[beat] - bar1).abs();
                return lines.iter().copied().min_by(|a, b| near(*a).total_cmp(&near(*b))).unwrap_or(0);
            }
            let within = 0.5 * grid.beats_in_bar as f64 * grid.period();
            lines.iter().copied().find(|&beat| grid.beats[beat] > first - within - 0.05).unwrap_or(0)
        },
        |clock| clock.bar1,
    );
    let quarters = meter.quarters() as f64 / meter.beats() as f64;
    let key = found.harmony.as_ref().map_or_else(String::new, |h| {
        let tonic = chord_name(h.key.0, u8::from(h.key.1));
        tonic.unwrap_or_default()
    });
    Heard {
        tempo: 60.0 / grid.period() * quarters,
        constant,
        chords: found.harmony.as_ref().map_or_else(String::new, |h| chords(&h.chords, bar1, grid.beats_in_bar)),
        key,
        meter,
        bar1,
        beats: grid.beats.clone(),
        beat_confidence: BEAT_CONFIDENCE.at(found.beat_margin),
        bar_confidence: BAR_CONFIDENCE.at(found.bar_margin),
    }
}

/// Share of right answers among the analyses with a margin, measured on labelled songs
/// (docs/explanation/listening.md).
struct Confidence {
    /// Without a margin.
    least: f64,
    /// Margin over which what is missing to [`MOST_CONFIDENCE`] falls to 1/e.
    scale: f64,
}

const BEAT_CONFIDENCE: Confidence = Confidence { least: 0.4, scale: 10.0 };
const BAR_CONFIDENCE: Confidence = Confidence { least: 0.25, scale: 12.0 };
const MOST_CONFIDENCE: f64 = 0.98;

impl Confidence {
    fn at(&self, margin: f64) -> f64 {
        MOST_CONFIDENCE - (MOST_CONFIDENCE - self.least) * (-margin / self.scale).exp()
    }
}

/// The meter of a grid: in bars of four beats in triplets, 12/8 where the beat is slow and the middle triplet is
/// played.
fn meter(grid: &Grid, parts: &[(Voice, Notes)]) -> Meter {
    match (grid.beats_in_bar, grid.feel) {
        (2, _) => Meter::SixEight,
        (3, _) => Meter::ThreeFour,
        (_, 1) if 60.0 / grid.period() < SLOW => {
            let mut counts = [0; 2];
            for event in parts.iter().flat_map(|(_, notes)| &notes.events) {
                let after = grid.beats.partition_point(|&b| b <= event.time);
                if after == 0 || after == grid.beats.len() {
                    continue;
                }
                let at = (event.time - grid.beats[after - 1]) / (grid.beats[after] - grid.beats[after - 1]);
                counts[0] += usize::from((at - 1.0 / 3.0).abs() < 0.08);
                counts[1] += usize::from((at - 2.0 / 3.0).abs() < 0.08);
            }
            if counts[0] * 3 > counts[1] { Meter::TwelveEight } else { Meter::FourFour }
        }
        _ => Meter::FourFour,
    }
}

/// The chords as a chart: one element for each bar from bar 1 on.
fn chords(heard: &[HeardChord], bar1: usize, beats_in_bar: usize) -> String {
    let name = |c: &HeardChord| chord_name(c.root, c.quality).unwrap_or_else(|| "NC".into());
    let mut bars: Vec<Vec<String>> = Vec::new();
    for chord in heard.iter().filter(|c| c.beat >= bar1) {
        let bar = (chord.beat - bar1) / beats_in_bar;
        bars.resize(bars.len().max(bar + 1), Vec::new());
        bars[bar].push(name(chord));
    }
    let text = |bar: &Vec<String>| match &bar[..] {
        [] => "%".to_owned(),
        [one] => one.clone(),
        [a, b, ..] if a == b => a.clone(),
        several => several.join(","),
    };
    let mut out: Vec<String> = bars.iter().map(text).collect();
    if out.first().is_some_and(|bar| bar == "%") {
        out[0] = "NC".into();
    }
    out.join(" ")
}

impl Heard {
    /// Confidence of the beats below which the user should be asked to check them.
    pub const SURE: f64 = 0.75;

    /// The chart of what was heard.
    ///
    /// # Errors
    /// A beat is shorter or longer than a chart can have.
    pub fn chart(&self) -> Result<Chart, Error> {
        let chart = if self.constant {
            Chart::new(self.tempo, self.bar1_seconds(), self.meter)?
        } else {
            Chart::of_beats(BeatMap::new(&self.beats, self.bar1)?, self.meter)
        };
        if self.chords.is_empty() { Ok(chart) } else { chart.with_chords(&self.chords) }
    }

    /// Seconds at which bar 1 begins.
    pub fn bar1_seconds(&self) -> f64 {
        self.beats.get(self.bar1).copied().unwrap_or(0.0)
    }
}
