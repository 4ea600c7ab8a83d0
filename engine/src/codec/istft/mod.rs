//! Kind `istft`, the house codecs (docs/reference/model-format.md): ConvNeXt blocks between log spectra and
//! an inverse STFT.
//!
//! Everything is causal, so streaming needs no more than the rows before the new ones; the encoder's
//! look-ahead is a delay.

mod decoder;
mod encoder;
mod stack;

pub use decoder::IstftDecoder;
pub use encoder::IstftEncoder;

use sideman_kernels::{Act, Backend, Depthwise, Format, Linear, Norm};

use crate::error::Result;
use crate::model::{IstftConfig, Tensors, upload};

/// Weights of both halves.
pub struct Istft<B: Backend> {
    /// What `config.json` says.
    pub config: IstftConfig,
    /// [dim, features].
    encoder_in: Linear<B>,
    encoder_blocks: Vec<Block<B>>,
    /// [dim, 2·dim]: two fine frames to a token frame.
    down: Linear<B>,
    encoder_blocks50: Vec<Block<B>>,
    /// LayerNorm, [latent, dim].
    encoder_out: Linear<B>,
    /// [dim, latent].
    decoder_in: Linear<B>,
    decoder_blocks50: Vec<Block<B>>,
    /// [2·dim, dim]: a token frame to two fine frames.
    up: Linear<B>,
    decoder_blocks: Vec<Block<B>>,
    /// LayerNorm, [n_fft + 2, dim].
    head: Linear<B>,
}

/// ConvNeXt block.
struct Block<B: Backend> {
    /// Of `kernel` taps and `dim` channels.
    depthwise: Depthwise<B>,
    /// LayerNorm, [ffn, dim], GELU.
    wide: Linear<B>,
    /// [dim, ffn], added to the block's input.
    narrow: Linear<B>,
}

/// Reads layers by name.
struct Loader<'a, B: Backend> {
    backend: &'a mut B,
    tensors: &'a mut Tensors,
    config: &'a IstftConfig,
}

impl<B: Backend> Istft<B> {
    /// Reads `encoder.*` and `decoder.*`.
    pub fn load(backend: &mut B, config: &IstftConfig, tensors: &mut Tensors) -> Result<Self> {
        let c = config.clone();
        let features = c.analysis.iter().map(|a| a.bins).sum();
        let mut l = Loader { backend, tensors, config };
        Ok(Istft {
            encoder_in: l.linear("encoder.in", c.dim, features, None)?,
            encoder_blocks: l.blocks("encoder.blocks", c.encoder_blocks)?,
            down: l.linear("encoder.down", c.dim, 2 * c.dim, None)?,
            encoder_blocks50: l.blocks("encoder.blocks50", c.encoder_blocks50)?,
            encoder_out: l.linear("encoder.out", c.latent, c.dim, Some("encoder.norm"))?,
            decoder_in: l.linear("decoder.in", c.dim, c.latent, None)?,
            decoder_blocks50: l.blocks("decoder.blocks50", c.decoder_blocks50)?,
            up: l.linear("decoder.up", 2 * c.dim, c.dim, None)?,
            decoder_blocks: l.blocks("decoder.blocks", c.decoder_blocks)?,
            head: l.linear("decoder.head", c.n_fft + 2, c.dim, Some("decoder.norm"))?,
            config: c,
        })
    }

    /// Frames that are final after `samples` samples.
    pub fn known_frames(&self, samples: usize) -> usize {
        samples.saturating_sub(self.config.analysis_ahead) / (2 * self.config.hop)
    }

    /// Samples of overlap before sample 0 of the first fine frame: what the decoder holds back.
    pub fn held(&self) -> usize {
        self.config.n_fft / 2 - self.config.hop / 2
    }
}

impl<B: Backend> Loader<'_, B> {
    fn linear(&mut self, name: &str, rows: usize, cols: usize, norm: Option<&str>) -> Result<Linear<B>> {
        let weight = self.tensors.mat(self.backend, &format!("{name}.weight"), rows, cols, Format::F32)?;
        let bias = Some(self.tensors.buf(self.backend, &format!("{name}.bias"), rows)?);
        let norm = match norm {
            Some(norm) => Some(Norm {
                weight: self.tensors.buf(self.backend, &format!("{norm}.weight"), cols)?,
                bias: Some(self.tensors.buf(self.backend, &format!("{norm}.bias"), cols)?),
                eps: self.config.eps,
            }),
            None => None,
        };
        Ok(Linear { weight, bias, norm, act: Act::None, add: false })
    }

    fn blocks(&mut self, name: &str, count: usize) -> Result<Vec<Block<B>>> {
        (0..count).map(|i| self.block(&format!("{name}.{i}"))).collect()
    }

    fn block(&mut self, name: &str) -> Result<Block<B>> {
        let (dim, ffn, kernel) = (self.config.dim, self.config.ffn, self.config.kernel);
        let file = self.tensors.get(&format!("{name}.dw.weight"), &[dim, kernel])?;
        let taps: Vec<f32> = (0..kernel).flat_map(|i| file.iter().skip(i).step_by(kernel).copied()).collect();
        let wide = self.linear(&format!("{name}.pw1"), ffn, dim, Some(&format!("{name}.norm")))?;
        let narrow = self.linear(&format!("{name}.pw2"), dim, ffn, None)?;
        Ok(Block {
            depthwise: Depthwise {
                taps: upload(self.backend, &taps)?,
                bias: self.tensors.buf(self.backend, &format!("{name}.dw.bias"), dim)?,
                kernel,
                dim,
            },
            wide: Linear { act: Act::Gelu, ..wide },
            narrow: Linear { add: true, ..narrow },
        })
    }
}
