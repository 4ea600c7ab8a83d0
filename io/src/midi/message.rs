//! MIDI messages.

use crate::clock::ClockMessage;

/// A message. Channels are 1 to 16, as devices show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A key goes down (velocity 1 to 127) or up (0).
    Note {
        /// Channel.
        channel: u8,
        /// Key; 60 is middle C.
        key: u8,
        /// Velocity.
        velocity: u8,
    },
    /// A controller moves.
    Control {
        /// Channel.
        channel: u8,
        /// Controller.
        number: u8,
        /// Value, 0 to 127.
        value: u8,
    },
    /// A program change.
    Program {
        /// Channel.
        channel: u8,
        /// Program, from 0.
        number: u8,
    },
    /// Pitch bend: the faders of some control surfaces.
    Bend {
        /// Channel.
        channel: u8,
        /// Value, 0 to 16383.
        value: u16,
    },
    /// MIDI clock.
    Clock(ClockMessage),
}

impl Message {
    /// Reads a message. `None`: one that is not used here (active sensing, system exclusive), or an incomplete one.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let (&status, data) = bytes.split_first()?;
        if data.iter().any(|d| *d > 127) {
            return None;
        }
        let channel = (status & 15) + 1;
        Some(match (status & 0xf0, status, data) {
            (0x80, _, &[key, _]) => Message::Note { channel, key, velocity: 0 },
            (0x90, _, &[key, velocity]) => Message::Note { channel, key, velocity },
            (0xb0, _, &[number, value]) => Message::Control { channel, number, value },
            (0xc0, _, &[number]) => Message::Program { channel, number },
            (0xe0, _, &[low, high]) => Message::Bend { channel, value: u16::from(low) | u16::from(high) << 7 },
            (_, 0xf2, &[low, high]) => Message::Clock(ClockMessage::Position(u16::from(low) | u16::from(high) << 7)),
            (_, 0xf8, []) => Message::Clock(ClockMessage::Tick),
            (_, 0xfa, []) => Message::Clock(ClockMessage::Start),
            (_, 0xfb, []) => Message::Clock(ClockMessage::Continue),
            (_, 0xfc, []) => Message::Clock(ClockMessage::Stop),
            _ => return None,
        })
    }
}
