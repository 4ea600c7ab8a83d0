//! Residual quantizers: scores by a matrix product, then the best code and the residual, one row a block.

use super::CudaBackend;
use super::device::Device;
use super::kernel::{self, Kernel};
use super::linear::{Product, product};
use super::mat::Mat;
use super::mem::Array;
use crate::{Book, Rows};

/// Rows that are scored at a time.
const ROWS: usize = 256;

/// Scratch memory of quantizers.
#[derive(Default)]
pub(super) struct Scratch {
    scores: Option<Array<f32>>,
    projected: Option<Array<f32>>,
}

impl Book<CudaBackend> {
    /// The code vectors, [card, dim].
    fn codes(&self) -> &Mat {
        match self {
            Book::Euclidean { codes, .. } | Book::Factorised { codes, .. } => codes,
        }
    }
}

impl Scratch {
    /// [`crate::Backend::quantize`].
    pub(super) fn run(
        &mut self,
        device: &mut Device,
        books: &[Book<CudaBackend>],
        (z, zr): (&mut Array<f32>, Rows),
        (codes, cr): (&mut Array<i32>, Rows),
    ) {
        check("quantize", books, (z.len(), zr), (codes.len(), cr));
        for first in (0..zr.count).step_by(ROWS) {
            let rows = zr.part(first, ROWS.min(zr.count - first));
            for (q, book) in books.iter().enumerate() {
                let card = book.codes().rows;
                Array::grow(&mut self.scores, device, rows.count * card);
                let Some(scores) = &mut self.scores else { return };
                let scores_at = Rows::packed(rows.count, card);
                let norms = match book {
                    Book::Euclidean { codes, norms } => {
                        product(device, &Product::bare(codes), z, rows, scores, scores_at);
                        device.at(norms)
                    }
                    Book::Factorised { project_in, unit, .. } => {
                        let width = project_in.weight.rows;
                        Array::grow(&mut self.projected, device, rows.count * width);
                        let Some(projected) = &mut self.projected else { return };
                        let projected_at = Rows::packed(rows.count, width);
                        product(device, &Product::of(project_in), z, rows, projected, projected_at);
                        product(device, &Product::bare(unit), projected, projected_at, scores, scores_at);
                        0
                    }
                };
                let arguments = kernel::ArgmaxCode {
                    vectors: book.codes().argument(device),
                    scores: device.at(scores),
                    norms,
                    z: device.at(z),
                    codes: device.at(codes) + 4 * (cr.at + q * cr.stride + first) as u64,
                    z_at: rows.at as i64,
                    z_stride: rows.stride as i64,
                };
                device.launch(Kernel::ArgmaxCode, (rows.count as u32, 1), 128, 0, arguments);
            }
        }
    }
}

/// [`crate::Backend::dequantize`]. A code out of range adds nothing here; the engine never passes one.
pub(super) fn dequantize(
    device: &mut Device,
    books: &[Book<CudaBackend>],
    (codes, cr): (&Array<i32>, Rows),
    (z, zr): (&mut Array<f32>, Rows),
) {
    check("dequantize", books, (z.len(), zr), (codes.len(), cr));
    if zr.count == 0 {
        return;
    }
    for (q, book) in books.iter().enumerate() {
        let arguments = kernel::LookupCodes {
            vectors: book.codes().argument(device),
            codes: device.at(codes) + 4 * (cr.at + q * cr.stride) as u64,
            z: device.at(z),
            z_at: zr.at as i64,
            z_stride: zr.stride as i64,
            add: i32::from(q > 0),
            unused: 0,
        };
        device.launch(Kernel::LookupCodes, (zr.count as u32, 1), 128, 0, arguments);
    }
}

/// Panics unless books, rows of `z` and rows of codes fit together.
fn check(op: &str, books: &[Book<CudaBackend>], (z, zr): (usize, Rows), (codes, cr): (usize, Rows)) {
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
}
