//! Magnitude spectrum of a real signal. Its own code, because a library that chooses instructions by processor
//! gives other bits on another machine, and replay needs the same bits.

use std::f64::consts::PI;

/// A Hann-windowed Fourier transform of a fixed length.
///
/// Real and imaginary parts lie apart, and the twiddles of a stage in a row, so that the compiler can compute
/// several butterflies at once.
#[derive(Debug, Clone)]
pub(super) struct Spectrum {
    window: Vec<f64>,
    /// For the stages of half length 1, 2, 4, …, n/2 in turn: cos and sin of -πk/half for k < half.
    cos: Vec<f64>,
    sin: Vec<f64>,
    re: Vec<f64>,
    im: Vec<f64>,
}

impl Spectrum {
    /// A transform of `n` samples, a power of two.
    pub fn new(n: usize) -> Self {
        assert!(n.is_power_of_two(), "the length {n} is not a power of two");
        let angle = |k: usize| 2.0 * PI * k as f64 / n as f64;
        let stages = || (0..n.trailing_zeros()).flat_map(|stage| (0..1 << stage).map(move |k| k * ((n / 2) >> stage)));
        Spectrum {
            window: (0..n).map(|k| 0.5 - 0.5 * angle(k).cos()).collect(),
            cos: stages().map(|k| angle(k).cos()).collect(),
            sin: stages().map(|k| -angle(k).sin()).collect(),
            re: vec![0.0; n],
            im: vec![0.0; n],
        }
    }

    /// Writes the magnitudes of the first `out.len()` bins, each times `scale`.
    ///
    /// * `samples`: as many as the transform is long.
    pub fn magnitudes(&mut self, samples: impl Iterator<Item = f64>, scale: f64, out: &mut [f64]) {
        let n = self.re.len();
        let bits = n.trailing_zeros();
        for (k, (sample, window)) in samples.zip(&self.window).enumerate() {
            self.re[k.reverse_bits() >> (usize::BITS - bits)] = sample * window;
        }
        self.im.fill(0.0);
        let mut half = 1;
        while half < n {
            // The stages before have 1 + 2 + 4 + … twiddles.
            let twiddles = half - 1..2 * half - 1;
            let (cos, sin) = (&self.cos[twiddles.clone()], &self.sin[twiddles]);
            for (re, im) in self.re.chunks_exact_mut(2 * half).zip(self.im.chunks_exact_mut(2 * half)) {
                butterflies(re, im, cos, sin);
            }
            half *= 2;
        }
        for ((out, re), im) in out.iter_mut().zip(&self.re).zip(&self.im) {
            *out = (re * re + im * im).sqrt() * scale;
        }
    }
}

/// Replaces each pair (a, b), b half the slice's length after a, by a + b·t and a − b·t, t = cos + i·sin.
fn butterflies(re: &mut [f64], im: &mut [f64], cos: &[f64], sin: &[f64]) {
    let half = cos.len();
    let ((a_re, b_re), (a_im, b_im)) = (re.split_at_mut(half), im.split_at_mut(half));
    let (b_re, a_im, b_im, sin) = (&mut b_re[..half], &mut a_im[..half], &mut b_im[..half], &sin[..half]);
    for k in 0..half {
        let turned_re = b_re[k] * cos[k] - b_im[k] * sin[k];
        let turned_im = b_re[k] * sin[k] + b_im[k] * cos[k];
        (b_re[k], b_im[k]) = (a_re[k] - turned_re, a_im[k] - turned_im);
        (a_re[k], a_im[k]) = (a_re[k] + turned_re, a_im[k] + turned_im);
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
