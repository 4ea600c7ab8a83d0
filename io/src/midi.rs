//! MIDI control: pedals, faders, buttons and held chords. MIDI clock is passed on to [`crate::clock`].
//!
//! A [`Map`] (midi.toml) assigns controls to addresses of the command language ([`crate::command_language`]). [`MidiMapper`] turns messages
//! into requests by the map; it opens no port and reads no clock. [`Server`] is the thread that runs it. Ports are those of JACK
//! ([`crate::device::jack`]) or of the system ([`ports`]).

mod chord;
mod decoder;
mod defaults;
mod footswitch;
mod learn;
mod map;
mod mapper;
mod message;
pub mod ports;
mod reset;
mod serve;

pub use chord::{HeldChord, chord_name};
pub use decoder::{Decoder, Moved, Position};
pub use defaults::default_map;
pub use footswitch::{Footswitch, Gesture};
pub use learn::Learn;
pub use map::{Control, ControlMode, Map, Mapping};
pub use mapper::{MidiMapper, Response};
pub use message::Message;
pub use serve::{PortEvent, Server};

#[cfg(test)]
mod tests;
