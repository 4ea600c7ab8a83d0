//! Spectra with locked phases (docs/reference/model-format.md, kind `istft`, phase `locked`): partials by
//! integration of their frequencies, noise as the spectrum of white noise.

use super::{Isa, kernel, scalar};
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

/// Phase advance per hop of the middle of bin `k`.
fn bin_advance(stft: InverseStft, k: usize) -> u32 {
    ((((k * stft.hop) as u64) << 32) / stft.n_fft as u64) as u32
}

/// Moves the phase of each bin on by one hop of a partial whose peak is at that bin. Its frequency is the vertex of a
/// parabola through the bin's log magnitude and its neighbours', at most half a bin from the middle, which advances by
/// `middles`, and a whole bin by `bin`; in the first and the last bin it is the middle.
#[inline(always)]
pub(super) fn advance_phases(bin: f32, l: &[f32], middles: &[u32], phases: &[i32], next: &mut [i32]) {
    let half = l.len();
    let (middles, phases, next) = (&middles[..half], &phases[..half], &mut next[..half]);
    for k in 0..half {
        next[k] = phases[k].wrapping_add(middles[k] as i32);
    }
    let inner = next[1..].iter_mut().zip(l).zip(&l[1..]).zip(&l[2..]);
    for (((next, a), b), c) in inner {
        let curve = a - 2.0 * b + c;
        let offset = if curve < -1e-6 { (0.5 * (a - c) / curve).clamp(-0.5, 0.5) } else { 0.0 };
        *next = next.wrapping_add((offset * bin).round_ties_even() as i32);
    }
}

/// Buffers of one frame.
#[derive(Default)]
pub(super) struct Locked {
    peak: Vec<u32>,
    next: Vec<i32>,
    /// For each transform that has been used, [`bin_advance`] of its bins.
    middles: Vec<(InverseStft, Vec<u32>)>,
}

impl Locked {
    /// Moves `phases` on by one frame of log magnitudes: each bin has the phase of its peak.
    pub(super) fn advance(&mut self, isa: Isa, stft: InverseStft, l: &[f32], phases: &mut [i32]) {
        let len = l.len().max(self.peak.len());
        self.peak.resize(len, 0);
        self.next.resize(len, 0);
        let known = self.middles.iter().position(|middles| middles.0 == stft);
        let known = known.unwrap_or_else(|| {
            self.middles.push((stft, (0..l.len()).map(|k| bin_advance(stft, k)).collect()));
            self.middles.len() - 1
        });
        find_peaks(l, &mut self.peak);
        // Phase advance per hop for each bin of frequency.
        let bin = (stft.hop as f64 / stft.n_fft as f64 * 4_294_967_296.0) as f32;
        kernel::advance_phases(isa, bin, l, &self.middles[known].1, phases, &mut self.next);
        phases.iter_mut().zip(&self.peak).for_each(|(phase, peak)| *phase = self.next[*peak as usize]);
    }
}
