//! Pitch of a single-voiced signal, by the YIN method (de Cheveigné and Kawahara, 2002) with a relative
//! threshold.

use super::decimate::DECIMATED;

/// Samples at 8 kHz that are compared: 24 ms.
const SUM: usize = 192;
/// Lags that are tried, in samples: the longest is 267, 30 Hz.
const LAGS: usize = 269;
/// Shortest lag of a pitch: 1 kHz.
const SHORTEST: usize = 8;

/// A pitch and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// MIDI note number with fractions; 0 where no pitch was found.
    pub pitch: f64,
    /// 0 to 1; 0 where no pitch was found.
    pub confidence: f64,
}

/// The pitch tracker with the signal that it needs.
#[derive(Debug, Clone)]
pub(super) struct PitchTracker {
    /// The last samples at 8 kHz, oldest first.
    samples: [f64; SUM + LAGS],
    difference: [f64; LAGS],
}

impl PitchTracker {
    pub fn new() -> Self {
        PitchTracker { samples: [0.0; SUM + LAGS], difference: [0.0; LAGS] }
    }

    /// The pitch at the end of a frame.
    pub fn push(&mut self, frame: &[f64; DECIMATED]) -> Estimate {
        self.samples.copy_within(DECIMATED.., 0);
        let at = self.samples.len() - DECIMATED;
        self.samples[at..].copy_from_slice(frame);
        self.normalised_difference();
        self.estimate()
    }

    /// The difference of the signal and itself `lag` samples earlier, divided by its mean up to that lag.
    fn normalised_difference(&mut self) {
        // Newest first: z[j] is the sample j samples before the end.
        let mut z = self.samples;
        z.reverse();
        // The inner loop goes over the lags, so that the compiler can compute several at once.
        let mut differences = [0.0; LAGS];
        for (j, &sample) in z[..SUM].iter().enumerate() {
            for (d, earlier) in differences.iter_mut().zip(&z[j..]) {
                let x = sample - earlier;
                *d += x * x;
            }
        }
        let mut sum = 0.0;
        for (lag, (d, out)) in differences.iter().zip(&mut self.difference).enumerate() {
            sum += d;
            let mean = sum / lag.max(1) as f64;
            *out = if mean <= 1e-12 { 1.0 } else { d / mean };
        }
    }

    fn estimate(&self) -> Estimate {
        let c = &self.difference;
        let is_candidate = |&lag: &usize| c[lag] <= c[lag - 1] && c[lag] < c[lag + 1];
        let candidates = || (SHORTEST..LAGS - 1).filter(is_candidate);
        let Some(least) = candidates().map(|lag| c[lag]).min_by(f64::total_cmp) else {
            return Estimate { pitch: 0.0, confidence: 0.0 };
        };
        let threshold = (least + 0.08).min(least.max(0.15));
        let lag = candidates().find(|&lag| c[lag] <= threshold).unwrap_or(SHORTEST);
        let (offset, value) = parabola(c[lag - 1], c[lag], c[lag + 1]);
        let pitch = 69.0 + 12.0 * (8000.0 / (lag as f64 + offset) / 440.0).log2();
        Estimate { pitch, confidence: (1.0 - value).clamp(0.0, 1.0) }
    }
}

/// Extremum of the parabola through three points at -1, 0 and 1: its position and value.
pub(super) fn parabola(before: f64, at: f64, after: f64) -> (f64, f64) {
    let curvature = before - 2.0 * at + after;
    if curvature == 0.0 {
        return (0.0, at);
    }
    let offset = (0.5 * (before - after) / curvature).clamp(-1.0, 1.0);
    (offset, at - 0.25 * (before - after) * offset)
}
