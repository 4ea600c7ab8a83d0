//! Attention: how rows are divided among launches, and the scratch memory through which blocks of one row combine their results.

use super::device::Device;
use super::kernel::{self, Kernel};
use super::kv::Kv;
use super::mem::Array;
use crate::{LaneText, LayerRows};

/// Steps that one block takes, and its threads (attention.cu).
const CHUNK: usize = 128;
/// Values that a block writes: a sum for each column of the widest head, the largest score, the total.
const PARTIAL: usize = 256 + 2;
/// The most values of scratch memory: more rows than fit are divided among several launches.
const SCRATCH: usize = 4 << 20;

/// Scratch memory of attention.
#[derive(Default)]
pub(super) struct Scratch {
    /// [rows · heads, splits, PARTIAL].
    partial: Option<Array<f32>>,
    /// Blocks of a row that are done [rows · heads]; zero between launches.
    finished: Option<Array<u32>>,
}

impl Scratch {
    /// Row (lane, i) of `q` attends to steps 0..=`pos` + i of its lane, or (without `pos`) to the lane's whole text.
    pub(super) fn attend(
        &mut self,
        device: &mut Device,
        q: &Array<f32>,
        at: LayerRows,
        pos: Option<&Array<i32>>,
        kv: &Kv,
        out: &mut Array<f32>,
    ) {
        let LayerRows { layer, lanes, n } = at;
        let (heads, width) = (kv.heads.heads, kv.heads.head_dim);
        let rows = lanes * n;
        assert!(lanes <= kv.lanes, "attend: {lanes} lanes of {}", kv.lanes);
        assert!(q.len() >= rows * heads * width && out.len() >= rows * heads * width, "attend: {rows} rows of {}", heads * width);
        let splits = kv.steps.div_ceil(CHUNK);
        let most = (SCRATCH / (heads * splits * PARTIAL)).clamp(1, rows.max(1));
        if splits > 1 {
            Array::grow(&mut self.partial, device, most * heads * splits * PARTIAL);
            Array::grow(&mut self.finished, device, most * heads);
        }
        let (k, v) = kv.layer(device, layer);
        let mut arguments = kernel::Attend {
            q: device.at(q),
            k,
            v,
            pos: pos.map_or(0, |pos| device.at(pos)),
            lens: if pos.is_some() { 0 } else { device.at(&kv.lens) },
            out: device.at(out),
            partial: self.partial.as_ref().map_or(0, |a| device.at(a)),
            finished: self.finished.as_ref().map_or(0, |a| device.at(a)),
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
}

/// [`crate::Backend::set_text`].
pub(super) fn set_text(device: &mut Device, text: &mut Kv, at: LaneText, k: &Array<f32>, v: &Array<f32>) {
    let LaneText { layer, lane, len } = at;
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
