//! Notices input that is lost on its way from the device although the device reports nothing (PipeWire's ALSA
//! does that). Without a correction the engine would be late in every hop from then on, although it has time
//! to spare.

/// Hops in a row that leave the device short before input counts as lost.
const HOPS: u32 = 4;

/// Counts hops that came too late without the computer being the cause.
#[derive(Debug, Default)]
pub struct LostInputDetector {
    hops: u32,
    longest: f64,
    underrun: u64,
}

impl LostInputDetector {
    /// Call it after each hop. `underrun`: frames that the output had to fill in so far; `short`: seconds by
    /// which the output falls short before the next hop; `idle`: the engine waits for input, so the computer
    /// is not the cause. Gives the seconds of input that are lost, once [`HOPS`] hops in a row were short.
    pub fn after_hop(&mut self, underrun: u64, short: f64, idle: bool) -> Option<f64> {
        let is_short = underrun > self.underrun && short > 0.0 && idle;
        self.underrun = underrun;
        (self.hops, self.longest) = if is_short { (self.hops + 1, self.longest.max(short)) } else { (0, 0.0) };
        let lost = (self.hops >= HOPS).then_some(self.longest)?;
        (self.hops, self.longest) = (0, 0.0);
        Some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_lost_when_an_idle_engine_is_short_four_hops_in_a_row() {
        let mut detector = LostInputDetector::default();
        let mut hops =
            |all: &[(u64, f64, bool)]| -> Vec<Option<f64>> { all.iter().map(|h| detector.after_hop(h.0, h.1, h.2)).collect() };
        // In time; a stall of the computer's own; three that are short and one that isn't.
        assert!(hops(&[(0, -0.1, true), (500, 0.2, false), (900, 0.1, false)]).iter().all(Option::is_none));
        assert!(
            hops(&[(1000, 0.01, true), (1100, 0.02, true), (1200, 0.01, true), (1200, 0.01, true)]).iter().all(Option::is_none)
        );
        // Four in a row, once.
        let lost = hops(&[(1300, 0.01, true), (1400, 0.03, true), (1500, 0.02, true), (1600, 0.01, true), (1700, 0.01, true)]);
        assert_eq!(lost, [None, None, None, Some(0.03), None]);
    }
}
