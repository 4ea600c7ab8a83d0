//! [`Picture`]: what a page shows of one recording: its waveform, its level and its spectrogram, in bounded memory for a
//! recording of any length.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::Serialize;
use sideman_engine::audio::RATE;

use super::series::{Column, Series};

/// Samples of a value of the waveform (10 ms), of the spectrogram (20 ms), and of the level (50 ms).
const WAVE: usize = 320;
const STEP: usize = 640;
const LEVEL: usize = 1600;
/// Most columns of each.
const WAVES: usize = 6000;
const STEPS: usize = 2048;
const LEVELS: usize = 12_000;
/// Samples that a spectrum is computed of (64 ms).
const WINDOW: usize = 2048;
/// Samples that a spectrum needs after its own, so that they are in the middle of its window.
const AFTER: usize = (WINDOW - STEP) / 2;
/// Rows of the spectrogram, and the frequencies of the lowest and the highest in Hz; equal intervals lie between them.
const ROWS: usize = 80;
const LOWEST: f64 = 40.0;
const HIGHEST: f64 = 14_000.0;
/// Level of the darkest and the brightest colour, in dB below a sine at full scale.
const FAINT: f32 = -84.0;
const BRIGHT: f32 = -12.0;
/// Level that is shown as 0 in a meter, in dB.
const QUIET: f32 = -60.0;

/// Lowest and highest sample.
#[derive(Clone, Copy)]
struct Peak(f32, f32);

impl Column for Peak {
    fn join(&mut self, later: &Self) {
        *self = Peak(self.0.min(later.0), self.1.max(later.1));
    }
}

/// Sum of squares.
#[derive(Clone, Copy)]
struct Energy(f32);

impl Column for Energy {
    fn join(&mut self, later: &Self) {
        self.0 += later.0;
    }
}

/// Sums of the brightness of each row, 0 to 255 a value.
#[derive(Clone)]
struct Spectrum([u32; ROWS]);

impl Column for Spectrum {
    fn join(&mut self, later: &Self) {
        self.0.iter_mut().zip(&later.0).for_each(|(sum, x)| *sum += x);
    }
}

/// The picture of a recording that is given piece by piece.
pub struct Picture {
    samples: usize,
    peak: Peak,
    energy: f32,
    waves: Series<Peak>,
    levels: Series<Energy>,
    spectra: Series<Spectrum>,
    spectrum: SpectrumMaker,
}

/// Columns as a page has them: bytes in base64.
#[derive(Serialize)]
pub(super) struct Bytes {
    /// Seconds of a column.
    step: f64,
    /// Bytes of a column.
    rows: usize,
    pub(super) data: String,
}

impl Bytes {
    pub(super) fn new(step: f64, rows: usize, data: &[u8]) -> Bytes {
        Bytes { step, rows, data: STANDARD.encode(data) }
    }
}

/// A picture as a page has it.
#[derive(Serialize)]
pub(super) struct Drawn {
    /// Lowest and highest sample, as signed bytes: 127 is the recording's peak.
    wave: Bytes,
    /// The recording's peak; full scale is 1.
    peak: f32,
    /// Levels: 0 is −60 dB or less, 255 is 0 dB.
    level: Bytes,
    /// Brightness of frequencies, the lowest first.
    spectrum: Bytes,
}

impl Default for Picture {
    fn default() -> Self {
        Picture {
            samples: 0,
            peak: Peak(0.0, 0.0),
            energy: 0.0,
            waves: Series::new(WAVES),
            levels: Series::new(LEVELS),
            spectra: Series::new(STEPS),
            spectrum: SpectrumMaker::new(),
        }
    }
}

impl Picture {
    /// The picture of a whole recording, mono at 32 kHz.
    pub fn of(samples: &[f32]) -> Picture {
        let mut picture = Picture::default();
        samples.iter().for_each(|x| picture.push(*x));
        picture
    }

    /// Adds a sample.
    pub fn push(&mut self, x: f32) {
        let x = if x.is_finite() { x } else { 0.0 };
        self.samples += 1;
        self.peak.join(&Peak(x, x));
        self.energy += x * x;
        if self.samples.is_multiple_of(WAVE) {
            self.waves.push(std::mem::replace(&mut self.peak, Peak(x, x)));
        }
        if self.samples.is_multiple_of(LEVEL) {
            self.levels.push(Energy(std::mem::take(&mut self.energy)));
        }
        self.spectrum.push(x);
        if self.samples > AFTER && (self.samples - AFTER).is_multiple_of(STEP) {
            self.spectra.push(self.spectrum.spectrum());
        }
    }

    /// The highest sample so far; full scale is 1.
    pub fn peak(&self) -> f32 {
        self.waves.columns().map(|(peak, _)| peak).chain([&self.peak]).fold(0.0, |most, peak| most.max(-peak.0).max(peak.1))
    }

    /// The picture as a page has it.
    pub(super) fn draw(mut self) -> Drawn {
        let begun = |values: usize| !self.samples.is_multiple_of(values);
        if begun(WAVE) {
            self.waves.push(self.peak);
        }
        if begun(LEVEL) {
            self.levels.push(Energy(self.energy * LEVEL as f32 / (self.samples % LEVEL) as f32));
        }
        let spectra = self.samples.div_ceil(STEP);
        let made = self.samples.saturating_sub(AFTER) / STEP;
        let mut pushed = self.samples;
        for n in made..spectra {
            let until = (n + 1) * STEP + AFTER;
            (pushed..until).for_each(|_| self.spectrum.push(0.0));
            pushed = until;
            self.spectra.push(self.spectrum.spectrum());
        }
        let peak = self.peak();
        let scale = if peak > 0.0 { 127.0 / peak } else { 0.0 };
        let wave: Vec<u8> =
            self.waves.columns().flat_map(|(p, _)| [p.0, p.1]).map(|x| ((x * scale).round() as i8).cast_unsigned()).collect();
        let level = |(energy, count): (&Energy, usize)| {
            let rms = (energy.0 / (count * LEVEL) as f32).sqrt();
            ((20.0 * rms.max(1e-9).log10() - QUIET) / -QUIET * 255.0).clamp(0.0, 255.0) as u8
        };
        let levels: Vec<u8> = self.levels.columns().map(level).collect();
        let spectra: Vec<u8> =
            self.spectra.columns().flat_map(|(s, count)| s.0.map(|sum| (sum / count as u32).min(255) as u8)).collect();
        let seconds = |values: usize, stride: usize| (values * stride) as f64 / f64::from(RATE);
        Drawn {
            wave: Bytes::new(seconds(WAVE, self.waves.stride()), 2, &wave),
            peak,
            level: Bytes::new(seconds(LEVEL, self.levels.stride()), 1, &levels),
            spectrum: Bytes::new(seconds(STEP, self.spectra.stride()), ROWS, &spectra),
        }
    }
}

/// Computes spectra of the last [`WINDOW`] samples.
struct SpectrumMaker {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// The last samples; `next` is the place of the oldest.
    recent: Vec<f32>,
    next: usize,
    frame: Vec<f32>,
    bins: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// Of each row: its first bin and the one after its last; between two bins, one of a part.
    rows: Vec<Row>,
}

/// Where a row of the spectrogram is in the bins of a spectrum.
#[derive(Clone, Copy)]
enum Row {
    /// The brightest of these.
    Bins(usize, usize),
    /// Between this bin and the next.
    Between(usize, f32),
}

impl SpectrumMaker {
    fn new() -> SpectrumMaker {
        let fft = RealFftPlanner::new().plan_fft_forward(WINDOW);
        let turn = std::f32::consts::TAU / WINDOW as f32;
        let window: Vec<f32> = (0..WINDOW).map(|n| 0.5 - 0.5 * (n as f32 * turn).cos()).collect();
        let frequency = |row: f64| LOWEST * (HIGHEST / LOWEST).powf(row / (ROWS - 1) as f64);
        let bin = |row: f64| frequency(row) * WINDOW as f64 / f64::from(RATE);
        let row = |n: usize| {
            let (from, to) = (bin(n as f64 - 0.5).ceil() as usize, bin(n as f64 + 0.5).ceil() as usize);
            let at = bin(n as f64);
            if from < to { Row::Bins(from, to) } else { Row::Between(at as usize, at.fract() as f32) }
        };
        SpectrumMaker {
            frame: fft.make_input_vec(),
            bins: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
            // A sine at full scale is 1.
            window: window.iter().map(|w| w * 4.0 / WINDOW as f32).collect(),
            recent: vec![0.0; WINDOW],
            next: 0,
            rows: (0..ROWS).map(row).collect(),
        }
    }

    fn push(&mut self, x: f32) {
        self.recent[self.next] = x;
        self.next = (self.next + 1) % WINDOW;
    }

    fn spectrum(&mut self) -> Spectrum {
        let (newest, oldest) = self.recent.split_at(self.next);
        let samples = oldest.iter().chain(newest).zip(&self.window).map(|(x, w)| x * w);
        self.frame.iter_mut().zip(samples).for_each(|(out, x)| *out = x);
        // The lengths are those of the plan, so it can't fail.
        let _ = self.fft.process_with_scratch(&mut self.frame, &mut self.bins, &mut self.scratch);
        let size = |bin: usize| self.bins[bin].norm_sqr();
        let brightness = |row: &Row| {
            let power = match *row {
                Row::Bins(from, to) => (from..to).map(size).fold(0.0, f32::max),
                Row::Between(bin, part) => size(bin) * (1.0 - part) + size(bin + 1) * part,
            };
            ((10.0 * power.max(1e-12).log10() - FAINT) / (BRIGHT - FAINT) * 255.0).clamp(0.0, 255.0) as u32
        };
        Spectrum(std::array::from_fn(|n| brightness(&self.rows[n])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(column: &Bytes) -> Vec<u8> {
        STANDARD.decode(&column.data).unwrap()
    }

    #[test]
    fn a_tone_is_drawn_where_and_when_it_sounds() {
        // A second of silence, then one of 440 Hz at a quarter of full scale.
        let tone = |n: usize| (n as f32 * 440.0 * std::f32::consts::TAU / RATE as f32).sin() * 0.25;
        let samples: Vec<f32> = (0..64_000).map(|n| if n < 32_000 { 0.0 } else { tone(n) }).collect();
        let drawn = Picture::of(&samples).draw();
        let spectra = bytes(&drawn.spectrum);
        assert_eq!((drawn.spectrum.step, spectra.len()), (0.02, 100 * ROWS));
        let brightest = |column: usize| {
            let rows = &spectra[column * ROWS..(column + 1) * ROWS];
            (0..ROWS).max_by_key(|row| rows[*row]).map(|row| (row, rows[row])).unwrap()
        };
        let row = ((440.0f64 / LOWEST).ln() / (HIGHEST / LOWEST).ln() * (ROWS - 1) as f64).round() as usize;
        assert_eq!(brightest(75).0, row);
        // 12 dB below full scale is as bright as it gets.
        assert!(brightest(75).1 > 250 && brightest(47).1 == 0 && brightest(52).1 > 200 && brightest(99).1 > 200);
        let wave: Vec<i8> = bytes(&drawn.wave).iter().map(|b| b.cast_signed()).collect();
        assert_eq!((wave.len(), &wave[198..200], wave[300], wave[301]), (400, &[0i8, 0][..], -127, 127));
        assert!((drawn.peak - 0.25).abs() < 1e-3);
        let level = bytes(&drawn.level);
        // The root mean square of this sine is −15 dB.
        assert_eq!((level.len(), level[19], level[30].abs_diff(191) <= 1), (40, 0, true));
    }

    #[test]
    fn a_long_recording_has_no_more_columns_than_a_short_one() {
        let mut picture = Picture::default();
        (0..32_000 * 400).for_each(|n| picture.push(if n % 32_000 < 8000 { 0.5 } else { 0.0 }));
        let drawn = picture.draw();
        for (column, most) in [(&drawn.wave, WAVES), (&drawn.level, LEVELS), (&drawn.spectrum, STEPS)] {
            let count = bytes(column).len() / column.rows;
            assert!(count <= most + 1 && (count as f64 * column.step - 400.0).abs() <= column.step, "{count}");
        }
    }

    #[test]
    fn recordings_of_any_length_are_drawn_to_their_end() {
        for n in [0, 1, 319, 640, 641, 2048, 3203] {
            let drawn = Picture::of(&vec![f32::NAN; n]).draw();
            let counts = [&drawn.wave, &drawn.level, &drawn.spectrum].map(|column| bytes(column).len() / column.rows);
            assert_eq!(counts, [n.div_ceil(WAVE), n.div_ceil(LEVEL), n.div_ceil(STEP)], "{n}");
        }
    }
}
