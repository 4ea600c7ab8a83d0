//! Residual quantizers: scores by a matrix product, then the best code and what is left, a block a row.

use super::CudaBackend;
use super::device::Device;
use super::kernel::{self, Kernel};
use super::linear::{Product, product};
use super::mat::Mat;
use super::mem::Array;
use super::span;
use crate::{Book, Rows};

/// Rows that are scored at once.
const ROWS: usize = 256;

/// Scratch of [`quantize`].
#[derive(Default)]
pub(super) struct Scratch {
    scores: Option<Array<f32>>,
    projected: Option<Array<f32>>,
}

impl Book<CudaBackend> {
    /// What the codes stand for, [card, dim].
    fn codes(&self) -> &Mat {
        match self {
            Book::Euclidean { codes, .. } | Book::Factorised { codes, .. } => codes,
        }
    }
}

/// [`crate::Backend::quantize`].
pub(super) fn quantize(
    device: &mut Device,
    scratch: &mut Scratch,
    books: &[Book<CudaBackend>],
    dim: usize,
    z: &mut Array<f32>,
    zr: Rows,
    codes: &mut Array<i32>,
    stride: usize,
    at: usize,
) {
    check("quantize", books, dim, z.len(), zr, codes.len(), stride, at);
    for first in (0..zr.count).step_by(ROWS) {
        let rows = Rows { count: ROWS.min(zr.count - first), at: zr.at + first * zr.stride, stride: zr.stride };
        for (q, book) in books.iter().enumerate() {
            let card = book.codes().rows;
            Array::grow(&mut scratch.scores, device, rows.count * card);
            let Some(scores) = &mut scratch.scores else { return };
            let scores_at = Rows::packed(rows.count, card);
            let norms = match book {
                Book::Euclidean { codes, norms } => {
                    product(device, &Product::bare(codes), z, rows, scores, scores_at);
                    device.at(norms)
                }
                Book::Factorised { project_in, unit, .. } => {
                    let width = project_in.weight.rows;
                    Array::grow(&mut scratch.projected, device, rows.count * width);
                    let Some(projected) = &mut scratch.projected else { return };
                    let projected_at = Rows::packed(rows.count, width);
                    product(device, &Product::of(project_in), z, rows, projected, projected_at);
                    product(device, &Product::bare(unit), projected, projected_at, scores, scores_at);
                    0
                }
            };
            let arguments = kernel::Choose {
                codes: book.codes().argument(device),
                scores: device.at(scores),
                norms,
                z: device.at(z),
                chosen: device.at(codes) + 4 * (q * stride + at + first) as u64,
                z_at: rows.at as i64,
                z_stride: rows.stride as i64,
            };
            device.launch(Kernel::Choose, (rows.count as u32, 1), 128, 0, arguments);
        }
    }
}

/// [`crate::Backend::dequantize`]. A code out of range stands for nothing here (the engine never hands one in).
pub(super) fn dequantize(
    device: &mut Device,
    books: &[Book<CudaBackend>],
    dim: usize,
    codes: &Array<i32>,
    stride: usize,
    at: usize,
    z: &mut Array<f32>,
    zr: Rows,
) {
    check("dequantize", books, dim, z.len(), zr, codes.len(), stride, at);
    if zr.count == 0 {
        return;
    }
    for (q, book) in books.iter().enumerate() {
        let arguments = kernel::Stand {
            codes: book.codes().argument(device),
            chosen: device.at(codes) + 4 * (q * stride + at) as u64,
            z: device.at(z),
            z_at: zr.at as i64,
            z_stride: zr.stride as i64,
            add: i32::from(q > 0),
            unused: 0,
        };
        device.launch(Kernel::Stand, (zr.count as u32, 1), 128, 0, arguments);
    }
}

fn check(op: &str, books: &[Book<CudaBackend>], dim: usize, z: usize, zr: Rows, codes: usize, stride: usize, at: usize) {
    assert!(!books.is_empty() && span(zr, dim) <= z, "{op}: {zr:?} of {dim} values in z of {z}");
    assert!((books.len() - 1) * stride + at + zr.count <= codes, "{op}: codes of {codes}");
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
