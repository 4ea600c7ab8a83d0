//! Kind `seanet`: EnCodec's encoder and decoder (docs/explanation/musicgen-stem.md 3.3–3.6) as chains of
//! streaming layers.

use sideman_kernels::{Act, Backend, Format, Linear, Lstm};

use super::chain::{Chain, Layer};
use super::conv::Conv;
use crate::error::Result;
use crate::model::{PadMode, SeanetConfig, Tensors, upload};

/// Weights of both halves.
pub struct Seanet<B: Backend> {
    /// Samples to latents.
    pub encoder: Chain<B>,
    /// Latents to samples.
    pub decoder: Chain<B>,
}

/// Reads layers by their index in the reference.
struct Loader<'a, B: Backend> {
    backend: &'a mut B,
    tensors: &'a mut Tensors,
    config: &'a SeanetConfig,
}

impl<B: Backend> Seanet<B> {
    /// Reads `encoder.model.*` and `decoder.model.*`.
    pub fn load(backend: &mut B, config: &SeanetConfig, tensors: &mut Tensors) -> Result<Self> {
        let mut l = Loader { backend, tensors, config };
        Ok(Seanet { encoder: l.encoder()?, decoder: l.decoder()? })
    }
}

impl<B: Backend> Loader<'_, B> {
    fn encoder(&mut self) -> Result<Chain<B>> {
        let c = self.config;
        let (mut layers, mut width, mut n) = (Vec::new(), c.filters, 1);
        layers.push(self.conv("encoder.model.0.conv.conv", c.channels, width, c.kernel, 1, false)?);
        for ratio in c.ratios.iter().rev() {
            layers.push(self.residual(&format!("encoder.model.{n}"), width)?);
            let name = format!("encoder.model.{}.conv.conv", n + 2);
            layers.push(self.conv(&name, width, 2 * width, 2 * ratio, *ratio, true)?);
            (width, n) = (2 * width, n + 3);
        }
        layers.push(self.lstm(&format!("encoder.model.{n}.lstm"), width)?);
        layers.push(self.conv(&format!("encoder.model.{}.conv.conv", n + 2), width, c.dim, c.last_kernel, 1, true)?);
        Ok(Chain { layers })
    }

    fn decoder(&mut self) -> Result<Chain<B>> {
        let c = self.config;
        let (mut layers, mut width, mut n) = (Vec::new(), c.filters << c.ratios.len(), 3);
        layers.push(self.conv("decoder.model.0.conv.conv", c.dim, width, c.kernel, 1, false)?);
        layers.push(self.lstm("decoder.model.1.lstm", width)?);
        for ratio in &c.ratios {
            layers.push(self.up(&format!("decoder.model.{n}.convtr.convtr"), width, width / 2, *ratio)?);
            layers.push(self.residual(&format!("decoder.model.{}", n + 1), width / 2)?);
            (width, n) = (width / 2, n + 3);
        }
        layers.push(self.conv(&format!("decoder.model.{n}.conv.conv"), width, c.channels, c.last_kernel, 1, true)?);
        Ok(Chain { layers })
    }

    /// Padding of a convolution: (left, right), docs/explanation/musicgen-stem.md 3.2.
    fn padding(&self, kernel: usize, stride: usize) -> (usize, usize) {
        let all = kernel - stride;
        let right = if self.config.causal { 0 } else { all / 2 };
        (all - right, right)
    }

    fn conv(&mut self, name: &str, input: usize, output: usize, kernel: usize, stride: usize, elu: bool) -> Result<Layer<B>> {
        let (left, right) = self.padding(kernel, stride);
        Ok(Layer::Conv(Conv {
            linear: self.linear(name, input, output, kernel, false)?,
            input,
            output,
            kernel,
            stride,
            left,
            right,
            up: 1,
            cut: (0, 0),
            reflect: self.config.pad_mode == PadMode::Reflect,
            elu,
            residual: None,
        }))
    }

    fn residual(&mut self, name: &str, width: usize) -> Result<Layer<B>> {
        let (kernel, hidden) = (self.config.residual_kernel, width / self.config.compress);
        let (left, right) = self.padding(kernel, 1);
        Ok(Layer::Conv(Conv {
            linear: self.linear(&format!("{name}.block.1.conv.conv"), width, hidden, kernel, false)?,
            input: width,
            output: width,
            kernel,
            stride: 1,
            left,
            right,
            up: 1,
            cut: (0, 0),
            reflect: self.config.pad_mode == PadMode::Reflect,
            elu: true,
            residual: Some((self.linear(&format!("{name}.block.3.conv.conv"), hidden, width, 1, true)?, hidden)),
        }))
    }

    /// A transposed convolution of kernel 2·ratio: [in, out, 2s] becomes [s·out, 2·in] over rows (x[t−1],
    /// x[t]).
    fn up(&mut self, name: &str, input: usize, output: usize, s: usize) -> Result<Layer<B>> {
        let file = self.tensors.get(&format!("{name}.weight"), &[input, output, 2 * s])?;
        let mut weight = Vec::with_capacity(file.len());
        for r in 0..s {
            for o in 0..output {
                for tap in [r + s, r] {
                    weight.extend((0..input).map(|i| file[(i * output + o) * 2 * s + tap]));
                }
            }
        }
        let bias = self.tensors.get(&format!("{name}.bias"), &[output])?.repeat(s);
        let right = if self.config.causal { s } else { s / 2 };
        Ok(Layer::Conv(Conv {
            linear: Linear {
                weight: self.backend.mat(s * output, 2 * input, &weight, Format::F32)?,
                bias: Some(upload(self.backend, &bias)?),
                norm: None,
                act: Act::None,
                add: false,
            },
            input,
            output,
            kernel: 2,
            stride: 1,
            left: 1,
            right: 1,
            up: s,
            cut: (s - right, right),
            reflect: false,
            elu: true,
            residual: None,
        }))
    }

    /// A convolution's weights [out, in, k] as a matrix over k rows of `in` values.
    fn linear(&mut self, name: &str, input: usize, output: usize, kernel: usize, add: bool) -> Result<Linear<B>> {
        let file = self.tensors.get(&format!("{name}.weight"), &[output, input, kernel])?;
        let mut weight = Vec::with_capacity(file.len());
        for row in file.chunks_exact(input * kernel) {
            for i in 0..kernel {
                weight.extend((0..input).map(|c| row[c * kernel + i]));
            }
        }
        let weight = self.backend.mat(output, kernel * input, &weight, Format::F32)?;
        let bias = Some(self.tensors.buf(self.backend, &format!("{name}.bias"), output)?);
        Ok(Linear { weight, bias, norm: None, act: Act::None, add })
    }

    fn lstm(&mut self, name: &str, size: usize) -> Result<Layer<B>> {
        let mut lstm = Lstm { input: Vec::new(), hidden: Vec::new(), size };
        for n in 0..self.config.lstm {
            let weight = self.tensors.mat(self.backend, &format!("{name}.weight_ih_l{n}"), 4 * size, size, Format::F32)?;
            let hidden = self.tensors.mat(self.backend, &format!("{name}.weight_hh_l{n}"), 4 * size, size, Format::F32)?;
            let mut bias = self.tensors.get(&format!("{name}.bias_ih_l{n}"), &[4 * size])?;
            let recurrent = self.tensors.get(&format!("{name}.bias_hh_l{n}"), &[4 * size])?;
            bias.iter_mut().zip(&recurrent).for_each(|(b, r)| *b += r);
            let bias = Some(upload(self.backend, &bias)?);
            lstm.input.push(Linear { weight, bias, norm: None, act: Act::None, add: false });
            lstm.hidden.push(hidden);
        }
        Ok(Layer::Lstm(lstm))
    }
}
