//! One footswitch, three wishes: the grammar of hardware loopers.

/// From this long on, a press is a hold, s.
const HOLD: f64 = 0.7;
/// A second press within this time of the first makes a double tap, s.
const DOUBLE: f64 = 0.3;

/// What a foot has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gesture {
    /// A short press.
    Tap,
    /// A long one; told while the foot is still down.
    Hold,
    /// Two short ones.
    Double,
}

/// A switch's state.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum State {
    #[default]
    Up,
    Down {
        since: f64,
        again: bool,
    },
    /// Held, and told so: the release means nothing.
    Told,
    /// Tapped once: a second one may come.
    Tapped {
        at: f64,
    },
}

/// Tells tap, hold and double tap apart.
#[derive(Debug, Clone, Default)]
pub struct Switch(State);

impl Switch {
    /// The switch goes down or up at a time, s.
    pub fn moved(&mut self, down: bool, at: f64) -> Option<Gesture> {
        let before = self.time(at);
        let now = match (self.0, down) {
            (State::Tapped { at: first }, true) => {
                self.0 = State::Down { since: at, again: at - first <= DOUBLE };
                None
            }
            (State::Up, true) => {
                self.0 = State::Down { since: at, again: false };
                None
            }
            (State::Down { again: true, .. }, false) => {
                self.0 = State::Up;
                Some(Gesture::Double)
            }
            (State::Down { since, again: false }, false) => {
                self.0 = State::Tapped { at: since };
                None
            }
            (State::Told, false) => {
                self.0 = State::Up;
                None
            }
            // A switch that says the same twice.
            (State::Down { .. } | State::Told, true) | (State::Up | State::Tapped { .. }, false) => None,
        };
        now.or(before)
    }

    /// Time goes by.
    pub fn time(&mut self, at: f64) -> Option<Gesture> {
        match self.0 {
            State::Down { since, .. } if at - since >= HOLD => {
                self.0 = State::Told;
                Some(Gesture::Hold)
            }
            State::Tapped { at: first } if at - first > DOUBLE => {
                self.0 = State::Up;
                Some(Gesture::Tap)
            }
            _ => None,
        }
    }
}
