//! The register tile of every matrix product: P panels × R rows of x, one accumulator an output over ascending k.
//!
//! R = 1 is a GEMV: several panels at once, so that several streams of memory come in and no sum waits for the one before it.
//! R = 12 (AVX-512) or 6 (AVX2) is the inner loop of a GEMM.

use super::mat::{PANEL, Panels, WORD};
use super::simd::V16;
use crate::quant::BLOCK;

/// [`super::scalar::tile`] for `P` panels from `first` and `R` rows.
///
/// # Safety
/// The machine must have V's instructions.
#[inline(always)]
pub(super) unsafe fn tile<V: V16, const P: usize, const R: usize>(
    view: Panels,
    first: usize,
    k: usize,
    x: &[f32],
    acc: &mut [f32],
) {
    assert!(x.len() >= k * R && acc.len() >= R * P * PANEL, "tile: x of {}, acc of {}", x.len(), acc.len());
    let (at, end) = (first * view.stride(), (first + P - 1) * view.stride() + k * PANEL);
    assert!(end <= view.len(), "tile: panels to {end} of {}", view.len());
    let (x, acc) = (x.as_ptr(), acc.as_mut_ptr());
    // SAFETY: by the assertions every read is inside `x` and the panels, every write inside `acc`.
    unsafe {
        match view {
            Panels::F32 { w, stride } => {
                let w = w.as_ptr().add(at);
                plain::<V, P, R>(
                    k,
                    x,
                    acc,
                    #[inline(always)]
                    |p, i| V::load(w.add(p * stride + i * PANEL)),
                );
            }
            Panels::Bf16 { w, stride } => {
                let w = w.as_ptr().add(at);
                plain::<V, P, R>(
                    k,
                    x,
                    acc,
                    #[inline(always)]
                    |p, i| V::load_bf16(w.add(p * stride + i * PANEL)),
                );
            }
            Panels::Dequantized { w, scales, stride } => {
                assert!(end / BLOCK <= scales.len() && k.is_multiple_of(BLOCK), "tile: scales of {}", scales.len());
                dequantized::<V, P, R>((w.as_ptr().add(at), scales.as_ptr().add(at / BLOCK), stride), k, x, acc);
            }
            Panels::Q8 { w, scales, stride } => {
                assert!(end / BLOCK <= scales.len() && k.is_multiple_of(BLOCK), "tile: scales of {}", scales.len());
                let (w, scales) = (w.as_ptr().add(at), scales.as_ptr().add(at / BLOCK));
                blocks::<V, P, R>(
                    scales,
                    stride,
                    k,
                    acc,
                    #[inline(always)]
                    |block, sums| {
                        for i in block * BLOCK..(block + 1) * BLOCK {
                            column(
                                x.add(i * R),
                                sums,
                                #[inline(always)]
                                |p| V::load_i8(w.add(p * stride + i * PANEL)),
                            );
                        }
                    },
                );
            }
            Panels::Q4 { w, scales, stride } => {
                assert!(end / BLOCK <= scales.len() && k.is_multiple_of(BLOCK), "tile: scales of {}", scales.len());
                let (w, scales) = (w.as_ptr().add(at / WORD), scales.as_ptr().add(at / BLOCK));
                blocks::<V, P, R>(
                    scales,
                    stride,
                    k,
                    acc,
                    #[inline(always)]
                    |block, sums| {
                        for p in 0..P {
                            prefetch::<R>(scales.wrapping_add((P + p) * (stride / BLOCK) + block * PANEL));
                        }
                        for i in block * (BLOCK / WORD)..(block + 1) * (BLOCK / WORD) {
                            word(w.add(i * PANEL), stride / WORD, x.add(i * WORD * R), sums);
                        }
                    },
                );
            }
        }
    }
}

#[inline(always)]
unsafe fn plain<V: V16, const P: usize, const R: usize>(
    k: usize,
    x: *const f32,
    acc: *mut f32,
    weight: impl Fn(usize, usize) -> V,
) {
    // SAFETY: see `tile`.
    unsafe {
        let mut sums = [[V::splat(0.0); P]; R];
        for i in 0..k {
            column(
                x.add(i * R),
                &mut sums,
                #[inline(always)]
                |p| weight(p, i),
            );
        }
        store(&sums, acc);
    }
}

/// Weights scale · integer, rounded to f32, and otherwise as [`plain`].
#[inline(always)]
unsafe fn dequantized<V: V16, const P: usize, const R: usize>(
    (w, scales, stride): (*const i8, *const f32, usize),
    k: usize,
    x: *const f32,
    acc: *mut f32,
) {
    // SAFETY: see `tile`.
    unsafe {
        let mut sums = [[V::splat(0.0); P]; R];
        for block in 0..k / BLOCK {
            let mut scale = [V::splat(0.0); P];
            for (p, scale) in scale.iter_mut().enumerate() {
                *scale = V::load(scales.add(p * (stride / BLOCK) + block * PANEL));
            }
            for i in block * BLOCK..(block + 1) * BLOCK {
                column(
                    x.add(i * R),
                    &mut sums,
                    #[inline(always)]
                    |p| V::load_i8(w.add(p * stride + i * PANEL)).mul(scale[p]),
                );
            }
        }
        store(&sums, acc);
    }
}

/// Writes the sums of a tile.
#[inline(always)]
unsafe fn store<V: V16, const P: usize, const R: usize>(sums: &[[V; P]; R], acc: *mut f32) {
    for (r, sums) in sums.iter().enumerate() {
        for (p, sum) in sums.iter().enumerate() {
            // SAFETY: see `tile`.
            unsafe { sum.store(acc.add((r * P + p) * PANEL)) };
        }
    }
}

/// One k: adds the weights of P panels times R values of x to their sums. (Loops, not `array::from_fn`, which the compiler may
/// leave as a call without the vector's instructions.)
#[inline(always)]
unsafe fn column<V: V16, const P: usize, const R: usize>(x: *const f32, sums: &mut [[V; P]; R], weight: impl Fn(usize) -> V) {
    // SAFETY: see `tile`.
    unsafe {
        let mut w = [V::splat(0.0); P];
        for (p, w) in w.iter_mut().enumerate() {
            *w = weight(p);
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = V::splat(*x.add(r));
            for p in 0..P {
                sums[p] = w[p].fma(x, sums[p]);
            }
        }
    }
}

/// Prefetches the same position of the next P panels where weights are read for one or two rows. A panel of q4 is so short that
/// the hardware prefetcher does not follow it in time. An address past the end does no harm.
#[inline(always)]
fn prefetch<const R: usize>(at: *const impl Sized) {
    if R <= 2 {
        // SAFETY: every x86-64 has the instruction, and it faults on no address.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast()) }
    }
}

/// Eight k of q4: one word from each row.
#[inline(always)]
unsafe fn word<V: V16, const P: usize, const R: usize>(w: *const u32, stride: usize, x: *const f32, sums: &mut [[V; P]; R]) {
    macro_rules! columns {
        ($words:ident: $($i:literal)*) => {
            $(column(x.add($i * R), sums, #[inline(always)] |p| V::int4::<$i>($words[p]));)*
        };
    }
    // SAFETY: see `tile`.
    unsafe {
        let mut words = [V::load_words(w); P];
        for (p, words) in words.iter_mut().enumerate() {
            *words = V::load_words(w.add(p * stride));
            prefetch::<R>(w.wrapping_add((P + p) * stride));
        }
        columns!(words: 0 1 2 3 4 5 6 7);
    }
}

/// q8 and q4: `products` sums one block; the block's sums times its scales are added to the outer sums.
#[inline(always)]
unsafe fn blocks<V: V16, const P: usize, const R: usize>(
    scales: *const f32,
    stride: usize,
    k: usize,
    acc: *mut f32,
    products: impl Fn(usize, &mut [[V; P]; R]),
) {
    // SAFETY: see `tile`.
    unsafe {
        for i in 0..R * P {
            V::splat(0.0).store(acc.add(i * PANEL));
        }
        for block in 0..k / BLOCK {
            let mut sums = [[V::splat(0.0); P]; R];
            products(block, &mut sums);
            // The outer sums stay in memory: they are used once in 32 k, and the block needs the registers.
            for p in 0..P {
                let scale = V::load(scales.add(p * (stride / BLOCK) + block * PANEL));
                for (r, sums) in sums.iter().enumerate() {
                    let acc = acc.add((r * P + p) * PANEL);
                    scale.fma(sums[p], V::load(acc)).store(acc);
                }
            }
        }
    }
}
