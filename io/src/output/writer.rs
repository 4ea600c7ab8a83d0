//! The engine's end of the output.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ringbuf::HeapProd;
use ringbuf::traits::{Observer, Producer};
use sideman_engine::Result;
use sideman_engine::audio::RATE;
use sideman_engine::touched::empty;

use super::OutputState;
use super::reader::KEPT;
use crate::resample::StreamResampler;

/// Resamples slots and puts them into the ring.
pub struct OutputWriter {
    ring: HeapProd<f32>,
    resampler: StreamResampler,
    channels: usize,
    rate: u32,
    resampled: Vec<f32>,
    /// Frames for which there was no room: silence takes their place as soon as there is.
    dropped: usize,
    /// Song time up to which slots were given, in frames of the device, and from which the last ones were.
    end: u64,
    begin: u64,
    state: Arc<OutputState>,
}

impl OutputWriter {
    pub(super) fn new(
        ring: HeapProd<f32>,
        rate: u32,
        channels: usize,
        start: u64,
        state: Arc<OutputState>,
    ) -> Result<OutputWriter> {
        Ok(OutputWriter {
            ring,
            resampler: StreamResampler::new(RATE, rate, channels, false)?,
            channels,
            rate,
            resampled: empty(2 * rate as usize * channels),
            dropped: 0,
            end: start,
            begin: start,
            state,
        })
    }

    /// Adds interleaved slots at 32 kHz that follow the last ones. Never waits: frames for which there is no
    /// room (the device has stalled) become silence of the same length. Returns the number of those frames.
    #[must_use]
    pub fn write(&mut self, slots: &[f32]) -> usize {
        self.resampled.clear();
        self.resampler.push(slots, &mut self.resampled);
        let frames = self.resampled.len() / self.channels;
        self.begin = self.end;
        self.end += frames as u64;
        let mut room = self.ring.vacant_len() / self.channels;
        let silence = self.dropped.min(room);
        self.ring.push_iter(std::iter::repeat_n(0.0, silence * self.channels));
        self.dropped -= silence;
        room -= silence;
        let fits = if self.dropped > 0 { 0 } else { frames.min(room) };
        self.ring.push_slice(&self.resampled[..fits * self.channels]);
        self.dropped += frames - fits;
        frames - fits
    }

    /// Seconds by which the newest slot is ahead of the device; negative: it is late.
    pub fn ahead(&self) -> f64 {
        (self.end as f64 - self.state.at.load(Ordering::Relaxed) as f64) / f64::from(self.rate)
    }

    /// Seconds by which the first of the slots that were given last came too late; 0 or less: all were in time.
    pub fn late(&self) -> f64 {
        (self.state.at.load(Ordering::Relaxed) as f64 - self.begin as f64) / f64::from(self.rate)
    }

    /// Sets the length of a bar in samples of 32 kHz; 0: there is no bar to repeat. Of a bar that is longer
    /// than what is kept, a half or a quarter is repeated.
    pub fn set_bar(&self, samples: f64) {
        let mut frames = samples * f64::from(self.rate) / f64::from(RATE);
        // A little less than what is kept: what is missing is looked for before its end.
        while frames > (KEPT - 1) as f64 * f64::from(self.rate) {
            frames /= 2.0;
        }
        self.state.bar.store(frames.to_bits(), Ordering::Relaxed);
    }

    /// Longest delay of the resampler in seconds.
    pub fn delay(&self) -> f64 {
        self.resampler.delay()
    }

    /// Frames a second of the device.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Counts and clock.
    pub fn state(&self) -> &Arc<OutputState> {
        &self.state
    }
}
