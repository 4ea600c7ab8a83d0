//! LSTM with carried state: the input product of all rows at once, then the recurrence row by row.

use super::linear::{Product, product, span};
use super::mem::Store;
use super::{CpuBackend, Workers, kernel};
use crate::{Lstm, Rows};

/// Rows whose gates are held at once.
const ROWS: usize = 64;

/// Scratch of [`lstm`].
#[derive(Default)]
pub(super) struct Scratch {
    gates: Store<f32>,
    recurrent: Store<f32>,
    rows: Store<f32>,
}

/// y = LSTM(x) + x over rows of `size` values; `state` [layers, 2 (h, c), size] moves on.
pub(super) fn lstm(
    work: &mut Workers,
    scratch: &mut Scratch,
    w: &Lstm<CpuBackend>,
    x: &[f32],
    xr: Rows,
    state: &mut [f32],
    y: &mut [f32],
    yr: Rows,
) {
    let (size, layers) = (w.size, w.input.len());
    assert!(layers > 0 && w.hidden.len() == layers, "lstm: {layers} input and {} hidden matrices", w.hidden.len());
    assert_eq!(xr.count, yr.count, "lstm: rows of x and y");
    assert!(state.len() >= layers * 2 * size, "lstm: state of {} for {layers} layers of {size}", state.len());
    assert!(span(xr, size) <= x.len() && span(yr, size) <= y.len(), "lstm: rows of {size} out of bounds");
    scratch.recurrent.grow(4 * size);
    for first in (0..xr.count).step_by(ROWS) {
        let count = ROWS.min(xr.count - first);
        scratch.gates.grow(count * 4 * size);
        scratch.rows.grow(count * size);
        for layer in 0..layers {
            let (input, hidden) = (&w.input[layer], &w.hidden[layer]);
            assert!(
                [input.weight.rows, hidden.rows] == [4 * size; 2] && [input.weight.cols, hidden.cols] == [size; 2],
                "lstm: not [4·{size}, {size}]"
            );
            let gates_at = Rows::packed(count, 4 * size);
            if layer == 0 {
                let from = Rows { count, at: xr.at + first * xr.stride, ..xr };
                product(work, &Product::of(input), x, from, &mut scratch.gates, gates_at);
            } else {
                product(work, &Product::of(input), &scratch.rows, Rows::packed(count, size), &mut scratch.gates, gates_at);
            }
            let (h, c) = state[layer * 2 * size..][..2 * size].split_at_mut(size);
            for row in 0..count {
                product(
                    work,
                    &Product::bare(hidden),
                    h,
                    Rows::packed(1, size),
                    &mut scratch.recurrent,
                    Rows::packed(1, 4 * size),
                );
                kernel::lstm_gates(work.isa, &scratch.gates[row * 4 * size..][..4 * size], &scratch.recurrent[..4 * size], c, h);
                scratch.rows[row * size..][..size].copy_from_slice(h);
            }
        }
        for row in 0..count {
            let (from, to) = (xr.at + (first + row) * xr.stride, yr.at + (first + row) * yr.stride);
            for j in 0..size {
                y[to + j] = scratch.rows[row * size + j] + x[from + j];
            }
        }
    }
}
