//! The MIDI map (midi.toml): which control does what. Addresses and arguments are those of the command language.
//!
//! ```toml
//! chord_channel = 4            # keys held on this channel are the chord
//! clock_offset = -6.0          # ms by which MIDI clock arrives late
//!
//! [[control]]
//! control = "cc 1 7"           # or "note 10 36", "program 1 4": channel, number
//! address = "/jam/stem/drums/gain"
//! mode = "absolute"            # toggle, momentary, relative, switch
//! from = -40.0                 # value at 0
//! to = 6.0                     # value at 127
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use sideman_engine::live::commands::MidiTarget;

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
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Control::Cc { channel, number } => write!(f, "cc {channel} {number}"),
            Control::Note { channel, key } => write!(f, "note {channel} {key}"),
            Control::Program { channel, number } => write!(f, "program {channel} {number}"),
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
            format!("control {text:?}: must be like \"cc 1 7\": cc, note or program, then channel 1 to 16, then number 0 to 127")
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [kind, channel, number] = words[..] else { return Err(wrong()) };
        let channel = channel.parse().ok().filter(|c| (1..=16).contains(c)).ok_or_else(wrong)?;
        let number = number.parse().ok().filter(|n| *n < 128u8).ok_or_else(wrong)?;
        match kind {
            "cc" => Ok(Control::Cc { channel, number }),
            "note" => Ok(Control::Note { channel, key: number }),
            "program" => Ok(Control::Program { channel, number }),
            _ => Err(wrong()),
        }
    }
}

/// What a control's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlMode {
    /// A fader: 0 to 127 is `from` to `to`.
    Absolute,
    /// Each press switches between `from` and `to`.
    Toggle,
    /// `to` while it is pressed, `from` after.
    Momentary,
    /// An endless knob: 1 to 63 is up, 65 to 127 is down (two's complement), a step is a 127th of the range.
    Relative,
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

    /// The value that a control's value (0 to 127) means; `None`: none. `current` is the value that was sent last, or `from`.
    pub fn value(&self, value: u8, current: f32) -> Option<f32> {
        Some(match self.mode {
            ControlMode::Absolute => self.from + (self.to - self.from) * f32::from(value.min(127)) / 127.0,
            ControlMode::Toggle if value < 64 => return None,
            ControlMode::Toggle if current == self.to => self.from,
            ControlMode::Toggle => self.to,
            ControlMode::Momentary if value >= 64 => self.to,
            ControlMode::Momentary => self.from,
            ControlMode::Relative => {
                let steps = f32::from(if value >= 64 { i16::from(value) - 128 } else { i16::from(value) });
                let (low, high) = (self.from.min(self.to), self.from.max(self.to));
                (current + steps * (self.to - self.from) / 127.0).clamp(low, high)
            }
            ControlMode::Footswitch => return None,
        })
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
