//! The codecs in `config.json`: their sizes by kind, and the checks of them.

use serde::{Deserialize, Serialize};

use crate::model::check::{Fault, bad, divides, positive, within};

/// Sizes of a codec, by its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum CodecConfig {
    /// EnCodec (docs/explanation/musicgen-stem.md section 3).
    Seanet(SeanetConfig),
    /// The house model's codecs: ConvNeXt blocks between a spectrum and an inverse STFT.
    Istft(IstftConfig),
}

/// The padding of a convolution at the edges of the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PadMode {
    /// The signal mirrored, without repeating the last value.
    Reflect,
    /// Zeros.
    Constant,
}

/// Kinds of residual quantizer (docs/explanation/musicgen-stem.md 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantizerKind {
    /// The nearest code.
    Euclidean,
    /// The code with the nearest direction, in a projected space of `code_dim` values.
    Factorised,
}

/// Sizes of a codec's quantizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizerConfig {
    /// The kind.
    pub kind: QuantizerKind,
    /// Codebooks, one per level.
    pub books: usize,
    /// Codes per book.
    pub card: usize,
    /// Width of a latent.
    pub dim: usize,
    /// Width of a projected latent; 0 where the kind is Euclidean.
    pub code_dim: usize,
}

/// Sizes of an EnCodec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeanetConfig {
    /// Whether all padding of a convolution is on the left.
    pub causal: bool,
    /// The padding of the convolutions.
    pub pad_mode: PadMode,
    /// Audio channels: 1.
    pub channels: usize,
    /// Width of a latent.
    pub dim: usize,
    /// Channels of the first convolution.
    pub filters: usize,
    /// Up-sampling ratios of the decoder. The encoder has them in reverse order.
    pub ratios: Vec<usize>,
    /// Kernel size of the first convolution.
    pub kernel: usize,
    /// Kernel size of the last convolution.
    pub last_kernel: usize,
    /// Kernel size of the residual blocks.
    pub residual_kernel: usize,
    /// Residual blocks have `channels / compress` hidden channels.
    pub compress: usize,
    /// Layers of the LSTM.
    pub lstm: usize,
    /// Kind of quantizer.
    pub quantizer: QuantizerKind,
    /// Codebooks, one per level.
    pub books: usize,
    /// Codes per book.
    pub card: usize,
    /// Width of a projected latent; only with [`QuantizerKind::Factorised`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_dim: Option<usize>,
}

/// A spectrum that the encoder of kind `istft` computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// Length of the window in samples.
    pub n_fft: usize,
    /// Number of bins that are used, from the lowest.
    pub bins: usize,
}

/// Frames after the end of a frame that must be known before its result is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookAhead {
    /// Frames of audio, for a code.
    pub encode: usize,
    /// Frames of codes, for audio.
    pub decode: usize,
}

/// Where the decoder of kind `istft` takes the phases of its spectra from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The network predicts them, beside log magnitudes.
    #[default]
    Predicted,
    /// Integrated from the frequencies of the spectral peaks; the network predicts log magnitudes and noise shares.
    Locked,
}

impl Phase {
    fn is_predicted(&self) -> bool {
        *self == Phase::Predicted
    }
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Sizes of a codec of kind `istft`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IstftConfig {
    /// Always true.
    pub causal: bool,
    /// Channels of a block.
    pub dim: usize,
    /// Width of a latent.
    pub latent: usize,
    /// Hidden channels of a block.
    pub ffn: usize,
    /// Kernel size of a block's convolution.
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
    /// Spectra that the encoder computes.
    pub analysis: Vec<Analysis>,
    /// Look-ahead of the spectra in samples.
    pub analysis_ahead: usize,
    /// Length of the synthesis window in samples.
    pub n_fft: usize,
    /// Samples per fine frame (100 Hz): half a frame.
    pub hop: usize,
    /// Largest log magnitude.
    pub max_log: f32,
    /// Where the phases of the spectra come from.
    #[serde(default, skip_serializing_if = "Phase::is_predicted")]
    pub phase: Phase,
    /// The first bin with a locked phase, even; the network predicts the phases of the bins below. Only with
    /// [`Phase::Locked`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub locked_from: usize,
    /// Which white noise is mixed in; only with [`Phase::Locked`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_seed: Option<u32>,
    /// Kind of quantizer: factorised.
    pub quantizer: QuantizerKind,
    /// Width of a projected latent.
    pub code_dim: usize,
    /// Codebooks, one per level.
    pub books: usize,
    /// Codes per book.
    pub card: usize,
    /// Look-ahead in frames. It follows from `analysis_ahead` and `n_fft` and must agree with them.
    pub look_ahead: LookAhead,
}

impl CodecConfig {
    /// Sizes of the quantizer.
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

    /// Samples per frame of codes.
    pub fn frame(&self) -> usize {
        match self {
            CodecConfig::Seanet(c) => c.ratios.iter().product(),
            CodecConfig::Istft(c) => 2 * c.hop,
        }
    }

    /// Checks that all sizes are within their limits and fit each other. The frame rate is checked by
    /// [`Config::validate`](crate::model::Config::validate), which calls this for each codec; tests call it
    /// for a codec without a model.
    ///
    /// # Errors
    /// The wrong key, and what would be right.
    pub fn validate(&self) -> Result<(), Fault> {
        let q = self.quantizer();
        within("books", q.books, 1, 64)?;
        within("card", q.card, 2, 65_536)?;
        if q.kind == QuantizerKind::Factorised {
            within("code_dim", q.code_dim, 1, 1024)?;
        } else if q.code_dim != 0 {
            return bad("code_dim", "it should be missing: only a factorised quantizer has it");
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
        // Can't overflow: at most 8 ratios of at most 64.
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
            return bad("causal", "false; it should be true for the kind istft");
        }
        if self.quantizer != QuantizerKind::Factorised {
            return bad("quantizer", "it should be \"factorised\" for the kind istft");
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
        // Windows overlap by half or more, so that the envelope is never near 0.
        within("n_fft", self.n_fft, 2 * self.hop, 65_536)?;
        divides("n_fft", 2, "n_fft", self.n_fft)?;
        divides("hop", 2, "hop", self.hop)?;
        if !self.max_log.is_finite() || self.max_log > 80.0 {
            return bad("max_log", format!("{}; it should be a finite number of at most 80", self.max_log));
        }
        if self.phase == Phase::Predicted {
            if self.noise_seed.is_some() {
                return bad("noise_seed", "it should be missing: only the phase \"locked\" has it");
            }
            within("locked_from", self.locked_from, 0, 0)?;
        }
        within("locked_from", self.locked_from, 0, self.n_fft / 2)?;
        divides("locked_from", 2, "locked_from", self.locked_from)?;
        let encode = self.analysis_ahead.div_ceil(2 * self.hop);
        let decode = (self.n_fft / 2).saturating_sub(self.hop / 2).div_ceil(self.hop).div_ceil(2);
        within("look_ahead.encode", self.look_ahead.encode, encode, encode)?;
        within("look_ahead.decode", self.look_ahead.decode, decode, decode)
    }
}
