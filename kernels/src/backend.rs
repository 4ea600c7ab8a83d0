//! The trait that the engine's models are written against, and its errors.

use thiserror::Error;

use crate::Stft;
use crate::quant::BLOCK;
use crate::{Book, Depthwise, EmbedInput, Format, Grid, Heads, InverseStft, LaneText, LayerRows, Linear, LockedSpectra, Lstm};
use crate::{Rows, Sampling};

/// Why a backend could not allocate memory or pack weights: the error of its constructors.
#[derive(Debug, Error)]
pub enum BackendError {
    /// Sizes that do not fit together.
    #[error("{op}: {what}")]
    Shape {
        /// The operation that was called.
        op: &'static str,
        /// The sizes given, and what would be right.
        what: String,
    },
    /// The backend's memory is full.
    #[error("out of memory: {bytes} bytes for {what}")]
    Memory {
        /// Bytes requested.
        bytes: usize,
        /// What they were for.
        what: String,
    },
    /// The backend has failed before ([`Backend::failure`]).
    #[error("{0}")]
    Lost(String),
}

/// The operations of the language model's step, in the order of a step, then those of the codecs. Shapes are
/// rows × columns.
///
/// # Errors
/// A constructor returns [`BackendError::Shape`] where sizes do not fit together. An operation panics there,
/// because the engine has checked the model's sizes before.
///
/// # Allocation
/// An operation allocates at most in its first call with the largest size, never later.
pub trait Backend {
    /// f32 values in the backend's memory.
    type Buf: Send + Sync;
    /// i32 values in the backend's memory: tokens, positions, codes.
    type Ints: Send;
    /// A packed weight matrix [rows, cols].
    type Mat: Send + Sync;
    /// A key-value cache: keys and values, layers × lanes × steps × dim.
    type Kv: Send;
    /// State of [`Backend::sample`]: sampling parameters, shape of the grid, scratch memory, a counter.
    type Sampler: Send;
    /// What [`Backend::run_recorded`] has recorded: a few CUDA graphs by key, or nothing where a backend
    /// records none.
    type Graphs: Default + Send;
    /// The numbers of frames that one graph can be recorded for, the largest first and 1 the last. Callers divide
    /// repeated work into pieces of these sizes, because each size needs a graph of its own. Empty if the
    /// backend records no graphs: a piece can then have any size.
    const GRAPH_SIZES: &'static [usize] = &[];

    // --- the backend itself ---------------------------------------------------------------------------------------
    /// Why the backend can no longer compute (a lost GPU, a GPU out of memory), as one sentence; `None` while
    /// it can. After a failure operations do nothing and reads give zeros.
    fn failure(&self) -> Option<&str> {
        None
    }
    /// Runs `work`, which must make the same launches on the same memory each time it comes with this `key`,
    /// and must not read, write or allocate memory. `graphs` belongs to that memory.
    ///
    /// A backend that records graphs runs `work` the first time, records it the second time (which
    /// allocates), and from then on replays the recording without calling `work`. It keeps recordings of the
    /// first few keys only.
    fn run_recorded(&mut self, graphs: &mut Self::Graphs, key: &[usize], work: &mut dyn FnMut(&mut Self));

    // --- memory ---------------------------------------------------------------------------------------------------
    /// `len` zeros.
    fn buf(&mut self, len: usize) -> Result<Self::Buf, BackendError>;
    /// `len` zeros.
    fn ints(&mut self, len: usize) -> Result<Self::Ints, BackendError>;
    /// Packs row-major f32 weights [rows, cols] into `format`. Q8 and Q4 need `cols % 32 == 0`; other
    /// matrices are stored as bf16 instead.
    fn mat(&mut self, rows: usize, cols: usize, data: &[f32], format: Format) -> Result<Self::Mat, BackendError>;
    /// Packs the tensors of a q8 file: integers [rows, cols], scales [rows, cols/32].
    fn mat_q8(&mut self, rows: usize, cols: usize, ints: &[i8], scales: &[f32]) -> Result<Self::Mat, BackendError>;
    /// Packs the tensors of a q4 file: nibbles [rows, cols/2], the first of two in the low half, each 8 more
    /// than its integer; scales [rows, cols/32].
    fn mat_q4(&mut self, rows: usize, cols: usize, nibbles: &[u8], scales: &[f32]) -> Result<Self::Mat, BackendError>;
    /// Packs the tensors of a q8 file, shaped as in [`Backend::mat_q8`], as f32 weights scale · integer: products have the bits
    /// of [`Backend::mat`] with [`Format::F32`]. A backend may keep them in 8 bits.
    fn mat_dequantized(&mut self, rows: usize, cols: usize, ints: &[i8], scales: &[f32]) -> Result<Self::Mat, BackendError> {
        if scales.len().checked_mul(BLOCK) != Some(ints.len()) {
            let what = format!("{} weights and {} scales; one scale for {BLOCK} weights", ints.len(), scales.len());
            return Err(BackendError::Shape { op: "mat_dequantized", what });
        }
        let blocks = ints.chunks_exact(BLOCK).zip(scales);
        let values: Vec<f32> = blocks.flat_map(|(ints, scale)| ints.iter().map(move |int| scale * f32::from(*int))).collect();
        self.mat(rows, cols, &values, Format::F32)
    }
    /// An empty key-value cache; `format` is F32 or Bf16. It keeps the head shape, so that a backend can
    /// store each head's keys together. [`Backend::attend`] and [`Backend::attend_text`] take the shape from
    /// it.
    fn kv(&mut self, layers: usize, lanes: usize, steps: usize, heads: Heads, format: Format) -> Result<Self::Kv, BackendError>;
    /// A sampler for runs of this grid.
    fn sampler(&mut self, grid: &Grid) -> Result<Self::Sampler, BackendError>;
    /// Writes `src` at index `at`.
    fn write(&mut self, dst: &mut Self::Buf, at: usize, src: &[f32]);
    /// Reads `dst.len()` values from index `at`, after all earlier operations are done.
    fn read(&mut self, src: &Self::Buf, at: usize, dst: &mut [f32]);
    /// Writes `src` at index `at`.
    fn write_ints(&mut self, dst: &mut Self::Ints, at: usize, src: &[i32]);
    /// Reads `dst.len()` values from index `at`, after all earlier operations are done.
    fn read_ints(&mut self, src: &Self::Ints, at: usize, dst: &mut [i32]);
    /// Copies rows of `width` values from `src` to rows of `dst`.
    fn copy(&mut self, src: &Self::Buf, from: Rows, dst: &mut Self::Buf, to: Rows, width: usize);
    /// Moves `len` values from index `from` to index `to` of one buffer. The two ranges may overlap, as with
    /// memmove.
    fn shift(&mut self, buf: &mut Self::Buf, from: usize, to: usize, len: usize);
    /// Sets `len` values from index `at` to zero.
    fn zero(&mut self, buf: &mut Self::Buf, at: usize, len: usize);

    // --- the transformer's step -----------------------------------------------------------------------------------
    /// Sums of embeddings for `n` steps of every lane (docs/explanation/musicgen-stem.md section 5). For lane
    /// `l` = (song, branch) and `i` in 0..n, with step s = pos + i: x[l·n + i] = sinusoid(s) + Σ_k
    /// tables\[k\]\[seq[song, k, s]] + Σ_c controls\[c\]\[ctl[branch, c, s]].
    ///
    /// [`crate::UNKNOWN`] counts as the special id, and so does every token of a stream that is masked for
    /// the branch. `pos` \[1\], `x` [lanes·n, dim].
    fn embed(&mut self, input: &EmbedInput<Self>, pos: &Self::Ints, n: usize, x: &mut Self::Buf);
    /// Queries, keys and values of one layer: Wq·norm(x) to `q` [lanes·n, dim]; Wk·norm(x) and Wv·norm(x) to
    /// `kv` at steps pos..pos + n. `w` is [3·dim, dim], rows q‖k‖v.
    fn qkv(&mut self, w: &Linear<Self>, x: &Self::Buf, at: LayerRows, pos: &Self::Ints, q: &mut Self::Buf, kv: &mut Self::Kv);
    /// Causal self-attention: row (lane, i) attends to steps 0..=pos + i of its lane's cache; softmax in f32,
    /// scale 1/√head_dim. `out` is [lanes·n, dim]. A row's result does not depend on `n` or on other lanes.
    fn attend(&mut self, q: &Self::Buf, at: LayerRows, pos: &Self::Ints, kv: &Self::Kv, out: &mut Self::Buf);
    /// Writes keys and values of one lane's text, `k` and `v` [len, dim], and sets that lane's length.
    fn set_text(&mut self, text: &mut Self::Kv, at: LaneText, k: &Self::Buf, v: &Self::Buf);
    /// Cross-attention of every row to all tokens of its lane's text; a lane whose text has no tokens gets
    /// zeros.
    fn attend_text(&mut self, q: &Self::Buf, at: LayerRows, text: &Self::Kv, out: &mut Self::Buf);
    /// A matrix product: rows `xr` of `x` (each `cols` values) to rows `yr` of `y` (each `rows` values).
    fn linear(&mut self, w: &Linear<Self>, x: &Self::Buf, xr: Rows, y: &mut Self::Buf, yr: Rows);
    /// Writes sampling parameters, used from the next [`Backend::sample`] on.
    fn set_sampling(&mut self, sampler: &mut Self::Sampler, sampling: &Sampling);
    /// Samples the unknown tokens of step s + 1, s = pos + n − 1, from `logits` [lanes, Σ cards] of step s
    /// (each stream's codes after those of the streams before it). Then pos += n.
    ///
    /// Guidance, temperature, top-k or top-p come first. A token is written only **where it is
    /// [`crate::UNKNOWN`]**: the special id where the delay pattern has no frame (s − delays\[k\] < 0), else
    /// a sampled code. Nothing is written where s + 1 is past the sequence. A logit that is not finite after
    /// guidance counts as −∞; if none is finite, the token is 0 and [`Backend::nonfinite_samples`] grows by
    /// one.
    ///
    /// A sample is the first maximum, over the kept codes, of logit/T + Gumbel noise −ln(−ln u). The random
    /// numbers are the same on every backend: Philox4x32-10 with the low and high 32 bits of `seed` as its
    /// key and the words (code / 4, low 32 bits of the absolute frame, stream, song) as its counter. Output
    /// word `code mod 4` gives u = ((word >> 9) + 0.5) · 2^-23. The order and rounding of all other
    /// operations is in `cpu/sample.rs`.
    fn sample(&mut self, sampler: &mut Self::Sampler, logits: &Self::Buf, n: usize, pos: &mut Self::Ints, seq: &mut Self::Ints);
    /// pos += n without sampling (steps whose tokens are all known).
    fn advance(&mut self, n: usize, pos: &mut Self::Ints);
    /// Number of tokens that were sampled from logits without a finite value, since the sampler was made.
    fn nonfinite_samples(&mut self, sampler: &Self::Sampler) -> u32;

    // --- the codecs -----------------------------------------------------------------------------------------------
    /// y = elu(x), α = 1, of the first `len` values.
    fn elu(&mut self, x: &Self::Buf, y: &mut Self::Buf, len: usize);
    /// Depthwise convolution of `count` rows, by fused multiply-adds over ascending i, from the bias on: y[t,
    /// c] = bias\[c\] + Σ_i taps[i, c] · x[t + i, c], the rows of `x` from index `x_at` on. The caller has
    /// put kernel − 1 rows of history before the new rows.
    fn depthwise(&mut self, w: &Depthwise<Self>, x: &Self::Buf, x_at: usize, count: usize, y: &mut Self::Buf);
    /// LSTM over rows of `size` values: y = output of the last layer **+ x** (EnCodec's skip). `state`
    /// [layers, 2 (h, c), size] is carried from call to call.
    fn lstm(&mut self, w: &Lstm<Self>, x: &Self::Buf, xr: Rows, state: &mut Self::Buf, y: &mut Self::Buf, yr: Rows);
    /// Log-magnitude spectra (docs/reference/model-format.md, kind `istft`, encoder). Row t of `y` gets
    /// `bins` features (ln(|X|·4/n_fft + 1e-5) + 6)/3 of the window that ends before x[first_end + t·hop].
    fn spectrum(&mut self, stft: Stft, x: &Self::Buf, first_end: usize, y: &mut Self::Buf, yr: Rows);
    /// Spectra of polar coordinates: each row (log magnitudes, phases) of `x` \[2·half\] becomes a row (real,
    /// imaginary parts) of `y` \[2·half\]. Log magnitudes above `max_log` are lowered to it; the imaginary
    /// parts of the first and the last bin are 0.
    fn polar_spectra(&mut self, half: usize, max_log: f32, x: &Self::Buf, xr: Rows, y: &mut Self::Buf, yr: Rows);
    /// Spectra with locked phases (docs/reference/model-format.md, kind `istft`): each row (log magnitudes,
    /// noise shares) of `x` \[2·half\], half = n_fft/2 + 1, becomes a row (real, imaginary parts) of `y`
    /// \[2·half\]. Below bin `locked_from` the rows hold phases in place of noise shares. `state` [half + 1] is carried from call to call: the phases of the last row, 2³² a turn, and
    /// the number of rows so far.
    fn locked_spectra(
        &mut self,
        spec: LockedSpectra,
        x: &Self::Buf,
        xr: Rows,
        state: &mut Self::Ints,
        y: &mut Self::Buf,
        yr: Rows,
    );
    /// Inverse STFT, hop after hop. For each row (real, imaginary parts) of `x`: adds the windowed inverse
    /// to `tail` \[n_fft\], writes its first `hop` values divided by the steady envelope to y at `y_at +
    /// t·hop`, and moves the tail up by `hop`. `tail` is carried from call to call.
    fn istft(&mut self, stft: InverseStft, x: &Self::Buf, xr: Rows, tail: &mut Self::Buf, y: &mut Self::Buf, y_at: usize);
    /// Codes of rows of latents: row q of `codes` gets those of book q, one for each row of `z`. The rows of
    /// `z` hold the residual afterwards.
    fn quantize(&mut self, books: &[Book<Self>], z: &mut Self::Buf, zr: Rows, codes: &mut Self::Ints, cr: Rows);
    /// Latents of codes: each row of `z` becomes the sum, over the books, of the code vectors.
    fn dequantize(&mut self, books: &[Book<Self>], codes: &Self::Ints, cr: Rows, z: &mut Self::Buf, zr: Rows);
}
