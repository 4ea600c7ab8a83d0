//! Moves the beats of a grid to where the events say that they are, and tells a constant tempo from a changing
//! one.

use super::events::{Event, Voice};
use super::grid::Grid;
use super::patterns::{Feel, LINES};

/// Farthest that an event is from its line, seconds.
const NEAR: f64 = 0.045;
/// Farthest that the music may be from the beats of a constant tempo, seconds, in the mean of 8 beats.
const DRIFT: f64 = 0.022;
/// Width of the window in which a changing tempo is measured, beats.
const WIDTH: f64 = 2.5;

/// An event at its place in beats from the grid's first.
struct Anchor {
    place: f64,
    time: f64,
    weight: f64,
}

/// Refines a grid. Returns it, and whether its beats are equally long.
pub(super) fn refine(grid: &Grid, inputs: &[(Voice, &[Event])], feel: &Feel) -> (Grid, bool) {
    let anchors = anchors(grid, inputs, feel);
    if anchors.len() < 8 {
        return (grid.clone(), false);
    }
    if let Some(beats) = constant(grid, &anchors) {
        return (Grid { beats, ..grid.clone() }, true);
    }
    // Twice, because the first pass brings more events near their lines.
    let mut refined = grid.clone();
    for _ in 0..2 {
        let anchors = self::anchors(&refined, inputs, feel);
        refined.beats = (0..refined.beats.len()).map(|beat| local(&refined, beat, &anchors)).collect();
    }
    (refined, false)
}

fn anchors(grid: &Grid, inputs: &[(Voice, &[Event])], feel: &Feel) -> Vec<Anchor> {
    let mut out = Vec::new();
    for (voice, events) in inputs {
        let mean = feel.of(*voice).mean();
        for event in events.iter() {
            let after = grid.beats.partition_point(|&b| b <= event.time);
            if after == 0 || after == grid.beats.len() {
                continue;
            }
            let (from, to) = (grid.beats[after - 1], grid.beats[after]);
            let lines = (event.time - from) / (to - from) * LINES as f64;
            // The likeliest line near the event.
            let near = |line: f64| {
                let off = (lines - line) * (to - from) / LINES as f64;
                let index = (grid.place(after - 1) * LINES + line as usize) % (grid.beats_in_bar * LINES);
                let rate: f64 = (0..super::events::KINDS).map(|kind| mean.rate(0, index, kind)).sum();
                (off.abs() < NEAR).then_some((line, rate * (-0.5 * (off / 0.02).powi(2)).exp()))
            };
            let candidates = (0..=LINES).filter_map(|line| near(line as f64));
            if let Some((line, weight)) = candidates.max_by(|a, b| a.1.total_cmp(&b.1))
                && weight > 1e-3
            {
                let place = (after - 1) as f64 + line / LINES as f64;
                out.push(Anchor { place, time: event.time, weight });
            }
        }
    }
    out.sort_by(|a, b| a.place.total_cmp(&b.place));
    out
}

/// The line time = start + length · place through anchors: start and length.
fn fit(anchors: &[(f64, f64, f64)]) -> Option<(f64, f64)> {
    let sum = |f: &dyn Fn(&(f64, f64, f64)) -> f64| anchors.iter().map(f).sum::<f64>();
    let weight = sum(&|a| a.2);
    let (x, y) = (sum(&|a| a.2 * a.0) / weight, sum(&|a| a.2 * a.1) / weight);
    let spread = sum(&|a| a.2 * (a.0 - x) * (a.0 - x));
    if weight <= 0.0 || spread <= 1e-9 {
        return None;
    }
    let slope = sum(&|a| a.2 * (a.0 - x) * (a.1 - y)) / spread;
    Some((y - slope * x, slope))
}

/// Beats of a constant tempo, if the events keep one.
fn constant(grid: &Grid, anchors: &[Anchor]) -> Option<Vec<f64>> {
    let mut used: Vec<(f64, f64, f64)> = anchors.iter().map(|a| (a.place, a.time, a.weight)).collect();
    let (mut start, mut length) = fit(&used)?;
    for _ in 0..3 {
        let kept: Vec<_> = used.iter().copied().filter(|a| (a.1 - start - length * a.0).abs() < 0.06).collect();
        if kept.len() * 10 < anchors.len() * 8 {
            return None;
        }
        (start, length) = fit(&kept)?;
        used = kept;
    }
    let last = grid.beats.len();
    for from in (0..last).step_by(4) {
        let inside = anchors.iter().filter(|a| a.place >= from as f64 && a.place < (from + 8) as f64);
        let (mut sum, mut weight) = (0.0, 0.0);
        for a in inside {
            sum += a.weight * (a.time - start - length * a.place);
            weight += a.weight;
        }
        if weight > 0.5 && (sum / weight).abs() > DRIFT {
            return None;
        }
    }
    // Music is mostly recorded to a whole tempo; take it where the beats stay within 8 ms of it.
    let bpm = 60.0 / length;
    let whole = bpm.round();
    let span = used.last()?.0 - used.first()?.0;
    if ((60.0 / whole - length) * span).abs() < 0.016 {
        let middle = 0.5 * (used.last()?.0 + used.first()?.0);
        start += (length - 60.0 / whole) * middle;
        length = 60.0 / whole;
    }
    Some((0..last).map(|beat| start + length * beat as f64).collect())
}

/// The time of a beat from the events around it.
fn local(grid: &Grid, beat: usize, anchors: &[Anchor]) -> f64 {
    let period = {
        let (a, b) = (beat.saturating_sub(4), (beat + 4).min(grid.beats.len() - 1));
        (grid.beats[b] - grid.beats[a]) / (b - a) as f64
    };
    let reach = 3.0 * WIDTH;
    let from = anchors.partition_point(|a| a.place < beat as f64 - reach);
    let near = anchors[from..].iter().take_while(|a| a.place <= beat as f64 + reach);
    let (mut sum, mut weight) = (0.0, 0.0);
    let mut points: Vec<(f64, f64, f64)> = Vec::new();
    for a in near {
        let off = (a.place - beat as f64) / WIDTH;
        let w = a.weight * (-0.5 * off * off).exp();
        sum += w * (a.time - period * (a.place - beat as f64));
        weight += w;
        points.push((a.place - beat as f64, a.time, w));
    }
    if weight < 0.2 {
        return grid.beats[beat];
    }
    // A slope from few events is uncertain, so it is taken only within 4 % of the beats around.
    match fit(&points) {
        Some((start, length)) if (length / period - 1.0).abs() < 0.04 => start,
        _ => sum / weight,
    }
}
