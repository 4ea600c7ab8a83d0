//! Inner loops of products with 8-bit activations by [`Isa`]: the tile, and its scalar, AVX2, AVX-VNNI and AVX-512 VNNI versions.
//!
//! Sums of one block are exact integers, so the order inside a block is free and every version gives the bits of
//! [`scalar::int8_tile`], the specification.

use super::blocks::BlockRange;
use super::{Isa, activations, isa::Products, scalar};
#[cfg(target_arch = "x86_64")]
use super::{
    blocks::{WORDS, X_BLOCK},
    dot::Dot,
    mat::PANEL,
    simd::V16,
};

/// The most rows of x in one tile. More would fit the registers, but not with their outer sums (measured on Zen 4).
pub(super) const ROWS: usize = 4;

/// Panels that one tile of `rows` rows takes.
pub(super) fn group(isa: Isa, rows: usize) -> usize {
    match (isa.1, rows) {
        #[cfg(target_arch = "x86_64")]
        (Products::Avx2 | Products::AvxVnni, _) => 1,
        // One stream of memory is read faster than two or four (measured on Zen 4).
        (_, 1 | 2) => 1,
        (_, _) => 2,
    }
}

/// Products of `P` panels from the first of the range with `R` rows: [`scalar::int8_tile`].
///
/// # Safety
/// The machine must have D's instructions.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn register_tile<D: Dot, const P: usize, const R: usize>(w: BlockRange, x: &[i32], acc: &mut [f32]) {
    let (size, blocks) = (D::BITS.block(), w.blocks);
    assert!(x.len() >= blocks * X_BLOCK * R && acc.len() >= R * P * PANEL, "tile: x of {}, acc of {}", x.len(), acc.len());
    assert!((w.first + P) * blocks * size <= w.bytes.len(), "tile: panels to {} in {} bytes", w.first + P, w.bytes.len());
    let (stride, mut x, acc) = (blocks * size, x.as_ptr(), acc.as_mut_ptr());
    // SAFETY: by the assertions every read is inside `x` and the panels, every write inside `acc`.
    unsafe {
        let mut w = w.bytes.as_ptr().add(w.first * stride);
        let mut outer = [[D::Vector::splat(0.0); P]; R];
        for _ in 0..blocks {
            let mut sums = [[D::start(0); P]; R];
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = [D::start(*x.add((WORDS + 1) * R + r)); P];
            }
            // Few sums are too few to hide the latency of an addition: those of odd groups are sums of their own.
            let split = P * R <= 2;
            let mut odd = [[D::start(0); P]; R];
            macro_rules! groups {
                ($($j:literal)*) => {$(
                    let mut weights = [D::load(w, $j); P];
                    for (p, weights) in weights.iter_mut().enumerate() {
                        *weights = D::load(w.add(p * stride), $j);
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let x = *x.add($j * R + r);
                        let sums = if split && $j % 2 == 1 { &mut odd[r] } else { sums };
                        for p in 0..P {
                            sums[p] = D::add(sums[p], weights[p], x);
                        }
                    }
                )*};
            }
            groups!(0 1 2 3 4 5 6 7);
            for p in 0..P {
                let scales = D::Vector::load(w.add(p * stride + D::BITS.ints()).cast());
                for (r, sums) in sums.iter().enumerate() {
                    let x_scale = D::Vector::splat(f32::from_bits((*x.add(WORDS * R + r)).cast_unsigned()));
                    let scale = scales.mul(x_scale);
                    let sums = if split { D::merge(sums[p], odd[r][p]) } else { sums[p] };
                    let sum = D::finish(sums, *x.add((WORDS + 1) * R + r));
                    outer[r][p] = scale.fma(sum, outer[r][p]);
                }
            }
            (w, x) = (w.add(size), x.add(X_BLOCK * R));
        }
        for (r, outer) in outer.iter().enumerate() {
            for (p, sum) in outer.iter().enumerate() {
                sum.store(acc.add((r * P + p) * PANEL));
            }
        }
    }
}

/// Compiles [`register_tile`] for one instruction set.
macro_rules! compiled {
    ($module:ident, $eight:ident, $four:ident, $features:literal, $tiles:tt) => {
        /// # Safety
        /// The machine must have the features named: an [`Isa`] with these products is the proof.
        #[cfg(target_arch = "x86_64")]
        mod $module {
            use crate::cpu::blocks::{Bits, BlockRange};
            use crate::cpu::dot::{$eight, $four};
            use crate::cpu::int8::register_tile;

            #[target_feature(enable = $features)]
            fn one<const P: usize, const R: usize>(w: BlockRange, x: &[i32], acc: &mut [f32]) {
                // SAFETY: this function's features are those of the products.
                unsafe {
                    match w.bits {
                        Bits::Eight => register_tile::<$eight, P, R>(w, x, acc),
                        Bits::Four => register_tile::<$four, P, R>(w, x, acc),
                    }
                }
            }
            #[target_feature(enable = $features)]
            pub fn tile(w: BlockRange, x: &[i32], rows: usize, acc: &mut [f32]) {
                compiled!(@choose (w.panels, rows) (w, x, acc) $tiles)
            }
        }
    };
    (@choose ($panels:expr, $rows:expr) $args:tt [$($p:literal: $($r:literal)*;)*]) => {
        compiled!(@arms ($panels, $rows) $args [$($(($p $r))*)*])
    };
    (@arms ($panels:expr, $rows:expr) $args:tt [$(($p:literal $r:literal))*]) => {
        match ($panels, $rows) {
            $(($p, $r) => compiled!(@call $p $r $args),)*
            other => unreachable!("a tile of {other:?} panels and rows"),
        }
    };
    (@call $p:literal $r:literal ($($arg:ident),*)) => {
        one::<$p, $r>($($arg),*)
    };
}

compiled!(avx2, Avx2Eight, Avx2Four, "avx2,fma", [
    1: 1 2 3 4;
]);
compiled!(avx_vnni, PairEight, PairFour, "avxvnni,avx2,fma", [
    1: 1 2 3 4;
]);
compiled!(avx512_vnni, WideEight, WideFour, "avx512f,avx512vnni,avx2,fma", [
    1: 1 2 3 4;
    2: 2 3 4;
]);

/// [`scalar::int8_tile`], at most [`group`] panels and [`ROWS`] rows.
pub(super) fn tile(isa: Isa, w: BlockRange, x: &[i32], rows: usize, acc: &mut [f32]) {
    match isa.1 {
        Products::Scalar => scalar::int8_tile(w, x, rows, acc),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the machine has its features.
        Products::Avx2 => unsafe { avx2::tile(w, x, rows, acc) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Products::AvxVnni => unsafe { avx_vnni::tile(w, x, rows, acc) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Products::Avx512Vnni => unsafe { avx512_vnni::tile(w, x, rows, acc) },
    }
}

/// [`activations::quantize`].
pub(super) fn quantize(isa: Isa, x: &[f32], offset: i32, tile: &mut [i32], row: usize, rows: usize) {
    match isa.1 {
        Products::Scalar => activations::quantize(x, offset, tile, row, rows),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: all of these have AVX2.
        _ => unsafe { activations::simd::quantize_avx2(x, offset, tile, row, rows) },
    }
}
