//! Never silent: what is given up, in which order, when the computer can't keep up, and how it comes back.
//!
//! | rung | what is heard | entered | left |
//! |---|---|---|---|
//! | 0 | everything | | |
//! | 1 | the last bar, repeated in phase, while slots are missing ([`crate::output`] does it by itself) | a late hop | 4 s without one |
//! | 2 | the band, without guidance | late hops worth 3 in 10 s | 20 s without one and load under 0.7 |
//! | 3 | the band, in hops twice as long | again 3 in 10 s | the same |
//!
//! No clock is read here: the caller says what time it is, so that the ladder can be played through in a test.

/// Seconds without a late hop after which repeating is over.
const CALM: f64 = 4.0;
/// Seconds without a late hop after which a rung above the first is left.
const CALM_LONG: f64 = 20.0;
/// Late hops in `SPAN` seconds that lead up a rung.
const LATE: usize = 3;
/// See `LATE`.
const SPAN: f64 = 10.0;
/// Load at which there is no room to climb back.
const ROOM: f32 = 0.7;

/// What the runner has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Guidance on or off.
    Guided(bool),
    /// Longer hops, or those that were asked for.
    Longer(bool),
}

/// Where it stands.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    rung: u8,
    reason: String,
    last: f64,
    recent: Vec<f64>,
    changed: f64,
}

impl Ladder {
    /// 0 all is well … 3.
    pub fn rung(&self) -> u8 {
        self.rung
    }

    /// Why, in a sentence; empty on rung 0.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// After a hop at time `now` (seconds) which was `late` by so many seconds (≤ 0: in time), at this load. `guided`: there is guidance
    /// that could be given up.
    pub fn after(&mut self, now: f64, late: f64, load: f32, guided: bool) -> Option<Step> {
        if late > 0.0 {
            self.last = now;
            self.recent.retain(|t| now - t < SPAN);
            self.recent.push(now);
            self.rung = self.rung.max(1);
            if self.rung == 1 {
                self.reason = format!("the band's next notes came {:.0} ms late: the last bar was repeated", late * 1e3);
            }
            if self.recent.len() < LATE || self.rung == 3 {
                return None;
            }
            self.recent.clear();
            self.changed = now;
            if self.rung == 1 && guided {
                self.rung = 2;
                self.reason = "the computer is too slow for now: the band plays without regard to the text".into();
                return Some(Step::Guided(false));
            }
            self.rung = 3;
            self.reason = "the computer is too slow for now: the band decides less often".into();
            return Some(Step::Longer(true));
        }
        let calm = now - self.last.max(self.changed);
        match self.rung {
            1 if calm >= CALM => {
                self.rung = 0;
                self.reason.clear();
                None
            }
            2 | 3 if calm >= CALM_LONG && load < ROOM => {
                let step = if self.rung == 3 { Step::Longer(false) } else { Step::Guided(true) };
                self.rung = if self.rung == 3 && guided { 2 } else { 1 };
                self.changed = now;
                self.reason = "the computer keeps up again".into();
                Some(step)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stall_is_one_repeat() {
        let mut ladder = Ladder::default();
        assert_eq!(ladder.after(10.0, 5.0, 0.3, true), None);
        assert_eq!(ladder.rung(), 1);
        assert!(ladder.reason().contains("5000 ms"), "{}", ladder.reason());
        assert_eq!((ladder.after(13.9, -0.1, 0.3, true), ladder.rung()), (None, 1));
        assert_eq!((ladder.after(14.0, -0.1, 0.3, true), ladder.rung(), ladder.reason()), (None, 0, ""));
    }

    #[test]
    fn up_rung_by_rung_and_back_by_itself() {
        let mut ladder = Ladder::default();
        let mut steps = Vec::new();
        for n in 0..200 {
            let now = f64::from(n) * 0.5;
            let late = if n < 10 { 0.01 } else { -0.01 };
            steps.extend(ladder.after(now, late, 0.5, true).map(|s| (n, s, ladder.rung())));
        }
        assert_eq!(
            steps,
            [(2, Step::Guided(false), 2), (5, Step::Longer(true), 3), (49, Step::Longer(false), 2), (89, Step::Guided(true), 1)]
        );
        assert_eq!((ladder.rung(), ladder.reason()), (0, ""));
    }

    #[test]
    fn without_guidance_its_rung_is_passed_over_and_a_full_load_stays_up() {
        let mut ladder = Ladder::default();
        let steps: Vec<Step> = (0..3).filter_map(|n| ladder.after(f64::from(n), 0.01, 0.9, false)).collect();
        assert_eq!((steps, ladder.rung()), (vec![Step::Longer(true)], 3));
        assert_eq!(ladder.after(100.0, -0.01, 0.9, false), None);
        assert_eq!((ladder.after(100.0, -0.01, 0.5, false), ladder.rung()), (Some(Step::Longer(false)), 1));
    }
}
