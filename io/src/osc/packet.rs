//! OSC packets: from bytes to messages of the command language, and back.
//!
//! Bundles are taken apart here, so that an element that can't be read costs that element only; messages are decoded by rosc.

use rosc::{OscMessage, OscPacket, OscTime, OscType};

use crate::command_language::{Message, Value};

/// The deepest bundle inside bundles.
const MAX_DEPTH: usize = 8;
/// The most messages in a packet, those that can't be read included.
pub const MAX_MESSAGES: usize = 512;
/// The most arrays in a message. An array is dropped recursively: many nested ones would exhaust the stack.
const MAX_ARRAYS: usize = 64;
/// The longest message, in bytes: room for a text and an address.
const MAX_LENGTH: usize = 8192;
/// A time tag that means now.
const NOW: OscTime = OscTime { seconds: 0, fractional: 1 };

/// An element of a packet: a message with the latest time tag of the bundles around it, or why it can't be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// When the message is due.
    pub time: OscTime,
    /// The message.
    pub message: Result<OscMessage, String>,
}

/// The elements of a packet, in order; at most [`MAX_MESSAGES`] and one that says that there were more.
pub fn elements(bytes: &[u8]) -> Vec<Element> {
    let mut all = Vec::new();
    read(bytes, NOW, 0, &mut all);
    all
}

fn read(bytes: &[u8], time: OscTime, depth: usize, all: &mut Vec<Element>) {
    if all.len() > MAX_MESSAGES {
        return;
    }
    let mut push = |message| all.push(Element { time, message });
    let Some(bundle) = bytes.strip_prefix(b"#bundle\0") else {
        let full = all.len() == MAX_MESSAGES;
        let more = || Err(format!("a packet of more than {MAX_MESSAGES} messages: the rest is left out"));
        all.push(Element { time, message: if full { more() } else { message(bytes) } });
        return;
    };
    if depth == MAX_DEPTH {
        return push(Err(format!("more than {MAX_DEPTH} bundles inside each other")));
    }
    let Some((tag, mut rest)) = bundle.split_at_checked(8) else {
        return push(Err("a bundle without a time tag".into()));
    };
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let tag = OscTime { seconds: word(&tag[..4]), fractional: word(&tag[4..]) };
    // A bundle inside a bundle is never due before the outer one.
    let time = if (tag.seconds, tag.fractional) > (time.seconds, time.fractional) { tag } else { time };
    while !rest.is_empty() && all.len() <= MAX_MESSAGES {
        let element = rest.split_at_checked(4).and_then(|(len, after)| after.split_at_checked(word(len) as usize));
        let Some((element, after)) = element else {
            all.push(Element { time, message: Err("a bundle that ends inside an element".into()) });
            return;
        };
        read(element, time, depth + 1, all);
        rest = after;
    }
}

/// Decodes a message. One without a type tag string has no arguments.
fn message(bytes: &[u8]) -> Result<OscMessage, String> {
    if bytes.len() > MAX_LENGTH {
        return Err(format!("a message of {} bytes: at most {MAX_LENGTH} are read", bytes.len()));
    }
    let end = |bytes: &[u8]| bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let length = end(bytes);
    let rest = bytes.get((length / 4 + 1) * 4..);
    if rest.is_some_and(<[u8]>::is_empty) && bytes.first() == Some(&b'/') {
        let address = std::str::from_utf8(&bytes[..length]).map_err(|_| "an address that is no text".to_owned())?;
        return Ok(OscMessage { addr: address.to_owned(), args: Vec::new() });
    }
    let rest = rest.unwrap_or_default();
    if !rest.is_empty() && rest[0] != b',' {
        return Err("a message with arguments but without a type tag string".into());
    }
    let arrays = rest[..end(rest)].iter().filter(|tag| **tag == b'[').count();
    if arrays > MAX_ARRAYS {
        return Err(format!("a message of {arrays} arrays: at most {MAX_ARRAYS} are read"));
    }
    match rosc::decoder::decode_udp(bytes) {
        Ok((_, OscPacket::Message(message))) => Ok(message),
        Ok((_, OscPacket::Bundle(_))) => Err("a bundle that is not valid OSC".into()),
        Err(e) => Err(format!("a message that is not valid OSC: {e}")),
    }
}

/// Encodes a message; `None`: OSC can't represent it.
pub fn encode(message: Message) -> Option<Vec<u8>> {
    let args = message.arguments.into_iter().map(|value| match value {
        Value::Int(n) => OscType::Int(n),
        Value::Long(n) => OscType::Long(n),
        Value::Float(n) => OscType::Float(n as f32),
        Value::Text(text) => OscType::String(text),
    });
    rosc::encoder::encode(&OscPacket::Message(OscMessage { addr: message.address, args: args.collect() })).ok()
}

/// The arguments of an OSC message. `press`: nil and impulse are presses of a button.
///
/// # Errors
/// An argument of a type that the address does not take.
pub fn arguments(given: &[OscType], press: bool) -> Result<Vec<Value>, String> {
    let value = |argument: &OscType| match argument {
        OscType::Int(n) => Ok(Value::Int(*n)),
        OscType::Long(n) => Ok(Value::Long(*n)),
        OscType::Float(n) => Ok(Value::Float(f64::from(*n))),
        OscType::Double(n) => Ok(Value::Float(*n)),
        OscType::Bool(on) => Ok(Value::Int((*on).into())),
        OscType::Nil | OscType::Inf if press => Ok(Value::Int(1)),
        OscType::String(text) => Ok(Value::Text(text.clone())),
        other => Err(format!("an argument {other:?}: must be a number, a boolean or a string")),
    };
    given.iter().map(value).collect()
}
