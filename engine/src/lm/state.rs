//! What one run keeps in the player's memory: every buffer by name and shape, allocated once.

use sideman_kernels::{Backend, Format, Grid, Heads};

use crate::error::Result;
use crate::model::Config;

/// What the texts of a run need: room for `room` tokens a lane.
pub(super) struct TextState<B: Backend> {
    /// Keys and values of the texts: layers × lanes × room × d.
    pub kv: B::Kv,
    /// A text as the encoder gave it [room, text dim].
    pub hidden: B::Buf,
    /// The same in the model's width [room, d].
    pub condition: B::Buf,
    /// Its keys in one layer [room, d].
    pub k: B::Buf,
    /// Its values in one layer [room, d].
    pub v: B::Buf,
}

/// Buffers of one run. rows = lanes · block.
pub(super) struct State<B: Backend> {
    /// Tokens [songs, streams, steps]; UNKNOWN where they are to be sampled.
    pub seq: B::Ints,
    /// Control values [branches, controls, steps].
    pub ctl: B::Ints,
    /// Streams that a branch doesn't hear [branches, streams].
    pub masked: B::Ints,
    /// Columns fed so far [1].
    pub pos: B::Ints,
    /// Keys and values of every fed column: layers × lanes × steps × d.
    pub kv: B::Kv,
    /// Absent: no cross-attention.
    pub text: Option<TextState<B>>,
    /// Residual [rows, d].
    pub x: B::Buf,
    /// Queries [rows, d].
    pub q: B::Buf,
    /// What attention gives [rows, d].
    pub att: B::Buf,
    /// Inside the feed-forward [rows, ffn].
    pub hidden: B::Buf,
    /// Logits of the last column that was asked for [lanes, Σ cards].
    pub logits: B::Buf,
    /// Sampling parameters and scratch.
    pub picker: B::Picker,
}

impl<B: Backend> State<B> {
    /// Allocates all of it. `text_room` tokens of text a lane (0: no cross-attention), blocks of at most `block` columns.
    pub fn new(backend: &mut B, config: &Config, grid: &Grid, text_room: usize, kv: Format, block: usize) -> Result<Self> {
        let (d, layers, lanes) = (config.lm.dim, config.lm.layers, grid.songs * grid.branches);
        let heads = Heads { heads: config.lm.heads, head_dim: d / config.lm.heads };
        let rows = lanes * block;
        let text = match &config.text {
            Some(text) if text_room > 0 => Some(TextState {
                kv: backend.kv(layers, lanes, text_room, heads, Format::F32)?,
                hidden: backend.buf(text_room * text.dim)?,
                condition: backend.buf(text_room * d)?,
                k: backend.buf(text_room * d)?,
                v: backend.buf(text_room * d)?,
            }),
            _ => None,
        };
        Ok(State {
            seq: backend.ints(grid.songs * grid.cards.len() * grid.steps)?,
            // One value at least, so that a model without controls needs no second path.
            ctl: backend.ints((grid.branches * config.controls.len() * grid.steps).max(1))?,
            masked: backend.ints(grid.branches * grid.cards.len())?,
            pos: backend.ints(1)?,
            kv: backend.kv(layers, lanes, grid.steps, heads, kv)?,
            text,
            x: backend.buf(rows * d)?,
            q: backend.buf(rows * d)?,
            att: backend.buf(rows * d)?,
            hidden: backend.buf(rows * config.lm.ffn)?,
            logits: backend.buf(lanes * grid.cards.iter().sum::<usize>())?,
            picker: backend.picker(grid)?,
        })
    }
}
