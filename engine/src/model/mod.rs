//! Models: reads and validates a model directory ([`ModelDir`], docs/reference/model-format.md), loads it on
//! a backend ([`Model`]), imports published checkpoints ([`import`]) and compares a model with its reference
//! ([`verify`]).

pub(crate) mod check;
mod codec;
mod config;
mod dir;
pub mod import;
mod loaded;
mod tensors;
pub mod verify;

pub use check::{Fault, is_plain_name};
pub use codec::{Analysis, CodecConfig, IstftConfig, LookAhead, PadMode, Phase, QuantizerConfig, QuantizerKind, SeanetConfig};
pub use config::{Config, Control, EditConfig, LiveConfig, LmConfig, SamplingConfig, Strategy, Stream, TextConfig, TextKind};
pub use dir::ModelDir;
pub use loaded::Model;
pub use tensors::Tensors;
pub(crate) use tensors::upload;

/// Sample rate of the engine in Hz.
pub const SAMPLE_RATE: usize = 32_000;
/// Frame rate in Hz.
pub const FRAME_RATE: usize = 50;
/// Samples per frame.
pub const FRAME: usize = SAMPLE_RATE / FRAME_RATE;
