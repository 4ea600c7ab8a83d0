//! Resamples a stream between the device's rate and 32 kHz: a windowed sinc of fixed delay whose ratio can be
//! steered while it runs. All channels of a slot go through one resampler, so none can drift against another.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType, WindowFunction};
use sideman_engine::{Error, Result};

/// Taps of the sinc at the lower of both rates: 2 ms of delay at 32 kHz, flat to 13.5 kHz.
const TAPS: usize = 128;
/// Blocks a second: samples of a block that is not full wait for at most 5 ms.
const BLOCKS: u32 = 200;
/// How far the ratio may be steered: 0.5 %, a twelfth of a semitone.
pub const STEER_MAX: f64 = 0.005;

/// Resamples a stream of interleaved frames. The filter's delay is removed: frame 0 comes out as frame 0.
pub struct StreamResampler {
    /// None where both rates are the same and stay so: frames pass unchanged.
    sinc: Option<Async<f32>>,
    channels: usize,
    /// Frames of one block of input.
    block: usize,
    /// Input of the block that is not full yet.
    pending: Vec<f32>,
    /// Output of one block.
    resampled: Vec<f32>,
    /// Frames of the filter's delay that are still to be dropped.
    skip: usize,
    /// Longest delay of a frame, in seconds.
    delay: f64,
}

impl StreamResampler {
    /// From `from` Hz to `to` Hz. A `steered` one resamples even where both rates are the same.
    ///
    /// # Errors
    /// A rate is not between 4000 and 768000 Hz, or there are no channels.
    pub fn new(from: u32, to: u32, channels: usize, steered: bool) -> Result<Self> {
        let error = |what: String| Error::Input(format!("can't resample from {from} Hz to {to} Hz: {what}"));
        if !(4000..=768_000).contains(&from) || !(4000..=768_000).contains(&to) || channels == 0 {
            return Err(error("rates must be between 4000 and 768000 Hz".into()));
        }
        let mut new =
            StreamResampler { sinc: None, channels, block: 0, pending: Vec::new(), resampled: Vec::new(), skip: 0, delay: 0.0 };
        if from == to && !steered {
            return Ok(new);
        }
        let parameters =
            SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2).interpolation(SincInterpolationType::Cubic);
        new.block = (from / BLOCKS) as usize;
        let ratio = f64::from(to) / f64::from(from);
        let sinc = Async::new_sinc(ratio, 1.0 + 2.0 * STEER_MAX, &parameters, new.block, channels, FixedAsync::Input)
            .map_err(|e| error(e.to_string()))?;
        // rubato advances before it computes a frame: its first output frame lies half a sinc less one step
        // before the first input frame. The rounding error is less than 20 µs.
        new.skip = (TAPS as f64 / 2.0 * ratio - 1.0).round() as usize;
        new.delay = new.skip as f64 / f64::from(to) + 1.0 / f64::from(BLOCKS);
        new.pending = Vec::with_capacity(new.block * channels);
        new.resampled = vec![0.0; sinc.output_frames_max() * channels];
        new.sinc = Some(sinc);
        Ok(new)
    }

    /// Longest delay of a frame, in seconds.
    pub fn delay(&self) -> f64 {
        self.delay
    }

    /// Reads the stream faster (`speed` > 0: fewer frames come out) or slower than the rates say, by up to
    /// [`STEER_MAX`].
    pub fn steer(&mut self, speed: f64) {
        if let Some(sinc) = self.sinc.as_mut().and_then(|s| s.as_adjustable()) {
            // Never out of bounds, as it is clamped. The change is ramped, so it can't be heard.
            let _ = sinc.set_resample_ratio_relative(1.0 / (1.0 + speed.clamp(-STEER_MAX, STEER_MAX)), true);
        }
    }

    /// Takes interleaved frames and appends those that are ready to `out`. Allocates only where `out` has no
    /// room.
    pub fn push(&mut self, mut frames: &[f32], out: &mut Vec<f32>) {
        let Some(sinc) = &mut self.sinc else {
            out.extend_from_slice(frames);
            return;
        };
        let full = self.block * self.channels;
        while !frames.is_empty() {
            let n = frames.len().min(full - self.pending.len());
            self.pending.extend_from_slice(&frames[..n]);
            frames = &frames[n..];
            if self.pending.len() < full {
                return;
            }
            let room = self.resampled.len() / self.channels;
            let input = InterleavedSlice::new(&self.pending, self.channels, self.block).expect("a block");
            let mut output = InterleavedSlice::new_mut(&mut self.resampled, self.channels, room).expect("room for a block");
            let (_, frames_out) = sinc.process_into_buffer(&input, &mut output, None).expect("buffers of the required sizes");
            let drop = self.skip.min(frames_out);
            self.skip -= drop;
            out.extend_from_slice(&self.resampled[drop * self.channels..frames_out * self.channels]);
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, n: usize) -> Vec<f32> {
        (0..n).map(|i| (std::f64::consts::TAU * 440.0 * i as f64 / f64::from(rate)).sin() as f32).collect()
    }

    #[test]
    fn a_tone_keeps_its_phase_whatever_the_pieces() {
        for (from, to) in [(48_000, 32_000), (44_100, 32_000), (32_000, 48_000), (32_000, 44_100), (32_000, 96_000)] {
            let mut whole = Vec::new();
            StreamResampler::new(from, to, 1, false).unwrap().push(&sine(from, from as usize / 2), &mut whole);
            let want = sine(to, whole.len());
            let worst = (500..whole.len()).map(|n| (whole[n] - want[n]).abs()).fold(0.0, f32::max);
            // Half a sample of delay would be an error of 0.04 at 32 kHz.
            assert!(worst < 0.05, "{from} to {to}: off by {worst}");
            let mut pieces = Vec::new();
            let mut resampler = StreamResampler::new(from, to, 1, false).unwrap();
            sine(from, from as usize / 2).chunks(97).for_each(|piece| resampler.push(piece, &mut pieces));
            assert_eq!(whole, pieces, "{from} to {to}");
        }
    }

    #[test]
    fn channels_stay_aligned_and_steering_changes_the_length() {
        let (mut straight, mut steered) = (Vec::new(), Vec::new());
        let both: Vec<f32> = sine(32_000, 32_000).iter().flat_map(|x| [*x, -x]).collect();
        StreamResampler::new(32_000, 32_000, 2, true).unwrap().push(&both, &mut straight);
        assert!(straight.chunks(2).all(|f| f[0] == -f[1]));
        let mut resampler = StreamResampler::new(32_000, 32_000, 2, true).unwrap();
        resampler.steer(0.004);
        resampler.push(&both, &mut steered);
        let share = steered.len() as f64 / straight.len() as f64;
        assert!((share - 1.0 / 1.004).abs() < 2e-4, "{share}");
    }

    #[test]
    fn equal_rates_change_nothing_and_impossible_ones_are_errors() {
        let mut out = Vec::new();
        StreamResampler::new(32_000, 32_000, 1, false).unwrap().push(&[0.1, 0.2], &mut out);
        assert_eq!(out, [0.1, 0.2]);
        assert!(StreamResampler::new(0, 32_000, 1, false).is_err());
    }
}
