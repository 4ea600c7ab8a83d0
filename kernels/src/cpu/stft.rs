//! The house codecs' Fourier transforms (docs/reference/model-format.md, kind `istft`): log-magnitude spectra and the inverse STFT.
//!
//! Rows are divided among the threads; only phases that follow from the row before, and the overlap, are computed row by row.

use super::locked::Locked;
use super::mem::Store;
use super::pool::Shared;
use super::{Workers, kernel, scalar};
use crate::{InverseStft, LockedSpectra, Rows, Stft};
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

/// Plans and windows for each size that has been used, and scratch memory.
#[derive(Default)]
pub(super) struct Fourier {
    sizes: Vec<Size>,
    /// One for each thread.
    buffers: Vec<Buffers>,
    locked: Locked,
    /// Phases of each row of locked spectra.
    phases: Vec<i32>,
    /// Windows that are added up to a signal [rows, n_fft].
    windows: Store<f32>,
}

struct Size {
    n_fft: usize,
    hop: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
    /// 1 / Σ_i hann²(u + i·hop) for u in 0..hop.
    envelope: Vec<f32>,
}

/// Buffers of one transform, of the largest size.
#[derive(Default)]
struct Buffers {
    time: Vec<f32>,
    bins: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Buffers {
    /// Time signal, bins and scratch memory of a size.
    fn of(&mut self, n_fft: usize) -> (&mut [f32], &mut [Complex32], &mut [Complex32]) {
        (&mut self.time[..n_fft], &mut self.bins[..n_fft / 2 + 1], &mut self.scratch)
    }
}

/// [`crate::Backend::polar_spectra`].
pub(super) fn polar_spectra(work: &mut Workers, half: usize, max_log: f32, x: &[f32], xr: Rows, y: &mut [f32], yr: Rows) {
    assert!(xr.end(2 * half) <= x.len(), "polar_spectra: {xr:?} of {} values in x of {}", 2 * half, x.len());
    let (isa, y) = (work.isa, SharedRows::new("polar_spectra", y, yr, 2 * half));
    work.pool.each(xr.count, &|_, t| {
        let (log, phase) = x[xr.at + t * xr.stride..][..2 * half].split_at(half);
        // SAFETY: each item takes its own row.
        let (re, im) = unsafe { y.row(t) }.split_at_mut(half);
        for ((re, im), phase) in re.iter_mut().zip(im.iter_mut()).zip(phase) {
            (*im, *re) = phase.sin_cos();
        }
        kernel::scale_spectra(isa, max_log, log, re, im);
        im[0] = 0.0;
        im[half - 1] = 0.0;
    });
}

/// Times e^l of each bin, l at most `max_log`.
#[inline(always)]
pub(super) fn scale_spectra(max_log: f32, l: &[f32], re: &mut [f32], im: &mut [f32]) {
    for ((re, im), l) in re.iter_mut().zip(im).zip(l) {
        let magnitude = scalar::exp(if *l > max_log { max_log } else { *l });
        (*re, *im) = (magnitude * *re, magnitude * *im);
    }
}

/// Features of log-magnitude spectra ([`crate::Backend::spectrum`]): `scale` is 4/n_fft.
#[inline(always)]
pub(super) fn log_magnitudes(bins: &[Complex32], scale: f32, y: &mut [f32]) {
    for (y, bin) in y.iter_mut().zip(bins) {
        let magnitude = bin.im.mul_add(bin.im, bin.re * bin.re).sqrt() * scale;
        *y = (scalar::ln(magnitude + 1e-5) + 6.0) / 3.0;
    }
}

/// Rows that several workers write, each its own.
struct SharedRows {
    y: Shared<f32>,
    rows: Rows,
    width: usize,
}

impl SharedRows {
    fn new(op: &str, y: &mut [f32], rows: Rows, width: usize) -> SharedRows {
        assert!(rows.end(width) <= y.len(), "{op}: {rows:?} of {width} values in y of {}", y.len());
        assert!(rows.count <= 1 || rows.stride >= width, "{op}: rows of {width} values overlap at stride {}", rows.stride);
        SharedRows { y: Shared::new(y), rows, width }
    }

    /// Row `t`.
    ///
    /// # Safety
    /// No other live slice is of the same row.
    #[allow(clippy::mut_from_ref)]
    unsafe fn row(&self, t: usize) -> &mut [f32] {
        // SAFETY: rows do not overlap (checked above), and the caller takes no row twice.
        unsafe { self.y.slice(self.rows.at + t * self.rows.stride, self.width) }
    }
}

impl Fourier {
    /// Index of the transforms of `n_fft` samples, made at first use, with buffers for `threads` threads.
    fn size(&mut self, n_fft: usize, hop: usize, threads: usize) -> usize {
        assert!(n_fft >= 2 && n_fft.is_multiple_of(2) && (1..=n_fft).contains(&hop), "n_fft {n_fft}, hop {hop}");
        if let Some(i) = self.sizes.iter().position(|s| s.n_fft == n_fft && s.hop == hop) {
            return i;
        }
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(n_fft), planner.plan_fft_inverse(n_fft));
        let hann = |u: usize| 0.5 - 0.5 * (std::f64::consts::TAU * u as f64 / n_fft as f64).cos();
        let envelope = |u: usize| (u..n_fft).step_by(hop).map(|u| hann(u).powi(2)).sum::<f64>();
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        self.buffers.resize_with(self.buffers.len().max(threads), Buffers::default);
        // All of them, as large as any size needs: a thread may take its first item late.
        let len = |of: fn(&Buffers) -> usize, more: usize| self.buffers.iter().map(of).fold(more, usize::max);
        let (time, bins) = (len(|b| b.time.len(), n_fft), len(|b| b.bins.len(), n_fft / 2 + 1));
        let scratch = len(|b| b.scratch.len(), scratch);
        for buffers in &mut self.buffers {
            buffers.time.resize(time, 0.0);
            buffers.bins.resize(bins, Complex32::default());
            buffers.scratch.resize(scratch, Complex32::default());
        }
        self.sizes.push(Size {
            n_fft,
            hop,
            window: (0..n_fft).map(|u| hann(u) as f32).collect(),
            envelope: (0..hop).map(|u| (1.0 / envelope(u)) as f32).collect(),
            forward,
            inverse,
        });
        self.sizes.len() - 1
    }

    /// [`crate::Backend::spectrum`].
    pub(super) fn spectrum(&mut self, work: &mut Workers, stft: Stft, x: &[f32], first_end: usize, y: &mut [f32], yr: Rows) {
        let (Stft { n_fft, hop, bins }, count) = (stft, yr.count);
        assert!(first_end >= n_fft, "spectrum: the first window of {n_fft} ends at {first_end}");
        assert!(bins <= n_fft / 2 + 1, "spectrum: {bins} bins of n_fft {n_fft}");
        assert!(count <= 1 + (x.len() - first_end.min(x.len())) / hop.max(1), "spectrum: {count} frames");
        let i = self.size(n_fft, n_fft, work.pool.threads());
        let (size, buffers, y) = (&self.sizes[i], Shared::new(&mut self.buffers), SharedRows::new("spectrum", y, yr, bins));
        let isa = work.isa;
        work.pool.each(count, &|worker, t| {
            // SAFETY: each thread takes only its own buffers, and each item its own row.
            let (buffers, y) = unsafe { (&mut buffers.slice(worker, 1)[0], y.row(t)) };
            let (time, spectrum, scratch) = buffers.of(n_fft);
            let end = first_end + t * hop;
            let windowed = x[end - n_fft..end].iter().zip(&size.window);
            time.iter_mut().zip(windowed).for_each(|(out, (x, w))| *out = x * w);
            let done = size.forward.process_with_scratch(time, spectrum, scratch);
            done.expect("the buffers have the plan's lengths");
            kernel::log_magnitudes(isa, &spectrum[..bins], 4.0 / n_fft as f32, y);
        });
    }

    /// [`crate::Backend::locked_spectra`].
    pub(super) fn locked_spectra(
        &mut self,
        work: &mut Workers,
        spec: LockedSpectra,
        (x, xr): (&[f32], Rows),
        state: &mut [i32],
        (y, yr): (&mut [f32], Rows),
    ) {
        let InverseStft { n_fft, hop } = spec.stft;
        let half = n_fft / 2 + 1;
        assert!(xr.end(2 * half) <= x.len(), "locked_spectra: {xr:?} of {} values in x of {}", 2 * half, x.len());
        // Every other bin changes its sign, counted from the first.
        assert!(
            spec.locked_from <= half && spec.locked_from.is_multiple_of(2),
            "locked_spectra: from bin {} of {half}",
            spec.locked_from
        );
        let i = self.size(n_fft, n_fft, work.pool.threads());
        let Fourier { sizes, buffers, locked, phases, .. } = self;
        let row = |t: usize| x[xr.at + t * xr.stride..][..2 * half].split_at(half);
        let (last, done) = state[..=half].split_at_mut(half);
        phases.resize(phases.len().max(xr.count * half), 0);
        for (t, phases) in phases.chunks_exact_mut(half).take(xr.count).enumerate() {
            locked.advance(work.isa, spec.stft, row(t).0, last);
            phases.copy_from_slice(last);
        }
        let (first, phases, isa) = (done[0] as u32, &*phases, work.isa);
        done[0] = done[0].wrapping_add(xr.count as i32);
        let scale = (1.0 / (0.375 * n_fft as f64).sqrt()) as f32;
        let (size, buffers, y) = (&sizes[i], Shared::new(buffers), SharedRows::new("locked_spectra", y, yr, 2 * half));
        work.pool.each(xr.count, &|worker, t| {
            // SAFETY: each thread takes only its own buffers, and each item its own row.
            let (buffers, y) = unsafe { (&mut buffers.slice(worker, 1)[0], y.row(t)) };
            let (time, bins, scratch) = buffers.of(n_fft);
            let sample = first.wrapping_add(t as u32).wrapping_mul(hop as u32);
            kernel::windowed_noise(isa, sample, spec.noise_seed, &size.window, time);
            let noise = size.forward.process_with_scratch(time, bins, scratch);
            noise.expect("the buffers have the plan's lengths");
            let (re, im) = y.split_at_mut(half);
            for ((re, im), bin) in re.iter_mut().zip(im.iter_mut()).zip(&*bins) {
                (*re, *im) = (bin.re, bin.im);
            }
            let ((l, u), phases, from) = (row(t), &phases[t * half..][..half], spec.locked_from);
            kernel::mix_spectra(
                isa,
                (spec.max_log, scale),
                &l[from..],
                &u[from..],
                &phases[from..],
                &mut re[from..],
                &mut im[from..],
            );
            for ((re, im), phase) in re.iter_mut().zip(im.iter_mut()).zip(&u[..from]) {
                (*im, *re) = phase.sin_cos();
            }
            kernel::scale_spectra(isa, spec.max_log, &l[..from], &mut re[..from], &mut im[..from]);
            (im[0], im[half - 1]) = (0.0, 0.0);
        });
    }

    /// [`crate::Backend::istft`].
    pub(super) fn istft(
        &mut self,
        work: &mut Workers,
        stft: InverseStft,
        (x, xr): (&[f32], Rows),
        tail: &mut [f32],
        y: &mut [f32],
        y_at: usize,
    ) {
        let InverseStft { n_fft, hop } = stft;
        let half = n_fft / 2 + 1;
        assert!(xr.end(2 * half) <= x.len(), "istft: {xr:?} of {} values in x of {}", 2 * half, x.len());
        assert!(y_at + xr.count * hop <= y.len(), "istft: {} hops of {hop} at {y_at} in y of {}", xr.count, y.len());
        let tail = &mut tail[..n_fft];
        let i = self.size(n_fft, hop, work.pool.threads());
        let Fourier { sizes, buffers, windows, .. } = self;
        windows.grow(xr.count * n_fft);
        let (size, buffers, scale) = (&sizes[i], Shared::new(buffers), 1.0 / n_fft as f32);
        let rows = SharedRows::new("istft", windows, Rows::packed(xr.count, n_fft), n_fft);
        work.pool.each(xr.count, &|worker, t| {
            // SAFETY: each thread takes only its own buffers, and each item its own row.
            let (buffers, window) = unsafe { (&mut buffers.slice(worker, 1)[0], rows.row(t)) };
            let (_, bins, scratch) = buffers.of(n_fft);
            let (re, im) = x[xr.at + t * xr.stride..][..2 * half].split_at(half);
            for (bin, (re, im)) in bins.iter_mut().zip(re.iter().zip(im)) {
                *bin = Complex32::new(*re, *im);
            }
            let done = size.inverse.process_with_scratch(bins, window, scratch);
            done.expect("the buffers have the plan's lengths, and the edges are real");
            window.iter_mut().zip(&size.window).for_each(|(x, w)| *x = *x * scale * w);
        });
        for (t, window) in windows.chunks_exact(n_fft).take(xr.count).enumerate() {
            tail.iter_mut().zip(window).for_each(|(tail, x)| *tail += x);
            let out = &mut y[y_at + t * hop..][..hop];
            out.iter_mut().zip(tail.iter().zip(&size.envelope)).for_each(|(y, (x, e))| *y = x * e);
            tail.copy_within(hop.., 0);
            tail[n_fft - hop..].fill(0.0);
        }
    }
}
