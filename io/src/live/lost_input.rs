//! Finds input that is lost on its way from the device although the device reports nothing (PipeWire's ALSA
//! does that). Without a correction the engine would be late in every hop from then on, although it has time
//! to spare.
//!
//! Nothing is guessed: what counts is by how much fewer frames the input's callback has counted than the
//! output's. Hops that are late while both count on are the computer's own doing, and the input stays as it is.

/// Late hops in a row after which the counts are compared.
const HOPS: u32 = 4;
/// Least seconds that are missing: callbacks jitter.
const LEAST: f64 = 0.005;
/// Weight of the newest hop in the usual difference of the counts.
const SMOOTHING: f64 = 0.1;

/// Compares what the two callbacks of a device count.
#[derive(Debug, Default)]
pub struct LostInputDetector {
    /// Seconds by which the input's count is usually ahead of the output's.
    usual: Option<f64>,
    hops: u32,
    /// The largest difference in the late hops.
    most: f64,
}

impl LostInputDetector {
    /// Call it after each hop. `late`: it came late although the engine waits for input; `ahead`: seconds by
    /// which the input's count is ahead of the output's. Gives the seconds of input that are lost, once
    /// [`HOPS`] hops in a row were late.
    pub fn after_hop(&mut self, late: bool, ahead: f64) -> Option<f64> {
        if !late {
            self.hops = 0;
            let usual = self.usual.get_or_insert(ahead);
            *usual += (ahead - *usual) * SMOOTHING;
            return None;
        }
        self.most = if self.hops == 0 { ahead } else { self.most.max(ahead) };
        self.hops += 1;
        if self.hops < HOPS {
            return None;
        }
        self.hops = 0;
        let lost = self.usual? - self.most;
        if lost < LEAST {
            return None;
        }
        // The silence makes the engine's input whole again; the counts stay apart.
        self.usual = Some(self.most);
        Some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_hops_move_the_input_only_by_what_its_callback_did_not_count() {
        let mut detector = LostInputDetector::default();
        // In time, with the jitter of blocks of 5 ms.
        (0..50).for_each(|n| assert_eq!(detector.after_hop(false, 0.02 + 0.005 * f64::from(n % 2)), None));
        // However many hops are late: both callbacks count on, so nothing is lost.
        for n in 0..40 {
            assert_eq!(detector.after_hop(true, 0.02 + 0.005 * f64::from(n % 2)), None, "hop {n}");
        }
        // 30 ms are lost: after four late hops they are known, once.
        let found: Vec<_> = (0..12).map(|n| detector.after_hop(true, -0.01 + 0.005 * f64::from(n % 2))).collect();
        assert!(found[..3].iter().all(Option::is_none) && found[4..].iter().all(Option::is_none), "{found:?}");
        assert!((found[3].unwrap() - 0.03).abs() < 0.006, "{found:?}");
    }

    #[test]
    fn without_a_usual_difference_nothing_is_lost() {
        let mut detector = LostInputDetector::default();
        assert!((0..20).all(|_| detector.after_hop(true, -1.0).is_none()));
    }
}
