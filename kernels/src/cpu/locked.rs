//! Spectra with locked phases (docs/reference/model-format.md, kind `istft`, phase `locked`): partials by
//! integration of their frequencies, noise as the spectrum of white noise.

use super::scalar;
use crate::{InverseStft, LockedSpectra};

/// Power of noise over the square of its median magnitude, 1 / ln 2: decoders predict medians.
const MEDIAN_POWER: f32 = std::f32::consts::LOG2_E;

/// Noise shares beyond this (logits) are all tone or all noise.
const MOST_SHARE: f32 = 30.0;

/// Sample `index` of the white noise `seed`, of variance 1: a hash of the index.
pub(super) fn white_noise(index: u32, seed: u32) -> f32 {
    let mut x = index.wrapping_add(seed.wrapping_mul(0x9e37_79b9));
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^= x >> 16;
    // −2³¹..2³¹ to −√3..√3.
    (x ^ 0x8000_0000) as i32 as f32 * (3f32.sqrt() / 2_147_483_648.0)
}

/// (cos, sin) of a phase, 2³² a turn, within 4e-7.
pub(super) fn cos_sin(phase: u32) -> (f32, f32) {
    let quarter = phase.wrapping_add(1 << 29) >> 30;
    let r = phase.wrapping_sub(quarter << 30) as i32 as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let z = r * r;
    let sin = [1.0 / 120.0, -1.0 / 6.0].iter().fold(-1.0 / 5040.0, |p: f32, c| p.mul_add(z, *c)).mul_add(r * z, r);
    let cos = [-1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0].iter().fold(1.0 / 40320.0, |p: f32, c| p.mul_add(z, *c));
    match quarter {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// Steps from bin `k` to the largest of itself and its neighbours: −1, 0 or 1. The upper one wins a tie of the two.
fn uphill(l: &[f32], k: usize) -> isize {
    let above = l.get(k + 1).copied().unwrap_or(f32::NEG_INFINITY);
    let below = if k > 0 { l[k - 1] } else { f32::NEG_INFINITY };
    if above > l[k] && above >= below {
        1
    } else if below > l[k] {
        -1
    } else {
        0
    }
}

/// Writes to `peak` for each bin the index of the peak that an ascent from it reaches. An ascent never turns.
fn find_peaks(l: &[f32], peak: &mut [u32]) {
    for k in 0..l.len() {
        peak[k] = if uphill(l, k) < 0 { peak[k - 1] } else { k as u32 };
    }
    for k in (0..l.len()).rev() {
        if uphill(l, k) > 0 {
            peak[k] = peak[k + 1];
        }
    }
}

/// Phase advance per hop of a partial whose peak is at bin `k`, which is not the first or the last: its frequency is
/// the vertex of a parabola through the three log magnitudes, at most half a bin away.
fn advance(stft: InverseStft, l: &[f32], k: usize) -> u32 {
    let of_bin = ((((k * stft.hop) as u64) << 32) / stft.n_fft as u64) as u32;
    let (Some(a), b, Some(c)) = (k.checked_sub(1).map(|k| l[k]), l[k], l.get(k + 1)) else { return of_bin };
    let curve = a - 2.0 * b + c;
    let offset = if curve < -1e-6 { (0.5 * (a - c) / curve).clamp(-0.5, 0.5) } else { 0.0 };
    let scale = (stft.hop as f64 / stft.n_fft as f64 * 4_294_967_296.0) as f32;
    of_bin.wrapping_add((offset * scale).round_ties_even() as i32 as u32)
}

/// Buffers of one frame.
#[derive(Default)]
pub(super) struct Locked {
    peak: Vec<u32>,
    next: Vec<i32>,
}

impl Locked {
    /// One frame: (real, imaginary parts) from log magnitudes `l`, noise shares `u` and the spectrum of white noise
    /// of mean power 1, which `re` and `im` hold at first. `phases` are those of the frame before.
    pub(super) fn frame(
        &mut self,
        spec: LockedSpectra,
        (l, u): (&[f32], &[f32]),
        phases: &mut [i32],
        (re, im): (&mut [f32], &mut [f32]),
    ) {
        let half = l.len();
        self.peak.resize(half, 0);
        self.next.resize(half, 0);
        find_peaks(l, &mut self.peak);
        for (k, p) in self.peak.iter().map(|p| *p as usize).enumerate() {
            // Bins of one peak are neighbours, and all but the peak take what it has.
            self.next[k] = if k > 0 && self.peak[k - 1] as usize == p {
                self.next[k - 1]
            } else {
                phases[p].wrapping_add(advance(spec.stft, l, p) as i32)
            };
        }
        phases.copy_from_slice(&self.next);
        for k in 0..half {
            let magnitude = scalar::exp(if l[k] > spec.max_log { spec.max_log } else { l[k] });
            let odds = scalar::exp(u[k].clamp(-MOST_SHARE, MOST_SHARE));
            let tone_share = 1.0 / (1.0 + odds);
            let tone = magnitude * tone_share.sqrt();
            let noise = magnitude * (odds * tone_share * MEDIAN_POWER).sqrt();
            let (cos, sin) = cos_sin(phases[k] as u32);
            // Phases belong to the middle of the window, the spectrum to its begin.
            let tone = if k % 2 == 1 { -tone } else { tone };
            re[k] = noise.mul_add(re[k], tone * cos);
            im[k] = noise.mul_add(im[k], tone * sin);
        }
        im[0] = 0.0;
        im[half - 1] = 0.0;
    }
}
