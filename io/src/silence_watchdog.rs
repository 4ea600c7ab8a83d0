//! Who in the band has fallen silent. A model that has played nothing for a while may take that for the song; a stem that rests for two
//! bars without having been asked to is made anew at the next bar line, from a past in which it was not silent.

use sideman_engine::live::Snapshot;

/// Below this a sample is silence: −50 dBFS.
const FLOOR: f32 = 0.003;
/// Bars of silence that are music.
const BARS: i64 = 2;
/// Asked once in so many samples (2 s), by the hop that passes a multiple of them: hops of 1, 2, 4, 5, 10, 20 and 25 frames all end there, so
/// that their length changes no note.
const EVERY: i64 = 64_000;

/// Listens to the band.
pub struct SilenceWatchdog {
    /// Song time up to which each stem has been heard to sound, or was excused.
    sounded: Vec<i64>,
    /// Multiples of [`EVERY`] that have been passed.
    passed: i64,
}

impl SilenceWatchdog {
    /// For so many stems.
    pub fn new(stems: usize) -> Self {
        SilenceWatchdog { sounded: vec![0; stems], passed: 0 }
    }

    /// Hears what stem `s` has just played; it ends at song time `time`.
    pub fn hear(&mut self, s: usize, samples: &[f32], time: i64) {
        if let Some(last) = samples.iter().rposition(|x| x.abs() > FLOOR) {
            self.sounded[s] = time - (samples.len() - 1 - last) as i64;
        }
    }

    /// The stem to be made anew, `heard` samples into the session, whose bars are `bar` samples long; it is then given time to come in.
    pub fn ask(&mut self, heard: i64, state: &Snapshot, bar: f64) -> Option<u8> {
        for (s, stem) in state.stems.iter().enumerate() {
            // Neither a musician, nor a repeated bar, nor a band that isn't playing or counts in, is asked why.
            if !state.playing || state.bar < 1 || state.input_stem == Some(s as u8) || stem.frozen > 0 {
                self.sounded[s] = self.sounded[s].max(state.time);
            }
        }
        if heard / EVERY == std::mem::replace(&mut self.passed, heard / EVERY) {
            return None;
        }
        let patience = (BARS as f64 * bar).max(2.0 * EVERY as f64) as i64;
        let s = self.sounded.iter().position(|at| state.time - at > patience)?;
        self.sounded[s] = state.time + EVERY;
        Some(s as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hops that end nowhere even, as after a change of their length.
    #[test]
    fn no_hop_is_passed_over() {
        let mut silence_watchdog = SilenceWatchdog::new(1);
        let mut state = Snapshot { playing: true, bar: 1, ..Snapshot::default() };
        state.stems.resize_with(1, Default::default);
        let woken = (0..400).filter(|n| {
            state.time = 640 * (25 + 3 * n);
            silence_watchdog.ask(state.time, &state, 64_000.0).is_some()
        });
        assert!(woken.count() >= 3, "768,000 samples of silence");
    }

    #[test]
    fn a_stem_is_woken_after_two_bars_and_the_player_never() {
        let mut silence_watchdog = SilenceWatchdog::new(3);
        let mut state = Snapshot { playing: true, bar: 1, input_stem: Some(0), ..Snapshot::default() };
        state.stems.resize_with(3, Default::default);
        let (bar, hop) = (80_000.0, 2560);
        let mut woken = Vec::new();
        for n in 1..=600 {
            state.time = n * hop + 1000;
            silence_watchdog.hear(1, &[0.5; 2560], state.time);
            // Stem 2 plays for ten seconds, then rests.
            silence_watchdog.hear(2, if n < 125 { &[0.1; 2560] } else { &[0.001; 2560] }, state.time);
            woken.extend(silence_watchdog.ask(n * hop, &state, bar).map(|s| (s, n * hop)));
        }
        assert_eq!(woken[0], (2, 512_000), "ten seconds, two bars, and the next even second: {woken:?}");
        assert!(woken.iter().all(|w| w.0 == 2) && woken.windows(2).all(|w| w[1].1 - w[0].1 > 160_000), "{woken:?}");
        state.stems[2].frozen = 4;
        state.time += 640_000;
        silence_watchdog.hear(1, &[0.5], state.time);
        assert_eq!(silence_watchdog.ask(64_000 * 100, &state, bar), None, "who repeats a silent bar was asked to");
    }
}
