//! The mask network (docs/reference/separator-format.md, kind `mask`): a U-Net along frequency with ConvNeXt blocks
//! along time. For each bin of a short-time spectrum it gives one share per source; the shares add up to one, so the
//! estimates add up to the signal. Each channel is separated by itself. Trained by `train/separator`.

use sideman_kernels::{Act, Depthwise, Linear, Rows, SeparatorBackend};

use super::config::MaskSizes;
use super::encoder::{KERNEL, PADDING, STRIDE};
use super::htdemucs::{CHANNELS, Probe};
use super::load::Loader;
use super::mask_spectrum::MaskSpectrum;
use super::plane::{Plane, Scratch, crop, pad};
use crate::error::Result;
use crate::model::{Tensors, upload};

/// Layers down and up.
pub const LAYERS: usize = 4;

/// Weights of the network.
pub struct Mask<B: SeparatorBackend> {
    sizes: MaskSizes,
    sources: usize,
    down: Vec<Layer<B>>,
    into: Linear<B>,
    blocks: Vec<Block<B>>,
    out: Linear<B>,
    up: Vec<Layer<B>>,
    /// From three bins of the input to a bin's logits.
    direct: Linear<B>,
}

/// A layer along frequency: a product for each of the frames that it sees, and a bias for each row and channel.
struct Layer<B: SeparatorBackend> {
    /// Of the same frame, then, where there are three, of the frames before and after it, which add.
    taps: Vec<Linear<B>>,
    bias: B::Buf,
    /// Where the input lies, and its channels.
    plane: Plane,
    input: usize,
    output: usize,
}

/// Where the windows of a layer's products lie.
struct Windows {
    /// Rows of a frame of the input.
    pitch: usize,
    /// Values from the start of a window to the next.
    step: usize,
    /// Windows of a frame.
    windows: usize,
    /// Values of an output.
    width: usize,
    /// Windows at the end that are left out.
    dropped: usize,
}

/// A ConvNeXt block along time.
struct Block<B: SeparatorBackend> {
    depthwise: Depthwise<B>,
    dilation: usize,
    hidden: usize,
    wide: Linear<B>,
    narrow: Linear<B>,
}

/// Buffers of one segment of one channel.
pub struct MaskState<B: SeparatorBackend> {
    scratch: Scratch<B>,
    /// The features, and the logits.
    x: B::Buf,
    /// The output of each layer down.
    skips: Vec<B::Buf>,
    /// Frames of the blocks [frames, width], the convolved ones, and every nth of them with zeros around.
    flat: B::Buf,
    mixed: B::Buf,
    line: B::Buf,
    part: B::Buf,
    wide: B::Buf,
    spectrum: MaskSpectrum,
    features: Vec<f32>,
    logits: Vec<f32>,
}

/// From [output, input, frames, rows] to [output, rows · input] of one frame.
fn of_frame(weight: &[f32], frames: usize, frame: usize, input: usize) -> Vec<f32> {
    let mut mat = vec![0.0; weight.len() / frames];
    for (w, row) in weight.chunks_exact(input * frames * KERNEL).zip(mat.chunks_exact_mut(KERNEL * input)) {
        for (i, w) in w.iter().enumerate() {
            let (c, f, k) = (i / (frames * KERNEL), i / KERNEL % frames, i % KERNEL);
            if f == frame {
                row[k * input + c] = *w;
            }
        }
    }
    mat
}

/// From [input, output, frames, rows] of a transposed convolution to [4 · output, 2 · input] of one frame: the rows m − 1
/// and m make the rows 4m to 4m + 3, tap r of row m and tap 4 + r of row m − 1.
fn of_frame_transposed(weight: &[f32], frames: usize, frame: usize, (input, output): (usize, usize)) -> Vec<f32> {
    let mut mat = vec![0.0; STRIDE * output * 2 * input];
    for (i, w) in weight.iter().enumerate() {
        let (c, o, f, k) = (i / (output * frames * KERNEL), i / (frames * KERNEL) % output, i / KERNEL % frames, i % KERNEL);
        if f == frame {
            let before = if k < STRIDE { input } else { 0 };
            mat[(k % STRIDE * output + o) * 2 * input + before + c] = *w;
        }
    }
    mat
}

impl<B: SeparatorBackend> Layer<B> {
    /// Products of one or three frames: `mat` gives that of a frame, `order` which frame of the weights is the same, the
    /// one before, the one after.
    fn taps(
        from: &mut Loader<B>,
        rows: usize,
        cols: usize,
        order: &[usize],
        mat: impl Fn(usize) -> Vec<f32>,
    ) -> Result<Vec<Linear<B>>> {
        let mut taps = Vec::new();
        for (n, frame) in order.iter().enumerate() {
            taps.push(Linear { add: n > 0, ..from.linear(rows, cols, &mat(*frame), None)? });
        }
        Ok(taps)
    }

    /// A bias [rows, channels].
    fn bias(from: &mut Loader<B>, name: &str, rows: usize, channels: usize) -> Result<B::Buf> {
        let bias = from.get(name, &[rows, channels])?;
        upload(from.backend, &bias)
    }

    fn down(from: &mut Loader<B>, i: usize, plane: Plane, (input, output): (usize, usize)) -> Result<Self> {
        let frames = if i == 0 { 1 } else { 3 };
        let weight = from.get(&format!("down.{i}.weight"), &[output, input, frames, KERNEL])?;
        let order: &[usize] = if i == 0 { &[0] } else { &[1, 0, 2] };
        let taps = Self::taps(from, output, KERNEL * input, order, |frame| of_frame(&weight, frames, frame, input))?;
        let bias = Self::bias(from, &format!("down_bias.{i}"), plane.rows / STRIDE, output)?;
        Ok(Layer { taps, bias, plane, input, output })
    }

    fn up(from: &mut Loader<B>, i: usize, plane: Plane, (input, output): (usize, usize)) -> Result<Self> {
        let frames = if i == 0 { 1 } else { 3 };
        let weight = from.get(&format!("up.{i}.weight"), &[input, output, frames, KERNEL])?;
        // A transposed convolution gives to frame t + f − 1: the frame before it gives by the last tap.
        let order: &[usize] = if i == 0 { &[0] } else { &[1, 2, 0] };
        let mat = |frame| of_frame_transposed(&weight, frames, frame, (input, output));
        let taps = Self::taps(from, STRIDE * output, 2 * input, order, mat)?;
        let bias = Self::bias(from, &format!("up_bias.{i}"), plane.rows * STRIDE, output)?;
        Ok(Layer { taps, bias, plane, input, output })
    }

    /// Runs the products of all frames.
    fn products(&self, backend: &mut B, x: &B::Buf, at: Windows, y: &mut B::Buf) {
        let Windows { pitch, step, windows, width, dropped } = at;
        let from = |first: usize, n: usize| Rows { count: n * windows - dropped, at: first * pitch * self.input, stride: step };
        let to = |first: usize, n: usize| Rows { count: n * windows - dropped, at: first * windows * width, stride: width };
        let frames = self.plane.frames;
        backend.linear(&self.taps[0], x, from(0, frames), y, to(0, frames));
        if let [_, before, after] = &self.taps[..]
            && frames > 1
        {
            backend.linear(before, x, from(0, frames - 1), y, to(1, frames - 1));
            backend.linear(after, x, from(1, frames - 1), y, to(0, frames - 1));
        }
    }

    /// Reads `x` [frames, rows, input], writes `y` [frames, rows / 4, output].
    fn run_down(&self, backend: &mut B, x: &B::Buf, scratch: &mut Scratch<B>, y: &mut B::Buf) {
        let Plane { frames, rows } = self.plane;
        let (pitch, out) = (rows + 2 * PADDING, Plane { frames, rows: rows / STRIDE });
        pad(backend, x, (self.plane, self.input), (pitch, PADDING), frames * pitch * self.input, &mut scratch.padded);
        // The last window of a frame lies across two and is not used; that of the last frame would lie beyond it.
        let (step, windows) = (STRIDE * self.input, out.rows + 1);
        let at = Windows { pitch, step, windows, width: self.output, dropped: 1 };
        self.products(backend, &scratch.padded, at, &mut scratch.wide);
        crop(backend, &scratch.wide, (out, self.output), (out.rows + 1, 0), y);
        backend.add_bias(&self.bias, true, y, frames);
    }

    /// Replaces `x` [frames, rows, input] by [frames, 4 · rows, output].
    fn run_up(&self, backend: &mut B, scratch: &mut Scratch<B>, gelu: bool, x: &mut B::Buf) {
        let Plane { frames, rows } = self.plane;
        // One row of zeros before each frame is also the one after the frame before it.
        let (pitch, out) = (rows + 1, Plane { frames, rows: STRIDE * rows });
        pad(backend, x, (self.plane, self.input), (pitch, 1), (frames * pitch + 1) * self.input, &mut scratch.padded);
        let at = Windows { pitch, step: self.input, windows: pitch, width: STRIDE * self.output, dropped: 0 };
        self.products(backend, &scratch.padded, at, &mut scratch.wide);
        crop(backend, &scratch.wide, (out, self.output), (STRIDE * pitch, PADDING), x);
        backend.add_bias(&self.bias, gelu, x, frames);
    }
}

impl<B: SeparatorBackend> Block<B> {
    fn load(from: &mut Loader<B>, n: usize, sizes: &MaskSizes) -> Result<Self> {
        let (dim, hidden, kernel) = (sizes.width, sizes.hidden, sizes.kernel);
        let weight = from.get(&format!("blocks.{n}.dw.weight"), &[dim, kernel])?;
        let taps: Vec<f32> = (0..kernel * dim).map(|i| weight[i % dim * kernel + i / dim]).collect();
        let depthwise = Depthwise {
            taps: upload(from.backend, &taps)?,
            bias: from.vector(&format!("blocks.{n}.dw.bias"), dim)?,
            kernel,
            dim,
        };
        let norm = Some(from.norm(&format!("blocks.{n}.norm"), dim)?);
        let wide = Linear { norm, act: Act::Gelu, ..from.point(&format!("blocks.{n}.pw1"), hidden, dim, 0)? };
        let narrow = Linear { add: true, ..from.point(&format!("blocks.{n}.pw2"), dim, hidden, 0)? };
        Ok(Block { depthwise, dilation: sizes.dilations[n], hidden, wide, narrow })
    }

    /// Zeros on each side of what the convolution reads.
    fn side(&self) -> usize {
        self.depthwise.kernel / 2
    }

    fn run(&self, backend: &mut B, frames: usize, state: &mut MaskState<B>) {
        let (dim, d) = (self.depthwise.dim, self.dilation);
        let hidden = Rows::packed(frames, self.hidden);
        for first in 0..d.min(frames) {
            // Every dth frame is a sequence of its own.
            let count = (frames - first).div_ceil(d);
            let every = Rows { count, at: first * dim, stride: d * dim };
            backend.zero(&mut state.line, 0, (count + 2 * self.side()) * dim);
            backend.copy(&state.flat, every, &mut state.line, Rows { count, at: self.side() * dim, stride: dim }, dim);
            backend.depthwise(&self.depthwise, &state.line, 0, count, &mut state.part);
            backend.copy(&state.part, Rows::packed(count, dim), &mut state.mixed, every, dim);
        }
        backend.linear(&self.wide, &state.mixed, Rows::packed(frames, dim), &mut state.wide, hidden);
        backend.linear(&self.narrow, &state.wide, hidden, &mut state.flat, Rows::packed(frames, dim));
    }
}

impl<B: SeparatorBackend> Mask<B> {
    /// Loads the network whose tensors begin with `prefix`.
    ///
    /// # Errors
    /// A tensor is missing or damaged, or the backend's memory is full.
    pub fn load(backend: &mut B, tensors: &mut Tensors, prefix: &str, sizes: &MaskSizes, sources: usize) -> Result<Self> {
        let from = &mut Loader { backend, tensors, prefix: prefix.to_owned() };
        let (frames, bins) = (sizes.frames(), sizes.n_fft / 2);
        let plane = |i: usize| Plane { frames, rows: bins >> (2 * i) };
        let channels = |i: usize| if i == 0 { 1 } else { sizes.channels[i - 1] };
        let down = (0..LAYERS).map(|i| Layer::down(from, i, plane(i), (channels(i), channels(i + 1)))).collect::<Result<_>>()?;
        let outputs = |i: usize| if i == 0 { sources } else { channels(i) };
        let up = (0..LAYERS).map(|i| Layer::up(from, i, plane(i + 1), (channels(i + 1), outputs(i)))).collect::<Result<_>>()?;
        let flat = channels(LAYERS) * plane(LAYERS).rows;
        let into = from.point("in", sizes.width, flat, 0)?;
        let blocks = (0..sizes.dilations.len()).map(|n| Block::load(from, n, sizes)).collect::<Result<_>>()?;
        let norm = Some(from.norm("norm", sizes.width)?);
        let out = Linear { norm, ..from.point("out", flat, sizes.width, 0)? };
        let direct = from.get("direct.weight", &[sources, 1, 1, 3])?;
        let direct = from.linear(sources, 3, &direct, None)?;
        Ok(Mask { sizes: sizes.clone(), sources, down, into, blocks, out, up, direct })
    }

    /// Samples of a segment.
    pub fn segment(&self) -> usize {
        self.sizes.segment
    }

    /// Buffers for [`Mask::run`].
    ///
    /// # Errors
    /// The backend's memory is full.
    pub fn state(&self, backend: &mut B) -> Result<MaskState<B>> {
        let (frames, bins, width) = (self.sizes.frames(), self.sizes.n_fft / 2, self.sizes.width);
        let down = |l: &Layer<B>| ((l.plane.rows + 2 * PADDING) * l.input).max((l.plane.rows / STRIDE + 1) * l.output);
        let up = |l: &Layer<B>| (l.plane.rows + 1) * l.input.max(STRIDE * l.output);
        let frame = self.down.iter().map(down).chain(self.up.iter().map(up)).max().unwrap_or(0);
        // One row more than the frames have, of at most as many channels as a frame has values.
        let largest = (frames + 1) * frame.max((bins + 2) * self.sources);
        let longest = self.blocks.iter().map(|block| frames + 2 * block.side()).max().unwrap_or(frames);
        let skips =
            self.down.iter().map(|l| Ok(backend.buf(frames * l.plane.rows / STRIDE * l.output)?)).collect::<Result<_>>()?;
        Ok(MaskState {
            scratch: Scratch {
                padded: backend.buf(largest)?,
                wide: backend.buf(largest)?,
                narrow: backend.buf(largest)?,
                hidden: backend.buf(1)?,
            },
            x: backend.buf(largest)?,
            skips,
            flat: backend.buf(frames * width)?,
            mixed: backend.buf(frames * width)?,
            line: backend.buf(longest * width)?,
            part: backend.buf(frames * width)?,
            wide: backend.buf(frames * self.sizes.hidden)?,
            spectrum: MaskSpectrum::new(self.sizes.n_fft),
            features: Vec::new(),
            logits: Vec::new(),
        })
    }

    /// Estimates of one segment: `mix` is two channels of [`Mask::segment`] samples, `out` [sources, 2, segment].
    pub fn run(&self, backend: &mut B, state: &mut MaskState<B>, mix: [&[f32]; CHANNELS], out: &mut [f32]) {
        let n = self.segment();
        for (c, x) in mix.into_iter().enumerate() {
            if c > 0 && x == mix[0] {
                // A mono song: both channels have the same estimates.
                out.chunks_exact_mut(CHANNELS * n).for_each(|out| out.copy_within(..n, n));
                continue;
            }
            let all = out.chunks_exact_mut(n).skip(c).step_by(CHANNELS).collect();
            self.channel(backend, state, x, all, None);
        }
    }

    /// Estimates of one channel, one slice for each source. `probe` gets the features and the logits.
    pub fn channel(
        &self,
        backend: &mut B,
        state: &mut MaskState<B>,
        x: &[f32],
        out: Vec<&mut [f32]>,
        mut probe: Option<Probe<'_>>,
    ) {
        let (frames, bins) = (self.sizes.frames(), self.sizes.n_fft / 2);
        state.spectrum.forward(x, frames);
        state.spectrum.features(&mut state.features);
        backend.write(&mut state.x, 0, &state.features);
        for (i, layer) in self.down.iter().enumerate() {
            let (before, after) = state.skips.split_at_mut(i);
            layer.run_down(backend, before.last().unwrap_or(&state.x), &mut state.scratch, &mut after[0]);
        }
        let (rows, flat) = (|width: usize| Rows::packed(frames, width), self.out_width());
        backend.linear(&self.into, &state.skips[LAYERS - 1], rows(flat), &mut state.flat, rows(self.sizes.width));
        for block in &self.blocks {
            block.run(backend, frames, state);
        }
        // The features are still needed.
        let three = Plane { frames, rows: bins };
        pad(backend, &state.x, (three, 1), (bins + 2, 1), frames * (bins + 2), &mut state.scratch.padded);
        let (count, sources) = (frames * (bins + 2) - 2, self.sources);
        let windows = Rows { count, at: 0, stride: 1 };
        backend.linear(&self.direct, &state.scratch.padded, windows, &mut state.scratch.wide, Rows::packed(count, sources));
        crop(backend, &state.scratch.wide, (three, sources), (bins + 2, 0), &mut state.scratch.narrow);

        backend.linear(&self.out, &state.flat, rows(self.sizes.width), &mut state.x, rows(flat));
        for (i, layer) in self.up.iter().enumerate().rev() {
            backend.add(&state.skips[i], 0, &mut state.x, 0, layer.plane.all() * layer.input);
            layer.run_up(backend, &mut state.scratch, i > 0, &mut state.x);
        }
        backend.add(&state.scratch.narrow, 0, &mut state.x, 0, frames * bins * sources);
        state.logits.resize(frames * bins * sources, 0.0);
        backend.read(&state.x, 0, &mut state.logits);
        if let Some(probe) = &mut probe {
            probe("features", &state.features);
            probe("logits", &state.logits);
        }
        softmax(&mut state.logits, sources);
        for (s, out) in out.into_iter().enumerate() {
            // The highest bin has no logits: it goes to the last source.
            state.spectrum.inverse(&state.logits, (sources, s), s + 1 == sources, out);
        }
    }

    fn out_width(&self) -> usize {
        self.down[LAYERS - 1].output * ((self.sizes.n_fft / 2) >> (2 * LAYERS))
    }
}

/// Makes each row of `n` logits shares that add up to one.
fn softmax(logits: &mut [f32], n: usize) {
    for row in logits.chunks_exact_mut(n) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - most).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
}
