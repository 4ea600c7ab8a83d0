//! The model's step, written once over [`Ops`]: embed → layers → heads → pick (musicgen-stem.md section 5).

use sideman_kernels::{Grid, Ops, Rows};

use super::state::State;
use super::weights::Weights;
use crate::model::Config;

/// Feeds the next `n` columns, which are known, through all layers. Nothing is drawn and the position stays.
pub(super) fn forward<O: Ops>(ops: &mut O, config: &Config, weights: &Weights<O>, grid: &Grid, state: &mut State<O>, n: usize) {
    let lm = &config.lm;
    let lanes = grid.songs * grid.branches;
    let State { seq, ctl, deaf, pos, kv, text, x, q, att, hidden, .. } = state;
    let wide = Rows::packed(lanes * n, lm.dim);
    let inner = Rows::packed(lanes * n, lm.ffn);
    ops.embed(grid, &weights.emb, &weights.controls, seq, ctl, deaf, pos, n, x);
    for (l, layer) in weights.layers.iter().enumerate() {
        ops.qkv(&layer.qkv, x, lanes, n, l, pos, q, kv);
        ops.attend(q, lanes, n, l, pos, kv, att);
        ops.linear(&layer.out, att, wide, x, wide);
        if let (Some(cross), Some(text)) = (&layer.cross, &*text) {
            ops.linear(&cross.q, x, wide, q, wide);
            ops.attend_text(q, lanes, n, l, &text.kv, att);
            ops.linear(&cross.out, att, wide, x, wide);
        }
        ops.linear(&layer.up, x, wide, hidden, inner);
        ops.linear(&layer.down, hidden, inner, x, wide);
    }
}

/// Logits of the last of the `n` columns just fed, for every lane.
pub(super) fn logits<O: Ops>(ops: &mut O, config: &Config, weights: &Weights<O>, grid: &Grid, state: &mut State<O>, n: usize) {
    let d = config.lm.dim;
    let lanes = grid.songs * grid.branches;
    let last = Rows { count: lanes, at: (n - 1) * d, stride: n * d };
    let all = Rows::packed(lanes, grid.cards.iter().sum());
    ops.linear(&weights.heads, &state.x, last, &mut state.logits, all);
}
