//! What is given up, in which order, when the computer can't keep up, and how it comes back.
//!
//! | level | what is heard | entered | left |
//! |---|---|---|---|
//! | `None` | everything | | |
//! | `RepeatedBar` | the last bar, repeated in phase, where music is missing | a late hop | 4 s without one |
//! | `NoGuidance` | the band, without guidance | 3 late hops in 10 s | 20 s without one, and the load would be under 0.7 with guidance |
//! | `LongerHops` | the band, in hops up to twice as long | 3 more in 10 s | 20 s without one and load under 0.7 |
//!
//! If the music is late all the time for [`REST_AFTER`], and still by more than [`REST_LATE`], the model rests until it is in
//! time: hops without it are fast, so that what can't be caught up is skipped. The band then comes in at a bar line.
//!
//! Guidance that had to be given up again soon after it came back waits twice as long the next time.
//!
//! [`crate::output`] repeats the bar by itself; the level only shows it. No clock is read here: the caller
//! passes the time, so a test can run through all levels.

use sideman_engine::live::LoadShedding;

/// Seconds without a late hop after which `RepeatedBar` is left.
const RECOVERY: f64 = 4.0;
/// Seconds without a late hop after which a higher level is left.
const LONG_RECOVERY: f64 = 20.0;
/// Late hops within `LATE_SPAN` seconds that raise the level.
const LATE_HOPS: usize = 3;
/// See `LATE_HOPS`.
const LATE_SPAN: f64 = 10.0;
/// Load above which a level is not left.
const MAX_LOAD: f32 = 0.7;
/// Longest time without a late hop before guidance comes back, seconds.
const MAX_WAIT: f64 = 640.0;
/// Weight of a hop in the usual load with and without guidance.
const SMOOTHING: f32 = 0.05;
/// How many times as long a hop takes with guidance at most: it computes two lanes in place of one.
const MAX_COST: f32 = 2.0;

/// Seconds for which all hops have to be late before the model rests, and by how many seconds they then still are.
const REST_AFTER: f64 = 4.0;
const REST_LATE: f64 = 1.0;

/// What the engine's thread has to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// Guidance on or off.
    Guidance(bool),
    /// Hops twice as long, or of the requested length again.
    LongerHops(bool),
}

/// Decides the level after each hop.
#[derive(Debug, Clone)]
pub struct LoadShedder {
    level: LoadShedding,
    last_late: f64,
    recent_late: Vec<f64>,
    level_since: f64,
    /// Seconds without a late hop before guidance comes back.
    wait: f64,
    /// When guidance came back last.
    returned: Option<f64>,
    /// Usual load without and with guidance, where it is known.
    usual: [Option<f32>; 2],
    /// Since when all hops are late.
    late_since: Option<f64>,
    resting: bool,
}

impl Default for LoadShedder {
    fn default() -> LoadShedder {
        LoadShedder {
            level: LoadShedding::None,
            last_late: 0.0,
            // Late hops come one by one, and each of a span is kept.
            recent_late: Vec::with_capacity(1024),
            level_since: 0.0,
            wait: LONG_RECOVERY,
            returned: None,
            usual: [None, None],
            late_since: None,
            resting: false,
        }
    }
}

impl LoadShedder {
    /// The level now.
    pub fn level(&self) -> LoadShedding {
        self.level
    }

    /// Call it after each hop, at time `now` in seconds. `late`: seconds by which the hop was late, 0 or less
    /// if it was in time; `load`: share of the time that computing takes; `guided`: guidance is in use, so it
    /// can be given up.
    pub fn after_hop(&mut self, now: f64, late: f64, load: f32, guided: bool) -> Option<Adjustment> {
        // For the first hops after a change the load is still that of the hops before.
        if now - self.level_since > 2.0 {
            let with = usize::from(guided && self.level < LoadShedding::NoGuidance);
            let usual = self.usual[with].get_or_insert(load);
            *usual += (load - *usual) * SMOOTHING;
        }
        if late > 0.0 { self.late_hop(now, guided) } else { self.hop_in_time(now, load, guided) }
    }

    /// Call it after each hop, too. Whether the model has to rest, or to play again; none: no change.
    pub fn rest(&mut self, now: f64, late: f64) -> Option<bool> {
        if late <= 0.0 {
            self.late_since = None;
            return std::mem::take(&mut self.resting).then_some(false);
        }
        let since = *self.late_since.get_or_insert(now);
        let hopeless = !self.resting && now - since > REST_AFTER && late > REST_LATE;
        self.resting |= hopeless;
        hopeless.then_some(true)
    }

    /// What the load would be with guidance.
    fn load_with_guidance(&self, load: f32) -> f32 {
        match self.usual {
            [Some(without), Some(with)] if without > 0.0 => load * (with / without).clamp(1.0, MAX_COST),
            // Not known yet: it is tried, and if it fails the next wait is longer.
            _ => load,
        }
    }

    fn late_hop(&mut self, now: f64, guided: bool) -> Option<Adjustment> {
        self.last_late = now;
        self.recent_late.retain(|t| now - t < LATE_SPAN);
        if self.recent_late.len() < self.recent_late.capacity() {
            self.recent_late.push(now);
        }
        self.level = self.level.max(LoadShedding::RepeatedBar);
        if self.recent_late.len() < LATE_HOPS || self.level == LoadShedding::LongerHops {
            return None;
        }
        self.recent_late.clear();
        self.level_since = now;
        if self.level == LoadShedding::RepeatedBar && guided {
            self.level = LoadShedding::NoGuidance;
            let soon = self.returned.is_some_and(|at| now - at < 2.0 * self.wait);
            self.wait = if soon { (2.0 * self.wait).min(MAX_WAIT) } else { LONG_RECOVERY };
            return Some(Adjustment::Guidance(false));
        }
        self.level = LoadShedding::LongerHops;
        Some(Adjustment::LongerHops(true))
    }

    fn hop_in_time(&mut self, now: f64, load: f32, guided: bool) -> Option<Adjustment> {
        let calm = now - self.last_late.max(self.level_since);
        match self.level {
            LoadShedding::RepeatedBar if calm >= RECOVERY => {
                self.level = LoadShedding::None;
                None
            }
            LoadShedding::NoGuidance if calm >= self.wait && self.load_with_guidance(load) < MAX_LOAD => {
                (self.level, self.level_since, self.returned) = (LoadShedding::RepeatedBar, now, Some(now));
                Some(Adjustment::Guidance(true))
            }
            LoadShedding::LongerHops if calm >= LONG_RECOVERY && load < MAX_LOAD => {
                self.level = if guided { LoadShedding::NoGuidance } else { LoadShedding::RepeatedBar };
                self.level_since = now;
                Some(Adjustment::LongerHops(false))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_hop_is_forgotten_after_four_seconds() {
        let mut shedder = LoadShedder::default();
        assert_eq!((shedder.after_hop(10.0, 5.0, 0.3, true), shedder.level()), (None, LoadShedding::RepeatedBar));
        assert_eq!((shedder.after_hop(13.9, -0.1, 0.3, true), shedder.level()), (None, LoadShedding::RepeatedBar));
        assert_eq!((shedder.after_hop(14.0, -0.1, 0.3, true), shedder.level()), (None, LoadShedding::None));
    }

    #[test]
    fn the_level_rises_step_by_step_and_falls_back_to_none() {
        let mut shedder = LoadShedder::default();
        let mut steps = Vec::new();
        for n in 0..200 {
            let now = f64::from(n) * 0.5;
            let late = if n < 10 { 0.01 } else { -0.01 };
            steps.extend(shedder.after_hop(now, late, 0.5, true).map(|s| (n, s, shedder.level())));
        }
        assert_eq!(
            steps,
            [
                (2, Adjustment::Guidance(false), LoadShedding::NoGuidance),
                (5, Adjustment::LongerHops(true), LoadShedding::LongerHops),
                (49, Adjustment::LongerHops(false), LoadShedding::NoGuidance),
                (89, Adjustment::Guidance(true), LoadShedding::RepeatedBar)
            ]
        );
        assert_eq!(shedder.level(), LoadShedding::None);
    }

    /// A computer on which guidance makes the load 1.1 and its absence 0.6.
    #[test]
    fn guidance_does_not_return_where_the_load_does_not_allow_it() {
        let mut shedder = LoadShedder::default();
        let (mut guided, mut changes) = (true, Vec::new());
        for n in 0..20_000 {
            let now = f64::from(n) * 0.08;
            let (load, late) = if guided { (1.1, 0.01) } else { (0.6, -0.01) };
            match shedder.after_hop(now, if now < 5.0 { -0.01 } else { late }, load, true) {
                Some(Adjustment::Guidance(on)) => {
                    guided = on;
                    changes.push((now, on));
                }
                Some(Adjustment::LongerHops(_)) | None => {}
            }
        }
        assert_eq!(changes.len(), 1, "{changes:?}");
        // The load of another program ends.
        let (now, mut back) = (20_000.0 * 0.08, None);
        for n in 0..2000 {
            let at = now + f64::from(n) * 0.08;
            if shedder.after_hop(at, -0.01, 0.3, true) == Some(Adjustment::Guidance(true)) {
                back = back.or(Some(at));
            }
        }
        assert!(back.is_some(), "it never returns");
    }

    #[test]
    fn guidance_that_fails_again_and_again_returns_less_and_less_often() {
        let mut shedder = LoadShedder::default();
        let (mut guided, mut returns) = (true, Vec::new());
        for n in 0..40_000 {
            let now = f64::from(n) * 0.08;
            // The load says nothing: hops are late only with guidance.
            match shedder.after_hop(now, if guided { 0.01 } else { -0.01 }, 0.3, true) {
                Some(Adjustment::Guidance(on)) => {
                    guided = on;
                    returns.extend(on.then_some(now));
                }
                Some(Adjustment::LongerHops(_)) | None => {}
            }
        }
        let waits: Vec<f64> = returns.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(waits.len() >= 4 && waits.windows(2).all(|w| w[1] > 1.5 * w[0] || w[1] > 600.0), "{waits:?}");
    }

    /// After a stall of five seconds: on a computer that catches up in four seconds, and on one that takes longer.
    #[test]
    fn the_model_rests_where_the_music_cannot_be_caught_up_until_it_is_in_time() {
        for (gain, expected) in [(1.5, vec![]), (0.2, vec![true, false])] {
            let (mut shedder, mut late, mut resting) = (LoadShedder::default(), 5.0, false);
            let mut changes = Vec::new();
            for n in 0..400 {
                if let Some(rest) = shedder.rest(f64::from(n) * 0.1, late) {
                    assert_eq!(late > 0.0, rest);
                    resting = rest;
                    changes.push(rest);
                }
                late = (late - 0.1 * if resting { 4.0 } else { gain }).max(-0.01);
            }
            assert_eq!(changes, expected);
        }
        // Hops that are late by a part of their length are repeated bars, and no reason to rest.
        let mut shedder = LoadShedder::default();
        assert!((0..1000).all(|n| shedder.rest(f64::from(n) * 0.08, 0.04).is_none()));
    }

    #[test]
    fn without_guidance_its_level_is_skipped_and_a_high_load_keeps_the_level() {
        let mut shedder = LoadShedder::default();
        let steps: Vec<Adjustment> = (0..3).filter_map(|n| shedder.after_hop(f64::from(n), 0.01, 0.9, false)).collect();
        assert_eq!((steps, shedder.level()), (vec![Adjustment::LongerHops(true)], LoadShedding::LongerHops));
        assert_eq!(shedder.after_hop(100.0, -0.01, 0.9, false), None);
        assert_eq!(
            (shedder.after_hop(100.0, -0.01, 0.5, false), shedder.level()),
            (Some(Adjustment::LongerHops(false)), LoadShedding::RepeatedBar)
        );
    }
}
