//! The MIDI map (midi.toml): which control does what. Addresses and arguments are those of the command language.
//!
//! ```toml
//! chord_channel = 4            # keys held on this channel are the chord
//! clock_offset = -6.0          # ms by which MIDI clock arrives late
//!
//! [[control]]
//! control = "cc 1 7"           # or "note 10 36", "program 1 4", "cc14 1 7", "nrpn 1 260", "bend 1": channel, number
//! address = "/jam/stem/drums/gain"
//! mode = "absolute"            # toggle, momentary, relative, relative_offset, switch
//! from = -40.0                 # value at 0
//! to = 6.0                     # value at 127
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use sideman_engine::live::commands::MidiTarget;

use super::Position;

/// A control of a MIDI device. Channels are 1 to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Control {
    /// A controller.
    Cc {
        /// Channel.
        channel: u8,
        /// Number.
        number: u8,
    },
    /// A key or pad.
    Note {
        /// Channel.
        channel: u8,
        /// Key.
        key: u8,
    },
    /// A program change.
    Program {
        /// Channel.
        channel: u8,
        /// Number, from 0.
        number: u8,
    },
    /// Two controllers, of which the second, 32 higher, has the lower 7 bits.
    Cc14 {
        /// Channel.
        channel: u8,
        /// Number of the first one, 0 to 31.
        number: u8,
    },
    /// A non-registered parameter.
    Nrpn {
        /// Channel.
        channel: u8,
        /// Number, 0 to 16383.
        number: u16,
    },
    /// Pitch bend.
    Bend {
        /// Channel.
        channel: u8,
    },
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Control::Cc { channel, number } => write!(f, "cc {channel} {number}"),
            Control::Note { channel, key } => write!(f, "note {channel} {key}"),
            Control::Program { channel, number } => write!(f, "program {channel} {number}"),
            Control::Cc14 { channel, number } => write!(f, "cc14 {channel} {number}"),
            Control::Nrpn { channel, number } => write!(f, "nrpn {channel} {number}"),
            Control::Bend { channel } => write!(f, "bend {channel}"),
        }
    }
}

impl From<Control> for String {
    fn from(control: Control) -> String {
        control.to_string()
    }
}

impl TryFrom<String> for Control {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Control {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "control {text:?}: must be like \"cc 1 7\": cc, cc14, nrpn, note, program or bend, then channel 1 to 16, then, except for \
                 bend, number 0 to 127 (cc14: to 31, nrpn: to 16383)"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (kind, channel, number) = match words[..] {
            [kind, channel, number] => (kind, channel, number.parse::<u16>().map_err(|_| wrong())?),
            ["bend", channel] => ("bend", channel, 0),
            _ => return Err(wrong()),
        };
        let channel = channel.parse().ok().filter(|c| (1..=16).contains(c)).ok_or_else(wrong)?;
        let seven = |most: u8| u8::try_from(number).ok().filter(|n| *n <= most).ok_or_else(wrong);
        match kind {
            "cc" => Ok(Control::Cc { channel, number: seven(127)? }),
            "note" => Ok(Control::Note { channel, key: seven(127)? }),
            "program" => Ok(Control::Program { channel, number: seven(127)? }),
            "cc14" => Ok(Control::Cc14 { channel, number: seven(31)? }),
            "nrpn" if number < 1 << 14 => Ok(Control::Nrpn { channel, number }),
            "bend" if words.len() == 2 => Ok(Control::Bend { channel }),
            _ => Err(wrong()),
        }
    }
}

/// What a control's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlMode {
    /// A fader: 0 to its end is `from` to `to`.
    Absolute,
    /// Each press switches between `from` and `to`, from the session's value on.
    Toggle,
    /// `to` while it is pressed, `from` after.
    Momentary,
    /// An endless knob: from 1 on up, from 127 down (two's complement) or from 65 up to 95 down (sign and steps). A step is a 127th of the
    /// range, from the session's value on.
    Relative,
    /// An endless knob: from 65 on up, from 63 down (binary offset).
    RelativeOffset,
    /// A footswitch: a tap is `address`, a hold `hold`, a double tap `double`, each with its arguments.
    #[serde(rename = "switch")]
    Footswitch,
}

/// A control and what it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The control.
    pub control: Control,
    /// The address that it sends to.
    pub address: String,
    /// What its values mean.
    #[serde(alias = "way")]
    pub mode: ControlMode,
    /// The value at 0.
    #[serde(default)]
    pub from: f32,
    /// The value at 127.
    #[serde(default = "one")]
    pub to: f32,
    /// The message of a hold.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hold: String,
    /// The message of a double tap.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub double: String,
}

fn one() -> f32 {
    1.0
}

impl Mapping {
    /// A mapping with values from 0 to 1.
    pub fn new(control: Control, address: &str, mode: ControlMode) -> Mapping {
        Mapping { control, address: address.to_owned(), mode, from: 0.0, to: 1.0, hold: String::new(), double: String::new() }
    }

    /// The same with the values of a command's target.
    pub fn with_target(self, target: MidiTarget) -> Mapping {
        match target {
            MidiTarget::Fader(from, to) => Mapping { from, to, ..self },
            MidiTarget::OnOff | MidiTarget::Button => self,
        }
    }

    /// The value that a position means; `None`: none. `current` is the session's value.
    pub fn value(&self, position: Position, current: f32) -> Option<f32> {
        Some(match self.mode {
            ControlMode::Absolute => self.from + (self.to - self.from) * position.fraction(),
            ControlMode::Toggle if !position.pressed() => return None,
            ControlMode::Toggle => {
                if self.is_on(current) {
                    self.from
                } else {
                    self.to
                }
            }
            ControlMode::Momentary if position.pressed() => self.to,
            ControlMode::Momentary => self.from,
            ControlMode::Relative => match position.coarse() {
                up @ 0..=63 => self.moved(f32::from(up), current),
                down @ 64..=95 => self.moved(64.0 - f32::from(down), current),
                down => self.moved(f32::from(down) - 128.0, current),
            },
            ControlMode::RelativeOffset => self.moved(f32::from(position.coarse()) - 64.0, current),
            ControlMode::Footswitch => return None,
        })
    }

    /// Whether a value is that of a switch that is on: it is nearer to `to`, like a freeze of other bars.
    pub fn is_on(&self, current: f32) -> bool {
        (current - self.to).abs() < (current - self.from).abs()
    }

    /// A value moved by some steps. A value outside the control's range does not jump into it.
    fn moved(&self, steps: f32, current: f32) -> f32 {
        let (low, high) = (self.from.min(self.to).min(current), self.from.max(self.to).max(current));
        (current + steps * (self.to - self.from) / 127.0).clamp(low, high)
    }
}

/// The content of midi.toml.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// The channel on which held keys set the chord.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chord_channel: Option<u8>,
    /// Milliseconds by which MIDI clock arrives late.
    #[serde(default)]
    pub clock_offset: f32,
    /// The controls.
    #[serde(default, rename = "control")]
    mappings: Vec<Mapping>,
}

impl Map {
    /// Reads a map.
    ///
    /// # Errors
    /// The text is no TOML, or a control, mode or number is not valid; the message says which.
    pub fn parse(text: &str) -> Result<Map, String> {
        let map: Map = toml::from_str(text).map_err(|e| e.to_string())?;
        match map.mappings.iter().find(|m| !(m.from.is_finite() && m.to.is_finite())) {
            Some(mapping) => Err(format!("control {}: `from` and `to` must be finite numbers", mapping.control)),
            None if !map.clock_offset.is_finite() || map.clock_offset.abs() > 1000.0 => {
                Err(format!("clock_offset {}: must be -1000 to 1000 ms", map.clock_offset))
            }
            None => Ok(map),
        }
    }

    /// The map as TOML.
    ///
    /// # Errors
    /// It can't be written as TOML.
    pub fn text(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|e| e.to_string())
    }

    /// The mapping of a control.
    pub fn get(&self, control: Control) -> Option<&Mapping> {
        self.mappings.iter().find(|m| m.control == control)
    }

    /// Adds a mapping, or replaces the control's old one.
    pub fn put(&mut self, mapping: Mapping) {
        self.mappings.retain(|m| m.control != mapping.control);
        self.mappings.push(mapping);
    }
}
