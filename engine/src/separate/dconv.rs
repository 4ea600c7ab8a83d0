//! DConv: a residual branch of dilated convolutions along time, each band by itself.

use sideman_kernels::{GroupNorm, Groups, Linear, Rows, SeparatorBackend};

use super::load::Loader;
use super::plane::{Plane, ScratchSizes};
use crate::error::Result;

/// Layers; layer d has the dilation 2^d.
const LAYERS: usize = 2;
/// Channels of a plane for one hidden channel.
const COMPRESS: usize = 8;

/// x += scale ⊙ GLU(GN(expand(GELU(GN(convolution(x)))))), twice.
pub struct DConv<B: SeparatorBackend> {
    layers: Vec<Layer<B>>,
    width: usize,
}

struct Layer<B: SeparatorBackend> {
    /// The taps at the same step (with the bias), a dilation before it and a dilation after it, [hidden, width]
    /// each. The last two add.
    taps: [Linear<B>; 3],
    norm: GroupNorm<B>,
    /// [2 · width, hidden].
    expand: Linear<B>,
    norm_out: GroupNorm<B>,
    scale: B::Buf,
}

impl<B: SeparatorBackend> DConv<B> {
    /// Loads `NAME.dconv` of `width` channels.
    pub fn load(from: &mut Loader<B>, name: &str, width: usize) -> Result<Self> {
        let hidden = width / COMPRESS;
        let mut layers = Vec::new();
        for d in 0..LAYERS {
            let name = |part: usize| format!("{name}.dconv.layers.{d}.{part}");
            let weight = from.get(&format!("{}.weight", name(0)), &[hidden, width, 3])?;
            let bias = from.get(&format!("{}.bias", name(0)), &[hidden])?;
            let tap = |k: usize| weight.iter().skip(k).step_by(3).copied().collect::<Vec<f32>>();
            let middle = from.linear(hidden, width, &tap(1), Some(&bias))?;
            let before = Linear { add: true, ..from.linear(hidden, width, &tap(0), None)? };
            let after = Linear { add: true, ..from.linear(hidden, width, &tap(2), None)? };
            layers.push(Layer {
                taps: [middle, before, after],
                norm: from.group_norm(&name(1), hidden)?,
                expand: from.point(&name(3), 2 * width, hidden, 1)?,
                norm_out: from.group_norm(&name(4), 2 * width)?,
                scale: from.vector(&format!("{}.scale", name(6)), width)?,
            });
        }
        Ok(DConv { layers, width })
    }

    /// Scratch memory that [`DConv::run`] uses.
    pub fn scratch(plane: Plane, width: usize) -> ScratchSizes {
        let rows = plane.all();
        ScratchSizes { wide: rows * 2 * width, hidden: rows * (width / COMPRESS), ..ScratchSizes::default() }
    }

    /// Changes `x` [frames, rows, width]. Uses `wide` and `hidden` of the scratch memory.
    pub fn run(&self, backend: &mut B, plane: Plane, wide: &mut B::Buf, hidden: &mut B::Buf, x: &mut B::Buf) {
        let (width, narrow) = (self.width, self.width / COMPRESS);
        let (steps, bands) = plane.steps_and_bands();
        let rows =
            |first: usize, steps: usize, width: usize| Rows { count: steps * bands, at: first * bands * width, stride: width };
        for (d, layer) in self.layers.iter().enumerate() {
            let far = 1 << d;
            let [middle, before, after] = &layer.taps;
            backend.linear(middle, x, rows(0, steps, width), hidden, rows(0, steps, narrow));
            if steps > far {
                let count = steps - far;
                backend.linear(before, x, rows(0, count, width), hidden, rows(far, count, narrow));
                backend.linear(after, x, rows(far, count, width), hidden, rows(0, count, narrow));
            }
            backend.group_norm(&layer.norm, Groups { groups: bands, rows: steps, width: narrow }, true, hidden);
            backend.linear(&layer.expand, hidden, rows(0, steps, narrow), wide, rows(0, steps, 2 * width));
            let groups = Groups { groups: bands, rows: steps, width: 2 * width };
            backend.group_norm_glu(&layer.norm_out, groups, wide, &layer.scale, x);
        }
    }
}
