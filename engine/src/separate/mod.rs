//! Source separation: takes a song apart into stems.
//!
//! [`SeparatorDir`] opens a separator's directory (docs/reference/separator-format.md), [`Separator`] loads it on a
//! backend, [`SongSeparation`] runs it over a song of any rate and number of channels, block by block. There
//! are two kinds of network: Hybrid Transformer Demucs ([`Htdemucs`]) and ours ([`Mask`]).

mod choice;
mod chunks;
mod config;
mod dconv;
mod decoder;
mod encoder;
mod gate;
mod htdemucs;
mod load;
mod mask;
mod mask_spectrum;
mod plane;
mod separator;
mod song;
mod stft;
mod tensors;
mod transformer;

pub use choice::{Choice, REMAINDER};
pub use config::{HtdemucsSizes, MaskSizes, NetworkSizes, SeparatorConfig, SeparatorDir};
pub use gate::SilenceGate;
pub use htdemucs::{Htdemucs, HtdemucsState, Probe};
pub use mask::{Mask, MaskState};
pub use separator::Separator;
pub use song::{Sink, SongSeparation};
pub use tensors::{Needed, htdemucs as htdemucs_tensors};
