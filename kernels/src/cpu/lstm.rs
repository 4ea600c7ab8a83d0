//! LSTM with carried state: the input product of all rows at once, then the recurrence row by row.

use super::linear::{Product, product};
use super::mem::Store;
use super::{CpuBackend, Workers, kernel};
use crate::{Lstm, Rows};

/// Rows whose gates are computed at a time.
const ROWS: usize = 64;

/// Scratch memory of LSTMs.
#[derive(Default)]
pub(super) struct Scratch {
    gates: Store<f32>,
    recurrent: Store<f32>,
    rows: Store<f32>,
}

impl Scratch {
    /// y = LSTM(x) + x over rows of `size` values; `state` [layers, 2 (h, c), size] is updated.
    pub(super) fn run(
        &mut self,
        work: &mut Workers,
        w: &Lstm<CpuBackend>,
        (x, xr): (&[f32], Rows),
        state: &mut [f32],
        (y, yr): (&mut [f32], Rows),
    ) {
        let (size, layers) = (w.size, w.input.len());
        assert!(layers > 0 && w.hidden.len() == layers, "lstm: {layers} input and {} hidden matrices", w.hidden.len());
        assert_eq!(xr.count, yr.count, "lstm: rows of x and y");
        assert!(state.len() >= layers * 2 * size, "lstm: state of {} for {layers} layers of {size}", state.len());
        assert!(xr.end(size) <= x.len() && yr.end(size) <= y.len(), "lstm: rows of {size} out of bounds");
        self.recurrent.grow(4 * size);
        for first in (0..xr.count).step_by(ROWS) {
            let count = ROWS.min(xr.count - first);
            self.gates.grow(count * 4 * size);
            self.rows.grow(count * size);
            for layer in 0..layers {
                let (input, hidden) = (&w.input[layer], &w.hidden[layer]);
                assert!(
                    [input.weight.rows, hidden.rows] == [4 * size; 2] && [input.weight.cols, hidden.cols] == [size; 2],
                    "lstm: not [4·{size}, {size}]"
                );
                let gates_at = Rows::packed(count, 4 * size);
                if layer == 0 {
                    product(work, &Product::of(input), x, xr.part(first, count), &mut self.gates, gates_at);
                } else {
                    product(work, &Product::of(input), &self.rows, Rows::packed(count, size), &mut self.gates, gates_at);
                }
                let (h, c) = state[layer * 2 * size..][..2 * size].split_at_mut(size);
                for row in 0..count {
                    product(
                        work,
                        &Product::bare(hidden),
                        h,
                        Rows::packed(1, size),
                        &mut self.recurrent,
                        Rows::packed(1, 4 * size),
                    );
                    kernel::lstm_gates(work.isa, &self.gates[row * 4 * size..][..4 * size], &self.recurrent[..4 * size], c, h);
                    self.rows[row * size..][..size].copy_from_slice(h);
                }
            }
            for row in 0..count {
                let (from, to) = (xr.at + (first + row) * xr.stride, yr.at + (first + row) * yr.stride);
                for j in 0..size {
                    y[to + j] = self.rows[row * size + j] + x[from + j];
                }
            }
        }
    }
}
