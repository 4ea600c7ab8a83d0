//! From a command to a message.

use sideman_engine::live::{Action, Command, Which};
use sideman_engine::task::Meter;

use super::{ALL, Message, Namespace, Value};

/// The message that sends a command; `None`: the command has no address, or its stem doesn't exist.
pub fn message(command: &Command, namespace: &Namespace) -> Option<Message> {
    let path = command.kind().spec().address?.path;
    let address = match command {
        Command::Stem(which, _) => {
            let stem = match which {
                Which::All => ALL,
                Which::One(stem) => namespace.stem_name(*stem)?,
            };
            path.replacen("/S", &format!("/{stem}"), 1)
        }
        Command::Text { part, .. } => path.replacen("/N", &format!("/{part}"), 1),
        _ => path.to_owned(),
    };
    let arguments: Vec<Value> = match command {
        Command::Play
        | Command::Stop
        | Command::Tap
        | Command::Half
        | Command::Double
        | Command::One
        | Command::Fill
        | Command::Panic
        | Command::Cancel(None) => vec![],
        Command::Stem(_, Action::Regen | Action::Undo | Action::Redo) => vec![],
        Command::CountIn(n)
        | Command::LoopBars(n)
        | Command::Lag(n)
        | Command::Hop(n)
        | Command::TopK(n)
        | Command::Stem(_, Action::Freeze(n)) => vec![whole(*n)],
        Command::Tempo(x) => vec![Value::Float(*x)],
        Command::Stem(_, Action::Gain(x) | Action::Pan(x)) | Command::Temperature(x) | Command::TopP(x) | Command::Cfg(x) => {
            vec![(*x).into()]
        }
        Command::Dim(db) => vec![db.abs().into()],
        Command::Room(amount) => vec![(*amount).into()],
        Command::Stem(_, Action::Mute(on) | Action::Solo(on))
        | Command::Click(on)
        | Command::Record(on)
        | Command::Guided(on)
        | Command::Rest(on) => {
            vec![flag(*on)]
        }
        Command::Meter(m) => meter(*m),
        Command::Clock(clock) => vec![clock.name().into()],
        Command::Mode(mode) => vec![mode.name().into()],
        Command::Text { part: 0, text, .. } => vec![text.as_str().into()],
        Command::Text { text, weight, .. } => vec![text.as_str().into(), (*weight).into()],
        Command::Section(name) if name.trim().is_empty() => vec![],
        Command::Chords(chords) => vec![chords.text().into()],
        Command::Key(text) | Command::Section(text) | Command::Keep(text) | Command::Learn(text) => {
            vec![text.as_str().into()]
        }
        Command::InputStem(stem) => vec![instrument(namespace, *stem)],
        Command::Cancel(Some(stem)) => vec![namespace.stem_name(*stem)?.into()],
        Command::Seed(seed) => vec![Value::Long(seed.cast_signed())],
    };
    Some(Message { address, arguments })
}

/// An input stem as an argument.
pub fn instrument(namespace: &Namespace, stem: Option<u8>) -> Value {
    stem.and_then(|stem| namespace.stem_name(stem)).unwrap_or("none").into()
}

/// A meter as two arguments.
pub fn meter(meter: Meter) -> Vec<Value> {
    meter.to_string().split('/').filter_map(|n| n.parse().ok()).map(Value::Int).collect()
}

/// A count as an argument.
pub fn whole(n: u32) -> Value {
    Value::Int(i32::try_from(n).unwrap_or(i32::MAX))
}

/// On or off as an argument: 1 or 0.
pub fn flag(on: bool) -> Value {
    Value::Int(on.into())
}
