//! Following a tempo from outside: taps, and MIDI clock. Pure functions of time stamps; times are seconds of any steady clock.
//!
//! *Position is counted, tempo is followed*: a MIDI clock's tick is a 24th of a quarter note however late it came, so position never
//! drifts, and a lost tick is seen by the gap that it leaves. Tempo and phase come from a locked loop, so jitter is not heard.

use std::collections::VecDeque;

use sideman_engine::limits::TEMPO;

/// Ticks of a quarter note, and of a sixteenth, the unit of song positions.
pub const TICKS: u32 = 24;
const SIXTEENTH: i64 = 6;

/// A pause after which taps begin anew, s.
const TAP_PAUSE: f64 = 2.5;
/// Taps that count.
const TAPS: usize = 8;

/// Tap tempo: the mean interval of the last taps; one that is far from the others begins anew.
#[derive(Debug, Clone, Default)]
pub struct Taps(VecDeque<f64>);

impl Taps {
    /// A tap at a time: the tempo, from the second tap on.
    pub fn tap(&mut self, at: f64) -> Option<f64> {
        if let (Some(&first), Some(&last)) = (self.0.front(), self.0.back()) {
            let (gap, mean) = (at - last, (last - first) / (self.0.len() - 1).max(1) as f64);
            let other = self.0.len() > 1 && !(0.6..1.6).contains(&(gap / mean));
            if gap <= 0.0 || gap > TAP_PAUSE || other {
                // A changed mind: what was tapped last is the new beginning.
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

/// Ticks in which the loop forgets: a beat and a half. Its damping is critical. Until then it goes on as the straight line of all that came.
const LOOP: f64 = 36.0;
/// Ticks after which a new clock's tempo is known: a straight line through one beat.
const SETTLE: u64 = 24;
/// A gap of more than this many ticks' time is a stop of the sender.
const LOST: f64 = 24.0;

/// Follows a MIDI clock.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    /// Ticks since the song's beginning, of the last tick heard.
    ticks: i64,
    running: bool,
    /// The first tick after start or continue plays the position itself.
    first: bool,
    /// Sums of the straight line: of times since the first, and of times by number.
    line: (f64, f64, f64),
    /// Time of the last tick as the loop has it, and as it came.
    smooth: Option<f64>,
    came: f64,
    /// Seconds of a tick.
    period: f64,
    seen: u64,
    /// Mean of the last errors, in ticks.
    error: f64,
    /// Ticks heard since the last start or continue: before it the tempo may have been another one.
    pub since: u64,
    /// Ticks that were missing and counted all the same.
    pub lost: u64,
    offset: f64,
}

impl Follower {
    /// A follower that hears the clock so many seconds later than it is meant.
    pub fn new(offset: f64) -> Self {
        Follower { offset, ..Follower::default() }
    }

    /// Start: the song begins with the next tick.
    pub fn start(&mut self) {
        self.position(0);
        self.resume();
    }

    /// Continue: it goes on where it is with the next tick.
    pub fn resume(&mut self) {
        (self.running, self.first, self.since) = (true, true, 0);
    }

    /// Stop: the clock may go on ticking, the position stands.
    pub fn stop(&mut self) {
        self.running = false;
    }

    /// Song position, in sixteenths.
    pub fn position(&mut self, sixteenths: u16) {
        self.ticks = i64::from(sixteenths) * SIXTEENTH;
        self.first = true;
    }

    /// A tick that came at a time.
    pub fn tick(&mut self, at: f64) {
        let at = at - self.offset;
        let steps = self.follow(at);
        if self.running {
            self.since += 1;
            self.ticks += if std::mem::take(&mut self.first) { 0 } else { steps };
        }
    }

    /// The loop; ticks that this one stands for: more than one where some were lost.
    fn follow(&mut self, at: f64) -> i64 {
        let gap = at - self.came;
        let stopped = gap < 0.0 || self.seen > SETTLE && gap > LOST * self.period || gap > 60.0 / TEMPO.min / 2.0;
        let Some(smooth) = self.smooth.filter(|_| !stopped) else {
            // The first of all, or the first after the sender had stopped: the loop begins anew.
            (self.smooth, self.came, self.seen, self.line) = (Some(at), at, 1, (at, 0.0, 0.0));
            return 1;
        };
        if self.seen <= SETTLE {
            // The straight line of least squares through what has come.
            let (first, mut sum, mut by) = self.line;
            sum += at - first;
            by += (at - first) * self.seen as f64;
            let n = self.seen as f64 + 1.0;
            let mean = (n - 1.0) / 2.0;
            self.period = 12.0 * (by - mean * sum) / (n * (n * n - 1.0));
            (self.line, self.came, self.seen) = ((first, sum, by), at, self.seen + 1);
            self.smooth = Some(first + sum / n + self.period * (n - 1.0 - mean));
            self.keep_in_range();
            return 1;
        }
        // Jitter is a few ms, a lost tick a whole period. Where the tick before came near, more is needed to believe in a lost one.
        let doubt = if gap < 1.75 * self.period { 0.38 } else { 0.5 };
        let steps = ((at - smooth) / self.period + doubt).floor().max(1.0);
        let foretold = smooth + steps * self.period;
        let error = at - foretold;
        // Gains of the straight line through n ticks, or the loop's: at 180 a minute a loop that began with the line of one beat took 5 ms
        // of jitter for a lost tick, in 1 of 300 runs.
        let n = self.seen as f64;
        self.smooth = Some(foretold + (2.0 / LOOP).max(4.0 / n) * error);
        self.period += (2.0 / (LOOP * LOOP)).max(6.0 / (n * n)) * error / steps;
        self.keep_in_range();
        self.error += ((error / self.period).abs() - self.error) / LOOP;
        (self.came, self.seen) = (at, self.seen + 1);
        self.lost += steps as u64 - 1;
        steps as i64
    }

    fn keep_in_range(&mut self) {
        self.period = self.period.clamp(60.0 / TEMPO.max / f64::from(TICKS), 60.0 / TEMPO.min / f64::from(TICKS));
    }

    /// Whether start or continue came last.
    pub fn running(&self) -> bool {
        self.running
    }

    /// Quarter notes a minute; none until a few ticks have come.
    pub fn tempo(&self) -> Option<f64> {
        (self.seen > SETTLE).then(|| 60.0 / (self.period * f64::from(TICKS)))
    }

    /// Position at a time, in quarter notes: counted ticks, and the share of the next one that has gone by.
    pub fn quarters(&self, at: f64) -> f64 {
        let (Some(smooth), true) = (self.smooth, self.running && self.period > 0.0) else {
            return self.ticks as f64 / f64::from(TICKS);
        };
        // A clock that falls silent does not run on for ever.
        let since = ((at - smooth) / self.period).clamp(-1.0, LOST);
        (self.ticks as f64 + if self.first { 0.0 } else { since }) / f64::from(TICKS)
    }

    /// How well it is locked: 1 is without error, 0 is half a tick or no clock at a time.
    pub fn lock(&self, at: f64) -> f64 {
        if self.seen <= SETTLE || at - self.came > LOST * self.period { 0.0 } else { (1.0 - 2.0 * self.error).max(0.0) }
    }
}

/// The most that a tempo is bent to make up for a phase, as a share of it.
const BEND: f64 = 0.04;

/// The tempo to play at so that a band at `ours` quarter notes meets a clock at `theirs` within about two quarter notes and without a
/// jump: the bar goes on, a little faster or slower. More than two quarters apart is another place in the song, and not made up for.
pub fn bend(tempo: f64, ours: f64, theirs: f64) -> f64 {
    let apart = theirs - ours;
    // The nearest beat: bars may be counted otherwise.
    let phase = apart - apart.round();
    TEMPO.clamp(tempo * (1.0 + (phase / 2.0).clamp(-BEND, BEND)))
}

/// Ticks of our own clock in a stretch of quarter notes `from..to`: the position of each as a share of the stretch, 0 to 1. Ticks fall on
/// multiples of a 24th; stretches that follow each other have every tick once.
pub fn ticks(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let n = |q: f64| (q * f64::from(TICKS) - 1e-9).ceil() as i64;
    let (first, last) = if to > from { (n(from), n(to)) } else { (0, 0) };
    (first..last).map(move |k| ((k as f64 / f64::from(TICKS) - from) / (to - from)).max(0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ticks of a tempo with jitter of up to `ms` either way, by a small generator.
    fn clock(bpm: f64, n: usize, ms: f64, seed: u64) -> Vec<f64> {
        let mut x = seed.wrapping_mul(2) + 1;
        let mut noise = move || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        (0..n).map(|k| k as f64 * 60.0 / bpm / 24.0 + noise() * ms / 1000.0).collect()
    }

    proptest! {
        #[test]
        fn five_milliseconds_of_jitter_are_not_heard(bpm in 60.0..180.0f64, seed: u64) {
            let mut f = Follower::new(0.0);
            f.start();
            let all = clock(bpm, 24 * 32, 5.0, seed);
            for (k, at) in all.iter().enumerate() {
                f.tick(*at);
                if k > 24 * 8 {
                    let tempo = f.tempo().unwrap();
                    prop_assert!((tempo / bpm - 1.0).abs() < 0.01, "{tempo} for {bpm}");
                    let off = f.quarters(*at) - *at * bpm / 60.0;
                    // 3 ms.
                    prop_assert!((off * 60.0 / bpm).abs() < 0.003, "{off} quarters off");
                }
            }
            prop_assert_eq!(f.lost, 0);
            prop_assert!(f.lock(*all.last().unwrap()) > 0.2);
        }

        #[test]
        fn dropped_ticks_are_counted_all_the_same(bpm in 60.0..180.0f64, seed: u64, every in 7usize..40) {
            let mut f = Follower::new(0.0);
            f.start();
            let all = clock(bpm, 24 * 16, 2.0, seed);
            for (k, at) in all.iter().enumerate() {
                if k <= 24 || k % every != 0 {
                    f.tick(*at);
                }
            }
            let at = all[all.len() - 2];
            prop_assert!((f.quarters(at) - at * bpm / 60.0).abs() < 0.02, "{} for {}", f.quarters(at), at * bpm / 60.0);
            prop_assert!(f.lost > 0);
        }

        #[test]
        fn our_ticks_come_once_each(parts in prop::collection::vec(0.001..0.7f64, 1..60)) {
            let (mut at, mut heard) = (0.0, Vec::new());
            for part in parts {
                heard.extend(ticks(at, at + part).map(|share| at + share * part));
                at += part;
            }
            for (k, q) in heard.iter().enumerate() {
                prop_assert!((q - k as f64 / 24.0).abs() < 1e-6);
            }
            prop_assert!((heard.len() as f64 - at * 24.0).abs() <= 1.0 + 1e-6);
        }

        #[test]
        fn a_bent_tempo_meets_the_clock_without_a_jump(apart in -0.45..0.45f64, bpm in 60.0..180.0f64) {
            let (mut ours, mut theirs) = (0.0, apart);
            for _ in 0..400 {
                let tempo = bend(bpm, ours, theirs);
                prop_assert!((tempo / bpm - 1.0).abs() <= BEND + 1e-9);
                ours += tempo / 60.0 * 0.08;
                theirs += bpm / 60.0 * 0.08;
            }
            prop_assert!((theirs - ours).abs() < 0.01, "{}", theirs - ours);
        }

        #[test]
        fn taps_give_their_tempo(bpm in 40.0..240.0f64, n in 2usize..12, seed: u64) {
            let mut taps = Taps::default();
            // Hands are 5 ms off at most here.
            let times: Vec<f64> = clock(bpm, n * 24, 5.0, seed).into_iter().step_by(24).collect();
            let tempo = times.iter().filter_map(|t| taps.tap(*t)).last().unwrap();
            let most = 0.010 / (60.0 / bpm * (n.min(TAPS) - 1) as f64);
            prop_assert!((tempo / bpm - 1.0).abs() <= 1.1 * most + 1e-6, "{tempo} for {bpm}");
        }

        #[test]
        fn no_time_makes_it_stumble(times in prop::collection::vec(-10.0..10.0f64, 0..60), what in prop::collection::vec(0u8..6, 60)) {
            let (mut f, mut taps) = (Follower::new(0.0), Taps::default());
            for (at, what) in times.iter().zip(what) {
                match what {
                    0 => f.start(),
                    1 => f.resume(),
                    2 => f.stop(),
                    3 => f.position(77),
                    _ => f.tick(*at),
                }
                prop_assert!(f.quarters(*at).is_finite() && (0.0..=1.0).contains(&f.lock(*at)));
                prop_assert!(f.tempo().is_none_or(|t| (19.9..400.1).contains(&t)), "{:?}", f.tempo());
                prop_assert!(taps.tap(*at).is_none_or(|t| (20.0..=400.0).contains(&t)));
            }
        }
    }

    #[test]
    fn start_continue_and_song_position_put_it_in_its_place() {
        let mut f = Follower::new(0.0);
        let tick = |f: &mut Follower, k: usize| f.tick(k as f64 * 0.5 / 24.0);
        // A sender that ticks while it stands.
        (0..48).for_each(|k| tick(&mut f, k));
        assert_eq!((f.running(), f.quarters(1.0)), (false, 0.0));
        assert!((f.tempo().unwrap() - 120.0).abs() < 0.01);
        f.start();
        (48..=72).for_each(|k| tick(&mut f, k));
        assert!((f.quarters(1.5) - 1.0).abs() < 0.01, "{}", f.quarters(1.5));
        f.stop();
        (73..96).for_each(|k| tick(&mut f, k));
        assert_eq!(f.quarters(2.0), 1.0);
        // Bar 5 of 4/4, then on from there.
        f.position(64);
        f.resume();
        (96..=120).for_each(|k| tick(&mut f, k));
        assert!((f.quarters(2.5) - 17.0).abs() < 0.01, "{}", f.quarters(2.5));
        // Silence: it does not run on, and says so.
        assert!(f.quarters(100.0) < 18.1);
        assert_eq!(f.lock(100.0), 0.0);
    }

    #[test]
    fn another_tempo_is_reached_within_two_bars() {
        let mut f = Follower::new(0.0);
        f.start();
        let mut at = 0.0;
        for k in 0..24 * 16 {
            at += 60.0 / if k < 24 * 8 { 100.0 } else { 120.0 } / 24.0;
            f.tick(at);
        }
        assert!((f.tempo().unwrap() - 120.0).abs() < 0.3, "{:?}", f.tempo());
        assert_eq!(f.ticks, 24 * 16 - 1);
    }

    #[test]
    fn an_offset_moves_the_beat() {
        let (mut a, mut b) = (Follower::new(0.0), Follower::new(0.02));
        for f in [&mut a, &mut b] {
            f.start();
            (0..96).for_each(|k| f.tick(f64::from(k) * 0.5 / 24.0));
        }
        let last = 95.0 * 0.5 / 24.0;
        assert!((b.quarters(last) - a.quarters(last) - 0.04).abs() < 1e-6);
    }
}
