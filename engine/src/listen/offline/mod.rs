//! Analysis of whole recordings, with look-ahead: beats, bars, tempo, meter, chords and key.
//!
//! [`listen`] finds all of it. The beats are the most probable path of a bar pointer (`bar_pointer.rs`) through
//! the onsets (`events.rs`), given rhythm patterns that were counted on labelled songs (`patterns.rs`). Then the
//! same beats with other bar lines, half or double tempo are compared (`analysis.rs`), by how well rhythm and
//! chords (`harmony.rs`) fit. Live play can't use it: it needs the future.

mod analysis;
mod bar_pointer;
mod contradiction;
mod events;
mod grid;
mod harmony;
mod heard;
mod patterns;
mod refine;
mod tables;
#[cfg(test)]
mod tests;

pub use contradiction::{Contradiction, contradiction};
pub use events::{Event, Voice, voice_of};
pub use heard::{Correction, Heard, Known, KnownClock, Notes, Recording, listen, listen_to, notes};
