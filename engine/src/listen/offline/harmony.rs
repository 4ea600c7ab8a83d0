//! Chords of a whole recording on a grid of beats: the most probable sequence, given the notes of a bass, the
//! chroma of the other recordings, and the key.

use serde::Deserialize;

use super::events::{Event, Voice};
use super::grid::Grid;
use super::heard::Notes;
use crate::listen::Features;
use crate::listen::harmony::{BIAS, NOTE_WEIGHTS, ROOT_WEIGHTS};
use crate::model::FRAME_RATE;

/// Qualities of a chord, in the order of the `chord` control.
const QUALITIES: usize = 8;
const STATES: usize = 12 * QUALITIES;

/// Counted statistics of chords; all probabilities are logarithms.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct HarmonyTables {
    /// The note on the first beat of a bar, or of its second half: \[half]\[quality]\[semitones above the root].
    first: Vec<Vec<Vec<f64>>>,
    /// Other notes, on a beat and off it: \[off]\[quality]\[semitones above the root].
    rest: Vec<Vec<Vec<f64>>>,
    /// Mean chroma of each quality, with a norm of 1: \[quality]\[semitones above the root].
    chroma: Vec<Vec<f64>>,
    /// Chords in a major and in a minor key: \[mode]\[semitones above the tonic]\[quality].
    keys: Vec<Vec<Vec<f64>>>,
    /// Major and minor keys.
    modes: Vec<f64>,
    /// No change and change of the chord at a bar line and in mid-bar: \[half]\[change].
    change: Vec<Vec<f64>>,
}

/// Weight of a note that is not the first.
const REST: f64 = 0.4;
/// Weight of the similarity of the chroma.
const CHROMA: f64 = 8.0;
/// Least mean norm of a chroma that says something.
const QUIET: f64 = 60.0;
/// Distance of a note from its beat, as a part of the beat.
const NEAR: f64 = 0.17;

/// Weight of the odds for a major third in each span.
const THIRD_WEIGHT: f64 = 0.35;
/// Whether the third of each quality is major; `None` where it has none.
const MAJOR: [Option<bool>; QUALITIES] =
    [Some(true), Some(false), Some(true), Some(true), Some(false), Some(false), None, Some(true)];

/// A chord over a span of beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeardChord {
    /// Index of its first beat in the grid.
    pub beat: usize,
    /// Semitones above C.
    pub root: u8,
    /// Quality as in the `chord` control: maj, min, dom7, maj7, min7, dim, sus, aug.
    pub quality: u8,
}

/// Chords of a recording.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Harmony {
    /// One for each half bar (4 beats) or bar (2 or 3 beats).
    pub chords: Vec<HeardChord>,
    /// Tonic in semitones above C, and whether the key is minor.
    pub key: (u8, bool),
    /// Logarithm of the probability, up to a constant.
    pub score: f64,
}

/// What a span of beats contains.
struct Span {
    beat: usize,
    half: usize,
    emission: [f64; STATES],
}

/// The chords of recordings on a grid; `None` where nothing with a pitch plays.
pub(super) fn of_parts(grid: &Grid, parts: &[(Voice, Notes)], tables: &HarmonyTables) -> Option<Harmony> {
    let single = parts.iter().find(|(voice, _)| *voice == Voice::Single);
    let notes: &[Event] = single.map_or(&[], |(_, notes)| &notes.events);
    let chordal = parts.iter().filter(|(voice, _)| *voice == Voice::Chords);
    let chordal: Vec<&[Features]> = chordal.map(|(_, notes)| &notes.features[..]).collect();
    if chordal.is_empty() && notes.iter().all(|e| e.note.is_none()) {
        return None;
    }
    let mut spans = spans(grid, notes, &chordal, tables);
    let first = best(&spans, tables)?;
    if !chordal.is_empty() {
        return Some(first);
    }
    // A bass often leaves the third out. All of its notes and roots together say more about it.
    for root in 0..12 {
        let odds = THIRD_WEIGHT * major_third(root, notes, &first).clamp(-4.0, 4.0);
        for span in &mut spans {
            for (quality, is_major) in MAJOR.iter().enumerate() {
                if let Some(is_major) = is_major {
                    span.emission[root * QUALITIES + quality] += if *is_major { odds } else { -odds };
                }
            }
        }
    }
    // The score stays that of the notes, so that it can be compared.
    best(&spans, tables).map(|found| Harmony { score: first.score, ..found })
}

fn best(spans: &[Span], tables: &HarmonyTables) -> Option<Harmony> {
    if spans.is_empty() {
        return None;
    }
    (0..24).map(|key| decode(spans, key, tables)).max_by(|a, b| a.score.total_cmp(&b.score))
}

/// Logarithm of the odds that the chord on a root has a major third, from the shares of the pitch classes above it
/// in the notes and in the roots: the weights of live play.
fn major_third(root: usize, notes: &[Event], harmony: &Harmony) -> f64 {
    let (mut note_share, mut root_share) = ([0.0f64; 12], [0.0f64; 12]);
    let classes: Vec<usize> = notes.iter().filter_map(|e| e.note).map(|n| usize::from(n) % 12).collect();
    classes.iter().for_each(|class| note_share[(class + 12 - root) % 12] += 1.0 / classes.len() as f64);
    let count = harmony.chords.len() as f64;
    harmony.chords.iter().for_each(|c| root_share[(usize::from(c.root) + 12 - root) % 12] += 1.0 / count);
    BIAS + (0..12).map(|i| NOTE_WEIGHTS[i] * note_share[i].sqrt() + ROOT_WEIGHTS[i] * root_share[i]).sum::<f64>()
}

fn spans(grid: &Grid, notes: &[Event], chordal: &[&[Features]], tables: &HarmonyTables) -> Vec<Span> {
    let length = if grid.beats_in_bar == 4 { 2 } else { grid.beats_in_bar };
    let lead = (length - grid.first % length) % length;
    (lead..grid.beats.len())
        .step_by(length)
        .filter(|&beat| beat + length < grid.beats.len())
        .map(|beat| {
            let half = usize::from(grid.place(beat) != 0);
            let (from, to) = (grid.beats[beat], grid.beats[beat + length]);
            let period = (to - from) / length as f64;
            let mut emission = [0.0; STATES];
            let begin = notes.partition_point(|e| e.time < from - NEAR * period);
            for event in notes[begin..].iter().take_while(|e| e.time < to - NEAR * period) {
                let Some(note) = event.note else { continue };
                let at = (event.time - from) / period;
                let near = (at - at.round()).abs() < NEAR;
                let (table, weight) = match (near, at.round() as i64) {
                    (true, 0) => (&tables.first[half], 1.0),
                    (true, _) => (&tables.rest[0], REST),
                    (false, _) => (&tables.rest[1], REST),
                };
                for (state, e) in emission.iter_mut().enumerate() {
                    let (root, quality) = (state / QUALITIES, state % QUALITIES);
                    *e += weight * table[quality][(usize::from(note) + 12 - root) % 12];
                }
            }
            for features in chordal {
                let frame = |t: f64| ((t * FRAME_RATE as f64).max(0.0) as usize).min(features.len());
                let part = &features[frame(from + 0.1)..frame(to).max(frame(from + 0.1))];
                let mut mean = [0.0; 12];
                for f in part {
                    mean.iter_mut().zip(f.chroma).for_each(|(m, c)| *m += f64::from(c) / part.len() as f64);
                }
                let norm = mean.iter().map(|m| m * m).sum::<f64>().sqrt();
                if norm < QUIET {
                    continue;
                }
                let similar: [f64; STATES] = std::array::from_fn(|state| {
                    let (root, quality) = (state / QUALITIES, state % QUALITIES);
                    let dot: f64 = (0..12).map(|i| tables.chroma[quality][i] * mean[(root + i) % 12]).sum();
                    CHROMA * dot / norm
                });
                // As a probability, so that a span without a clear chord says nothing.
                let total = similar.iter().map(|s| s.exp()).sum::<f64>().ln() - (STATES as f64).ln();
                emission.iter_mut().zip(similar).for_each(|(e, s)| *e += s - total);
            }
            Span { beat, half, emission }
        })
        .collect()
}

/// The best chords in a key: 0 to 11 major, 12 to 23 minor.
fn decode(spans: &[Span], key: usize, tables: &HarmonyTables) -> Harmony {
    let (tonic, mode) = (key % 12, key / 12);
    let prior: Vec<f64> = (0..STATES).map(|s| tables.keys[mode][(s / QUALITIES + 12 - tonic) % 12][s % QUALITIES]).collect();
    let mut scores: Vec<f64> = prior.iter().map(|p| p + tables.modes[mode]).collect();
    let mut back: Vec<[u8; STATES]> = Vec::with_capacity(spans.len());
    for (i, span) in spans.iter().enumerate() {
        let mut from = [0u8; STATES];
        if i > 0 {
            let best = (0..STATES).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
            let [stay, change] = [tables.change[span.half][0], tables.change[span.half][1]];
            let moved = scores[best] + change;
            for (state, score) in scores.iter_mut().enumerate() {
                let (stayed, changed) = (*score + stay, moved + prior[state]);
                from[state] = if stayed >= changed { state as u8 } else { best as u8 };
                *score = stayed.max(changed);
            }
        }
        scores.iter_mut().zip(&span.emission).for_each(|(s, e)| *s += e);
        back.push(from);
    }
    let mut state = (0..STATES).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
    let score = scores[state];
    let mut chords = Vec::with_capacity(spans.len());
    for (i, span) in spans.iter().enumerate().rev() {
        chords.push(HeardChord { beat: span.beat, root: (state / QUALITIES) as u8, quality: (state % QUALITIES) as u8 });
        if i > 0 {
            state = usize::from(back[i][state]);
        }
    }
    chords.reverse();
    Harmony { chords, key: (tonic as u8, mode == 1), score }
}
