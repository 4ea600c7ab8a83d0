//! What is given up, in which order, when the computer can't keep up, and how it comes back.
//!
//! | level | what is heard | entered | left |
//! |---|---|---|---|
//! | `None` | everything | | |
//! | `RepeatedBar` | the last bar, repeated in phase, where music is missing | a late hop | 4 s without one |
//! | `NoGuidance` | the band, without guidance | 3 late hops in 10 s | 20 s without one and load under 0.7 |
//! | `LongerHops` | the band, in hops twice as long | 3 more in 10 s | the same |
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

/// What the engine's thread has to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// Guidance on or off.
    Guidance(bool),
    /// Hops twice as long, or of the requested length again.
    LongerHops(bool),
}

/// Decides the level after each hop.
#[derive(Debug, Clone, Default)]
pub struct LoadShedder {
    level: LoadShedding,
    last_late: f64,
    recent_late: Vec<f64>,
    level_since: f64,
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
        if late > 0.0 { self.late_hop(now, guided) } else { self.hop_in_time(now, load, guided) }
    }

    fn late_hop(&mut self, now: f64, guided: bool) -> Option<Adjustment> {
        self.last_late = now;
        self.recent_late.retain(|t| now - t < LATE_SPAN);
        self.recent_late.push(now);
        self.level = self.level.max(LoadShedding::RepeatedBar);
        if self.recent_late.len() < LATE_HOPS || self.level == LoadShedding::LongerHops {
            return None;
        }
        self.recent_late.clear();
        self.level_since = now;
        if self.level == LoadShedding::RepeatedBar && guided {
            self.level = LoadShedding::NoGuidance;
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
            LoadShedding::NoGuidance if calm >= LONG_RECOVERY && load < MAX_LOAD => {
                (self.level, self.level_since) = (LoadShedding::RepeatedBar, now);
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
