//! Magnitude spectrum of a real signal. Its own code, because a library that chooses instructions by processor
//! gives other bits on another machine, and replay needs the same bits.

use std::f64::consts::PI;

/// A Hann-windowed Fourier transform of a fixed length.
#[derive(Debug, Clone)]
pub(super) struct Spectrum {
    window: Vec<f64>,
    /// cos and sin of -2πk/n for k < n/2.
    twiddles: Vec<(f64, f64)>,
    work: Vec<(f64, f64)>,
}

impl Spectrum {
    /// A transform of `n` samples, a power of two.
    pub fn new(n: usize) -> Self {
        assert!(n.is_power_of_two(), "the length {n} is not a power of two");
        let angle = |k: usize| 2.0 * PI * k as f64 / n as f64;
        Spectrum {
            window: (0..n).map(|k| 0.5 - 0.5 * angle(k).cos()).collect(),
            twiddles: (0..n / 2).map(|k| (angle(k).cos(), -angle(k).sin())).collect(),
            work: vec![(0.0, 0.0); n],
        }
    }

    /// Writes the magnitudes of the first `out.len()` bins, each times `scale`.
    ///
    /// * `samples`: as many as the transform is long.
    pub fn magnitudes(&mut self, samples: impl Iterator<Item = f64>, scale: f64, out: &mut [f64]) {
        let n = self.work.len();
        let bits = n.trailing_zeros();
        for (k, (sample, window)) in samples.zip(&self.window).enumerate() {
            self.work[k.reverse_bits() >> (usize::BITS - bits)] = (sample * window, 0.0);
        }
        let mut half = 1;
        while half < n {
            let step = n / (2 * half);
            for start in (0..n).step_by(2 * half) {
                for k in 0..half {
                    let (cos, sin) = self.twiddles[k * step];
                    let (a, b) = (self.work[start + k], self.work[start + half + k]);
                    let turned = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                    self.work[start + k] = (a.0 + turned.0, a.1 + turned.1);
                    self.work[start + half + k] = (a.0 - turned.0, a.1 - turned.1);
                }
            }
            half *= 2;
        }
        for (out, (re, im)) in out.iter_mut().zip(&self.work) {
            *out = (re * re + im * im).sqrt() * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spectrum_equals_the_sum_that_defines_it() {
        let signal: Vec<f64> = (0..64).map(|k| ((k * k) as f64 * 0.37).sin()).collect();
        let mut spectrum = Spectrum::new(64);
        let mut out = [0.0; 33];
        spectrum.magnitudes(signal.iter().copied(), 2.0, &mut out);
        for (bin, &magnitude) in out.iter().enumerate() {
            let (mut re, mut im) = (0.0, 0.0);
            for (k, x) in signal.iter().enumerate() {
                let x = x * (0.5 - 0.5 * (2.0 * PI * k as f64 / 64.0).cos());
                let angle = -2.0 * PI * (bin * k) as f64 / 64.0;
                re += x * angle.cos();
                im += x * angle.sin();
            }
            assert!((magnitude - 2.0 * (re * re + im * im).sqrt()).abs() < 1e-9, "bin {bin}");
        }
    }
}
