//! The operations of source separators: group normalisation, GLU, rows of LayerNorm, addition.

use super::mem::Store;
use super::pool::Shared;
use super::{CpuBackend, Workers, kernel};
use crate::{Act, GroupNorm, Groups, Norm, SeparatorBackend};

/// Values that one item of work has at least, except the last: it fits a core's cache.
const ITEM: usize = 16 << 10;
/// Sums that run beside each other, so that the compiler can use vectors.
const LANES: usize = 8;

/// Memory of group normalisation.
#[derive(Default)]
pub(super) struct Scratch {
    /// Σx and Σx² of each block of rows and each group [blocks, groups, 2].
    sums: Vec<f64>,
    /// Mean and 1/√(variance + eps) of each group [groups, 2].
    stats: Vec<f32>,
}

/// Adds the values of a row, and their squares, to sums in [`LANES`] lanes.
pub(super) fn row_sums(x: &[f32], sums: &mut [f64; LANES], squares: &mut [f64; LANES]) {
    let whole = x.chunks_exact(LANES);
    let rest = whole.remainder();
    for x in whole {
        for j in 0..LANES {
            let v = f64::from(x[j]);
            sums[j] += v;
            squares[j] += v * v;
        }
    }
    for (j, x) in rest.iter().enumerate() {
        let v = f64::from(*x);
        sums[j] += v;
        squares[j] += v * v;
    }
}

/// y = (x − mean) · rstd · weight + bias.
#[inline(always)]
pub(super) fn scale_row(x: &[f32], stats: (f32, f32), weight: &[f32], bias: &[f32], y: &mut [f32]) {
    for ((y, x), (w, b)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
        *y = ((x - stats.0) * stats.1).mul_add(*w, *b);
    }
}

/// y += scale · x.
#[inline(always)]
pub(super) fn add_scaled(x: &[f32], scale: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x.iter().zip(scale)).for_each(|(y, (x, s))| *y = x.mul_add(*s, *y));
}

/// Rows of all groups in one item of work.
fn block(at: Groups) -> usize {
    ITEM.div_ceil(at.groups * at.width).min(at.rows)
}

impl Scratch {
    /// Fills in mean and 1/√(variance + eps) of each group.
    fn measure(&mut self, work: &mut Workers, at: Groups, eps: f32, x: &[f32]) {
        let Groups { groups, rows, width } = at;
        let (isa, block) = (work.isa, block(at));
        let blocks = rows.div_ceil(block);
        self.sums.clear();
        self.sums.resize(blocks * groups * 2, 0.0);
        let sums = Shared::new(&mut self.sums);
        work.pool.each(blocks, &|_, b| {
            // SAFETY: blocks do not overlap.
            let sums = unsafe { sums.slice(b * groups * 2, groups * 2) };
            for (g, sums) in sums.chunks_exact_mut(2).enumerate() {
                let (mut sum, mut square) = ([0.0; LANES], [0.0; LANES]);
                for r in b * block..rows.min((b + 1) * block) {
                    kernel::row_sums(isa, &x[(r * groups + g) * width..][..width], &mut sum, &mut square);
                }
                (sums[0], sums[1]) = (sum.iter().sum(), square.iter().sum());
            }
        });
        self.stats.clear();
        let count = (rows * width) as f64;
        for g in 0..groups {
            let total = |i: usize| (0..blocks).map(|b| self.sums[(b * groups + g) * 2 + i]).sum::<f64>();
            let mean = total(0) / count;
            let variance = (total(1) / count - mean * mean).max(0.0);
            self.stats.extend([mean as f32, (1.0 / (variance + f64::from(eps)).sqrt()) as f32]);
        }
    }
}

impl CpuBackend {
    /// Checks the sizes of a group normalisation.
    fn check(w: &GroupNorm<Self>, at: Groups, x: &[f32]) {
        assert!(!at.is_empty() && at.len() <= x.len(), "group_norm: {at:?} in x of {}", x.len());
        assert!(w.weight.len() >= at.width && w.bias.len() >= at.width, "group_norm: weights shorter than {}", at.width);
    }
}

impl SeparatorBackend for CpuBackend {
    fn group_norm(&mut self, w: &GroupNorm<Self>, at: Groups, gelu: bool, x: &mut Store<f32>) {
        Self::check(w, at, x);
        self.groups.measure(&mut self.work, at, w.eps, x);
        let Groups { groups, rows, width } = at;
        let (isa, block, stats) = (self.work.isa, block(at), &self.groups.stats);
        let (weight, bias) = (&w.weight[..width], &w.bias[..width]);
        let x = Shared::new(x);
        self.work.own.iter_mut().for_each(|own| own.grow(block * groups * width));
        let own = Shared::new(&mut self.work.own);
        self.work.pool.each(rows.div_ceil(block), &|worker, b| {
            let rows = rows.min((b + 1) * block) - b * block;
            // SAFETY: blocks do not overlap; each thread takes only its own scratch memory.
            let (x, scratch) =
                unsafe { (x.slice(b * block * groups * width, rows * groups * width), &mut own.slice(worker, 1)[0]) };
            let scratch = &mut scratch[..x.len()];
            for (i, (x, y)) in x.chunks_exact(width).zip(scratch.chunks_exact_mut(width)).enumerate() {
                let g = i % groups;
                kernel::scale_row(isa, x, (stats[2 * g], stats[2 * g + 1]), weight, bias, y);
            }
            if gelu {
                kernel::finish(isa, scratch, None, Act::Gelu, false, x);
            } else {
                x.copy_from_slice(scratch);
            }
        });
    }

    fn group_norm_glu(&mut self, w: &GroupNorm<Self>, at: Groups, x: &Store<f32>, scale: &Store<f32>, y: &mut Store<f32>) {
        Self::check(w, at, x);
        let Groups { groups, rows, width } = at;
        let half = width / 2;
        assert!(width == 2 * half && scale.len() >= half && y.len() >= at.len() / 2, "group_norm_glu: {at:?}, y of {}", y.len());
        self.groups.measure(&mut self.work, at, w.eps, x);
        let (isa, block, stats) = (self.work.isa, block(at), &self.groups.stats);
        let (weight, bias, scale) = (&w.weight[..width], &w.bias[..width], &scale[..half]);
        let y = Shared::new(y);
        self.work.own.iter_mut().for_each(|own| own.grow(width + half));
        let own = Shared::new(&mut self.work.own);
        self.work.pool.each(rows.div_ceil(block), &|worker, b| {
            let first = b * block * groups;
            let count = rows.min((b + 1) * block) * groups - first;
            // SAFETY: blocks do not overlap; each thread takes only its own scratch memory.
            let (y, scratch) = unsafe { (y.slice(first * half, count * half), &mut own.slice(worker, 1)[0]) };
            let (normed, gated) = scratch[..width + half].split_at_mut(width);
            for (i, (x, y)) in x[first * width..].chunks_exact(width).zip(y.chunks_exact_mut(half)).enumerate() {
                let g = (first + i) % groups;
                kernel::scale_row(isa, x, (stats[2 * g], stats[2 * g + 1]), weight, bias, normed);
                kernel::glu(isa, &normed[..half], &normed[half..], gated);
                kernel::add_scaled(isa, gated, scale, y);
            }
        });
    }

    fn glu(&mut self, x: &Store<f32>, rows: usize, width: usize, y: &mut Store<f32>) {
        let (x, isa, y) = (&x[..rows * 2 * width], self.work.isa, Shared::new(&mut y[..rows * width]));
        let block = ITEM.div_ceil(width.max(1));
        self.work.pool.each(rows.div_ceil(block), &|_, b| {
            let (first, count) = (b * block, rows.min((b + 1) * block) - b * block);
            // SAFETY: blocks do not overlap.
            let y = unsafe { y.slice(first * width, count * width) };
            for (x, y) in x[first * 2 * width..].chunks_exact(2 * width).zip(y.chunks_exact_mut(width)) {
                kernel::glu(isa, &x[..width], &x[width..], y);
            }
        });
    }

    fn norm_rows(&mut self, norm: &Norm<Self>, x: &Store<f32>, rows: usize, width: usize, y: &mut Store<f32>) {
        let (x, isa, y) = (&x[..rows * width], self.work.isa, Shared::new(&mut y[..rows * width]));
        let (weight, bias) = (&norm.weight[..width], norm.bias.as_ref().map(|b| &b[..width]));
        self.work.pool.each(rows, &|_, r| {
            // SAFETY: rows do not overlap.
            kernel::norm(isa, &x[r * width..][..width], weight, bias, norm.eps, unsafe { y.slice(r * width, width) });
        });
    }

    fn add_bias(&mut self, bias: &Store<f32>, gelu: bool, x: &mut Store<f32>, rows: usize) {
        let (width, isa, act) = (bias.len(), self.work.isa, if gelu { Act::Gelu } else { Act::None });
        let x = Shared::new(&mut x[..rows * width]);
        self.work.own.iter_mut().for_each(|own| own.grow(width));
        let own = Shared::new(&mut self.work.own);
        self.work.pool.each(rows, &|worker, r| {
            // SAFETY: rows do not overlap; each thread takes only its own scratch memory.
            let (x, scratch) = unsafe { (x.slice(r * width, width), &mut own.slice(worker, 1)[0]) };
            scratch[..width].copy_from_slice(x);
            kernel::finish(isa, &scratch[..width], Some(&bias[..]), act, false, x);
        });
    }

    fn add(&mut self, x: &Store<f32>, x_at: usize, y: &mut Store<f32>, y_at: usize, len: usize) {
        let (x, y) = (&x[x_at..x_at + len], &mut y[y_at..y_at + len]);
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    }
}
