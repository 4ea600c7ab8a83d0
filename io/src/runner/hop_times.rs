//! Computing times of the last hops.

use std::time::Duration;

/// Hops whose times are kept.
const KEPT: usize = 256;

/// The times of the last [`KEPT`] hops, in ms.
pub(super) struct HopTimes {
    times: Vec<f32>,
    sorted: Vec<f32>,
    next: usize,
}

impl HopTimes {
    /// None yet, with room for all.
    pub(super) fn new() -> HopTimes {
        HopTimes { times: Vec::with_capacity(KEPT), sorted: Vec::with_capacity(KEPT), next: 0 }
    }

    /// Adds a hop's time; returns it in ms.
    pub(super) fn add(&mut self, time: Duration) -> f32 {
        let ms = time.as_secs_f32() * 1e3;
        if self.times.len() < KEPT {
            self.times.push(ms);
        } else {
            self.times[self.next] = ms;
            self.next = (self.next + 1) % KEPT;
        }
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.times);
        self.sorted.sort_unstable_by(f32::total_cmp);
        ms
    }

    /// The time that a share (0 to 1) of the hops stay within, in ms; 0 before the first hop.
    pub(super) fn quantile(&self, share: f32) -> f32 {
        let rank = (share * self.sorted.len() as f32) as usize;
        self.sorted.get(rank.min(self.sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_hops_count() {
        let mut times = HopTimes::new();
        // Whole seconds are exact as milliseconds of f32.
        (0..300u16).for_each(|n| assert_eq!(times.add(Duration::from_secs(n.into())), f32::from(n) * 1e3));
        assert_eq!([0.0, 0.5, 1.0].map(|share| times.quantile(share)), [44e3, 172e3, 299e3]);
    }
}
