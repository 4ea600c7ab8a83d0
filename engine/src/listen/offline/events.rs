//! Events of a whole recording: its onsets with what is needed to tell their place in the bar.

use crate::listen::{Features, Listener, Onset};
use crate::model::{FRAME, SAMPLE_RATE};

/// How a recording is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// One note at a time, such as a bass or a singer.
    Single,
    /// Drums.
    Drums,
    /// Chords, such as a guitar or a piano.
    Chords,
}

/// Kinds of events that a voice has at most.
pub(super) const KINDS: usize = 8;

/// Seconds without a pitch class after which it is a new one.
const NOVEL: f64 = 2.0;

/// An onset of a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// Seconds from the start of the recording.
    pub time: f64,
    /// Its kind: what the counted patterns tell apart, below [`KINDS`].
    pub kind: u8,
    /// MIDI note, where the voice is single and the pitch is sure.
    pub note: Option<u8>,
    /// Strength relative to the events around it.
    pub accent: f64,
}

/// How a recording of an unknown instrument is best heard, by the share of its sounding frames that have one clear
/// pitch.
pub fn voice_of(samples: &[f32]) -> Voice {
    let features = features(samples);
    let sounding = features.iter().filter(|f| f.sounding).count().max(1);
    let pitched = features.iter().filter(|f| f.note().is_some()).count();
    match pitched as f64 / sounding as f64 {
        0.6.. => Voice::Single,
        0.2..0.6 => Voice::Chords,
        _ => Voice::Drums,
    }
}

/// Features of all frames of a recording. The end is filled with silence, so that the last onset is found.
pub fn features(samples: &[f32]) -> Vec<Features> {
    let mut listener = Listener::new();
    let mut frame = [0.0; FRAME];
    let frames = samples.len().div_ceil(FRAME) + 3;
    (0..frames)
        .map(|f| {
            let part = samples.get(f * FRAME..).unwrap_or_default();
            let part = &part[..part.len().min(FRAME)];
            frame.fill(0.0);
            frame[..part.len()].copy_from_slice(part);
            listener.push(&frame)
        })
        .collect()
}

/// The events of a recording with these features.
pub fn events(voice: Voice, features: &[Features]) -> Vec<Event> {
    let onsets: Vec<Onset> = features.iter().filter_map(|f| f.onset).collect();
    let times: Vec<f64> = onsets.iter().map(|o| o.sample.max(0) as f64 / SAMPLE_RATE as f64).collect();
    let mut classes: Vec<(f64, u8)> = Vec::new();
    (0..onsets.len())
        .map(|i| {
            let around = &onsets[i.saturating_sub(8)..(i + 9).min(onsets.len())];
            let accent = onsets[i].strength / median(around.iter().map(|o| o.strength));
            let until = times.get(i + 1).copied().unwrap_or(f64::INFINITY).min(times[i] + 0.4);
            let strong = u8::from(accent > 1.1);
            let (kind, note) = match voice {
                Voice::Single => {
                    let note = note(features, times[i], until);
                    let kind = match note.map(|n| n % 12) {
                        None => 6 + strong,
                        Some(class) => {
                            let recent = classes.iter().any(|&(t, c)| c == class && t > times[i] - NOVEL);
                            let same = classes.last().is_some_and(|&(_, c)| c == class);
                            classes.push((times[i], class));
                            strong + if !recent { 4 } else { 2 * u8::from(!same) }
                        }
                    };
                    (kind, note)
                }
                Voice::Drums => (drum_kind(&onsets[i], around), None),
                Voice::Chords => {
                    let change = chroma_change(features, times[i]);
                    (strong + 2 * if change > 0.35 { 2 } else { u8::from(change > 0.12) }, None)
                }
            };
            Event { time: times[i], kind, note, accent }
        })
        .collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2].max(1e-9)
}

/// The note between two times: the median of the pitches, from 60 ms after the onset on.
fn note(features: &[Features], from: f64, to: f64) -> Option<u8> {
    let frame = |time: f64| ((time * SAMPLE_RATE as f64 / FRAME as f64).max(0.0) as usize).min(features.len());
    let mut notes: Vec<u8> =
        features[frame(from + 0.07)..frame(to).max(frame(from + 0.07))].iter().filter_map(Features::note).collect();
    notes.sort_unstable();
    (notes.len() >= 2).then(|| notes[notes.len() / 2])
}

/// Which ranges of frequency rise much, as bits.
fn drum_kind(onset: &Onset, around: &[Onset]) -> u8 {
    let high = |r: usize| {
        let highest = around.iter().map(|o| o.ranges[r]).fold(0.0, f64::max);
        onset.ranges[r] > 0.4 * highest
    };
    (0..3).map(|r| u8::from(high(r)) << r).sum()
}

/// How much the chroma changes at a time: 0 not at all, 1 entirely.
fn chroma_change(features: &[Features], time: f64) -> f64 {
    let mean = |from: f64, to: f64| {
        let frame = |t: f64| ((t * 50.0).max(0.0) as usize).min(features.len());
        let mut sum = [0.0; 12];
        for f in &features[frame(from)..frame(to)] {
            sum.iter_mut().zip(f.chroma).for_each(|(s, c)| *s += f64::from(c));
        }
        sum
    };
    let (a, b) = (mean(time - 0.12, time + 0.01), mean(time + 0.14, time + 0.26));
    let dot = |x: &[f64; 12], y: &[f64; 12]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    1.0 - dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt().max(1e-9)
}
