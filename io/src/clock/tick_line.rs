//! The straight line through the arrival times of MIDI clock ticks: it removes the jitter, and starts over where the tempo changes.

use std::collections::VecDeque;

/// The most ticks that the line goes through: eight beats.
const MOST: usize = 192;
/// Ticks after which the tempo of a new clock is known: one beat. Until then no tick counts as lost.
const SETTLE: usize = 24;
/// Ticks over which the jitter is averaged.
const AVERAGE: f64 = 36.0;
/// The smallest jitter that is assumed, s.
const LEAST_JITTER: f64 = 0.25e-3;
/// A change of tempo is a sum of errors of one sign, each less one time the jitter, of this many times the jitter. With errors of the
/// jitter's size at random, that happens once in months.
const CHANGED: f64 = 10.0;
/// The standard error of the period at which a new tempo is reported, as a share of the period.
const KNOWN: f64 = 0.003;
/// The part of a period by which a tick must be late so that one before it counts as lost, and the gap before it, in periods.
const LATE: f64 = 0.62;
const GAP: f64 = 1.25;
/// Ticks among which several lost ones may be a slower tempo instead.
const SLOWER: i64 = 24;
/// Ticks for which one that was counted as lost may still come, because it was only held up.
const HELD: i64 = 12;
/// The part of a period by which such a tick is early.
const EARLY: f64 = 0.5;
/// That none was lost is assumed unless the ticks then lie this many times farther from their line.
const LIKELIER: f64 = 1.3;

/// A tick that has arrived.
#[derive(Debug, Clone, Copy)]
struct Tick {
    number: i64,
    /// s.
    at: f64,
    /// It was held up with others behind it, so its time says little.
    late: bool,
}

/// The line, and how well it fits.
#[derive(Debug, Clone, Default)]
pub struct TickLine {
    ticks: VecDeque<Tick>,
    /// Time of tick number `at_number`, and the length of a tick, on the line.
    at: f64,
    period: f64,
    /// The period that is reported: of the line, or of the one before while this one has too few ticks.
    reported: f64,
    /// Standard deviation of the ticks' times, s.
    jitter: f64,
    /// Sums of late and of early errors, and how many of the newest ticks each one has.
    sums: [(f64, usize); 2],
    /// The newest ticks that had lost ones before them: the number of each, and of the first of the ticks that were late before it.
    gaps: VecDeque<(i64, i64)>,
    /// Ticks that were counted as lost and may still come, and the number of the tick after the last of them.
    held: (i64, i64),
    /// Ticks that were counted as lost.
    lost: i64,
}

impl TickLine {
    /// Starts over with a tick.
    pub fn restart(&mut self, at: f64) {
        let TickLine { mut ticks, lost, .. } = std::mem::take(self);
        ticks.clear();
        ticks.push_back(Tick { number: 0, at, late: false });
        *self = TickLine { ticks, at, lost, jitter: LEAST_JITTER, ..TickLine::default() };
    }

    /// Whether the tempo is known.
    pub fn is_known(&self) -> bool {
        self.reported > 0.0
    }

    /// Time of the newest tick on the line, s.
    pub fn newest(&self) -> f64 {
        self.at
    }

    /// Time of the newest tick as it arrived, s.
    pub fn arrived(&self) -> f64 {
        self.ticks.back().map_or(0.0, |tick| tick.at)
    }

    /// Length of a tick, s: until the tempo is known, that of the first ticks; 0: not known.
    pub fn period(&self) -> f64 {
        if self.is_known() { self.reported } else { self.period }
    }

    /// Jitter of the ticks, as a share of a tick.
    pub fn jitter(&self) -> f64 {
        self.jitter / self.period
    }

    /// Ticks that were counted as lost, those that were not lost after all taken off.
    pub fn lost(&self) -> i64 {
        self.lost
    }

    /// Takes a tick. `range`: the shortest and the longest tick, s. Returns by how much the position moves: by 1, by more if ticks were
    /// lost, by less if earlier ones were not lost after all.
    pub fn tick(&mut self, at: f64, range: (f64, f64)) -> i64 {
        let Some(&Tick { number: last, at: before, .. }) = self.ticks.back() else {
            self.restart(at);
            return 1;
        };
        if self.reported == 0.0 {
            self.push(last + 1, at);
            self.fit(range);
            if self.ticks.len() > SETTLE {
                self.jitter = deviation(&self.ticks).max(LEAST_JITTER);
                self.reported = self.period;
            }
            return 1;
        }
        let late = |steps: f64| at - (self.at + steps * self.period);
        if self.held.0 > 0 && last - self.held.1 <= HELD && late(1.0) < -EARLY * self.period {
            self.held_up(last, at);
            self.fit(range);
            return 0;
        }
        // A gap is several ticks only if the newest one is late, too.
        let settled = self.ticks.len() > SETTLE / 2;
        // The fewer ticks a line has, the less is known where the next one should be.
        let n = self.ticks.len() as f64;
        let unsure = if n < 3.0 { 3.0 } else { (1.0 + (4.0 * n + 2.0) / (n * (n - 1.0))).sqrt() };
        let missing = (late(1.0) / unsure / self.period + 1.0 - LATE).floor();
        let lost = if settled && at - before >= GAP * self.period { missing.max(0.0) as i64 } else { 0 };
        let error = late(1.0 + lost as f64) / unsure;
        let moved = last + 1 + lost;
        self.push(moved, at);
        self.lost += lost;
        let first = self.ticks.front().map_or(0, |tick| tick.number);
        self.gaps.retain(|(number, _)| *number > first && moved - *number <= SLOWER);
        if lost > 0 {
            self.held = (lost, moved);
            let first_late = self.ticks.iter().rev().nth(self.sums[0].1).map_or(moved, |tick| tick.number);
            self.gaps.push_back((moved, first_late));
        }
        let clipped = error.abs().min(3.0 * self.jitter);
        // 1.25: from the mean of absolute values to the standard deviation.
        self.jitter = (self.jitter + (1.25 * clipped - self.jitter) / AVERAGE).max(LEAST_JITTER);
        for ((sum, length), error) in self.sums.iter_mut().zip([error, -error]) {
            *sum += error - self.jitter;
            *length += 1;
            if *sum <= 0.0 {
                (*sum, *length) = (0.0, 0);
            }
        }
        let enough = CHANGED * self.jitter;
        let changed = self.sums.iter().filter(|s| s.0 > enough).map(|s| if error.abs() > enough { 1 } else { s.1 }).min();
        // Perhaps the tempo became slower before the oldest gap, and no tick was lost.
        let since = |number: i64| self.ticks.iter().rev().take_while(|tick| tick.number >= number).count();
        let slower = self.gaps.front().map(|(number, late)| (since(*number), since(*late)));
        match (changed, slower) {
            (Some(length), slower) => {
                let _ = self.start_at_change(length, false)
                    || slower.is_some_and(|(_, slower)| slower > length && self.start_at_change(slower, false))
                    || self.start_at_change(length, true);
            }
            (None, Some((slower, _))) if lost > 0 && self.gaps.len() > 1 => {
                self.start_at_change(slower, false);
            }
            (None, _) => {}
        }
        self.fit(range);
        let n = self.ticks.len() as f64;
        if self.jitter * (12.0 / (n * n * n)).sqrt() < KNOWN * self.period {
            self.reported = self.period;
        }
        let newest = self.ticks.back().map_or(moved, |tick| tick.number);
        newest - last
    }

    /// Takes a tick that was counted as lost and was only held up: several then come at once. The line goes through the newest of
    /// them, `last`.
    fn held_up(&mut self, last: i64, at: f64) {
        let came = self.ticks.iter_mut().rev().take_while(|tick| tick.number > self.held.1 - self.held.0);
        came.for_each(|tick| (tick.number, tick.late) = (tick.number - 1, true));
        (self.held.0, self.lost) = (self.held.0 - 1, self.lost - 1);
        self.push(last, at);
        self.sums.iter_mut().filter(|(_, length)| *length > 0).for_each(|(_, length)| *length += 1);
    }

    fn push(&mut self, number: i64, at: f64) {
        if self.ticks.len() == MOST {
            self.ticks.pop_front();
        }
        self.ticks.push_back(Tick { number, at, late: false });
    }

    /// Starts the line over with the newest ticks, since a change of tempo. If they lie on a straight line without the ticks that were
    /// counted as lost among them, none was lost: the tempo is slower. `changed`: the tempo has changed in any case. Returns whether the
    /// line has started over.
    fn start_at_change(&mut self, length: usize, changed: bool) -> bool {
        // The tick before the change is the first one of the new tempo.
        let from = self.ticks.len().saturating_sub(length + 1);
        let mut newest: VecDeque<Tick> = self.ticks.range(from..).copied().collect();
        let counted = deviation(&newest);
        let number = |tick: Option<&Tick>| tick.map_or(0, |tick| tick.number);
        let first = number(newest.front());
        newest.iter_mut().zip(first..).for_each(|(tick, number)| tick.number = number);
        let dropped = number(self.ticks.back()) - number(newest.back());
        if dropped > 0 && deviation(&newest) < LIKELIER * counted + LEAST_JITTER {
            (self.ticks, self.lost) = (newest, self.lost - dropped);
        } else if changed {
            self.ticks.drain(..from);
        } else {
            return false;
        }
        self.sums = Default::default();
        self.gaps.clear();
        self.held = (0, 0);
        true
    }

    fn fit(&mut self, (shortest, longest): (f64, f64)) {
        let (number, at, slope) = line(&self.ticks);
        self.period = slope.unwrap_or(self.period).clamp(shortest, longest);
        let newest = self.ticks.back().map_or(0.0, |tick| tick.number as f64);
        self.at = at + (newest - number) * self.period;
    }
}

/// Mean number and time of the ticks that were not held up, and the slope of the line through them, by least squares; no slope
/// through one tick.
fn line(ticks: &VecDeque<Tick>) -> (f64, f64, Option<f64>) {
    let Some(&Tick { number: first, at: began, .. }) = ticks.front() else { return (0.0, 0.0, None) };
    let (mut n, mut sums) = (0.0, [0.0; 4]);
    for &Tick { number, at, .. } in ticks.iter().filter(|tick| !tick.late) {
        // From the first one: with large numbers the squares would lose their last digits.
        let (x, y) = ((number - first) as f64, at - began);
        n += 1.0;
        [x, y, x * x, x * y].into_iter().zip(&mut sums).for_each(|(term, sum)| *sum += term);
    }
    let [x, y, xx, xy] = sums;
    let spread = n * xx - x * x;
    (first as f64 + x / n, began + y / n, (spread > 0.0).then(|| (n * xy - x * y) / spread))
}

/// Standard deviation of the ticks that were not held up from their line, s.
fn deviation(ticks: &VecDeque<Tick>) -> f64 {
    let (number, at, slope) = line(ticks);
    let square = |tick: &Tick| (tick.at - at - (tick.number as f64 - number) * slope.unwrap_or(0.0)).powi(2);
    let squares = ticks.iter().filter(|tick| !tick.late).map(square);
    let free = (squares.clone().count() as f64 - 2.0).max(1.0);
    (squares.sum::<f64>() / free).sqrt()
}
