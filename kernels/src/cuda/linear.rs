//! Matrix products: which kernel of linear.cu or tiles.cu runs, and on how many blocks. All kernels of linear.cu have one order of
//! sums.

use super::CudaBackend;
use super::device::Device;
use super::kernel::{Kernel, Linear as Argument, Tiles};
use super::kv::Kv;
use super::mat::Mat;
use super::mem::Array;
use crate::{Act, Format, LayerRows, Linear, Norm, Rows};

/// Columns of one segment of a sum, and accumulators of one output (linear.cu).
const SEGMENT: usize = 128;
const WARPS: usize = 8;
/// From this many rows of x on, a warp takes 8 rows and all columns, or tensor cores are used.
const MANY: usize = 64;
/// Outputs and rows of a block of tiles.cu, and the columns that it takes at a time.
const TILE: usize = 64;
const STEP: usize = 32;

/// One product: a [`Linear`], or a bare matrix.
pub(super) struct Product<'a> {
    pub mat: &'a Mat,
    pub bias: Option<&'a Array<f32>>,
    pub norm: Option<&'a Norm<CudaBackend>>,
    pub act: Act,
    pub add: bool,
}

impl<'a> Product<'a> {
    pub(super) fn of(w: &'a Linear<CudaBackend>) -> Self {
        Product { mat: &w.weight, bias: w.bias.as_ref(), norm: w.norm.as_ref(), act: w.act, add: w.add }
    }

    pub(super) fn bare(mat: &'a Mat) -> Self {
        Product { mat, bias: None, norm: None, act: Act::None, add: false }
    }

    /// The kernel's argument. The caller checks the rows of y.
    fn argument(&self, device: &mut Device, x: &Array<f32>, xr: Rows, y: &Array<f32>, yr: Rows) -> Argument {
        let (rows, cols) = (self.mat.rows, self.mat.cols);
        assert_eq!(xr.count, yr.count, "linear: rows of x and y");
        assert!(xr.end(cols) <= x.len(), "linear: {xr:?} of {cols} values in x of {}", x.len());
        assert!(self.bias.is_none_or(|b| b.len() >= rows), "linear: bias shorter than {rows} rows");
        let normed = |n: &Norm<CudaBackend>| n.weight.len() >= cols && n.bias.as_ref().is_none_or(|b| b.len() >= cols);
        assert!(self.norm.is_none_or(normed), "linear: norm shorter than {cols} columns");
        Argument {
            m: self.mat.argument(device),
            bias: self.bias.map_or(0, |b| device.at(b)),
            norm_w: self.norm.map_or(0, |n| device.at(&n.weight)),
            norm_b: self.norm.and_then(|n| n.bias.as_ref()).map_or(0, |b| device.at(b)),
            x: device.at(x),
            y: device.at(y),
            x_at: xr.at as i64,
            x_stride: xr.stride as i64,
            y_at: yr.at as i64,
            y_stride: yr.stride as i64,
            count: xr.count as i32,
            act: match self.act {
                Act::None => 0,
                Act::Gelu => 1,
                Act::Relu => 2,
            },
            add: i32::from(self.add),
            eps: self.norm.map_or(0.0, |n| n.eps),
            k: 0,
            v: 0,
            pos: 0,
            append: 0,
            n: 1,
            dim: 1,
            head_dim: 1,
            padded: 8,
            steps: 0,
            keys_bf16: 0,
            unused: 0,
            k_head: 0,
            v_head: 0,
        }
    }
}

fn launch(device: &mut Device, mat: &Mat, arguments: Argument) {
    let count = arguments.count as usize;
    if count == 0 {
        return;
    }
    let [two, eight, many] = match mat.format() {
        Format::F32 => [Kernel::LinearF32x2, Kernel::LinearF32x8, Kernel::LinearF32Many],
        Format::Bf16 => [Kernel::LinearBf16x2, Kernel::LinearBf16x8, Kernel::LinearBf16Many],
        Format::Q8 => [Kernel::LinearQ8x2, Kernel::LinearQ8x8, Kernel::LinearQ8Many],
        Format::Q4 => [Kernel::LinearQ4x2, Kernel::LinearQ4x8, Kernel::LinearQ4Many],
    };
    if device.tiles && device.tensor_cores && count >= MANY && mat.format() != Format::F32 {
        return tiled(device, mat, arguments);
    }
    let panels = mat.rows.div_ceil(32) as u32;
    let warps = mat.cols.div_ceil(SEGMENT).min(WARPS);
    if count >= MANY {
        device.launch(many, (count.div_ceil(8 * WARPS) as u32, panels), 32 * WARPS as u32, 0, arguments);
    } else if count > 2 {
        device.launch(eight, (panels, count.div_ceil(8) as u32), 32 * warps as u32, 0, arguments);
    } else {
        device.launch(two, (panels, 1), 32 * warps as u32, 0, arguments);
    }
}

/// On tensor cores: x is normalised and split into two bf16 parts first.
fn tiled(device: &mut Device, mat: &Mat, arguments: Argument) {
    let (count, padded) = (arguments.count as usize, mat.cols.next_multiple_of(STEP));
    let mut scratch = device.parts.take();
    Array::grow(&mut scratch, device, 2 * 2 * count * padded);
    if let Some(parts) = &scratch {
        let arguments = Tiles { a: arguments, parts: device.at(parts) };
        device.launch(Kernel::SplitRows, (count.div_ceil(8) as u32, 1), 256, 0, arguments);
        let kernel = match mat.format() {
            Format::Q4 => Kernel::TilesQ4,
            Format::Q8 => Kernel::TilesQ8,
            Format::Bf16 | Format::F32 => Kernel::TilesBf16,
        };
        let grid = (mat.rows.div_ceil(TILE) as u32, count.div_ceil(TILE) as u32);
        device.launch(kernel, grid, 128, 0, arguments);
    }
    device.parts = scratch;
}

/// `y = act(W · norm(x) + bias)` or `y += …`, rows `xr` of `x` to rows `yr` of `y`.
pub(super) fn product(device: &mut Device, w: &Product, x: &Array<f32>, xr: Rows, y: &mut Array<f32>, yr: Rows) {
    let rows = w.mat.rows;
    assert!(yr.count <= 1 || yr.stride >= rows, "linear: rows of {rows} values overlap at stride {}", yr.stride);
    assert!(yr.end(rows) <= y.len(), "linear: {yr:?} of {rows} values in y of {}", y.len());
    let arguments = w.argument(device, x, xr, y, yr);
    launch(device, w.mat, arguments);
}

/// [`crate::Backend::qkv`]: the kernel writes keys and values directly to the cache.
pub(super) fn qkv(
    device: &mut Device,
    w: &Linear<CudaBackend>,
    x: &Array<f32>,
    at: LayerRows,
    pos: &Array<i32>,
    q: &mut Array<f32>,
    kv: &mut Kv,
) {
    let LayerRows { layer, lanes, n } = at;
    let (rows, dim) = (lanes * n, w.weight.cols);
    assert_eq!(w.weight.rows, 3 * dim, "qkv: w is [3·dim, dim]");
    assert_eq!(kv.heads.heads * kv.heads.head_dim, dim, "qkv: the cache's heads");
    assert!(lanes <= kv.lanes && q.len() >= rows * dim, "qkv: {lanes} lanes of {}, q of {}", kv.lanes, q.len());
    assert!(!w.add, "qkv: nothing to add to");
    let (k, v) = kv.layer(device, layer);
    let arguments = Argument {
        k,
        v,
        pos: device.at(pos),
        append: 1,
        n: n as i32,
        dim: dim as i32,
        head_dim: kv.heads.head_dim as i32,
        padded: kv.padded as i32,
        steps: kv.steps as i32,
        keys_bf16: i32::from(kv.bf16),
        k_head: kv.head_bytes.0 as i64,
        v_head: kv.head_bytes.1 as i64,
        ..Product::of(w).argument(device, x, Rows::packed(rows, dim), q, Rows::packed(rows, dim))
    };
    launch(device, &w.weight, arguments);
}
