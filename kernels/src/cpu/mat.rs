//! A packed weight matrix: panels of 16 rows, and inside a panel the 16 weights of one k side by side.
//!
//! So 16 outputs are one vector of accumulators, each of which sums over ascending k, the order that [`crate`] promises. The last
//! panel is filled up with zero rows.
//!
//! In q4 the 16 side by side are 32-bit words of 8 weights each (8 consecutive k, four bits in two's complement, the first in the
//! lowest bits). A cache line is then 16 rows by 8 k, and one load brings as many weights as eight loads of q8.
//!
//! q8 and q4 that are multiplied by 8-bit activations are packed otherwise ([`super::blocks`]).

use super::blocks::{Bits, Blocks};
use super::mem::Store;
use crate::quant::{BLOCK, from_bf16, ints_of, to_bf16, to_q4, to_q8};
use crate::{Activations, BackendError, Format};

/// Rows of a panel.
pub(super) const PANEL: usize = 16;
/// Weights of q4 in a word.
pub(super) const WORD: usize = 8;

/// A packed weight matrix [rows, cols] in host memory.
pub struct Mat {
    pub(super) rows: usize,
    pub(super) cols: usize,
    weights: Weights,
}

/// Values [panel][k][16] (q4: words [panel][k/8][16]); q8 and q4 have scales [panel][k/32][16].
enum Weights {
    F32(Store<f32>),
    Bf16(Store<u16>),
    Q8 {
        ints: Store<i8>,
        scales: Store<f32>,
    },
    Q4 {
        words: Store<u32>,
        scales: Store<f32>,
    },
    /// As Q8, for products in f32: each weight is scale · integer, rounded.
    Dequantized {
        ints: Store<i8>,
        scales: Store<f32>,
    },
    /// q8 or q4, for products with 8-bit activations.
    Blocks(Blocks),
}

/// A packed matrix, by how it is multiplied.
pub(super) enum Packed<'a> {
    /// By rows of f32.
    Floats(Panels<'a>),
    /// By quantized rows.
    Ints(&'a Blocks),
}

/// A view of panels: panel `p` begins `p * stride` values after the first (q4 words: `p * stride/8`; scales: `p * stride/32`).
#[derive(Clone, Copy)]
pub(super) enum Panels<'a> {
    F32 { w: &'a [f32], stride: usize },
    Bf16 { w: &'a [u16], stride: usize },
    Q8 { w: &'a [i8], scales: &'a [f32], stride: usize },
    Q4 { w: &'a [u32], scales: &'a [f32], stride: usize },
    Dequantized { w: &'a [i8], scales: &'a [f32], stride: usize },
}

/// `count` panels of a view, from panel `first` on.
#[derive(Clone, Copy)]
pub(super) struct PanelRange<'a> {
    pub view: Panels<'a>,
    pub first: usize,
    pub count: usize,
}

impl Panels<'_> {
    /// Values from one panel to the next.
    pub(super) fn stride(self) -> usize {
        match self {
            Panels::F32 { stride, .. } | Panels::Bf16 { stride, .. } => stride,
            Panels::Q8 { stride, .. } | Panels::Q4 { stride, .. } | Panels::Dequantized { stride, .. } => stride,
        }
    }

    /// Number of values.
    pub(super) fn len(self) -> usize {
        match self {
            Panels::F32 { w, .. } => w.len(),
            Panels::Bf16 { w, .. } => w.len(),
            Panels::Q8 { w, .. } | Panels::Dequantized { w, .. } => w.len(),
            Panels::Q4 { w, .. } => w.len() * WORD,
        }
    }
}

impl Mat {
    /// Packs row-major `data`. Q8 and Q4 become bf16 where `cols` is not a multiple of 32.
    pub(super) fn new(
        rows: usize,
        cols: usize,
        data: &[f32],
        format: Format,
        activations: Activations,
    ) -> Result<Mat, BackendError> {
        let size = packed_len("mat", rows, cols, data.len())?;
        let row = |r: usize| &data[r * cols..][..cols];
        let weights = match format {
            Format::F32 => Weights::F32(pack(rows, cols, size, |r, k| data[r * cols + k])?),
            Format::Q8 if cols.is_multiple_of(BLOCK) => {
                let (mut ints, mut scales) = (vec![0; cols], vec![0.0; cols / BLOCK]);
                let mut weights = Weights::of_blocks(Bits::Eight, size, cols, activations)?;
                for r in 0..rows {
                    to_q8(row(r), &mut ints, &mut scales);
                    weights.put(r, &ints, &scales);
                }
                weights
            }
            Format::Q4 if cols.is_multiple_of(BLOCK) => {
                let (mut nibbles, mut scales) = (vec![0; cols / 2], vec![0.0; cols / BLOCK]);
                let mut weights = Weights::of_blocks(Bits::Four, size, cols, activations)?;
                for r in 0..rows {
                    to_q4(row(r), &mut nibbles, &mut scales);
                    weights.put(r, &ints_of(&nibbles).collect::<Vec<_>>(), &scales);
                }
                weights
            }
            Format::Bf16 | Format::Q8 | Format::Q4 => Weights::Bf16(pack(rows, cols, size, |r, k| to_bf16(data[r * cols + k]))?),
        };
        Ok(Mat { rows, cols, weights })
    }

    /// Packs a q8 file's tensors.
    pub(super) fn q8(
        rows: usize,
        cols: usize,
        ints: &[i8],
        scales: &[f32],
        activations: Activations,
    ) -> Result<Mat, BackendError> {
        let size = packed_len("mat_q8", rows, cols, ints.len())?;
        blocks("mat_q8", rows, cols, scales.len())?;
        let mut weights = Weights::of_blocks(Bits::Eight, size, cols, activations)?;
        for r in 0..rows {
            weights.put(r, &ints[r * cols..][..cols], &scales[r * (cols / BLOCK)..][..cols / BLOCK]);
        }
        Ok(Mat { rows, cols, weights })
    }

    /// Packs a q8 file's tensors for products in f32.
    pub(super) fn dequantized(rows: usize, cols: usize, ints: &[i8], scales: &[f32]) -> Result<Mat, BackendError> {
        let mat = Mat::q8(rows, cols, ints, scales, Activations::F32)?;
        let weights = match mat.weights {
            Weights::Q8 { ints, scales } => Weights::Dequantized { ints, scales },
            other => other,
        };
        Ok(Mat { weights, ..mat })
    }

    /// Packs a q4 file's tensors.
    pub(super) fn q4(
        rows: usize,
        cols: usize,
        nibbles: &[u8],
        scales: &[f32],
        activations: Activations,
    ) -> Result<Mat, BackendError> {
        let size = packed_len("mat_q4", rows, cols, nibbles.len().saturating_mul(2))?;
        blocks("mat_q4", rows, cols, scales.len())?;
        let mut weights = Weights::of_blocks(Bits::Four, size, cols, activations)?;
        for r in 0..rows {
            let ints: Vec<i8> = ints_of(&nibbles[r * (cols / 2)..][..cols / 2]).collect();
            weights.put(r, &ints, &scales[r * (cols / BLOCK)..][..cols / BLOCK]);
        }
        Ok(Mat { rows, cols, weights })
    }

    /// Its format.
    pub fn format(&self) -> Format {
        match self.weights {
            Weights::F32(_) | Weights::Dequantized { .. } => Format::F32,
            Weights::Bf16(_) => Format::Bf16,
            Weights::Q8 { .. } => Format::Q8,
            Weights::Q4 { .. } => Format::Q4,
            Weights::Blocks(ref blocks) => match blocks.bits() {
                Bits::Eight => Format::Q8,
                Bits::Four => Format::Q4,
            },
        }
    }

    /// Bytes that one product reads.
    pub fn bytes(&self) -> usize {
        match &self.weights {
            Weights::F32(w) => w.len() * 4,
            Weights::Bf16(w) => w.len() * 2,
            Weights::Q8 { ints, scales } | Weights::Dequantized { ints, scales } => ints.len() + scales.len() * 4,
            Weights::Q4 { words, scales } => (words.len() + scales.len()) * 4,
            Weights::Blocks(blocks) => blocks.bytes(),
        }
    }

    pub(super) fn packed(&self) -> Packed<'_> {
        let stride = self.cols * PANEL;
        Packed::Floats(match &self.weights {
            Weights::F32(w) => Panels::F32 { w, stride },
            Weights::Bf16(w) => Panels::Bf16 { w, stride },
            Weights::Q8 { ints, scales } => Panels::Q8 { w: ints, scales, stride },
            Weights::Q4 { words, scales } => Panels::Q4 { w: words, scales, stride },
            Weights::Dequantized { ints, scales } => Panels::Dequantized { w: ints, scales, stride },
            Weights::Blocks(blocks) => return Packed::Ints(blocks),
        })
    }

    /// Calls `f(k, weight)` for each weight of row `r`.
    #[inline]
    pub(super) fn row(&self, r: usize, mut f: impl FnMut(usize, f32)) {
        assert!(r < self.rows, "row {r} of a matrix of {}", self.rows);
        let at = r / PANEL * self.cols * PANEL + r % PANEL;
        let scales_at = r / PANEL * (self.cols / BLOCK) * PANEL + r % PANEL;
        match &self.weights {
            Weights::F32(w) => (0..self.cols).for_each(|k| f(k, w[at + k * PANEL])),
            Weights::Bf16(w) => (0..self.cols).for_each(|k| f(k, from_bf16(w[at + k * PANEL]))),
            Weights::Q8 { ints, scales } | Weights::Dequantized { ints, scales } => {
                (0..self.cols).for_each(|k| f(k, scales[scales_at + k / BLOCK * PANEL] * f32::from(ints[at + k * PANEL])));
            }
            Weights::Q4 { words, scales } => {
                let at = r / PANEL * (self.cols / WORD) * PANEL + r % PANEL;
                let int = |k: usize| int4(words[at + k / WORD * PANEL], k % WORD);
                (0..self.cols).for_each(|k| f(k, scales[scales_at + k / BLOCK * PANEL] * int(k)));
            }
            Weights::Blocks(blocks) => (0..self.cols).for_each(|k| f(k, blocks.weight(r, k))),
        }
    }
}

/// Weight `i` of a word of q4.
#[inline]
pub(super) fn int4(word: u32, i: usize) -> f32 {
    ((word << (28 - 4 * i)).cast_signed() >> 28) as f32
}

/// Errors unless a matrix of blocks has one scale for each block.
fn blocks(op: &'static str, rows: usize, cols: usize, scales: usize) -> Result<(), BackendError> {
    if cols.is_multiple_of(BLOCK) && scales == rows * (cols / BLOCK) {
        return Ok(());
    }
    let what = format!("[{rows}, {cols}] with {scales} scales; cols must be a multiple of 32 and scales one in 32");
    Err(BackendError::Shape { op, what })
}

/// Number of values of the packed matrix; `given` is the number that the caller passed.
fn packed_len(op: &'static str, rows: usize, cols: usize, given: usize) -> Result<usize, BackendError> {
    if rows == 0 || cols == 0 || rows.checked_mul(cols) != Some(given) {
        return Err(BackendError::Shape { op, what: format!("{given} weights for a matrix [{rows}, {cols}]") });
    }
    let padded = rows.checked_next_multiple_of(PANEL).and_then(|rows| rows.checked_mul(cols));
    padded.ok_or_else(|| BackendError::Memory { bytes: usize::MAX, what: format!("a matrix [{rows}, {cols}]") })
}

fn pack<T: super::mem::Plain>(
    rows: usize,
    cols: usize,
    size: usize,
    at: impl Fn(usize, usize) -> T,
) -> Result<Store<T>, BackendError> {
    let mut store = Store::zeros(size, "weights")?;
    for (p, panel) in store.chunks_exact_mut(cols * PANEL).enumerate() {
        for (k, lane) in panel.chunks_exact_mut(PANEL).enumerate() {
            for (w, r) in lane.iter_mut().zip(p * PANEL..rows) {
                *w = at(r, k);
            }
        }
    }
    Ok(store)
}

impl Weights {
    /// Zeros of a q8 or q4 matrix.
    fn of_blocks(bits: Bits, size: usize, cols: usize, activations: Activations) -> Result<Weights, BackendError> {
        let scales = || Store::zeros(size / BLOCK, "scales");
        Ok(match (activations, bits) {
            (Activations::Int8, _) => Weights::Blocks(Blocks::zeros(bits, size, cols)?),
            (Activations::F32, Bits::Eight) => Weights::Q8 { ints: Store::zeros(size, "weights")?, scales: scales()? },
            (Activations::F32, Bits::Four) => Weights::Q4 { words: Store::zeros(size / WORD, "weights")?, scales: scales()? },
        })
    }

    /// Writes row `r` of a q8 or q4 matrix.
    fn put(&mut self, r: usize, row: &[i8], row_scales: &[f32]) {
        match self {
            Weights::Q8 { ints, scales } => {
                put(ints, r, row.iter().copied());
                put(scales, r, row_scales.iter().copied());
            }
            Weights::Q4 { words, scales } => {
                let word = |ints: &[i8; WORD]| (0..WORD).fold(0, |word, i| word | u32::from(ints[i] as u8 & 15) << (4 * i));
                put(words, r, row.as_chunks().0.iter().map(word));
                put(scales, r, row_scales.iter().copied());
            }
            Weights::Blocks(blocks) => blocks.put(r, row, row_scales),
            Weights::F32(_) | Weights::Bf16(_) | Weights::Dequantized { .. } => {
                unreachable!("rows of integers in a matrix of floats")
            }
        }
    }
}

/// Writes row `r` into panels of rows of this length.
fn put<T: super::mem::Plain>(panels: &mut [T], r: usize, row: impl ExactSizeIterator<Item = T>) {
    let at = r / PANEL * row.len() * PANEL + r % PANEL;
    row.enumerate().for_each(|(k, value)| panels[at + k * PANEL] = value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Activations; 2] = [Activations::F32, Activations::Int8];

    #[test]
    fn unpacked_rows_are_within_the_formats_tolerance() {
        let (rows, cols) = (19, 64);
        let data: Vec<f32> = (0..rows * cols).map(|i| (i as f32 * 0.37).sin()).collect();
        for (format, tolerance) in
            [(Format::F32, 0.0), (Format::Bf16, 1.0 / 256.0), (Format::Q8, 1.0 / 127.0), (Format::Q4, 0.5001 / 7.0)]
        {
            for activations in BOTH {
                let mat = Mat::new(rows, cols, &data, format, activations).unwrap();
                assert_eq!(mat.format(), format);
                for r in 0..rows {
                    let mut seen = 0;
                    mat.row(r, |k, w| {
                        seen += 1;
                        assert!((w - data[r * cols + k]).abs() <= tolerance, "{format:?}, {activations:?} [{r}, {k}]");
                    });
                    assert_eq!(seen, cols);
                }
            }
        }
    }

    #[test]
    fn block_formats_become_bf16_where_columns_are_not_blocks() {
        for format in [Format::Q8, Format::Q4] {
            for activations in BOTH {
                assert_eq!(Mat::new(3, 33, &[0.5; 99], format, activations).unwrap().format(), Format::Bf16);
            }
        }
    }

    /// Every value of four bits, at every position of a word.
    #[test]
    fn q4_weights_are_those_of_the_file() {
        let (rows, cols) = (19, 64);
        let nibbles: Vec<u8> = (0..rows * cols / 2).map(|i| ((i * 40_503) >> 7) as u8).collect();
        let scales: Vec<f32> = (0..rows * 2).map(|i| i as f32 * 0.25 - 3.0).collect();
        for activations in BOTH {
            let mat = Mat::q4(rows, cols, &nibbles, &scales, activations).unwrap();
            assert_eq!((mat.format(), mat.bytes()), (Format::Q4, 32 * 64 * 5 / 8));
            let mut seen = std::collections::BTreeSet::new();
            for r in 0..rows {
                mat.row(r, |k, w| {
                    let byte = nibbles[(r * cols + k) / 2];
                    let nibble = if k % 2 == 0 { byte & 15 } else { byte >> 4 };
                    seen.insert((k % WORD, nibble));
                    assert_eq!(w, scales[(r * cols + k) / 32] * (f32::from(nibble) - 8.0), "{activations:?} [{r}, {k}]");
                });
            }
            assert_eq!(seen.len(), 128);
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        for a in BOTH {
            assert!(matches!(Mat::new(3, 4, &[0.0; 11], Format::F32, a), Err(BackendError::Shape { .. })));
            assert!(matches!(Mat::new(0, 4, &[], Format::F32, a), Err(BackendError::Shape { .. })));
            assert!(matches!(Mat::new(usize::MAX, 2, &[0.0; 4], Format::F32, a), Err(BackendError::Shape { .. })));
            assert!(matches!(Mat::q8(2, 40, &[0; 80], &[0.0; 2], a), Err(BackendError::Shape { .. })));
            assert!(matches!(Mat::q8(2, 64, &[0; 128], &[0.0; 3], a), Err(BackendError::Shape { .. })));
            assert!(matches!(Mat::q4(2, 40, &[0; 40], &[0.0; 2], a), Err(BackendError::Shape { .. })));
            assert!(matches!(Mat::q4(2, 64, &[0; 128], &[0.0; 4], a), Err(BackendError::Shape { .. })));
            assert!(matches!(Mat::q4(2, 64, &[0; 64], &[0.0; 3], a), Err(BackendError::Shape { .. })));
            assert!(matches!(Mat::q4(usize::MAX, 64, &[0; 64], &[0.0; 4], a), Err(BackendError::Shape { .. })));
        }
    }
}
