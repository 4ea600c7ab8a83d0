//! A model on disk (docs/reference/model-format.md): its configuration and its tensors, validated before anything is played.

mod check;
mod codec;
mod config;
mod dir;
pub mod import;
mod loaded;
mod tensors;
pub mod verify;

pub use check::Fault;
pub use codec::{Analysis, CodecConfig, IstftConfig, LookAhead, PadMode, QuantizerConfig, QuantizerKind, SeanetConfig};
pub use config::{Config, Control, EditConfig, LiveConfig, LmConfig, SamplingConfig, Strategy, Stream, TextConfig, TextKind};
pub use dir::ModelDir;
pub use loaded::Model;
pub use tensors::Tensors;
pub(crate) use tensors::upload;

/// Samples a second inside the engine.
pub const SAMPLE_RATE: usize = 32_000;
/// Frames a second.
pub const FRAME_RATE: usize = 50;
/// Samples of one frame.
pub const FRAME: usize = SAMPLE_RATE / FRAME_RATE;
