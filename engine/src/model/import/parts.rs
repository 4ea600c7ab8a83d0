//! The parts of a checkpoint: its configuration, and the files and name prefixes of language model, codecs
//! and T5. Both layouts are read into it.

use std::path::PathBuf;

use super::recipe::Layout;
use super::source::Source;
use crate::model::{Config, LiveConfig, SeanetConfig, Strategy, TextConfig};

/// A stem's codec.
#[derive(Debug)]
pub struct Codec {
    /// The stem.
    pub stem: String,
    /// The sizes.
    pub config: SeanetConfig,
    /// Its own file; none where it is in the language model's.
    pub source: Option<Source>,
    /// Prefix of its tensors' names.
    pub prefix: &'static str,
}

/// T5.
#[derive(Debug)]
pub struct Text {
    /// The sizes.
    pub config: TextConfig,
    /// Its own files; none where it is in the language model's.
    pub source: Option<Source>,
    /// Prefix of its tensors' names.
    pub prefix: &'static str,
    /// Folder of its tokenizer.
    pub folder: PathBuf,
}

/// The parts of a checkpoint.
#[derive(Debug)]
pub struct Parts {
    /// Layout of the names of language model and codecs.
    pub layout: Layout,
    /// The configuration, without codecs and provenance.
    pub config: Config,
    /// The language model.
    pub lm: Source,
    /// The codecs, in the order of the stems.
    pub codecs: Vec<Codec>,
    /// T5; none where the model will take no text.
    pub text: Option<Text>,
}

/// The live strategy of published models: they were not trained with lag.
pub fn anticipate() -> LiveConfig {
    LiveConfig { strategy: Strategy::Anticipate, lags: None, guides: false }
}

/// The published name of the size of a MusicGen of width `dim`.
pub fn size_name(dim: usize) -> String {
    match dim {
        1024 => "small".into(),
        1536 => "medium".into(),
        2048 => "large".into(),
        _ => format!("d{dim}"),
    }
}
