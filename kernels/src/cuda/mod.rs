//! The CUDA backend: our own kernels (kernels/cu), whose PTX ships with the program, launched through cudarc.
//!
//! The driver is looked up at run time. On a machine without one, [`CudaBackend::new`] returns a [`CudaError`] of one sentence, and
//! the caller uses the CPU instead.
//!
//! The kernels have their own order of sums, the same for any number of rows, lanes and steps (linear.cu, attention.cu). So, bit
//! for bit, a prefill equals its steps and a batch equals its lanes. GPU and CPU sums differ in their last bits; equal logits give
//! equal tokens on both (guidance, top-k, top-p and random numbers are exact).

mod attention;
mod device;
mod fourier;
mod graph;
mod kernel;
mod kv;
mod linear;
mod lstm;
mod mat;
mod mem;
mod probe;
mod quantize;
mod rows;
mod sample;

pub use graph::Graphs;
pub use kv::Kv;
pub use mat::Mat;
pub use mem::Array;
pub use probe::{CudaError, devices};
pub use sample::Sampler;

use crate::{
    Backend, BackendError, Book, Depthwise, EmbedInput, Format, Grid, Heads, InverseStft, LaneText, LayerRows, Linear,
    LockedSpectra, Lstm, Rows, Sampling, Stft,
};
use cudarc::driver::result;
use device::Device;
use kernel::{Kernel, MatArgument, TABLES};

/// The CUDA backend: one device, one stream.
pub struct CudaBackend {
    device: Device,
    attention: attention::Scratch,
    lstm: lstm::Scratch,
    quantize: quantize::Scratch,
    fourier: fourier::Fourier,
    /// Scratch memory of [`Backend::shift`].
    moved: Option<Array<f32>>,
    /// Sinusoids [steps, dim] of the last width.
    sinusoids: Option<(usize, Array<f32>)>,
}

/// Name, capability and memory of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its name, as the driver gives it.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    /// Free bytes and all bytes of its memory.
    pub memory: (usize, usize),
}

impl CudaBackend {
    /// A backend on device `ordinal`, counted from 0.
    ///
    /// # Errors
    /// There is no usable driver or device; the error is one sentence.
    pub fn new(ordinal: usize) -> Result<CudaBackend, CudaError> {
        Ok(CudaBackend {
            device: Device::new(ordinal)?,
            attention: attention::Scratch::default(),
            lstm: lstm::Scratch::default(),
            quantize: quantize::Scratch::default(),
            fourier: fourier::Fourier::default(),
            moved: None,
            sinusoids: None,
        })
    }

    /// Name, capability and memory of the device.
    ///
    /// # Errors
    /// The device is lost.
    pub fn about(&mut self) -> Result<About, CudaError> {
        self.device.bind();
        let context = &self.device.context;
        let error = |e| CudaError::new("asking about the device", e);
        let name = context.name().map_err(error)?;
        let capability = context.compute_capability().map_err(error)?;
        Ok(About { name, capability, memory: result::mem_get_info().map_err(error)? })
    }

    /// Sets whether products of 64 rows and more use tensor cores, where the device has them for bf16 and the weights are bf16, q8 or
    /// q4. A prefill is then several times faster, and close to its steps (sums differ by about 1e-5) instead of equal bit for bit.
    /// Off by default: live play needs equal bits, a render does not.
    pub fn tiles(&mut self, on: bool) {
        self.device.tiles = on;
    }

    /// Kernels launched since the backend was made, those of replayed graphs not counted.
    pub fn launches(&self) -> u64 {
        self.device.launches
    }

    /// Waits until everything launched so far is done.
    pub fn wait(&mut self) {
        self.device.wait();
    }

    /// Address of the sinusoids for `steps` steps of `dim` columns, which the host computes in f64.
    fn sinusoids(&mut self, steps: usize, dim: usize) -> u64 {
        if self.sinusoids.as_ref().is_none_or(|(d, a)| *d != dim || a.len() < steps * dim) {
            let half = dim / 2;
            let mut all = vec![0.0; steps * dim];
            for (s, row) in all.chunks_exact_mut(dim).enumerate() {
                for i in 0..half {
                    let wavelength = 10_000f64.powf(-(i as f64) / (half.max(2) - 1) as f64);
                    let (sin, cos) = (s as f64 * wavelength).sin_cos();
                    (row[i], row[half + i]) = (cos as f32, sin as f32);
                }
            }
            match Array::of(&mut self.device, &all, "sinusoids") {
                Ok(array) => self.sinusoids = Some((dim, array)),
                Err(e) => _ = self.device.failure.get_or_insert(e.to_string()),
            }
        }
        self.sinusoids.as_ref().map_or(0, |(_, array)| self.device.at(array))
    }
}

/// A grid of blocks of 256 threads for `items` values. Above 2^20 values each thread takes several.
fn blocks(items: usize) -> (u32, u32) {
    (items.div_ceil(256).clamp(1, 4096) as u32, 1)
}

impl Backend for CudaBackend {
    type Buf = Array<f32>;
    type Ints = Array<i32>;
    type Mat = Mat;
    type Kv = Kv;
    type Sampler = Sampler;
    type Graphs = Graphs;
    const GRAPH_SIZES: &'static [usize] = &[4, 1];

    fn failure(&self) -> Option<&str> {
        self.device.failure.as_deref()
    }

    fn run_recorded(&mut self, graphs: &mut Graphs, key: &[usize], work: &mut dyn FnMut(&mut Self)) {
        graph::run_recorded(self, graphs, key, work);
    }

    fn buf(&mut self, len: usize) -> Result<Array<f32>, BackendError> {
        Array::zeros(&mut self.device, len, "a buffer")
    }

    fn ints(&mut self, len: usize) -> Result<Array<i32>, BackendError> {
        Array::zeros(&mut self.device, len, "integers")
    }

    fn mat(&mut self, rows: usize, cols: usize, data: &[f32], format: Format) -> Result<Mat, BackendError> {
        Mat::new(&mut self.device, rows, cols, data, format)
    }

    fn mat_q8(&mut self, rows: usize, cols: usize, ints: &[i8], scales: &[f32]) -> Result<Mat, BackendError> {
        Mat::q8(&mut self.device, rows, cols, ints, scales)
    }

    fn mat_q4(&mut self, rows: usize, cols: usize, nibbles: &[u8], scales: &[f32]) -> Result<Mat, BackendError> {
        Mat::q4(&mut self.device, rows, cols, nibbles, scales)
    }

    fn kv(&mut self, layers: usize, lanes: usize, steps: usize, heads: Heads, format: Format) -> Result<Kv, BackendError> {
        Kv::new(&mut self.device, layers, lanes, steps, heads, format)
    }

    fn sampler(&mut self, grid: &Grid) -> Result<Sampler, BackendError> {
        Sampler::new(&mut self.device, grid)
    }

    fn write(&mut self, dst: &mut Array<f32>, at: usize, src: &[f32]) {
        self.device.write(dst, at, src);
    }

    fn read(&mut self, src: &Array<f32>, at: usize, dst: &mut [f32]) {
        self.device.read(src, at, dst);
    }

    fn write_ints(&mut self, dst: &mut Array<i32>, at: usize, src: &[i32]) {
        self.device.write(dst, at, src);
    }

    fn read_ints(&mut self, src: &Array<i32>, at: usize, dst: &mut [i32]) {
        self.device.read(src, at, dst);
    }

    fn copy(&mut self, src: &Array<f32>, from: Rows, dst: &mut Array<f32>, to: Rows, width: usize) {
        assert_eq!(from.count, to.count, "copy: rows of both sides");
        assert!(from.end(width) <= src.len() && to.end(width) <= dst.len(), "copy: rows of {width} out of bounds");
        if from.count * width == 0 {
            return;
        }
        let arguments = kernel::CopyRows {
            src: self.device.at(src),
            dst: self.device.at(dst),
            from_at: from.at as i64,
            from_stride: from.stride as i64,
            to_at: to.at as i64,
            to_stride: to.stride as i64,
            rows: from.count as i32,
            width: width as i32,
        };
        self.device.launch(Kernel::CopyRows, blocks(from.count * width), 256, 0, arguments);
    }

    fn shift(&mut self, buf: &mut Array<f32>, from: usize, to: usize, len: usize) {
        assert!(from.max(to) + len <= buf.len(), "shift: {len} values from {from} to {to} of {}", buf.len());
        // Through scratch memory: source and target of a device copy must not overlap.
        Array::grow(&mut self.moved, &mut self.device, len);
        let Some(moved) = &self.moved else { return };
        let (at, scratch) = (self.device.at(buf), self.device.at(moved));
        self.device.copy(at + 4 * from as u64, scratch, 4 * len);
        self.device.copy(scratch, at + 4 * to as u64, 4 * len);
    }

    fn zero(&mut self, buf: &mut Array<f32>, at: usize, len: usize) {
        assert!(at + len <= buf.len(), "zero: {len} values at {at} of {}", buf.len());
        let to = self.device.at(buf) + 4 * at as u64;
        self.device.zero(to, 4 * len);
    }

    fn embed(&mut self, input: &EmbedInput<Self>, pos: &Array<i32>, n: usize, x: &mut Array<f32>) {
        let EmbedInput { grid, tables, controls, seq, ctl, masked } = *input;
        assert_eq!(tables.len(), grid.cards.len(), "embed: tables and streams");
        let (dim, all) = (tables[0].cols, tables.len() + controls.len());
        assert!(all <= TABLES, "embed: {all} streams and controls; the kernel takes {TABLES}");
        assert!(tables.iter().chain(controls).all(|t| t.cols == dim), "embed: tables of {dim} columns");
        assert!(seq.len() >= grid.songs * tables.len() * grid.steps, "embed: sequence of {}", seq.len());
        assert!(ctl.len() >= grid.branches * controls.len() * grid.steps, "embed: controls of {}", ctl.len());
        assert!(masked.len() >= grid.branches * tables.len(), "embed: masks of {}", masked.len());
        assert!(x.len() >= grid.songs * grid.branches * n * dim, "embed: x of {}", x.len());
        let mut arguments = kernel::Embed {
            tables: [MatArgument::NONE; TABLES],
            seq: self.device.at(seq),
            ctl: self.device.at(ctl),
            masked: self.device.at(masked),
            pos: self.device.at(pos),
            sinusoids: self.sinusoids(grid.steps, dim),
            x: self.device.at(x),
            streams: tables.len() as i32,
            controls: controls.len() as i32,
            steps: grid.steps as i32,
            dim: dim as i32,
            n: n as i32,
            branches: grid.branches as i32,
        };
        for (to, table) in arguments.tables.iter_mut().zip(tables.iter().chain(controls)) {
            *to = table.argument(&mut self.device);
        }
        let lanes = grid.songs * grid.branches;
        self.device.launch(Kernel::Embed, ((lanes * n) as u32, 1), dim.next_multiple_of(32).min(256) as u32, 0, arguments);
    }

    fn qkv(&mut self, w: &Linear<Self>, x: &Array<f32>, at: LayerRows, pos: &Array<i32>, q: &mut Array<f32>, kv: &mut Kv) {
        linear::qkv(&mut self.device, w, x, at, pos, q, kv);
    }

    fn attend(&mut self, q: &Array<f32>, at: LayerRows, pos: &Array<i32>, kv: &Kv, out: &mut Array<f32>) {
        self.attention.attend(&mut self.device, q, at, Some(pos), kv, out);
    }

    fn set_text(&mut self, text: &mut Kv, at: LaneText, k: &Array<f32>, v: &Array<f32>) {
        attention::set_text(&mut self.device, text, at, k, v);
    }

    fn attend_text(&mut self, q: &Array<f32>, at: LayerRows, text: &Kv, out: &mut Array<f32>) {
        self.attention.attend(&mut self.device, q, at, None, text, out);
    }

    fn linear(&mut self, w: &Linear<Self>, x: &Array<f32>, xr: Rows, y: &mut Array<f32>, yr: Rows) {
        linear::product(&mut self.device, &linear::Product::of(w), x, xr, y, yr);
    }

    fn set_sampling(&mut self, sampler: &mut Sampler, sampling: &Sampling) {
        sampler.set(&mut self.device, sampling);
    }

    fn sample(&mut self, sampler: &mut Sampler, logits: &Array<f32>, n: usize, pos: &mut Array<i32>, seq: &mut Array<i32>) {
        sampler.sample(&mut self.device, logits, n, pos, seq);
    }

    fn advance(&mut self, n: usize, pos: &mut Array<i32>) {
        let arguments = kernel::Advance { pos: self.device.at(pos), n: n as i32, unused: 0 };
        self.device.launch(Kernel::Advance, (1, 1), 1, 0, arguments);
    }

    fn nonfinite_samples(&mut self, sampler: &Sampler) -> u32 {
        sampler.nonfinite(&mut self.device)
    }

    fn elu(&mut self, x: &Array<f32>, y: &mut Array<f32>, len: usize) {
        rows::elu(&mut self.device, x, y, len);
    }

    fn depthwise(&mut self, w: &Depthwise<Self>, x: &Array<f32>, x_at: usize, count: usize, y: &mut Array<f32>) {
        rows::depthwise(&mut self.device, w, x, x_at, count, y);
    }

    fn lstm(&mut self, w: &Lstm<Self>, x: &Array<f32>, xr: Rows, state: &mut Array<f32>, y: &mut Array<f32>, yr: Rows) {
        self.lstm.run(&mut self.device, w, (x, xr), state, (y, yr));
    }

    fn spectrum(&mut self, stft: Stft, x: &Array<f32>, first_end: usize, y: &mut Array<f32>, yr: Rows) {
        self.fourier.spectrum(&mut self.device, stft, x, first_end, y, yr);
    }

    fn polar_spectra(&mut self, half: usize, max_log: f32, x: &Array<f32>, xr: Rows, y: &mut Array<f32>, yr: Rows) {
        fourier::polar_spectra(&mut self.device, (half, max_log), (x, xr), (y, yr));
    }

    fn locked_spectra(
        &mut self,
        spec: LockedSpectra,
        x: &Array<f32>,
        xr: Rows,
        state: &mut Array<i32>,
        y: &mut Array<f32>,
        yr: Rows,
    ) {
        self.fourier.locked_spectra(&mut self.device, spec, (x, xr), state, (y, yr));
    }

    fn istft(&mut self, stft: InverseStft, x: &Array<f32>, xr: Rows, tail: &mut Array<f32>, y: &mut Array<f32>, y_at: usize) {
        self.fourier.istft(&mut self.device, stft, (x, xr), tail, (y, y_at));
    }

    fn quantize(&mut self, books: &[Book<Self>], z: &mut Array<f32>, zr: Rows, codes: &mut Array<i32>, cr: Rows) {
        self.quantize.run(&mut self.device, books, (z, zr), (codes, cr));
    }

    fn dequantize(&mut self, books: &[Book<Self>], codes: &Array<i32>, cr: Rows, z: &mut Array<f32>, zr: Rows) {
        quantize::dequantize(&mut self.device, books, (codes, cr), (z, zr));
    }
}
