//! `config.json` (docs/reference/model-format.md), and what it may say. Every size is bounded here, so that nothing that is allocated
//! from it later can be out of all proportion; weights are bounded by their files besides.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::check::{Fault, bad, divides, plain, positive, within};
use crate::model::codec::CodecConfig;
use crate::model::{FRAME, FRAME_RATE, SAMPLE_RATE};

/// The whole of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the format: 1.
    pub format: u32,
    /// What the model is called.
    pub name: String,
    /// Licence of the weights.
    pub licence: String,
    /// Where the weights come from.
    pub provenance: String,
    /// Samples a second: 32 000.
    pub sample_rate: usize,
    /// Frames a second: 50.
    pub frame_rate: usize,
    /// The stems, in order.
    pub stems: Vec<String>,
    /// The streams, in order.
    pub streams: Vec<Stream>,
    /// The transformer.
    pub lm: LmConfig,
    /// The text encoder; none for a model without text.
    pub text: Option<TextConfig>,
    /// Input-only streams.
    #[serde(default)]
    pub controls: Vec<Control>,
    /// The edit grid; none for a model that was not trained to edit.
    #[serde(default)]
    pub edit: Option<EditConfig>,
    /// Frames of the longest grid.
    pub max_frames: usize,
    /// How the model plays live; none where it can't.
    #[serde(default)]
    pub live: Option<LiveConfig>,
    /// Sampling parameters that suit the model.
    pub sampling: SamplingConfig,
    /// The codec of each stem.
    pub codecs: BTreeMap<String, CodecConfig>,
    /// A random model for tests: it makes noise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixture: bool,
}

/// One sequence of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Its stem.
    pub stem: String,
    /// Codebook level, from 0.
    pub level: usize,
    /// Delay in the pattern, in frames.
    pub delay: usize,
    /// Codes; `card` itself is the special id.
    pub card: usize,
}

/// Sizes of the transformer (docs/explanation/musicgen-stem.md section 5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LmConfig {
    /// Width of the model.
    pub dim: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward part.
    pub ffn: usize,
    /// Epsilon of every LayerNorm.
    pub norm_eps: f32,
}

/// Kinds of text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextKind {
    /// T5's encoder, ReLU, not gated (docs/explanation/musicgen-stem.md section 4).
    T5,
}

/// Sizes of the text encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// Its kind.
    pub kind: TextKind,
    /// Width of the model.
    pub dim: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of a head; `heads * head_dim` need not be `dim`.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub ffn: usize,
    /// Rows of the embedding table.
    pub vocab: usize,
    /// Buckets of relative positions.
    pub buckets: usize,
    /// Distance from which on positions share a bucket.
    pub max_distance: usize,
    /// Epsilon of every RMSNorm.
    pub eps: f32,
    /// Id of padding.
    pub pad: u32,
    /// Id of the end of a sentence.
    pub eos: u32,
}

/// One control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// `beat`, `tick` or `chord`.
    pub name: String,
    /// Values; `card` itself is the null value.
    pub card: usize,
    /// Guidance leans on it as on the text: its null lane is not told.
    #[serde(default)]
    pub guides: bool,
}

/// The edit grid: prefix ‖ transition ‖ target (docs/explanation/musicgen-stem.md section 8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditConfig {
    /// Frames of the song that the prefix sums up.
    pub window: usize,
    /// The prefix holds every `decimation`-th frame.
    pub decimation: usize,
}

/// How a model was trained to play live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The player's stem is delayed by the lag.
    Lagged,
    /// The model hears the player's past only, and foretells the rest.
    Anticipate,
}

/// Live play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveConfig {
    /// The strategy.
    pub strategy: Strategy,
    /// Lags trained, in frames, inclusive; only with [`Strategy::Lagged`].
    #[serde(default)]
    pub lags: Option<[usize; 2]>,
    /// Guidance leans on the player as on the text: its null lane doesn't hear them.
    #[serde(default)]
    pub guides: bool,
}

/// Sampling parameters that suit the model; see [`sideman_kernels::Sampling`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// Temperature; 0: greedy.
    pub temperature: f32,
    /// Keep the k most likely; 0: all.
    pub top_k: u32,
    /// Nucleus; 0: off.
    pub top_p: f32,
    /// Guidance; 1: off.
    pub cfg: f32,
    /// How much of the guidance a stem takes, by its name: 1, as where it is missing, all of it; 0 none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(alias = "lean")]
    pub cfg_scale: BTreeMap<String, f32>,
}

impl Config {
    /// Reads and validates the text of a `config.json`; `file` is only for the errors.
    ///
    /// # Errors
    /// No JSON of the right form, or [`Config::validate`]'s.
    pub fn parse(text: &[u8], file: &Path) -> Result<Config> {
        let config: Config = serde_json::from_slice(text).map_err(|e| Error::file(file, e.to_string()))?;
        config.validate(file)?;
        Ok(config)
    }

    /// Checks that all sizes are sane and that stems, streams and codecs fit each other.
    ///
    /// # Errors
    /// Names the key at fault and what would be right.
    pub fn validate(&self, file: &Path) -> Result<()> {
        self.check().map_err(|(key, what)| Error::Key { path: file.to_owned(), key, what })
    }

    /// Whether guidance leans on something that is given: `clock`, `chords`, a `input_stem` heard late.
    pub fn guides(&self, clock: bool, chords: bool, input_stem: bool) -> bool {
        let given = |name: &str| if name == "chord" { chords } else { clock };
        self.controls.iter().any(|c| c.guides && given(&c.name))
            || input_stem && self.live.as_ref().is_some_and(|live| live.guides)
    }

    /// The streams of a stem, as indices into [`Config::streams`], by level.
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
                return bad("controls.name", format!("`{}` is there twice", c.name));
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
            Some(LiveConfig { strategy: Strategy::Lagged, lags: None, .. }) => return bad("live.lags", "missing: [first, last]"),
            Some(LiveConfig { strategy: Strategy::Anticipate, lags: Some(_), .. }) => {
                return bad("live.lags", "only the strategy `lagged` has lags");
            }
            Some(LiveConfig { strategy: Strategy::Anticipate, lags: None, .. }) | None => {}
        }
        let s = &self.sampling;
        for (key, v, max) in [("temperature", s.temperature, 100.0), ("top_p", s.top_p, 1.0), ("cfg", s.cfg, 100.0)] {
            if !(0.0..=max).contains(&v) {
                return bad(&format!("sampling.{key}"), format!("{v}; it should be within 0 and {max}"));
            }
        }
        for (stem, v) in &s.cfg_scale {
            if !self.stems.contains(stem) {
                return bad(&format!("sampling.cfg_scale.{stem}"), format!("no such stem; the stems are {:?}", self.stems));
            }
            if !(0.0..=10.0).contains(v) {
                return bad(&format!("sampling.cfg_scale.{stem}"), format!("{v}; it should be within 0 and 10"));
            }
        }
        Ok(())
    }

    fn check_stems(&self) -> Result<(), Fault> {
        within("stems", self.stems.len(), 1, 16)?;
        within("streams", self.streams.len(), 1, 64)?;
        for (i, stem) in self.stems.iter().enumerate() {
            // A stem's name is part of a file's name.
            plain("stems", stem)?;
            if self.stems[..i].contains(stem) {
                return bad("stems", format!("`{stem}` is there twice"));
            }
        }
        for (k, s) in self.streams.iter().enumerate() {
            if !self.stems.contains(&s.stem) {
                return bad(&format!("streams.{k}.stem"), format!("`{}` is none of the stems {:?}", s.stem, self.stems));
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
                return bad(&key, "missing: every stem has a codec");
            };
            codec.validate().map_err(|(k, what)| (format!("{key}.{k}"), what))?;
            if codec.frame() != FRAME {
                return bad(&key, format!("a frame of {} samples; it should have {FRAME}", codec.frame()));
            }
            let q = codec.quantizer();
            let levels: Vec<usize> = self.streams_of(stem).iter().map(|k| self.streams[*k].level).collect();
            if levels != (0..q.books).collect::<Vec<_>>() {
                return bad(
                    "streams",
                    format!("{stem} has the levels {levels:?}; its codec's {} books need each level once", q.books),
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
