//! Residual quantizers: latents to codes and back (docs/explanation/musicgen-stem.md 3.7).

use super::linear::{Product, product, span};
use super::mat::Mat;
use super::mem::Store;
use super::{CpuBackend, Workers};
use crate::{Book, Rows};

/// Rows that are scored at once.
const ROWS: usize = 48;

/// Scratch of [`quantize`].
#[derive(Default)]
pub(super) struct Scratch {
    scores: Store<f32>,
    projected: Store<f32>,
}

impl Book<CpuBackend> {
    /// What the codes stand for, [card, dim].
    fn codes(&self) -> &Mat {
        match self {
            Book::Euclidean { codes, .. } | Book::Factorised { codes, .. } => codes,
        }
    }
}

/// Codes [books, stride] from column `at` of rows `zr` of `z`, which keep the residual.
///
/// Euclidean: argmax 2⟨r, e⟩ − ‖e‖² (‖r‖² is the same for all). Factorised: argmax ⟨e, c/‖c‖⟩ (‖e‖ likewise). First maximum wins.
pub(super) fn quantize(
    work: &mut Workers,
    scratch: &mut Scratch,
    books: &[Book<CpuBackend>],
    dim: usize,
    z: &mut [f32],
    zr: Rows,
    codes: &mut [i32],
    stride: usize,
    at: usize,
) {
    check("quantize", books, dim, z.len(), zr, codes.len(), stride, at);
    for first in (0..zr.count).step_by(ROWS) {
        let rows = Rows { count: ROWS.min(zr.count - first), at: zr.at + first * zr.stride, stride: zr.stride };
        for (q, book) in books.iter().enumerate() {
            let card = book.codes().rows;
            scratch.scores.grow(rows.count * card);
            let scores = &mut scratch.scores[..rows.count * card];
            let scores_at = Rows::packed(rows.count, card);
            match book {
                Book::Euclidean { codes, norms } => {
                    product(work, &Product::bare(codes), z, rows, scores, scores_at);
                    for scores in scores.chunks_exact_mut(card) {
                        scores.iter_mut().zip(norms.iter()).for_each(|(s, norm)| *s = s.mul_add(2.0, -norm));
                    }
                }
                Book::Factorised { project_in, unit, .. } => {
                    let width = project_in.weight.rows;
                    scratch.projected.grow(rows.count * width);
                    let projected = &mut scratch.projected[..rows.count * width];
                    let projected_at = Rows::packed(rows.count, width);
                    product(work, &Product::of(project_in), z, rows, projected, projected_at);
                    product(work, &Product::bare(unit), projected, projected_at, scores, scores_at);
                }
            }
            for row in 0..rows.count {
                let code = first_maximum(&scores[row * card..][..card]);
                codes[q * stride + at + first + row] = code as i32;
                let z = &mut z[rows.at + row * rows.stride..][..dim];
                book.codes().row(code, |k, w| z[k] -= w);
            }
        }
    }
}

/// Rows `zr` of `z` become Σ over books of what the codes stand for.
pub(super) fn dequantize(
    books: &[Book<CpuBackend>],
    dim: usize,
    codes: &[i32],
    stride: usize,
    at: usize,
    z: &mut [f32],
    zr: Rows,
) {
    check("dequantize", books, dim, z.len(), zr, codes.len(), stride, at);
    for row in 0..zr.count {
        let z = &mut z[zr.at + row * zr.stride..][..dim];
        z.fill(0.0);
        for (q, book) in books.iter().enumerate() {
            let code = codes[q * stride + at + row];
            assert!((0..book.codes().rows as i32).contains(&code), "dequantize: code {code} of book {q}, row {row}");
            book.codes().row(code as usize, |k, w| z[k] += w);
        }
    }
}

fn check(op: &str, books: &[Book<CpuBackend>], dim: usize, z: usize, zr: Rows, codes: usize, stride: usize, at: usize) {
    assert!(span(zr, dim) <= z, "{op}: {zr:?} of {dim} values in z of {z}");
    assert!(books.is_empty() || (books.len() - 1) * stride + at + zr.count <= codes, "{op}: codes of {codes}");
    for (q, book) in books.iter().enumerate() {
        assert!(book.codes().cols == dim, "{op}: codes of book {q} have {} columns, not {dim}", book.codes().cols);
        let fits = match book {
            Book::Euclidean { codes, norms } => norms.len() >= codes.rows,
            Book::Factorised { project_in, unit, codes } => {
                project_in.weight.cols == dim && unit.cols == project_in.weight.rows && unit.rows == codes.rows
            }
        };
        assert!(fits, "{op}: the parts of book {q} do not fit together");
    }
}

/// Index of the first largest value; a NaN never wins.
pub(super) fn first_maximum(scores: &[f32]) -> usize {
    let (mut best, mut at) = (f32::NEG_INFINITY, 0);
    for (i, s) in scores.iter().enumerate() {
        if *s > best {
            (best, at) = (*s, i);
        }
    }
    at
}
