//! Sixteen f32 side by side: one 512-bit register, or two of 256.
//!
//! Inner loops are written once over [`V16`] and compiled for each instruction set. Everything must be inlined into a function
//! with `#[target_feature]` (see [`super::kernel`]); a call that is not inlined passes vectors through memory.

use std::arch::x86_64::*;

/// Sixteen lanes of f32. Every operation is correctly rounded, so both implementations give the bits of the scalar loops.
///
/// # Safety (of all methods)
/// The machine must have the instructions of the implementation. Pointers must be valid for 16 values; they need no alignment.
pub(super) trait V16: Copy {
    /// Sixteen q4 words ([`super::mat`]).
    type Words: Copy;
    /// x in each lane.
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(at: *const f32) -> Self;
    unsafe fn load_bf16(at: *const u16) -> Self;
    unsafe fn load_i8(at: *const i8) -> Self;
    unsafe fn load_words(at: *const u32) -> Self::Words;
    /// Weight `I` of the 8 of each word, −8 to 7.
    unsafe fn int4<const I: u32>(words: Self::Words) -> Self;
    unsafe fn store(self, at: *mut f32);
    /// self · b + c with one rounding.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn div(self, b: Self) -> Self;
    unsafe fn abs(self) -> Self;
    /// `yes` where a < b, else (also for NaN) `no`.
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self;
    /// self · 2^n, n in the low bits of t ([`super::scalar::exp`]).
    unsafe fn power(self, t: Self) -> Self;
}

/// AVX-512 F.
#[derive(Clone, Copy)]
pub(super) struct Wide(pub __m512);

/// AVX2 and FMA: lanes 0..8 and 8..16.
#[derive(Clone, Copy)]
pub(super) struct Pair(pub __m256, pub __m256);

// SAFETY (all blocks below): the trait's contract, the same for each method.
impl V16 for Wide {
    type Words = __m512i;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_set1_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_loadu_ps(at)) }
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const u16) -> Self {
        // SAFETY: see above.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            Wide(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast())))) }
    }
    #[inline(always)]
    unsafe fn load_words(at: *const u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(at.cast()) }
    }
    #[inline(always)]
    unsafe fn int4<const I: u32>(words: __m512i) -> Self {
        // SAFETY: see above.
        unsafe {
            // Two methods in turn, which use different execution units (measured on Zen 4). The first: the lowest four bits index a
            // table.
            let pair = _mm512_srlv_epi32(words, _mm512_set1_epi32((I / 2 * 8) as i32));
            if I.is_multiple_of(2) {
                let table =
                    _mm512_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0);
                return Wide(_mm512_permutexvar_ps(pair, table));
            }
            // The second: bits 4 to 7 with the sign bit flipped, 0 to 15, become the lowest mantissa bits of 2^19 (pair & mask ^ flip).
            let (mask, flip) = (_mm512_set1_epi32(0xf0), _mm512_set1_epi32(((1u32 << 19) as f32).to_bits() as i32 | 0x80));
            let sum = _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0x6a>(pair, mask, flip));
            Wide(_mm512_sub_ps(sum, _mm512_set1_ps(((1 << 19) + 8) as f32)))
        }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(at, self.0) }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_fmadd_ps(self.0, b.0, c.0)) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_add_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_sub_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_mul_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_div_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_abs_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        // SAFETY: see above.
        unsafe { Wide(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0), no.0, yes.0)) }
    }
    #[inline(always)]
    unsafe fn power(self, t: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(t.0));
            Wide(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self.0), n)))
        }
    }
}

impl V16 for Pair {
    /// Their address: 16 registers have no room for the words.
    type Words = *const u32;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))) }
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const u16) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = |at: *const u16| {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            };
            Pair(half(at), half(at.add(8)))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = |at: *const i8| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast())));
            Pair(half(at), half(at.add(8)))
        }
    }
    #[inline(always)]
    unsafe fn load_words(at: *const u32) -> Self::Words {
        at
    }
    #[inline(always)]
    unsafe fn int4<const I: u32>(words: Self::Words) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = |at: *const u32| {
                let top = _mm256_sllv_epi32(at.cast::<__m256i>().read_volatile(), _mm256_set1_epi32((28 - 4 * I) as i32));
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<28>(top))
            };
            Pair(half(words), half(words.add(8)))
        }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: see above.
        unsafe {
            _mm256_storeu_ps(at, self.0);
            _mm256_storeu_ps(at.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_sub_ps(self.0, b.0), _mm256_sub_ps(self.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_mul_ps(self.0, b.0), _mm256_mul_ps(self.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_div_ps(self.0, b.0), _mm256_div_ps(self.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: see above.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            Pair(_mm256_andnot_ps(sign, self.0), _mm256_andnot_ps(sign, self.1))
        }
    }
    #[inline(always)]
    unsafe fn if_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = |a, b, yes, no| _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
            Pair(half(a.0, b.0, yes.0, no.0), half(a.1, b.1, yes.1, no.1))
        }
    }
    #[inline(always)]
    unsafe fn power(self, t: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = |x, t| {
                let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(t));
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), n))
            };
            Pair(half(self.0, t.0), half(self.1, t.1))
        }
    }
}
