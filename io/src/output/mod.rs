//! The output: one ring of slots ([`crate::slot_layout`]) at the device's rate, from the engine to the
//! device's callback.
//!
//! All channels of a frame are in one slot, so nothing can shift one against another. Slots follow each other
//! without a gap from a first one whose song time is known, so the position of each says when it is heard.
//!
//! *Threading.* [`OutputWriter`] belongs to the engine's thread, [`OutputReader`] to the device's callback;
//! [`OutputState`] is atomics. The reader keeps the last slots that it has played: where slots are missing it
//! repeats the last bar of them, in phase. It does not need the engine for that, which may have stalled.
//! Slots that come too late are kept for repeating, and not played.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use sideman_engine::Result;
use sideman_engine::audio::RATE;

pub use reader::{BLOCK_MAX, OutputReader};
pub use writer::OutputWriter;

use crate::touched;

/// Seconds of slots that the ring holds.
const CAPACITY: usize = 8;

/// What writer, reader and others share. Times are song time in frames of the device.
#[derive(Debug, Default)]
pub struct OutputState {
    /// Song time of the next frame that the device gets.
    pub at: AtomicU64,
    /// The device has requested a block.
    pub running: AtomicBool,
    /// Length of a bar in frames as the bits of an f64; 0: there is no bar to repeat.
    pub bar: AtomicU64,
    /// Frames that were missing.
    pub underrun: AtomicU64,
    /// Frames that came too late.
    pub late: AtomicU64,
    /// Frames were missing in the last block.
    pub repeating: AtomicBool,
}

/// A ring at `rate` for slots of `channels`, the first of which is song sample `first` (32 kHz).
///
/// # Errors
/// The rate can't be resampled.
pub fn ring(rate: u32, channels: usize, first: i64) -> Result<(OutputWriter, OutputReader)> {
    let state = Arc::new(OutputState::default());
    let (producer, consumer) = touched::ring(CAPACITY * rate as usize * channels, 0.0);
    let start = (first.max(0) as u64 * u64::from(rate)).div_ceil(u64::from(RATE));
    let writer = OutputWriter::new(producer, rate, channels, start, state.clone())?;
    Ok((writer, OutputReader::new(consumer, rate, channels, start, state)))
}
