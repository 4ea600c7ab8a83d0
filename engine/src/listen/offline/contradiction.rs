//! Finds out that a recording contradicts the beats that were given for it.

use super::events::Voice;
use super::heard::{Heard, Known, KnownClock, Notes, listen_to};

/// Farthest that a note begins from its line, seconds.
const NEAR: f64 = 0.025;
/// Parts of a beat at which notes begin: sixteenths, or triplets.
const DIVISIONS: [f64; 2] = [4.0, 3.0];
/// Fewest notes that say anything.
const FEWEST: usize = 16;
/// Confidence and share of the notes that beats must have to be a better value, and by how much the share is larger.
const SURE: f64 = 0.75;
const FITS: f64 = 0.75;
const BETTER: f64 = 0.2;

/// Beats that fit a recording, where those that were given don't.
#[derive(Debug, Clone, PartialEq)]
pub struct Contradiction {
    /// Share of the notes that are on the beats that were given: 0 to 1.
    pub given: f64,
    /// The same on the beats that were heard.
    pub share: f64,
    /// What was heard.
    pub heard: Heard,
}

/// Listens without the beats that were given, and compares. `None` where they fit, where nothing else clearly fits
/// better, and where there are too few notes.
pub fn contradiction(parts: &[(Voice, Notes)], given: &KnownClock) -> Option<Contradiction> {
    let fits = |beats: &[f64]| share_on_beats(parts, beats);
    let share_given = fits(&given.beats).filter(|share| *share < 1.0 - BETTER)?;
    let heard = listen_to(parts, &Known { meter: Some(given.meter), ..Known::default() }, &[])?;
    let share = fits(&heard.beats)?;
    // Half the tempo is the musician's choice.
    let share_given = if longer(&given.beats, &heard.beats) { fits(&halved(&given.beats))? } else { share_given };
    let is_better = share >= FITS && share - share_given >= BETTER && heard.beat_confidence >= SURE;
    is_better.then_some(Contradiction { given: share_given, share, heard })
}

/// Whether beats are much longer than others.
fn longer(beats: &[f64], others: &[f64]) -> bool {
    let mean = |beats: &[f64]| match beats {
        [first, .., last] => (last - first) / (beats.len() - 1) as f64,
        _ => 0.0,
    };
    mean(beats) > 1.5 * mean(others)
}

/// Beats of half the length.
fn halved(beats: &[f64]) -> Vec<f64> {
    beats.windows(2).flat_map(|w| [w[0], 0.5 * (w[0] + w[1])]).collect()
}

/// Share of the notes that begin on a part of a beat; `None` where there are too few.
fn share_on_beats(parts: &[(Voice, Notes)], beats: &[f64]) -> Option<f64> {
    let times = parts.iter().flat_map(|(_, notes)| &notes.events).map(|event| event.time);
    let (mut count, mut on) = (0, [0; DIVISIONS.len()]);
    for time in times {
        let after = beats.partition_point(|beat| *beat <= time);
        let Some(&[from, to]) = after.checked_sub(1).and_then(|before| beats.get(before..=after)) else { continue };
        count += 1;
        for (on, division) in on.iter_mut().zip(DIVISIONS) {
            let line = (to - from) / division;
            let off = (time - from) / line;
            *on += usize::from((off - off.round()).abs() * line < NEAR);
        }
    }
    (count >= FEWEST).then(|| f64::from(on.into_iter().max().unwrap_or(0) as u32) / f64::from(count as u32))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::heard::{Recording, notes};
    use super::*;
    use crate::audio;
    use crate::task::Meter;

    /// Whether the beats of a tempo from 0.5 s on are contradicted by a recording in examples/, and the tempo heard.
    fn heard(name: &str, tempos: &[f64]) -> Vec<Option<f64>> {
        let samples = audio::read(&Path::new("../examples").join(name)).unwrap().samples;
        let parts = [(Voice::Single, notes(&Recording { voice: Voice::Single, samples: &samples }))];
        let beats = |tempo: f64| (0..).map(move |k| 0.5 + f64::from(k) * 60.0 / tempo).take_while(|beat| *beat < 32.0).collect();
        let given = |tempo| KnownClock { beats: beats(tempo), bar1: 0, meter: Meter::FourFour };
        tempos.iter().map(|tempo| contradiction(&parts, &given(*tempo)).map(|found| found.heard.tempo.round())).collect()
    }

    #[test]
    fn a_wrong_tempo_is_a_contradiction_and_half_or_double_is_not() {
        assert_eq!(heard("funk.flac", &[100.0, 50.0, 200.0, 101.0, 90.0]), [None, None, None, Some(100.0), Some(100.0)]);
        // Swing.
        assert_eq!(heard("jazz.flac", &[136.0, 68.0, 120.0]), [None, None, Some(136.0)]);
    }
}
