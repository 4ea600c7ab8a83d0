//! Finds a stem that has fallen silent. A model that has played nothing for a while may go on playing
//! nothing; a stem that is silent for two bars without a request for silence is regenerated at the next bar
//! line.

use sideman_engine::live::Snapshot;

/// Samples below this are silence: −50 dBFS.
const FLOOR: f32 = 0.003;
/// Bars of silence that are part of the music.
const BARS: i64 = 2;
/// Samples between two checks (2 s). A check happens in the hop that passes a multiple of it: hops of 1, 2,
/// 4, 5, 10, 20 and 25 frames all end there, so their length changes no note.
const INTERVAL: i64 = 64_000;

/// Listens to all stems.
pub struct SilenceWatchdog {
    /// Song time up to which each stem sounded, or was allowed to be silent.
    sounded: Vec<i64>,
    /// Multiples of [`INTERVAL`] that have been passed.
    checks: i64,
}

impl SilenceWatchdog {
    /// A watchdog for `stems` stems.
    pub fn new(stems: usize) -> Self {
        SilenceWatchdog { sounded: vec![0; stems], checks: 0 }
    }

    /// Takes what stem `s` has just played; it ends at song time `time`.
    pub fn hear(&mut self, s: usize, samples: &[f32], time: i64) {
        if let Some(last) = samples.iter().rposition(|x| x.abs() > FLOOR) {
            self.sounded[s] = time - (samples.len() - 1 - last) as i64;
        }
    }

    /// No stem sounds up to song time `time`, because the model does not run.
    pub fn rest(&mut self, time: i64) {
        self.sounded.iter_mut().for_each(|at| *at = time.max(*at));
    }

    /// A stem that has fallen silent, if a check is due. The same stem is not returned again for some
    /// seconds, so that it can come in. `heard`: samples of the session so far; `bar`: samples of a bar.
    pub fn silent_stem(&mut self, heard: i64, state: &Snapshot, bar: f64) -> Option<u8> {
        for (s, stem) in state.stems.iter().enumerate() {
            // The musician, a repeated bar, and a band that is stopped or counts in may be silent.
            if !state.playing || state.bar < 1 || state.input_stem == Some(s as u8) || stem.frozen > 0 {
                self.sounded[s] = self.sounded[s].max(state.time);
            }
        }
        if heard / INTERVAL == std::mem::replace(&mut self.checks, heard / INTERVAL) {
            return None;
        }
        let longest = (BARS as f64 * bar).max(2.0 * INTERVAL as f64) as i64;
        let s = self.sounded.iter().position(|at| state.time - at > longest)?;
        self.sounded[s] = state.time + INTERVAL;
        Some(s as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_that_end_between_checks_skip_none() {
        let mut watchdog = SilenceWatchdog::new(1);
        let mut state = Snapshot { playing: true, bar: 1, ..Snapshot::default() };
        state.stems.resize_with(1, Default::default);
        let silent = (0..400).filter(|n| {
            state.time = 640 * (25 + 3 * n);
            watchdog.silent_stem(state.time, &state, 64_000.0).is_some()
        });
        assert!(silent.count() >= 3, "768,000 samples of silence");
    }

    #[test]
    fn a_stem_is_found_after_two_bars_of_silence_and_the_musician_never() {
        let mut watchdog = SilenceWatchdog::new(3);
        let mut state = Snapshot { playing: true, bar: 1, input_stem: Some(0), ..Snapshot::default() };
        state.stems.resize_with(3, Default::default);
        let (bar, hop) = (80_000.0, 2560);
        let mut found = Vec::new();
        for n in 1..=600 {
            state.time = n * hop + 1000;
            watchdog.hear(1, &[0.5; 2560], state.time);
            // Stem 2 plays for ten seconds, then is silent.
            watchdog.hear(2, if n < 125 { &[0.1; 2560] } else { &[0.001; 2560] }, state.time);
            found.extend(watchdog.silent_stem(n * hop, &state, bar).map(|s| (s, n * hop)));
        }
        assert_eq!(found[0], (2, 512_000), "ten seconds, two bars, and the next check: {found:?}");
        assert!(found.iter().all(|w| w.0 == 2) && found.windows(2).all(|w| w[1].1 - w[0].1 > 160_000), "{found:?}");
        state.stems[2].frozen = 4;
        state.time += 640_000;
        watchdog.hear(1, &[0.5], state.time);
        assert_eq!(watchdog.silent_stem(64_000 * 100, &state, bar), None, "a repeated bar may be silent");
    }
}
