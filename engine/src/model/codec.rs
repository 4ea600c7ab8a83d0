//! The codecs' part of `config.json`, by kind.

use serde::{Deserialize, Serialize};

use crate::model::check::{Fault, bad, divides, positive, within};

/// A codec, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum CodecConfig {
    /// EnCodec (docs/explanation/musicgen-stem.md section 3).
    Seanet(SeanetConfig),
    /// The house codecs: ConvNeXt blocks between a spectrum and an inverse STFT.
    Istft(IstftConfig),
}

/// What a convolution sees beyond the edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PadMode {
    /// The signal mirrored, its last value not repeated.
    Reflect,
    /// Zeros.
    Constant,
}

/// Kinds of residual quantizer (docs/explanation/musicgen-stem.md 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantizerKind {
    /// Nearest code.
    Euclidean,
    /// Nearest direction in a projected space of `code_dim` values.
    Factorised,
}

/// The quantizer of a codec, of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizerConfig {
    /// Its kind.
    pub kind: QuantizerKind,
    /// Levels.
    pub books: usize,
    /// Codes of a book.
    pub card: usize,
    /// Values of a latent.
    pub dim: usize,
    /// Values of a projected latent; 0 where the kind is Euclidean.
    pub code_dim: usize,
}

/// EnCodec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeanetConfig {
    /// All of a convolution's padding on the left.
    pub causal: bool,
    /// What it sees beyond the edges.
    pub pad_mode: PadMode,
    /// Audio channels: 1.
    pub channels: usize,
    /// Values of a latent.
    pub dim: usize,
    /// Channels of the first convolution.
    pub filters: usize,
    /// Up-sampling ratios of the decoder; the encoder takes them backwards.
    pub ratios: Vec<usize>,
    /// Kernel of the first convolution.
    pub kernel: usize,
    /// Kernel of the last convolution.
    pub last_kernel: usize,
    /// Kernel of the residual blocks.
    pub residual_kernel: usize,
    /// Residual blocks have `channels / compress` hidden channels.
    pub compress: usize,
    /// Layers of the LSTM.
    pub lstm: usize,
    /// The quantizer's kind.
    pub quantizer: QuantizerKind,
    /// The quantizer's levels.
    pub books: usize,
    /// Codes of a book.
    pub card: usize,
    /// Values of a projected latent; only with [`QuantizerKind::Factorised`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_dim: Option<usize>,
}

/// One analysis of the house codec's encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// Length of the window.
    pub n_fft: usize,
    /// Lowest bins that are looked at.
    pub bins: usize,
}

/// Frames past a frame's end that must be known before it is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookAhead {
    /// Of audio, for a code.
    pub encode: usize,
    /// Of codes, for audio.
    pub decode: usize,
}

/// The house codec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IstftConfig {
    /// Always true.
    pub causal: bool,
    /// Channels.
    pub dim: usize,
    /// Values of a latent.
    pub latent: usize,
    /// Hidden channels of a block.
    pub ffn: usize,
    /// Taps of a block's convolution.
    pub kernel: usize,
    /// Epsilon of every LayerNorm.
    pub eps: f32,
    /// Blocks of the encoder at 100 Hz.
    pub encoder_blocks: usize,
    /// Blocks of the encoder at 50 Hz.
    pub encoder_blocks50: usize,
    /// Blocks of the decoder at 50 Hz.
    pub decoder_blocks50: usize,
    /// Blocks of the decoder at 100 Hz.
    pub decoder_blocks: usize,
    /// The encoder's analyses.
    pub analysis: Vec<Analysis>,
    /// Samples past its own end that a fine frame looks at.
    pub analysis_ahead: usize,
    /// Length of the synthesis window.
    pub n_fft: usize,
    /// Samples of a fine frame: half a token frame.
    pub hop: usize,
    /// Ceiling of the log magnitude.
    pub max_log: f32,
    /// The quantizer's kind: factorised.
    pub quantizer: QuantizerKind,
    /// Values of a projected latent.
    pub code_dim: usize,
    /// The quantizer's levels.
    pub books: usize,
    /// Codes of a book.
    pub card: usize,
    /// Must agree with `analysis_ahead` and `n_fft`.
    pub look_ahead: LookAhead,
}

impl CodecConfig {
    /// The quantizer.
    pub fn quantizer(&self) -> QuantizerConfig {
        match self {
            CodecConfig::Seanet(c) => {
                QuantizerConfig { kind: c.quantizer, books: c.books, card: c.card, dim: c.dim, code_dim: c.code_dim.unwrap_or(0) }
            }
            CodecConfig::Istft(c) => {
                QuantizerConfig { kind: c.quantizer, books: c.books, card: c.card, dim: c.latent, code_dim: c.code_dim }
            }
        }
    }

    /// Samples of one frame of codes.
    pub fn frame(&self) -> usize {
        match self {
            CodecConfig::Seanet(c) => c.ratios.iter().product(),
            CodecConfig::Istft(c) => 2 * c.hop,
        }
    }

    /// Checks that the sizes are sane and fit each other, whatever the frame rate: what [`Config::validate`] asks of each
    /// codec, and what a codec that stands alone (a fixture) must hold.
    ///
    /// # Errors
    /// The key at fault, and what would be right.
    pub fn validate(&self) -> Result<(), Fault> {
        let q = self.quantizer();
        within("books", q.books, 1, 64)?;
        within("card", q.card, 2, 65_536)?;
        if q.kind == QuantizerKind::Factorised {
            within("code_dim", q.code_dim, 1, 1024)?;
        } else if q.code_dim != 0 {
            return bad("code_dim", "only a factorised quantizer has one");
        }
        match self {
            CodecConfig::Seanet(c) => c.validate(),
            CodecConfig::Istft(c) => c.validate(),
        }
    }
}

impl SeanetConfig {
    fn validate(&self) -> Result<(), Fault> {
        within("channels", self.channels, 1, 1)?;
        within("dim", self.dim, 1, 4096)?;
        within("filters", self.filters, 1, 1024)?;
        within("ratios", self.ratios.len(), 1, 8)?;
        for r in &self.ratios {
            within("ratios", *r, 1, 64)?;
        }
        // The product of at most 8 ratios of at most 64 fits easily.
        within("ratios", self.ratios.iter().product(), 1, 4096)?;
        within("filters", self.filters << self.ratios.len(), 1, 16_384)?;
        within("kernel", self.kernel, 1, 64)?;
        within("last_kernel", self.last_kernel, 1, 64)?;
        within("residual_kernel", self.residual_kernel, 1, 64)?;
        within("compress", self.compress, 1, self.filters)?;
        divides("compress", self.compress, "filters", self.filters)?;
        within("lstm", self.lstm, 1, 8)
    }
}

impl IstftConfig {
    fn validate(&self) -> Result<(), Fault> {
        if !self.causal {
            return bad("causal", "the kind istft is causal: it should be true");
        }
        if self.quantizer != QuantizerKind::Factorised {
            return bad("quantizer", "the kind istft has a factorised one");
        }
        within("dim", self.dim, 1, 4096)?;
        within("latent", self.latent, 1, 4096)?;
        within("ffn", self.ffn, 1, 65_536)?;
        within("kernel", self.kernel, 1, 64)?;
        positive("eps", self.eps)?;
        for (key, n) in [
            ("encoder_blocks", self.encoder_blocks),
            ("encoder_blocks50", self.encoder_blocks50),
            ("decoder_blocks50", self.decoder_blocks50),
            ("decoder_blocks", self.decoder_blocks),
        ] {
            within(key, n, 0, 64)?;
        }
        within("hop", self.hop, 2, 4096)?;
        within("analysis", self.analysis.len(), 1, 8)?;
        for a in &self.analysis {
            within("analysis.n_fft", a.n_fft, 2, 65_536)?;
            divides("analysis.n_fft", 2, "n_fft", a.n_fft)?;
            within("analysis.bins", a.bins, 1, a.n_fft / 2 + 1)?;
        }
        within("analysis_ahead", self.analysis_ahead, 0, 65_536)?;
        // Half of the windows overlap at least, so that the envelope is nowhere near 0.
        within("n_fft", self.n_fft, 2 * self.hop, 65_536)?;
        divides("n_fft", 2, "n_fft", self.n_fft)?;
        divides("hop", 2, "hop", self.hop)?;
        if !self.max_log.is_finite() || self.max_log > 80.0 {
            return bad("max_log", format!("{}; it should be a number of at most 80", self.max_log));
        }
        let encode = self.analysis_ahead.div_ceil(2 * self.hop);
        let decode = (self.n_fft / 2).saturating_sub(self.hop / 2).div_ceil(self.hop).div_ceil(2);
        within("look_ahead.encode", self.look_ahead.encode, encode, encode)?;
        within("look_ahead.decode", self.look_ahead.decode, decode, decode)
    }
}
