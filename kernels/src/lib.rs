//! Pure compute: the fused operations of one step, once as a trait ([`Backend`]), and their players.
//!
//! The engine writes the transformer's step and the codecs **once**, over [`Backend`]. [`cpu::CpuBackend`] runs an operation
//! at once; [`cuda::CudaBackend`] launches a kernel on its stream and records a step as a graph ([`Backend::replay`]). For that
//! second player's sake everything that changes from step to step (position, tokens, sampling parameters, the random
//! counter) lives in the player's memory ([`Backend::Ints`], [`Backend::Buf`]) and never in an argument.
//!
//! # Layout
//! Activations are f32, **row-major, one row a frame or a step**, channels contiguous: `[rows, channels]`. With it a
//! convolution is a [`Linear`] over overlapping rows ([`Rows`] with `stride < cols`), and so is a transposed one.
//! A batch of `lanes` with `n` steps each has row `lane * n + i`.
//!
//! # Exactness
//! Each output of a [`Linear`] is **one accumulator over k in ascending order, by fused multiply-add**, whatever the
//! number of rows, lanes, threads or the instruction set (q8 and q4: one accumulator per block of 32, then
//! `acc = fma(scale, block, acc)`). The accumulator starts at 0; then `y = act(acc + bias)`, and with `add` `y = y_old + act(acc + bias)`. So a prefill equals the same steps one by one **bit for bit**, a batch equals its
//! lanes, AVX-512 equals the scalar twin, and a render does not depend on how it was cut into chunks.

use thiserror::Error;

pub mod cpu;
pub mod cuda;
pub mod denormal;
pub mod quant;

/// What can go wrong in a player: sizes that don't fit together, or memory that can't be had.
#[derive(Debug, Error)]
pub enum BackendError {
    /// Shapes handed to an operation do not fit.
    #[error("{op}: {what}")]
    Shape {
        /// Operation at fault.
        op: &'static str,
        /// What was found, and what would be right.
        what: String,
    },
    /// The player's memory is full.
    #[error("out of memory: {bytes} bytes for {what}")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// For what.
        what: String,
    },
    /// The player is gone ([`Backend::fault`]).
    #[error("{0}")]
    Lost(String),
}

/// Where rows of a matrix lie in a buffer: row `r` begins at `at + r * stride`. Rows may overlap (convolution).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// How many rows.
    pub count: usize,
    /// Index of the first value of the first row.
    pub at: usize,
    /// Values from one row's start to the next one's.
    pub stride: usize,
}

impl Rows {
    /// `count` rows of `width` values each, packed from index 0.
    pub fn packed(count: usize, width: usize) -> Self {
        Rows { count, at: 0, stride: width }
    }
}

/// How a weight matrix is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 4 bytes a weight.
    F32,
    /// 2 bytes a weight.
    Bf16,
    /// Blocks of 32 weights along a row: 32 int8 and one f32 scale, 1.125 bytes a weight.
    Q8,
    /// The same with whole numbers from −8 to 7, two a byte: 0.625 bytes a weight.
    Q4,
}

/// What a [`Linear`] does to its sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    None,
    /// Exact GELU, x/2 · (1 + erf(x/√2)).
    Gelu,
    /// max(x, 0).
    Relu,
}

/// Normalisation of a row before its product: LayerNorm (with `bias`) or RMSNorm (without).
pub struct Norm<B: Backend + ?Sized> {
    /// Scale [cols].
    pub weight: B::Buf,
    /// Shift [cols]: present for LayerNorm, absent for RMSNorm (which takes no mean off).
    pub bias: Option<B::Buf>,
    /// Added to the variance (LayerNorm) or the mean square (RMSNorm).
    pub eps: f32,
}

/// `y = act(W · norm(x) + bias)`, or `y += …` where `add`: every matrix product of the step and of the codecs.
pub struct Linear<B: Backend + ?Sized> {
    /// Weights [rows, cols].
    pub weight: B::Mat,
    /// Bias [rows].
    pub bias: Option<B::Buf>,
    /// Normalisation of each input row first (rows of `cols` values).
    pub norm: Option<Norm<B>>,
    /// What follows.
    pub act: Act,
    /// Add to what `y` holds (the residual) instead of overwriting it. `act` comes before the addition.
    pub add: bool,
}

/// Shape of self-attention in one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Number of heads.
    pub heads: usize,
    /// Columns of one head; `dim = heads * head_dim`; head `h` owns columns `h*head_dim..`.
    pub head_dim: usize,
}

/// Two-layer-or-more LSTM in PyTorch's convention (gates i, f, g, o in the 4H rows; docs/explanation/musicgen-stem.md 3.6).
pub struct Lstm<B: Backend + ?Sized> {
    /// Per layer: input weights [4H, H] with both biases already added up as the bias.
    pub input: Vec<Linear<B>>,
    /// Per layer: recurrent weights [4H, H].
    pub hidden: Vec<B::Mat>,
    /// H.
    pub size: usize,
}

/// One book of a residual quantizer.
pub enum Book<B: Backend + ?Sized> {
    /// argmax −(‖r‖² − 2 r·e + ‖e‖²), first maximum wins; r −= e. (docs/explanation/musicgen-stem.md 3.7a)
    Euclidean {
        /// Codes [card, dim].
        codes: B::Mat,
        /// ‖e‖² of each code [card].
        norms: B::Buf,
    },
    /// Factorised cosine kind (3.7b): e = W_in r + b_in; argmax ⟨e/‖e‖, c/‖c‖⟩; r −= W_out c + b_out.
    Factorised {
        /// [code_dim, dim] with bias.
        project_in: Linear<B>,
        /// c/‖c‖ (floor 1e-12) [card, code_dim].
        unit: B::Mat,
        /// W_out c + b_out for every code: what a code stands for, [card, dim].
        codes: B::Mat,
    },
}

/// Sampling parameters of one run; [`Backend::set_sampling`] puts them into the player's memory between steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// ≤ 0: greedy (first maximum wins).
    pub temperature: f32,
    /// Keep p ≥ the k-th largest, ties kept; 0: all. Used only when `top_p` is 0.
    pub top_k: u32,
    /// Nucleus: drop codes whose cumulative probability *excluding itself* exceeds this; 0: off.
    pub top_p: f32,
    /// Guidance: logits = null + (cond − null) · (1 + (cfg − 1) · the stream's [`Grid::cfg_scale`]). Used only where a song has two lanes.
    pub cfg: f32,
    /// Key of the random numbers.
    pub seed: u64,
    /// Absolute frame of the run's grid frame 0: random numbers are keyed by absolute frame, so that windows of one
    /// song never repeat each other's dice.
    pub frame_base: i64,
}

/// Shape of the token grid of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Songs generated side by side (variations).
    pub songs: usize,
    /// Lanes of one song: 2 with guidance (0 = conditioned, 1 = null), else 1. Lane = song · branches + branch.
    pub branches: usize,
    /// Codes of each stream; `cards[k]` is also that stream's special id.
    pub cards: Vec<usize>,
    /// Delay of each stream in this run (lag included).
    pub delays: Vec<usize>,
    /// How much of the guidance each stream takes: 1 all of it, 0 none.
    pub cfg_scale: Vec<f32>,
    /// Steps the sequence has room for.
    pub steps: usize,
}

/// A slot of the sequence not known yet: to be sampled.
pub const UNKNOWN: i32 = -1;

/// The operations of a step, in step order, then those of the codecs. All shapes in rows × columns.
///
/// Lengths are checked; a misfit is [`BackendError::Shape`] from a constructor and a panic from an operation (it is a fault
/// of the engine, never of a file). Operations allocate nothing after their first call with the largest size.
pub trait Backend {
    /// f32 values in the player's memory.
    type Buf: Send;
    /// i32 values in the player's memory: tokens, positions, codes.
    type Ints: Send;
    /// A packed weight matrix [rows, cols].
    type Mat: Send + Sync;
    /// A KV cache: `layers × lanes × steps × dim`, keys and values.
    type Kv: Send;
    /// Sampling parameters, grid shape and scratch of [`Backend::pick`].
    type Picker: Send;
    /// Recorded work ([`Backend::replay`]).
    type Graph: Default + Send;
    /// [`Backend::replay`] records: its second time with a graph costs memory, later ones none.
    const RECORDS: bool = false;

    // --- the player itself ----------------------------------------------------------------------------------------
    /// Why the player can't play any more (a GPU that is lost or full), in a sentence. What it gave since is worthless: reads
    /// give zeros. None: all is well.
    fn fault(&self) -> Option<&str> {
        None
    }
    /// Does `work`, which must be the same launches on the same memory each time it is done with this `graph`: a GPU records it once
    /// and replays it. It may not read, write or make memory.
    fn replay(&mut self, graph: &mut Self::Graph, work: &mut dyn FnMut(&mut Self));

    // --- memory -----------------------------------------------------------------------------------------------
    /// `len` zeros.
    fn buf(&mut self, len: usize) -> Result<Self::Buf, BackendError>;
    /// `len` zeros.
    fn ints(&mut self, len: usize) -> Result<Self::Ints, BackendError>;
    /// Packs row-major f32 weights [rows, cols] into `format`. Q8 and Q4 need `cols % 32 == 0` (else they are kept as bf16).
    fn mat(&mut self, rows: usize, cols: usize, data: &[f32], format: Format) -> Result<Self::Mat, BackendError>;
    /// The same from a q8 file as it stands: ints [rows, cols], scales [rows, cols/32].
    fn mat_q8(&mut self, rows: usize, cols: usize, ints: &[i8], scales: &[f32]) -> Result<Self::Mat, BackendError>;
    /// The same from a q4 file as it stands: nibbles [rows, cols/2], the first of two in the low half and 8 more than it stands
    /// for, scales [rows, cols/32].
    fn mat_q4(&mut self, rows: usize, cols: usize, nibbles: &[u8], scales: &[f32]) -> Result<Self::Mat, BackendError>;
    /// An empty cache of keys and values for `heads`; `format` F32 or Bf16. It holds the head shape, so that a player may keep
    /// each head's keys together; [`Backend::attend`] and [`Backend::attend_text`] take the shape from it.
    fn kv(&mut self, layers: usize, lanes: usize, steps: usize, heads: Heads, format: Format) -> Result<Self::Kv, BackendError>;
    /// A picker for runs of this grid.
    fn picker(&mut self, grid: &Grid) -> Result<Self::Picker, BackendError>;
    /// Writes `src` at index `at`.
    fn write(&mut self, dst: &mut Self::Buf, at: usize, src: &[f32]);
    /// Reads `dst.len()` values from index `at`; waits for what was launched before.
    fn read(&mut self, src: &Self::Buf, at: usize, dst: &mut [f32]);
    /// Writes `src` at index `at`.
    fn write_ints(&mut self, dst: &mut Self::Ints, at: usize, src: &[i32]);
    /// Reads `dst.len()` values from index `at`; waits for what was launched before.
    fn read_ints(&mut self, src: &Self::Ints, at: usize, dst: &mut [i32]);
    /// Copies `rows` of `width` values from `src` to `dst` rows.
    fn copy(&mut self, src: &Self::Buf, from: Rows, dst: &mut Self::Buf, to: Rows, width: usize);
    /// Moves `len` values inside one buffer, as memmove (streaming history).
    fn shift(&mut self, buf: &mut Self::Buf, from: usize, to: usize, len: usize);
    /// Sets `len` values from `at` to zero.
    fn zero(&mut self, buf: &mut Self::Buf, at: usize, len: usize);

    // --- the transformer's step ----------------------------------------------------------------------------------
    /// Embedding sum: for lane `l` = (song, branch) and i in 0..n, s = pos + i: x[l*n+i] = sinusoid(s) + Σ_k tables[k][seq[song, k, s]] +
    /// Σ_c controls[c][ctl[branch, c, s]] (docs/explanation/musicgen-stem.md section 5). `seq` [songs, K, steps], `ctl` [branches, C, steps], `masked`
    /// [branches, K] and `pos` [1] in the player's memory. An UNKNOWN token counts as special, and so does every token of a stream to
    /// which the branch is `masked` (not 0).
    fn embed(
        &mut self,
        grid: &Grid,
        tables: &[Self::Mat],
        controls: &[Self::Mat],
        seq: &Self::Ints,
        ctl: &Self::Ints,
        masked: &Self::Ints,
        pos: &Self::Ints,
        n: usize,
        x: &mut Self::Buf,
    );
    /// q = Wq·norm(x) into `q` [lanes*n, dim]; Wk·norm(x), Wv·norm(x) appended to `kv` of `layer` at steps pos..pos+n. `w` [3·dim, dim].
    fn qkv(
        &mut self,
        w: &Linear<Self>,
        x: &Self::Buf,
        lanes: usize,
        n: usize,
        layer: usize,
        pos: &Self::Ints,
        q: &mut Self::Buf,
        kv: &mut Self::Kv,
    );
    /// Causal attention: row (lane, i) attends to steps 0..=pos+i of its lane's cache; softmax in f32, scale 1/√head_dim. `out` [lanes*n, dim].
    /// A row's result does not depend on n or on the other lanes.
    fn attend(
        &mut self,
        q: &Self::Buf,
        lanes: usize,
        n: usize,
        layer: usize,
        pos: &Self::Ints,
        kv: &Self::Kv,
        out: &mut Self::Buf,
    );
    /// Writes keys and values of one lane's text: `k`, `v` [len, dim], into `text` of `layer`, and sets that lane's length.
    fn set_text(&mut self, text: &mut Self::Kv, layer: usize, lane: usize, len: usize, k: &Self::Buf, v: &Self::Buf);
    /// Cross-attention to all `len` steps of the lane's text; a lane of length 0 (the null condition) gets zeros.
    fn attend_text(&mut self, q: &Self::Buf, lanes: usize, n: usize, layer: usize, text: &Self::Kv, out: &mut Self::Buf);
    /// Any matrix product: rows `xr` of `x` (each `cols` values) to rows `yr` of `y` (each `rows` values).
    fn linear(&mut self, w: &Linear<Self>, x: &Self::Buf, xr: Rows, y: &mut Self::Buf, yr: Rows);
    /// Puts sampling parameters into the picker (between steps; takes effect at the next pick).
    fn set_sampling(&mut self, picker: &mut Self::Picker, s: &Sampling);
    /// Guidance, temperature, top-k or top-p and the draw, for step s = pos + n − 1: from `logits` [lanes, Σ cards] (stream k's codes after those
    /// of streams before it) write seq[song, k, s+1] **where it is UNKNOWN**, special where the pattern has no frame (frame = s − delays[k] < 0).
    /// Then pos += n. Nothing is written where s + 1 is past the sequence. A logit that is not finite (after guidance) counts as −∞; if none is
    /// finite, code 0 and `faults` + 1.
    ///
    /// A draw is the first maximum over the kept codes of logit/T + Gumbel noise, −ln(−ln u), the same dice on every player: Philox4x32-10 with
    /// key (low, high) 32 bits of `seed` and counter words (code / 4, low 32 bits of the absolute frame, stream, song); output word code mod 4
    /// becomes u = ((word >> 9) + 0.5) · 2^-23. Order and rounding of the rest: `cpu/pick.rs`.
    fn pick(&mut self, picker: &mut Self::Picker, logits: &Self::Buf, n: usize, pos: &mut Self::Ints, seq: &mut Self::Ints);
    /// pos += n without a draw (prefill of known steps).
    fn advance(&mut self, n: usize, pos: &mut Self::Ints);
    /// How many picks met logits without one finite value, since the picker was made.
    fn faults(&mut self, picker: &Self::Picker) -> u32;

    // --- the codecs ----------------------------------------------------------------------------------------------
    /// y = elu(x), α = 1, over `len` values from 0.
    fn elu(&mut self, x: &Self::Buf, y: &mut Self::Buf, len: usize);
    /// Depthwise convolution (fused multiply-adds over ascending i, from the bias): y[t, c] = bias[c] + Σ_i w[i, c] · x[(t + i), c], `w` [kernel, dim] (transposed from the file), t in 0..count; the caller
    /// has put kernel − 1 rows of history before.
    fn depthwise(
        &mut self,
        w: &Self::Buf,
        bias: &Self::Buf,
        kernel: usize,
        dim: usize,
        x: &Self::Buf,
        x_at: usize,
        count: usize,
        y: &mut Self::Buf,
    );
    /// LSTM over `count` rows of `size` values with carried `state` [layers, 2 (h, c), size]; y = output of the last layer **+ x** (EnCodec's skip).
    fn lstm(&mut self, w: &Lstm<Self>, x: &Self::Buf, xr: Rows, state: &mut Self::Buf, y: &mut Self::Buf, yr: Rows);
    /// Log-magnitude spectra (docs/reference/model-format.md, kind `istft`, encoder): for frame t in 0..count, the window that ends at
    /// x[first_end + t*hop] (exclusive); `bins` features from column `col` of y's rows: (ln(|X|·4/n_fft + 1e-5) + 6)/3.
    fn spectrum(
        &mut self,
        n_fft: usize,
        bins: usize,
        x: &Self::Buf,
        first_end: usize,
        hop: usize,
        count: usize,
        y: &mut Self::Buf,
        yr: Rows,
        col: usize,
    );
    /// One hop after another of the inverse STFT: for each of `count` rows (l, p) of `x` add the windowed inverse to `tail` [n_fft] (carried between
    /// calls), write its first `hop` values, divided by the steady envelope, to y at `y_at + t*hop`, and move the tail up by `hop`.
    fn istft(
        &mut self,
        n_fft: usize,
        hop: usize,
        max_log: f32,
        x: &Self::Buf,
        xr: Rows,
        tail: &mut Self::Buf,
        y: &mut Self::Buf,
        y_at: usize,
    );
    /// Codes of rows of latents, all books: `z` rows are used up (they hold the residual after). `codes` [books, codes_stride] from column `at`.
    fn quantize(
        &mut self,
        books: &[Book<Self>],
        dim: usize,
        z: &mut Self::Buf,
        zr: Rows,
        codes: &mut Self::Ints,
        codes_stride: usize,
        at: usize,
    );
    /// Latents of codes: z rows = Σ_q codes_q[code].
    fn dequantize(
        &mut self,
        books: &[Book<Self>],
        dim: usize,
        codes: &Self::Ints,
        codes_stride: usize,
        at: usize,
        z: &mut Self::Buf,
        zr: Rows,
    );
}
