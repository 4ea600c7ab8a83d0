//! The house codecs' Fourier transforms (docs/reference/model-format.md, kind `istft`): log-magnitude spectra and the inverse STFT.

use super::scalar;
use crate::{InverseStft, Rows, Stft};
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

/// Plans, windows and scratch memory for each size that has been used.
#[derive(Default)]
pub(super) struct Fourier {
    sizes: Vec<Size>,
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

    /// [`crate::Backend::istft`].
    pub(super) fn istft(&mut self, stft: InverseStft, x: &[f32], xr: Rows, tail: &mut [f32], y: &mut [f32], y_at: usize) {
        let InverseStft { n_fft, hop, max_log } = stft;
        let half = n_fft / 2 + 1;
        assert!(xr.end(2 * half) <= x.len(), "istft: {xr:?} of {} values in x of {}", 2 * half, x.len());
        assert!(y_at + xr.count * hop <= y.len(), "istft: {} hops of {hop} at {y_at} in y of {}", xr.count, y.len());
        let tail = &mut tail[..n_fft];
        let size = self.size(n_fft, hop);
        for t in 0..xr.count {
            let (log, phase) = x[xr.at + t * xr.stride..][..2 * half].split_at(half);
            for (bin, (l, p)) in size.bins.iter_mut().zip(log.iter().zip(phase)) {
                let (sin, cos) = p.sin_cos();
                let magnitude = scalar::exp(if *l > max_log { max_log } else { *l });
                *bin = Complex32::new(magnitude * cos, magnitude * sin);
            }
            size.bins[0].im = 0.0;
            size.bins[half - 1].im = 0.0;
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
