//! A separator's directory: `separator.json` and `separator.safetensors` (docs/reference/separator-format.md).
//! Every size has an upper limit, so that a damaged file can't make the engine allocate without bound.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::choice::REMAINDER;
use crate::error::{Error, Result};
use crate::model::Tensors;
use crate::model::check::{Fault, bad, divides, plain, within};

/// The longest `separator.json` that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// The content of `separator.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct SeparatorConfig {
    /// Version of the format, 1.
    pub format: u32,
    /// Name of the separator.
    pub name: String,
    /// Licence of the weights, as far as it is known.
    pub licence: String,
    /// Origin of the weights.
    pub provenance: String,
    /// The stems that it finds, in order.
    pub sources: Vec<String>,
    /// Sample rate in Hz.
    pub sample_rate: usize,
    /// Kind and sizes of the network.
    pub network: NetworkSizes,
    /// Share of each network in each source, networks × sources. An estimate is the weighted mean of the
    /// networks'.
    pub bag: Vec<Vec<f32>>,
}

/// Kind and sizes of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkSizes {
    /// Hybrid Transformer Demucs: stereo, whole segments.
    Htdemucs(HtdemucsSizes),
    /// Shares of the bins of a spectrum.
    Mask(MaskSizes),
}

impl NetworkSizes {
    /// Samples that the network takes at a time.
    pub fn segment(&self) -> usize {
        match self {
            NetworkSizes::Htdemucs(sizes) => sizes.segment,
            NetworkSizes::Mask(sizes) => sizes.segment,
        }
    }
}

/// [`SeparatorConfig`] as it is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    kind: SeparatorKind,
    name: String,
    licence: String,
    provenance: String,
    sources: Vec<String>,
    sample_rate: usize,
    sizes: serde_json::Value,
    bag: Vec<Vec<f32>>,
}

/// Kinds of separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SeparatorKind {
    Htdemucs,
    Mask,
}

impl TryFrom<File> for SeparatorConfig {
    type Error = String;

    fn try_from(file: File) -> Result<SeparatorConfig, String> {
        let File { format, kind, name, licence, provenance, sources, sample_rate, sizes, bag } = file;
        let network = match kind {
            SeparatorKind::Htdemucs => serde_json::from_value(sizes).map(NetworkSizes::Htdemucs),
            SeparatorKind::Mask => serde_json::from_value(sizes).map(NetworkSizes::Mask),
        };
        let network = network.map_err(|e| format!("sizes: {e}"))?;
        Ok(SeparatorConfig { format, name, licence, provenance, sources, sample_rate, network, bag })
    }
}

impl From<SeparatorConfig> for File {
    fn from(config: SeparatorConfig) -> File {
        let SeparatorConfig { format, name, licence, provenance, sources, sample_rate, network, bag } = config;
        let (kind, sizes) = match &network {
            NetworkSizes::Htdemucs(sizes) => (SeparatorKind::Htdemucs, serde_json::to_value(sizes)),
            NetworkSizes::Mask(sizes) => (SeparatorKind::Mask, serde_json::to_value(sizes)),
        };
        let sizes = sizes.expect("sizes are numbers");
        File { format, kind, name, licence, provenance, sources, sample_rate, sizes, bag }
    }
}

/// Sizes of Hybrid Transformer Demucs. Depth 4, kernel 8, stride 4 and growth 2 are fixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HtdemucsSizes {
    /// Channels of the first layer.
    pub channels: usize,
    /// Samples of an STFT window; the hop is a quarter of it.
    pub n_fft: usize,
    /// Width of the transformer; 0: that of the last encoder layer, without projections.
    pub bottom: usize,
    /// Layers of the transformer: self-attention and cross-attention in turn.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub ffn: usize,
    /// Samples that the network takes at a time.
    pub segment: usize,
}

/// Layers of encoder and decoder in each branch.
pub const DEPTH: usize = 4;

impl HtdemucsSizes {
    /// Channels of the outputs of encoder layer `i`.
    pub fn width(&self, i: usize) -> usize {
        self.channels << i
    }

    /// Width of the transformer.
    pub fn dim(&self) -> usize {
        if self.bottom > 0 { self.bottom } else { self.width(DEPTH - 1) }
    }

    /// Samples from one STFT window to the next.
    pub fn hop(&self) -> usize {
        self.n_fft / 4
    }

    /// STFT frames of a segment.
    pub fn frames(&self) -> usize {
        self.segment.div_ceil(self.hop())
    }

    fn check(&self) -> Result<(), Fault> {
        within("sizes.channels", self.channels, 8, 256)?;
        divides("sizes.channels", 8, "it", self.channels)?;
        within("sizes.n_fft", self.n_fft, 2048, 16384)?;
        if !self.n_fft.is_power_of_two() {
            return bad("sizes.n_fft", format!("{}; it should be a power of two", self.n_fft));
        }
        if self.bottom > 0 {
            within("sizes.bottom", self.bottom, 8, 4096)?;
        }
        within("sizes.layers", self.layers, 1, 32)?;
        within("sizes.heads", self.heads, 1, 64)?;
        divides("sizes.heads", self.heads, "the transformer's width", self.dim())?;
        if !self.dim().is_multiple_of(4) {
            return bad("sizes.bottom", format!("the transformer's width {}; it should be a multiple of 4", self.dim()));
        }
        within("sizes.ffn", self.ffn, 1, 32768)?;
        // Half a minute; the activations of a segment take memory in proportion.
        within("sizes.segment", self.segment, self.n_fft + 1, 1_500_000)
    }
}

/// Sizes of the mask network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskSizes {
    /// Samples of an STFT window; the hop is a quarter of it.
    pub n_fft: usize,
    /// Channels of each layer along frequency; each has a quarter of the rows of the one before.
    pub channels: [usize; 4],
    /// Width of the blocks along time.
    pub width: usize,
    /// Width between the two products of a block.
    pub hidden: usize,
    /// Frames that a block's convolution reads.
    pub kernel: usize,
    /// Frames from one tap of a block's convolution to the next, for each block.
    pub dilations: Vec<usize>,
    /// Samples that the network takes at a time.
    pub segment: usize,
}

/// The most values of one layer of the mask network.
const MAX_VALUES: usize = 1 << 26;

impl MaskSizes {
    /// STFT frames of a segment, those that begin before it included.
    pub fn frames(&self) -> usize {
        self.segment.div_ceil(self.n_fft / 4) + 3
    }

    fn check(&self) -> Result<(), Fault> {
        within("sizes.n_fft", self.n_fft, 512, 16384)?;
        if !self.n_fft.is_power_of_two() {
            return bad("sizes.n_fft", format!("{}; it should be a power of two", self.n_fft));
        }
        for channels in self.channels {
            within("sizes.channels", channels, 1, 1024)?;
        }
        within("sizes.width", self.width, 1, 4096)?;
        within("sizes.hidden", self.hidden, 1, 16384)?;
        within("sizes.kernel", self.kernel, 1, 31)?;
        if self.kernel.is_multiple_of(2) {
            return bad("sizes.kernel", format!("{}; it should be odd", self.kernel));
        }
        within("sizes.dilations", self.dilations.len(), 1, 64)?;
        for dilation in &self.dilations {
            within("sizes.dilations", *dilation, 1, 64)?;
        }
        within("sizes.segment", self.segment, self.n_fft, 4_000_000)?;
        // Of a layer's activations; ours has at most 11 million.
        for (i, channels) in self.channels.iter().enumerate() {
            let rows = (self.n_fft / 2) >> (2 * i);
            within("sizes.segment: values of a layer", self.frames() * (rows + 4) * channels, 1, MAX_VALUES)?;
        }
        within("sizes.segment: values of a block", self.frames() * self.hidden.max(self.width), 1, MAX_VALUES)
    }
}

impl SeparatorConfig {
    /// Sizes, where the network is Hybrid Transformer Demucs.
    pub fn htdemucs(&self) -> Option<&HtdemucsSizes> {
        match &self.network {
            NetworkSizes::Htdemucs(sizes) => Some(sizes),
            NetworkSizes::Mask(_) => None,
        }
    }

    /// Parses and checks the content of the file at `path`.
    ///
    /// # Errors
    /// It is not JSON, or a value is wrong; the error names the key.
    pub fn parse(text: &[u8], path: &Path) -> Result<SeparatorConfig> {
        let config: SeparatorConfig =
            serde_json::from_slice(text).map_err(|e| Error::file(path, format!("not a separator's configuration: {e}")))?;
        config.validate(path)?;
        Ok(config)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// A value is wrong; the error names `path` and the key.
    pub fn validate(&self, path: &Path) -> Result<()> {
        self.check().map_err(|(key, what)| Error::Key { path: path.to_owned(), key, what })
    }

    fn check(&self) -> Result<(), Fault> {
        within("format", self.format as usize, 1, 1)?;
        within("sources", self.sources.len(), 2, 16)?;
        for (i, source) in self.sources.iter().enumerate() {
            plain("sources", source)?;
            if self.sources[..i].contains(source) || source == REMAINDER {
                return bad("sources", format!("{source:?}; names should differ from each other and from {REMAINDER:?}"));
            }
        }
        within("sample_rate", self.sample_rate, 4000, 384_000)?;
        match &self.network {
            NetworkSizes::Htdemucs(sizes) => sizes.check()?,
            NetworkSizes::Mask(sizes) => sizes.check()?,
        }
        within("bag", self.bag.len(), 1, 16)?;
        for weights in &self.bag {
            within("bag", weights.len(), self.sources.len(), self.sources.len())?;
            if let Some(w) = weights.iter().find(|w| !(0.0..=1e6).contains(*w)) {
                return bad("bag", format!("{w}; it should be 0 or more"));
            }
        }
        match (0..self.sources.len()).find(|s| self.bag.iter().all(|w| w[*s] == 0.0)) {
            Some(s) => bad("bag", format!("no network has a share in {}; at least one should", self.sources[s])),
            None => Ok(()),
        }
    }
}

/// A separator's directory whose `separator.json` is valid.
#[derive(Debug, Clone)]
pub struct SeparatorDir {
    /// The directory.
    pub path: PathBuf,
    /// The content of `separator.json`.
    pub config: SeparatorConfig,
}

impl SeparatorDir {
    /// Reads and validates `path/separator.json`.
    ///
    /// # Errors
    /// The file is missing, is not JSON, or has a wrong value; the error names the key.
    pub fn open(path: impl AsRef<Path>) -> Result<SeparatorDir> {
        let path = path.as_ref().to_owned();
        let file = path.join("separator.json");
        let meta = fs::metadata(&file).map_err(Error::io(&file))?;
        if !meta.is_file() || meta.len() > MAX_CONFIG {
            let what = format!("not a separator's configuration: it should be a file of at most {MAX_CONFIG} bytes");
            return Err(Error::file(&file, what));
        }
        crate::placeholder::check(&file)?;
        let text = fs::read(&file).map_err(Error::io(&file))?;
        let config = SeparatorConfig::parse(&text, &file)?;
        Ok(SeparatorDir { path, config })
    }

    /// Opens `separator.safetensors`.
    ///
    /// # Errors
    /// Those of [`Tensors::open`].
    pub fn tensors(&self) -> Result<Tensors> {
        Tensors::open(&self.path.join("separator.safetensors"))
    }
}
