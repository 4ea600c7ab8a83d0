//! Audio files: any recording in, to mono f32 at 32 kHz ([`read()`]); stems out as WAVs ([`wav`]).

pub mod level;
pub mod read;
pub mod resample;
pub mod wav;

pub use read::{Recording, read};
pub use resample::{Resampler, resample};

/// Samples a second inside the engine.
pub const RATE: u32 = 32_000;

/// Longest recording that is read: 30 minutes, 230 MB of samples. More is an error, never a slow death by swapping.
pub const MAX_MINUTES: u64 = 30;
