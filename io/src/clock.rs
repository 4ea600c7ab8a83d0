//! The beat from outside: tap tempo, MIDI clock, JACK transport and Ableton Link; and the beat to outside, as
//! MIDI clock.
//!
//! [`MidiClock`] and [`JackTransport`] give the position of another program. [`ClockFollower`] compares the
//! one that the session follows with the session's snapshot, and returns requests for tempo, start and stop.
//! Its rules are in [`BarEntry`], which Ableton Link (`link`, in builds with the feature of that name) uses,
//! too. [`Taps`] is tap tempo, [`MidiClockOut`] sends MIDI clock, [`PlaybackClock`] is the song time that
//! sounds now, for threads that are not part of the audio device.
//!
//! Times are seconds. Except for `link` nothing here has a thread or reads a clock.

mod entry;
mod follower;
mod jack;
#[cfg(feature = "link")]
pub mod link;
mod midi_in;
mod midi_out;
mod playback;
mod taps;
mod tick_line;

pub use entry::BarEntry;
pub use follower::ClockFollower;
pub use jack::{Beat, JackTransport, MasterFault, Transport};
pub use midi_in::{ClockMessage, MidiClock};
pub use midi_out::{BeatPosition, MidiClockOut};
pub use playback::{Opened, PlaybackClock};
pub use taps::Taps;

/// MIDI clock ticks of a quarter note.
pub const TICKS: u32 = 24;
