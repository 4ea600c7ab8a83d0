//! MIDI clock in: the tempo and position of another program, from the times at which its ticks arrive.

use sideman_engine::limits::TEMPO;

use super::TICKS;
use super::tick_line::TickLine;

/// Ticks of a sixteenth, the unit of song positions.
const SIXTEENTH: i64 = 6;
/// A gap longer than this many ticks means that the sender has stopped.
const LOST: f64 = 24.0;
/// The shortest and the longest tick, s.
const TICK: (f64, f64) = (60.0 / TEMPO.max / TICKS as f64, 60.0 / TEMPO.min / TICKS as f64);

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
/// noticed by the gap it leaves, unless it was only held up and comes after all. Tempo and phase come from a straight line through the last ticks ([`TickLine`]), which removes the jitter
/// and follows a new tempo within two beats.
#[derive(Debug, Clone, Default)]
pub struct MidiClock {
    /// Position of the last tick, in ticks since the start of the song.
    ticks: i64,
    running: bool,
    /// The first tick after start or continue is at the position itself.
    first: bool,
    line: TickLine,
    /// Ticks since the last start or continue. Before it the tempo may have been another one.
    pub since: u64,
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
        (self.running, self.since) = (true, 0);
    }

    /// A song that runs already goes on: some senders repeat continue at every bar.
    fn resume(&mut self) {
        if !self.running {
            (self.running, self.first, self.since) = (true, true, 0);
        }
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

    /// Adds a tick to the line. Returns by how much the position moves.
    fn follow(&mut self, at: f64) -> i64 {
        let gap = at - self.line.arrived();
        let stopped = gap < 0.0 || self.line.is_known() && gap > LOST * self.line.period() || gap > 60.0 / TEMPO.min / 2.0;
        if stopped {
            // The first tick after the sender had stopped.
            self.line.restart(at);
            return 1;
        }
        self.line.tick(at, TICK)
    }

    /// Whether the song runs: the last of start, continue and stop was not a stop.
    pub fn running(&self) -> bool {
        self.running
    }

    /// Tempo in BPM; `None` until one beat has arrived.
    pub fn tempo(&self) -> Option<f64> {
        self.line.is_known().then(|| 60.0 / (self.line.period() * f64::from(TICKS)))
    }

    /// Position at a time, in quarter notes: the ticks counted, and the fraction of the next one.
    pub fn quarters(&self, at: f64) -> f64 {
        let ticks = self.ticks as f64;
        let period = self.line.period();
        // Without ticks the position stops after a while.
        let since = if self.running && !self.first && period > 0.0 { (at - self.line.newest()) / period } else { 0.0 };
        (ticks + since.clamp(-1.0, LOST)) / f64::from(TICKS)
    }

    /// Lost ticks, which are counted in the position.
    pub fn lost(&self) -> u64 {
        self.line.lost().max(0).cast_unsigned()
    }

    /// How well the tempo is known at a time: 1 is without jitter, 0 is a jitter of half a tick or no clock.
    pub fn lock(&self, at: f64) -> f64 {
        let gone = !self.line.is_known() || at - self.line.arrived() > LOST * self.line.period();
        if gone { 0.0 } else { (1.0 - 2.0 * self.line.jitter()).clamp(0.0, 1.0) }
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
            prop_assert_eq!(f.lost(), 0);
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
            prop_assert!(f.lost() > 0);
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

    /// A clock that goes from one tempo to another after eight beats: the largest error of its tempo, as a share, from two beats after the
    /// change on; how far it went beyond the new tempo; and the ticks that it miscounted.
    fn step(from: f64, to: f64, ms: f64, seed: u64) -> (f64, f64, i64) {
        let mut f = MidiClock::new(0.0);
        f.start();
        clock(from, 24 * 8, ms, seed).into_iter().for_each(|at| f.tick(at));
        let change = 8.0 * 60.0 / from;
        let (mut error, mut beyond) = (0.0f64, 0.0f64);
        for (k, at) in clock(to, 24 * 8, ms, seed ^ 1).into_iter().enumerate() {
            f.tick(change + at);
            let off = f.tempo().unwrap() / to - 1.0;
            beyond = beyond.max(off * (to - from).signum());
            if k >= 48 {
                error = error.max(off.abs());
            }
        }
        (error, beyond, f.ticks - (24 * 16 - 1))
    }

    #[test]
    fn a_new_tempo_is_reached_within_two_beats_without_overshoot() {
        for (from, to) in
            [(120.0, 101.0), (101.0, 120.0), (120.0, 90.0), (120.0, 60.0), (60.0, 120.0), (100.0, 180.0), (120.0, 40.0)]
        {
            let (error, beyond, miscounted) = step(from, to, 0.0, 1);
            assert!(error < 1e-6 && beyond < 1e-6 && miscounted == 0, "{from} to {to}: {error} {beyond} {miscounted}");
        }
        for seed in 0..100 {
            for (from, to) in [(120.0, 101.0), (101.0, 120.0)] {
                let (error, beyond, miscounted) = step(from, to, 1.0, seed);
                assert!(error < 0.01 && beyond < 0.01 && miscounted == 0, "{from} to {to}: {error} {beyond} {miscounted}");
            }
        }
    }

    /// A driver holds up every tick for three ticks' time now and then, and passes them on at once.
    #[test]
    fn ticks_that_are_held_up_and_come_at_once_are_not_lost() {
        for (from, to) in [(120.0, 120.0), (180.0, 60.0), (100.0, 180.0), (60.0, 120.0)] {
            let mut f = MidiClock::new(0.0);
            f.start();
            let tick = |bpm: f64| 60.0 / bpm / 24.0;
            let (before, after) = (24 * 8, 24 * 16);
            let time = |k: usize| k.min(before) as f64 * tick(from) + k.saturating_sub(before) as f64 * tick(to);
            for k in 0..before + after {
                let held = if k > 48 && k % 29 < 3 { 2 - k % 29 } else { 0 };
                f.tick(time(k + held) + 1e-4 * (k % 29) as f64);
            }
            let tempo = f.tempo().unwrap();
            assert!((tempo / to - 1.0).abs() < 0.01, "{from} to {to}: {tempo}");
            assert_eq!((f.ticks, f.lost()), ((before + after - 1) as i64, 0), "{from} to {to}");
        }
    }

    /// Delays of which a few are long: 3 ms in the mean.
    #[test]
    fn delays_with_a_long_tail_are_counted_without_lost_ticks_in_nearly_every_run() {
        let late = |seed: u64, times: Vec<f64>| -> Vec<f64> {
            let noise = clock(120.0, times.len(), 500.0, seed).into_iter().enumerate();
            let share = noise.map(|(k, at)| (at - k as f64 * 0.5 / 24.0 + 0.5).max(1e-9));
            // None comes before the one before it.
            let delayed = times.into_iter().zip(share).scan(f64::MIN, |newest, (at, share)| {
                *newest = newest.max(at - 0.003 * share.ln());
                Some(*newest)
            });
            delayed.collect()
        };
        for (from, to) in [(120.0, 120.0), (180.0, 60.0), (100.0, 180.0), (120.0, 101.0)] {
            let run = |seed: u64| {
                let mut f = MidiClock::new(0.0);
                f.start();
                let change = 8.0 * 60.0 / from;
                let times =
                    clock(from, 24 * 8, 0.0, 0).into_iter().chain(clock(to, 24 * 8, 0.0, 0).into_iter().map(|at| change + at));
                late(seed, times.collect()).into_iter().for_each(|at| f.tick(at));
                f.ticks - (24 * 16 - 1)
            };
            let wrong = (0..500).filter(|seed| run(*seed) != 0).count();
            assert!(wrong <= 40, "{from} to {to}: {wrong} of 500 runs miscount");
        }
    }

    /// A slower tempo looks like a lost tick at first.
    #[test]
    fn a_slower_tempo_is_counted_without_lost_ticks_in_nearly_every_run_of_jitter() {
        for (from, to) in
            [(120.0, 101.0), (140.0, 120.0), (120.0, 90.0), (150.0, 100.0), (120.0, 60.0), (120.0, 40.0), (180.0, 60.0)]
        {
            for ms in [1.0, 3.0, 5.0] {
                let wrong = (0..500).filter(|seed| step(from, to, ms, *seed).2 != 0).count();
                assert!(wrong <= 3, "{from} to {to}, {ms} ms of jitter: {wrong} of 500 runs miscount");
            }
        }
    }

    #[test]
    fn the_seed_that_broke_the_position_once_keeps_it() {
        let (bpm, mut f) = (161.493_154_599_617_64, MidiClock::new(0.0));
        f.start();
        for (k, at) in clock(bpm, 24 * 32, 5.0, 11_940_817_178_966_609_536).into_iter().enumerate() {
            f.tick(at);
            assert!(k <= 24 * 8 || ((f.quarters(at) - at * bpm / 60.0) * 60.0 / bpm).abs() < 0.003);
        }
        assert_eq!(f.lost(), 0);
    }

    #[test]
    fn continue_while_the_song_runs_counts_every_tick() {
        let mut f = MidiClock::new(0.0);
        f.start();
        for k in 0..24 * 16 {
            if k % 96 == 0 && k > 0 {
                f.resume();
            }
            f.tick(f64::from(k) * 0.5 / 24.0);
        }
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
