//! Timing of two streams with clocks of their own: how far apart they began, and how much time one has lost.
//! Both are read off the delays that a device reports with every block. A backend whose input and output
//! share one callback (JACK) needs neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seconds from a stream's start in which its offset is measured. Short, because the band is moved
/// afterwards, which should happen before it sounds.
pub const SETTLE: f64 = 0.25;

/// Time at which the first frame of a stream sounded (was captured or played), in seconds of a clock that both
/// streams share.
/// Every callback of the first [`SETTLE`] seconds measures it; the earliest result counts, because that
/// callback was delayed least.
#[derive(Clone)]
pub struct StreamStart {
    epoch: Instant,
    /// Bits of an f64; infinite: not known yet.
    time: Arc<AtomicU64>,
}

impl StreamStart {
    /// The start of a stream that has not begun.
    pub fn new(epoch: Instant) -> StreamStart {
        StreamStart { epoch, time: Arc::new(AtomicU64::new(f64::INFINITY.to_bits())) }
    }

    /// Call it in the callback of each block. `passed`: seconds from the stream's first frame to the first one of
    /// the block; `delay`: seconds from now until that frame sounds, negative if it has sounded. Reads the clock
    /// in the first [`SETTLE`] seconds only.
    pub fn block(&self, passed: f64, delay: f64) {
        if passed <= SETTLE {
            self.measured(self.epoch.elapsed().as_secs_f64() + delay - passed);
        }
    }

    fn measured(&self, time: f64) {
        self.time.store(self.get().min(time).to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.time.load(Ordering::Relaxed))
    }

    /// Seconds by which this stream began after another; none before both have begun.
    pub fn offset_from(&self, other: &StreamStart) -> Option<f64> {
        Some(self.get() - other.get()).filter(|s| s.is_finite())
    }
}

/// Finds the time that a stream loses where its device reports an underrun or overrun: everything after it is
/// later by that time.
#[derive(Default)]
pub struct GapDetector {
    xruns: u64,
    /// Time of the stream's first frame, by the device's own clock.
    start: Option<f64>,
}

impl GapDetector {
    /// Seconds lost before a block. `time`: when the block sounds, by the device's clock; `passed`:
    /// seconds from the stream's first frame to it; `xruns`: those that the device has reported so far. 0
    /// where it reported no new one: a clock that only jitters moves nothing.
    pub fn gap_before(&mut self, time: f64, passed: f64, xruns: u64) -> f64 {
        let (start, is_new) = (time - passed, xruns != self.xruns);
        self.xruns = xruns;
        let gap = self.start.filter(|_| is_new).map_or(0.0, |before| (start - before).clamp(0.0, 10.0));
        self.start = Some(start - gap);
        gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_streams_find_how_far_apart_they_began() {
        let epoch = Instant::now();
        let (output, input) = (StreamStart::new(epoch), StreamStart::new(epoch));
        assert_eq!(output.offset_from(&input), None);
        // The output was filled with two blocks of 10 ms at 1.000 and plays from there; the input began at
        // 1.002. One callback is delayed by 7 ms: less waits to be played then, and more was captured. One
        // stamp is wrong.
        for (now, passed, delay) in
            [(1.0, 0.0, 0.0), (1.0, 0.01, 0.01), (1.01, 0.02, 0.01), (1.027, 0.03, 0.003), (1.03, 0.04, 0.02)]
        {
            output.measured(now + delay - passed);
        }
        for (now, passed, delay) in [(1.012, 0.0, -0.004), (1.022, 0.01, -0.01), (1.039, 0.02, -0.017)] {
            input.measured(now + delay - passed);
        }
        let offset = output.offset_from(&input).unwrap();
        assert!((offset + 0.002).abs() < 1e-9, "{offset}");
    }

    #[test]
    fn only_a_reported_gap_counts_and_only_once() {
        let mut gaps = GapDetector::default();
        assert_eq!(gaps.gap_before(5.0, 0.0, 0), 0.0);
        // Jitter of 2 ms, without a report.
        assert_eq!(gaps.gap_before(5.012, 0.01, 0), 0.0);
        assert_eq!(gaps.gap_before(5.020, 0.02, 0), 0.0);
        // 40 ms are lost; from then on they are part of what has passed.
        let gap = gaps.gap_before(5.070, 0.03, 1);
        assert!((gap - 0.04).abs() < 1e-9, "{gap}");
        assert_eq!(gaps.gap_before(5.080, 0.08, 1), 0.0);
        // A report although time has gone back: nothing is lost.
        assert_eq!(gaps.gap_before(5.085, 0.09, 2), 0.0);
    }
}
