//! The model's step, written once over [`Backend`]: embed → layers → heads → sample
//! (docs/explanation/musicgen-stem.md section 5).

use sideman_kernels::{Backend, EmbedInput, Grid, LayerRows, Rows};

use super::state::State;
use super::weights::Weights;
use crate::model::Config;

/// Feeds the next `n` columns, which are known, through all layers. Nothing is sampled and the position is
/// not changed.
pub(super) fn forward<B: Backend>(
    backend: &mut B,
    config: &Config,
    weights: &Weights<B>,
    grid: &Grid,
    state: &mut State<B>,
    n: usize,
) {
    let lm = &config.lm;
    let lanes = grid.songs * grid.branches;
    let State { seq, ctl, masked, pos, kv, text, x, q, att, hidden, .. } = state;
    let wide = Rows::packed(lanes * n, lm.dim);
    let inner = Rows::packed(lanes * n, lm.ffn);
    let input = EmbedInput { grid, tables: &weights.emb, controls: &weights.controls, seq, ctl, masked };
    backend.embed(&input, pos, n, x);
    for (l, layer) in weights.layers.iter().enumerate() {
        let at = LayerRows { layer: l, lanes, n };
        backend.qkv(&layer.qkv, x, at, pos, q, kv);
        backend.attend(q, at, pos, kv, att);
        backend.linear(&layer.out, att, wide, x, wide);
        if let (Some(cross), Some(text)) = (&layer.cross, &*text) {
            backend.linear(&cross.q, x, wide, q, wide);
            backend.attend_text(q, at, &text.kv, att);
            backend.linear(&cross.out, att, wide, x, wide);
        }
        backend.linear(&layer.up, x, wide, hidden, inner);
        backend.linear(&layer.down, hidden, inner, x, wide);
    }
}

/// Logits of the last of the `n` columns just fed, for every lane.
pub(super) fn logits<B: Backend>(
    backend: &mut B,
    config: &Config,
    weights: &Weights<B>,
    grid: &Grid,
    state: &mut State<B>,
    n: usize,
) {
    let d = config.lm.dim;
    let lanes = grid.songs * grid.branches;
    let last = Rows { count: lanes, at: (n - 1) * d, stride: n * d };
    let all = Rows::packed(lanes, grid.cards.iter().sum());
    backend.linear(&weights.heads, &state.x, last, &mut state.logits, all);
}
