//! The input's callback: the device's first channel into the input ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cpal::traits::DeviceTrait;
use cpal::{FromSample, InputCallbackInfo, SizedSample, StreamConfig, StreamInstant};

use super::super::DeviceStats;
use super::super::stream_clock::{GapDetector, SETTLE, StreamStart};
use super::selection::StreamFormat;
use super::{OPEN_TIMEOUT, frames};
use crate::input::InputWriter;
use crate::rt::{self, Callback};

/// What the callback owns.
pub(super) struct InputCallback {
    pub writer: InputWriter,
    pub format: StreamFormat,
    /// Song time of its first frame.
    pub song_start: u64,
    pub stats: Arc<DeviceStats>,
    /// Xruns of this stream; those in `stats` are of both streams.
    pub xruns: Arc<AtomicU64>,
    /// Frames that came so far, and frames lost.
    pub passed: u64,
    pub gaps: GapDetector,
    pub start: StreamStart,
    /// The latency is known.
    pub settled: bool,
}

impl InputCallback {
    fn hear<T: SizedSample>(&mut self, data: &[T], info: &InputCallbackInfo)
    where
        f32: FromSample<T>,
    {
        let (rate, width) = (self.format.rate, usize::from(self.format.channels));
        if self.passed == 0 {
            // Without permission the callback still comes in time on an idle machine.
            let _ = rt::make_realtime();
        }
        let stamp = info.timestamp();
        let delay = stamp.callback.duration_since(stamp.capture).as_secs_f64();
        let seconds = |frames: u64| frames as f64 / f64::from(rate);
        let time = stamp.capture.duration_since(StreamInstant::ZERO).as_secs_f64();
        let gap = self.gaps.gap_before(time, seconds(self.passed), self.xruns.load(Ordering::Relaxed));
        let lost = frames(gap, rate) as u64;
        if lost > 0 {
            self.writer.lost(lost);
            self.passed += lost;
        }
        self.start.block(seconds(self.passed), -delay);
        if !self.settled && seconds(self.passed) > SETTLE {
            self.settled = true;
            self.stats.latency_in.store(frames(delay, rate) as u32, Ordering::Relaxed);
        }
        // The first channel is the instrument: on most interfaces the other one is open and only hums.
        let samples = data.chunks_exact(width).map(|frame| <f32 as FromSample<T>>::from_sample_(frame[0]));
        self.writer.write(self.song_start + self.passed, samples);
        self.passed += (data.len() / width) as u64;
    }

    pub(super) fn open<T: SizedSample>(
        mut self,
        device: &cpal::Device,
        config: StreamConfig,
        on_error: impl FnMut(cpal::Error) + Send + 'static,
    ) -> Result<cpal::Stream, cpal::Error>
    where
        f32: FromSample<T>,
    {
        let callback = move |data: &[T], info: &InputCallbackInfo| rt::callback(Callback::Input, || self.hear(data, info));
        device.build_input_stream(config, callback, on_error, Some(OPEN_TIMEOUT))
    }
}
