//! OSC packets: from bytes to messages of the command language, and back.

use rosc::{OscMessage, OscPacket, OscType};

use crate::command_language::{Message, Value};

/// The most bundles and arrays in a packet. The decoder is recursive: a packet of nothing but nested bundles would exhaust its stack.
const MAX_NESTED: usize = 64;

/// Decodes a packet.
///
/// # Errors
/// It is not valid OSC, or nested too deeply.
pub fn decode(bytes: &[u8]) -> Result<OscPacket, String> {
    let nested = bytes.windows(8).filter(|w| *w == b"#bundle\0").count() + bytes.iter().filter(|b| **b == b'[').count();
    if nested > MAX_NESTED {
        return Err(format!("a packet with {nested} bundles or arrays: at most {MAX_NESTED} are read"));
    }
    rosc::decoder::decode_udp(bytes).map(|(_, packet)| packet).map_err(|e| format!("a packet that is not valid OSC: {e}"))
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

/// The arguments of an OSC message.
///
/// # Errors
/// An argument of a type that no address takes.
pub fn arguments(given: &[OscType]) -> Result<Vec<Value>, String> {
    let value = |argument: &OscType| match argument {
        OscType::Int(n) => Ok(Value::Int(*n)),
        OscType::Long(n) => Ok(Value::Long(*n)),
        OscType::Float(n) => Ok(Value::Float(f64::from(*n))),
        OscType::Double(n) => Ok(Value::Float(*n)),
        OscType::Bool(on) => Ok(Value::Int((*on).into())),
        OscType::String(text) => Ok(Value::Text(text.clone())),
        other => Err(format!("an argument {other:?}: must be a number, a boolean or a string")),
    };
    given.iter().map(value).collect()
}
