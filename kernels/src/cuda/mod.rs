//! The CUDA player: our own kernels (kernels/cu), driven by cudarc, whose PTX ships with the program. The driver is looked for at
//! run time; a machine without one gets a [`CudaError`] of one sentence and plays on the CPU.
//!
//! Where a sum's order matters it is the kernels' own, and the same for any number of rows, lanes and steps (linear.cu,
//! attention.cu): a prefill equals its steps and a batch its lanes, bit for bit. Against the CPU sums differ in their last bits; what
//! follows from equal logits (guidance, top-k, top-p, dice) is equal bit for bit.

mod attention;
mod device;
mod fourier;
mod graph;
mod kernel;
mod kv;
mod linear;
mod mat;
mod mem;
mod pick;
mod probe;
mod quantize;
mod recurrent;
mod rows;

pub use graph::Graph;
pub use kv::Kv;
pub use mat::Mat;
pub use mem::Array;
pub use pick::Picker;
pub use probe::{CudaError, devices};

use crate::{Backend, BackendError, Book, Format, Grid, Heads, Linear, Lstm, Rows, Sampling};
use cudarc::driver::result;
use device::Device;
use kernel::{Kernel, MatArgument, TABLES};

/// Plays [`Backend`] on an NVIDIA GPU.
pub struct CudaBackend {
    device: Device,
    attention: attention::Scratch,
    recurrent: recurrent::Scratch,
    quantize: quantize::Scratch,
    fourier: fourier::Fourier,
    /// Scratch of [`Backend::shift`].
    moved: Option<Array<f32>>,
    /// Sinusoids of the last width [steps, dim].
    place: Option<(usize, Array<f32>)>,
}

/// What the device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it calls itself.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    /// Bytes of its memory that are free, and all of them.
    pub memory: (usize, usize),
}

impl CudaBackend {
    /// A player on device `ordinal` (0: the first).
    ///
    /// # Errors
    /// Why this device can't play, in a sentence.
    pub fn new(ordinal: usize) -> Result<CudaBackend, CudaError> {
        Ok(CudaBackend {
            device: Device::new(ordinal)?,
            attention: attention::Scratch::default(),
            recurrent: recurrent::Scratch::default(),
            quantize: quantize::Scratch::default(),
            fourier: fourier::Fourier::default(),
            moved: None,
            place: None,
        })
    }

    /// What the device is.
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

    /// Whether products of 64 rows and more go to the tensor cores, where there are any for bf16 and the weights are bf16 or q8: a
    /// prefill is several times faster, and near its steps (sums differ by about 1e-5) instead of equal to them bit for bit. Off at
    /// first: live play needs equal bits, a render does not.
    pub fn tiles(&mut self, on: bool) {
        self.device.tiles = on;
    }

    /// Kernels launched since the player was made, those of replayed graphs not counted.
    pub fn launches(&self) -> u64 {
        self.device.launches
    }

    /// Waits until all that was launched is done.
    pub fn wait(&mut self) {
        self.device.wait();
    }

    /// Sinusoids for `steps` steps of `dim` columns, worked out by the host in f64.
    fn place(&mut self, steps: usize, dim: usize) -> u64 {
        if self.place.as_ref().is_none_or(|(d, a)| *d != dim || a.len() < steps * dim) {
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
                Ok(array) => self.place = Some((dim, array)),
                Err(e) => _ = self.device.fault.get_or_insert(e.to_string()),
            }
        }
        self.place.as_ref().map_or(0, |(_, array)| self.device.at(array))
    }
}

/// Blocks of 256 threads for `items` values, each thread taking more than one where there are very many.
fn blocks(items: usize) -> (u32, u32) {
    (items.div_ceil(256).clamp(1, 4096) as u32, 1)
}

/// Index after the last value of `rows` of `width` values.
fn span(rows: Rows, width: usize) -> usize {
    if rows.count == 0 { 0 } else { rows.at + (rows.count - 1) * rows.stride + width }
}

impl Backend for CudaBackend {
    type Buf = Array<f32>;
    type Ints = Array<i32>;
    type Mat = Mat;
    type Kv = Kv;
    type Picker = Picker;
    type Graph = Graph;
    const RECORDS: bool = true;

    fn fault(&self) -> Option<&str> {
        self.device.fault.as_deref()
    }

    fn replay(&mut self, graph: &mut Graph, work: &mut dyn FnMut(&mut Self)) {
        graph::replay(self, graph, work);
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

    fn picker(&mut self, grid: &Grid) -> Result<Picker, BackendError> {
        Picker::new(&mut self.device, grid)
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
        assert!(span(from, width) <= src.len() && span(to, width) <= dst.len(), "copy: rows of {width} out of bounds");
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
        // By way of scratch: a copy on the device must not overlap itself.
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

    fn embed(
        &mut self,
        grid: &Grid,
        tables: &[Mat],
        controls: &[Mat],
        seq: &Array<i32>,
        ctl: &Array<i32>,
        masked: &Array<i32>,
        pos: &Array<i32>,
        n: usize,
        x: &mut Array<f32>,
    ) {
        assert_eq!(tables.len(), grid.cards.len(), "embed: tables and streams");
        let (dim, all) = (tables[0].cols, tables.len() + controls.len());
        assert!(all <= TABLES, "embed: {all} streams and controls; the kernel takes {TABLES}");
        assert!(tables.iter().chain(controls).all(|t| t.cols == dim), "embed: tables of {dim} columns");
        assert!(seq.len() >= grid.songs * tables.len() * grid.steps, "embed: sequence of {}", seq.len());
        assert!(ctl.len() >= grid.branches * controls.len() * grid.steps, "embed: controls of {}", ctl.len());
        assert!(masked.len() >= grid.branches * tables.len(), "embed: deafness of {}", masked.len());
        assert!(x.len() >= grid.songs * grid.branches * n * dim, "embed: x of {}", x.len());
        let mut arguments = kernel::Embed {
            tables: [MatArgument::NONE; TABLES],
            seq: self.device.at(seq),
            ctl: self.device.at(ctl),
            masked: self.device.at(masked),
            pos: self.device.at(pos),
            place: self.place(grid.steps, dim),
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

    fn qkv(
        &mut self,
        w: &Linear<Self>,
        x: &Array<f32>,
        lanes: usize,
        n: usize,
        layer: usize,
        pos: &Array<i32>,
        q: &mut Array<f32>,
        kv: &mut Kv,
    ) {
        linear::qkv(&mut self.device, w, x, lanes, n, layer, pos, q, kv);
    }

    fn attend(&mut self, q: &Array<f32>, lanes: usize, n: usize, layer: usize, pos: &Array<i32>, kv: &Kv, out: &mut Array<f32>) {
        attention::attend(&mut self.device, &mut self.attention, q, lanes, n, layer, Some(pos), kv, out);
    }

    fn set_text(&mut self, text: &mut Kv, layer: usize, lane: usize, len: usize, k: &Array<f32>, v: &Array<f32>) {
        attention::set_text(&mut self.device, text, layer, lane, len, k, v);
    }

    fn attend_text(&mut self, q: &Array<f32>, lanes: usize, n: usize, layer: usize, text: &Kv, out: &mut Array<f32>) {
        attention::attend(&mut self.device, &mut self.attention, q, lanes, n, layer, None, text, out);
    }

    fn linear(&mut self, w: &Linear<Self>, x: &Array<f32>, xr: Rows, y: &mut Array<f32>, yr: Rows) {
        linear::product(&mut self.device, &linear::Product::of(w), x, xr, y, yr);
    }

    fn set_sampling(&mut self, picker: &mut Picker, s: &Sampling) {
        picker.set(&mut self.device, s);
    }

    fn pick(&mut self, picker: &mut Picker, logits: &Array<f32>, n: usize, pos: &mut Array<i32>, seq: &mut Array<i32>) {
        picker.pick(&mut self.device, logits, n, pos, seq);
    }

    fn advance(&mut self, n: usize, pos: &mut Array<i32>) {
        let arguments = kernel::Advance { pos: self.device.at(pos), n: n as i32, unused: 0 };
        self.device.launch(Kernel::Advance, (1, 1), 1, 0, arguments);
    }

    fn faults(&mut self, picker: &Picker) -> u32 {
        picker.faults(&mut self.device)
    }

    fn elu(&mut self, x: &Array<f32>, y: &mut Array<f32>, len: usize) {
        rows::elu(&mut self.device, x, y, len);
    }

    fn depthwise(
        &mut self,
        w: &Array<f32>,
        bias: &Array<f32>,
        kernel: usize,
        dim: usize,
        x: &Array<f32>,
        x_at: usize,
        count: usize,
        y: &mut Array<f32>,
    ) {
        rows::depthwise(&mut self.device, w, bias, kernel, dim, x, x_at, count, y);
    }

    fn lstm(&mut self, w: &Lstm<Self>, x: &Array<f32>, xr: Rows, state: &mut Array<f32>, y: &mut Array<f32>, yr: Rows) {
        recurrent::lstm(&mut self.device, &mut self.recurrent, w, x, xr, state, y, yr);
    }

    fn spectrum(
        &mut self,
        n_fft: usize,
        bins: usize,
        x: &Array<f32>,
        first_end: usize,
        hop: usize,
        count: usize,
        y: &mut Array<f32>,
        yr: Rows,
        col: usize,
    ) {
        self.fourier.spectrum(&mut self.device, n_fft, bins, x, first_end, hop, count, y, yr, col);
    }

    fn istft(
        &mut self,
        n_fft: usize,
        hop: usize,
        max_log: f32,
        x: &Array<f32>,
        xr: Rows,
        tail: &mut Array<f32>,
        y: &mut Array<f32>,
        y_at: usize,
    ) {
        self.fourier.istft(&mut self.device, n_fft, hop, max_log, x, xr, tail, y, y_at);
    }

    fn quantize(
        &mut self,
        books: &[Book<Self>],
        dim: usize,
        z: &mut Array<f32>,
        zr: Rows,
        codes: &mut Array<i32>,
        codes_stride: usize,
        at: usize,
    ) {
        quantize::quantize(&mut self.device, &mut self.quantize, books, dim, z, zr, codes, codes_stride, at);
    }

    fn dequantize(
        &mut self,
        books: &[Book<Self>],
        dim: usize,
        codes: &Array<i32>,
        codes_stride: usize,
        at: usize,
        z: &mut Array<f32>,
        zr: Rows,
    ) {
        quantize::dequantize(&mut self.device, books, dim, codes, codes_stride, at, z, zr);
    }
}
