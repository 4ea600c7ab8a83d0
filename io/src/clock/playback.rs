//! The playback clock: which song time sounds now, by the machine's clock. It is computed from the device's sample counter, which advances a
//! block at a time.
//!
//! Used by threads that are not part of the audio device and have to be in time with it: the system's MIDI ports and Ableton Link.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::control::Control;
use crate::output::OutputState;

/// Time between two reads of the output's latency.
const LATENCY: Duration = Duration::from_millis(500);
/// The window of which the earliest block counts, s: the callback of that block was delayed least. A device
/// that loses time without reporting it is corrected after this time.
const WINDOW: f64 = 0.5;

/// The counter of a device that was opened, and its sample rate.
pub type Opened = (Arc<OutputState>, u32);

/// Song time at the output. [`PlaybackClock::look`] has to be called about once a millisecond.
#[derive(Debug)]
pub struct PlaybackClock {
    devices: Receiver<Opened>,
    device: Option<Opened>,
    /// Latency of the output, s, and when it was last read.
    latency: f64,
    asked: Option<Instant>,
    counter: Counter,
}

impl PlaybackClock {
    /// A clock, and where to send every device that is opened.
    pub fn new() -> (PlaybackClock, Sender<Opened>) {
        let (tx, devices) = channel();
        (PlaybackClock { devices, device: None, latency: 0.0, asked: None, counter: Counter::default() }, tx)
    }

    /// The song time that sounds now, minus `now` (s of a steady clock, always the same one). `None`: no device runs.
    pub fn look(&mut self, control: &Control, now: f64) -> Option<f64> {
        if let Some(opened) = self.devices.try_iter().last() {
            (self.device, self.counter) = (Some(opened), Counter::default());
        }
        let (shared, rate) = self.device.as_ref().filter(|d| d.0.running.load(Ordering::Relaxed))?;
        if self.asked.is_none_or(|asked| asked.elapsed() > LATENCY) {
            (self.latency, self.asked) = (f64::from(control.snapshot().health.latency_out) * 1e-3, Some(Instant::now()));
        }
        self.counter.look(shared.at.load(Ordering::Relaxed) as f64 / f64::from(*rate) - self.latency, now)
    }
}

/// Smooths a counter that advances in blocks.
#[derive(Debug, Default)]
struct Counter {
    /// Its last value, s.
    at: Option<f64>,
    /// Song time minus the machine's: the maximum of this window, and of the one before; when this window began.
    most: [Option<f64>; 2],
    since: f64,
}

impl Counter {
    /// Takes the counter (song time at which the next block will be heard, s) at a time. Returns song time minus the machine's, once the
    /// counter has advanced.
    fn look(&mut self, at: f64, now: f64) -> Option<f64> {
        if let Some(before) = self.at.replace(at).filter(|before| *before != at) {
            if now - self.since > WINDOW {
                let last = self.most[0].filter(|_| now - self.since < 2.0 * WINDOW);
                (self.most, self.since) = ([None, last], now);
            }
            // A block has just begun, and its song time is the counter's value before. A late read gives a smaller difference.
            self.most[0] = Some(self.most[0].map_or(before - now, |most| most.max(before - now)));
        }
        self.most.into_iter().flatten().reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_advances_in_blocks_gives_song_time_to_1_2_ms() {
        // Blocks of 256 at 48 kHz, up to 1.5 ms late, read every 1.07 ms; song time began 3 s before.
        let (mut counter, mut worst) = (Counter::default(), 0.0f64);
        let block = 256.0 / 48_000.0;
        for n in 0..20_000 {
            let now = f64::from(n) * 1.07e-3;
            let late = |k: i64| (k * 7919 % 16) as f64 * 1e-4;
            let k = (now / block) as i64;
            let begun = if now < k as f64 * block + late(k) { k } else { k + 1 };
            let offset = counter.look(3.0 + begun as f64 * block, now);
            if n > 2000 {
                worst = worst.max((offset.unwrap() - 3.0).abs());
            }
        }
        assert!(worst < 1.2e-3, "{worst}");
        // A device that has lost 60 ms without reporting it: it is known a second later.
        let offset = (0..500).map(|n| f64::from(n) * block).map(|t| counter.look(24.34 + t, 21.4 + t)).last();
        assert!((offset.flatten().unwrap() - (2.94 - block)).abs() < 1e-6, "{offset:?}");
        // The counter jumps.
        counter.look(100.0, 30.0);
        let offset = counter.look(100.0 + block, 30.0 + block).unwrap();
        assert!((offset - 70.0).abs() < block + 1e-9);
    }
}
