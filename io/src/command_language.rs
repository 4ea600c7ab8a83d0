//! The command language: a command as an address with arguments, like `/jam/stem/drums/gain -6`. OSC messages, MIDI maps and the gestures
//! of a footswitch use it.
//!
//! The addresses, their arguments and their help are rows of the table of commands ([`sideman_engine::live::commands`]). [`Namespace`] has
//! the addresses for the stems of one model, [`parse`] reads a message, [`message`] writes a command as a message.

mod arguments;
mod namespace;
mod parse;
mod pattern;
mod write;

use std::fmt;
use std::str::FromStr;

pub use arguments::Arguments;
pub use namespace::{ALL, Namespace, expand, is_all};
pub use parse::{Parsed, parse, parse_arguments};
pub use pattern::Pattern;
pub use write::{flag, instrument, message, meter, whole};

/// An argument of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(i32),
    /// 64 bits: a seed.
    Long(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

impl Value {
    /// The value as a number; `None` for a text.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Int(n) => Some(f64::from(*n)),
            Value::Long(n) => Some(*n as f64),
            Value::Float(n) => Some(*n),
            Value::Text(_) => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<f32> for Value {
    fn from(number: f32) -> Value {
        Value::Float(f64::from(number))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(n) => write!(f, "{n}"),
            Value::Long(n) => write!(f, "{n}"),
            Value::Float(n) => write!(f, "{}", *n as f32),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// An address with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The address, or a pattern for several addresses.
    pub address: String,
    /// The arguments.
    pub arguments: Vec<Value>,
}

/// Reads a message from text: words apart by spaces. A word that is a number is a number.
impl FromStr for Message {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Message, Self::Err> {
        let mut words = text.split_whitespace();
        let address = words.next().unwrap_or_default().to_owned();
        let arguments = words.map(|word| word.parse::<f32>().map_or_else(|_| word.into(), Value::from)).collect();
        Ok(Message { address, arguments })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}

#[cfg(test)]
mod tests;
