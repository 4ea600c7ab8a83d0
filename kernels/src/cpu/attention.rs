//! Attention of rows of queries to one lane's cache: scores, softmax in two passes, weighted sum. One (row, head) an item.

use super::kv::Kv;
use super::mat::PANEL;
use super::pool::Shared;
use super::{Workers, kernel};

/// Row (lane, i) of `q` attends to the first `seen(lane, i)` steps of its lane's cache; none gives zeros. Each score is one sum
/// over ascending columns, each output one sum over ascending steps of e^(score − max), divided by the sum of these at the end.
pub(super) fn attend(
    work: &mut Workers,
    q: &[f32],
    lanes: usize,
    n: usize,
    layer: usize,
    kv: &Kv,
    seen: impl Fn(usize, usize) -> usize + Sync,
    out: &mut [f32],
) {
    let (heads, width) = (kv.heads.heads, kv.heads.head_dim);
    let dim = heads * width;
    assert!(lanes <= kv.lanes && layer < kv.layers, "attend: {lanes} lanes, layer {layer} of {} × {}", kv.lanes, kv.layers);
    assert!(q.len() >= lanes * n * dim && out.len() >= lanes * n * dim, "attend: {} rows of {dim} values", lanes * n);
    let scale = 1.0 / (width as f32).sqrt();
    let room = kv.steps.next_multiple_of(PANEL) + width.next_multiple_of(PANEL);
    work.own.iter_mut().for_each(|own| own.grow(room));
    let (own, out, isa) = (Shared::new(&mut work.own), Shared::new(out), work.isa);
    let one = |worker: usize, item: usize| {
        let (row, head) = (item / heads, item % heads);
        let (lane, i) = (row / n, row % n);
        // SAFETY: each worker takes its own scratch only, each item its own columns of its own row.
        let (scratch, out) = unsafe { (&mut own.slice(worker, 1)[0], out.slice(row * dim + head * width, width)) };
        let seen = seen(lane, i);
        if seen == 0 {
            out.fill(0.0);
            return;
        }
        let (keys, values) = kv.panels(layer, lane, head);
        let (scores, sums) = scratch.split_at_mut(kv.steps.next_multiple_of(PANEL));
        let q = &q[row * dim + head * width..][..width];
        let group = kernel::group(isa, 1);
        let panels = seen.div_ceil(PANEL);
        for first in (0..panels).step_by(group) {
            let count = group.min(panels - first);
            kernel::tile(isa, keys, first, count, width, q, 1, &mut scores[first * PANEL..][..count * PANEL]);
        }
        let total = kernel::softmax(isa, &mut scores[..seen], scale);
        let panels = width.div_ceil(PANEL);
        for first in (0..panels).step_by(group) {
            let count = group.min(panels - first);
            kernel::tile(isa, values, first, count, seen, &scores[..seen], 1, &mut sums[first * PANEL..][..count * PANEL]);
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum / total);
    };
    work.pool.each(lanes * n * heads, &one);
}
