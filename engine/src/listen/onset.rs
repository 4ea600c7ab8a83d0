//! Onsets: moments at which the spectrum gains energy, on a grid of 5 ms.

use super::fft::Spectrum;
use super::{FRAME, SAMPLE_RATE};

/// Samples of a subframe: 5 ms.
pub(super) const SUBFRAME: usize = 160;
/// Subframes of a frame.
pub(super) const SUBFRAMES: usize = FRAME / SUBFRAME;
/// Length of a spectrum in samples: 16 ms.
const WINDOW: usize = 512;
/// Subframes between the two spectra that are compared.
const REACH: usize = 4;
/// Subframes over which the mean of the detection function is taken.
const MEAN: usize = 40;
/// Least number of subframes between two onsets.
const GAP: u64 = 10;
/// Room for the bands; the corners give 34.
const MAX_BANDS: usize = 48;

/// An onset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Onset {
    /// Sample at which it begins, counted from the start of the signal; may be before it.
    pub sample: i64,
    /// Height of the peak of the detection function: mean rise over the bands, in logarithmic units.
    pub strength: f64,
    /// The rise in three ranges of frequency: below 200 Hz, 200 Hz to 2 kHz, above 2 kHz.
    pub ranges: [f64; 3],
}

/// A triangular band: first bin and the weights from there, with a sum of 1.
#[derive(Debug, Clone)]
struct Band {
    first: usize,
    weights: Vec<f64>,
    /// Index of its range of frequency in [`Onset::ranges`].
    range: usize,
}

/// The onset detector with the history that it needs.
#[derive(Debug, Clone)]
pub(super) struct OnsetDetector {
    bands: Vec<Band>,
    spectrum: Spectrum,
    magnitudes: Vec<f64>,
    /// The last samples, oldest first.
    samples: [f64; WINDOW],
    /// Logarithmic band levels of the last subframes, the present one at `subframe % (REACH + 1)`.
    levels: [[f64; MAX_BANDS]; REACH + 1],
    /// The detection function of the last subframes, oldest first.
    detection: [f64; MEAN + 2],
    /// The same in each range, for the present subframe and the one before.
    ranges: [[f64; 3]; 2],
    /// Subframes so far.
    subframe: u64,
    /// Subframe of the last onset.
    last: Option<u64>,
}

impl OnsetDetector {
    pub fn new() -> Self {
        let bands = bands();
        assert!(bands.len() <= MAX_BANDS);
        OnsetDetector {
            bands,
            spectrum: Spectrum::new(WINDOW),
            magnitudes: vec![0.0; WINDOW / 2 + 1],
            samples: [0.0; WINDOW],
            levels: [[0.0; MAX_BANDS]; REACH + 1],
            detection: [0.0; MEAN + 2],
            ranges: [[0.0; 3]; 2],
            subframe: 0,
            last: None,
        }
    }

    /// Takes the next 160 samples. Returns the onset that is certain now; it is about 21 ms old.
    pub fn push(&mut self, subframe: &[f64]) -> Option<Onset> {
        self.samples.copy_within(SUBFRAME.., 0);
        self.samples[WINDOW - SUBFRAME..].copy_from_slice(subframe);
        self.spectrum.magnitudes(self.samples.iter().copied(), 2.0 / WINDOW as f64, &mut self.magnitudes);

        let slots = self.levels.len();
        let now = (self.subframe % slots as u64) as usize;
        for (level, band) in self.levels[now].iter_mut().zip(&self.bands) {
            let sum: f64 = band.weights.iter().zip(&self.magnitudes[band.first..]).map(|(w, m)| w * m).sum();
            *level = (1.0 + 1000.0 * sum).ln();
        }
        let (before, count) = ((now + 1) % slots, self.bands.len());
        let mut total = 0.0;
        let (mut sums, mut counts) = ([0.0; 3], [0.0; 3]);
        for (b, band) in self.bands.iter().enumerate() {
            let near = &self.levels[before][b.saturating_sub(1)..(b + 2).min(count)];
            let rise = (self.levels[now][b] - near.iter().fold(0.0f64, |a, &l| a.max(l))).max(0.0);
            total += rise;
            sums[band.range] += rise;
            counts[band.range] += 1.0;
        }
        self.detection.copy_within(1.., 0);
        self.detection[MEAN + 1] = total / count as f64;
        self.ranges = [self.ranges[1], std::array::from_fn(|r| sums[r] / counts[r])];
        self.subframe += 1;
        self.peak()
    }

    /// The onset whose peak is the subframe before the present one.
    fn peak(&mut self) -> Option<Onset> {
        let d = &self.detection;
        let strength = d[MEAN];
        let mean = d[..MEAN].iter().sum::<f64>() / MEAN as f64;
        let highest = d[MEAN - 3..].iter().all(|&other| strength >= other);
        // The peak's subframe, counted from 1, is its end on the grid.
        let end = self.subframe - 1;
        let free = self.last.is_none_or(|last| end - last >= GAP);
        if end == 0 || !highest || strength < 0.25 + 2.0 * mean || !free {
            return None;
        }
        self.last = Some(end);
        Some(Onset { sample: (end * SUBFRAME as u64) as i64 - WINDOW as i64, strength, ranges: self.ranges[0] })
    }
}

/// Bands of a sixth of an octave from 60 Hz to 12 kHz.
fn bands() -> Vec<Band> {
    let bin_width = SAMPLE_RATE as f64 / WINDOW as f64;
    let mut corners: Vec<usize> = (0..=46)
        .map(|i| (60.0 * 2f64.powf(f64::from(i) / 6.0) / bin_width).round_ties_even() as usize)
        .filter(|&corner| corner > 0)
        .collect();
    corners.dedup();
    let band = |c: &[usize]| {
        let (low, middle, high) = (c[0], c[1], c[2]);
        let weights: Vec<f64> = (low + 1..high)
            .map(|bin| {
                if bin <= middle {
                    (bin - low) as f64 / (middle - low) as f64
                } else {
                    (high - bin) as f64 / (high - middle) as f64
                }
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        let range = match middle as f64 * bin_width {
            ..200.0 => 0,
            200.0..2000.0 => 1,
            _ => 2,
        };
        Band { first: low + 1, weights: weights.iter().map(|w| w / sum).collect(), range }
    };
    corners.windows(3).map(band).collect()
}
