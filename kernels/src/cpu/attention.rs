//! Attention of query rows to a lane's cache: scores, softmax in two passes, weighted sum. An item of work is one head and one
//! tile of rows, so that a prefill reads keys and values once for all rows of the tile.

use super::kv::Kv;
use super::mat::{PANEL, PanelRange};
use super::pool::Shared;
use super::{Workers, kernel};
use crate::LayerRows;

/// Row (lane, i) of `q` attends to the first `seen(lane, i)` steps of its lane's cache, never fewer than row (lane, i − 1). With no
/// steps the output is zeros. Each score is one sum over ascending columns, each output one sum over ascending steps of
/// e^(score − max), divided by the total at the end.
pub(super) fn attend(
    work: &mut Workers,
    q: &[f32],
    at: LayerRows,
    kv: &Kv,
    seen: impl Fn(usize, usize) -> usize + Sync,
    out: &mut [f32],
) {
    let LayerRows { layer, lanes, n } = at;
    let (heads, width) = (kv.heads.heads, kv.heads.head_dim);
    let dim = heads * width;
    assert!(lanes <= kv.lanes && layer < kv.layers, "attend: {lanes} lanes, layer {layer} of {} × {}", kv.lanes, kv.layers);
    assert!(q.len() >= lanes * n * dim && out.len() >= lanes * n * dim, "attend: {} rows of {dim} values", lanes * n);
    let scale = 1.0 / (width as f32).sqrt();
    let (own, out, isa) = (&mut work.own, Shared::new(out), work.isa);
    let most = kernel::rows(isa);
    let (steps, columns) = (kv.steps.next_multiple_of(PANEL), width.next_multiple_of(PANEL));
    // Scores of each row, the scores packed for the tile, the queries packed, and the tile's sums.
    own.iter_mut().for_each(|own| own.grow(most * (2 * steps + width) + kernel::ACC.max(columns)));
    let own = Shared::new(own);
    let tiles = n.div_ceil(most);
    let one = |worker: usize, item: usize| {
        let (lane, head, tile) = (item / tiles / heads, item / tiles % heads, item % tiles);
        let (from, to) = (tile * n / tiles, (tile + 1) * n / tiles);
        let rows = to - from;
        let longest = seen(lane, to - 1);
        // SAFETY: items write different columns or different rows.
        let out = |r: usize| unsafe { out.slice((lane * n + from + r) * dim + head * width, width) };
        if longest == 0 {
            (0..rows).for_each(|r| out(r).fill(0.0));
            return;
        }
        // SAFETY: each thread takes only its own scratch memory.
        let scratch = &mut unsafe { own.slice(worker, 1) }[0];
        let (scores, rest) = scratch.split_at_mut(most * steps);
        let (weights, rest) = rest.split_at_mut(most * steps);
        let (queries, acc) = rest.split_at_mut(most * width);
        let (keys, values) = kv.panels(layer, lane, head);
        let query = |r: usize| &q[(lane * n + from + r) * dim + head * width..][..width];
        if rows > 1 {
            (0..rows).for_each(|r| queries[r..].iter_mut().step_by(rows).zip(query(r)).for_each(|(to, x)| *to = *x));
        }
        let group = kernel::group(isa, rows);
        let panels = longest.div_ceil(PANEL);
        for first in (0..panels).step_by(group) {
            let count = group.min(panels - first);
            let keys = PanelRange { view: keys, first, count };
            if rows == 1 {
                kernel::tile(isa, keys, width, query(0), 1, &mut scores[first * PANEL..]);
                continue;
            }
            kernel::tile(isa, keys, width, &queries[..rows * width], rows, acc);
            for (r, sums) in acc.chunks_exact(count * PANEL).take(rows).enumerate() {
                scores[r * steps + first * PANEL..][..count * PANEL].copy_from_slice(sums);
            }
        }
        let mut totals = [0.0; kernel::ROWS];
        for (r, total) in totals.iter_mut().enumerate().take(rows) {
            let (attended, rest) = scores[r * steps..][..longest].split_at_mut(seen(lane, from + r));
            *total = if attended.is_empty() { 1.0 } else { kernel::softmax(isa, attended, scale) };
            // Steps beyond the row's own add nothing to its sums.
            rest.fill(0.0);
            if rows > 1 {
                weights[r..].iter_mut().step_by(rows).zip(&scores[r * steps..][..longest]).for_each(|(to, x)| *to = *x);
            }
        }
        let weights = if rows == 1 { &scores[..longest] } else { &weights[..rows * longest] };
        let panels = width.div_ceil(PANEL);
        for first in (0..panels).step_by(group) {
            let count = group.min(panels - first);
            kernel::tile(isa, PanelRange { view: values, first, count }, longest, weights, rows, acc);
            let (at, wide) = (first * PANEL, (count * PANEL).min(width - first * PANEL));
            for (r, sums) in acc.chunks_exact(count * PANEL).take(rows).enumerate() {
                out(r)[at..at + wide].iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum / totals[r]);
            }
        }
    };
    work.pool.each(lanes * heads * tiles, &one);
}
