//! Attention: how rows are dealt out to launches, and scratch for what blocks of one row leave each other.

use super::device::Device;
use super::kernel::{self, Kernel};
use super::kv::Kv;
use super::mem::Array;

/// Steps that one block takes, and the threads it has (attention.cu).
const CHUNK: usize = 128;
/// Values that a block leaves: a sum for each column of the widest head, the largest score, the total.
const LEFT: usize = 256 + 2;
/// Values of scratch at most: more rows than fit are dealt out to several launches.
const SCRATCH: usize = 4 << 20;

/// Scratch of [`attend`].
#[derive(Default)]
pub(super) struct Scratch {
    /// [rows · heads, splits, LEFT].
    partial: Option<Array<f32>>,
    /// Blocks of a row that are done [rows · heads]; zero between launches.
    tickets: Option<Array<u32>>,
}

/// Rows of `q` attend to steps up to `pos` + i of their lane, or (without `pos`) to the lane's whole text.
pub(super) fn attend(
    device: &mut Device,
    scratch: &mut Scratch,
    q: &Array<f32>,
    lanes: usize,
    n: usize,
    layer: usize,
    pos: Option<&Array<i32>>,
    kv: &Kv,
    out: &mut Array<f32>,
) {
    let (heads, width) = (kv.heads.heads, kv.heads.head_dim);
    let rows = lanes * n;
    assert!(lanes <= kv.lanes, "attend: {lanes} lanes of {}", kv.lanes);
    assert!(q.len() >= rows * heads * width && out.len() >= rows * heads * width, "attend: {rows} rows of {}", heads * width);
    let splits = kv.steps.div_ceil(CHUNK);
    let most = (SCRATCH / (heads * splits * LEFT)).clamp(1, rows.max(1));
    if splits > 1 {
        Array::grow(&mut scratch.partial, device, most * heads * splits * LEFT);
        Array::grow(&mut scratch.tickets, device, most * heads);
    }
    let (k, v) = kv.layer(device, layer);
    let mut arguments = kernel::Attend {
        q: device.at(q),
        k,
        v,
        pos: pos.map_or(0, |pos| device.at(pos)),
        lens: if pos.is_some() { 0 } else { device.at(&kv.lens) },
        out: device.at(out),
        partial: scratch.partial.as_ref().map_or(0, |a| device.at(a)),
        tickets: scratch.tickets.as_ref().map_or(0, |a| device.at(a)),
        k_head: kv.head_bytes.0 as i64,
        v_head: kv.head_bytes.1 as i64,
        first_row: 0,
        n: n as i32,
        heads: heads as i32,
        head_dim: width as i32,
        padded: kv.padded as i32,
        steps: kv.steps as i32,
        splits: splits as i32,
        scale: 1.0 / (width as f32).sqrt(),
    };
    let kernel = if kv.bf16 { Kernel::AttendBf16 } else { Kernel::AttendF32 };
    for first in (0..rows).step_by(most) {
        arguments.first_row = first as i32;
        let grid = ((most.min(rows - first) * heads) as u32, splits as u32);
        device.launch(kernel, grid, CHUNK as u32, 0, arguments);
    }
}

/// [`crate::Backend::set_text`].
pub(super) fn set_text(
    device: &mut Device,
    text: &mut Kv,
    layer: usize,
    lane: usize,
    len: usize,
    k: &Array<f32>,
    v: &Array<f32>,
) {
    let dim = text.heads.heads * text.heads.head_dim;
    assert!(lane < text.lanes && len <= text.steps, "set_text: lane {lane}, {len} steps of {} × {}", text.lanes, text.steps);
    assert!(k.len() >= len * dim && v.len() >= len * dim, "set_text: {len} rows of {dim}");
    let (keys, values) = text.layer(device, layer);
    let before = lane * text.heads.heads;
    if len > 0 {
        let arguments = kernel::SetText {
            keys: device.at(k),
            values: device.at(v),
            k: keys + (before * text.head_bytes.0) as u64,
            v: values + (before * text.head_bytes.1) as u64,
            k_head: text.head_bytes.0 as i64,
            v_head: text.head_bytes.1 as i64,
            heads: text.heads.heads as i32,
            head_dim: text.heads.head_dim as i32,
            padded: text.padded as i32,
            bf16: i32::from(text.bf16),
        };
        device.launch(Kernel::SetText, (len as u32, 1), dim.next_multiple_of(32).min(256) as u32, 0, arguments);
    }
    device.write(&mut text.lens, lane, &[len as i32]);
}
