//! Where two streams that began at different times lie against each other, and how much time a stream lost: both told by the delays that
//! a device gives with every block. A backend whose input and output share one callback (JACK) needs none of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seconds from a stream's start in which it is looked at. Shorter than anything that sounds: what comes out of it moves the band.
pub const SETTLE: f64 = 0.25;

/// When the first frame of a stream was in the air, in seconds on a clock that both streams share; each callback of the first
/// [`SETTLE`] seconds tells it anew, and the earliest is the one that was held up least.
#[derive(Clone)]
pub struct Origin {
    epoch: Instant,
    /// Bits of an f64; infinite: nothing is known.
    at: Arc<AtomicU64>,
}

impl Origin {
    /// Of a stream that has not begun.
    pub fn new(epoch: Instant) -> Origin {
        Origin { epoch, at: Arc::new(AtomicU64::new(f64::INFINITY.to_bits())) }
    }

    /// A block, now, whose first frame is the `passed` seconds after the stream's first, and was in the air (`away` < 0) or will be `away` seconds from
    /// now. Reads the clock in the first [`SETTLE`] seconds and never after.
    pub fn block(&self, passed: f64, away: f64) {
        if passed <= SETTLE {
            self.tell(self.epoch.elapsed().as_secs_f64() + away - passed);
        }
    }

    fn tell(&self, at: f64) {
        self.at.store(self.get().min(at).to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.at.load(Ordering::Relaxed))
    }

    /// Seconds that this stream began after another; none before both have.
    pub fn after(&self, other: &Origin) -> Option<f64> {
        Some(self.get() - other.get()).filter(|s| s.is_finite())
    }
}

/// Time that a stream loses where its device reports that it ran empty or over: from then on everything in it is later.
#[derive(Default)]
pub struct Lapse {
    reported: u64,
    /// Where the stream's first frame would lie, by the device's own clock.
    first: Option<f64>,
}

impl Lapse {
    /// Seconds lost before a block that is in the air at `air` by the device's clock, `passed` seconds after the stream's first frame;
    /// `reported`: losses that the device has reported so far. 0 where it reported none: a clock that only wavers moves nothing.
    pub fn before(&mut self, air: f64, passed: f64, reported: u64) -> f64 {
        let (now, fresh) = (air - passed, reported != self.reported);
        self.reported = reported;
        let lost = self.first.filter(|_| fresh).map_or(0.0, |first| (now - first).clamp(0.0, 10.0));
        self.first = Some(now - lost);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_streams_meet_in_the_air() {
        let epoch = Instant::now();
        let (out, heard) = (Origin::new(epoch), Origin::new(epoch));
        assert_eq!(out.after(&heard), None);
        // The output was filled with two blocks of 10 ms at 1.000 and plays from there; the input began at 1.002. A callback is held up
        // by 7 ms and sees so much less waiting to be played, so much more that was captured; one stamp is wrong.
        for (now, passed, away) in
            [(1.0, 0.0, 0.0), (1.0, 0.01, 0.01), (1.01, 0.02, 0.01), (1.027, 0.03, 0.003), (1.03, 0.04, 0.02)]
        {
            out.tell(now + away - passed);
        }
        for (now, passed, away) in [(1.012, 0.0, -0.004), (1.022, 0.01, -0.01), (1.039, 0.02, -0.017)] {
            heard.tell(now + away - passed);
        }
        let after = out.after(&heard).unwrap();
        assert!((after + 0.002).abs() < 1e-9, "{after}");
    }

    #[test]
    fn only_what_is_reported_is_lost_and_only_once() {
        let mut lapse = Lapse::default();
        assert_eq!(lapse.before(5.0, 0.0, 0), 0.0);
        // It wavers by 2 ms, and nothing is reported.
        assert_eq!(lapse.before(5.012, 0.01, 0), 0.0);
        assert_eq!(lapse.before(5.020, 0.02, 0), 0.0);
        // 40 ms are lost; from then on they belong to what has passed.
        let lost = lapse.before(5.070, 0.03, 1);
        assert!((lost - 0.04).abs() < 1e-9, "{lost}");
        assert_eq!(lapse.before(5.080, 0.08, 1), 0.0);
        // A report after which time has gone back: nothing to be made up for.
        assert_eq!(lapse.before(5.085, 0.09, 2), 0.0);
    }
}
