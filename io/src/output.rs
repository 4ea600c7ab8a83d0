//! The way out: one ring of slots. A slot is one frame of the device's rate with every channel in it (stems, click, mix), so that
//! nothing that goes wrong can set two of them apart. Slots follow one another without a gap from a first one whose song time is known:
//! the place of each says when it is to be heard.
//!
//! *Threading.* [`OutputWriter`] belongs to the engine's thread, [`OutputReader`] to the device's callback; [`Shared`] is atomics. The player keeps
//! what it has played: where slots are missing it repeats the last bar out of it, in phase, without asking anyone (rung 1 of the
//! ladder: an engine that has stalled can't be asked). Slots that come too late are kept as history, never played.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use sideman_engine::Result;
use sideman_engine::audio::RATE;

use crate::resample::StreamResampler;

/// Most frames of one call of [`OutputReader::play`]; a device with longer blocks calls more than once.
pub const BLOCK_MAX: usize = 8192;
/// Seconds of slots that may wait.
const AHEAD: usize = 8;
/// Seconds that are kept: a bar of 12/8 at 40 bpm is 9.
const KEPT: usize = 12;
/// Milliseconds in which a jump fades.
const FADE_MS: usize = 5;
/// Late frames that one call takes in beside its own: a stall of 5 s is made up for in a few blocks, each of bounded work.
const CATCH_UP: usize = 4 * BLOCK_MAX;

/// What the callback and the others tell each other. Times are song time in frames of the device's rate.
#[derive(Debug, Default)]
pub struct Shared {
    /// Place of the next frame that the device will be given.
    pub at: AtomicU64,
    /// The device has asked for a block at all.
    pub running: AtomicBool,
    /// Length of a bar in frames as the bits of an f64; 0: not known, so nothing is repeated.
    pub bar: AtomicU64,
    /// Frames that had to be filled in.
    pub underrun: AtomicU64,
    /// Frames that came too late to be heard.
    pub late: AtomicU64,
    /// The last block was filled in.
    pub repeating: AtomicBool,
}

/// A ring at `rate` for slots of `channels`, the first of which is song frame `first` (32 kHz).
///
/// # Errors
/// A rate that can't be.
pub fn ring(rate: u32, channels: usize, first: i64) -> Result<(OutputWriter, OutputReader)> {
    let (rate_, shared) = (rate as usize, Arc::new(Shared::default()));
    let (producer, consumer) = HeapRb::new(AHEAD * rate_ * channels).split();
    let base = (first.max(0) as u64 * u64::from(rate)).div_ceil(u64::from(RATE));
    let writer = OutputWriter {
        ring: producer,
        stretch: StreamResampler::new(RATE, rate, channels, false)?,
        channels,
        rate,
        made: Vec::with_capacity(2 * rate_ * channels),
        missing: 0,
        given: base,
        shared: shared.clone(),
    };
    let reader = OutputReader {
        ring: consumer,
        channels,
        kept: vec![0.0; KEPT * rate_ * channels],
        base,
        end: base,
        at: base,
        block: vec![0.0; BLOCK_MAX * channels],
        last: vec![0.0; channels],
        step: vec![0.0; channels],
        fade: (rate_ * FADE_MS / 1000).max(1),
        fading: 0,
        next: None,
        begun: false,
        shared,
    };
    Ok((writer, reader))
}

/// The engine's end.
pub struct OutputWriter {
    ring: HeapProd<f32>,
    stretch: StreamResampler,
    channels: usize,
    rate: u32,
    made: Vec<f32>,
    /// Frames that found no room: silence in their place, as soon as there is.
    missing: usize,
    /// Song time in device frames up to which slots were given.
    given: u64,
    shared: Arc<Shared>,
}

impl OutputWriter {
    /// Gives interleaved slots at 32 kHz that follow the last ones. Nothing waits: what finds no room (a device that has stalled) becomes
    /// silence of the same length. Gives the number of frames that did.
    #[must_use]
    pub fn write(&mut self, slots: &[f32]) -> usize {
        self.made.clear();
        self.stretch.push(slots, &mut self.made);
        let frames = self.made.len() / self.channels;
        self.given += frames as u64;
        let mut room = self.ring.vacant_len() / self.channels;
        let silence = self.missing.min(room);
        self.ring.push_iter(std::iter::repeat_n(0.0, silence * self.channels));
        self.missing -= silence;
        room -= silence;
        let fits = if self.missing > 0 { 0 } else { frames.min(room) };
        self.ring.push_slice(&self.made[..fits * self.channels]);
        self.missing += frames - fits;
        frames - fits
    }

    /// Seconds by which what was given is ahead of the device; negative: it is late.
    pub fn ahead(&self) -> f64 {
        (self.given as f64 - self.shared.at.load(Ordering::Relaxed) as f64) / f64::from(self.rate)
    }

    /// The length of a bar in samples of 32 kHz; 0: none.
    pub fn bar(&self, samples: f64) {
        let frames = samples * f64::from(self.rate) / f64::from(RATE);
        self.shared.bar.store(frames.to_bits(), Ordering::Relaxed);
    }

    /// Seconds that resampling takes at most.
    pub fn delay(&self) -> f64 {
        self.stretch.delay()
    }

    /// Frames a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Counts and clock.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// The callback's end.
pub struct OutputReader {
    ring: HeapCons<f32>,
    channels: usize,
    /// Real frames by song time modulo its length: `end - len .. end`, from `base` on.
    kept: Vec<f32>,
    base: u64,
    /// Song time after the newest frame taken out of the ring.
    end: u64,
    /// Song time of the next frame to play.
    at: u64,
    block: Vec<f32>,
    /// What was played last, and what it was away from what followed when that jumped.
    last: Vec<f32>,
    step: Vec<f32>,
    fade: usize,
    fading: usize,
    /// The frame that would follow without a jump; none after silence.
    next: Option<u64>,
    begun: bool,
    shared: Arc<Shared>,
}

impl OutputReader {
    /// Moves to song time `at` (frames of this rate): once at the start, and where the device has lost time.
    pub fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// Song time of the next frame.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Frames that are there to be played.
    pub fn ready(&self) -> u64 {
        (self.end + (self.ring.occupied_len() / self.channels) as u64).saturating_sub(self.at)
    }

    /// Channels of a slot.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The next `frames` (at most [`BLOCK_MAX`]) slots, interleaved.
    pub fn play(&mut self, frames: usize) -> &[f32] {
        let n = frames.min(BLOCK_MAX);
        if !self.begun {
            // Nothing was played before: a song that begins with its first frame needs no fade.
            (self.begun, self.next) = (true, Some(self.at));
        }
        self.take_in(n);
        let c = self.channels;
        let len = (self.kept.len() / c) as u64;
        let bar = f64::from_bits(self.shared.bar.load(Ordering::Relaxed));
        let mut filled = 0;
        for i in 0..n {
            let want = self.at + i as u64;
            let from = if want < self.end {
                (want >= self.base && want + len >= self.end).then_some(want)
            } else {
                filled += 1;
                repeat(want, self.end, bar).filter(|&from| from >= self.base && from + len >= self.end)
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
        // Before the first slot there is nothing to be short of.
        if self.end > self.base {
            self.shared.underrun.fetch_add(filled, Ordering::Relaxed);
            self.shared.repeating.store(filled > 0, Ordering::Relaxed);
        }
        self.shared.at.store(self.at, Ordering::Relaxed);
        self.shared.running.store(true, Ordering::Relaxed);
        &self.block[..n * c]
    }

    /// Takes out of the ring what has to be heard in the next `n` frames, and what came too late for it.
    fn take_in(&mut self, n: usize) {
        let c = self.channels;
        let len = self.kept.len() / c;
        let wanted = usize::try_from((self.at + n as u64).saturating_sub(self.end)).unwrap_or(usize::MAX).min(CATCH_UP + n);
        let mut frames = (self.ring.occupied_len() / c).min(wanted);
        let late = self.at.saturating_sub(self.end).min(frames as u64);
        self.shared.late.fetch_add(late, Ordering::Relaxed);
        while frames > 0 {
            let place = (self.end % len as u64) as usize;
            let run = frames.min(len - place);
            self.ring.pop_slice(&mut self.kept[place * c..(place + run) * c]);
            self.end += run as u64;
            frames -= run;
        }
    }
}

/// The frame of the last bar before `end` that stands where `want` will.
fn repeat(want: u64, end: u64, bar: f64) -> Option<u64> {
    if !bar.is_finite() || bar < 1.0 {
        return None;
    }
    let bars = ((want - end + 1) as f64 / bar).ceil();
    want.checked_sub((bars * bar).round() as u64).map(|from| from.min(end.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots of two channels that say their place: (n, -n) / 2^20.
    fn slots(from: usize, n: usize) -> Vec<f32> {
        (from..from + n).flat_map(|i| [i as f32 / 1048576.0, -(i as f32) / 1048576.0]).collect()
    }

    fn places(block: &[f32]) -> Vec<i64> {
        block.chunks(2).map(|f| (f[0] * 1048576.0).round() as i64).collect()
    }

    #[test]
    fn what_is_written_is_played_whatever_the_blocks() {
        let (mut writer, mut reader) = ring(32_000, 2, 0).unwrap();
        assert_eq!(writer.write(&slots(0, 10_000)), 0);
        let mut got = Vec::new();
        for n in [1, 64, 7, 4096, 1000, 333] {
            got.extend_from_slice(reader.play(n));
        }
        assert_eq!(got, slots(0, 5501));
        assert_eq!(reader.shared.underrun.load(Ordering::Relaxed), 0);
        assert!((writer.ahead() - 4499.0 / 32_000.0).abs() < 1e-9);
    }

    #[test]
    fn a_stall_repeats_the_last_bar_in_phase_and_the_band_returns_in_phase() {
        let (mut writer, mut reader) = ring(32_000, 2, 0).unwrap();
        let bar = 4_000.5;
        writer.bar(bar);
        assert_eq!(writer.write(&slots(0, 20_000)), 0);
        let mut played: Vec<i64> = Vec::new();
        for _ in 0..100 {
            let block = reader.play(400).to_vec();
            assert!(block.chunks(2).all(|f| f[0] == -f[1]), "channels stay together");
            played.extend(places(&block));
        }
        // 20000 real ones, then bars of the last one; the 160 frames after each seam fade.
        for (at, place) in played.iter().enumerate() {
            let bars = (((at + 1).saturating_sub(20_000)) as f64 / bar).ceil();
            let want = (at as f64 - bars * bar).round().min(19_999.0) as i64;
            let since_seam = if at < 20_000 { usize::MAX } else { ((at + 1 - 20_000) as f64 % bar) as usize };
            if since_seam > 162 {
                assert!((place - want).abs() <= 1, "at {at}: {place}, not {want}");
            }
        }
        assert_eq!(reader.shared.underrun.load(Ordering::Relaxed), 20_000);
        assert!(reader.shared.repeating.load(Ordering::Relaxed));
        // The engine catches up: all that it missed comes in order, the late part is never heard.
        assert_eq!(writer.write(&slots(20_000, 30_000)), 0);
        let back = places(reader.play(2000));
        assert_eq!(back[160..], (40_160..42_000).collect::<Vec<i64>>());
        assert_eq!(reader.shared.late.load(Ordering::Relaxed), 20_000);
        assert!(!reader.shared.repeating.load(Ordering::Relaxed));
    }

    #[test]
    fn no_jump_is_louder_than_the_music() {
        let (mut writer, mut reader) = ring(48_000, 1, 0).unwrap();
        writer.bar(16_000.0);
        let tone: Vec<f32> = (0..20_000).map(|n| 0.5 * (n as f32 * 0.02).sin()).collect();
        assert_eq!(writer.write(&tone), 0);
        let mut last = 0.0f32;
        for _ in 0..300 {
            for x in reader.play(256) {
                assert!((x - last).abs() < 0.02, "a jump of {}", (x - last).abs());
                last = *x;
            }
        }
    }

    #[test]
    fn without_a_bar_it_fades_to_silence() {
        let (mut writer, mut reader) = ring(32_000, 1, 0).unwrap();
        assert_eq!(writer.write(&[0.5; 1000]), 0);
        reader.play(1000);
        let block = reader.play(400);
        assert!(block[0] < 0.51 && block[..160].windows(2).all(|w| w[1] < w[0]), "{:?}", &block[..10]);
        assert!(block[160..].iter().all(|x| *x == 0.0));
    }

    #[test]
    fn a_device_that_stalls_costs_music_but_no_time() {
        let (mut writer, mut reader) = ring(32_000, 1, 0).unwrap();
        let second = vec![0.25; 32_000];
        let lost: usize = (0..10).map(|_| writer.write(&second)).sum();
        assert_eq!(lost, 2 * 32_000);
        (0..4 * AHEAD).for_each(|_| assert_eq!(reader.play(8000).len(), 8000));
        assert_eq!(writer.write(&second), 0);
        assert_eq!(reader.play(8000)[200..], [0.0; 7800], "the lost second is silent");
        (0..7).for_each(|_| assert_eq!(reader.play(8000).len(), 8000));
        assert_eq!(reader.play(8000)[200..], [0.25; 7800]);
    }

    #[test]
    fn a_ring_that_begins_in_mid_song() {
        let (mut writer, mut reader) = ring(48_000, 1, 64_000).unwrap();
        assert_eq!(writer.write(&[0.5; 32_000]), 0);
        reader.seek(96_000 + 24_000);
        assert!(reader.play(400)[300..].iter().all(|x| (*x - 0.5).abs() < 0.01));
        assert_eq!(reader.shared.late.load(Ordering::Relaxed), 24_000);
    }
}
