//! Source separation: takes a song apart into stems.
//!
//! [`SeparatorDir`] opens a separator's directory (docs/reference/separator-format.md), [`Separator`] loads it on a
//! backend, [`SongSeparation`] runs it over a song of any rate and number of channels, block by block. The only
//! kind of network so far is Hybrid Transformer Demucs ([`Htdemucs`]).

mod choice;
mod chunks;
mod config;
mod dconv;
mod decoder;
mod encoder;
mod htdemucs;
mod load;
mod plane;
mod separator;
mod song;
mod stft;
mod tensors;
mod transformer;

pub use choice::{Choice, REMAINDER};
pub use config::{HtdemucsSizes, SeparatorConfig, SeparatorDir, SeparatorKind};
pub use htdemucs::{Htdemucs, HtdemucsState, Probe};
pub use separator::Separator;
pub use song::{Sink, SongSeparation};
pub use tensors::{Needed, htdemucs as htdemucs_tensors};
