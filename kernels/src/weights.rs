//! Weights of the operations, in a backend's memory: matrices with what belongs to them.

use crate::Backend;

/// How a weight matrix is stored in a backend's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 32-bit floats: 4 bytes a weight.
    F32,
    /// bfloat16: 2 bytes a weight.
    Bf16,
    /// Blocks of 32 weights along a row: 32 int8 and one f32 scale. 1.125 bytes a weight.
    Q8,
    /// Blocks of 32 weights along a row: 32 integers from −8 to 7, two a byte, and one f32 scale. 0.625 bytes a weight.
    Q4,
}

/// How the rows that are multiplied by q8 and q4 weights enter the product. Products with f32 and bf16 weights take them as they
/// are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// As they are.
    F32,
    /// Blocks of 32 rounded to 8-bit integers with one scale ([`crate::quant::to_int8`]): sums of a block are exact integers.
    #[default]
    Int8,
}

impl Activations {
    /// Those of a product with weights in `format`, where q8 and q4 have these.
    pub fn with(self, format: Format) -> Activations {
        match format {
            Format::F32 | Format::Bf16 => Activations::F32,
            Format::Q8 | Format::Q4 => self,
        }
    }
}

/// Activation of a [`Linear`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// None.
    None,
    /// Exact GELU, x/2 · (1 + erf(x/√2)).
    Gelu,
    /// max(x, 0).
    Relu,
}

/// Normalisation of a row before its product: LayerNorm (with `bias`) or RMSNorm (without).
pub struct Norm<B: Backend + ?Sized> {
    /// Scale \[cols\].
    pub weight: B::Buf,
    /// Shift \[cols\]. Present: LayerNorm. Absent: RMSNorm, which does not subtract the mean.
    pub bias: Option<B::Buf>,
    /// Added to the variance (LayerNorm) or to the mean square (RMSNorm).
    pub eps: f32,
}

/// `y = act(W · norm(x) + bias)`, or `y += …` with `add`: every matrix product of the model's step and of the codecs.
pub struct Linear<B: Backend + ?Sized> {
    /// Weights [rows, cols].
    pub weight: B::Mat,
    /// Bias \[rows\].
    pub bias: Option<B::Buf>,
    /// Normalisation of each input row (of `cols` values) before the product.
    pub norm: Option<Norm<B>>,
    /// Activation of the sum.
    pub act: Act,
    /// Adds to what `y` holds (the residual) instead of overwriting it. The activation comes before the addition.
    pub add: bool,
}

/// LSTM of one or more layers in PyTorch's convention: gates i, f, g, o in the 4H rows
/// (docs/explanation/musicgen-stem.md 3.6).
pub struct Lstm<B: Backend + ?Sized> {
    /// For each layer: input weights [4H, H], with the sum of both of PyTorch's biases as the bias.
    pub input: Vec<Linear<B>>,
    /// For each layer: recurrent weights [4H, H].
    pub hidden: Vec<B::Mat>,
    /// H.
    pub size: usize,
}

/// Depthwise convolution: each channel has its own `kernel` taps.
pub struct Depthwise<B: Backend + ?Sized> {
    /// Taps [kernel, dim]: PyTorch's [dim, 1, kernel] transposed.
    pub taps: B::Buf,
    /// Bias \[dim\].
    pub bias: B::Buf,
    /// Taps of a channel.
    pub kernel: usize,
    /// Channels.
    pub dim: usize,
}

/// One codebook of a residual quantizer.
pub enum Book<B: Backend + ?Sized> {
    /// argmax −(‖r‖² − 2 r·e + ‖e‖²), the first maximum wins; then r −= e (docs/explanation/musicgen-stem.md 3.7a).
    Euclidean {
        /// Code vectors [card, dim].
        codes: B::Mat,
        /// ‖e‖² of each code vector \[card\].
        norms: B::Buf,
    },
    /// Factorised, by cosine (3.7b): e = W_in r + b_in; argmax ⟨e/‖e‖, c/‖c‖⟩; then r −= W_out c + b_out.
    Factorised {
        /// W_in [code_dim, dim] with b_in.
        project_in: Linear<B>,
        /// c/‖c‖ (norms below 1e-12 count as 1e-12) [card, code_dim].
        unit: B::Mat,
        /// W_out c + b_out of every code, the vector that the code decodes to [card, dim].
        codes: B::Mat,
    },
}
