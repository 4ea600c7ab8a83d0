//! Tap tempo.

use std::collections::VecDeque;

use sideman_engine::limits::TEMPO;

/// The longest interval between two taps, s. After a longer one the taps start over.
const TAP_PAUSE: f64 = 2.5;
/// The most taps that the tempo is the mean of.
const TAPS: usize = 8;

/// Tap tempo: the mean interval of the last taps. An interval that differs much from the others starts over.
#[derive(Debug, Clone, Default)]
pub struct Taps(VecDeque<f64>);

impl Taps {
    /// Takes a tap at a time, s. Returns the tempo in BPM, from the second tap on.
    pub fn tap(&mut self, at: f64) -> Option<f64> {
        if let (Some(&first), Some(&last)) = (self.0.front(), self.0.back()) {
            let (gap, mean) = (at - last, (last - first) / (self.0.len() - 1).max(1) as f64);
            let other = self.0.len() > 1 && !(0.6..1.6).contains(&(gap / mean));
            if gap <= 0.0 || gap > TAP_PAUSE || other {
                // Another tempo: it starts at the last tap.
                let keep = gap > 0.0 && gap <= TAP_PAUSE;
                self.0.clear();
                if keep {
                    self.0.push_back(last);
                }
            }
        }
        self.0.push_back(at);
        if self.0.len() > TAPS {
            self.0.pop_front();
        }
        let (first, n) = (*self.0.front()?, self.0.len() - 1);
        (n > 0).then(|| TEMPO.clamp(60.0 * n as f64 / (at - first)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::midi_in::tests::clock;

    proptest! {
        #[test]
        fn taps_give_their_tempo(bpm in 40.0..240.0f64, n in 2usize..12, seed: u64) {
            let mut taps = Taps::default();
            // Taps are at most 5 ms off here.
            let times: Vec<f64> = clock(bpm, n * 24, 5.0, seed).into_iter().step_by(24).collect();
            let tempo = times.iter().filter_map(|t| taps.tap(*t)).last().unwrap();
            let most = 0.010 / (60.0 / bpm * (n.min(TAPS) - 1) as f64);
            prop_assert!((tempo / bpm - 1.0).abs() <= 1.1 * most + 1e-6, "{tempo} for {bpm}");
        }

        #[test]
        fn taps_at_any_times_give_a_tempo_in_range(times in prop::collection::vec(-10.0..10.0f64, 0..60)) {
            let mut taps = Taps::default();
            for at in times {
                prop_assert!(taps.tap(at).is_none_or(|t| TEMPO.contains(t)));
            }
        }
    }
}
