//! [`CountIn`]: finds the notes with which a musician counts in: equally long, of one pitch, after silence.

use super::Features;
use crate::model::{FRAME, SAMPLE_RATE};

/// The most notes of a count.
const MOST: usize = 4;
/// Shortest and longest beat, in samples: 182 and 50 beats a minute.
const BEAT: (f64, f64) = (0.33 * SAMPLE_RATE as f64, 1.2 * SAMPLE_RATE as f64);
/// How much the beats may differ, as a share of their mean.
const UNEVEN: f64 = 0.08;
/// Least silence before the count, in samples and in beats.
const SILENCE: (f64, f64) = (SAMPLE_RATE as f64, 1.8);
/// Onsets nearer than this to the one before belong to the same note, in samples.
const SAME_NOTE: f64 = 0.1 * SAMPLE_RATE as f64;
/// Times after an onset between which the pitch is the note's, in samples.
const PITCH_KNOWN: (f64, f64) = (0.06 * SAMPLE_RATE as f64, 0.3 * SAMPLE_RATE as f64);
/// Frames with a pitch class from which on it is the note's.
const VOICED: u8 = 3;

/// A count, or its beginning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// Sample of the first beat after the count.
    pub beat: f64,
    /// Length of a beat, in samples.
    pub length: f64,
    /// Whether all its notes were heard. If not, one is missing.
    pub complete: bool,
}

/// A note that may belong to a count.
#[derive(Debug, Clone, Copy, Default)]
struct Note {
    at: f64,
    /// Frames in which each pitch class was heard.
    classes: [u8; 12],
}

impl Note {
    /// The commonest pitch class; `None`: a dead note.
    fn class(&self) -> Option<usize> {
        let most = self.classes.iter().max().copied().unwrap_or(0);
        self.classes.iter().position(|&frames| frames == most && most >= VOICED)
    }
}

/// Finds counts. It does not allocate.
#[derive(Debug, Clone)]
pub struct CountIn {
    /// The notes of the count so far.
    notes: [Note; MOST],
    count: usize,
    /// Silence before the first of them, in samples.
    silence: f64,
    /// Sample of the last onset.
    last: f64,
    /// Samples so far.
    now: f64,
}

impl Default for CountIn {
    fn default() -> Self {
        CountIn::new()
    }
}

impl CountIn {
    /// Nothing was heard yet; before it there was silence.
    pub fn new() -> Self {
        CountIn { notes: [Note::default(); MOST], count: 0, silence: 0.0, last: f64::NEG_INFINITY, now: 0.0 }
    }

    /// Takes the features of the next frame. Returns a count of `notes` notes, 2 to 4, when all of them or all
    /// but one were heard.
    pub fn push(&mut self, features: &Features, notes: usize) -> Option<Counted> {
        self.now += FRAME as f64;
        if let Some(note) = self.notes[..self.count].last_mut()
            && (PITCH_KNOWN.0..PITCH_KNOWN.1).contains(&(self.now - note.at))
            && let Some(pitch) = features.note()
        {
            note.classes[usize::from(pitch % 12)] += 1;
        }
        let at = features.onset?.sample as f64;
        let gap = at - self.last;
        self.last = at;
        if gap < SAME_NOTE {
            return None;
        }
        if !self.continues(at) {
            (self.count, self.silence) = (0, gap);
            if gap < SILENCE.0 {
                return None;
            }
        }
        self.notes[self.count] = Note { at, classes: [0; 12] };
        self.count += 1;
        let complete = self.count >= notes.min(MOST);
        if self.count < 2 || self.count + 1 < notes {
            return None;
        }
        let counted = self.extrapolate(notes, complete);
        if complete {
            self.count = 0;
        }
        Some(counted)
    }

    /// Whether an onset is the next note of the count.
    fn continues(&self, at: f64) -> bool {
        let Some(last) = self.notes[..self.count].last() else { return false };
        let beat = at - last.at;
        let first = self.notes[0];
        let mean = (last.at - first.at) / (self.count.max(2) - 1) as f64;
        let even = self.count < 2 || (beat - mean).abs() <= UNEVEN * mean;
        // A note of which no pitch is heard fits any other.
        let mut classes = self.notes[..self.count].iter().filter_map(Note::class);
        let class = classes.next();
        let one_pitch = classes.all(|other| Some(other) == class);
        even && one_pitch && (BEAT.0..=BEAT.1).contains(&beat) && self.silence >= SILENCE.1 * beat
    }

    /// The line through the notes, least squares.
    fn extrapolate(&self, notes: usize, complete: bool) -> Counted {
        let heard = &self.notes[..self.count];
        let n = heard.len() as f64;
        let (mean_k, mean_at) = ((n - 1.0) / 2.0, heard.iter().map(|note| note.at).sum::<f64>() / n);
        let (mut covariance, mut variance) = (0.0, 0.0);
        for (k, note) in heard.iter().enumerate() {
            let k = k as f64 - mean_k;
            covariance += k * (note.at - mean_at);
            variance += k * k;
        }
        let length = covariance / variance;
        Counted { beat: mean_at + (notes as f64 - mean_k) * length, length, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::Onset;

    /// What is counted of notes: seconds and pitches. 0 is a dead note.
    fn counted(notes: &[(f64, u8)], of: usize) -> Vec<(f64, f64, bool)> {
        let mut count = CountIn::new();
        let mut all = vec![];
        for frame in 0..500 {
            let end = f64::from(frame + 1) * 0.02;
            // An onset is reported 30 ms late.
            let onset = notes.iter().find(|(at, _)| (end - 0.02..end).contains(&(at + 0.03)));
            let sounding = notes.iter().rev().find(|(at, pitch)| *at <= end - 0.05 && *pitch > 0);
            let features = Features {
                pitch: sounding.map_or(0.0, |(_, pitch)| f64::from(*pitch)),
                confidence: if sounding.is_some() { 0.9 } else { 0.0 },
                level: -20.0,
                sounding: true,
                onset: onset.map(|(at, _)| Onset { sample: (at * 32e3) as i64, strength: 1.0, ranges: [1.0; 3] }),
                chroma: [0; 12],
            };
            all.extend(count.push(&features, of).map(|c| (c.beat / 32e3, c.length / 32e3, c.complete)));
        }
        all
    }

    #[test]
    fn four_equal_notes_of_one_pitch_after_silence_are_a_count() {
        let found = counted(&[(1.5, 40), (2.01, 40), (2.5, 52), (3.0, 40)], 4);
        assert_eq!(found.len(), 2);
        assert!(!found[0].2 && found[1].2);
        for (beat, length, _) in found {
            assert!((beat - 3.5).abs() < 0.03 && (length - 0.5).abs() < 0.01, "{beat} {length}");
        }
        let dead = counted(&[(1.5, 0), (2.0, 0), (2.5, 0)], 3);
        assert!(dead.last().is_some_and(|&(beat, _, complete)| complete && (beat - 3.0).abs() < 1e-3));
    }

    #[test]
    fn a_pitch_that_is_heard_for_a_moment_does_not_break_a_count() {
        let mut count = CountIn::new();
        let mut complete = false;
        // Dead notes begin with frames 75, 100, 125 and 150. The second one has a pitch in two frames.
        for frame in 0..300u32 {
            let (note, since) = ((frame / 25).wrapping_sub(3), frame % 25);
            let pitched = note == 1 && (4..6).contains(&since);
            let features = Features {
                pitch: 47.0,
                confidence: if pitched { 0.9 } else { 0.0 },
                level: -20.0,
                sounding: since < 10,
                // An onset is reported two frames late.
                onset: (note < 4 && since == 2).then(|| Onset {
                    sample: i64::from(frame - 2) * FRAME as i64,
                    strength: 1.0,
                    ranges: [1.0; 3],
                }),
                chroma: [0; 12],
            };
            complete |= count.push(&features, 4).is_some_and(|counted| counted.complete);
        }
        assert!(complete);
    }

    #[test]
    fn played_notes_are_no_count() {
        for notes in [
            // No silence before it; another pitch; unequal; too fast; too slow.
            &[(1.4, 45), (2.0, 40), (2.5, 40), (3.0, 40), (3.5, 40)][..],
            &[(2.0, 40), (2.5, 43), (3.0, 40), (3.5, 40)],
            &[(2.0, 40), (2.5, 40), (3.25, 40), (3.75, 40)],
            &[(2.0, 40), (2.25, 40), (2.5, 40), (2.75, 40)],
            &[(2.0, 40), (3.3, 40), (4.6, 40), (5.9, 40)],
        ] {
            assert!(!counted(notes, 4).iter().any(|c| c.2), "{notes:?}");
        }
    }
}
