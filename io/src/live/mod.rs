//! Live play against devices, in real time.
//!
//! [`EngineThread`] plays hop after hop: it takes input from one ring, puts slots into another, catches up in
//! order after a stall, and sheds load ([`crate::load_shedding`]) when the computer is too slow. Devices come
//! and go through the [`EngineHandle`]; while there is none, or no input comes, song time follows the clock,
//! the band hears silence, and a take is recorded as before.
//!
//! For files and replays, where nothing is late, use [`crate::device::file`].

mod connection;
mod engine_thread;
mod handle;
mod lost_input;

pub use engine_thread::EngineThread;
pub use handle::{DevicePorts, EngineHandle, OpenedDevice};
