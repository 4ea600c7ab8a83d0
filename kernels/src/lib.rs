//! Compute backends: the operations of the language model's step and of the audio codecs, on a CPU or an NVIDIA GPU.
//!
//! [`Backend`] is one trait with about thirty fused operations. The engine (`sideman-engine`) writes the transformer and
//! the codecs once, against this trait. Two types implement it:
//!
//! * [`cpu::CpuBackend`] runs an operation when it is called, on a fixed pool of threads, with AVX-512, AVX2 or plain loops.
//! * [`cuda::CudaBackend`] launches a kernel on one CUDA stream. It can record repeated work as a CUDA graph
//!   ([`Backend::run_recorded`]).
//!
//! This crate has no models, files or audio devices. Use it directly only to add an operation or to measure one.
//!
//! # Example
//! One matrix product, `y = W·x + b`, on the CPU:
//!
//! ```
//! use sideman_kernels::cpu::CpuBackend;
//! use sideman_kernels::{Act, Backend, Format, Linear, Rows};
//!
//! # fn main() -> Result<(), sideman_kernels::BackendError> {
//! let mut backend = CpuBackend::new(1);
//! // Weights [2 rows, 3 columns], row-major.
//! let weight = backend.mat(2, 3, &[1.0, 0.0, 2.0, 0.0, 1.0, -1.0], Format::F32)?;
//! let mut bias = backend.buf(2)?;
//! backend.write(&mut bias, 0, &[0.5, 0.5]);
//! let linear = Linear::<CpuBackend> { weight, bias: Some(bias), norm: None, act: Act::None, add: false };
//!
//! let (mut x, mut y) = (backend.buf(3)?, backend.buf(2)?);
//! backend.write(&mut x, 0, &[1.0, 2.0, 3.0]);
//! backend.linear(&linear, &x, Rows::packed(1, 3), &mut y, Rows::packed(1, 2));
//!
//! let mut out = [0.0; 2];
//! backend.read(&y, 0, &mut out);
//! assert_eq!(out, [7.5, -0.5]);
//! # Ok(())
//! # }
//! ```
//!
//! # Memory
//! A backend owns its memory. [`Backend::Buf`] holds f32 values, [`Backend::Ints`] i32 values, [`Backend::Mat`] packed
//! weights, [`Backend::Kv`] a key-value cache. The host reads and writes them through the backend. Whatever changes from
//! step to step (position, tokens, sampling parameters) lives in these buffers and is never passed as a plain argument,
//! because a recorded graph runs again with the arguments that it was recorded with.
//!
//! # Layout
//! Activations are f32 and **row-major: one row for each frame or step**, its channels contiguous, `[rows, channels]`.
//! A buffer and its [`Rows`] are passed side by side. Rows may overlap (`stride < width`), so a convolution is a
//! [`Linear`] over overlapping rows, and a transposed convolution is one too. With several lanes (songs × guidance
//! branches) of `n` steps each, row `lane * n + i` is step `i` of `lane`.
//!
//! # Exactness
//! Each output of a [`Linear`] is **one accumulator over k in ascending order, by fused multiply-add**, whatever the
//! number of rows, lanes and threads, and whatever the instruction set. The accumulator starts at 0. Then `y = act(acc +
//! bias)`, or with `add` `y = y_old + act(acc + bias)`.
//!
//! On the CPU, q8 and q4 weights are multiplied by 8-bit integers ([`Activations::Int8`]). A row of x is quantized in
//! blocks of 32 ([`quant::to_int8`]). The sum of a block's products, `block = Σ w·x`, is an exact integer below 2^24, so
//! its order is free. Then `acc = fma(scale of w · scale of x, block, acc)`, blocks in ascending order. With
//! [`Activations::F32`], and on a GPU, there is one accumulator for each block, then `acc = fma(scale of w, block, acc)`.
//!
//! It follows, bit for bit: feeding a prompt as one block equals feeding it step by step; a batch equals its lanes one by
//! one; AVX-512 equals the scalar loops; a render does not depend on how it was cut into chunks.
//! On a GPU the same holds among runs on GPUs, except where [`cuda::CudaBackend::tiles`] is on. GPU and CPU sums differ in
//! their last bits.

mod backend;
pub mod cpu;
pub mod cuda;
pub mod denormal;
pub mod quant;
mod sampling;
mod separator;
mod views;
mod weights;

pub use backend::{Backend, BackendError};
pub use sampling::{Grid, Sampling, UNKNOWN};
pub use separator::{GroupNorm, Groups, SeparatorBackend};
pub use views::{EmbedInput, Heads, InverseStft, LaneText, LayerRows, LockedSpectra, Rows, Stft};
pub use weights::{Act, Activations, Book, Depthwise, Format, Linear, Lstm, Norm};
