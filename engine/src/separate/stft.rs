//! The STFT of Hybrid Demucs and its inverse: Hann window, hop of a quarter, scaled by 1/√n, without the highest
//! bin. As many frames as hops; the signal is mirrored at its ends.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Transforms of one window length, with their memory.
pub struct Stft {
    n: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
    time: Vec<f32>,
    bins: Vec<Complex32>,
    scratch: Vec<Complex32>,
    /// The mirrored signal, or the sum of the windows.
    padded: Vec<f32>,
}

impl Stft {
    /// Transforms of `n` samples, a multiple of 8.
    pub fn new(n: usize) -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
        let hann = |u: usize| (0.5 - 0.5 * (std::f64::consts::TAU * u as f64 / n as f64).cos()) as f32;
        Stft {
            n,
            window: (0..n).map(hann).collect(),
            time: vec![0.0; n],
            bins: vec![Complex32::default(); n / 2 + 1],
            scratch: vec![Complex32::default(); forward.get_scratch_len().max(inverse.get_scratch_len())],
            padded: Vec::new(),
            forward,
            inverse,
        }
    }

    /// Samples of mirrored signal before the start: the window of frame t begins this far before sample t · hop.
    fn before(&self) -> usize {
        self.n / 8 * 3
    }

    /// Writes the spectrum of `x`: real and imaginary part of bin f of frame t at `y[(t · n/2 + f) · step + at]`
    /// and the index after it. `x` is longer than a window.
    pub fn forward(&mut self, x: &[f32], y: &mut [f32], step: usize, at: usize) {
        let (n, hop, before, half) = (self.n, self.n / 4, self.before(), self.n / 2);
        let frames = x.len().div_ceil(hop);
        let len = frames * hop + 2 * before;
        self.padded.clear();
        self.padded.extend((1..=before).rev().map(|i| x[i]));
        self.padded.extend_from_slice(x);
        let after = len - before - x.len();
        self.padded.extend((1..=after).map(|i| x[x.len() - 1 - i]));
        let scale = 1.0 / (n as f32).sqrt();
        for t in 0..frames {
            for ((time, x), w) in self.time.iter_mut().zip(&self.padded[t * hop..]).zip(&self.window) {
                *time = x * w;
            }
            let done = self.forward.process_with_scratch(&mut self.time, &mut self.bins, &mut self.scratch);
            done.expect("the buffers have the plan's lengths");
            for (y, bin) in y[t * half * step..].chunks_exact_mut(step).zip(&self.bins[..half]) {
                (y[at], y[at + 1]) = (bin.re * scale, bin.im * scale);
            }
        }
    }

    /// The signal of a spectrum of `frames` frames, the inverse of [`Stft::forward`]: adds its first `y.len()`
    /// samples to `y`. Each value of the spectrum is multiplied by `gain`, then `offset` is added.
    pub fn add_inverse(&mut self, x: &[f32], frames: usize, step: usize, at: usize, (gain, offset): (f32, f32), y: &mut [f32]) {
        let (n, hop, before, half) = (self.n, self.n / 4, self.before(), self.n / 2);
        self.padded.clear();
        self.padded.resize((frames + 3) * hop, 0.0);
        let scale = 1.0 / (n as f32).sqrt();
        for t in 0..frames {
            for (bin, x) in self.bins.iter_mut().zip(x[t * half * step..].chunks_exact(step).take(half)) {
                *bin = Complex32::new(x[at] * gain + offset, x[at + 1] * gain + offset);
            }
            self.bins[0].im = 0.0;
            self.bins[half] = Complex32::default();
            let done = self.inverse.process_with_scratch(&mut self.bins, &mut self.time, &mut self.scratch);
            done.expect("the buffers have the plan's lengths, and the edges are real");
            for ((sum, x), w) in self.padded[t * hop..].iter_mut().zip(&self.time).zip(&self.window) {
                *sum += x * scale * w;
            }
        }
        // Σ Hann² of four windows, which is the same everywhere: the package adds two frames of zeros at each end.
        for (y, sum) in y.iter_mut().zip(&self.padded[before..]) {
            *y += sum / 1.5;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * i) as f32 * 1e-4).sin() + 0.1 * (i as f32 * 0.7).cos()).collect()
    }

    #[test]
    fn a_bin_is_the_sum_that_defines_it() {
        let (n, x) = (64, signal(200));
        let mut stft = Stft::new(n);
        let frames = x.len().div_ceil(16);
        let mut y = vec![0.0; frames * 32 * 4];
        stft.forward(&x, &mut y, 4, 2);
        // Frame 5 begins at sample 5 · 16 − 24.
        for bin in [0, 1, 17, 31] {
            let (mut re, mut im) = (0.0, 0.0);
            for u in 0..n {
                let window = 0.5 - 0.5 * (std::f64::consts::TAU * u as f64 / 64.0).cos();
                let (sin, cos) = (std::f64::consts::TAU * (bin * u) as f64 / 64.0).sin_cos();
                let x = f64::from(x[5 * 16 - 24 + u]) * window / 8.0;
                (re, im) = (re + x * cos, im - x * sin);
            }
            let at = (5 * 32 + bin) * 4 + 2;
            assert!((f64::from(y[at]) - re).abs() < 1e-5 && (f64::from(y[at + 1]) - im).abs() < 1e-5, "bin {bin}");
        }
    }

    #[test]
    fn the_inverse_gives_the_signal_back_between_its_ends() {
        let (n, x) = (64, signal(203));
        let mut stft = Stft::new(n);
        let frames = x.len().div_ceil(16);
        let mut spectrum = vec![0.0; frames * 32 * 2];
        stft.forward(&x, &mut spectrum, 2, 0);
        let mut y = vec![1.0; x.len()];
        stft.add_inverse(&spectrum, frames, 2, 0, (1.0, 0.0), &mut y);
        // The highest bin is missing, of which a smooth signal has little; the ends have fewer windows.
        for i in 40..160 {
            assert!((y[i] - 1.0 - x[i]).abs() < 5e-3, "sample {i}: {} for {}", y[i] - 1.0, x[i]);
        }
    }
}
