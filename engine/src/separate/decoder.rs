//! One layer of a decoder: the encoder's output is added, then a convolution of kernel 3, gates, DConv, a
//! transposed convolution of kernel 8 and stride 4 along the rows, and GELU.

use sideman_kernels::{Act, Linear, Rows, SeparatorBackend};

use super::dconv::DConv;
use super::encoder::{KERNEL, PADDING, STRIDE};
use super::load::Loader;
use super::plane::{Plane, Scratch, ScratchSizes, crop, pad};
use crate::error::Result;

/// A decoder layer.
pub struct Decoder<B: SeparatorBackend> {
    /// [2 · input, 3 · input] of the same frame (with the bias), and of the frames before and after it, which add.
    /// The time branch has one frame, so only the first.
    rewrite: Vec<Linear<B>>,
    dconv: DConv<B>,
    /// [4 · output, 2 · input]: two rows after each other make four.
    up: Linear<B>,
    /// Where the input lies.
    plane: Plane,
    /// Rows of the output: those of the encoder layer's input.
    rows: usize,
    input: usize,
    output: usize,
}

impl<B: SeparatorBackend> Decoder<B> {
    /// Loads the layer `name`, whose input lies in `plane` and whose output has `rows` rows. `last`: without GELU.
    pub fn load(
        from: &mut Loader<B>,
        name: &str,
        (plane, rows): (Plane, usize),
        (input, output): (usize, usize),
        (is_time, last): (bool, bool),
    ) -> Result<Self> {
        let bias = from.get(&format!("{name}.rewrite.bias"), &[2 * input])?;
        let shape: &[usize] = if is_time { &[2 * input, input, 3] } else { &[2 * input, input, 3, 3] };
        let weight = from.get(&format!("{name}.rewrite.weight"), shape)?;
        // [output, input, row, frame] to [output, row, input] of one frame.
        let frames = if is_time { 1 } else { 3 };
        let of_frame = |frame: usize| {
            let mut mat = vec![0.0; 2 * input * 3 * input];
            for (w, row) in weight.chunks_exact(input * 3 * frames).zip(mat.chunks_exact_mut(3 * input)) {
                for (i, w) in w.iter().skip(frame).step_by(frames).enumerate() {
                    row[i % 3 * input + i / 3] = *w;
                }
            }
            mat
        };
        let mut rewrite = vec![from.linear(2 * input, 3 * input, &of_frame(frames / 2), Some(&bias))?];
        if !is_time {
            for frame in [0, 2] {
                rewrite.push(Linear { add: true, ..from.linear(2 * input, 3 * input, &of_frame(frame), None)? });
            }
        }
        let shape = [&[input, output, KERNEL][..], if is_time { &[] } else { &[1] }].concat();
        let weight = from.get(&format!("{name}.conv_tr.weight"), &shape)?;
        let bias = from.get(&format!("{name}.conv_tr.bias"), &[output])?;
        // The window (row m − 1, row m) makes rows 4m to 4m + 3: tap r of row m, tap 4 + r of row m − 1.
        let mut mat = vec![0.0; STRIDE * output * 2 * input];
        for (i, w) in weight.iter().enumerate() {
            let (c, o, k) = (i / (output * KERNEL), i / KERNEL % output, i % KERNEL);
            let from_before = if k < STRIDE { input } else { 0 };
            mat[(k % STRIDE * output + o) * 2 * input + from_before + c] = *w;
        }
        let up = from.linear(STRIDE * output, 2 * input, &mat, Some(&bias.repeat(STRIDE)))?;
        let up = Linear { act: if last { Act::None } else { Act::Gelu }, ..up };
        Ok(Decoder { rewrite, dconv: DConv::load(from, name, input)?, up, plane, rows, input, output })
    }

    /// Scratch memory that [`Decoder::run`] uses.
    pub fn scratch(plane: Plane, input: usize, output: usize) -> ScratchSizes {
        let rows = plane.frames * (plane.rows + 1);
        let own = ScratchSizes {
            padded: (rows + 2) * input,
            wide: rows * (2 * input).max(STRIDE * output),
            narrow: rows * input,
            hidden: 0,
        };
        own.max(DConv::<B>::scratch(plane, input))
    }

    /// Adds `skip` to `x` [frames, rows, input] and replaces it by the output [frames, rows · 4, output].
    pub fn run(&self, backend: &mut B, skip: &B::Buf, scratch: &mut Scratch<B>, x: &mut B::Buf) {
        let (plane, input) = (self.plane, self.input);
        let Scratch { padded, wide, narrow, hidden } = scratch;
        // One row of zeros before each frame is also the one after the frame before it.
        let pitch = plane.rows + 1;
        let rows = plane.frames * pitch;
        backend.add(skip, 0, x, 0, plane.all() * input);
        pad(backend, x, (plane, input), (pitch, 1), (rows + 2) * input, padded);
        let windows = |first: usize, frames: usize| Rows { count: frames * pitch, at: first * pitch * input, stride: input };
        let outputs =
            |first: usize, frames: usize| Rows { count: frames * pitch, at: first * pitch * 2 * input, stride: 2 * input };
        backend.linear(&self.rewrite[0], padded, windows(0, plane.frames), wide, outputs(0, plane.frames));
        if let [_, before, after] = &self.rewrite[..]
            && plane.frames > 1
        {
            let others = plane.frames - 1;
            backend.linear(before, padded, windows(0, others), wide, outputs(1, others));
            backend.linear(after, padded, windows(1, others), wide, outputs(0, others));
        }
        backend.glu(wide, rows, input, narrow);
        crop(backend, narrow, (plane, input), (pitch, 0), x);
        self.dconv.run(backend, plane, wide, hidden, x);
        pad(backend, x, (plane, input), (pitch, 1), (rows + 1) * input, padded);
        let pairs = Rows { count: rows, at: 0, stride: input };
        backend.linear(&self.up, padded, pairs, wide, Rows::packed(rows, STRIDE * self.output));
        let out = Plane { frames: plane.frames, rows: self.rows };
        crop(backend, wide, (out, self.output), (STRIDE * pitch, PADDING), x);
    }
}
