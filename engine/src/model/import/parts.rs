//! What either layout is read into: a configuration, and where language model, codecs and T5 lie.

use std::path::PathBuf;

use super::names::Layout;
use super::source::Source;
use crate::model::{Config, LiveConfig, SeanetConfig, Strategy, TextConfig};

/// A stem's codec. Without a source of its own it is in the language model's file, under `prefix`.
#[derive(Debug)]
pub struct Codec {
    /// The stem.
    pub stem: String,
    /// Its sizes.
    pub config: SeanetConfig,
    /// Its file.
    pub source: Option<Source>,
    /// What its tensors' names begin with.
    pub prefix: &'static str,
}

/// T5. Without a source of its own it is in the language model's file, under `prefix`.
#[derive(Debug)]
pub struct Text {
    /// Its sizes.
    pub config: TextConfig,
    /// Its files.
    pub source: Option<Source>,
    /// What its tensors' names begin with.
    pub prefix: &'static str,
    /// Where its tokenizer lies.
    pub folder: PathBuf,
}

/// A model as it was found.
#[derive(Debug)]
pub struct Parts {
    /// Whose names the language model and the codecs have.
    pub layout: Layout,
    /// All but codecs and provenance.
    pub config: Config,
    /// The language model.
    pub lm: Source,
    /// The codecs, in the order of the stems.
    pub codecs: Vec<Codec>,
    /// T5; none for a model that will take no text.
    pub text: Option<Text>,
}

/// How published models play live: they were trained to hear the player's past only.
pub fn anticipate() -> LiveConfig {
    LiveConfig { strategy: Strategy::Anticipate, lags: None, guides: false }
}

/// What MusicGen of this width is called.
pub fn size(dim: usize) -> String {
    match dim {
        1024 => "small".into(),
        1536 => "medium".into(),
        2048 => "large".into(),
        _ => format!("d{dim}"),
    }
}
