//! Inner loops by [`Isa`]: each function here calls the scalar, AVX2 or AVX-512 version.

use super::mat::{PANEL, PanelRange};
use super::random::Slot;
use super::sample::{Logits, Scratch};
use super::{Isa, Level, scalar};
use crate::{Act, Sampling};
use realfft::num_complex::Complex32;

/// Rows of x in the largest tile of any instruction set, and the accumulators of the largest tile.
pub(super) const ROWS: usize = 12;
pub(super) const ACC: usize = 2 * ROWS * PANEL;

/// The most rows of x in one tile: as many as fit the registers.
pub(super) fn rows(isa: Isa) -> usize {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 6,
        _ => ROWS,
    }
}

/// Panels that one tile of `rows` rows takes.
pub(super) fn group(isa: Isa, rows: usize) -> usize {
    match (isa.0, rows) {
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, 1) => 4,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, 2) => 2,
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, _) => 1,
        // Four sums hide the latency of one, and four streams of memory use more bandwidth than eight (measured on Zen 4).
        (_, 1 | 2) => 4,
        (_, _) => 2,
    }
}

/// Accumulators of the largest tile.
#[repr(align(64))]
pub(super) struct Acc(pub [f32; ACC]);

impl Default for Acc {
    fn default() -> Self {
        Acc([0.0; ACC])
    }
}

/// Compiles the loops of [`super::vector`] and [`super::tile`] for one instruction set.
macro_rules! compiled {
    ($module:ident, $vector:ident, $features:literal, $tiles:tt) => {
        /// # Safety
        /// The machine must have the features named: an [`Isa`] of this level is the proof.
        #[cfg(target_arch = "x86_64")]
        mod $module {
            use crate::Act;
            use crate::cpu::mat::{PanelRange, Panels};
            use crate::cpu::simd::$vector;
            use crate::Sampling;
            use crate::cpu::random::Slot;
            use crate::cpu::sample::{Logits, Scratch};
            use crate::cpu::{locked, maximum, quantize, sample, separator, stft, tile, vector};
            use realfft::num_complex::Complex32;

            #[target_feature(enable = $features)]
            pub fn norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, y: &mut [f32]) {
                // SAFETY: this function's features are those of the vector.
                unsafe { vector::norm::<$vector>(x, weight, bias, eps, y) }
            }
            #[target_feature(enable = $features)]
            pub fn finish(acc: &[f32], bias: Option<&[f32]>, act: Act, add: bool, y: &mut [f32]) {
                // SAFETY: as above.
                unsafe { vector::finish::<$vector>(acc, bias, act, add, y) }
            }
            #[target_feature(enable = $features)]
            pub fn softmax(scores: &mut [f32], scale: f32) -> f32 {
                // SAFETY: as above.
                unsafe { vector::softmax::<$vector>(scores, scale) }
            }
            #[target_feature(enable = $features)]
            pub fn elu(x: &[f32], y: &mut [f32]) {
                // SAFETY: as above.
                unsafe { vector::elu::<$vector>(x, y) }
            }
            #[target_feature(enable = $features)]
            pub fn depthwise(w: &[f32], bias: &[f32], kernel: usize, x: &[f32], y: &mut [f32]) {
                // SAFETY: as above.
                unsafe { vector::depthwise::<$vector>(w, bias, kernel, x, y) }
            }
            #[target_feature(enable = $features)]
            pub fn lstm_gates(gates: &[f32], hidden: &[f32], c: &mut [f32], h: &mut [f32]) {
                // SAFETY: as above.
                unsafe { vector::lstm_gates::<$vector>(gates, hidden, c, h) }
            }
            #[target_feature(enable = $features)]
            pub fn glu(a: &[f32], b: &[f32], y: &mut [f32]) {
                // SAFETY: as above.
                unsafe { vector::glu::<$vector>(a, b, y) }
            }
            // Plain loops, which the compiler turns into vectors of these features.
            #[target_feature(enable = $features)]
            pub fn row_sums(x: &[f32], sums: &mut [f64; 8], squares: &mut [f64; 8]) {
                separator::row_sums(x, sums, squares)
            }
            #[target_feature(enable = $features)]
            pub fn scale_row(x: &[f32], stats: (f32, f32), weight: &[f32], bias: &[f32], y: &mut [f32]) {
                separator::scale_row(x, stats, weight, bias, y)
            }
            #[target_feature(enable = $features)]
            pub fn add_scaled(x: &[f32], scale: &[f32], y: &mut [f32]) {
                separator::add_scaled(x, scale, y)
            }
            #[target_feature(enable = $features)]
            pub fn windowed_noise(first: u32, seed: u32, window: &[f32], y: &mut [f32]) {
                locked::windowed_noise(first, seed, window, y)
            }
            #[target_feature(enable = $features)]
            pub fn advance_phases(bin: f32, l: &[f32], middles: &[u32], phases: &[i32], next: &mut [i32]) {
                locked::advance_phases(bin, l, middles, phases, next)
            }
            #[target_feature(enable = $features)]
            pub fn mix_spectra(by: (f32, f32), l: &[f32], u: &[f32], phases: &[i32], re: &mut [f32], im: &mut [f32]) {
                locked::mix_spectra(by, l, u, phases, re, im)
            }
            #[target_feature(enable = $features)]
            pub fn first_maximum(x: &[f32]) -> usize {
                maximum::first_maximum(x)
            }
            #[target_feature(enable = $features)]
            pub fn euclidean_scores(norms: &[f32], scores: &mut [f32]) {
                quantize::euclidean_scores(norms, scores)
            }
            #[target_feature(enable = $features)]
            pub fn log_magnitudes(bins: &[Complex32], scale: f32, y: &mut [f32]) {
                stft::log_magnitudes(bins, scale, y)
            }
            #[target_feature(enable = $features)]
            pub fn scale_spectra(max_log: f32, l: &[f32], re: &mut [f32], im: &mut [f32]) {
                stft::scale_spectra(max_log, l, re, im)
            }
            #[target_feature(enable = $features)]
            pub fn sample_code(from: Logits, sampling: &Sampling, slot: Slot, scratch: &mut Scratch) -> Option<usize> {
                sample::sample_code(from, sampling, slot, scratch)
            }
            #[target_feature(enable = $features)]
            fn one<const P: usize, const R: usize>(view: Panels, first: usize, k: usize, x: &[f32], acc: &mut [f32]) {
                // SAFETY: as above.
                unsafe { tile::tile::<$vector, P, R>(view, first, k, x, acc) }
            }
            #[target_feature(enable = $features)]
            pub fn tile(panels: PanelRange, k: usize, x: &[f32], rows: usize, acc: &mut [f32]) {
                let PanelRange { view, first, count } = panels;
                compiled!(@choose (count, rows) (view, first, k, x, acc) $tiles)
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

compiled!(avx2, Pair, "avx2,fma", [
    1: 1 2 3 4 5 6;
    2: 1 2;
    3: 1;
    4: 1;
]);
compiled!(avx512, Wide, "avx512f,avx2,fma", [
    1: 1 2 3 4 5 6 7 8 9 10 11 12;
    2: 1 2 3 4 5 6 7 8 9 10 11 12;
    3: 1 2;
    4: 1 2;
]);

macro_rules! choose {
    ($isa:expr, $name:ident($($arg:expr),*)) => {
        match $isa.0 {
            Level::Scalar => scalar::$name($($arg),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an Isa is made only where the machine has its features.
            Level::Avx2 => unsafe { avx2::$name($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { avx512::$name($($arg),*) },
        }
    };
}

/// [`scalar::tile`], at most [`group`] panels and [`rows`] rows.
pub(super) fn tile(isa: Isa, panels: PanelRange, k: usize, x: &[f32], rows: usize, acc: &mut [f32]) {
    choose!(isa, tile(panels, k, x, rows, acc))
}

/// [`scalar::norm`].
pub(super) fn norm(isa: Isa, x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, y: &mut [f32]) {
    choose!(isa, norm(x, weight, bias, eps, y))
}

/// [`scalar::finish`].
pub(super) fn finish(isa: Isa, acc: &[f32], bias: Option<&[f32]>, act: Act, add: bool, y: &mut [f32]) {
    choose!(isa, finish(acc, bias, act, add, y))
}

/// [`scalar::softmax`].
pub(super) fn softmax(isa: Isa, scores: &mut [f32], scale: f32) -> f32 {
    choose!(isa, softmax(scores, scale))
}

/// [`scalar::elu`].
pub(super) fn elu(isa: Isa, x: &[f32], y: &mut [f32]) {
    choose!(isa, elu(x, y))
}

/// [`scalar::depthwise`].
pub(super) fn depthwise(isa: Isa, w: &[f32], bias: &[f32], kernel: usize, x: &[f32], y: &mut [f32]) {
    choose!(isa, depthwise(w, bias, kernel, x, y))
}

/// [`scalar::windowed_noise`].
pub(super) fn windowed_noise(isa: Isa, first: u32, seed: u32, window: &[f32], y: &mut [f32]) {
    choose!(isa, windowed_noise(first, seed, window, y))
}

/// [`scalar::advance_phases`].
pub(super) fn advance_phases(isa: Isa, bin: f32, l: &[f32], middles: &[u32], phases: &[i32], next: &mut [i32]) {
    choose!(isa, advance_phases(bin, l, middles, phases, next))
}

/// [`scalar::mix_spectra`] with (largest log magnitude, scale of the noise).
pub(super) fn mix_spectra(isa: Isa, by: (f32, f32), l: &[f32], u: &[f32], phases: &[i32], re: &mut [f32], im: &mut [f32]) {
    choose!(isa, mix_spectra(by, l, u, phases, re, im))
}

/// [`scalar::first_maximum`].
pub(super) fn first_maximum(isa: Isa, x: &[f32]) -> usize {
    choose!(isa, first_maximum(x))
}

/// [`scalar::euclidean_scores`].
pub(super) fn euclidean_scores(isa: Isa, norms: &[f32], scores: &mut [f32]) {
    choose!(isa, euclidean_scores(norms, scores))
}

/// [`scalar::log_magnitudes`].
pub(super) fn log_magnitudes(isa: Isa, bins: &[Complex32], scale: f32, y: &mut [f32]) {
    choose!(isa, log_magnitudes(bins, scale, y))
}

/// [`scalar::scale_spectra`].
pub(super) fn scale_spectra(isa: Isa, max_log: f32, l: &[f32], re: &mut [f32], im: &mut [f32]) {
    choose!(isa, scale_spectra(max_log, l, re, im))
}

/// [`scalar::sample_code`].
pub(super) fn sample_code(isa: Isa, from: Logits, sampling: &Sampling, slot: Slot, scratch: &mut Scratch) -> Option<usize> {
    choose!(isa, sample_code(from, sampling, slot, scratch))
}

/// [`scalar::lstm_gates`].
pub(super) fn lstm_gates(isa: Isa, gates: &[f32], hidden: &[f32], c: &mut [f32], h: &mut [f32]) {
    choose!(isa, lstm_gates(gates, hidden, c, h))
}

/// [`scalar::glu`].
pub(super) fn glu(isa: Isa, a: &[f32], b: &[f32], y: &mut [f32]) {
    choose!(isa, glu(a, b, y))
}

/// [`scalar::row_sums`].
pub(super) fn row_sums(isa: Isa, x: &[f32], sums: &mut [f64; 8], squares: &mut [f64; 8]) {
    choose!(isa, row_sums(x, sums, squares))
}

/// [`scalar::scale_row`] with (mean, 1/√(variance + eps)).
pub(super) fn scale_row(isa: Isa, x: &[f32], stats: (f32, f32), weight: &[f32], bias: &[f32], y: &mut [f32]) {
    choose!(isa, scale_row(x, stats, weight, bias, y))
}

/// [`scalar::add_scaled`].
pub(super) fn add_scaled(isa: Isa, x: &[f32], scale: &[f32], y: &mut [f32]) {
    choose!(isa, add_scaled(x, scale, y))
}
