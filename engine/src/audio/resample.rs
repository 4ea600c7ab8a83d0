//! Offline sample rate conversion of mono audio. The filter's delay is compensated: sample 0 stays at time 0,
//! and n samples become round(n · to / from). Works in pieces, so that a long file is not in memory twice.
//! Not for live audio: a block is 2048 samples.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

use crate::error::{Error, Result};

/// Least samples of an FFT block on the side of the lower rate. It sets how steep the filter is: with 2048, a
/// 48 kHz file that is converted to 32 kHz keeps everything up to 15.7 kHz.
const BLOCK: usize = 2048;

/// Converts a stream of mono samples from one rate to another.
pub struct Resampler {
    /// None where both rates are the same: samples pass unchanged.
    fft: Option<Fft<f32>>,
    /// The ratio to / from as a fraction.
    rates: (u64, u64),
    /// Input samples of a block that is not full yet.
    waiting: Vec<f32>,
    /// Output of the FFT.
    block: Vec<f32>,
    /// Output samples that are still to be dropped: the filter's delay.
    skip: usize,
    /// Input samples so far.
    taken: u64,
    /// Output samples so far.
    given: u64,
}

impl Resampler {
    /// A resampler from `from` Hz to `to` Hz.
    ///
    /// # Errors
    /// A rate is 0.
    pub fn new(from: u32, to: u32) -> Result<Self> {
        let wrong = |what: String| Error::Input(format!("can't resample from {from} Hz to {to} Hz: {what}"));
        if from == 0 || to == 0 {
            return Err(wrong("a rate should be above 0".to_owned()));
        }
        let rates = (u64::from(to), u64::from(from));
        if from == to {
            return Ok(Self { fft: None, rates, waiting: Vec::new(), block: Vec::new(), skip: 0, taken: 0, given: 0 });
        }
        // An even multiple of the smallest block that has whole samples on both sides. With an odd multiple
        // the filter's middle is half a sample away from the delay that it reports.
        let unit = gcd(from, to);
        let blocks = (BLOCK as u32).div_ceil(from.min(to) / unit).next_multiple_of(2);
        let chunk = (blocks * (from / unit)) as usize;
        let fft = Fft::<f32>::new(from as usize, to as usize, chunk, 1, FixedSync::Both).map_err(|e| wrong(e.to_string()))?;
        Ok(Self {
            rates,
            waiting: Vec::with_capacity(fft.input_frames_max()),
            block: vec![0.0; fft.output_frames_max()],
            skip: fft.output_delay(),
            taken: 0,
            given: 0,
            fft: Some(fft),
        })
    }

    /// Takes input samples; appends the output that is ready to `out`.
    pub fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        let Some(fft) = &self.fft else {
            out.extend_from_slice(samples);
            self.given += samples.len() as u64;
            return;
        };
        let need = fft.input_frames_next();
        while !samples.is_empty() {
            let n = samples.len().min(need - self.waiting.len());
            self.waiting.extend_from_slice(&samples[..n]);
            samples = &samples[n..];
            if self.waiting.len() == need {
                self.step(u64::MAX, out);
            }
        }
    }

    /// Appends the rest of the output, round(input · to / from) samples in all.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        let (to, from) = self.rates;
        // In u128: an absurd length times a rate overflows u64.
        let total = ((u128::from(self.taken) * u128::from(to) * 2 + u128::from(from)) / (2 * u128::from(from))) as u64;
        let Some(fft) = &self.fft else { return };
        let need = fft.input_frames_next();
        while self.given < total {
            self.waiting.resize(need, 0.0);
            self.step(total, out);
        }
        // `push` can have put out one sample more than the rounded length.
        out.truncate(out.len() - self.given.saturating_sub(total) as usize);
    }

    /// Processes one block. Appends its output without the filter's delay, up to `total` output samples in
    /// all.
    fn step(&mut self, total: u64, out: &mut Vec<f32>) {
        let Some(fft) = &mut self.fft else { return };
        let (n_in, n_out) = (self.waiting.len(), self.block.len());
        let input = SequentialSlice::new(&self.waiting, 1, n_in).expect("one channel of n_in samples");
        let mut output = SequentialSlice::new_mut(&mut self.block, 1, n_out).expect("one channel of n_out samples");
        let (_, made) =
            fft.process_into_buffer(&input, &mut output, Some(&Indexing::new())).expect("buffers of the sizes it asked for");
        let drop = self.skip.min(made);
        self.skip -= drop;
        let keep = (made - drop).min(usize::try_from(total - self.given).unwrap_or(usize::MAX));
        out.extend_from_slice(&self.block[drop..drop + keep]);
        self.given += keep as u64;
        self.waiting.clear();
    }
}

/// Greatest common divisor.
fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Converts `samples` at `from` Hz to `to` Hz at once.
///
/// # Errors
/// Those of [`Resampler::new`].
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>> {
    let mut resampler = Resampler::new(from, to)?;
    let mut out = Vec::new();
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sine with a Hann window over its whole length, so that the filter does not ring at the edges.
    fn tone(rate: u32, len: usize, hz: f64) -> Vec<f32> {
        let seconds = len as f64 / f64::from(rate);
        (0..len)
            .map(|n| {
                let t = n as f64 / f64::from(rate);
                let window = 0.5 - 0.5 * (std::f64::consts::TAU * t / seconds).cos();
                (window * (std::f64::consts::TAU * hz * t).sin()) as f32
            })
            .collect()
    }

    #[test]
    fn a_tone_keeps_its_phase_and_length() {
        for (from, to) in [
            (48_000, 32_000),
            (44_100, 32_000),
            (8_000, 32_000),
            (192_000, 32_000),
            (96_000, 32_000),
            (32_000, 48_000),
            (22_051, 32_000),
        ] {
            let got = resample(&tone(from, from as usize, 440.0), from, to).unwrap();
            let want = tone(to, to as usize, 440.0);
            assert_eq!(got.len(), want.len(), "{from} to {to}");
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-4, "{from} to {to}: off by {worst}");
        }
    }

    #[test]
    fn frequencies_above_half_the_new_rate_are_removed() {
        let got = resample(&tone(96_000, 96_000, 20_000.0), 96_000, 32_000).unwrap();
        let worst = got.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        assert!(worst < 1e-4, "20 kHz comes back at {worst}");
    }

    #[test]
    fn length_is_rounded_and_does_not_depend_on_pieces() {
        for from in [8_000u32, 11_025, 44_100, 48_000, 192_000, 32_000] {
            for n in [0usize, 1, 2, 3, 700, 4096, 44_117] {
                let x: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
                let whole = resample(&x, from, 32_000).unwrap();
                let want = (n as f64 * 32_000.0 / f64::from(from)).round() as usize;
                assert_eq!(whole.len(), want, "{n} samples at {from}");
                let mut pieces = Vec::new();
                let mut r = Resampler::new(from, 32_000).unwrap();
                for piece in x.chunks(997) {
                    r.push(piece, &mut pieces);
                }
                r.finish(&mut pieces);
                assert_eq!(whole, pieces, "{n} samples at {from}");
            }
        }
    }

    #[test]
    fn equal_rates_change_nothing() {
        let x = [0.1f32, -0.2, 0.3];
        assert_eq!(resample(&x, 32_000, 32_000).unwrap(), x);
    }

    #[test]
    fn a_rate_of_zero_is_an_error() {
        assert!(resample(&[0.0], 0, 32_000).is_err());
    }
}
