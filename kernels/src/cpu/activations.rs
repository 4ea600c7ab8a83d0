//! Rows of x quantized to 8-bit integers, packed for a tile of rows.
//!
//! A tile of R rows has for each block of 32 k: eight words [8][R] of four integers, R scales (f32 bits), and R starts. A start is
//! −offset·Σx̂: products are taken with weights plus their offset ([`super::blocks::Bits::offset`]), and a block's sum begins at
//! the start, so that what was added comes off again. All are 32-bit values in one array.

use super::blocks::{FOUR, WORDS, X_BLOCK};
use crate::quant::{BLOCK, to_int8};

/// Values that a row of `cols` takes.
pub(super) fn row_len(cols: usize) -> usize {
    cols / BLOCK * X_BLOCK
}

/// Quantizes `x` as row `row` of the `rows` of a tile.
pub(super) fn quantize(x: &[f32], offset: i32, tile: &mut [i32], row: usize, rows: usize) {
    for (x, tile) in x.as_chunks().0.iter().zip(tile.chunks_exact_mut(X_BLOCK * rows)) {
        let (ints, scale) = to_int8(x);
        for (j, word) in ints.as_chunks::<FOUR>().0.iter().enumerate() {
            tile[j * rows + row] = i32::from_ne_bytes(word.map(i8::cast_unsigned));
        }
        tile[WORDS * rows + row] = scale.to_bits().cast_signed();
        tile[(WORDS + 1) * rows + row] = -offset * ints.iter().map(|int| i32::from(*int)).sum::<i32>();
    }
}

/// Quantizes one block of 32, as [`to_int8`] does: where to write the eight words is the caller's.
#[cfg(target_arch = "x86_64")]
pub(super) mod simd {
    use super::*;
    use crate::quant::{INFINITE, LEAST_ACTIVATION};
    use std::arch::x86_64::*;

    /// Eight words of four integers, the scale and the sum of the integers.
    type Block = ([i32; WORDS], f32, i32);

    /// What a block whose largest |x| has these bits is divided by; or its scale, where all its integers are 0.
    #[inline(always)]
    fn scale(largest: u32) -> Result<f32, f32> {
        match largest {
            INFINITE.. => Err(f32::NAN),
            LEAST_ACTIVATION.. => Ok(f32::from_bits(largest) / 127.0),
            _ => Err(0.0),
        }
    }

    /// AVX2.
    ///
    /// # Safety
    /// The machine must have AVX2.
    #[inline(always)]
    unsafe fn block_avx2(x: &[f32; BLOCK]) -> Block {
        // SAFETY: the loads are inside `x`, the store inside `words`.
        unsafe {
            let load = |i: usize| _mm256_loadu_ps(x.as_ptr().add(8 * i));
            let x = [load(0), load(1), load(2), load(3)];
            let bits = |x| _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fff_ffff));
            let m = _mm256_max_epi32(_mm256_max_epi32(bits(x[0]), bits(x[1])), _mm256_max_epi32(bits(x[2]), bits(x[3])));
            let m = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256::<1>(m));
            let m = _mm_max_epi32(m, _mm_shuffle_epi32::<0b01_00_11_10>(m));
            let m = _mm_max_epi32(m, _mm_shuffle_epi32::<0b10_11_00_01>(m));
            let scale = match scale(_mm_cvtsi128_si32(m).cast_unsigned()) {
                Ok(scale) => scale,
                Err(scale) => return ([0; WORDS], scale, 0),
            };
            let by = _mm256_set1_ps(scale);
            let int = |x| _mm256_cvtps_epi32(_mm256_div_ps(x, by));
            let x = [int(x[0]), int(x[1]), int(x[2]), int(x[3])];
            let sum = _mm256_add_epi32(_mm256_add_epi32(x[0], x[1]), _mm256_add_epi32(x[2], x[3]));
            let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
            // Packing works in each half by itself: words 0, 2, 4, 6, 1, 3, 5, 7.
            let packed = _mm256_packs_epi16(_mm256_packs_epi32(x[0], x[1]), _mm256_packs_epi32(x[2], x[3]));
            let packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            let mut words = [0; WORDS];
            _mm256_storeu_si256(words.as_mut_ptr().cast(), packed);
            (words, scale, _mm_cvtsi128_si32(sum))
        }
    }

    /// [`super::quantize`] with AVX2.
    #[target_feature(enable = "avx2")]
    pub fn quantize_avx2(x: &[f32], offset: i32, tile: &mut [i32], row: usize, rows: usize) {
        for (x, tile) in x.as_chunks().0.iter().zip(tile.chunks_exact_mut(X_BLOCK * rows)) {
            // SAFETY: this function has the feature.
            let (words, scale, sum) = unsafe { block_avx2(x) };
            words.iter().enumerate().for_each(|(j, word)| tile[j * rows + row] = *word);
            tile[WORDS * rows + row] = scale.to_bits().cast_signed();
            tile[(WORDS + 1) * rows + row] = -offset * sum;
        }
    }
}
