//! From the device's rate to 32 kHz and back, live: a windowed sinc of fixed delay whose ratio can be steered while it runs. All channels
//! of a slot go through one resampler, so that no two of them can drift apart.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType, WindowFunction};
use sideman_engine::{Error, Result};

/// Taps of the sinc at the lower of both rates: 2 ms of delay at 32 kHz, flat to 13.5 kHz.
const TAPS: usize = 128;
/// Blocks a second: what is not a whole block waits for at most 5 ms.
const BLOCKS: u32 = 200;
/// How far the ratio may be steered away from its own: 0.5 %, a twelfth of a semitone.
pub const STEER_MAX: f64 = 0.005;

/// A stream of interleaved frames on its way from one rate to another. Frame 0 comes out as frame 0: the delay is taken off.
pub struct StreamResampler {
    /// None where both rates are one and the same for ever: frames pass untouched.
    sinc: Option<Async<f32>>,
    channels: usize,
    /// Frames of one block of input.
    block: usize,
    waiting: Vec<f32>,
    made: Vec<f32>,
    /// Frames of the delay that are still to be dropped.
    skip: usize,
    /// Longest wait of a frame, in seconds.
    delay: f64,
}

impl StreamResampler {
    /// From `from` Hz to `to` Hz. One that is to be `steered` resamples even where both rates are the same.
    ///
    /// # Errors
    /// A rate that can't be.
    pub fn new(from: u32, to: u32, channels: usize, steered: bool) -> Result<Self> {
        let wrong = |what: String| Error::Input(format!("can't resample from {from} Hz to {to} Hz: {what}"));
        if !(4000..=768_000).contains(&from) || !(4000..=768_000).contains(&to) || channels == 0 {
            return Err(wrong("rates are 4000 to 768000 Hz".into()));
        }
        let mut new =
            StreamResampler { sinc: None, channels, block: 0, waiting: Vec::new(), made: Vec::new(), skip: 0, delay: 0.0 };
        if from == to && !steered {
            return Ok(new);
        }
        let parameters =
            SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2).interpolation(SincInterpolationType::Cubic);
        new.block = (from / BLOCKS) as usize;
        let ratio = f64::from(to) / f64::from(from);
        let sinc = Async::new_sinc(ratio, 1.0 + 2.0 * STEER_MAX, &parameters, new.block, channels, FixedAsync::Input)
            .map_err(|e| wrong(e.to_string()))?;
        // rubato moves on before it computes a frame: its first one is half a sinc less one step before the first of the input. What is
        // left after rounding is less than 20 µs.
        new.skip = (TAPS as f64 / 2.0 * ratio - 1.0).round() as usize;
        new.delay = new.skip as f64 / f64::from(to) + 1.0 / f64::from(BLOCKS);
        new.waiting = Vec::with_capacity(new.block * channels);
        new.made = vec![0.0; sinc.output_frames_max() * channels];
        new.sinc = Some(sinc);
        Ok(new)
    }

    /// Seconds that a frame waits at most before it comes out.
    pub fn delay(&self) -> f64 {
        self.delay
    }

    /// Plays the stream faster (`by` > 0: fewer frames come out) or slower than the rates say, by up to [`STEER_MAX`].
    pub fn steer(&mut self, by: f64) {
        if let Some(sinc) = self.sinc.as_mut().and_then(|s| s.as_adjustable()) {
            // In bounds by construction; ramped, so that it can't be heard.
            let _ = sinc.set_resample_ratio_relative(1.0 / (1.0 + by.clamp(-STEER_MAX, STEER_MAX)), true);
        }
    }

    /// Takes interleaved frames, appends to `out` what is ready. Allocates only where `out` has no room.
    pub fn push(&mut self, mut frames: &[f32], out: &mut Vec<f32>) {
        let Some(sinc) = &mut self.sinc else {
            out.extend_from_slice(frames);
            return;
        };
        let full = self.block * self.channels;
        while !frames.is_empty() {
            let n = frames.len().min(full - self.waiting.len());
            self.waiting.extend_from_slice(&frames[..n]);
            frames = &frames[n..];
            if self.waiting.len() < full {
                return;
            }
            let room = self.made.len() / self.channels;
            let input = InterleavedSlice::new(&self.waiting, self.channels, self.block).expect("a block");
            let mut output = InterleavedSlice::new_mut(&mut self.made, self.channels, room).expect("room for a block");
            let (_, made) = sinc.process_into_buffer(&input, &mut output, None).expect("buffers of the sizes it asked for");
            let drop = self.skip.min(made);
            self.skip -= drop;
            out.extend_from_slice(&self.made[drop * self.channels..made * self.channels]);
            self.waiting.clear();
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
    fn a_tone_stays_where_it_was_and_pieces_do_not_matter() {
        for (from, to) in [(48_000, 32_000), (44_100, 32_000), (32_000, 48_000), (32_000, 44_100), (32_000, 96_000)] {
            let mut whole = Vec::new();
            StreamResampler::new(from, to, 1, false).unwrap().push(&sine(from, from as usize / 2), &mut whole);
            let want = sine(to, whole.len());
            let worst = (500..whole.len()).map(|n| (whole[n] - want[n]).abs()).fold(0.0, f32::max);
            // Half a sample beside its place would be off by 0.04 at 32 kHz.
            assert!(worst < 0.05, "{from} to {to}: off by {worst}");
            let mut pieces = Vec::new();
            let mut stretch = StreamResampler::new(from, to, 1, false).unwrap();
            sine(from, from as usize / 2).chunks(97).for_each(|piece| stretch.push(piece, &mut pieces));
            assert_eq!(whole, pieces, "{from} to {to}");
        }
    }

    #[test]
    fn channels_stay_together_and_steering_changes_the_length() {
        let (mut straight, mut steered) = (Vec::new(), Vec::new());
        let both: Vec<f32> = sine(32_000, 32_000).iter().flat_map(|x| [*x, -x]).collect();
        StreamResampler::new(32_000, 32_000, 2, true).unwrap().push(&both, &mut straight);
        assert!(straight.chunks(2).all(|f| f[0] == -f[1]));
        let mut stretch = StreamResampler::new(32_000, 32_000, 2, true).unwrap();
        stretch.steer(0.004);
        stretch.push(&both, &mut steered);
        let share = steered.len() as f64 / straight.len() as f64;
        assert!((share - 1.0 / 1.004).abs() < 2e-4, "{share}");
    }

    #[test]
    fn equal_rates_touch_nothing_and_bad_ones_are_told() {
        let mut out = Vec::new();
        StreamResampler::new(32_000, 32_000, 1, false).unwrap().push(&[0.1, 0.2], &mut out);
        assert_eq!(out, [0.1, 0.2]);
        assert!(StreamResampler::new(0, 32_000, 1, false).is_err());
    }
}
