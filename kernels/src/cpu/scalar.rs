//! The specification: every inner loop in plain Rust. The SIMD versions equal it bit for bit.
//!
//! The order of sums is part of it. Sums of products run over ascending k in one accumulator, by fused multiply-add (with 8-bit
//! activations over ascending blocks of 32 k, whose own sums are exact). Sums over a row (norms, softmax) run in 16 partial sums,
//! element j into partial sum j mod 16, added up by [`sum16`].

use super::blocks::{BlockRange, FOUR, WORDS, X_BLOCK};
pub(super) use super::locked::{advance_phases, mix_spectra, windowed_noise};
use super::mat::{PANEL, PanelRange, Panels, WORD, int4};
pub(super) use super::maximum::first_maximum;
pub(super) use super::quantize::euclidean_scores;
pub(super) use super::sample::sample_code;
pub(super) use super::separator::{add_scaled, row_sums, scale_row};
pub(super) use super::stft::{log_magnitudes, scale_spectra};
use crate::Act;
use crate::quant::{BLOCK, from_bf16};

/// Adds up 16 partial sums: halves onto each other, 8, 4, 2, 1.
pub(super) fn sum16(mut s: [f32; 16]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            s[i] += s[i + half];
        }
    }
    s[0]
}

pub(super) const EXP_MIN: f32 = -87.0;
pub(super) const EXP_MAX: f32 = 88.0;
/// 1.5 · 2^23: adding it leaves the nearest integer in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts, the first with few bits.
pub(super) const LN2_HIGH: f32 = 0.693_359_4;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// 1/7!, 1/6!, …, 1/1!, 1/0!.
pub(super) const EXP: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// e^x within 2 ulp for −87..88; 0 below (also for −∞), e^88 above. NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let held = if EXP_MAX < x { EXP_MAX } else { x };
    let held = if EXP_MIN > held { EXP_MIN } else { held };
    let t = held.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = t - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, held));
    let p = EXP[1..].iter().fold(EXP[0], |p, c| p.mul_add(r, *c));
    // 2^n · p: n sits in t's low bits, and p is in 0.7..1.5.
    let y = f32::from_bits(p.to_bits().wrapping_add(t.to_bits() << 23));
    if x < EXP_MIN { 0.0 } else { y }
}

/// ln x for a positive normal x, within 2 ulp or 1e-7.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    // x = 2^e · m, m in 2/3..4/3; ln m = 2 artanh((m − 1)/(m + 1)).
    let e = (x.to_bits().wrapping_sub(0x3f2a_aaab) as i32) >> 23;
    let m = f32::from_bits(x.to_bits().wrapping_sub((e << 23) as u32));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = [1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0].iter().fold(1.0 / 11.0, |p: f32, c| p.mul_add(z, *c));
    let m = (2.0 * s).mul_add(z * p, 2.0 * s);
    let e = e as f32;
    e.mul_add(LN2_HIGH, e.mul_add(LN2_LOW, m))
}

/// Abramowitz and Stegun 7.1.26, erfc(z) ≈ e^(−z²) · t(a1 + t(a2 + …)), t = 1/(1 + 0.3275911 z), within 1.5e-7; halved.
pub(super) const HALF_ERFC: [f32; 5] = [0.530_702_7, -0.726_576_04, 0.710_706_9, -0.142_248_37, 0.127_414_8];
pub(super) const ERFC_P: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;

/// x · Φ(x), the exact GELU within 1e-6.
#[inline]
pub(super) fn gelu(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / a.mul_add(ERFC_P, 1.0);
    let p = HALF_ERFC[1..].iter().fold(HALF_ERFC[0], |p, c| p.mul_add(t, *c));
    // Φ(−|x|), which has no cancellation.
    let tail = (p * t) * exp(a * (a * -0.5));
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

/// x above 0, e^x − 1 elsewhere.
#[inline]
pub(super) fn elu1(x: f32) -> f32 {
    if x > 0.0 { x } else { exp(x) - 1.0 }
}

/// [`elu1`] of each value.
pub(super) fn elu(x: &[f32], y: &mut [f32]) {
    x.iter().zip(y).for_each(|(x, y)| *y = elu1(*x));
}

/// 1/(1 + e^−x).
#[inline]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// a · σ(b).
pub(super) fn glu(a: &[f32], b: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = a * sigmoid(*b));
}

/// tanh within 2e-7.
#[inline]
pub(super) fn tanh(x: f32) -> f32 {
    let t = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if x < 0.0 { -t } else { t }
}

/// Σ x_j in 16 partial sums.
pub(super) fn sum(x: impl Iterator<Item = f32>) -> f32 {
    let mut partial = [0.0; 16];
    x.enumerate().for_each(|(j, x)| partial[j % 16] += x);
    sum16(partial)
}

/// LayerNorm (with bias) or RMSNorm (without) of one row: fma((x − mean)·rstd, w, b), or (x·rstd)·w. Squares by fma into the
/// partial sums.
pub(super) fn norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, y: &mut [f32]) {
    let count = x.len() as f32;
    let mean = if bias.is_some() { sum(x.iter().copied()) / count } else { 0.0 };
    let mut partial = [0.0f32; 16];
    for (j, x) in x.iter().enumerate() {
        partial[j % 16] = (x - mean).mul_add(x - mean, partial[j % 16]);
    }
    let rstd = 1.0 / (sum16(partial) / count + eps).sqrt();
    for j in 0..x.len() {
        let unit = (x[j] - mean) * rstd;
        y[j] = bias.map_or(unit * weight[j], |b| unit.mul_add(weight[j], b[j]));
    }
}

/// The products of a range of panels with `rows` rows of `x`, packed [k][rows]: acc [rows][panels][16].
pub(super) fn tile(panels: PanelRange, k: usize, x: &[f32], rows: usize, acc: &mut [f32]) {
    let PanelRange { view, first, count: panels } = panels;
    for row in 0..rows {
        for panel in 0..panels {
            let acc: &mut [f32] = &mut acc[(row * panels + panel) * PANEL..][..PANEL];
            for (lane, acc) in acc.iter_mut().enumerate() {
                let xs = (0..k).map(|i| x[i * rows + row]);
                *acc = match view {
                    Panels::F32 { w, stride } => {
                        let w = &w[(first + panel) * stride + lane..];
                        xs.enumerate().fold(0.0, |acc, (i, x)| w[i * PANEL].mul_add(x, acc))
                    }
                    Panels::Bf16 { w, stride } => {
                        let w = &w[(first + panel) * stride + lane..];
                        xs.enumerate().fold(0.0, |acc, (i, x)| from_bf16(w[i * PANEL]).mul_add(x, acc))
                    }
                    Panels::Dequantized { w, scales, stride } => {
                        let w = &w[(first + panel) * stride + lane..];
                        let scales = &scales[(first + panel) * stride / BLOCK + lane..];
                        let weight = |i: usize| scales[i / BLOCK * PANEL] * f32::from(w[i * PANEL]);
                        xs.enumerate().fold(0.0, |acc, (i, x)| weight(i).mul_add(x, acc))
                    }
                    Panels::Q8 { w, scales, stride } => {
                        let w = &w[(first + panel) * stride + lane..];
                        let scales = &scales[(first + panel) * stride / BLOCK + lane..];
                        (0..k / BLOCK).fold(0.0, |acc, b| {
                            let block = (b * BLOCK..(b + 1) * BLOCK)
                                .fold(0.0, |sum, i| f32::from(w[i * PANEL]).mul_add(x[i * rows + row], sum));
                            scales[b * PANEL].mul_add(block, acc)
                        })
                    }
                    Panels::Q4 { w, scales, stride } => {
                        let w = &w[(first + panel) * stride / WORD + lane..];
                        let scales = &scales[(first + panel) * stride / BLOCK + lane..];
                        (0..k / BLOCK).fold(0.0, |acc, b| {
                            let block = (b * BLOCK..(b + 1) * BLOCK)
                                .fold(0.0, |sum, i| int4(w[i / WORD * PANEL], i % WORD).mul_add(x[i * rows + row], sum));
                            scales[b * PANEL].mul_add(block, acc)
                        })
                    }
                };
            }
        }
    }
}

/// The products of a range of panels of q8 or q4 with `rows` quantized rows of `x` ([`super::activations`]): acc [rows][panels][16].
/// In each block the sum Σ w·x is exact, whatever its order; then, blocks ascending, acc = fma(scale of w · scale of x, sum, acc).
pub(super) fn int8_tile(w: BlockRange, x: &[i32], rows: usize, acc: &mut [f32]) {
    let BlockRange { bytes, bits, blocks, first, panels } = w;
    for (row, acc) in acc.chunks_exact_mut(panels * PANEL).take(rows).enumerate() {
        for (lane, acc) in acc.iter_mut().enumerate() {
            let (panel, lane) = (first + lane / PANEL, lane % PANEL);
            *acc = 0.0;
            for (block, x) in x.chunks_exact(X_BLOCK * rows).take(blocks).enumerate() {
                let w = &bytes[(panel * blocks + block) * bits.block()..][..bits.block()];
                let x_int = |k: usize| i32::from(x[k / FOUR * rows + row].to_ne_bytes()[k % FOUR].cast_signed());
                let sum: i32 = (0..BLOCK).map(|k| bits.int(w, lane, k) * x_int(k)).sum();
                let x_scale = f32::from_bits(x[WORDS * rows + row].cast_unsigned());
                *acc = (bits.scale(w, lane) * x_scale).mul_add(sum as f32, *acc);
            }
        }
    }
}

/// Finishes sums: y = act(acc + bias), or y += act(acc + bias).
pub(super) fn finish(acc: &[f32], bias: Option<&[f32]>, act: Act, add: bool, y: &mut [f32]) {
    for j in 0..y.len() {
        let sum = bias.map_or(acc[j], |b| acc[j] + b[j]);
        let out = match act {
            Act::None => sum,
            Act::Gelu => gelu(sum),
            Act::Relu => {
                if sum > 0.0 {
                    sum
                } else {
                    0.0
                }
            }
        };
        y[j] = if add { y[j] + out } else { out };
    }
}

/// Turns scores into unnormalised weights e^(scale·s − max), in place; gives the sum of the weights.
pub(super) fn softmax(scores: &mut [f32], scale: f32) -> f32 {
    let largest = scores.iter().fold(f32::NEG_INFINITY, |m, s| if s * scale > m { s * scale } else { m });
    scores.iter_mut().for_each(|s| *s = exp(*s * scale - largest));
    sum(scores.iter().copied())
}

/// One row of a depthwise convolution: y[c] = fma over ascending i of w[i, c]·x[i, c], from the bias.
pub(super) fn depthwise(w: &[f32], bias: &[f32], kernel: usize, x: &[f32], y: &mut [f32]) {
    let dim = bias.len();
    for c in 0..dim {
        y[c] = (0..kernel).fold(bias[c], |acc, i| w[i * dim + c].mul_add(x[i * dim + c], acc));
    }
}

/// Gates of one LSTM row: `gates` [4H] from the input (i, f, g, o), `hidden` [4H] from the recurrence; c and h [H] are updated.
pub(super) fn lstm_gates(gates: &[f32], hidden: &[f32], c: &mut [f32], h: &mut [f32]) {
    (0..c.len()).for_each(|j| lstm_gate(gates, hidden, c, h, j));
}

/// The same for unit `j`.
pub(super) fn lstm_gate(gates: &[f32], hidden: &[f32], c: &mut [f32], h: &mut [f32], j: usize) {
    let size = c.len();
    let gate = |g: usize| gates[g * size + j] + hidden[g * size + j];
    let kept = sigmoid(gate(1)) * c[j];
    c[j] = sigmoid(gate(0)).mul_add(tanh(gate(2)), kept);
    h[j] = sigmoid(gate(3)) * tanh(c[j]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn erf(x: f64) -> f64 {
        // Maclaurin series; enough terms for |x| ≤ 4.3.
        let (mut term, mut sum) = (x, x);
        for n in 1..120 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        if x.abs() > 4.3 { x.signum() } else { sum * 2.0 / std::f64::consts::PI.sqrt() }
    }

    #[test]
    fn exp_is_within_two_ulp() {
        for i in -86_900..87_900 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2.5e-7, "{x}: {} {exact}", exp(x));
        }
        assert_eq!((exp(0.0), exp(f32::NEG_INFINITY), exp(-100.0)), (1.0, 0.0, 0.0));
        assert!(exp(f32::INFINITY).is_finite() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_within_its_tolerance() {
        for i in 1..200_000 {
            for x in [i as f32 * 1.1e-4, i as f32 / 200_000.0, i as f32 * 1e-12] {
                let exact = f64::from(x).ln();
                assert!((f64::from(ln(x)) - exact).abs() <= 1e-7 + 2.5e-7 * exact.abs(), "{x}: {} {exact}", ln(x));
            }
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn gelu_elu_sigmoid_and_tanh_are_within_their_tolerance() {
        for i in -12_000..12_000 {
            let x = i as f32 * 1e-3;
            let d = f64::from(x);
            let near = |name: &str, got: f32, want: f64, tolerance: f64| {
                assert!((f64::from(got) - want).abs() <= tolerance, "{name}({x}) = {got}, not {want}");
            };
            near("gelu", gelu(x), d * 0.5 * (1.0 + erf(d * std::f64::consts::FRAC_1_SQRT_2)), 1e-6);
            near("elu", elu1(x), if d > 0.0 { d } else { d.exp() - 1.0 }, 1.2e-7);
            near("sigmoid", sigmoid(x), 1.0 / (1.0 + (-d).exp()), 2e-7);
            near("tanh", tanh(x), d.tanh(), 2e-7);
        }
        for x in [1e30, 300.0] {
            assert_eq!((gelu(-x).abs(), gelu(x), elu1(-x), tanh(x), tanh(-x), sigmoid(x)), (0.0, x, -1.0, 1.0, -1.0, 1.0));
        }
    }
}
