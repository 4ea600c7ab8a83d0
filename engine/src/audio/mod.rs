//! Audio files: reads recordings as mono f32 at 32 kHz ([`read()`]), writes stems as WAV files ([`wav`]).
//! Audio devices are in the crate `sideman-io`.

mod blocks;
mod downmix;
mod flac;
pub mod level;
mod media_file;
mod mp3;
pub mod read;
pub mod resample;
pub mod riff;
pub mod room;
pub mod song;
pub mod wav;

pub use read::{Recording, read, read_up_to};
pub use resample::{Resampler, resample};
pub use song::SongReader;

/// Sample rate of the engine in Hz, as audio formats have it: [`crate::model::SAMPLE_RATE`].
pub const RATE: u32 = crate::model::SAMPLE_RATE as u32;

/// Longest recording that offline tasks read, in minutes (230 MB of samples). A longer one is an error.
pub const MAX_MINUTES: u64 = 30;

/// Longest recording that a live session plays from, in minutes (1.4 GB of samples).
pub const MAX_SET_MINUTES: u64 = 180;
