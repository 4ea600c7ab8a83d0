//! What one run keeps in the player's memory: every buffer by name and shape, allocated once.

use sideman_kernels::{Format, Grid, Heads, Ops};

use crate::error::Result;
use crate::model::Config;

/// What the texts of a run need: room for `room` tokens a lane.
pub(super) struct TextState<O: Ops> {
    /// Keys and values of the texts: layers × lanes × room × d.
    pub kv: O::Kv,
    /// A text as the encoder gave it [room, text dim].
    pub hidden: O::Buf,
    /// The same in the model's width [room, d].
    pub condition: O::Buf,
    /// Its keys in one layer [room, d].
    pub k: O::Buf,
    /// Its values in one layer [room, d].
    pub v: O::Buf,
}

/// Buffers of one run. rows = lanes · block.
pub(super) struct State<O: Ops> {
    /// Tokens [songs, streams, steps]; UNKNOWN where they are to be sampled.
    pub seq: O::Ints,
    /// Control values [branches, controls, steps].
    pub ctl: O::Ints,
    /// Streams that a branch doesn't hear [branches, streams].
    pub deaf: O::Ints,
    /// Columns fed so far [1].
    pub pos: O::Ints,
    /// Keys and values of every fed column: layers × lanes × steps × d.
    pub kv: O::Kv,
    /// Absent: no cross-attention.
    pub text: Option<TextState<O>>,
    /// Residual [rows, d].
    pub x: O::Buf,
    /// Queries [rows, d].
    pub q: O::Buf,
    /// What attention gives [rows, d].
    pub att: O::Buf,
    /// Inside the feed-forward [rows, ffn].
    pub hidden: O::Buf,
    /// Logits of the last column that was asked for [lanes, Σ cards].
    pub logits: O::Buf,
    /// Sampling parameters and scratch.
    pub picker: O::Picker,
}

impl<O: Ops> State<O> {
    /// Allocates all of it. `text_room` tokens of text a lane (0: no cross-attention), blocks of at most `block` columns.
    pub fn new(ops: &mut O, config: &Config, grid: &Grid, text_room: usize, kv: Format, block: usize) -> Result<Self> {
        let (d, layers, lanes) = (config.lm.dim, config.lm.layers, grid.songs * grid.branches);
        let heads = Heads { heads: config.lm.heads, head_dim: d / config.lm.heads };
        let rows = lanes * block;
        let text = match &config.text {
            Some(text) if text_room > 0 => Some(TextState {
                kv: ops.kv(layers, lanes, text_room, heads, Format::F32)?,
                hidden: ops.buf(text_room * text.dim)?,
                condition: ops.buf(text_room * d)?,
                k: ops.buf(text_room * d)?,
                v: ops.buf(text_room * d)?,
            }),
            _ => None,
        };
        Ok(State {
            seq: ops.ints(grid.songs * grid.cards.len() * grid.steps)?,
            // One value at least, so that a model without controls needs no second path.
            ctl: ops.ints((grid.branches * config.controls.len() * grid.steps).max(1))?,
            deaf: ops.ints(grid.branches * grid.cards.len())?,
            pos: ops.ints(1)?,
            kv: ops.kv(layers, lanes, grid.steps, heads, kv)?,
            text,
            x: ops.buf(rows * d)?,
            q: ops.buf(rows * d)?,
            att: ops.buf(rows * d)?,
            hidden: ops.buf(rows * config.lm.ffn)?,
            logits: ops.buf(lanes * grid.cards.iter().sum::<usize>())?,
            picker: ops.picker(grid)?,
        })
    }
}
