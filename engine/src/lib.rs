//! Sideman's engine: loads models, generates stems offline ([`task`]) and live ([`live`]), reads and writes
//! audio files.
//!
//! It starts no threads of its own, reads no clock, opens no audio device and prints nothing: the crate
//! `sideman-io` and the program `sideman` do that. Everything that computes is generic over
//! [`sideman_kernels::Backend`], so the same code runs on the CPU and on a GPU.
//!
//! Begin with [`model::ModelDir`] and [`model::Model`]; the folder `examples` has two programs that use the
//! library.

pub mod atomic;
pub mod audio;
pub mod codec;
pub mod error;
pub mod limits;
pub mod listen;
pub mod live;
pub mod lm;
pub mod model;
mod placeholder;
pub mod separate;
pub mod task;
pub mod text;
pub mod touched;

pub use error::{Error, Result};
