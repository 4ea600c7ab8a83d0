//! A footswitch with three gestures: tap, hold and double tap, as on hardware loopers.

/// Length from which on a press is a hold, s.
const HOLD: f64 = 0.7;
/// The longest time between the two presses of a double tap, s.
const DOUBLE: f64 = 0.3;

/// A gesture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gesture {
    /// A short press.
    Tap,
    /// A long press; known while the switch is still pressed.
    Hold,
    /// Two short presses.
    Double,
}

/// The state of a footswitch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum State {
    #[default]
    Up,
    Down {
        since: f64,
        again: bool,
    },
    /// Held, and reported: the release means nothing.
    Reported,
    /// Tapped once: a second tap may follow.
    Tapped {
        at: f64,
    },
}

/// Recognises the gestures of a footswitch.
#[derive(Debug, Clone, Default)]
pub struct Footswitch(State);

impl Footswitch {
    /// The switch is pressed or released at a time, s.
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
            (State::Reported, false) => {
                self.0 = State::Up;
                None
            }
            // The switch repeats its state.
            (State::Down { .. } | State::Reported, true) | (State::Up | State::Tapped { .. }, false) => None,
        };
        now.or(before)
    }

    /// Lets time pass, to a time, s.
    pub fn time(&mut self, at: f64) -> Option<Gesture> {
        match self.0 {
            State::Down { since, .. } if at - since >= HOLD => {
                self.0 = State::Reported;
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
