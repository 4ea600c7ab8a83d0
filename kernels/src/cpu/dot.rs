//! Products of 8-bit integers, sixteen rows side by side: what instruction sets have for them.

use super::blocks::{Bits, WORDS};
use super::simd::{Pair, V16, Wide};
use std::arch::x86_64::*;

/// How one instruction set multiplies weights of one width by 8-bit integers.
///
/// # Safety (of all methods)
/// The machine must have the instructions of the implementation. Pointers must be valid for what is read.
pub(super) trait Dot {
    /// Sixteen f32.
    type Vector: V16;
    /// Weights of 4 k of 16 rows.
    type Weights: Copy;
    /// Sixteen integer sums.
    type Sums: Copy;
    const BITS: Bits;
    /// Group `j` of four k of a block that begins at `block`.
    unsafe fn load(block: *const u8, j: usize) -> Self::Weights;
    /// The sums of a block before its first product. `start` undoes the weights' offset.
    unsafe fn start(start: i32) -> Self::Sums;
    /// Adds the products with the four integers of `x`.
    unsafe fn add(sums: Self::Sums, w: Self::Weights, x: i32) -> Self::Sums;
    /// The sums of two.
    unsafe fn merge(a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// The sums of a whole block.
    unsafe fn finish(sums: Self::Sums, start: i32) -> Self::Vector;
}

/// AVX-512 VNNI, q8: four products of an unsigned and a signed byte in one instruction.
pub(super) struct WideEight;
/// AVX-512 VNNI, q4.
pub(super) struct WideFour;
/// AVX-VNNI, q8: the same instruction for 256 bits.
pub(super) struct PairEight;
/// AVX-VNNI, q4.
pub(super) struct PairFour;
/// AVX2, q8.
pub(super) struct Avx2Eight;
/// AVX2, q4.
pub(super) struct Avx2Four;

/// Half of a vector's weights, 32 bytes.
///
/// # Safety
/// AVX2; `at` must be valid for 32 bytes.
#[inline(always)]
unsafe fn half(at: *const u8) -> __m256i {
    // SAFETY: this function's contract.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// Low or high halves of bytes, for group `j` of q4.
///
/// # Safety
/// As [`half`].
#[inline(always)]
unsafe fn nibbles(at: *const u8, j: usize) -> __m256i {
    // SAFETY: this function's contract.
    unsafe {
        let bytes = half(at);
        let bytes = if j < WORDS / 2 { bytes } else { _mm256_srli_epi16::<4>(bytes) };
        _mm256_and_si256(bytes, _mm256_set1_epi8(15))
    }
}

// SAFETY (all blocks below): the trait's contract, the same for each method.
impl Dot for WideEight {
    type Vector = Wide;
    type Weights = __m512i;
    type Sums = __m512i;
    const BITS: Bits = Bits::Eight;
    #[inline(always)]
    unsafe fn load(block: *const u8, j: usize) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(block.add(64 * j).cast()) }
    }
    #[inline(always)]
    unsafe fn start(start: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(start) }
    }
    #[inline(always)]
    unsafe fn add(sums: __m512i, w: __m512i, x: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_dpbusd_epi32(sums, w, _mm512_set1_epi32(x)) }
    }
    #[inline(always)]
    unsafe fn merge(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: see above.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn finish(sums: __m512i, _: i32) -> Wide {
        // SAFETY: see above.
        unsafe { Wide(_mm512_cvtepi32_ps(sums)) }
    }
}

impl Dot for WideFour {
    type Vector = Wide;
    type Weights = __m512i;
    type Sums = __m512i;
    const BITS: Bits = Bits::Four;
    #[inline(always)]
    unsafe fn load(block: *const u8, j: usize) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let bytes = _mm512_loadu_si512(block.add(64 * (j % (WORDS / 2))).cast());
            let bytes = if j < WORDS / 2 { bytes } else { _mm512_srli_epi32::<4>(bytes) };
            _mm512_and_si512(bytes, _mm512_set1_epi32(0x0f0f_0f0f))
        }
    }
    #[inline(always)]
    unsafe fn start(start: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { WideEight::start(start) }
    }
    #[inline(always)]
    unsafe fn add(sums: __m512i, w: __m512i, x: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { WideEight::add(sums, w, x) }
    }
    #[inline(always)]
    unsafe fn merge(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: see above.
        unsafe { WideEight::merge(a, b) }
    }
    #[inline(always)]
    unsafe fn finish(sums: __m512i, start: i32) -> Wide {
        // SAFETY: see above.
        unsafe { WideEight::finish(sums, start) }
    }
}

impl Dot for PairEight {
    type Vector = Pair;
    type Weights = [__m256i; 2];
    type Sums = [__m256i; 2];
    const BITS: Bits = Bits::Eight;
    #[inline(always)]
    unsafe fn load(block: *const u8, j: usize) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { [half(block.add(64 * j)), half(block.add(64 * j + 32))] }
    }
    #[inline(always)]
    unsafe fn start(start: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_set1_epi32(start); 2] }
    }
    #[inline(always)]
    unsafe fn add(sums: [__m256i; 2], w: [__m256i; 2], x: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            let x = _mm256_set1_epi32(x);
            [_mm256_dpbusd_avx_epi32(sums[0], w[0], x), _mm256_dpbusd_avx_epi32(sums[1], w[1], x)]
        }
    }
    #[inline(always)]
    unsafe fn merge(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: see above.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn finish(sums: [__m256i; 2], _: i32) -> Pair {
        // SAFETY: see above.
        unsafe { Pair(_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])) }
    }
}

impl Dot for PairFour {
    type Vector = Pair;
    type Weights = [__m256i; 2];
    type Sums = [__m256i; 2];
    const BITS: Bits = Bits::Four;
    #[inline(always)]
    unsafe fn load(block: *const u8, j: usize) -> [__m256i; 2] {
        let at = 64 * (j % (WORDS / 2));
        // SAFETY: see above.
        unsafe { [nibbles(block.add(at), j), nibbles(block.add(at + 32), j)] }
    }
    #[inline(always)]
    unsafe fn start(start: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { PairEight::start(start) }
    }
    #[inline(always)]
    unsafe fn add(sums: [__m256i; 2], w: [__m256i; 2], x: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { PairEight::add(sums, w, x) }
    }
    #[inline(always)]
    unsafe fn merge(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: see above.
        unsafe { PairEight::merge(a, b) }
    }
    #[inline(always)]
    unsafe fn finish(sums: [__m256i; 2], start: i32) -> Pair {
        // SAFETY: see above.
        unsafe { PairEight::finish(sums, start) }
    }
}

/// AVX2 adds two products of an unsigned and a signed byte in 16 bits, and stops at ±32767. Weights plus 128 could pass that, so
/// they are taken without sign and x gets their sign: at most 2 · 128 · 127.
impl Dot for Avx2Eight {
    type Vector = Pair;
    /// The weights with their sign.
    type Weights = [__m256i; 2];
    type Sums = [__m256i; 2];
    const BITS: Bits = Bits::Eight;
    #[inline(always)]
    unsafe fn load(block: *const u8, j: usize) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { PairEight::load(block, j).map(|w| _mm256_xor_si256(w, _mm256_set1_epi8(-128))) }
    }
    #[inline(always)]
    unsafe fn start(_: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn add(sums: [__m256i; 2], w: [__m256i; 2], x: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            let x = _mm256_set1_epi32(x);
            let add = |sum, w| {
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
                _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            };
            [add(sums[0], w[0]), add(sums[1], w[1])]
        }
    }
    #[inline(always)]
    unsafe fn merge(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: see above.
        unsafe { PairEight::merge(a, b) }
    }
    #[inline(always)]
    unsafe fn finish(sums: [__m256i; 2], _: i32) -> Pair {
        // SAFETY: see above.
        unsafe { PairEight::finish(sums, 0) }
    }
}

/// Two products of q4 plus 8 are at most 2 · 15 · 127, so the eight of a block fit 16 bits.
impl Dot for Avx2Four {
    type Vector = Pair;
    type Weights = [__m256i; 2];
    /// Sixteen-bit sums of pairs.
    type Sums = [__m256i; 2];
    const BITS: Bits = Bits::Four;
    #[inline(always)]
    unsafe fn load(block: *const u8, j: usize) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { PairFour::load(block, j) }
    }
    #[inline(always)]
    unsafe fn start(_: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn add(sums: [__m256i; 2], w: [__m256i; 2], x: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            let x = _mm256_set1_epi32(x);
            let add = |sum, w| _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
            [add(sums[0], w[0]), add(sums[1], w[1])]
        }
    }
    #[inline(always)]
    unsafe fn merge(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: see above.
        unsafe { [_mm256_add_epi16(a[0], b[0]), _mm256_add_epi16(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn finish(sums: [__m256i; 2], start: i32) -> Pair {
        // SAFETY: see above.
        unsafe {
            let start = _mm256_set1_epi32(start);
            let whole = |sum| _mm256_add_epi32(start, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
            PairEight::finish([whole(sums[0]), whole(sums[1])], 0)
        }
    }
}
