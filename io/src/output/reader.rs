//! The callback's end of the output.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ringbuf::HeapCons;
use ringbuf::traits::{Consumer, Observer};
use sideman_engine::touched::filled;

use super::OutputState;

/// Most frames of one call of [`OutputReader::play`]; a device with longer blocks calls more than once.
pub const BLOCK_MAX: usize = 8192;
/// Seconds of played slots that are kept: a bar of 12/8 at 40 BPM is 9 s.
pub(super) const KEPT: usize = 12;
/// Milliseconds over which a jump is faded.
const FADE_MS: usize = 5;
/// Late frames that one call reads in addition to its own: after a stall of 5 s the reader catches up in a few
/// blocks, each of bounded work.
const CATCH_UP: usize = 4 * BLOCK_MAX;

/// Takes slots out of the ring and repeats the last bar where they are missing.
pub struct OutputReader {
    ring: HeapCons<f32>,
    channels: usize,
    /// The newest frames, by song time modulo their number; none are from before `start`.
    kept: Vec<f32>,
    start: u64,
    /// Song time after the newest frame taken out of the ring.
    end: u64,
    /// Song time of the next frame to play.
    at: u64,
    block: Vec<f32>,
    /// The frame that was played last, and its difference to the next one where that is a jump.
    last: Vec<f32>,
    step: Vec<f32>,
    /// Frames of a fade, and those that are left of the current one.
    fade: usize,
    fading: usize,
    /// Song time of the frame that would follow without a jump; none after silence.
    next: Option<u64>,
    begun: bool,
    state: Arc<OutputState>,
}

impl OutputReader {
    pub(super) fn new(ring: HeapCons<f32>, rate: u32, channels: usize, start: u64, state: Arc<OutputState>) -> OutputReader {
        OutputReader {
            ring,
            channels,
            kept: filled(KEPT * rate as usize * channels, 0.0),
            start,
            end: start,
            at: start,
            block: filled(BLOCK_MAX * channels, 0.0),
            last: vec![0.0; channels],
            step: vec![0.0; channels],
            fade: (rate as usize * FADE_MS / 1000).max(1),
            fading: 0,
            next: None,
            begun: false,
            state,
        }
    }

    /// Moves to song time `at`, in frames of the device: at the start, and where the device has lost time.
    pub fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// Song time of the next frame, in frames of the device.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Frames that wait to be played.
    pub fn ready(&self) -> u64 {
        (self.end + (self.ring.occupied_len() / self.channels) as u64).saturating_sub(self.at)
    }

    /// Channels of a slot.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The next `frames` slots (at most [`BLOCK_MAX`]), interleaved.
    pub fn play(&mut self, frames: usize) -> &[f32] {
        let n = frames.min(BLOCK_MAX);
        if !self.begun {
            // Nothing was played before: the song's first frame needs no fade.
            (self.begun, self.next) = (true, Some(self.at));
        }
        self.read_ring(n);
        let c = self.channels;
        let len = (self.kept.len() / c) as u64;
        let bar = f64::from_bits(self.state.bar.load(Ordering::Relaxed));
        let mut missing = 0;
        for i in 0..n {
            let want = self.at + i as u64;
            let from = if want < self.end {
                (want >= self.start && want + len >= self.end).then_some(want)
            } else {
                missing += 1;
                bar_before(want, self.end, bar).filter(|&from| from >= self.start && from + len >= self.end)
            };
            let source = from.map(|from| (from % len) as usize * c);
            if from != self.next {
                for k in 0..c {
                    self.step[k] = self.last[k] - source.map_or(0.0, |s| self.kept[s + k]);
                }
                self.fading = self.fade;
            }
            self.next = from.map(|from| from + 1);
            let out = &mut self.block[i * c..(i + 1) * c];
            match source {
                Some(s) => out.copy_from_slice(&self.kept[s..s + c]),
                None => out.fill(0.0),
            }
            if self.fading > 0 {
                let share = self.fading as f32 / self.fade as f32;
                out.iter_mut().zip(&self.step).for_each(|(x, step)| *x += step * share);
                self.fading -= 1;
            }
            self.last.copy_from_slice(out);
        }
        self.at += n as u64;
        // Before the first slot nothing is missing.
        if self.end > self.start {
            self.state.underrun.fetch_add(missing, Ordering::Relaxed);
            self.state.repeating.store(missing > 0, Ordering::Relaxed);
        }
        self.state.at.store(self.at, Ordering::Relaxed);
        self.state.running.store(true, Ordering::Relaxed);
        &self.block[..n * c]
    }

    /// Takes out of the ring the slots of the next `n` frames, and those that came too late.
    fn read_ring(&mut self, n: usize) {
        let c = self.channels;
        let len = self.kept.len() / c;
        let wanted = usize::try_from((self.at + n as u64).saturating_sub(self.end)).unwrap_or(usize::MAX).min(CATCH_UP + n);
        let mut frames = (self.ring.occupied_len() / c).min(wanted);
        let late = self.at.saturating_sub(self.end).min(frames as u64);
        self.state.late.fetch_add(late, Ordering::Relaxed);
        while frames > 0 {
            let place = (self.end % len as u64) as usize;
            let run = frames.min(len - place);
            self.ring.pop_slice(&mut self.kept[place * c..(place + run) * c]);
            self.end += run as u64;
            frames -= run;
        }
    }
}

/// The frame of the last bar before `end` that is in phase with `want`.
fn bar_before(want: u64, end: u64, bar: f64) -> Option<u64> {
    if !bar.is_finite() || bar < 1.0 {
        return None;
    }
    let bars = ((want - end + 1) as f64 / bar).ceil();
    want.checked_sub((bars * bar).round() as u64).map(|from| from.min(end.saturating_sub(1)))
}
