//! Chroma: how strongly each of the twelve pitch classes sounds.

use super::decimate::DECIMATED;
use super::fft::Spectrum;
use super::pitch::parabola;

/// Length of a spectrum in samples at 8 kHz: 128 ms.
const WINDOW: usize = 1024;
/// Least magnitude of a partial.
const LEAST: f64 = 1e-4;

/// The chroma of the last 128 ms.
#[derive(Debug, Clone)]
pub(super) struct ChromaMeter {
    /// The last samples at 8 kHz, oldest first.
    samples: [f64; WINDOW],
    spectrum: Spectrum,
    magnitudes: Vec<f64>,
}

impl ChromaMeter {
    pub fn new() -> Self {
        ChromaMeter { samples: [0.0; WINDOW], spectrum: Spectrum::new(WINDOW), magnitudes: vec![0.0; WINDOW / 2 + 1] }
    }

    /// The chroma at the end of a frame, C first, scaled to a norm of 255 (less in near silence).
    pub fn push(&mut self, frame: &[f64; DECIMATED]) -> [u8; 12] {
        self.samples.copy_within(DECIMATED.., 0);
        self.samples[WINDOW - DECIMATED..].copy_from_slice(frame);
        self.spectrum.magnitudes(self.samples.iter().copied(), 4.0 / WINDOW as f64, &mut self.magnitudes);

        let mut classes = [0.0f64; 12];
        let m = &self.magnitudes;
        for bin in 1..m.len() - 1 {
            if m[bin] <= LEAST || m[bin] < m[bin - 1] || m[bin] <= m[bin + 1] {
                continue;
            }
            let (offset, magnitude) = parabola(m[bin - 1], m[bin], m[bin + 1]);
            let frequency = (bin as f64 + offset) * 8000.0 / WINDOW as f64;
            if !(110.0..=2000.0).contains(&frequency) {
                continue;
            }
            let note = 69.0 + 12.0 * (frequency / 440.0).log2();
            let nearest = note.round();
            classes[nearest.rem_euclid(12.0) as usize] += magnitude.sqrt() * (1.0 - (note - nearest).abs());
        }
        let norm = classes.iter().map(|c| c * c).sum::<f64>().sqrt().max(1e-3);
        classes.map(|c| (255.0 * c / norm).round() as u8)
    }
}
