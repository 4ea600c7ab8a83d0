//! Operations on rows whose kernels compute one value a thread.

use super::device::Device;
use super::kernel::{self, Kernel};
use super::mem::Array;
use super::{CudaBackend, blocks};
use crate::{Depthwise, Rows};

/// [`crate::Backend::elu`].
pub(super) fn elu(device: &mut Device, x: &Array<f32>, y: &mut Array<f32>, len: usize) {
    assert!(len <= x.len().min(y.len()), "elu: {len} values of {} and {}", x.len(), y.len());
    if len > 0 {
        let arguments = kernel::Elu { x: device.at(x), y: device.at(y), len: len as i64 };
        device.launch(Kernel::Elu, blocks(len), 256, 0, arguments);
    }
}

/// [`crate::Backend::depthwise`].
pub(super) fn depthwise(
    device: &mut Device,
    w: &Depthwise<CudaBackend>,
    x: &Array<f32>,
    x_at: usize,
    count: usize,
    y: &mut Array<f32>,
) {
    let Depthwise { ref taps, ref bias, kernel, dim } = *w;
    assert!(kernel > 0 && taps.len() >= kernel * dim && bias.len() >= dim, "depthwise: weights of {kernel} × {dim}");
    assert!(Rows { count, at: x_at, stride: dim }.end(kernel * dim) <= x.len(), "depthwise: {count} rows of x");
    assert!(count * dim <= y.len(), "depthwise: {count} rows of y");
    if count > 0 {
        let arguments = kernel::Depthwise {
            w: device.at(taps),
            bias: device.at(bias),
            x: device.at(x) + 4 * x_at as u64,
            y: device.at(y),
            kernel: kernel as i32,
            dim: dim as i32,
            count: count as i32,
            unused: 0,
        };
        device.launch(Kernel::Depthwise, blocks(count * dim), 256, 0, arguments);
    }
}
