//! Low-pass filter and decimation from 32 kHz to 8 kHz, the rate at which pitch and chroma are measured.

use std::f64::consts::PI;

use super::FRAME;

/// Filter coefficients less one: the filter's history in samples.
const HISTORY: usize = 64;
/// Input samples for each output sample.
const FACTOR: usize = 4;
/// Output samples of a frame.
pub(super) const DECIMATED: usize = FRAME / FACTOR;

/// The filter with its history.
#[derive(Debug, Clone)]
pub(super) struct Decimator {
    /// Windowed sinc with a sum of 1.
    taps: [f64; HISTORY + 1],
    /// The last 64 samples of the frame before, then the present frame.
    samples: [f64; HISTORY + FRAME],
}

impl Decimator {
    pub fn new() -> Self {
        let mut taps = [0.0; HISTORY + 1];
        for (i, tap) in taps.iter_mut().enumerate() {
            let x = 0.2125 * (i as f64 - 32.0);
            let sinc = if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
            *tap = sinc * (0.54 - 0.46 * (2.0 * PI * i as f64 / HISTORY as f64).cos());
        }
        let sum: f64 = taps.iter().sum();
        taps.iter_mut().for_each(|tap| *tap /= sum);
        Decimator { taps, samples: [0.0; HISTORY + FRAME] }
    }

    /// The 160 samples at 8 kHz of a frame of 640 samples at 32 kHz.
    pub fn push(&mut self, frame: &[f64; FRAME]) -> [f64; DECIMATED] {
        self.samples.copy_within(FRAME.., 0);
        self.samples[HISTORY..].copy_from_slice(frame);
        // The inner loop goes over the outputs, so that their sums don't wait for each other.
        let mut out = [0.0; DECIMATED];
        for (i, tap) in self.taps.iter().enumerate() {
            let inputs = self.samples[HISTORY + FACTOR - 1 - i..].iter().step_by(FACTOR);
            for (sum, sample) in out.iter_mut().zip(inputs) {
                *sum += tap * sample;
            }
        }
        out
    }
}
