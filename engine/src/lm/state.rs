//! The buffers of one run in the backend's memory, by name and shape, allocated once.

use sideman_kernels::{Backend, Format, Grid, Heads};

use crate::error::Result;
use crate::model::Config;

/// Buffers of the texts of a run, with room for `room` tokens a lane.
pub(super) struct TextState<B: Backend> {
    /// Keys and values of the texts: layers × lanes × room × d.
    pub kv: B::Kv,
    /// Hidden states of a text [room, text dim].
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
    /// Not 0 where a stream is masked in a branch [branches, streams].
    pub masked: B::Ints,
    /// Columns fed so far [1].
    pub pos: B::Ints,
    /// Keys and values of every fed column: layers × lanes × steps × d.
    pub kv: B::Kv,
    /// Absent where there is no cross-attention.
    pub text: Option<TextState<B>>,
    /// Residual [rows, d].
    pub x: B::Buf,
    /// Queries [rows, d].
    pub q: B::Buf,
    /// Output of attention [rows, d].
    pub att: B::Buf,
    /// Inside the feed-forward [rows, ffn].
    pub hidden: B::Buf,
    /// Logits of the last column for which they were computed [lanes, Σ cards].
    pub logits: B::Buf,
    /// Sampling parameters and scratch memory.
    pub sampler: B::Sampler,
}

impl<B: Backend> State<B> {
    /// Allocates all of it. `text_room` tokens of text a lane (0: no cross-attention), blocks of at most
    /// `block` columns.
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
            // At least one value, so that a model without controls needs no special case.
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
            sampler: backend.sampler(grid)?,
        })
    }
}
