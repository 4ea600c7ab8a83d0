//! The register tile of every matrix product: P panels × R rows of x, one accumulator an output over ascending k.
//!
//! R = 1 is a GEMV: several panels at once, so that as many runs of memory stream in and no sum waits for the one before it.
//! R = 12 (AVX-512) or 6 (AVX2) is the heart of a GEMM.

use super::mat::{PANEL, Panels};
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
    // SAFETY: the assertions hold every read inside `x` and the panels, every write inside `acc`.
    unsafe {
        match view {
            Panels::F32 { w, stride } => {
                let w = w.as_ptr().add(at);
                plain::<V, P, R>(k, x, acc, |p, i| V::load(w.add(p * stride + i * PANEL)));
            }
            Panels::Bf16 { w, stride } => {
                let w = w.as_ptr().add(at);
                plain::<V, P, R>(k, x, acc, |p, i| V::load_bf16(w.add(p * stride + i * PANEL)));
            }
            Panels::Q8 { w, scales, stride } => {
                assert!(end / BLOCK <= scales.len() && k.is_multiple_of(BLOCK), "tile: scales of {}", scales.len());
                q8::<V, P, R>(w.as_ptr().add(at), scales.as_ptr().add(at / BLOCK), stride, k, x, acc);
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
            let w: [V; P] = std::array::from_fn(
                #[inline(always)]
                |p| weight(p, i),
            );
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*x.add(i * R + r));
                for p in 0..P {
                    sums[p] = w[p].fma(x, sums[p]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (p, sum) in sums.iter().enumerate() {
                sum.store(acc.add((r * P + p) * PANEL));
            }
        }
    }
}

#[inline(always)]
unsafe fn q8<V: V16, const P: usize, const R: usize>(
    w: *const i8,
    scales: *const f32,
    stride: usize,
    k: usize,
    x: *const f32,
    acc: *mut f32,
) {
    // SAFETY: see `tile`.
    unsafe {
        for i in 0..R * P {
            V::splat(0.0).store(acc.add(i * PANEL));
        }
        for block in 0..k / BLOCK {
            let mut sums = [[V::splat(0.0); P]; R];
            for i in block * BLOCK..(block + 1) * BLOCK {
                let w: [V; P] = std::array::from_fn(
                    #[inline(always)]
                    |p| V::load_i8(w.add(p * stride + i * PANEL)),
                );
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*x.add(i * R + r));
                    for p in 0..P {
                        sums[p] = w[p].fma(x, sums[p]);
                    }
                }
            }
            // The outer sums live in memory: touched once in 32 k, while the registers go to the block.
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
