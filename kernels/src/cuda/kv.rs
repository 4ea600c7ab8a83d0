//! The key-value cache on the device. One head's keys are a packed matrix whose rows are steps, [step / 32][16 bytes of the
//! columns][32 steps]; its values are [step][columns]. Columns are padded to a multiple of 8. Order: layer, lane, head.

use super::device::Device;
use super::mem::Array;
use crate::{BackendError, Format, Heads};

/// The most columns of a head that the attention kernel takes.
const WIDEST: usize = 256;

/// Keys and values of all layers and lanes.
pub struct Kv {
    pub(super) heads: Heads,
    pub(super) layers: usize,
    pub(super) lanes: usize,
    pub(super) steps: usize,
    pub(super) bf16: bool,
    /// Columns of a head with padding.
    pub(super) padded: usize,
    /// Bytes of one head's keys and of its values.
    pub(super) head_bytes: (usize, usize),
    k: Array<u8>,
    v: Array<u8>,
    /// Steps of each lane's text ([`crate::Backend::set_text`]).
    pub(super) lens: Array<i32>,
}

impl Kv {
    pub(super) fn new(
        device: &mut Device,
        layers: usize,
        lanes: usize,
        steps: usize,
        heads: Heads,
        format: Format,
    ) -> Result<Kv, BackendError> {
        let Heads { heads: count, head_dim } = heads;
        let shape = format!("{layers} layers × {lanes} lanes × {steps} steps × {count} heads of {head_dim}");
        let known = matches!(format, Format::F32 | Format::Bf16);
        if [layers, lanes, steps, count, head_dim].contains(&0) || !known || head_dim > WIDEST {
            let what = format!("{shape} as {format:?}; sizes from 1, heads up to {WIDEST}, F32 or Bf16");
            return Err(BackendError::Shape { op: "kv", what });
        }
        let what = format!("a KV cache of {shape}");
        let memory = || BackendError::Memory { bytes: usize::MAX, what: what.clone() };
        let padded = head_dim.next_multiple_of(8);
        let row = padded * if format == Format::Bf16 { 2 } else { 4 };
        let (key, value) = (steps.checked_next_multiple_of(32).and_then(|s| s.checked_mul(row)), steps.checked_mul(row));
        let (key, value) = (key.ok_or_else(memory)?, value.ok_or_else(memory)?);
        let all = layers.checked_mul(lanes).and_then(|n| n.checked_mul(count)).ok_or_else(memory)?;
        let (ks, vs) = (all.checked_mul(key).ok_or_else(memory)?, all.checked_mul(value).ok_or_else(memory)?);
        Ok(Kv {
            heads,
            layers,
            lanes,
            steps,
            bf16: format == Format::Bf16,
            padded,
            head_bytes: (key, value),
            k: Array::zeros(device, ks, &what)?,
            v: Array::zeros(device, vs, &what)?,
            lens: Array::zeros(device, lanes, &what)?,
        })
    }

    /// Addresses of the keys and values of one layer.
    pub(super) fn layer(&self, device: &mut Device, layer: usize) -> (u64, u64) {
        assert!(layer < self.layers, "layer {layer} of {}", self.layers);
        let heads = layer * self.lanes * self.heads.heads;
        (device.at(&self.k) + (heads * self.head_bytes.0) as u64, device.at(&self.v) + (heads * self.head_bytes.1) as u64)
    }
}
