//! [`NoteChanges`]: new notes that begin without an onset: a bowed bass, a slur, a slide.

use super::{Features, Onset};
use crate::model::{FRAME, SAMPLE_RATE};

/// Frames for which a new note must sound.
const FRAMES: u32 = 2;
/// How late the pitch follows the note, in samples.
const LATE: i64 = SAMPLE_RATE as i64 / 20;
/// Least distance from an onset or from another change, in samples.
const APART: i64 = SAMPLE_RATE as i64 / 8;

/// Finds changes of the note. It does not allocate.
#[derive(Debug, Clone)]
pub struct NoteChanges {
    /// Samples so far.
    now: i64,
    /// The note that sounds, and the one that may follow it with the frames that it has sounded for.
    note: Option<u8>,
    next: (u8, u32),
    /// Sample of the last onset or change.
    last: i64,
}

impl Default for NoteChanges {
    fn default() -> Self {
        NoteChanges::new()
    }
}

impl NoteChanges {
    /// Nothing has sounded yet.
    pub fn new() -> Self {
        NoteChanges { now: 0, note: None, next: (0, 0), last: i64::MIN / 2 }
    }

    /// Takes the features of the next frame. Returns the sample at which a new note began, about 70 ms ago, if it
    /// had no onset.
    pub fn push(&mut self, features: &Features) -> Option<i64> {
        self.now += FRAME as i64;
        if let Some(Onset { sample, .. }) = features.onset {
            self.last = sample;
        }
        let note = features.note()?;
        self.next = (note, if note == self.next.0 { self.next.1 + 1 } else { 1 });
        if self.next.1 != FRAMES || self.note == Some(note) {
            return None;
        }
        self.note = Some(note);
        let at = self.now - FRAME as i64 - LATE;
        if at - self.last < APART {
            return None;
        }
        self.last = at;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slur_is_a_change_and_a_note_with_an_onset_is_none() {
        let mut changes = NoteChanges::new();
        let found: Vec<i64> = (0..200)
            .filter_map(|frame| {
                let onset = [0, 150].contains(&frame).then_some(Onset { sample: frame * 640, strength: 1.0, ranges: [1.0; 3] });
                let pitch = match frame {
                    // One wrong frame is no note.
                    120 => 52.0,
                    0..50 => 40.0,
                    50..150 => 45.0,
                    _ => 47.0,
                };
                changes.push(&Features { pitch, confidence: 0.9, level: -20.0, sounding: true, onset, chroma: [0; 12] })
            })
            .collect();
        assert_eq!(found, [51 * 640 - 1600]);
    }
}
