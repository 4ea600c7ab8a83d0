//! The house codecs' Fourier transforms (docs/reference/model-format.md, kind `istft`): log-magnitude spectra and the inverse STFT.

use super::locked::Locked;
use super::{Isa, kernel, scalar};
use crate::{InverseStft, LockedSpectra, Rows, Stft};
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

/// Plans, windows and scratch memory for each size that has been used.
#[derive(Default)]
pub(super) struct Fourier {
    sizes: Vec<Size>,
    locked: Locked,
}

struct Size {
    n_fft: usize,
    hop: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
    /// 1 / Σ_i hann²(u + i·hop) for u in 0..hop.
    envelope: Vec<f32>,
    time: Vec<f32>,
    bins: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

/// [`crate::Backend::polar_spectra`].
pub(super) fn polar_spectra(half: usize, max_log: f32, x: &[f32], xr: Rows, y: &mut [f32], yr: Rows) {
    assert!(xr.end(2 * half) <= x.len(), "polar_spectra: {xr:?} of {} values in x of {}", 2 * half, x.len());
    assert!(yr.end(2 * half) <= y.len(), "polar_spectra: {yr:?} of {} values in y of {}", 2 * half, y.len());
    for t in 0..xr.count {
        let (log, phase) = x[xr.at + t * xr.stride..][..2 * half].split_at(half);
        let (re, im) = y[yr.at + t * yr.stride..][..2 * half].split_at_mut(half);
        for k in 0..half {
            let (sin, cos) = phase[k].sin_cos();
            let magnitude = scalar::exp(if log[k] > max_log { max_log } else { log[k] });
            (re[k], im[k]) = (magnitude * cos, magnitude * sin);
        }
        im[0] = 0.0;
        im[half - 1] = 0.0;
    }
}

impl Fourier {
    /// The transforms of `n_fft` samples, made at first use.
    fn size(&mut self, n_fft: usize, hop: usize) -> &mut Size {
        assert!(n_fft >= 2 && n_fft.is_multiple_of(2) && (1..=n_fft).contains(&hop), "n_fft {n_fft}, hop {hop}");
        if let Some(i) = self.sizes.iter().position(|s| s.n_fft == n_fft && s.hop == hop) {
            return &mut self.sizes[i];
        }
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(n_fft), planner.plan_fft_inverse(n_fft));
        let hann = |u: usize| 0.5 - 0.5 * (std::f64::consts::TAU * u as f64 / n_fft as f64).cos();
        let envelope = |u: usize| (u..n_fft).step_by(hop).map(|u| hann(u).powi(2)).sum::<f64>();
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        self.sizes.push(Size {
            n_fft,
            hop,
            window: (0..n_fft).map(|u| hann(u) as f32).collect(),
            envelope: (0..hop).map(|u| (1.0 / envelope(u)) as f32).collect(),
            time: vec![0.0; n_fft],
            bins: vec![Complex32::default(); n_fft / 2 + 1],
            scratch: vec![Complex32::default(); scratch],
            forward,
            inverse,
        });
        self.sizes.last_mut().expect("just pushed")
    }

    /// [`crate::Backend::spectrum`].
    pub(super) fn spectrum(&mut self, stft: Stft, x: &[f32], first_end: usize, y: &mut [f32], yr: Rows) {
        let (Stft { n_fft, hop, bins }, count) = (stft, yr.count);
        assert!(first_end >= n_fft, "spectrum: the first window of {n_fft} ends at {first_end}");
        assert!(bins <= n_fft / 2 + 1, "spectrum: {bins} bins of n_fft {n_fft}");
        assert!(count <= 1 + (x.len() - first_end.min(x.len())) / hop.max(1), "spectrum: {count} frames");
        let size = self.size(n_fft, n_fft);
        for t in 0..count {
            let end = first_end + t * hop;
            let windowed = x[end - n_fft..end].iter().zip(&size.window);
            size.time.iter_mut().zip(windowed).for_each(|(out, (x, w))| *out = x * w);
            let done = size.forward.process_with_scratch(&mut size.time, &mut size.bins, &mut size.scratch);
            done.expect("the buffers have the plan's lengths");
            let row = &mut y[yr.at + t * yr.stride..][..bins];
            for (y, bin) in row.iter_mut().zip(&size.bins) {
                let magnitude = bin.im.mul_add(bin.im, bin.re * bin.re).sqrt() * (4.0 / n_fft as f32);
                *y = (scalar::ln(magnitude + 1e-5) + 6.0) / 3.0;
            }
        }
    }

    /// [`crate::Backend::locked_spectra`].
    pub(super) fn locked_spectra(
        &mut self,
        isa: Isa,
        spec: LockedSpectra,
        (x, xr): (&[f32], Rows),
        state: &mut [i32],
        (y, yr): (&mut [f32], Rows),
    ) {
        let InverseStft { n_fft, hop } = spec.stft;
        let half = n_fft / 2 + 1;
        assert!(xr.end(2 * half) <= x.len(), "locked_spectra: {xr:?} of {} values in x of {}", 2 * half, x.len());
        assert!(yr.end(2 * half) <= y.len(), "locked_spectra: {yr:?} of {} values in y of {}", 2 * half, y.len());
        let (phases, done) = state[..=half].split_at_mut(half);
        self.size(n_fft, n_fft);
        let Fourier { sizes, locked } = self;
        let size = sizes.iter_mut().find(|s| s.n_fft == n_fft).expect("just made");
        let scale = (1.0 / (0.375 * n_fft as f64).sqrt()) as f32;
        for t in 0..xr.count {
            let first = (done[0] as u32).wrapping_mul(hop as u32);
            kernel::windowed_noise(isa, first, spec.noise_seed, &size.window, &mut size.time);
            let noise = size.forward.process_with_scratch(&mut size.time, &mut size.bins, &mut size.scratch);
            noise.expect("the buffers have the plan's lengths");
            let (re, im) = y[yr.at + t * yr.stride..][..2 * half].split_at_mut(half);
            for ((re, im), bin) in re.iter_mut().zip(im.iter_mut()).zip(&size.bins) {
                (*re, *im) = (bin.re, bin.im);
            }
            let (l, u) = x[xr.at + t * xr.stride..][..2 * half].split_at(half);
            locked.advance(spec.stft, l, phases);
            kernel::mix_spectra(isa, (spec.max_log, scale), l, u, phases, re, im);
            (im[0], im[half - 1]) = (0.0, 0.0);
            done[0] = done[0].wrapping_add(1);
        }
    }

    /// [`crate::Backend::istft`].
    pub(super) fn istft(&mut self, stft: InverseStft, x: &[f32], xr: Rows, tail: &mut [f32], y: &mut [f32], y_at: usize) {
        let InverseStft { n_fft, hop } = stft;
        let half = n_fft / 2 + 1;
        assert!(xr.end(2 * half) <= x.len(), "istft: {xr:?} of {} values in x of {}", 2 * half, x.len());
        assert!(y_at + xr.count * hop <= y.len(), "istft: {} hops of {hop} at {y_at} in y of {}", xr.count, y.len());
        let tail = &mut tail[..n_fft];
        let size = self.size(n_fft, hop);
        for t in 0..xr.count {
            let (re, im) = x[xr.at + t * xr.stride..][..2 * half].split_at(half);
            for (bin, (re, im)) in size.bins.iter_mut().zip(re.iter().zip(im)) {
                *bin = Complex32::new(*re, *im);
            }
            let done = size.inverse.process_with_scratch(&mut size.bins, &mut size.time, &mut size.scratch);
            done.expect("the buffers have the plan's lengths, and the edges are real");
            let scale = 1.0 / n_fft as f32;
            for ((tail, x), w) in tail.iter_mut().zip(&size.time).zip(&size.window) {
                *tail += x * scale * w;
            }
            let out = &mut y[y_at + t * hop..][..hop];
            out.iter_mut().zip(tail.iter().zip(&size.envelope)).for_each(|(y, (x, e))| *y = x * e);
            tail.copy_within(hop.., 0);
            tail[n_fft - hop..].fill(0.0);
        }
    }
}
