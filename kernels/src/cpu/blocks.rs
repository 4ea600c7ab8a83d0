//! A packed matrix of q8 or q4 weights for products with 8-bit activations: panels of 16 rows, and inside a panel one block of 32
//! k after another.
//!
//! Instructions that multiply 8-bit integers add up four neighbouring products, and take one side unsigned. So a block has the
//! weights of 4 k of each of the 16 rows side by side, 64 bytes, then the next 4 k; a byte is its integer plus 128. In q4 a byte
//! has two integers plus 8: that of k in the low half, that of k + 16 in the high half. Then come the 16 scales, so that a panel
//! is read from memory as one stream.

use super::mat::PANEL;
use super::mem::Store;
use crate::BackendError;
use crate::quant::BLOCK;

/// k that one instruction adds up.
pub(super) const FOUR: usize = 4;
/// Groups of four k in a block.
pub(super) const WORDS: usize = BLOCK / FOUR;
/// 32-bit values that a row of x takes for one block ([`super::activations`]): the integers, the scale, the start of the sum.
pub(super) const X_BLOCK: usize = WORDS + 2;

/// Bits of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bits {
    Eight,
    Four,
}

impl Bits {
    /// What is added to an integer so that it is not negative.
    pub(super) const fn offset(self) -> i32 {
        match self {
            Bits::Eight => 128,
            Bits::Four => 8,
        }
    }

    /// Bytes of the integers of one block.
    pub(super) const fn ints(self) -> usize {
        match self {
            Bits::Eight => BLOCK * PANEL,
            Bits::Four => BLOCK * PANEL / 2,
        }
    }

    /// Bytes of one block with its scales.
    pub(super) const fn block(self) -> usize {
        self.ints() + PANEL * size_of::<f32>()
    }

    /// Where the weight of column `k` is in a row's bytes of a block, and its lowest bit there.
    const fn place(self, k: usize) -> (usize, u32) {
        match self {
            Bits::Four if k >= BLOCK / 2 => (k - BLOCK / 2, 4),
            Bits::Four | Bits::Eight => (k, 0),
        }
    }

    /// The integer of row `lane` and column `k` of a block.
    #[inline]
    pub(super) fn int(self, block: &[u8], lane: usize, k: usize) -> i32 {
        let (k, shift) = self.place(k);
        let byte = block[(k / FOUR * PANEL + lane) * FOUR + k % FOUR];
        i32::from(match self {
            Bits::Eight => byte,
            Bits::Four => byte >> shift & 15,
        }) - self.offset()
    }

    /// The scale of row `lane` of a block.
    #[inline]
    pub(super) fn scale(self, block: &[u8], lane: usize) -> f32 {
        let at = self.ints() + lane * 4;
        f32::from_ne_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
    }
}

/// A packed matrix.
pub(super) struct Blocks {
    bytes: Store<u8>,
    bits: Bits,
    /// Blocks of a row.
    count: usize,
}

/// `panels` panels of a packed matrix, from panel `first` on.
#[derive(Clone, Copy)]
pub(super) struct BlockRange<'a> {
    pub bytes: &'a [u8],
    pub bits: Bits,
    /// Blocks of a row.
    pub blocks: usize,
    pub first: usize,
    pub panels: usize,
}

impl Blocks {
    /// Room for `size` weights, 16 rows or more of a multiple of 32 columns `cols`.
    pub(super) fn zeros(bits: Bits, size: usize, cols: usize) -> Result<Blocks, BackendError> {
        let bytes = (size / (BLOCK * PANEL)).saturating_mul(bits.block());
        Ok(Blocks { bytes: Store::zeros(bytes, "weights")?, bits, count: cols / BLOCK })
    }

    /// Writes row `r` over zeros.
    pub(super) fn put(&mut self, r: usize, ints: &[i8], scales: &[f32]) {
        assert!(ints.len() == self.count * BLOCK && scales.len() == self.count, "blocks: row {r} of {}", ints.len());
        let (size, offset, lane) = (self.bits.block(), self.bits.offset(), r % PANEL);
        let panel = &mut self.bytes[r / PANEL * self.count * size..][..self.count * size];
        for ((block, ints), scale) in panel.chunks_exact_mut(size).zip(ints.as_chunks::<BLOCK>().0).zip(scales) {
            for (k, int) in ints.iter().enumerate() {
                let (k, shift) = self.bits.place(k);
                block[(k / FOUR * PANEL + lane) * FOUR + k % FOUR] |= ((i32::from(*int) + offset) as u8) << shift;
            }
            block[self.bits.ints() + lane * 4..][..4].copy_from_slice(&scale.to_ne_bytes());
        }
    }

    /// The weight at row `r` and column `k`.
    #[inline]
    pub(super) fn weight(&self, r: usize, k: usize) -> f32 {
        let block = &self.bytes[(r / PANEL * self.count + k / BLOCK) * self.bits.block()..][..self.bits.block()];
        self.bits.scale(block, r % PANEL) * self.bits.int(block, r % PANEL, k % BLOCK) as f32
    }

    pub(super) fn bits(&self) -> Bits {
        self.bits
    }

    /// Bytes that one product reads.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn range(&self, first: usize, panels: usize) -> BlockRange<'_> {
        BlockRange { bytes: &self.bytes, bits: self.bits, blocks: self.count, first, panels }
    }
}
