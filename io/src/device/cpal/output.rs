//! The output's callback: slots to the device's channels. The first two channels get left and right with the
//! click in both, limited together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cpal::traits::DeviceTrait;
use cpal::{FromSample, OutputCallbackInfo, SizedSample, StreamConfig, StreamInstant};

use super::super::DeviceStats;
use super::super::stream_clock::{GapDetector, SETTLE, StreamStart};
use super::selection::StreamFormat;
use super::{OPEN_TIMEOUT, frames};
use crate::mix::Limiter;
use crate::output::{BLOCK_MAX, OutputReader};
use crate::rt::{self, Callback};
use crate::slot_layout::SlotLayout;

/// What the callback owns.
pub(super) struct OutputCallback {
    pub reader: OutputReader,
    pub layout: SlotLayout,
    /// Limits the sum of band and click.
    pub limiter: Limiter,
    pub format: StreamFormat,
    pub stats: Arc<DeviceStats>,
    /// Xruns of this stream; those in `stats` are of both streams.
    pub xruns: Arc<AtomicU64>,
    /// Seconds of latency that the device does not report.
    pub extra_latency: f64,
    /// Frames that the device has taken so far, and those that were lost.
    pub passed: u64,
    pub gaps: GapDetector,
    pub start: StreamStart,
    /// Start of the input stream, if there is one.
    pub input_start: Option<StreamStart>,
    /// The latencies are known and applied.
    pub settled: bool,
}

impl OutputCallback {
    fn play<T: SizedSample + FromSample<f32>>(&mut self, data: &mut [T], info: &OutputCallbackInfo) {
        if self.passed == 0 {
            // Without permission the callback still comes in time on an idle machine.
            let _ = rt::make_realtime();
        }
        self.keep_time(info);
        let (width, layout) = (usize::from(self.format.channels), self.layout);
        let n = data.len() / width;
        for block in data.chunks_mut(BLOCK_MAX * width) {
            let slots = self.reader.play(block.len() / width);
            for (frame, slot) in block.chunks_exact_mut(width).zip(slots.chunks_exact(layout.channels())) {
                // Integers go up to just below 1.
                let sample = |x: f32| T::from_sample(x.clamp(-1.0, 1.0 - f32::EPSILON / 2.0));
                let click = slot[layout.click()];
                let [left, right] = self.limiter.limit([slot[layout.left()] + click, slot[layout.right()] + click]);
                frame.fill(T::EQUILIBRIUM);
                match frame {
                    [mono] => *mono = sample(0.5 * (left + right)),
                    [l, r, ..] => (*l, *r) = (sample(left), sample(right)),
                    [] => {}
                }
            }
        }
        self.passed += n as u64;
        self.stats.frames.store(self.passed, Ordering::Relaxed);
    }

    /// Skips the slots of the time that an underrun has cost, and moves ahead by the latencies, once they are
    /// known.
    fn keep_time(&mut self, info: &OutputCallbackInfo) {
        let rate = self.format.rate;
        let stamp = info.timestamp();
        let delay = stamp.playback.duration_since(stamp.callback).as_secs_f64();
        let seconds = |frames: u64| frames as f64 / f64::from(rate);
        // The device was silent during an underrun: the band continues where it would be without it.
        let time = stamp.playback.duration_since(StreamInstant::ZERO).as_secs_f64();
        let gap = self.gaps.gap_before(time, seconds(self.passed), self.xruns.load(Ordering::Relaxed));
        let lost = frames(gap, rate) as u64;
        if lost > 0 {
            self.reader.seek(self.reader.at() + lost);
            self.passed += lost;
        }
        self.start.block(seconds(self.passed), delay);
        // Each stream counts frames from its own first one. Input and output samples belong together if they
        // sound at the same time, so the band moves ahead by the time from the input's first frame to the
        // output's.
        let offset = self.input_start.as_ref().map_or(Some(delay), |input| self.start.offset_from(input));
        if let Some(offset) = offset.filter(|_| !self.settled && seconds(self.passed) > SETTLE) {
            // Once: it must not drift afterwards.
            self.settled = true;
            self.stats.latency_out.store(frames(delay, rate) as u32, Ordering::Relaxed);
            self.reader.seek(self.reader.at().saturating_add_signed(frames(offset + self.extra_latency, rate)));
        }
    }

    pub(super) fn open<T: SizedSample + FromSample<f32>>(
        mut self,
        device: &cpal::Device,
        config: StreamConfig,
        on_error: impl FnMut(cpal::Error) + Send + 'static,
    ) -> Result<cpal::Stream, cpal::Error> {
        let callback = move |data: &mut [T], info: &OutputCallbackInfo| rt::callback(Callback::Output, || self.play(data, info));
        device.build_output_stream(config, callback, on_error, Some(OPEN_TIMEOUT))
    }
}
