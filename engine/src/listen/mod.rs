//! Analysis of recordings and of the input stem: pitch, onsets, chroma, beat and harmony. It needs no model.
//!
//! [`Listener`] is causal: it takes a frame of 640 samples at a time and does not allocate. Live play calls it
//! once a frame. The offline analysis of a whole recording uses the same features.
//! Definitions and measurements: docs/explanation/listening.md.

mod chroma;
mod count_in;
mod decimate;
mod fft;
mod follower;
mod harmony;
mod note_changes;
mod offline;
mod onset;
mod pitch;
mod tempo;
#[cfg(test)]
mod tests;

pub use count_in::{CountIn, Counted};
pub use follower::BeatFollower;
pub use harmony::{Harmony, HeardChord, Part, Third};
pub use note_changes::NoteChanges;
pub use offline::{
    Contradiction, Correction, Event, Heard, Known, KnownClock, Notes, Recording, Voice, contradiction, listen, listen_to, notes,
    voice_of,
};
pub use onset::Onset;
pub use tempo::TempoFinder;

use chroma::ChromaMeter;
use decimate::Decimator;
use onset::{OnsetDetector, SUBFRAME, SUBFRAMES};
use pitch::PitchTracker;

use crate::model::{FRAME, SAMPLE_RATE};

/// Confidence from which a pitch counts as a note.
const NOTE_CONFIDENCE: f64 = 0.6;

/// What one frame of 20 ms contains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Features {
    /// MIDI note number with fractions; 0 where no pitch was found.
    pub pitch: f64,
    /// How sure the pitch is, 0 to 1.
    pub confidence: f64,
    /// Level of the last 40 ms below 4 kHz, in dB of full scale.
    pub level: f64,
    /// Whether something sounds: the level is near the recent peak.
    pub sounding: bool,
    /// The onset that became certain in this frame; it began up to 45 ms before the end of the frame. A second
    /// one in the same frame can't be: onsets are at least 50 ms apart.
    pub onset: Option<Onset>,
    /// Strength of each pitch class, C first; the norm is 255, or less in near silence.
    pub chroma: [u8; 12],
}

impl Features {
    /// The MIDI note that sounds, if the pitch is sure.
    pub fn note(&self) -> Option<u8> {
        (self.sounding && self.confidence >= NOTE_CONFIDENCE).then(|| self.pitch.round().clamp(0.0, 127.0) as u8)
    }
}

/// Turns a signal into [`Features`], one for each frame. Allocates only in [`Listener::new`].
#[derive(Debug, Clone)]
pub struct Listener {
    decimator: Decimator,
    pitch: PitchTracker,
    onset: OnsetDetector,
    chroma: ChromaMeter,
    /// Power of the second half of the frame before, at 8 kHz.
    power: f64,
    /// Recent peak of the level in dB; falls by 1 dB per second.
    peak: f64,
}

impl Default for Listener {
    fn default() -> Self {
        Listener::new()
    }
}

impl Listener {
    /// A listener before the first frame; what came before it counts as silence.
    pub fn new() -> Self {
        Listener {
            decimator: Decimator::new(),
            pitch: PitchTracker::new(),
            onset: OnsetDetector::new(),
            chroma: ChromaMeter::new(),
            power: 0.0,
            peak: f64::NEG_INFINITY,
        }
    }

    /// The features of the next frame of 640 samples at 32 kHz. Samples that are not finite count as 0.
    pub fn push(&mut self, frame: &[f32; FRAME]) -> Features {
        let frame = frame.map(|x| if x.is_finite() { f64::from(x) } else { 0.0 });
        let decimated = self.decimator.push(&frame);
        let estimate = self.pitch.push(&decimated);
        let mut onset = None;
        for subframe in frame.chunks_exact(SUBFRAME).take(SUBFRAMES) {
            onset = self.onset.push(subframe).or(onset);
        }
        let chroma = self.chroma.push(&decimated);

        let power = decimated.iter().map(|y| y * y).sum::<f64>();
        let level = 10.0 * ((self.power + power) / (2 * decimated.len()) as f64 + 1e-10).log10();
        self.power = power;
        // A frame is a fiftieth of a second.
        self.peak = level.max(self.peak - 1.0 / 50.0);
        let sounding = level > (self.peak - 45.0).max(-70.0);
        Features { pitch: estimate.pitch, confidence: estimate.confidence, level, sounding, onset, chroma }
    }
}
