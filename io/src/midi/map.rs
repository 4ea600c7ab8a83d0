//! Which control stands for which wish: a TOML file of its own, in OSC's words.
//!
//! ```toml
//! chord_channel = 4            # keys held there are the chord
//! clock_offset = -6.0          # ms that the clock is heard late
//!
//! [[control]]
//! control = "cc 1 7"           # or "note 10 36", "program 1 4": channel, number
//! address = "/jam/stem/drums/gain"
//! way = "absolute"             # toggle, momentary, relative, switch
//! from = -40.0                 # at 0 ...
//! to = 6.0                     # ... and at 127
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use rosc::OscType;

/// Something that can be moved; channels from 1.
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
            format!(
                "control {text:?}; it should be like \"cc 1 7\": cc, note or program, a channel of 1 to 16, a number of 0 to 127"
            )
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

/// How a control's values are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A fader: 0 to 127 is `from` to `to`.
    Absolute,
    /// Each press changes between `from` and `to`.
    Toggle,
    /// `to` while it is down, `from` after.
    Momentary,
    /// A knob without ends: 1 to 63 up, 65 to 127 down (two's complement), a 127th of the range a step.
    Relative,
    /// A footswitch: a tap is `address`, a hold `hold`, a double tap `double`, each with its arguments.
    Switch,
}

/// A control and its wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The control.
    pub control: Control,
    /// What it does.
    pub address: String,
    /// How.
    pub way: Way,
    /// The value at 0.
    #[serde(default)]
    pub from: f32,
    /// And at 127.
    #[serde(default = "one")]
    pub to: f32,
    /// What a hold does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hold: String,
    /// What a double tap does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub double: String,
}

fn one() -> f32 {
    1.0
}

impl Entry {
    /// An entry from 0 to 1.
    pub fn new(control: Control, address: &str, way: Way) -> Entry {
        Entry { control, address: address.to_owned(), way, from: 0.0, to: 1.0, hold: String::new(), double: String::new() }
    }

    /// The argument for a value; none where it means nothing. `at` is where it stood, between `from` and `to`.
    pub fn argument(&self, value: u8, at: &mut f32) -> Option<Vec<OscType>> {
        match self.way {
            Way::Absolute => *at = self.from + (self.to - self.from) * f32::from(value.min(127)) / 127.0,
            Way::Toggle if value < 64 => return None,
            Way::Toggle => *at = if *at == self.to { self.from } else { self.to },
            Way::Momentary => *at = if value >= 64 { self.to } else { self.from },
            Way::Relative => {
                let steps = f32::from(if value >= 64 { i16::from(value) - 128 } else { i16::from(value) });
                let (low, high) = (self.from.min(self.to), self.from.max(self.to));
                *at = (*at + steps * (self.to - self.from) / 127.0).clamp(low, high);
            }
            Way::Switch => return None,
        }
        Some(vec![OscType::Float(*at)])
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// The channel whose held keys are the chord.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chord_channel: Option<u8>,
    /// Milliseconds that the clock is heard later than it is meant.
    #[serde(default)]
    pub clock_offset: f32,
    /// The controls.
    #[serde(default, rename = "control")]
    entries: Vec<Entry>,
}

impl Map {
    /// Reads a map.
    ///
    /// # Errors
    /// No TOML, or a control, way or number that can't be; the text says which.
    pub fn parse(text: &str) -> Result<Map, String> {
        let map: Map = toml::from_str(text).map_err(|e| e.to_string())?;
        match map.entries.iter().find(|e| !(e.from.is_finite() && e.to.is_finite())) {
            Some(entry) => Err(format!("control {}: `from` and `to` should be numbers", entry.control)),
            None if !map.clock_offset.is_finite() || map.clock_offset.abs() > 1000.0 => {
                Err("`clock_offset` should be within -1000 and 1000 ms".into())
            }
            None => Ok(map),
        }
    }

    /// The map as its file says it.
    ///
    /// # Errors
    /// It can't be written as TOML.
    pub fn text(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|e| e.to_string())
    }

    /// The entry of a control.
    pub fn get(&self, control: Control) -> Option<&Entry> {
        self.entries.iter().find(|e| e.control == control)
    }

    /// Puts an entry in the place of the control's old one.
    pub fn put(&mut self, entry: Entry) {
        self.entries.retain(|e| e.control != entry.control);
        self.entries.push(entry);
    }
}

/// Values of a learned control that are looked at.
const LOOKS: usize = 3;

/// Watches controls until one has shown what it is: press learn, move it, done.
#[derive(Debug, Clone)]
pub struct Learn {
    address: String,
    seen: Vec<(Control, u8)>,
}

impl Learn {
    /// Learns a control for an address.
    pub fn new(address: &str) -> Learn {
        Learn { address: address.to_owned(), seen: Vec::new() }
    }

    /// A control has moved: its entry, once it is known. A fader shows several values, a button 127 and 0, a knob without ends
    /// values next to 0 or 128 only.
    pub fn seen(&mut self, control: Control, value: u8) -> Option<Entry> {
        if !matches!(control, Control::Cc { .. }) {
            let way = if matches!(control, Control::Program { .. }) || self.switched() { Way::Toggle } else { Way::Momentary };
            return Some(self.entry(control, way));
        }
        self.seen.retain(|(c, _)| *c == control);
        self.seen.push((control, value));
        let values: Vec<u8> = self.seen.iter().map(|(_, v)| *v).collect();
        if values.contains(&127) && values.contains(&0) {
            return Some(self.entry(control, if self.switched() { Way::Toggle } else { Way::Momentary }));
        }
        if values.len() < LOOKS {
            return None;
        }
        let near = |v: &u8| (1..=3).contains(v) || (125..=127).contains(v);
        // A fader goes through values next to each other; a knob without ends says the same step again.
        let knob = values.iter().all(near) && values.windows(2).any(|w| w[0] == w[1]);
        Some(self.entry(control, if knob { Way::Relative } else { Way::Absolute }))
    }

    /// Whether the address is one that is on or off.
    fn switched(&self) -> bool {
        ["/mute", "/solo", "/click", "/rec"].iter().any(|end| self.address.ends_with(end))
    }

    fn entry(&self, control: Control, way: Way) -> Entry {
        let (from, to) = match self.address.rsplit('/').next() {
            Some("gain") => (-40.0, 6.0),
            Some("pan") => (-1.0, 1.0),
            Some("dip") => (30.0, 0.0),
            Some("temperature") => (0.0, 2.0),
            Some("cfg") => (1.0, 6.0),
            Some("tempo") => (60.0, 180.0),
            Some("freeze") => (0.0, 2.0),
            _ => (0.0, 1.0),
        };
        Entry { from, to, ..Entry::new(control, &self.address, way) }
    }
}
