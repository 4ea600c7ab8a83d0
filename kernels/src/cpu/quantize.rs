//! Residual quantizers: latents to codes and back (docs/explanation/musicgen-stem.md 3.7).

use super::linear::{Product, product};
use super::mat::Mat;
use super::mem::Store;
use super::{CpuBackend, Workers, kernel};
use crate::{Book, Rows};

/// Rows that are scored at a time.
const ROWS: usize = 48;

/// Scratch memory of quantizers.
#[derive(Default)]
pub(super) struct Scratch {
    scores: Store<f32>,
    projected: Store<f32>,
}

impl Book<CpuBackend> {
    /// The code vectors, [card, dim].
    fn codes(&self) -> &Mat {
        match self {
            Book::Euclidean { codes, .. } | Book::Factorised { codes, .. } => codes,
        }
    }
}

impl Scratch {
    /// Codes of the rows of `z`, which hold the residual afterwards.
    ///
    /// Euclidean: argmax 2⟨r, e⟩ − ‖e‖² (‖r‖² is the same for all). Factorised: argmax ⟨e, c/‖c‖⟩ (‖e‖ likewise). The first maximum
    /// wins.
    pub(super) fn run(
        &mut self,
        work: &mut Workers,
        books: &[Book<CpuBackend>],
        (z, zr): (&mut [f32], Rows),
        (codes, cr): (&mut [i32], Rows),
    ) {
        let dim = check("quantize", books, (z.len(), zr), (codes.len(), cr));
        for first in (0..zr.count).step_by(ROWS) {
            let rows = zr.part(first, ROWS.min(zr.count - first));
            for (q, book) in books.iter().enumerate() {
                let card = book.codes().rows;
                self.scores.grow(rows.count * card);
                let scores = &mut self.scores[..rows.count * card];
                let scores_at = Rows::packed(rows.count, card);
                match book {
                    Book::Euclidean { codes, norms } => {
                        product(work, &Product::bare(codes), z, rows, scores, scores_at);
                        for scores in scores.chunks_exact_mut(card) {
                            kernel::euclidean_scores(work.isa, &norms[..card], scores);
                        }
                    }
                    Book::Factorised { project_in, unit, .. } => {
                        let width = project_in.weight.rows;
                        self.projected.grow(rows.count * width);
                        let projected = &mut self.projected[..rows.count * width];
                        let projected_at = Rows::packed(rows.count, width);
                        product(work, &Product::of(project_in), z, rows, projected, projected_at);
                        product(work, &Product::bare(unit), projected, projected_at, scores, scores_at);
                    }
                }
                for row in 0..rows.count {
                    let code = kernel::first_maximum(work.isa, &scores[row * card..][..card]);
                    codes[cr.at + q * cr.stride + first + row] = code as i32;
                    let z = &mut z[rows.at + row * rows.stride..][..dim];
                    book.codes().row(code, |k, w| z[k] -= w);
                }
            }
        }
    }
}

/// Products ⟨r, e⟩ become 2⟨r, e⟩ − ‖e‖².
#[inline(always)]
pub(super) fn euclidean_scores(norms: &[f32], scores: &mut [f32]) {
    scores.iter_mut().zip(norms).for_each(|(score, norm)| *score = score.mul_add(2.0, -norm));
}

/// Each row of `z` becomes the sum, over the books, of the code vectors.
pub(super) fn dequantize(books: &[Book<CpuBackend>], (codes, cr): (&[i32], Rows), (z, zr): (&mut [f32], Rows)) {
    let dim = check("dequantize", books, (z.len(), zr), (codes.len(), cr));
    for row in 0..zr.count {
        let z = &mut z[zr.at + row * zr.stride..][..dim];
        z.fill(0.0);
        for (q, book) in books.iter().enumerate() {
            let code = codes[cr.at + q * cr.stride + row];
            assert!((0..book.codes().rows as i32).contains(&code), "dequantize: code {code} of book {q}, row {row}");
            book.codes().row(code as usize, |k, w| z[k] += w);
        }
    }
}

/// Panics unless books, rows of `z` and rows of codes fit together; gives the width of a code vector.
fn check(op: &str, books: &[Book<CpuBackend>], (z, zr): (usize, Rows), (codes, cr): (usize, Rows)) -> usize {
    assert!(!books.is_empty() && cr.count == books.len(), "{op}: {} books, {cr:?} of codes", books.len());
    let dim = books[0].codes().cols;
    assert!(zr.end(dim) <= z, "{op}: {zr:?} of {dim} values in z of {z}");
    assert!(cr.end(zr.count) <= codes, "{op}: {cr:?} of {} codes in {codes}", zr.count);
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
    dim
}
