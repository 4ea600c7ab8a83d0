//! MIDI clock in: the tempo and position of another program, from the times at which its ticks arrive.

use sideman_engine::limits::TEMPO;

use super::TICKS;

/// Ticks of a sixteenth, the unit of song positions.
const SIXTEENTH: i64 = 6;
/// Time constant of the phase-locked loop, in ticks: a beat and a half, critically damped. For the first ticks the loop is a straight line
/// through all of them.
const LOOP: f64 = 36.0;
/// Ticks after which the tempo of a new clock is known: one beat.
const SETTLE: u64 = 24;
/// A gap longer than this many ticks means that the sender has stopped.
const LOST: f64 = 24.0;

/// A message of MIDI clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockMessage {
    /// A tick: a 24th of a quarter note.
    Tick,
    /// The song starts with the next tick.
    Start,
    /// The song continues with the next tick.
    Continue,
    /// The song stops.
    Stop,
    /// Song position, in sixteenths.
    Position(u16),
}

/// Tempo and position of a MIDI clock that is received.
///
/// The position is counted: a tick is a 24th of a quarter note however late it arrives, so the position never drifts, and a lost tick is
/// noticed by the gap it leaves. Tempo and phase come from a phase-locked loop, which removes the jitter.
#[derive(Debug, Clone, Default)]
pub struct MidiClock {
    /// Position of the last tick, in ticks since the start of the song.
    ticks: i64,
    running: bool,
    /// The first tick after start or continue is at the position itself.
    first: bool,
    /// Time of the first tick; sums for the straight line: of the times since then, and of these times by their number.
    line: (f64, f64, f64),
    /// Time of the last tick: smoothed by the loop, and as it arrived.
    smooth: Option<f64>,
    came: f64,
    /// Length of a tick, s.
    period: f64,
    seen: u64,
    /// Mean absolute error of the last ticks, in ticks.
    error: f64,
    /// Ticks since the last start or continue. Before it the tempo may have been another one.
    pub since: u64,
    /// Lost ticks, which are counted in the position.
    pub lost: u64,
    offset: f64,
}

impl MidiClock {
    /// A clock that arrives `offset` seconds late.
    pub fn new(offset: f64) -> Self {
        MidiClock { offset, ..MidiClock::default() }
    }

    /// Takes a message that arrived at a time.
    pub fn message(&mut self, message: ClockMessage, at: f64) {
        match message {
            ClockMessage::Tick => self.tick(at),
            ClockMessage::Start => self.start(),
            ClockMessage::Continue => self.resume(),
            ClockMessage::Stop => self.stop(),
            ClockMessage::Position(sixteenths) => self.position(sixteenths),
        }
    }

    fn start(&mut self) {
        self.position(0);
        self.resume();
    }

    fn resume(&mut self) {
        (self.running, self.first, self.since) = (true, true, 0);
    }

    /// The clock may keep ticking; the position stays.
    fn stop(&mut self) {
        self.running = false;
    }

    fn position(&mut self, sixteenths: u16) {
        self.ticks = i64::from(sixteenths) * SIXTEENTH;
        self.first = true;
    }

    fn tick(&mut self, at: f64) {
        let at = at - self.offset;
        let steps = self.follow(at);
        if self.running {
            self.since += 1;
            self.ticks += if std::mem::take(&mut self.first) { 0 } else { steps };
        }
    }

    /// Updates the loop. Returns the ticks to count: more than one if some were lost.
    fn follow(&mut self, at: f64) -> i64 {
        let gap = at - self.came;
        let stopped = gap < 0.0 || self.seen > SETTLE && gap > LOST * self.period || gap > 60.0 / TEMPO.min / 2.0;
        let Some(smooth) = self.smooth.filter(|_| !stopped) else {
            // The first tick, or the first one after the sender had stopped: the loop starts over.
            (self.smooth, self.came, self.seen, self.line) = (Some(at), at, 1, (at, 0.0, 0.0));
            return 1;
        };
        if self.seen <= SETTLE {
            // A straight line through all ticks, by least squares.
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
        // Jitter is a few ms, a lost tick a whole period. After a short gap, a tick must be later to count as a lost one.
        let doubt = if gap < 1.75 * self.period { 0.38 } else { 0.5 };
        let steps = ((at - smooth) / self.period + doubt).floor().max(1.0);
        let predicted = smooth + steps * self.period;
        let error = at - predicted;
        // The gains of a straight line through n ticks, until the loop's are larger. With the loop's gains from the first beat on, 5 ms of
        // jitter counted as a lost tick in 1 of 300 runs at 180 BPM.
        let n = self.seen as f64;
        self.smooth = Some(predicted + (2.0 / LOOP).max(4.0 / n) * error);
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

    /// Whether the song runs: the last of start, continue and stop was not a stop.
    pub fn running(&self) -> bool {
        self.running
    }

    /// Tempo in BPM; `None` until one beat has arrived.
    pub fn tempo(&self) -> Option<f64> {
        (self.seen > SETTLE).then(|| 60.0 / (self.period * f64::from(TICKS)))
    }

    /// Position at a time, in quarter notes: the ticks counted, and the fraction of the next one.
    pub fn quarters(&self, at: f64) -> f64 {
        let (Some(smooth), true) = (self.smooth, self.running && self.period > 0.0) else {
            return self.ticks as f64 / f64::from(TICKS);
        };
        // Without ticks the position stops after a while.
        let since = ((at - smooth) / self.period).clamp(-1.0, LOST);
        (self.ticks as f64 + if self.first { 0.0 } else { since }) / f64::from(TICKS)
    }

    /// How well the loop is locked at a time: 1 is without error, 0 is an error of half a tick or no clock.
    pub fn lock(&self, at: f64) -> f64 {
        if self.seen <= SETTLE || at - self.came > LOST * self.period { 0.0 } else { (1.0 - 2.0 * self.error).max(0.0) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Times of the ticks of a tempo, with up to `ms` of jitter either way.
    pub fn clock(bpm: f64, n: usize, ms: f64, seed: u64) -> Vec<f64> {
        let mut x = seed.wrapping_mul(2) + 1;
        let mut noise = move || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        (0..n).map(|k| k as f64 * 60.0 / bpm / 24.0 + noise() * ms / 1000.0).collect()
    }

    proptest! {
        #[test]
        fn tempo_and_position_stay_exact_under_5_ms_of_jitter(bpm in 60.0..180.0f64, seed: u64) {
            let mut f = MidiClock::new(0.0);
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
        fn lost_ticks_count_in_the_position(bpm in 60.0..180.0f64, seed: u64, every in 7usize..40) {
            let mut f = MidiClock::new(0.0);
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
        fn messages_at_any_times_keep_tempo_and_lock_in_range(times in prop::collection::vec(-10.0..10.0f64, 0..60), what in prop::collection::vec(0u8..6, 60)) {
            let mut f = MidiClock::new(0.0);
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
            }
        }
    }

    #[test]
    fn start_continue_and_song_position_set_the_position() {
        let mut f = MidiClock::new(0.0);
        let tick = |f: &mut MidiClock, k: usize| f.tick(k as f64 * 0.5 / 24.0);
        // The sender ticks while it is stopped.
        (0..48).for_each(|k| tick(&mut f, k));
        assert_eq!((f.running(), f.quarters(1.0)), (false, 0.0));
        assert!((f.tempo().unwrap() - 120.0).abs() < 0.01);
        f.start();
        (48..=72).for_each(|k| tick(&mut f, k));
        assert!((f.quarters(1.5) - 1.0).abs() < 0.01, "{}", f.quarters(1.5));
        f.stop();
        (73..96).for_each(|k| tick(&mut f, k));
        assert_eq!(f.quarters(2.0), 1.0);
        // From bar 5 of 4/4 on.
        f.position(64);
        f.resume();
        (96..=120).for_each(|k| tick(&mut f, k));
        assert!((f.quarters(2.5) - 17.0).abs() < 0.01, "{}", f.quarters(2.5));
        // Without ticks the position stops, and the lock is lost.
        assert!(f.quarters(100.0) < 18.1);
        assert_eq!(f.lock(100.0), 0.0);
    }

    #[test]
    fn a_new_tempo_is_reached_within_two_bars() {
        let mut f = MidiClock::new(0.0);
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
    fn an_offset_shifts_the_beat() {
        let (mut a, mut b) = (MidiClock::new(0.0), MidiClock::new(0.02));
        for f in [&mut a, &mut b] {
            f.start();
            (0..96).for_each(|k| f.tick(f64::from(k) * 0.5 / 24.0));
        }
        let last = 95.0 * 0.5 / 24.0;
        assert!((b.quarters(last) - a.quarters(last) - 0.04).abs() < 1e-6);
    }
}
