//! Which control a message moves, and to which position: 14-bit values come from a pair of controllers, from a non-registered parameter
//! (NRPN) or from pitch bend.

use std::collections::BTreeMap;

use super::{Control, Message};

/// The position of a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// 0 to 127.
    Seven(u8),
    /// 0 to 16383.
    Fourteen(u16),
}

impl Position {
    /// The position between 0 and 1.
    pub fn fraction(self) -> f32 {
        match self {
            Position::Seven(value) => f32::from(value.min(127)) / 127.0,
            Position::Fourteen(value) => f32::from(value.min(16_383)) / 16_383.0,
        }
    }

    /// Whether a button at this position is pressed.
    pub fn pressed(self) -> bool {
        self.coarse() >= 64
    }

    /// The upper 7 bits.
    pub fn coarse(self) -> u8 {
        match self {
            Position::Seven(value) => value,
            Position::Fourteen(value) => (value >> 7) as u8,
        }
    }

    /// From the upper 7 bits, before the lower ones arrive: 127 is the end of the range also for a sender of 7 bits.
    fn from_coarse(value: u8) -> Position {
        Position::Fourteen(u16::from(value) << 7 | u16::from(value))
    }

    fn from_pair(high: u8, low: u8) -> Position {
        Position::Fourteen(u16::from(high) << 7 | u16::from(low))
    }
}

/// A control and the position that it has moved to.
pub type Moved = (Control, Position);

/// What was sent on a channel.
#[derive(Debug, Clone, Default)]
struct Channel {
    /// The last values of controllers 0 to 31.
    high: BTreeMap<u8, u8>,
    /// The upper and lower 7 bits of the NRPN that controllers 6 and 38 set.
    nrpn: (Option<u8>, Option<u8>),
}

impl Channel {
    fn nrpn(&self) -> Option<u16> {
        Some(u16::from(self.nrpn.0?) << 7 | u16::from(self.nrpn.1?))
    }
}

/// The state of all channels.
#[derive(Debug, Clone, Default)]
pub struct Decoder(BTreeMap<u8, Channel>);

impl Decoder {
    /// The controls that a message moves: a controller is itself, and may be half of a pair or the value of an NRPN.
    pub fn decode(&mut self, message: Message) -> Vec<Moved> {
        match message {
            Message::Clock(_) => Vec::new(),
            Message::Note { channel, key, velocity } => vec![(Control::Note { channel, key }, Position::Seven(velocity))],
            Message::Program { channel, number } => vec![(Control::Program { channel, number }, Position::Seven(127))],
            Message::Bend { channel, value } => vec![(Control::Bend { channel }, Position::Fourteen(value))],
            Message::Control { channel, number, value } => self.controller(channel, number, value),
        }
    }

    fn controller(&mut self, channel: u8, number: u8, value: u8) -> Vec<Moved> {
        let state = self.0.entry(channel).or_default();
        let mut all = vec![(Control::Cc { channel, number }, Position::Seven(value))];
        match number {
            0..32 => {
                state.high.insert(number, value);
                all.push((Control::Cc14 { channel, number }, Position::from_coarse(value)));
            }
            32..64 => {
                if let Some(high) = state.high.get(&(number - 32)) {
                    all.push((Control::Cc14 { channel, number: number - 32 }, Position::from_pair(*high, value)));
                }
            }
            99 => state.nrpn = (Some(value), None),
            98 => state.nrpn.1 = Some(value),
            // A registered parameter: the next values are not for an NRPN.
            100 | 101 => state.nrpn = (None, None),
            _ => {}
        }
        if let (Some(number), 6 | 38) = (state.nrpn(), number) {
            let position = match all.last() {
                Some((Control::Cc14 { .. }, position)) => *position,
                _ => Position::from_coarse(value),
            };
            all.push((Control::Nrpn { channel, number }, position));
        }
        all
    }
}
