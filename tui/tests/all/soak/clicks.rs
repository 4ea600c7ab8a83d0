//! Checks that clicks are on the grid of their beat.

use std::fmt;

/// Frames of a beat: 120 BPM at 48 kHz.
const BEAT: i64 = 24_000;
/// Frames by which a click may be off its grid: the ringing of the resampler.
const EXACT: i64 = 2;
/// Frames of a click. One whose beginning is missing, after a dropout, is late by less than that.
const CLICK: i64 = 1920;

/// A click at a port.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    /// The server's frame time.
    pub at: u64,
    /// The server's block size, on which the latency depends, by which the output is ahead.
    pub period: u32,
}

/// The clicks of one client at one block size: those in which the grid is the same.
#[derive(Default)]
struct Stretch(Vec<u64>);

/// What the clicks of a stretch say.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// All are on the grid, but for so many that began in a dropout.
    Exact { cut: usize },
    /// Frames after the first click, and off the grid.
    Off(Vec<(u64, i64)>),
}

impl Stretch {
    fn verdict(&self) -> Verdict {
        let off = |phase: u64| move |at: &u64| (*at as i64 - phase as i64 + BEAT / 2).rem_euclid(BEAT) - BEAT / 2;
        let on = |phase: u64| self.0.iter().map(off(phase)).filter(|off| off.abs() <= EXACT).count();
        let Some(phase) = self.0.iter().copied().max_by_key(|at| on(*at)) else { return Verdict::Exact { cut: 0 } };
        let all: Vec<i64> = self.0.iter().map(off(phase)).collect();
        let late: Vec<usize> = (0..all.len()).filter(|&k| all[k].abs() > EXACT).collect();
        // A dropout cuts one click. Two with the same offset are a grid that has moved.
        let is_cut =
            |k: usize| all[k] > 0 && all[k] < CLICK && all.iter().filter(|off| (*off - all[k]).abs() <= EXACT).count() == 1;
        if late.iter().all(|&k| is_cut(k)) {
            return Verdict::Exact { cut: late.len() };
        }
        Verdict::Off(late.iter().map(|&k| (self.0[k] - self.0[0], all[k])).collect())
    }
}

/// All clicks of a session.
#[derive(Default)]
pub struct Grid {
    stretches: Vec<Stretch>,
    /// Block size of the last click; none after a cut.
    period: Option<u32>,
    strikes: usize,
}

impl Grid {
    pub fn add(&mut self, strike: Strike) {
        if self.period != Some(strike.period) {
            self.stretches.push(Stretch::default());
            self.period = Some(strike.period);
        }
        self.strikes += 1;
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.0.push(strike.at);
        }
    }

    /// The next click is of another client.
    pub fn cut(&mut self) {
        self.period = None;
    }

    /// Clicks so far.
    pub fn strikes(&self) -> usize {
        self.strikes
    }

    /// Fails if a click is off its grid.
    pub fn check(&self) {
        for stretch in &self.stretches {
            let verdict = stretch.verdict();
            assert!(matches!(verdict, Verdict::Exact { .. }), "{} clicks: {verdict:?}", stretch.0.len());
        }
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let cut = self.stretches.iter().map(|s| if let Verdict::Exact { cut } = s.verdict() { cut } else { 0 }).sum::<usize>();
        write!(f, "{} clicks in {} stretches, {cut} of them cut by a dropout", self.strikes, self.stretches.len())
    }
}

#[test]
fn a_grid_that_moves_is_found_and_a_click_that_a_dropout_cuts_is_none() {
    let of = |beats: &[i64]| Stretch((0..).zip(beats).map(|(k, off)| (100 + k * BEAT + off) as u64).collect()).verdict();
    assert_eq!(of(&[]), Verdict::Exact { cut: 0 });
    assert_eq!(of(&[0, 1, -1, 0]), Verdict::Exact { cut: 0 });
    assert_eq!(of(&[0, 700, 0, 0, 30]), Verdict::Exact { cut: 2 });
    assert_eq!(of(&[0, 0, 0, 700, 700]), Verdict::Off(vec![(3 * BEAT as u64 + 700, 700), (4 * BEAT as u64 + 700, 700)]));
    assert!(matches!(of(&[0, 0, -40, 0]), Verdict::Off(_)));
    assert!(matches!(of(&[0, 0, 5000, 0]), Verdict::Off(_)));
}
