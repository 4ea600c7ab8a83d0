//! The key-value cache: keys and values as panels of 16, so that scores and weighted sums run through the same product tile as
//! everything else.
//!
//! Keys are [layer][lane][head][step/16][head_dim][16 steps]: a panel of 16 steps is 16 rows of a weight matrix whose k is the
//! head's columns. Values are [layer][lane][head][column/16][step][16 columns]: a panel of 16 columns, whose k is the steps.

use super::mat::{PANEL, Panels};
use super::mem::Store;
use crate::quant::to_bf16;
use crate::{BackendError, Format, Heads};

/// Keys and values of all layers and lanes.
pub struct Kv {
    pub(super) heads: Heads,
    pub(super) layers: usize,
    pub(super) lanes: usize,
    pub(super) steps: usize,
    /// Steps of each lane's text ([`crate::Backend::set_text`]).
    pub(super) lens: Vec<usize>,
    /// Number of values of one head's keys, and of its values.
    key_size: usize,
    value_size: usize,
    data: Data,
}

enum Data {
    F32 { k: Store<f32>, v: Store<f32> },
    Bf16 { k: Store<u16>, v: Store<u16> },
}

impl Kv {
    pub(super) fn new(layers: usize, lanes: usize, steps: usize, heads: Heads, format: Format) -> Result<Kv, BackendError> {
        let Heads { heads: count, head_dim } = heads;
        let shape = format!("{layers} layers × {lanes} lanes × {steps} steps × {count} heads of {head_dim}");
        if [layers, lanes, steps, count, head_dim].contains(&0) || !matches!(format, Format::F32 | Format::Bf16) {
            return Err(BackendError::Shape { op: "kv", what: format!("{shape} as {format:?}; sizes from 1, F32 or Bf16") });
        }
        let what = format!("a KV cache of {shape}");
        let memory = || BackendError::Memory { bytes: usize::MAX, what: what.clone() };
        let key = steps.checked_next_multiple_of(PANEL).and_then(|s| s.checked_mul(head_dim)).ok_or_else(memory)?;
        let value = head_dim.checked_next_multiple_of(PANEL).and_then(|d| d.checked_mul(steps)).ok_or_else(memory)?;
        let all = layers.checked_mul(lanes).and_then(|n| n.checked_mul(count)).ok_or_else(memory)?;
        let (ks, vs) = (all.checked_mul(key).ok_or_else(memory)?, all.checked_mul(value).ok_or_else(memory)?);
        let data = match format {
            Format::F32 => Data::F32 { k: Store::zeros(ks, &what)?, v: Store::zeros(vs, &what)? },
            _ => Data::Bf16 { k: Store::zeros(ks, &what)?, v: Store::zeros(vs, &what)? },
        };
        Ok(Kv { heads, layers, lanes, steps, lens: vec![0; lanes], key_size: key, value_size: value, data })
    }

    fn head(&self, layer: usize, lane: usize, head: usize) -> usize {
        (layer * self.lanes + lane) * self.heads.heads + head
    }

    /// Writes the key and value rows [dim] of one step.
    pub(super) fn put(&mut self, layer: usize, lane: usize, step: usize, key: &[f32], value: &[f32]) {
        assert!(layer < self.layers && lane < self.lanes, "layer {layer}, lane {lane} of {} × {}", self.layers, self.lanes);
        assert!(step < self.steps, "step {step} of a cache of {}", self.steps);
        let width = self.heads.head_dim;
        for head in 0..self.heads.heads {
            let at = self.head(layer, lane, head);
            let (k_at, v_at) = (at * self.key_size, at * self.value_size);
            let cells = (0..width).map(|d| {
                let k = k_at + (step / PANEL * width + d) * PANEL + step % PANEL;
                let v = v_at + (d / PANEL * self.steps + step) * PANEL + d % PANEL;
                (k, v, head * width + d)
            });
            match &mut self.data {
                Data::F32 { k, v } => cells.for_each(|(ki, vi, d)| (k[ki], v[vi]) = (key[d], value[d])),
                Data::Bf16 { k, v } => cells.for_each(|(ki, vi, d)| (k[ki], v[vi]) = (to_bf16(key[d]), to_bf16(value[d]))),
            }
        }
    }

    /// Panels of 16 steps of one head's keys (k = head_dim), and of 16 columns of its values (k = steps).
    pub(super) fn panels(&self, layer: usize, lane: usize, head: usize) -> (Panels<'_>, Panels<'_>) {
        let at = self.head(layer, lane, head);
        let (k_at, v_at) = (at * self.key_size, at * self.value_size);
        let (k_stride, v_stride) = (self.heads.head_dim * PANEL, self.steps * PANEL);
        match &self.data {
            Data::F32 { k, v } => (
                Panels::F32 { w: &k[k_at..][..self.key_size], stride: k_stride },
                Panels::F32 { w: &v[v_at..][..self.value_size], stride: v_stride },
            ),
            Data::Bf16 { k, v } => (
                Panels::Bf16 { w: &k[k_at..][..self.key_size], stride: k_stride },
                Panels::Bf16 { w: &v[v_at..][..self.value_size], stride: v_stride },
            ),
        }
    }
}
