//! Imports published checkpoints as model directories: MusicGen-Stem and MusicGen from audiocraft's pickles,
//! MusicGen from Hugging Face folders, T5 with its tokenizer (docs/explanation/musicgen-stem.md sections 2 to
//! 5); and separators of the package `demucs` (docs/reference/separator-format.md).
//!
//! [`Plan::open`] reads the structure of a checkpoint and checks that every tensor has the right shape.
//! [`Plan::write`] converts the values, one tensor at a time. Checkpoints are not trusted: no code in them is
//! run, and every size is checked.

mod archive;
mod audiocraft;
mod huggingface;
mod keys;
mod needed;
mod parts;
mod pickle;
mod plan;
mod published;
mod recipe;
mod separator;
mod source;
mod spiece;
mod write;
mod writer;

use std::ops::ControlFlow;

use crate::model::Config;

pub use pickle::{Checkpoint, parse as parse_pickle};
pub use plan::Plan;
pub use separator::{ImportedSeparator, SeparatorPlan};
pub use source::{Source, Stored};
pub use spiece::convert as convert_spiece;
pub use writer::Quant;

/// Progress of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all. Each byte of the checkpoint is read twice: for its hash, and for the values.
    pub total: u64,
}

/// Called after each tensor; `Break` ends the import with [`Error::Cancelled`](crate::Error::Cancelled).
pub type Report<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// The result of an import.
#[derive(Debug)]
pub struct Imported {
    /// The configuration that was written.
    pub config: Config,
    /// What was found, a sentence each.
    pub notes: Vec<String>,
    /// Reasons to doubt the checkpoint, a sentence each.
    pub doubts: Vec<String>,
}
