//! Matrix products: one register tile for one row (GEMV) and for many (GEMM). Each output is one sum over ascending k, or over
//! ascending blocks of 32 k where x is quantized.
//!
//! Rows of x are packed tile by tile, [k][rows of the tile], so that a tile reads contiguous memory; they are normalised and
//! quantized while they are packed. Then threads divide either the panels of the weights (few rows: weights are read once), or the rows (many rows and
//! few panels: a convolution over a whole recording).

use super::mat::{Mat, PANEL, Packed, PanelRange};
use super::mem::{ints, ints_of};
use super::pool::Shared;
use super::{CpuBackend, Isa, Workers, activations, int8, kernel};
use crate::{Act, Linear, Norm, Rows};
use std::ops::Range;

/// Rows that are packed at once where threads divide the panels.
const PACKED_ROWS: usize = 480;
/// Rows of one item where threads divide the rows.
const ITEM_ROWS: usize = 96;
/// Below this many multiplications one thread is faster than several.
const ALONE: usize = 24 << 10;

/// One product: a [`Linear`], or a bare matrix.
pub(super) struct Product<'a> {
    pub mat: &'a Mat,
    pub bias: Option<&'a [f32]>,
    pub norm: Option<&'a Norm<CpuBackend>>,
    pub act: Act,
    pub add: bool,
}

impl<'a> Product<'a> {
    pub(super) fn of(w: &'a Linear<CpuBackend>) -> Self {
        Product { mat: &w.weight, bias: w.bias.as_deref(), norm: w.norm.as_ref(), act: w.act, add: w.add }
    }

    pub(super) fn bare(mat: &'a Mat) -> Self {
        Product { mat, bias: None, norm: None, act: Act::None, add: false }
    }

    /// The most rows of x in one tile.
    fn tile_rows(&self, isa: Isa) -> usize {
        match self.mat.packed() {
            Packed::Floats(_) => kernel::rows(isa),
            Packed::Ints(_) => int8::ROWS,
        }
    }

    /// Panels of a tile of `rows` rows.
    fn group(&self, isa: Isa, rows: usize) -> usize {
        match self.mat.packed() {
            Packed::Floats(_) => kernel::group(isa, rows),
            Packed::Ints(_) => int8::group(isa, rows),
        }
    }

    /// 32-bit values that a packed row of x takes.
    fn packed_len(&self) -> usize {
        match self.mat.packed() {
            Packed::Floats(_) => self.mat.cols,
            Packed::Ints(_) => activations::row_len(self.mat.cols),
        }
    }
}

/// `y = act(W · norm(x) + bias)` or `y += …`, rows `xr` of `x` to rows `yr` of `y`.
pub(super) fn product(work: &mut Workers, w: &Product, x: &[f32], xr: Rows, y: &mut [f32], yr: Rows) {
    let (rows, cols) = (w.mat.rows, w.mat.cols);
    assert_eq!(xr.count, yr.count, "linear: rows of x and y");
    assert!(yr.count <= 1 || yr.stride >= rows, "linear: rows of {rows} values overlap at stride {}", yr.stride);
    assert!(xr.end(cols) <= x.len(), "linear: {xr:?} of {cols} values in x of {}", x.len());
    assert!(yr.end(rows) <= y.len(), "linear: {yr:?} of {rows} values in y of {}", y.len());
    assert!(w.bias.is_none_or(|b| b.len() >= rows), "linear: bias shorter than {rows} rows");
    let normed = |n: &Norm<CpuBackend>| n.weight.len() >= cols && n.bias.as_ref().is_none_or(|b| b.len() >= cols);
    assert!(w.norm.is_none_or(normed), "linear: norm shorter than {cols} columns");
    let (panels, threads, isa, len) = (rows.div_ceil(PANEL), work.pool.threads(), work.isa, w.packed_len());
    let y = Shared::new(y);
    // Room for both ways, so that a later call with fewer rows never needs more.
    work.packed.grow(xr.count.min(PACKED_ROWS) * cols);
    work.own.iter_mut().for_each(|own| own.grow((xr.count.min(ITEM_ROWS) + 1) * cols));
    let alone = rows * cols * xr.count < ALONE;
    if xr.count >= ITEM_ROWS * threads && panels < 8 * threads {
        let items = xr.count.div_ceil(ITEM_ROWS);
        let own = Shared::new(&mut work.own);
        work.pool.each(items, &|worker, item| {
            // SAFETY: each thread takes only its own scratch memory.
            let scratch = &mut unsafe { own.slice(worker, 1) }[0];
            let (row, packed) = scratch.split_at_mut(cols);
            let (first, count) = (item * ITEM_ROWS, ITEM_ROWS.min(xr.count - item * ITEM_ROWS));
            let tiles = Tiles::new(count, w.tile_rows(isa));
            for t in 0..tiles.count {
                let (at, rows) = tiles.at(t);
                pack(isa, w, x, xr.part(first + at, rows), &mut packed[at * len..][..rows * len], row);
            }
            strip(isa, w, packed, tiles, 0..panels, y, yr.part(first, count));
        });
        return;
    }
    for first in (0..xr.count).step_by(PACKED_ROWS) {
        let count = PACKED_ROWS.min(xr.count - first);
        let tiles = Tiles::new(count, w.tile_rows(isa));
        let at = xr.at + first * xr.stride;
        let as_it_is = count == 1 && w.norm.is_none() && matches!(w.mat.packed(), Packed::Floats(_));
        let packed: &[f32] = if as_it_is {
            &x[at..at + cols]
        } else {
            let own = Shared::new(&mut work.own);
            let packed = Shared::new(&mut work.packed[..count * len]);
            let one = |worker: usize, t: usize| {
                let (at, rows) = tiles.at(t);
                // SAFETY: each thread takes only its own scratch memory, each item its own tile.
                let (row, packed) = unsafe { (&mut own.slice(worker, 1)[0], packed.slice(at * len, rows * len)) };
                pack(isa, w, x, xr.part(first + at, rows), packed, row);
            };
            if count * cols < ALONE {
                (0..tiles.count).for_each(|t| one(0, t))
            } else {
                work.pool.each(tiles.count, &one)
            }
            &work.packed[..count * len]
        };
        let group = w.group(isa, tiles.largest());
        let items = if alone { 1 } else { panels.div_ceil(group).min(threads * 8) };
        let each = panels.div_ceil(group).div_ceil(items) * group;
        let yr = yr.part(first, count);
        work.pool.each(panels.div_ceil(each), &|_, item| {
            strip(isa, w, packed, tiles, item * each..panels.min((item + 1) * each), y, yr);
        });
    }
}

/// Rows divided into tiles of nearly equal size.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    count: usize,
}

impl Tiles {
    fn new(rows: usize, largest: usize) -> Tiles {
        Tiles { rows, count: rows.div_ceil(largest) }
    }

    fn largest(self) -> usize {
        self.rows.div_ceil(self.count)
    }

    /// First row and number of rows of tile `t`.
    fn at(self, t: usize) -> (usize, usize) {
        let (each, more) = (self.rows / self.count, self.rows % self.count);
        (t * each + t.min(more), each + usize::from(t < more))
    }
}

/// Packs one tile's rows of x, normalised: [k][rows], or quantized ([`activations`]). `scratch` holds one row.
fn pack(isa: Isa, w: &Product, x: &[f32], rows: Rows, packed: &mut [f32], scratch: &mut [f32]) {
    let cols = w.mat.cols;
    let row_of = |row: usize| &x[rows.at + row * rows.stride..][..cols];
    let norm = |norm: &Norm<CpuBackend>, row: usize, out: &mut [f32]| {
        let bias = norm.bias.as_ref().map(|b| &b[..cols]);
        kernel::norm(isa, row_of(row), &norm.weight[..cols], bias, norm.eps, out);
    };
    match (w.mat.packed(), w.norm) {
        (Packed::Ints(blocks), n) => {
            let (packed, offset) = (ints(packed), blocks.bits().offset());
            for row in 0..rows.count {
                let x = match n {
                    Some(n) => {
                        norm(n, row, &mut scratch[..cols]);
                        &scratch[..cols]
                    }
                    None => row_of(row),
                };
                int8::quantize(isa, x, offset, packed, row, rows.count);
            }
        }
        (Packed::Floats(_), Some(n)) => {
            for row in 0..rows.count {
                norm(n, row, &mut scratch[..cols]);
                interleave(packed, row, rows.count, &scratch[..cols]);
            }
        }
        // A stretch of all rows, then the next one: what is written stays in the cache until its lines are full.
        (Packed::Floats(_), None) => {
            for (k, packed) in packed.chunks_mut(STRETCH * rows.count).enumerate() {
                for row in 0..rows.count {
                    interleave(packed, row, rows.count, &row_of(row)[k * STRETCH..cols.min((k + 1) * STRETCH)]);
                }
            }
        }
    }
}

/// Columns that [`pack`] writes for all rows before it goes on.
const STRETCH: usize = 128;

/// Writes row `row` of `rows` into [k][rows].
fn interleave(packed: &mut [f32], row: usize, rows: usize, x: &[f32]) {
    packed[row..].iter_mut().step_by(rows).zip(x).for_each(|(p, x)| *p = *x);
}

/// All tiles times the given panels, finished into y.
fn strip(isa: Isa, w: &Product, packed: &[f32], tiles: Tiles, panels: Range<usize>, y: Shared<f32>, yr: Rows) {
    let (rows, cols) = (w.mat.rows, w.mat.cols);
    let len = w.packed_len();
    let group = w.group(isa, tiles.largest());
    let mut acc = kernel::Acc::default();
    let end = panels.end;
    for first in panels.step_by(group) {
        let panels = group.min(end - first);
        let (col, width) = (first * PANEL, (panels * PANEL).min(rows - first * PANEL));
        for t in 0..tiles.count {
            let (tile_row, tile_rows) = tiles.at(t);
            let x = &packed[tile_row * len..][..tile_rows * len];
            match w.mat.packed() {
                Packed::Floats(view) => {
                    kernel::tile(isa, PanelRange { view, first, count: panels }, cols, x, tile_rows, &mut acc.0)
                }
                Packed::Ints(blocks) => int8::tile(isa, blocks.range(first, panels), ints_of(x), tile_rows, &mut acc.0),
            }
            for row in 0..tile_rows {
                // SAFETY: the rows of y don't overlap (checked above), the tiles of one strip come one after another, and other
                // threads write other columns or other rows.
                let y = unsafe { y.slice(yr.at + (tile_row + row) * yr.stride + col, width) };
                let bias = w.bias.map(|b| &b[col..][..width]);
                kernel::finish(isa, &acc.0[row * panels * PANEL..][..width], bias, w.act, w.add, y);
            }
        }
    }
}
