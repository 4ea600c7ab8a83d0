//! The value at each address, from a snapshot of the session.

use std::collections::BTreeMap;

use sideman_engine::audio::RATE;
use sideman_engine::live::commands::{Access, CommandKind};
use sideman_engine::live::{Command, Snapshot, by_ear};
use sideman_engine::model::FRAME_RATE;

use crate::command_language::{Namespace, Value, flag, instrument, message, meter, whole};

/// Values by address.
pub type Values = BTreeMap<String, Vec<Value>>;

/// Milliseconds of a frame.
const FRAME_MS: f32 = 1000.0 / FRAME_RATE as f32;

/// Pending commands that are sent, and the characters of each: as many as fit in a packet.
const MAX_PENDING: usize = 12;
const MAX_PENDING_CHARS: usize = 60;

/// The values that a snapshot has.
pub fn values(s: &Snapshot, namespace: &Namespace) -> Values {
    let mut all = Values::new();
    commands(s, namespace, &mut all);
    stems(s, namespace, &mut all);
    outputs(s, namespace, &mut all);
    all
}

/// The value that a command sets at an address; `None`: it sets none. Some of these values are in no snapshot.
pub fn value_set(command: &Command, namespace: &Namespace) -> Option<(String, Vec<Value>)> {
    let value = command.kind().spec().address.is_some_and(|address| address.access == Access::Value);
    message(command, namespace).filter(|_| value).map(|message| (message.address, message.arguments))
}

/// Values of commands to the session.
fn commands(s: &Snapshot, namespace: &Namespace, all: &mut Values) {
    let mut put = |kind: CommandKind, arguments: Vec<Value>| {
        if let Some(address) = kind.spec().address {
            all.insert(address.path.to_owned(), arguments);
        }
    };
    put(CommandKind::Tempo, vec![Value::Float(s.tempo)]);
    put(CommandKind::Meter, meter(s.meter));
    put(CommandKind::Clock, vec![s.clock.name().into()]);
    put(CommandKind::Mode, vec![s.mode.name().into()]);
    put(CommandKind::InputStem, vec![instrument(namespace, s.input_stem)]);
    put(CommandKind::Text, vec![s.text.as_str().into()]);
    put(CommandKind::Lag, vec![whole(s.lag)]);
    put(CommandKind::Hop, vec![whole(s.hop)]);
    put(CommandKind::Key, vec![s.key.as_str().into()]);
    put(CommandKind::Chords, vec![s.chords.as_str().into()]);
    put(CommandKind::GoToSection, vec![s.section.as_str().into()]);
    put(CommandKind::Dim, vec![s.dim.abs().into()]);
    put(CommandKind::Room, vec![s.room.into()]);
    put(CommandKind::Click, vec![flag(s.click)]);
    put(CommandKind::Record, vec![flag(s.recording)]);
}

/// Values of commands to stems, and levels.
fn stems(s: &Snapshot, namespace: &Namespace, all: &mut Values) {
    for (name, stem) in namespace.stems().iter().zip(&s.stems) {
        let mut put = |kind: CommandKind, value: Value| {
            if let Some(address) = kind.spec().address {
                all.insert(address.path.replacen("/S", &format!("/{name}"), 1), vec![value]);
            }
        };
        put(CommandKind::StemGain, stem.gain.into());
        put(CommandKind::StemMute, flag(stem.mute));
        put(CommandKind::StemSolo, flag(stem.solo));
        put(CommandKind::StemPan, stem.pan.into());
        put(CommandKind::StemFreeze, whole(stem.frozen));
        let db = (20.0 * stem.peak.max(1e-6).log10() * 10.0).round() / 10.0;
        all.insert(format!("/jam/level/{name}"), vec![db.into()]);
    }
}

/// Values that can only be read.
fn outputs(s: &Snapshot, namespace: &Namespace, all: &mut Values) {
    let mut put = |address: &str, arguments: Vec<Value>| drop(all.insert(address.to_owned(), arguments));
    let bar = Value::Int(s.bar.clamp(i32::MIN.into(), i32::MAX.into()) as i32);
    put("/jam/beat", vec![bar, whole(s.beat), Value::Float(s.tempo)]);
    let lock = if s.ear.is_some() { (s.lock * 100.0).round() / 100.0 } else { 0.0 };
    put("/jam/clock/state", vec![s.ear.map_or("off", |ear| ear.name()).into()]);
    put("/jam/clock/lock", vec![lock.into()]);
    put("/jam/clock/offer", vec![Value::Float(s.offer.round())]);
    let heard = if by_ear(&s.chords) { (s.chord.as_str(), s.next_chord.as_str(), s.chord_loop) } else { ("", "", 0) };
    put("/jam/heard/chord", vec![heard.0.into(), heard.1.into()]);
    put("/jam/heard/loop", vec![whole(heard.2)]);
    put("/jam/section", vec![s.section.as_str().into(), whole(s.section_bars)]);
    let state = if !s.playing {
        "stopped"
    } else if s.bar < 1 {
        "counting"
    } else {
        "playing"
    };
    let notice = s.notice.as_ref().map(ToString::to_string).unwrap_or_default();
    put("/jam/state", vec![state.into(), notice.as_str().into()]);
    put("/jam/load", vec![s.health.p50.into(), s.health.p99.into(), whole(u32::try_from(s.health.late).unwrap_or(u32::MAX))]);
    put("/jam/latency", vec![s.health.latency_in.into(), s.health.latency_out.into(), (s.lag as f32 * FRAME_MS).into()]);
    put("/jam/pending", pending_value(pending(s, namespace).collect()));
}

/// The pending commands of a snapshot: each as text, and the seconds until it takes effect.
pub fn pending<'a>(s: &'a Snapshot, namespace: &'a Namespace) -> impl Iterator<Item = (String, f64)> + 'a {
    s.pending.iter().map(|pending| {
        let text = message(&pending.command, namespace).map(|m| m.to_string()).unwrap_or_default();
        (text, (pending.at - s.time) as f64 / f64::from(RATE))
    })
}

/// The value of `/jam/pending`: the first commands, soonest first.
pub fn pending_value(mut all: Vec<(String, f64)>) -> Vec<Value> {
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    let value = |(text, seconds): (String, f64)| {
        let text: String = text.trim_start_matches("/jam/").chars().take(MAX_PENDING_CHARS).collect();
        // Rounded to a tenth of a second: it is for display, and must not change with every snapshot.
        [Value::Text(text), Value::Float((seconds * 10.0).round() / 10.0)]
    };
    all.into_iter().take(MAX_PENDING).flat_map(value).collect()
}
