//! Which version of an inner loop runs: the choice by [`Isa`].

use super::Isa;
use super::mat::Panels;
use super::scalar;
use crate::Act;

/// Rows of x in one tile, at most.
pub(super) fn rows(_isa: Isa) -> usize {
    12
}

/// Panels that one tile of `rows` rows takes.
pub(super) fn group(_isa: Isa, rows: usize) -> usize {
    match rows {
        1 => 8,
        2 => 4,
        _ => 2,
    }
}

/// Accumulators of the largest tile.
#[repr(align(64))]
pub(super) struct Acc(pub [f32; 24 * 16]);

impl Default for Acc {
    fn default() -> Self {
        Acc([0.0; 24 * 16])
    }
}

/// [`scalar::tile`].
pub(super) fn tile(_isa: Isa, view: Panels, first: usize, panels: usize, k: usize, x: &[f32], rows: usize, acc: &mut [f32]) {
    scalar::tile(view, first, panels, k, x, rows, acc);
}

/// [`scalar::norm`].
pub(super) fn norm(_isa: Isa, x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, y: &mut [f32]) {
    scalar::norm(x, weight, bias, eps, y);
}

/// [`scalar::finish`].
pub(super) fn finish(_isa: Isa, acc: &[f32], bias: Option<&[f32]>, act: Act, add: bool, y: &mut [f32]) {
    scalar::finish(acc, bias, act, add, y);
}

/// [`scalar::softmax`].
pub(super) fn softmax(_isa: Isa, scores: &mut [f32], scale: f32) -> f32 {
    scalar::softmax(scores, scale)
}

/// [`scalar::elu`] of each value.
pub(super) fn elu(_isa: Isa, x: &[f32], y: &mut [f32]) {
    x.iter().zip(y).for_each(|(x, y)| *y = scalar::elu(*x));
}

/// [`scalar::depthwise`].
pub(super) fn depthwise(_isa: Isa, w: &[f32], bias: &[f32], kernel: usize, x: &[f32], y: &mut [f32]) {
    scalar::depthwise(w, bias, kernel, x, y);
}

/// [`scalar::lstm_gates`].
pub(super) fn lstm_gates(_isa: Isa, gates: &[f32], hidden: &[f32], c: &mut [f32], h: &mut [f32]) {
    scalar::lstm_gates(gates, hidden, c, h);
}
