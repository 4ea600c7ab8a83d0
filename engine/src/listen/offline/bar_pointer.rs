//! The bar pointer: finds tempo, beats and bar lines of a whole recording as the most probable path through
//! tempo and place in the bar (Whiteley, Cemgil and Godsill, 2006; state space of Krebs, Böck and Widmer,
//! 2015).
//!
//! Events are a point process whose rate depends on the place in the bar. The rates are those of counted
//! [`Patterns`].

use super::events::{Event, KINDS, Voice};
use super::patterns::{LINES, Patterns, VoicePatterns};
use crate::model::FRAME_RATE;

/// Deviation of an onset from its line, seconds.
pub(super) const SPREAD: f64 = 0.014;
/// Rate of events that follow no pattern, for each kind, per second.
pub(super) const BACKGROUND: f64 = 0.06;
/// Seconds without an event after which nothing is concluded from silence.
const REST: f64 = 2.0;

/// Weight of the events, which do not all tell something new.
const TEMPER: f64 = 0.7;
/// Cost of a change to the next tempo of the grid, at a beat.
const STEP_COST: f64 = 3.0;
/// Probability of another pattern in the next bar.
pub(super) const SWITCH: f64 = 0.1;

/// Logarithm of the prior probability of a tempo in beats per minute, up to a constant.
pub(super) fn tempo_prior(bpm: f64) -> f64 {
    let octaves = (bpm / 110.0).log2() / 0.45;
    -octaves * octaves
}

/// One beat of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PathBeat {
    /// Seconds.
    pub time: f64,
    /// Beat in its bar, from 0.
    pub beat: usize,
}

/// A path through a recording.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Index of the feel.
    pub feel: usize,
    /// Beats of a bar.
    pub beats_in_bar: usize,
    pub beats: Vec<PathBeat>,
    /// Logarithm of its probability, up to a constant.
    pub score: f64,
}

/// States of one pattern at one tempo.
struct Group {
    pattern: usize,
    tempo: usize,
    /// Frames of a bar.
    len: usize,
    /// First cell of each beat.
    boundaries: Vec<usize>,
    /// Score of each cell; cell c at frame t is at (c - t) mod len.
    scores: Vec<f32>,
    /// What a frame adds without events, for each cell.
    quiet: Vec<f32>,
    /// What an event adds, for each input and kind that occurs.
    loud: Vec<Vec<Vec<f32>>>,
}

/// Rates per cell: [kind][cell].
fn rates(patterns: &VoicePatterns, m: usize, beats: usize, len: usize) -> Vec<Vec<f64>> {
    let lines = beats * LINES;
    let sigma = SPREAD * FRAME_RATE as f64;
    let mut out = vec![vec![BACKGROUND / FRAME_RATE as f64; len]; KINDS];
    for line in 0..lines {
        let centre = line as f64 * len as f64 / lines as f64;
        let reach = (3.0 * sigma + 1.0) as i64;
        // Share of the line's kernel in each cell around it.
        let cells: Vec<(usize, f64)> = (centre as i64 - reach..=centre as i64 + reach)
            .map(|c| {
                let share = normal((c as f64 + 1.0 - centre) / sigma) - normal((c as f64 - centre) / sigma);
                (c.rem_euclid(len as i64) as usize, share)
            })
            .collect();
        for (kind, row) in out.iter_mut().enumerate() {
            let rate = patterns.rate(m, line, kind);
            if rate > 0.0 {
                cells.iter().for_each(|&(c, share)| row[c] += rate * share);
            }
        }
    }
    out
}

/// The normal distribution function, by a logistic approximation.
fn normal(x: f64) -> f64 {
    1.0 / (1.0 + (-1.5976 * x - 0.07056 * x * x * x).exp())
}

/// The best path for each feel, best first.
///
/// * `inputs`: the events of each recording, the most telling first.
/// * `seconds`: length of the music.
pub(super) fn search(inputs: &[(Voice, &[Event])], seconds: f64, patterns: &Patterns) -> Vec<Path> {
    let frames = (seconds * FRAME_RATE as f64).ceil() as usize + 1;
    let mut at = vec![vec![None; inputs.len()]; frames];
    for (i, (_, events)) in inputs.iter().enumerate() {
        for event in events.iter() {
            let frame = (event.time * FRAME_RATE as f64) as usize;
            if frame < frames {
                at[frame][i] = Some(usize::from(event.kind));
            }
        }
    }
    // Frames near an event.
    let mut active = vec![false; frames];
    let reach = (REST * FRAME_RATE as f64) as usize;
    for t in 0..frames {
        if at[t].iter().any(Option::is_some) {
            active[t.saturating_sub(reach)..(t + reach).min(frames)].fill(true);
        }
    }
    let mut paths: Vec<Path> =
        (0..patterns.feels.len()).filter_map(|feel| search_feel(feel, inputs, &at, &active, patterns)).collect();
    paths.sort_by(|a, b| b.score.total_cmp(&a.score));
    paths
}

/// Range of the beat in BPM in each number of beats.
pub(super) fn tempo_range(beats: usize) -> [f64; 2] {
    match beats {
        2 => [38.0, 110.0],
        3 => [70.0, 220.0],
        _ => [52.0, 220.0],
    }
}

fn search_feel(
    feel: usize,
    inputs: &[(Voice, &[Event])],
    at: &[Vec<Option<usize>>],
    active: &[bool],
    patterns: &Patterns,
) -> Option<Path> {
    let beats = patterns.feels[feel].beats;
    let primary = patterns.feels[feel].of(inputs.first()?.0);
    let means: Vec<VoicePatterns> = inputs[1..].iter().map(|(voice, _)| patterns.feels[feel].of(*voice).mean()).collect();
    let [slow, fast] = tempo_range(beats);
    let bar = |bpm: f64| beats as f64 * 60.0 / bpm * FRAME_RATE as f64;
    let mut lens = vec![bar(fast).round() as usize];
    while (*lens.last()? as f64) < bar(slow) {
        let len = *lens.last()?;
        lens.push(len + ((len as f64 * 0.014).round() as usize).max(1));
    }
    let (v_count, m_count) = (lens.len(), primary.weights.len());
    let temper = TEMPER as f32;
    let mut groups = Vec::with_capacity(v_count * m_count);
    for m in 0..m_count {
        for (v, &len) in lens.iter().enumerate() {
            let mut quiet = vec![0.0f32; len];
            let mut loud = Vec::new();
            for i in 0..inputs.len() {
                let rates = if i == 0 { rates(primary, m, beats, len) } else { rates(&means[i - 1], 0, beats, len) };
                for row in &rates {
                    quiet.iter_mut().zip(row).for_each(|(q, r)| *q -= temper * *r as f32);
                }
                loud.push(rates.iter().map(|row| row.iter().map(|r| temper * r.ln() as f32).collect()).collect());
            }
            let bpm = beats as f64 * 60.0 * FRAME_RATE as f64 / len as f64;
            let start = primary.weights[m].ln() + tempo_prior(bpm) - (len as f64).ln();
            groups.push(Group {
                pattern: m,
                tempo: v,
                len,
                boundaries: (0..beats).map(|b| (b * len + beats / 2) / beats).collect(),
                scores: vec![start as f32; len],
                quiet,
                loud,
            });
        }
    }
    let slots = groups.len() * beats;
    let mut back = vec![0u8; slots * at.len()];
    let mut gathered = vec![0.0f32; slots];
    // For each tempo, the best pattern at the end of a bar.
    let mut changed = vec![(0.0f32, 0u8); v_count];
    let ln_stay = (1.0 - SWITCH).ln() as f32;
    let ln_switch: Vec<f32> = primary.weights.iter().map(|w| (SWITCH * w).ln() as f32).collect();
    for (t, events) in at.iter().enumerate() {
        if t > 0 {
            // What each group's cell before a boundary has; its index now is that of the boundary.
            for (g, group) in groups.iter().enumerate() {
                for (b, &cell) in group.boundaries.iter().enumerate() {
                    gathered[g * beats + b] = group.scores[(cell as i64 - t as i64).rem_euclid(group.len as i64) as usize];
                }
            }
            for (v, best) in changed.iter_mut().enumerate() {
                *best = (f32::NEG_INFINITY, 0);
                for m in 0..m_count {
                    let score = gathered[(m * v_count + v) * beats];
                    if score > best.0 {
                        *best = (score, m as u8);
                    }
                }
            }
            let row = &mut back[t * slots..][..slots];
            for (g, group) in groups.iter_mut().enumerate() {
                let (m, v) = (group.pattern, group.tempo);
                for (b, &cell) in group.boundaries.iter().enumerate() {
                    let mut best = (f32::NEG_INFINITY, 0u8);
                    for offset in -2i64..=2 {
                        let from = v as i64 + offset;
                        if from < 0 || from >= v_count as i64 {
                            continue;
                        }
                        let cost = STEP_COST as f32 * offset.unsigned_abs() as f32;
                        let code = (offset + 2) as u8;
                        let own = gathered[(m * v_count + from as usize) * beats + b];
                        let mut candidate = (own - cost, code | (m as u8) << 3);
                        if b == 0 {
                            candidate.0 += ln_stay;
                            let (any, m2) = changed[from as usize];
                            if any + ln_switch[m] - cost > candidate.0 {
                                candidate = (any + ln_switch[m] - cost, code | m2 << 3);
                            }
                        }
                        if candidate.0 > best.0 {
                            best = candidate;
                        }
                    }
                    let index = (cell as i64 - t as i64).rem_euclid(group.len as i64) as usize;
                    group.scores[index] = best.0;
                    row[g * beats + b] = best.1;
                }
            }
        }
        for group in &mut groups {
            let shift = t % group.len;
            // Cells shift.. are at 0.. and cells ..shift at the end.
            let (head, tail) = group.scores.split_at_mut(group.len - shift);
            if active[t] {
                head.iter_mut().zip(&group.quiet[shift..]).for_each(|(s, q)| *s += q);
                tail.iter_mut().zip(&group.quiet[..shift]).for_each(|(s, q)| *s += q);
            }
            for (i, kind) in events.iter().enumerate() {
                if let Some(kind) = kind {
                    let loud = &group.loud[i][*kind];
                    head.iter_mut().zip(&loud[shift..]).for_each(|(s, q)| *s += q);
                    tail.iter_mut().zip(&loud[..shift]).for_each(|(s, q)| *s += q);
                }
            }
        }
    }
    // The best end, and back.
    let last = at.len() - 1;
    let (mut g, mut cell, mut score) = (0, 0, f32::NEG_INFINITY);
    for (i, group) in groups.iter().enumerate() {
        for (index, &s) in group.scores.iter().enumerate() {
            if s > score {
                (g, cell, score) = (i, (index + last) % group.len, s);
            }
        }
    }
    let mut out = Vec::new();
    let mut t = last as i64;
    loop {
        let group = &groups[g];
        let b = group.boundaries.iter().rposition(|&first| first <= cell)?;
        let entered = t - (cell - group.boundaries[b]) as i64;
        if entered < 0 {
            break;
        }
        out.push(PathBeat { time: entered as f64 / FRAME_RATE as f64, beat: b });
        if entered == 0 {
            break;
        }
        let code = back[entered as usize * slots + g * beats + b];
        let v = (group.tempo as i64 + i64::from(code & 7) - 2) as usize;
        g = usize::from(code >> 3) * v_count + v;
        let next = &groups[g];
        cell = if b == 0 { next.len - 1 } else { next.boundaries[b] - 1 };
        t = entered - 1;
    }
    out.reverse();
    Some(Path { feel, beats_in_bar: beats, beats: out, score: f64::from(score) })
}
