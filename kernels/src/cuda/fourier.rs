//! Fourier transforms of the house codecs as matrix products: window and transform are one matrix, made once for each size.

use super::blocks;
use super::device::Device;
use super::kernel::{self, Kernel};
use super::linear::{Product, product};
use super::mat::Mat;
use super::mem::Array;
use crate::{BackendError, Format, InverseStft, LockedSpectra, Rows, Stft};
use std::f64::consts::TAU;

/// Matrices for each size that has been used, and scratch memory.
#[derive(Default)]
pub(super) struct Fourier {
    /// (n_fft, bins): [2 bins, n_fft].
    forward: Vec<(usize, usize, Mat)>,
    /// (n_fft, hop): [n_fft, n_fft + 2], and 1 / Σ_i hann²(u + i·hop) for u in 0..hop.
    inverse: Vec<(usize, usize, Mat, Array<f32>)>,
    /// Real and imaginary parts [rows, 2 bins].
    parts: Option<Array<f32>>,
    /// Windows of samples [rows, n_fft].
    windows: Option<Array<f32>>,
    /// The next tail [n_fft].
    next: Option<Array<f32>>,
    /// Samples of white noise.
    noise: Option<Array<f32>>,
    /// Peaks, their advances and phases, each [rows, half].
    locked: [Option<Array<i32>>; 3],
}

fn hann(u: usize, n: usize) -> f64 {
    0.5 - 0.5 * (TAU * u as f64 / n as f64).cos()
}

/// cos and sin of 2π k u / n.
fn turn(k: usize, u: usize, n: usize) -> (f64, f64) {
    let (sin, cos) = (TAU * ((k * u) % n) as f64 / n as f64).sin_cos();
    (cos, sin)
}

fn forward(device: &mut Device, n: usize, bins: usize) -> Result<Mat, BackendError> {
    let mut w = vec![0.0; 2 * bins * n];
    let (re, im) = w.split_at_mut(bins * n);
    for (i, (re, im)) in re.iter_mut().zip(im).enumerate() {
        let (cos, sin) = turn(i / n, i % n, n);
        (*re, *im) = ((hann(i % n, n) * cos) as f32, (-hann(i % n, n) * sin) as f32);
    }
    Mat::new(device, 2 * bins, n, &w, Format::F32)
}

fn inverse(device: &mut Device, n: usize, hop: usize) -> Result<(Mat, Array<f32>), BackendError> {
    let half = n / 2 + 1;
    let mut w = vec![0.0; n * 2 * half];
    for (u, row) in w.chunks_exact_mut(2 * half).enumerate() {
        for k in 0..half {
            let (cos, sin) = turn(k, u, n);
            let scale = hann(u, n) / n as f64 * if k == 0 || k == half - 1 { 1.0 } else { 2.0 };
            (row[k], row[half + k]) = ((scale * cos) as f32, (-scale * sin) as f32);
        }
    }
    let envelope = |u: usize| (1.0 / (u..n).step_by(hop).map(|u| hann(u, n).powi(2)).sum::<f64>()) as f32;
    let envelope: Vec<f32> = (0..hop).map(envelope).collect();
    Ok((Mat::new(device, n, 2 * half, &w, Format::F32)?, Array::of(device, &envelope, "an envelope")?))
}

/// Keeps an error as the device's failure: an operation has no way to return it.
fn kept<T>(device: &mut Device, made: Result<T, BackendError>) -> Option<T> {
    made.map_err(|e| _ = device.failure.get_or_insert(e.to_string())).ok()
}

/// [`crate::Backend::polar_spectra`].
pub(super) fn polar_spectra(
    device: &mut Device,
    (half, max_log): (usize, f32),
    (x, xr): (&Array<f32>, Rows),
    (y, yr): (&mut Array<f32>, Rows),
) {
    assert!(xr.end(2 * half) <= x.len(), "polar_spectra: {xr:?} of {} values in x of {}", 2 * half, x.len());
    assert!(yr.end(2 * half) <= y.len(), "polar_spectra: {yr:?} of {} values in y of {}", 2 * half, y.len());
    let arguments = kernel::Polar {
        x: device.at(x),
        y: device.at(y),
        x_at: xr.at as i64,
        x_stride: xr.stride as i64,
        y_at: yr.at as i64,
        y_stride: yr.stride as i64,
        count: xr.count as i32,
        half: half as i32,
        max_log,
        unused: 0,
    };
    device.launch(Kernel::Polar, blocks(xr.count * half), 256, 0, arguments);
}

impl Fourier {
    /// Makes the matrix of a forward transform, if it is not there.
    fn forward(&mut self, device: &mut Device, n_fft: usize, bins: usize) {
        if !self.forward.iter().any(|f| (f.0, f.1) == (n_fft, bins)) {
            let made = forward(device, n_fft, bins);
            let Some(mat) = kept(device, made) else { return };
            self.forward.push((n_fft, bins, mat));
        }
    }

    /// [`crate::Backend::locked_spectra`].
    pub(super) fn locked_spectra(
        &mut self,
        device: &mut Device,
        spec: LockedSpectra,
        (x, xr): (&Array<f32>, Rows),
        state: &mut Array<i32>,
        (y, yr): (&mut Array<f32>, Rows),
    ) {
        let InverseStft { n_fft, hop } = spec.stft;
        let (half, count) = (n_fft / 2 + 1, xr.count);
        assert!(xr.end(2 * half) <= x.len(), "locked_spectra: {xr:?} of {} values in x of {}", 2 * half, x.len());
        assert!(yr.end(2 * half) <= y.len(), "locked_spectra: {yr:?} of {} values in y of {}", 2 * half, y.len());
        assert!(state.len() > half, "locked_spectra: state of {}", state.len());
        assert!(
            spec.locked_from <= half && spec.locked_from.is_multiple_of(2),
            "locked_spectra: from bin {} of {half}",
            spec.locked_from
        );
        if count == 0 {
            return;
        }
        let len = (count - 1) * hop + n_fft;
        self.forward(device, n_fft, half);
        Array::grow(&mut self.parts, device, count * 2 * half);
        Array::grow(&mut self.noise, device, len);
        self.locked.iter_mut().for_each(|array| Array::grow(array, device, count * half));
        let mat = self.forward.iter().find(|f| (f.0, f.1) == (n_fft, half));
        let [Some(peak), Some(advance), Some(phases)] = &self.locked else { return };
        let (Some((.., mat)), Some(parts), Some(noise)) = (mat, &mut self.parts, &self.noise) else { return };
        let (state, peak, advance, phases) = (device.at(state), device.at(peak), device.at(advance), device.at(phases));
        let arguments = kernel::WhiteNoise {
            state,
            x: device.at(noise),
            half: half as i32,
            hop: hop as i32,
            len: len as i32,
            seed: spec.noise_seed,
        };
        device.launch(Kernel::WhiteNoise, blocks(len), 256, 0, arguments);
        let windows = Rows { count, at: 0, stride: hop };
        product(device, &Product::bare(mat), noise, windows, parts, Rows::packed(count, 2 * half));
        let arguments = kernel::FindPeaks {
            x: device.at(x),
            peak,
            advance,
            x_at: xr.at as i64,
            x_stride: xr.stride as i64,
            count: count as i32,
            half: half as i32,
            n_fft: n_fft as i32,
            hop: hop as i32,
            scale: (hop as f64 / n_fft as f64 * 4_294_967_296.0) as f32,
            unused: 0,
        };
        device.launch(Kernel::FindPeaks, blocks(count * half), 256, 0, arguments);
        let arguments = kernel::LockPhases { peak, advance, state, phases, count: count as i32, half: half as i32 };
        device.launch(Kernel::LockPhases, (1, 1), 1024, 0, arguments);
        let arguments = kernel::LockedSpectra {
            x: device.at(x),
            noise: device.at(parts),
            phases,
            y: device.at(y),
            x_at: xr.at as i64,
            x_stride: xr.stride as i64,
            y_at: yr.at as i64,
            y_stride: yr.stride as i64,
            count: count as i32,
            half: half as i32,
            max_log: spec.max_log,
            scale: (1.0 / (0.375 * n_fft as f64).sqrt()) as f32,
            from: spec.locked_from as i32,
            unused: 0,
        };
        device.launch(Kernel::LockedSpectra, blocks(count * half), 256, 0, arguments);
    }

    /// [`crate::Backend::spectrum`].
    pub(super) fn spectrum(
        &mut self,
        device: &mut Device,
        stft: Stft,
        x: &Array<f32>,
        first_end: usize,
        y: &mut Array<f32>,
        yr: Rows,
    ) {
        let (Stft { n_fft, hop, bins }, count) = (stft, yr.count);
        assert!(n_fft >= 2 && n_fft.is_multiple_of(2), "spectrum: n_fft {n_fft}");
        assert!(first_end >= n_fft, "spectrum: the first window of {n_fft} ends at {first_end}");
        assert!((1..=n_fft / 2 + 1).contains(&bins), "spectrum: {bins} bins of n_fft {n_fft}");
        if count == 0 {
            return;
        }
        assert!(yr.end(bins) <= y.len(), "spectrum: {yr:?} of {bins} values in y of {}", y.len());
        self.forward(device, n_fft, bins);
        Array::grow(&mut self.parts, device, count * 2 * bins);
        let (Some((.., mat)), Some(parts)) = (self.forward.iter().find(|f| (f.0, f.1) == (n_fft, bins)), &mut self.parts) else {
            return;
        };
        let from = Rows { count, at: first_end - n_fft, stride: hop };
        product(device, &Product::bare(mat), x, from, parts, Rows::packed(count, 2 * bins));
        let arguments = kernel::Magnitude {
            parts: device.at(parts),
            y: device.at(y),
            y_at: yr.at as i64,
            y_stride: yr.stride as i64,
            count: count as i32,
            bins: bins as i32,
            scale: 4.0 / n_fft as f32,
            unused: 0,
        };
        device.launch(Kernel::Magnitude, blocks(count * bins), 256, 0, arguments);
    }

    /// [`crate::Backend::istft`].
    pub(super) fn istft(
        &mut self,
        device: &mut Device,
        stft: InverseStft,
        (x, xr): (&Array<f32>, Rows),
        tail: &mut Array<f32>,
        (y, y_at): (&mut Array<f32>, usize),
    ) {
        let InverseStft { n_fft, hop } = stft;
        assert!(n_fft >= 2 && n_fft.is_multiple_of(2) && (1..=n_fft).contains(&hop), "n_fft {n_fft}, hop {hop}");
        let (half, count) = (n_fft / 2 + 1, xr.count);
        assert!(xr.end(2 * half) <= x.len(), "istft: {xr:?} of {} values in x of {}", 2 * half, x.len());
        assert!(y_at + count * hop <= y.len(), "istft: {count} hops of {hop} at {y_at} in y of {}", y.len());
        assert!(tail.len() >= n_fft, "istft: tail of {}", tail.len());
        if count == 0 {
            return;
        }
        if !self.inverse.iter().any(|f| (f.0, f.1) == (n_fft, hop)) {
            let made = inverse(device, n_fft, hop);
            let Some((mat, envelope)) = kept(device, made) else { return };
            self.inverse.push((n_fft, hop, mat, envelope));
        }
        Array::grow(&mut self.windows, device, count * n_fft);
        Array::grow(&mut self.next, device, n_fft);
        let found = self.inverse.iter().find(|f| (f.0, f.1) == (n_fft, hop));
        let (Some((.., mat, envelope)), Some(windows), Some(next)) = (found, &mut self.windows, &self.next) else {
            return;
        };
        product(device, &Product::bare(mat), x, xr, windows, Rows::packed(count, n_fft));
        let (tail_at, next_at) = (device.at(tail), device.at(next));
        let arguments = kernel::Overlap {
            windows: device.at(windows),
            tail: tail_at,
            envelope: device.at(envelope),
            y: device.at(y),
            next: next_at,
            y_at: y_at as i64,
            count: count as i32,
            n_fft: n_fft as i32,
            hop: hop as i32,
            unused: 0,
        };
        device.launch(Kernel::Overlap, blocks(count * hop + n_fft), 256, 0, arguments);
        device.copy(next_at, tail_at, 4 * n_fft);
    }
}
