//! The input: what the musician plays, from the device's callback to the engine, at 32 kHz and in song time.
//!
//! *Threading.* [`InputWriter`] belongs to the callback, [`InputReader`] to the engine's thread. Each block
//! carries the song time of its first sample, in frames of the device, so blocks for which the ring had no
//! room, and frames that the device lost, become silence of the same length. The output device is the master
//! clock: where the input is another device, its ratio is steered so that input and output stay aligned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringbuf::traits::{Consumer, Observer, Producer};
use ringbuf::{HeapCons, HeapProd};
use sideman_engine::Result;
use sideman_engine::audio::RATE;
use sideman_engine::touched::empty;

use crate::drift::DriftController;
use crate::resample::StreamResampler;
use crate::touched;

/// Seconds of input that the ring holds: the engine may stall for this long and still hear everything.
const CAPACITY: usize = 20;
/// Blocks that the ring holds: CAPACITY at 32 frames a block and 48 kHz.
const BLOCKS: usize = 30_000;
/// Longest gap that is filled with silence, in seconds; after a longer one the device was gone, and its clock
/// restarts.
const GAP_MAX: u64 = 600;
/// Longest gap that is inserted at once, in seconds.
const INSERTED_MAX: f64 = 10.0;

/// Counts of the callback.
#[derive(Debug, Default)]
pub struct Counts {
    /// Frames for which there was no room.
    pub overrun: AtomicU64,
    /// Frames that came, and those that the device lost between them.
    pub frames: AtomicU64,
}

/// A block in the ring: song time of its first frame, and its length.
type Block = (u64, u32);

/// An input ring at `rate` whose first sample is song sample `first` (32 kHz). `steered`: the input has a
/// clock of its own.
///
/// # Errors
/// The rate can't be resampled.
pub fn ring(rate: u32, first: i64, steered: bool) -> Result<(InputWriter, InputReader)> {
    let counts = Arc::new(Counts::default());
    let (samples_in, samples) = touched::ring(CAPACITY * rate as usize, 0.0);
    let (blocks_in, blocks) = touched::ring(BLOCKS, (0, 0));
    let reader = InputReader {
        samples,
        blocks,
        resampler: StreamResampler::new(rate, RATE, 1, steered)?,
        rate,
        position: first.max(0) as u64 * u64::from(rate) / u64::from(RATE),
        inserted: 0,
        left: 0,
        piece: vec![0.0; 1024],
        resampled: empty(4 * RATE as usize),
        drift: steered.then(DriftController::default),
        counts: counts.clone(),
    };
    Ok((InputWriter { samples: samples_in, blocks: blocks_in, counts }, reader))
}

/// The callback's end.
pub struct InputWriter {
    samples: HeapProd<f32>,
    blocks: HeapProd<Block>,
    counts: Arc<Counts>,
}

impl InputWriter {
    /// Adds a block whose first sample was played at song time `at`, in frames of the device. A block for
    /// which there is no room is dropped as a whole and counted; the reader inserts silence for it.
    pub fn write(&mut self, at: u64, samples: impl ExactSizeIterator<Item = f32>) {
        let n = samples.len();
        self.counts.frames.fetch_add(n as u64, Ordering::Relaxed);
        if self.samples.vacant_len() < n || self.blocks.is_full() {
            self.counts.overrun.fetch_add(n as u64, Ordering::Relaxed);
            return;
        }
        self.samples.push_iter(samples);
        // There is room, and nobody else adds blocks.
        let _ = self.blocks.try_push((at, n as u32));
    }

    /// Counts frames that the device lost. The song time of the next block must leave room for them.
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
    blocks: HeapCons<Block>,
    resampler: StreamResampler,
    rate: u32,
    /// Song time of the next sample that goes into the resampler, in frames of the device.
    position: u64,
    /// Frames of silence that were inserted by [`InputReader::insert_gap`]: all later blocks are moved back
    /// by them.
    inserted: u64,
    /// Samples left of the block that is being read.
    left: usize,
    piece: Vec<f32>,
    /// Samples at 32 kHz that wait for a whole hop.
    resampled: Vec<f32>,
    drift: Option<DriftController>,
    counts: Arc<Counts>,
}

impl InputReader {
    /// Reads what has come, until a little more than `enough` samples wait; returns how many do, at 32 kHz.
    pub fn fill(&mut self, enough: usize) -> usize {
        while self.resampled.len() < enough {
            if self.left == 0 {
                let Some((at, n)) = self.blocks.try_pop() else { break };
                let at = at + self.inserted;
                self.left = n as usize;
                let gap = at.saturating_sub(self.position).min(GAP_MAX * u64::from(self.rate));
                self.insert_silence(gap as usize);
                // Of a block from before the position the part that overlaps is dropped.
                let overlap = (self.position.saturating_sub(at) as usize).min(self.left);
                self.samples.skip(overlap);
                self.left -= overlap;
            }
            let n = self.left.min(self.piece.len());
            let n = self.samples.pop_slice(&mut self.piece[..n]);
            self.resampler.push(&self.piece[..n], &mut self.resampled);
            self.left -= n;
            self.position += n as u64;
            if n == 0 && self.left > 0 {
                break;
            }
        }
        self.resampled.len()
    }

    /// Inserts silence where nothing has come: frames of the device.
    pub fn insert_silence(&mut self, mut frames: usize) {
        self.position += frames as u64;
        self.piece.fill(0.0);
        while frames > 0 {
            let n = frames.min(self.piece.len());
            self.resampler.push(&self.piece[..n], &mut self.resampled);
            frames -= n;
        }
    }

    /// Inserts silence for seconds that were lost without a report: all blocks that come from now on are
    /// later by that time.
    pub fn insert_gap(&mut self, seconds: f64) {
        self.inserted += (seconds.clamp(0.0, INSERTED_MAX) * f64::from(self.rate)) as u64;
        self.drift = self.drift.take().map(|_| DriftController::default());
    }

    /// Takes the first `n` samples that wait.
    pub fn take(&mut self, n: usize, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.resampled.drain(..n.min(self.resampled.len())));
    }

    /// Steers the ratio, once a hop. `ahead`: time of the newest input sample minus the output's, in seconds,
    /// as both callbacks count it; `dt`: seconds since the last call. The ratio is set so that `ahead` stays
    /// constant after resampling.
    pub fn steer(&mut self, ahead: f64, dt: f64) {
        if let Some(drift) = &mut self.drift {
            let speed = drift.step(ahead, dt);
            self.resampler.steer(speed);
        }
    }

    /// Longest delay of the resampler in seconds.
    pub fn delay(&self) -> f64 {
        self.resampler.delay()
    }

    /// Song time up to which samples were read, in frames of the device.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Frames a second of the device.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Counts of the callback.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(from: usize, n: usize) -> Vec<f32> {
        (from..from + n).map(|i| i as f32).collect()
    }

    #[test]
    fn lost_blocks_become_silence_and_overlaps_are_dropped() {
        let (mut input, mut reader) = ring(32_000, 0, false).unwrap();
        let mut out = Vec::new();
        input.write(0, numbers(0, 100).into_iter());
        input.write(150, numbers(150, 100).into_iter());
        input.write(200, numbers(200, 100).into_iter());
        assert_eq!(reader.fill(1 << 20), 300);
        reader.take(1000, &mut out);
        let want: Vec<f32> = (0..300).map(|n| if (100..150).contains(&n) { 0.0 } else { n as f32 }).collect();
        assert_eq!(out, want);
    }

    #[test]
    fn an_inserted_gap_moves_all_later_blocks_back() {
        let (mut input, mut reader) = ring(32_000, 0, true).unwrap();
        let mut out = Vec::new();
        let tone = |n: usize| std::iter::repeat_n(0.5f32, n);
        for at in (0..4000).step_by(1000) {
            input.write(at, tone(1000));
        }
        let before = reader.fill(usize::MAX);
        reader.insert_gap(0.1);
        for at in (4000..8000).step_by(1000) {
            input.write(at, tone(1000));
        }
        assert_eq!(reader.fill(usize::MAX), before + 4000 + 3200);
        assert_eq!(reader.position(), 8000 + 3200);
        reader.take(usize::MAX, &mut out);
        let silent = out[1000..].iter().filter(|x| x.abs() < 1e-3).count();
        assert!((3100..3200).contains(&silent), "{silent}");
    }

    #[test]
    fn after_an_overrun_later_blocks_are_in_time() {
        let (mut input, mut reader) = ring(32_000, 0, false).unwrap();
        let total = (CAPACITY + 2) * 32_000;
        for at in (0..total).step_by(1000) {
            input.write(at as u64, numbers(at, 1000).into_iter());
        }
        assert_eq!(input.counts().overrun.load(Ordering::Relaxed), 64_000);
        reader.fill(usize::MAX);
        input.write(total as u64, numbers(total, 1000).into_iter());
        assert_eq!(reader.fill(usize::MAX), total + 1000);
        let mut out = Vec::new();
        reader.take(usize::MAX, &mut out);
        for (n, x) in out.iter().enumerate() {
            let lost = (CAPACITY * 32_000..total).contains(&n);
            assert_eq!(*x, if lost { 0.0 } else { n as f32 });
        }
    }
}
