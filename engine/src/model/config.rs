//! The content of `config.json` (docs/reference/model-format.md), and its checks. Every size has an upper
//! limit, so that a damaged file can't make the engine allocate without bound.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::check::{Fault, bad, divides, plain, positive, within};
use crate::model::codec::CodecConfig;
use crate::model::{FRAME, FRAME_RATE, SAMPLE_RATE};

/// The content of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the format, 1.
    pub format: u32,
    /// Name of the model.
    pub name: String,
    /// Licence of the weights, an SPDX expression.
    pub licence: String,
    /// Origin of the weights.
    pub provenance: String,
    /// Sample rate in Hz, 32 000.
    pub sample_rate: usize,
    /// Frame rate in Hz, 50.
    pub frame_rate: usize,
    /// The stems, in order.
    pub stems: Vec<String>,
    /// The streams, in order.
    pub streams: Vec<Stream>,
    /// The transformer.
    pub lm: LmConfig,
    /// The text encoder; none where the model takes no text.
    pub text: Option<TextConfig>,
    /// Inputs per frame that are not tokens.
    #[serde(default)]
    pub controls: Vec<Control>,
    /// Sizes of the edit grid; none where the model was not trained to edit.
    #[serde(default)]
    pub edit: Option<EditConfig>,
    /// Length of the longest grid in frames.
    pub max_frames: usize,
    /// How the model plays live; none where it was not trained for it.
    #[serde(default)]
    pub live: Option<LiveConfig>,
    /// Default sampling parameters.
    pub sampling: SamplingConfig,
    /// The codec of each stem.
    pub codecs: BTreeMap<String, CodecConfig>,
    /// Whether this is a random model for tests, which generates noise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixture: bool,
}

/// A stream: one codebook level of a stem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The stem.
    pub stem: String,
    /// Codebook level, from 0.
    pub level: usize,
    /// Delay in the pattern, in frames.
    pub delay: usize,
    /// Number of codes; the id `card` is the special id.
    pub card: usize,
}

/// Sizes of the transformer (docs/explanation/musicgen-stem.md section 5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LmConfig {
    /// Width of the model.
    pub dim: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub ffn: usize,
    /// Epsilon of the LayerNorms.
    pub norm_eps: f32,
}

/// Kinds of text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextKind {
    /// T5's encoder with ReLU, not gated (docs/explanation/musicgen-stem.md section 4).
    T5,
}

/// Sizes of the text encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The kind.
    pub kind: TextKind,
    /// Width of the model.
    pub dim: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width of a head; `heads * head_dim` can differ from `dim`.
    pub head_dim: usize,
    /// Width of the feed-forward layers.
    pub ffn: usize,
    /// Number of token ids.
    pub vocab: usize,
    /// Number of buckets of relative positions.
    pub buckets: usize,
    /// Distance from which on all positions share a bucket.
    pub max_distance: usize,
    /// Epsilon of the RMSNorms.
    pub eps: f32,
    /// Id of the padding.
    pub pad: u32,
    /// Id of the end of a sentence.
    pub eos: u32,
}

/// A control: an input per frame that is not a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// `beat`, `tick` or `chord`.
    pub name: String,
    /// Number of values; `card` is the null value.
    pub card: usize,
    /// Whether guidance applies to it as to the text: the null lane gets the null value.
    #[serde(default)]
    pub guides: bool,
}

/// Sizes of the edit grid, prefix ‖ transition ‖ target (docs/explanation/musicgen-stem.md section 8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditConfig {
    /// Frames of the song in a window.
    pub window: usize,
    /// The prefix has every `decimation`-th frame of the window.
    pub decimation: usize,
}

/// The strategies of live play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The input stem's streams are delayed by the lag in the pattern.
    Lagged,
    /// The model gets the input stem's past, and predicts the input stem's next frames along with its own.
    Anticipate,
}

/// How a model was trained to play live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveConfig {
    /// The strategy.
    pub strategy: Strategy,
    /// Smallest and largest lag that was trained, in frames; only with [`Strategy::Lagged`].
    #[serde(default)]
    pub lags: Option<[usize; 2]>,
    /// Whether guidance applies to the input stem as to the text: the null lane gets special ids for its
    /// tokens.
    #[serde(default)]
    pub guides: bool,
}

/// Default sampling parameters: see [`sideman_kernels::Sampling`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// Temperature; 0: the most likely code.
    pub temperature: f32,
    /// Sample from the k most likely codes; 0: from all.
    pub top_k: u32,
    /// Nucleus sampling; 0: off.
    pub top_p: f32,
    /// Guidance scale; 1: off.
    pub cfg: f32,
    /// Factor of the guidance for each stem, by name: 0 is no guidance, 1 (the default) is all of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(alias = "lean")]
    pub cfg_scale: BTreeMap<String, f32>,
}

impl Config {
    /// Parses and validates the text of a `config.json`; `file` is for error messages.
    ///
    /// # Errors
    /// The text is not JSON, has unknown keys, or [`Config::validate`] fails.
    pub fn parse(text: &[u8], file: &Path) -> Result<Config> {
        let config: Config = serde_json::from_slice(text).map_err(|e| Error::file(file, e.to_string()))?;
        config.validate(file)?;
        Ok(config)
    }

    /// Checks that all sizes are within their limits, and that stems, streams and codecs fit each other.
    ///
    /// # Errors
    /// [`Error::Key`] with the wrong key and what would be right.
    pub fn validate(&self, file: &Path) -> Result<()> {
        self.check().map_err(|(key, what)| Error::Key { path: file.to_owned(), key, what })
    }

    /// Whether guidance applies to one of the given conditions: a clock, chords, a lagged input stem.
    pub fn guides(&self, clock: bool, chords: bool, input_stem: bool) -> bool {
        let given = |name: &str| if name == "chord" { chords } else { clock };
        self.controls.iter().any(|c| c.guides && given(&c.name))
            || input_stem && self.live.as_ref().is_some_and(|live| live.guides)
    }

    /// Indices into [`Config::streams`] of a stem's streams, in the order of their levels.
    pub fn streams_of(&self, stem: &str) -> Vec<usize> {
        let mut of: Vec<usize> = (0..self.streams.len()).filter(|k| self.streams[*k].stem == stem).collect();
        of.sort_by_key(|k| self.streams[*k].level);
        of
    }

    fn check(&self) -> Result<(), Fault> {
        within("format", self.format as usize, 1, 1)?;
        within("sample_rate", self.sample_rate, SAMPLE_RATE, SAMPLE_RATE)?;
        within("frame_rate", self.frame_rate, FRAME_RATE, FRAME_RATE)?;
        within("max_frames", self.max_frames, 1, 100_000)?;
        self.check_stems()?;
        self.lm.check()?;
        if let Some(t) = &self.text {
            t.check()?;
        }
        within("controls", self.controls.len(), 0, 16)?;
        for (i, c) in self.controls.iter().enumerate() {
            plain("controls.name", &c.name)?;
            within("controls.card", c.card, 1, 65_536)?;
            if self.controls[..i].iter().any(|d| d.name == c.name) {
                return bad("controls.name", format!("{:?} occurs twice", c.name));
            }
        }
        if let Some(e) = &self.edit {
            within("edit.window", e.window, 1, self.max_frames)?;
            within("edit.decimation", e.decimation, 1, e.window)?;
        }
        match &self.live {
            Some(LiveConfig { strategy: Strategy::Lagged, lags: Some([from, to]), .. }) => {
                within("live.lags", *to, 0, 1000)?;
                within("live.lags", *from, 0, *to)?;
            }
            Some(LiveConfig { strategy: Strategy::Lagged, lags: None, .. }) => {
                return bad("live.lags", "missing; it should be [first, last]");
            }
            Some(LiveConfig { strategy: Strategy::Anticipate, lags: Some(_), .. }) => {
                return bad("live.lags", "it should be missing: only the strategy `lagged` has it");
            }
            Some(LiveConfig { strategy: Strategy::Anticipate, lags: None, .. }) | None => {}
        }
        let s = &self.sampling;
        for (key, v, max) in [("temperature", s.temperature, 100.0), ("top_p", s.top_p, 1.0), ("cfg", s.cfg, 100.0)] {
            if !(0.0..=max).contains(&v) {
                return bad(&format!("sampling.{key}"), format!("{v}; it should be between 0 and {max}"));
            }
        }
        for (stem, v) in &s.cfg_scale {
            if !self.stems.contains(stem) {
                return bad(&format!("sampling.cfg_scale.{stem}"), format!("no such stem; the stems are {:?}", self.stems));
            }
            if !(0.0..=10.0).contains(v) {
                return bad(&format!("sampling.cfg_scale.{stem}"), format!("{v}; it should be between 0 and 10"));
            }
        }
        Ok(())
    }

    fn check_stems(&self) -> Result<(), Fault> {
        within("stems", self.stems.len(), 1, 16)?;
        within("streams", self.streams.len(), 1, 64)?;
        for (i, stem) in self.stems.iter().enumerate() {
            // The name of a stem is part of file names.
            plain("stems", stem)?;
            if self.stems[..i].contains(stem) {
                return bad("stems", format!("{stem:?} occurs twice"));
            }
        }
        for (k, s) in self.streams.iter().enumerate() {
            if !self.stems.contains(&s.stem) {
                return bad(
                    &format!("streams.{k}.stem"),
                    format!("{:?}; it should be one of the stems {:?}", s.stem, self.stems),
                );
            }
            within(&format!("streams.{k}.delay"), s.delay, 0, 1000)?;
        }
        for stem in self.codecs.keys() {
            if !self.stems.contains(stem) {
                return bad(&format!("codecs.{stem}"), format!("no such stem; the stems are {:?}", self.stems));
            }
        }
        for stem in &self.stems {
            let key = format!("codecs.{stem}");
            let Some(codec) = self.codecs.get(stem) else {
                return bad(&key, "missing; every stem needs a codec");
            };
            codec.validate().map_err(|(k, what)| (format!("{key}.{k}"), what))?;
            if codec.frame() != FRAME {
                return bad(&key, format!("its frame has {} samples; it should have {FRAME}", codec.frame()));
            }
            let q = codec.quantizer();
            let levels: Vec<usize> = self.streams_of(stem).iter().map(|k| self.streams[*k].level).collect();
            if levels != (0..q.books).collect::<Vec<_>>() {
                return bad(
                    "streams",
                    format!("{stem} has the levels {levels:?}; it should have each of the {} levels of its codec once", q.books),
                );
            }
            for k in self.streams_of(stem) {
                within(&format!("streams.{k}.card"), self.streams[k].card, q.card, q.card)?;
            }
        }
        Ok(())
    }
}

impl LmConfig {
    fn check(&self) -> Result<(), Fault> {
        within("lm.dim", self.dim, 2, 16_384)?;
        divides("lm.dim", 2, "lm.dim", self.dim)?;
        within("lm.layers", self.layers, 1, 256)?;
        within("lm.heads", self.heads, 1, 256)?;
        divides("lm.heads", self.heads, "lm.dim", self.dim)?;
        within("lm.ffn", self.ffn, 1, 65_536)?;
        positive("lm.norm_eps", self.norm_eps)
    }
}

impl TextConfig {
    fn check(&self) -> Result<(), Fault> {
        within("text.dim", self.dim, 1, 16_384)?;
        within("text.layers", self.layers, 1, 256)?;
        within("text.heads", self.heads, 1, 256)?;
        within("text.head_dim", self.head_dim, 1, 1024)?;
        within("text.ffn", self.ffn, 1, 65_536)?;
        within("text.vocab", self.vocab, 1, 1 << 20)?;
        within("text.buckets", self.buckets, 4, 1024)?;
        divides("text.buckets", 4, "text.buckets", self.buckets)?;
        within("text.max_distance", self.max_distance, self.buckets / 4 + 1, 65_536)?;
        within("text.pad", self.pad as usize, 0, self.vocab - 1)?;
        within("text.eos", self.eos as usize, 0, self.vocab - 1)?;
        positive("text.eps", self.eps)
    }
}
