//! The way in: what the musician plays, from the device's callback to the engine, at 32 kHz and in song time.
//!
//! *Threading.* [`InputWriter`] belongs to the callback, [`InputReader`] to the engine's thread. Blocks carry the song time of their first sample (in
//! frames of the device's rate), so that what the ring had no room for, and what the device lost, becomes silence of the same length:
//! the song's time goes on. The output device is the master clock: where the input is another device, its ratio is steered so that what
//! was heard stays where it was against what is played.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use sideman_engine::Result;
use sideman_engine::audio::RATE;

use crate::resample::{STEER_MAX, StreamResampler};

/// Seconds of playing that may wait: as long as an engine may stall and still hear everything.
const AHEAD: usize = 20;
/// Blocks that may wait: AHEAD at 32 frames a block and 48 kHz.
const BLOCKS: usize = 30_000;
/// Longest gap that is filled with silence at once, in seconds; a longer one is a device that was away, and its clock starts anew.
const GAP_MAX: u64 = 600;

/// Counts of the callback.
#[derive(Debug, Default)]
pub struct Counts {
    /// Frames that found no room.
    pub overrun: AtomicU64,
    /// Frames that the callback has seen, and those that the device lost between them.
    pub frames: AtomicU64,
}

/// An input at `rate` whose first sample is song frame `first` (32 kHz). `steered`: it has a clock of its own.
///
/// # Errors
/// A rate that can't be.
pub fn ring(rate: u32, first: i64, steered: bool) -> Result<(InputWriter, InputReader)> {
    let counts = Arc::new(Counts::default());
    let (samples, waiting) = HeapRb::new(AHEAD * rate as usize).split();
    let (blocks, stamps) = HeapRb::new(BLOCKS).split();
    let base = first.max(0) as u64 * u64::from(rate) / u64::from(RATE);
    let hearing = InputReader {
        samples: waiting,
        stamps,
        stretch: StreamResampler::new(rate, RATE, 1, steered)?,
        rate,
        next: base,
        missing: 0,
        left: 0,
        piece: vec![0.0; 1024],
        heard: Vec::with_capacity(4 * RATE as usize),
        pi: steered.then(Pi::default),
        counts: counts.clone(),
    };
    Ok((InputWriter { samples, blocks, counts }, hearing))
}

/// The callback's end.
pub struct InputWriter {
    samples: HeapProd<f32>,
    blocks: HeapProd<(u64, u32)>,
    counts: Arc<Counts>,
}

impl InputWriter {
    /// Takes a block whose first sample was played at song time `at` (frames of the device). A block that finds no room is lost as a whole
    /// and counted; it will be silence.
    pub fn hear(&mut self, at: u64, samples: impl ExactSizeIterator<Item = f32>) {
        let n = samples.len();
        self.counts.frames.fetch_add(n as u64, Ordering::Relaxed);
        if self.samples.vacant_len() < n || self.blocks.is_full() {
            self.counts.overrun.fetch_add(n as u64, Ordering::Relaxed);
            return;
        }
        self.samples.push_iter(samples);
        // Room for it was there, and nobody else puts blocks in.
        let _ = self.blocks.try_push((at, n as u32));
    }

    /// Frames that the device never gave; the song time of the next block leaves room for them.
    pub fn lost(&self, frames: u64) {
        self.counts.frames.fetch_add(frames, Ordering::Relaxed);
    }

    /// Counts.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

/// The engine's end.
pub struct InputReader {
    samples: HeapCons<f32>,
    stamps: HeapCons<(u64, u32)>,
    stretch: StreamResampler,
    rate: u32,
    /// Song time of the next sample that goes into the resampler.
    next: u64,
    /// Frames that went missing without anybody's telling: blocks that come stand so much later than they say.
    missing: u64,
    /// Samples left of the block that was begun.
    left: usize,
    piece: Vec<f32>,
    /// At 32 kHz, waiting for a whole hop.
    heard: Vec<f32>,
    pi: Option<Pi>,
    counts: Arc<Counts>,
}

impl InputReader {
    /// Samples of 32 kHz that wait, once all that has come in is taken; stops a little after `enough`.
    pub fn listen(&mut self, enough: usize) -> usize {
        while self.heard.len() < enough {
            if self.left == 0 {
                let Some((at, n)) = self.stamps.try_pop() else { break };
                let at = at + self.missing;
                self.left = n as usize;
                let gap = at.saturating_sub(self.next).min(GAP_MAX * u64::from(self.rate));
                self.silence(gap as usize);
                // A block from before what was heard: the part that overlaps is dropped.
                let old = (self.next.saturating_sub(at) as usize).min(self.left);
                self.samples.skip(old);
                self.left -= old;
            }
            let n = self.left.min(self.piece.len());
            let n = self.samples.pop_slice(&mut self.piece[..n]);
            self.stretch.push(&self.piece[..n], &mut self.heard);
            self.left -= n;
            self.next += n as u64;
            if n == 0 && self.left > 0 {
                break;
            }
        }
        self.heard.len()
    }

    /// Puts silence where nothing has come in: frames of the device.
    pub fn silence(&mut self, mut frames: usize) {
        self.next += frames as u64;
        self.piece.fill(0.0);
        while frames > 0 {
            let n = frames.min(self.piece.len());
            self.stretch.push(&self.piece[..n], &mut self.heard);
            frames -= n;
        }
    }

    /// Takes the first `n` samples that wait.
    pub fn take(&mut self, n: usize, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.heard.drain(..n.min(self.heard.len())));
    }

    /// Steers the ratio, once a hop: `ahead` is the time of the newest sample that has come in minus the output's, in seconds, as both
    /// callbacks count it. What is kept constant is `ahead` after resampling; jitter of the callbacks is averaged away.
    pub fn steer(&mut self, ahead: f64, dt: f64) {
        if let Some(pi) = &mut self.pi {
            let by = pi.step(ahead, dt);
            self.stretch.steer(by);
        }
    }

    /// So many seconds went missing on the way in: what comes from now on stands so much later, with silence before it, and is held there.
    pub fn missed(&mut self, seconds: f64) {
        self.missing += (seconds.clamp(0.0, 10.0) * f64::from(self.rate)) as u64;
        self.pi = self.pi.take().map(|_| Pi::default());
    }

    /// Seconds that resampling takes at most.
    pub fn delay(&self) -> f64 {
        self.stretch.delay()
    }

    /// Song time (device frames) up to which samples were taken, and frames a second.
    pub fn next(&self) -> (u64, u32) {
        (self.next, self.rate)
    }

    /// Counts of the callback.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

/// A proportional and integral controller of the input's ratio.
#[derive(Debug, Default)]
struct Pi {
    /// Average of the first seconds: what is held.
    target: f64,
    seconds: f64,
    smooth: f64,
    sum: f64,
    /// What the steering has moved so far, in seconds.
    moved: f64,
    by: f64,
}

impl Pi {
    /// Seconds that the target is averaged over.
    const SETTLE: f64 = 2.0;

    /// One step of `dt` seconds; gives the relative speed to play the input at.
    fn step(&mut self, ahead: f64, dt: f64) -> f64 {
        self.seconds += dt;
        self.moved += self.by * dt;
        let now = ahead - self.moved;
        let share = (dt / self.seconds.min(Self::SETTLE)).min(1.0);
        self.smooth += (now - self.smooth) * share;
        if self.seconds < Self::SETTLE {
            self.target = self.smooth;
            return 0.0;
        }
        let error = self.smooth - self.target;
        self.sum = (self.sum + error * dt).clamp(-1.0, 1.0);
        self.by = (0.1 * error + 0.0025 * self.sum).clamp(-STEER_MAX, STEER_MAX);
        self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(from: usize, n: usize) -> Vec<f32> {
        (from..from + n).map(|i| i as f32).collect()
    }

    #[test]
    fn blocks_come_out_in_order_and_lost_ones_are_silence() {
        let (mut input, mut hearing) = ring(32_000, 0, false).unwrap();
        let mut out = Vec::new();
        input.hear(0, numbers(0, 100).into_iter());
        input.hear(150, numbers(150, 100).into_iter());
        input.hear(200, numbers(200, 100).into_iter());
        assert_eq!(hearing.listen(1 << 20), 300);
        hearing.take(1000, &mut out);
        let want: Vec<f32> = (0..300).map(|n| if (100..150).contains(&n) { 0.0 } else { n as f32 }).collect();
        assert_eq!(out, want);
    }

    #[test]
    fn what_went_missing_is_silence_and_the_rest_comes_later() {
        let (mut input, mut hearing) = ring(32_000, 0, true).unwrap();
        let mut out = Vec::new();
        let tone = |n: usize| std::iter::repeat_n(0.5f32, n);
        for at in (0..4000).step_by(1000) {
            input.hear(at, tone(1000));
        }
        let before = hearing.listen(usize::MAX);
        hearing.missed(0.1);
        for at in (4000..8000).step_by(1000) {
            input.hear(at, tone(1000));
        }
        assert_eq!(hearing.listen(usize::MAX), before + 4000 + 3200);
        assert_eq!(hearing.next().0, 8000 + 3200);
        hearing.take(usize::MAX, &mut out);
        let silent = out[1000..].iter().filter(|x| x.abs() < 1e-3).count();
        assert!((3100..3200).contains(&silent), "{silent}");
    }

    #[test]
    fn an_overrun_keeps_the_time() {
        let (mut input, mut hearing) = ring(32_000, 0, false).unwrap();
        let total = (AHEAD + 2) * 32_000;
        for at in (0..total).step_by(1000) {
            input.hear(at as u64, numbers(at, 1000).into_iter());
        }
        assert_eq!(input.counts().overrun.load(Ordering::Relaxed), 64_000);
        hearing.listen(usize::MAX);
        input.hear(total as u64, numbers(total, 1000).into_iter());
        assert_eq!(hearing.listen(usize::MAX), total + 1000);
        let mut out = Vec::new();
        hearing.take(usize::MAX, &mut out);
        for (n, x) in out.iter().enumerate() {
            let lost = (AHEAD * 32_000..total).contains(&n);
            assert_eq!(*x, if lost { 0.0 } else { n as f32 });
        }
    }

    #[test]
    fn two_clocks_stay_together() {
        // An input that runs 300 millionths too fast, seen through callbacks of 256 and 480 frames, for ten minutes.
        let (fast, dt) = (1.0003, 0.0813);
        let mut pi = Pi::default();
        let (mut used, mut worst, mut mean) = (0.0, 0.0f64, 0.0);
        let mut by = 0.0;
        for n in 0..7500 {
            let t = f64::from(n) * dt;
            let came = (t * fast * 48_000.0 / 256.0).floor() * 256.0 / 48_000.0;
            let played = (t * 48_000.0 / 480.0).floor() * 480.0 / 48_000.0;
            used += by * dt;
            by = pi.step(came - played, dt);
            if n >= 5000 {
                worst = worst.max((t * fast - t - used).abs());
                mean += by / 2500.0;
            }
        }
        assert!((mean - 0.0003).abs() < 3e-5, "{mean}");
        assert!(worst < 0.008, "{worst} s apart");
    }
}
