//! A packed weight matrix in the layout of the kernels (kernels/cu/common.cuh): panels of 32 rows, and inside a panel 16 bytes of
//! each row side by side, so that a warp, one row a lane, reads 512 contiguous bytes.

use super::device::Device;
use super::kernel::MatArgument;
use super::mem::Array;
use crate::quant::{BLOCK, to_bf16, to_q4, to_q8};
use crate::{BackendError, Format};

/// Rows of a panel.
const PANEL: usize = 32;
/// Contiguous bytes of one row.
const PIECE: usize = 16;

/// A packed weight matrix [rows, cols] on the device.
pub struct Mat {
    pub(super) rows: usize,
    pub(super) cols: usize,
    format: Format,
    /// [panel][piece][32][16 bytes].
    weights: Array<u8>,
    /// q8 and q4: [panel][cols / 32][32].
    scales: Option<Array<f32>>,
}

impl Mat {
    pub(super) fn new(device: &mut Device, rows: usize, cols: usize, data: &[f32], format: Format) -> Result<Mat, BackendError> {
        check("mat", rows, cols, data.len())?;
        let blocks = matches!(format, Format::Q8 | Format::Q4);
        let format = if blocks && !cols.is_multiple_of(BLOCK) { Format::Bf16 } else { format };
        match format {
            Format::F32 => {
                let weights = pack(device, rows, cols, |r, k| data[r * cols + k].to_le_bytes())?;
                Ok(Mat { rows, cols, format, weights, scales: None })
            }
            Format::Bf16 => {
                let weights = pack(device, rows, cols, |r, k| to_bf16(data[r * cols + k]).to_le_bytes())?;
                Ok(Mat { rows, cols, format, weights, scales: None })
            }
            Format::Q8 => {
                let (mut ints, mut scales) = (vec![0; data.len()], vec![0.0; data.len() / BLOCK]);
                for r in 0..rows {
                    let scales = &mut scales[r * (cols / BLOCK)..][..cols / BLOCK];
                    to_q8(&data[r * cols..][..cols], &mut ints[r * cols..][..cols], scales);
                }
                Mat::q8(device, rows, cols, &ints, &scales)
            }
            Format::Q4 => {
                let (mut nibbles, mut scales) = (vec![0; data.len() / 2], vec![0.0; data.len() / BLOCK]);
                to_q4(data, &mut nibbles, &mut scales);
                Mat::q4(device, rows, cols, &nibbles, &scales)
            }
        }
    }

    pub(super) fn q8(device: &mut Device, rows: usize, cols: usize, ints: &[i8], scales: &[f32]) -> Result<Mat, BackendError> {
        check("mat_q8", rows, cols, ints.len())?;
        let scales = pack_scales(device, "mat_q8", rows, cols, scales)?;
        let weights = pack(device, rows, cols, |r, k| ints[r * cols + k].to_le_bytes())?;
        Ok(Mat { rows, cols, format: Format::Q8, weights, scales: Some(scales) })
    }

    /// The file's bytes are not changed: 16 bytes are one block.
    pub(super) fn q4(device: &mut Device, rows: usize, cols: usize, nibbles: &[u8], scales: &[f32]) -> Result<Mat, BackendError> {
        check("mat_q4", rows, cols, nibbles.len().saturating_mul(2))?;
        let scales = pack_scales(device, "mat_q4", rows, cols, scales)?;
        let weights = pack(device, rows, cols / 2, |r, k| [nibbles[r * (cols / 2) + k]])?;
        Ok(Mat { rows, cols, format: Format::Q4, weights, scales: Some(scales) })
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes that one product reads.
    pub fn bytes(&self) -> usize {
        self.weights.len() + self.scales.as_ref().map_or(0, |s| 4 * s.len())
    }

    pub(super) fn argument(&self, device: &mut Device) -> MatArgument {
        MatArgument {
            w: device.at(&self.weights),
            scales: self.scales.as_ref().map_or(0, |s| device.at(s)),
            rows: self.rows as i32,
            cols: self.cols as i32,
            format: self.format as i32,
            vectors: pieces(self.cols, self.format) as i32,
        }
    }
}

fn check(op: &'static str, rows: usize, cols: usize, given: usize) -> Result<(), BackendError> {
    let fits = rows > 0 && cols > 0 && rows.checked_mul(cols) == Some(given) && given < 1 << 31;
    let what = || format!("{given} weights for a matrix [{rows}, {cols}]");
    if fits { Ok(()) } else { Err(BackendError::Shape { op, what: what() }) }
}

/// 16-byte pieces of a row.
fn pieces(cols: usize, format: Format) -> usize {
    let bits = match format {
        Format::F32 => 32,
        Format::Bf16 => 16,
        Format::Q8 => 8,
        Format::Q4 => 4,
    };
    (cols * bits).div_ceil(8 * PIECE)
}

/// Packs rows of `len` values of `N` bytes: [panel][piece][32][16 bytes].
fn pack<const N: usize>(
    device: &mut Device,
    rows: usize,
    len: usize,
    value: impl Fn(usize, usize) -> [u8; N],
) -> Result<Array<u8>, BackendError> {
    let (pieces, each) = ((len * N).div_ceil(PIECE), PIECE / N);
    let mut packed = vec![0; rows.next_multiple_of(PANEL) * pieces * PIECE];
    for r in 0..rows {
        for k in 0..len {
            let piece = (r / PANEL * pieces + k / each) * PANEL + r % PANEL;
            packed[piece * PIECE + k % each * N..][..N].copy_from_slice(&value(r, k));
        }
    }
    Array::of(device, &packed, "weights")
}

/// Packs the scales of blocks: [panel][cols / 32][32].
fn pack_scales(
    device: &mut Device,
    op: &'static str,
    rows: usize,
    cols: usize,
    scales: &[f32],
) -> Result<Array<f32>, BackendError> {
    let blocks = cols / BLOCK;
    if !cols.is_multiple_of(BLOCK) || scales.len() != rows * blocks {
        let what = format!("[{rows}, {cols}] with {} scales; cols must be a multiple of 32 and scales one in 32", scales.len());
        return Err(BackendError::Shape { op, what });
    }
    let mut packed = vec![0.0; rows.next_multiple_of(PANEL) * blocks];
    for (i, scale) in scales.iter().enumerate() {
        let (r, b) = (i / blocks, i % blocks);
        packed[(r / PANEL * blocks + b) * PANEL + r % PANEL] = *scale;
    }
    Array::of(device, &packed, "scales")
}
