//! Analysis of whole recordings that belong together: beats, bars, feel, chords and key.

use super::bar_pointer::{search, tempo_prior, tempo_range};
use super::events::{Event, Voice};
use super::grid::Grid;
use super::harmony::{Harmony, of_parts};
use super::heard::Notes;
use super::tables::Tables;
use crate::task::Meter;

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Analysis {
    /// Beats and bars.
    pub grid: Grid,
    /// Chords, where a part has pitches.
    pub harmony: Option<Harmony>,
    /// Logarithm of the probability, up to a constant.
    pub score: f64,
    /// How much less probable the best other place of the beats is, as a difference of logarithms.
    pub beat_margin: f64,
    /// The same for the bar lines on these beats.
    pub bar_margin: f64,
}

/// Weights of the terms of the final choice, set on labelled songs.
const RHYTHM: f64 = 0.7;
const HARMONY: f64 = 0.7;
/// Added for each chord span, so that slow tempi with few spans have no advantage.
const SPAN: f64 = 1.0;
/// Fewest onsets from which a beat is concluded.
const FEWEST: usize = 8;

/// Logarithm of the share of songs with this number of beats in a bar, among the 511 on which the fine patterns of drums were counted.
fn meter_prior(beats_in_bar: usize) -> f64 {
    let share: f64 = match beats_in_bar {
        2 => 0.03,
        3 => 0.04,
        _ => 0.93,
    };
    share.ln()
}

/// Analyses recordings that were made together; `None` where there are too few onsets.
///
/// * `known`: the beats, if they are known; then only the chords are found.
/// * `meter`: the meter, if it is known.
pub(super) fn analyse(parts: &[(Voice, Notes)], tables: &Tables, known: Option<Grid>, meter: Option<Meter>) -> Option<Analysis> {
    if let Some(grid) = known {
        let harmony = of_parts(&grid, parts, &tables.harmony);
        return Some(Analysis { grid, harmony, score: 0.0, beat_margin: f64::INFINITY, bar_margin: f64::INFINITY });
    }
    let mut order: Vec<&(Voice, Notes)> = parts.iter().filter(|(_, notes)| notes.events.len() >= FEWEST).collect();
    order.sort_by_key(|(voice, _)| match voice {
        Voice::Drums => 0,
        Voice::Single => 1,
        Voice::Chords => 2,
    });
    if order.is_empty() {
        return None;
    }
    let inputs: Vec<(Voice, &[Event])> = order.iter().map(|(voice, notes)| (*voice, &notes.events[..])).collect();
    let end = inputs.iter().flat_map(|(_, events)| events.last()).map(|e| e.time).fold(0.0, f64::max) + 1.0;

    let mut candidates: Vec<Analysis> = Vec::new();
    for path in search(&inputs, end, &tables.rhythm) {
        let Some(first) = path.beats.first() else { continue };
        if meter.is_some_and(|meter| meter.beats() as usize != path.beats_in_bar) {
            continue;
        }
        let base = Grid {
            beats: path.beats.iter().map(|b| b.time).collect(),
            first: first.beat,
            beats_in_bar: path.beats_in_bar,
            feel: path.feel,
        };
        for grid in [base.clone(), base.shifted(), base.doubled(), base.halved(0), base.halved(1)] {
            if grid.beats.len() < 2 * grid.beats_in_bar {
                continue;
            }
            let grid = grid.extended(end);
            let bpm = 60.0 / grid.period();
            let [slow, fast] = tempo_range(grid.beats_in_bar);
            if bpm < slow * 0.97 || bpm > fast * 1.03 {
                continue;
            }
            for by in 0..grid.beats_in_bar {
                let grid = grid.rotated(by);
                let rhythm = grid.rhythm(&inputs, &tables.rhythm.feels[grid.feel]);
                let harmony = of_parts(&grid, parts, &tables.harmony);
                let chords = harmony.as_ref().map_or(0.0, |h| h.score + SPAN * h.chords.len() as f64);
                let score = RHYTHM * rhythm + HARMONY * chords + tempo_prior(bpm) + meter_prior(grid.beats_in_bar);
                candidates.push(Analysis { grid, harmony, score, beat_margin: 0.0, bar_margin: 0.0 });
            }
        }
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let best = candidates.first()?;
    let margin = |other: Option<&Analysis>| other.map_or(99.0, |o| best.score - o.score);
    let same_beats = |a: &Grid| {
        a.beats.len() == best.grid.beats.len() && a.beats.iter().zip(&best.grid.beats).all(|(x, y)| (x - y).abs() < 0.05)
    };
    let beat_margin = margin(candidates.iter().find(|c| !same_beats(&c.grid)));
    let bar_margin = margin(candidates.iter().skip(1).find(|c| same_beats(&c.grid) && c.grid.first != best.grid.first));
    Some(Analysis { beat_margin, bar_margin, ..best.clone() })
}
