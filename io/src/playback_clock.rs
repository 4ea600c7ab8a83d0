//! What sounds now: song time at the speaker by the machine's clock, read off a device's counter that moves a block at a time. For those
//! who are no part of the device and have to be in time with it: MIDI ports of the system, Ableton Link.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::control::Control;
use crate::output::Shared;

/// Between two looks at the output's latency.
const LATENCY: Duration = Duration::from_millis(500);
/// The soonest block of so long tells, s: it is asked for in time, and a device that loses time without a word is believed after that.
const WINDOW: f64 = 0.5;

/// The counter of a device that was opened, and its rate.
pub type Opened = (Arc<Shared>, u32);

/// Song time at the speaker. It has to be looked at every millisecond or so.
#[derive(Debug)]
pub struct PlaybackClock {
    devices: Receiver<Opened>,
    device: Option<Opened>,
    /// Seconds that the output takes, and when it was asked for them.
    latency: f64,
    asked: Option<Instant>,
    counter: Counter,
}

impl PlaybackClock {
    /// A speaker, and where it is told of every device that is opened.
    pub fn new() -> (PlaybackClock, Sender<Opened>) {
        let (tx, devices) = channel();
        (PlaybackClock { devices, device: None, latency: 0.0, asked: None, counter: Counter::default() }, tx)
    }

    /// Song time that sounds now less `now` (s of any steady clock, the same one always); none while no device runs.
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

/// A counter that moves in blocks, made smooth.
#[derive(Debug, Default)]
struct Counter {
    /// What it said last, s.
    at: Option<f64>,
    /// Song time less the machine's: the most of this window, and of the one before; when this one began.
    most: [Option<f64>; 2],
    since: f64,
}

impl Counter {
    /// The counter (song time at which the next block will be heard, s) as it is at a time: song time less the machine's, once it has moved.
    fn look(&mut self, at: f64, now: f64) -> Option<f64> {
        if let Some(before) = self.at.replace(at).filter(|before| *before != at) {
            if now - self.since > WINDOW {
                let last = self.most[0].filter(|_| now - self.since < 2.0 * WINDOW);
                (self.most, self.since) = ([None, last], now);
            }
            // A block was asked for just now, and what the counter said before is heard as it begins. Who looks late sees too little.
            self.most[0] = Some(self.most[0].map_or(before - now, |most| most.max(before - now)));
        }
        self.most.into_iter().flatten().reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn song_time_is_read_off_a_counter_that_moves_in_blocks() {
        // Blocks of 256 at 48 kHz, asked for up to 1.5 ms late, looked at every millisecond and a bit; song time began 3 s before.
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
        // A device that has lost 60 ms, and says nothing: a second later that is known.
        let offset = (0..500).map(|n| f64::from(n) * block).map(|t| counter.look(24.34 + t, 21.4 + t)).last();
        assert!((offset.flatten().unwrap() - (2.94 - block)).abs() < 1e-6, "{offset:?}");
        // It has jumped.
        counter.look(100.0, 30.0);
        let offset = counter.look(100.0 + block, 30.0 + block).unwrap();
        assert!((offset - 70.0).abs() < block + 1e-9);
    }
}
