//! The CPU backend.
//!
//! Each inner loop has a scalar version (`scalar.rs`, the specification) and SIMD versions; [`Isa`] chooses among them at run
//! time. Work is divided among a fixed pool of threads. Neither choice changes a bit of the result.

mod activations;
mod attention;
mod blocks;
#[cfg(target_arch = "x86_64")]
mod dot;
mod int8;
mod isa;
mod kernel;
mod kv;
mod linear;
mod locked;
mod lstm;
mod mat;
mod maximum;
mod mem;
mod observe;
mod pool;
mod quantize;
mod random;
mod sample;
mod scalar;
mod separator;
#[cfg(target_arch = "x86_64")]
mod simd;
mod stft;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use isa::Isa;
pub use kv::Kv;
pub use mat::Mat;
pub use mem::Store;
pub use observe::{Observer, Operation};
pub use sample::Sampler;

use crate::{
    Activations, Backend, BackendError, Book, Depthwise, EmbedInput, Format, Grid, Heads, InverseStft, LaneText, LayerRows,
    Linear, LockedSpectra, Lstm, Rows, Sampling, Stft, UNKNOWN,
};
use isa::Level;
use linear::{Product, product};
use observe::Observed;
use pool::{Pool, Shared};

/// The CPU backend: runs each operation when it is called.
pub struct CpuBackend {
    work: Workers,
    observer: Option<Observer>,
    activations: Activations,
    /// q, k and v of the rows of a step.
    qkv: Store<f32>,
    lstm: lstm::Scratch,
    quantize: quantize::Scratch,
    fourier: stft::Fourier,
    groups: separator::Scratch,
    /// 10000^(−i/(dim/2 − 1)), for the last `dim` that was used.
    wavelengths: Vec<f64>,
}

/// The thread pool with its scratch memory.
struct Workers {
    isa: Isa,
    pool: Pool,
    /// Packed rows of x, read by all threads.
    packed: Store<f32>,
    /// Scratch memory of each thread.
    own: Vec<Store<f32>>,
}

impl CpuBackend {
    /// A backend with `threads` threads (the caller is one of them; 0 counts as 1) and this machine's widest instructions.
    pub fn new(threads: usize) -> CpuBackend {
        CpuBackend::with_isa(threads, Isa::best())
    }

    /// The same with the given instructions.
    pub fn with_isa(threads: usize, isa: Isa) -> CpuBackend {
        let pool = Pool::new(threads);
        let own = (0..pool.threads()).map(|_| Store::default()).collect();
        CpuBackend {
            work: Workers { isa, pool, packed: Store::default(), own },
            observer: None,
            activations: Activations::default(),
            qkv: Store::default(),
            lstm: lstm::Scratch::default(),
            quantize: quantize::Scratch::default(),
            fourier: stft::Fourier::default(),
            groups: separator::Scratch::default(),
            wavelengths: Vec::new(),
        }
    }

    /// The same backend, whose q8 and q4 matrices will be multiplied by such activations. Matrices that exist are not changed.
    pub fn with_activations(self, activations: Activations) -> CpuBackend {
        CpuBackend { activations, ..self }
    }

    /// The instructions in use.
    pub fn isa(&self) -> Isa {
        self.work.isa
    }

    /// Calls `observer` where an operation starts and ends; `None`: calls nothing.
    pub fn observe(&mut self, observer: Option<Observer>) {
        self.observer = observer;
    }

    /// Operations that were divided among the threads so far, and threads that were woken for them because they had parked.
    pub fn fork_joins(&self) -> (u64, u64) {
        self.work.pool.fork_joins()
    }
}

/// The step in `pos`.
fn step(pos: &[i32]) -> usize {
    usize::try_from(pos[0]).unwrap_or_else(|_| panic!("position {}", pos[0]))
}

impl Backend for CpuBackend {
    type Buf = Store<f32>;
    type Ints = Vec<i32>;
    type Mat = Mat;
    type Kv = Kv;
    type Sampler = Sampler;
    type Graphs = ();

    fn run_recorded(&mut self, _: &mut (), _: &[usize], work: &mut dyn FnMut(&mut Self)) {
        work(self);
    }

    fn buf(&mut self, len: usize) -> Result<Store<f32>, BackendError> {
        Store::zeros(len, "a buffer")
    }

    fn ints(&mut self, len: usize) -> Result<Vec<i32>, BackendError> {
        let mut ints = Vec::new();
        let memory = |_| BackendError::Memory { bytes: len.saturating_mul(4), what: "integers".to_string() };
        ints.try_reserve_exact(len).map_err(memory)?;
        ints.resize(len, 0);
        Ok(ints)
    }

    fn mat(&mut self, rows: usize, cols: usize, data: &[f32], format: Format) -> Result<Mat, BackendError> {
        Mat::new(rows, cols, data, format, self.activations)
    }

    fn mat_q8(&mut self, rows: usize, cols: usize, ints: &[i8], scales: &[f32]) -> Result<Mat, BackendError> {
        Mat::q8(rows, cols, ints, scales, self.activations)
    }

    fn mat_q4(&mut self, rows: usize, cols: usize, nibbles: &[u8], scales: &[f32]) -> Result<Mat, BackendError> {
        Mat::q4(rows, cols, nibbles, scales, self.activations)
    }

    fn mat_dequantized(&mut self, rows: usize, cols: usize, ints: &[i8], scales: &[f32]) -> Result<Mat, BackendError> {
        Mat::dequantized(rows, cols, ints, scales)
    }

    fn kv(&mut self, layers: usize, lanes: usize, steps: usize, heads: Heads, format: Format) -> Result<Kv, BackendError> {
        Kv::new(layers, lanes, steps, heads, format)
    }

    fn sampler(&mut self, grid: &Grid) -> Result<Sampler, BackendError> {
        Sampler::new(grid, self.work.pool.threads())
    }

    fn write(&mut self, dst: &mut Store<f32>, at: usize, src: &[f32]) {
        dst[at..at + src.len()].copy_from_slice(src);
    }

    fn read(&mut self, src: &Store<f32>, at: usize, dst: &mut [f32]) {
        dst.copy_from_slice(&src[at..at + dst.len()]);
    }

    fn write_ints(&mut self, dst: &mut Vec<i32>, at: usize, src: &[i32]) {
        dst[at..at + src.len()].copy_from_slice(src);
    }

    fn read_ints(&mut self, src: &Vec<i32>, at: usize, dst: &mut [i32]) {
        dst.copy_from_slice(&src[at..at + dst.len()]);
    }

    fn copy(&mut self, src: &Store<f32>, from: Rows, dst: &mut Store<f32>, to: Rows, width: usize) {
        let _observed = Observed::new(self.observer, Operation::Copy);
        assert_eq!(from.count, to.count, "copy: rows of both sides");
        for r in 0..from.count {
            let src = &src[from.at + r * from.stride..][..width];
            dst[to.at + r * to.stride..][..width].copy_from_slice(src);
        }
    }

    fn shift(&mut self, buf: &mut Store<f32>, from: usize, to: usize, len: usize) {
        let _observed = Observed::new(self.observer, Operation::Copy);
        buf.copy_within(from..from + len, to);
    }

    fn zero(&mut self, buf: &mut Store<f32>, at: usize, len: usize) {
        buf[at..at + len].fill(0.0);
    }

    fn embed(&mut self, input: &EmbedInput<Self>, pos: &Vec<i32>, n: usize, x: &mut Store<f32>) {
        let _observed = Observed::new(self.observer, Operation::Embed);
        let EmbedInput { grid, tables, controls, seq, ctl, masked } = *input;
        let (first, streams, steps) = (step(pos), tables.len(), grid.steps);
        assert!(first + n <= steps, "embed: steps {first}..{} of {steps}", first + n);
        assert_eq!(streams, grid.cards.len(), "embed: tables and streams");
        let dim = tables[0].cols;
        let half = dim / 2;
        if self.wavelengths.len() != half {
            let wavelength = |i: usize| 10_000f64.powf(-(i as f64) / (half.max(2) - 1) as f64);
            self.wavelengths = (0..half).map(wavelength).collect();
        }
        for i in 0..n {
            let s = first + i;
            // The sinusoid is that of the first lane.
            let (cos, sin) = x[i * dim..][..2 * half].split_at_mut(half);
            for ((wavelength, cos), sin) in self.wavelengths.iter().zip(cos).zip(sin) {
                let (s, c) = (s as f64 * wavelength).sin_cos();
                (*cos, *sin) = (c as f32, s as f32);
            }
            x[i * dim..][2 * half..dim].fill(0.0);
            for lane in 1..grid.songs * grid.branches {
                x.copy_within(i * dim..(i + 1) * dim, (lane * n + i) * dim);
            }
            for lane in 0..grid.songs * grid.branches {
                let (song, branch) = (lane / grid.branches, lane % grid.branches);
                let at = (lane * n + i) * dim;
                let row = &mut x[at..at + dim];
                for (k, table) in tables.iter().enumerate() {
                    let token = seq[(song * streams + k) * steps + s];
                    let special = token == UNKNOWN || masked[branch * streams + k] != 0;
                    table.row(if special { grid.cards[k] } else { token as usize }, |j, w| row[j] += w);
                }
                for (c, table) in controls.iter().enumerate() {
                    table.row(ctl[(branch * controls.len() + c) * steps + s] as usize, |j, w| row[j] += w);
                }
            }
        }
    }

    fn qkv(&mut self, w: &Linear<Self>, x: &Store<f32>, at: LayerRows, pos: &Vec<i32>, q: &mut Store<f32>, kv: &mut Kv) {
        let _observed = Observed::new(self.observer, Operation::Product);
        let (rows, n, dim, first) = (at.count(), at.n, w.weight.cols, step(pos));
        assert_eq!(w.weight.rows, 3 * dim, "qkv: w is [3·dim, dim]");
        assert_eq!(kv.heads.heads * kv.heads.head_dim, dim, "qkv: the cache's heads");
        self.qkv.grow(rows * 3 * dim);
        product(&mut self.work, &Product::of(w), x, Rows::packed(rows, dim), &mut self.qkv, Rows::packed(rows, 3 * dim));
        for (row, qkv) in self.qkv.chunks_exact(3 * dim).take(rows).enumerate() {
            q[row * dim..][..dim].copy_from_slice(&qkv[..dim]);
            kv.put(at.layer, row / n, first + row % n, &qkv[dim..2 * dim], &qkv[2 * dim..]);
        }
    }

    fn attend(&mut self, q: &Store<f32>, at: LayerRows, pos: &Vec<i32>, kv: &Kv, out: &mut Store<f32>) {
        let _observed = Observed::new(self.observer, Operation::Attend);
        let first = step(pos);
        assert!(first + at.n <= kv.steps, "attend: steps {first}..{} of {}", first + at.n, kv.steps);
        attention::attend(&mut self.work, q, at, kv, |_, i| first + i + 1, out);
    }

    fn set_text(&mut self, text: &mut Kv, at: LaneText, k: &Store<f32>, v: &Store<f32>) {
        let LaneText { layer, lane, len } = at;
        let dim = text.heads.heads * text.heads.head_dim;
        for s in 0..len {
            text.put(layer, lane, s, &k[s * dim..][..dim], &v[s * dim..][..dim]);
        }
        text.lens[lane] = len;
    }

    fn attend_text(&mut self, q: &Store<f32>, at: LayerRows, text: &Kv, out: &mut Store<f32>) {
        let _observed = Observed::new(self.observer, Operation::Attend);
        if text.lens.iter().take(at.lanes).all(|len| *len == 0) {
            return out[..at.count() * text.heads.heads * text.heads.head_dim].fill(0.0);
        }
        attention::attend(&mut self.work, q, at, text, |lane, _| text.lens[lane], out);
    }

    fn linear(&mut self, w: &Linear<Self>, x: &Store<f32>, xr: Rows, y: &mut Store<f32>, yr: Rows) {
        let _observed = Observed::new(self.observer, Operation::Product);
        product(&mut self.work, &Product::of(w), x, xr, y, yr);
    }

    fn set_sampling(&mut self, sampler: &mut Sampler, sampling: &Sampling) {
        sampler.set(sampling);
    }

    fn sample(&mut self, sampler: &mut Sampler, logits: &Store<f32>, n: usize, pos: &mut Vec<i32>, seq: &mut Vec<i32>) {
        let _observed = Observed::new(self.observer, Operation::Sample);
        let last = (step(pos) + n).checked_sub(1).expect("sample: at least one step was fed");
        sampler.sample(&mut self.work, logits, last, seq);
        pos[0] += n as i32;
    }

    fn advance(&mut self, n: usize, pos: &mut Vec<i32>) {
        let _observed = Observed::new(self.observer, Operation::Advance);
        pos[0] += n as i32;
    }

    fn nonfinite_samples(&mut self, sampler: &Sampler) -> u32 {
        sampler.nonfinite()
    }

    fn elu(&mut self, x: &Store<f32>, y: &mut Store<f32>, len: usize) {
        let _observed = Observed::new(self.observer, Operation::Convolve);
        const ITEM: usize = 16 << 10;
        let (isa, x, y) = (self.work.isa, &x[..len], Shared::new(&mut y[..len]));
        self.work.pool.each(len.div_ceil(ITEM), &|_, item| {
            let (at, len) = (item * ITEM, ITEM.min(len - item * ITEM));
            // SAFETY: items do not overlap.
            kernel::elu(isa, &x[at..at + len], unsafe { y.slice(at, len) });
        });
    }

    fn depthwise(&mut self, w: &Depthwise<Self>, x: &Store<f32>, x_at: usize, count: usize, y: &mut Store<f32>) {
        let _observed = Observed::new(self.observer, Operation::Convolve);
        const ITEM: usize = 16;
        let Depthwise { ref taps, ref bias, kernel, dim } = *w;
        assert!(kernel > 0 && taps.len() >= kernel * dim && bias.len() >= dim, "depthwise: weights of {kernel} × {dim}");
        let (isa, taps, bias) = (self.work.isa, &taps[..kernel * dim], &bias[..dim]);
        let x = &x[x_at..Rows { count, at: x_at, stride: dim }.end(kernel * dim).max(x_at)];
        let y = Shared::new(&mut y[..count * dim]);
        self.work.pool.each(count.div_ceil(ITEM), &|_, item| {
            for t in item * ITEM..count.min((item + 1) * ITEM) {
                // SAFETY: rows do not overlap.
                let y = unsafe { y.slice(t * dim, dim) };
                kernel::depthwise(isa, taps, bias, kernel, &x[t * dim..][..kernel * dim], y);
            }
        });
    }

    fn lstm(&mut self, w: &Lstm<Self>, x: &Store<f32>, xr: Rows, state: &mut Store<f32>, y: &mut Store<f32>, yr: Rows) {
        let _observed = Observed::new(self.observer, Operation::Lstm);
        self.lstm.run(&mut self.work, w, (x, xr), state, (y, yr));
    }

    fn spectrum(&mut self, stft: Stft, x: &Store<f32>, first_end: usize, y: &mut Store<f32>, yr: Rows) {
        let _observed = Observed::new(self.observer, Operation::Spectrum);
        self.fourier.spectrum(&mut self.work, stft, x, first_end, y, yr);
    }

    fn polar_spectra(&mut self, half: usize, max_log: f32, x: &Store<f32>, xr: Rows, y: &mut Store<f32>, yr: Rows) {
        let _observed = Observed::new(self.observer, Operation::Polar);
        stft::polar_spectra(&mut self.work, half, max_log, x, xr, y, yr);
    }

    fn locked_spectra(
        &mut self,
        spec: LockedSpectra,
        x: &Store<f32>,
        xr: Rows,
        state: &mut Vec<i32>,
        y: &mut Store<f32>,
        yr: Rows,
    ) {
        let _observed = Observed::new(self.observer, Operation::Polar);
        self.fourier.locked_spectra(&mut self.work, spec, (x, xr), state, (y, yr));
    }

    fn istft(&mut self, stft: InverseStft, x: &Store<f32>, xr: Rows, tail: &mut Store<f32>, y: &mut Store<f32>, y_at: usize) {
        let _observed = Observed::new(self.observer, Operation::Istft);
        self.fourier.istft(&mut self.work, stft, (x, xr), tail, y, y_at);
    }

    fn quantize(&mut self, books: &[Book<Self>], z: &mut Store<f32>, zr: Rows, codes: &mut Vec<i32>, cr: Rows) {
        let _observed = Observed::new(self.observer, Operation::Quantize);
        self.quantize.run(&mut self.work, books, (z, zr), (codes, cr));
    }

    fn dequantize(&mut self, books: &[Book<Self>], codes: &Vec<i32>, cr: Rows, z: &mut Store<f32>, zr: Rows) {
        let _observed = Observed::new(self.observer, Operation::Dequantize);
        quantize::dequantize(books, (codes, cr), (z, zr));
    }
}
