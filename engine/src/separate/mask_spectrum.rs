//! The short-time spectrum of the mask network and its inverse: Hann window, hop of a quarter, zeros before the start and
//! after the end. Frame j begins at sample hop · (j + 1) − n. Sources are the spectrum times their shares.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Added to a magnitude before its logarithm; a full-scale sine has magnitude 1.
const FLOOR: f32 = 1e-5;
/// Brings logarithms of magnitudes to about −2 to 2.
const OFFSET: f32 = 6.0;
/// See `OFFSET`.
const SCALE: f32 = 3.0;

/// Spectra of one segment.
pub struct MaskSpectrum {
    n: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
    /// [frames, n/2 + 1].
    bins: Vec<Complex32>,
    row: Vec<Complex32>,
    time: Vec<f32>,
    scratch: Vec<Complex32>,
    sum: Vec<f32>,
}

impl MaskSpectrum {
    /// Windows of `n` samples, a multiple of 4.
    pub fn new(n: usize) -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
        let hann = |u: usize| (0.5 - 0.5 * (std::f64::consts::TAU * u as f64 / n as f64).cos()) as f32;
        MaskSpectrum {
            n,
            window: (0..n).map(hann).collect(),
            bins: Vec::new(),
            row: vec![Complex32::default(); n / 2 + 1],
            time: vec![0.0; n],
            scratch: vec![Complex32::default(); forward.get_scratch_len().max(inverse.get_scratch_len())],
            sum: Vec::new(),
            forward,
            inverse,
        }
    }

    /// Computes `frames` frames of `x`.
    pub fn forward(&mut self, x: &[f32], frames: usize) {
        let (n, hop) = (self.n, self.n / 4);
        self.bins.resize(frames * (n / 2 + 1), Complex32::default());
        for (j, row) in self.bins.chunks_exact_mut(n / 2 + 1).enumerate() {
            for (i, (time, w)) in self.time.iter_mut().zip(&self.window).enumerate() {
                let at = (hop * (j + 1) + i).checked_sub(n);
                *time = at.and_then(|at| x.get(at)).copied().unwrap_or(0.0) * w;
            }
            let done = self.forward.process_with_scratch(&mut self.time, row, &mut self.scratch);
            done.expect("the buffers have the plan's lengths");
        }
    }

    /// Writes the log magnitudes [frames, n/2] of all bins but the highest.
    pub fn features(&self, out: &mut Vec<f32>) {
        let scale = 4.0 / self.n as f32;
        out.clear();
        for row in self.bins.chunks_exact(self.n / 2 + 1) {
            out.extend(row[..self.n / 2].iter().map(|bin| ((bin.norm() * scale + FLOOR).ln() + OFFSET) / SCALE));
        }
    }

    /// The signal of the spectrum times the shares [frames, n/2, sources] of source `s`. The highest bin is taken whole or
    /// not at all.
    pub fn inverse(&mut self, shares: &[f32], (sources, s): (usize, usize), highest: bool, out: &mut [f32]) {
        let (n, hop, half) = (self.n, self.n / 4, self.n / 2);
        let frames = self.bins.len() / (half + 1);
        self.sum.clear();
        self.sum.resize((frames + 3) * hop, 0.0);
        for (j, bins) in self.bins.chunks_exact(half + 1).enumerate() {
            let shares = shares[j * half * sources..].iter().skip(s).step_by(sources);
            for ((row, bin), share) in self.row.iter_mut().zip(&bins[..half]).zip(shares) {
                *row = bin * *share;
            }
            self.row[0].im = 0.0;
            self.row[half] = if highest { Complex32::new(bins[half].re, 0.0) } else { Complex32::default() };
            let done = self.inverse.process_with_scratch(&mut self.row, &mut self.time, &mut self.scratch);
            done.expect("the buffers have the plan's lengths, and the edges are real");
            for ((sum, x), w) in self.sum[j * hop..].iter_mut().zip(&self.time).zip(&self.window) {
                *sum += x * w;
            }
        }
        // The transform has a factor n; the squares of four windows add up to 1.5 everywhere.
        let scale = 1.0 / (1.5 * n as f32);
        out.iter_mut().zip(&self.sum[3 * hop..]).for_each(|(out, sum)| *out = sum * scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_add_up_to_one_give_the_signal_back_to_its_ends() {
        let x: Vec<f32> = (0..1000).map(|i| ((i * i) as f32 * 1e-3).sin()).collect();
        let (n, frames) = (64, 1000usize.div_ceil(16) + 3);
        let mut spectrum = MaskSpectrum::new(n);
        spectrum.forward(&x, frames);
        let shares: Vec<f32> =
            (0..frames * 32).flat_map(|i| [0.25 + 0.5 * ((i % 7) as f32 / 7.0), 0.75 - 0.5 * ((i % 7) as f32 / 7.0)]).collect();
        let mut parts = [vec![0.0; 1000], vec![0.0; 1000]];
        for (s, part) in parts.iter_mut().enumerate() {
            spectrum.inverse(&shares, (2, s), s == 1, part);
        }
        for (i, x) in x.iter().enumerate() {
            assert!((parts[0][i] + parts[1][i] - x).abs() < 1e-5, "sample {i}");
        }
        assert!(parts.iter().all(|part| part.iter().any(|x| x.abs() > 0.05)));
    }
}
