//! One layer of an encoder: a convolution of kernel 8 and stride 4 along the rows, GELU, DConv, gates.

use sideman_kernels::{Act, Linear, Rows, SeparatorBackend};

use super::dconv::DConv;
use super::load::Loader;
use super::plane::{Plane, Scratch, ScratchSizes, crop, pad};
use crate::error::Result;

pub const KERNEL: usize = 8;
pub const STRIDE: usize = 4;
/// Rows of padding before and after.
pub const PADDING: usize = 2;

/// An encoder layer.
pub struct Encoder<B: SeparatorBackend> {
    /// [output, 8 · input].
    conv: Linear<B>,
    dconv: DConv<B>,
    /// [2 · output, output].
    rewrite: Linear<B>,
    /// Where the input lies.
    plane: Plane,
    input: usize,
    output: usize,
}

impl<B: SeparatorBackend> Encoder<B> {
    /// Loads the layer `name`. `ones` is 1 in the frequency branch, whose convolutions have one more dimension.
    pub fn load(from: &mut Loader<B>, name: &str, plane: Plane, (input, output): (usize, usize), ones: usize) -> Result<Self> {
        let shape = [&[output, input, KERNEL][..], &[1][..ones]].concat();
        let weight = from.get(&format!("{name}.conv.weight"), &shape)?;
        let bias = from.get(&format!("{name}.conv.bias"), &[output])?;
        // A window is 8 rows after each other.
        let mut rows = vec![0.0; weight.len()];
        for (w, row) in weight.chunks_exact(input * KERNEL).zip(rows.chunks_exact_mut(input * KERNEL)) {
            for (i, w) in w.iter().enumerate() {
                row[i % KERNEL * input + i / KERNEL] = *w;
            }
        }
        let conv = Linear { act: Act::Gelu, ..from.linear(output, KERNEL * input, &rows, Some(&bias))? };
        let rewrite = from.point(&format!("{name}.rewrite"), 2 * output, output, 1 + ones)?;
        Ok(Encoder { conv, dconv: DConv::load(from, name, output)?, rewrite, plane, input, output })
    }

    /// Where the output of a layer with this input lies.
    pub fn output(plane: Plane) -> Plane {
        Plane { frames: plane.frames, rows: plane.rows.div_ceil(STRIDE) }
    }

    /// Rows of a padded frame.
    fn pitch(plane: Plane) -> usize {
        plane.rows.next_multiple_of(STRIDE) + 2 * PADDING
    }

    /// Scratch memory that [`Encoder::run`] uses.
    pub fn scratch(plane: Plane, input: usize, output: usize) -> ScratchSizes {
        let out = Self::output(plane);
        let own = ScratchSizes {
            padded: plane.frames * Self::pitch(plane) * input,
            wide: (plane.frames * (out.rows + 1) * output).max(out.all() * 2 * output),
            narrow: out.all() * output,
            hidden: 0,
        };
        own.max(DConv::<B>::scratch(out, output))
    }

    /// Reads `x` [frames, rows, input], writes `y` [frames, rows / 4, output].
    pub fn run(&self, backend: &mut B, x: &B::Buf, scratch: &mut Scratch<B>, y: &mut B::Buf) {
        let (plane, out, pitch) = (self.plane, Self::output(self.plane), Self::pitch(self.plane));
        let Scratch { padded, wide, narrow, hidden } = scratch;
        pad(backend, x, (plane, self.input), (pitch, PADDING), plane.frames * pitch * self.input, padded);
        // One window more for each frame than it has outputs: it lies across two frames and is dropped.
        let count = plane.frames * (out.rows + 1) - 1;
        let windows = Rows { count, at: 0, stride: STRIDE * self.input };
        backend.linear(&self.conv, padded, windows, wide, Rows::packed(count, self.output));
        crop(backend, wide, (out, self.output), (out.rows + 1, 0), narrow);
        self.dconv.run(backend, out, wide, hidden, narrow);
        let rows = out.all();
        backend.linear(&self.rewrite, narrow, Rows::packed(rows, self.output), wide, Rows::packed(rows, 2 * self.output));
        backend.glu(wide, rows, self.output, y);
    }
}
