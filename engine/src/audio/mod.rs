//! Audio files: any recording in, to mono f32 at 32 kHz ([`read()`]); stems out as WAVs ([`wav`]).

pub mod level;
pub mod read;
pub mod resample;
pub mod wav;

pub use read::{Recording, read, read_up_to};
pub use resample::{Resampler, resample};

/// Samples a second inside the engine.
pub const RATE: u32 = crate::model::SAMPLE_RATE as u32;

/// Longest recording that is read: 30 minutes, 230 MB of samples. More is an error, never a slow death by swapping.
pub const MAX_MINUTES: u64 = 30;

/// Longest recording that a live session is played from: a concert of three hours, 1.4 GB of samples.
pub const MAX_SET_MINUTES: u64 = 180;
