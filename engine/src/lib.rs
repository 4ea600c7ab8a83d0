//! The engine: model directory, codecs, text, language model, tasks and audio files. It makes no thread, reads no clock, opens
//! no device and prints nothing; the step and the codecs are written once, over [`sideman_kernels::Backend`].

pub mod atomic;
pub mod audio;
pub mod codec;
pub mod error;
pub mod limits;
pub mod live;
pub mod lm;
pub mod model;
pub mod task;
pub mod text;

pub use error::{Error, Result};
