//! Spectra with locked phases (docs/reference/model-format.md, kind `istft`, phase `locked`): partials by
//! integration of their frequencies, noise as the spectrum of white noise.

use super::scalar;
use crate::InverseStft;

/// Power of noise over the square of its median magnitude, 1 / ln 2: decoders predict medians.
const MEDIAN_POWER: f32 = std::f32::consts::LOG2_E;

/// Noise shares beyond this (logits) are all tone or all noise.
const MOST_SHARE: f32 = 30.0;

/// Sample `index` of the white noise `seed`, of variance 1: a hash of the index.
#[inline(always)]
pub(super) fn white_noise(index: u32, seed: u32) -> f32 {
    let mut x = index.wrapping_add(seed.wrapping_mul(0x9e37_79b9));
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^= x >> 16;
    // −2³¹..2³¹ to −√3..√3.
    (x ^ 0x8000_0000) as i32 as f32 * (3f32.sqrt() / 2_147_483_648.0)
}

/// Samples of white noise from sample `first` on, times `window`.
#[inline(always)]
pub(super) fn windowed_noise(first: u32, seed: u32, window: &[f32], y: &mut [f32]) {
    for (i, (y, w)) in y.iter_mut().zip(window).enumerate() {
        *y = white_noise(first.wrapping_add(i as u32), seed) * w;
    }
}

/// (cos, sin) of a phase, 2³² a turn, within 4e-7.
#[inline(always)]
fn cos_sin(phase: u32) -> (f32, f32) {
    let quarter = phase.wrapping_add(1 << 29) >> 30;
    let r = phase.wrapping_sub(quarter << 30) as i32 as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let z = r * r;
    let sin = (-1.0f32 / 5040.0).mul_add(z, 1.0 / 120.0).mul_add(z, -1.0 / 6.0).mul_add(r * z, r);
    let cos = (1.0f32 / 40320.0).mul_add(z, -1.0 / 720.0).mul_add(z, 1.0 / 24.0).mul_add(z, -0.5).mul_add(z, 1.0);
    let (c, s) = if quarter & 1 == 1 { (sin, cos) } else { (cos, sin) };
    (negated(c, (quarter + 1) >> 1), negated(s, quarter >> 1))
}

/// −x where the lowest bit of `odd` is set.
#[inline(always)]
fn negated(x: f32, odd: u32) -> f32 {
    f32::from_bits(x.to_bits() ^ (odd << 31))
}

/// Spectra of one frame: tones of log magnitudes `l`, noise shares `u` and phases, and noise whose spectrum of mean
/// power 1 over `scale`² `re` and `im` hold at first.
#[inline(always)]
pub(super) fn mix_spectra((max_log, scale): (f32, f32), l: &[f32], u: &[f32], phases: &[i32], re: &mut [f32], im: &mut [f32]) {
    let half = l.len();
    let (u, phases, re, im) = (&u[..half], &phases[..half], &mut re[..half], &mut im[..half]);
    for k in 0..half {
        let magnitude = scalar::exp(if l[k] > max_log { max_log } else { l[k] });
        let odds = scalar::exp(u[k].clamp(-MOST_SHARE, MOST_SHARE));
        let tone_share = 1.0 / (1.0 + odds);
        // Phases belong to the middle of the window, the spectrum to its begin.
        let tone = negated(magnitude * tone_share.sqrt(), k as u32);
        let noise = magnitude * (odds * tone_share * MEDIAN_POWER).sqrt();
        let (cos, sin) = cos_sin(phases[k] as u32);
        re[k] = noise.mul_add(re[k] * scale, tone * cos);
        im[k] = noise.mul_add(im[k] * scale, tone * sin);
    }
}

/// Writes to `peak` for each bin the index of the peak that an ascent from it reaches, always to the larger neighbour
/// and to the upper one of two equal ones. An ascent never turns.
fn find_peaks(l: &[f32], peak: &mut [u32]) {
    let last = l.len() - 1;
    let mut below = f32::NEG_INFINITY;
    for k in 0..=last {
        let above = if k < last { l[k + 1] } else { f32::NEG_INFINITY };
        let up = above > l[k] && above >= below;
        // A bin whose way is up says so for now.
        peak[k] = if up {
            UP
        } else if below > l[k] {
            peak[k - 1]
        } else {
            k as u32
        };
        below = l[k];
    }
    for k in (0..last).rev() {
        if peak[k] == UP {
            peak[k] = peak[k + 1];
        }
    }
}

/// In [`find_peaks`]: the peak is that of the next bin.
const UP: u32 = u32::MAX;

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
    /// Moves `phases` on by one frame of log magnitudes.
    pub(super) fn advance(&mut self, stft: InverseStft, l: &[f32], phases: &mut [i32]) {
        self.peak.resize(l.len(), 0);
        self.next.resize(l.len(), 0);
        find_peaks(l, &mut self.peak);
        let (mut before, mut phase) = (UP, 0);
        for (next, p) in self.next.iter_mut().zip(&self.peak) {
            // Bins of one peak are neighbours.
            if *p != before {
                phase = phases[*p as usize].wrapping_add(advance(stft, l, *p as usize) as i32);
                before = *p;
            }
            *next = phase;
        }
        phases.copy_from_slice(&self.next);
    }
}
