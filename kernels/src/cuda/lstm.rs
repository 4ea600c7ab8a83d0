//! LSTM: the input product of many rows at once, then the recurrent product and the gates row by row.

use super::device::Device;
use super::kernel::{self, Kernel};
use super::linear::{Product, product};
use super::mem::Array;
use super::{CudaBackend, blocks};
use crate::{Lstm, Rows};

/// Rows whose gates are computed at a time.
const ROWS: usize = 64;

/// Scratch memory of LSTMs.
#[derive(Default)]
pub(super) struct Scratch {
    /// [ROWS, 4 size].
    gates: Option<Array<f32>>,
    /// [4 size].
    recurrent: Option<Array<f32>>,
    /// Output of a layer and of the layer before it, [ROWS, size].
    rows: [Option<Array<f32>>; 2],
}

impl Scratch {
    /// [`crate::Backend::lstm`].
    pub(super) fn run(
        &mut self,
        device: &mut Device,
        w: &Lstm<CudaBackend>,
        (x, xr): (&Array<f32>, Rows),
        state: &mut Array<f32>,
        (y, yr): (&mut Array<f32>, Rows),
    ) {
        let (size, layers) = (w.size, w.input.len());
        assert!(layers > 0 && w.hidden.len() == layers, "lstm: {layers} input and {} hidden matrices", w.hidden.len());
        assert_eq!(xr.count, yr.count, "lstm: rows of x and y");
        assert!(state.len() >= layers * 2 * size, "lstm: state of {} for {layers} layers of {size}", state.len());
        assert!(xr.end(size) <= x.len() && yr.end(size) <= y.len(), "lstm: rows of {size} out of bounds");
        for (input, hidden) in w.input.iter().zip(&w.hidden) {
            let shapes = [input.weight.rows, hidden.rows] == [4 * size; 2] && [input.weight.cols, hidden.cols] == [size; 2];
            assert!(shapes, "lstm: not [4·{size}, {size}]");
        }
        Array::grow(&mut self.gates, device, ROWS * 4 * size);
        Array::grow(&mut self.recurrent, device, 4 * size);
        self.rows.iter_mut().for_each(|rows| Array::grow(rows, device, ROWS * size));
        let Scratch { gates: Some(gates), recurrent: Some(recurrent), rows: [Some(a), Some(b)] } = self else { return };
        let (mut rows, mut before) = (a, b);
        for first in (0..xr.count).step_by(ROWS) {
            let count = ROWS.min(xr.count - first);
            for (layer, (input, hidden)) in w.input.iter().zip(&w.hidden).enumerate() {
                let gates_at = Rows::packed(count, 4 * size);
                if layer == 0 {
                    product(device, &Product::of(input), x, xr.part(first, count), gates, gates_at);
                } else {
                    std::mem::swap(&mut rows, &mut before);
                    product(device, &Product::of(input), before, Rows::packed(count, size), gates, gates_at);
                }
                let h = Rows { count: 1, at: layer * 2 * size, stride: size };
                for row in 0..count {
                    product(device, &Product::bare(hidden), state, h, recurrent, Rows::packed(1, 4 * size));
                    let state_at = device.at(state) + 4 * h.at as u64;
                    let arguments = kernel::LstmGates {
                        gates: device.at(gates) + 16 * (row * size) as u64,
                        hidden: device.at(recurrent),
                        h: state_at,
                        c: state_at + 4 * size as u64,
                        row: device.at(rows) + 4 * (row * size) as u64,
                        size: size as i32,
                        unused: 0,
                    };
                    device.launch(Kernel::LstmGates, blocks(size), 256, 0, arguments);
                }
            }
            let arguments = kernel::AddRows {
                rows: device.at(rows),
                x: device.at(x),
                y: device.at(y),
                x_at: (xr.at + first * xr.stride) as i64,
                x_stride: xr.stride as i64,
                y_at: (yr.at + first * yr.stride) as i64,
                y_stride: yr.stride as i64,
                count: count as i32,
                width: size as i32,
            };
            device.launch(Kernel::AddRows, blocks(count * size), 256, 0, arguments);
        }
    }
}
