//! From a band's state to values at addresses.

use std::collections::BTreeMap;

use rosc::{OscMessage, OscType};
use sideman_engine::audio::RATE;
use sideman_engine::live::{Action, Clock, Command, Mode, Snapshot, Which};
use sideman_engine::model::FRAME_RATE;

use super::{ALL, Names};

/// Values by address.
pub type Values = BTreeMap<String, Vec<OscType>>;

/// Milliseconds of a frame.
const FRAME_MS: f32 = 1000.0 / FRAME_RATE as f32;

/// Waiting requests that are told: a packet's room.
const MOST_PENDING: usize = 12;

/// What a snapshot shows.
pub fn shown(s: &Snapshot, names: &Names) -> Values {
    let mut all = Values::new();
    let mut put = |address: &str, args: Vec<OscType>| drop(all.insert(address.to_owned(), args));
    put("/jam/tempo", vec![(s.tempo as f32).into()]);
    let meter: Vec<OscType> = s.meter.to_string().split('/').filter_map(|n| n.parse::<i32>().ok()).map(OscType::Int).collect();
    put("/jam/meter", meter);
    put("/jam/clock", vec![clock(s.clock).into()]);
    put("/jam/mode", vec![mode(s.mode).into()]);
    put("/jam/play", vec![stem(names, s.input_stem).into()]);
    put("/jam/text", vec![s.text.as_str().into()]);
    put("/jam/lag", vec![whole(s.lag)]);
    put("/jam/hop", vec![whole(s.hop)]);
    put("/jam/key", vec![s.key.as_str().into()]);
    put("/jam/chords", vec![s.chords.as_str().into()]);
    put("/jam/section", vec![s.section.as_str().into(), whole(s.section_bars)]);
    put("/jam/section/goto", vec![s.section.as_str().into()]);
    put("/jam/dip", vec![s.dim.abs().into()]);
    put("/jam/click", vec![flag(s.click)]);
    put("/jam/rec", vec![flag(s.recording)]);
    put(
        "/jam/beat",
        vec![OscType::Int(s.bar.clamp(i32::MIN.into(), i32::MAX.into()) as i32), whole(s.beat), (s.tempo as f32).into()],
    );
    let state = if !s.playing {
        "stopped"
    } else if s.bar < 1 {
        "counting"
    } else {
        "playing"
    };
    put("/jam/state", vec![state.into(), s.message.as_str().into()]);
    put("/jam/load", vec![s.health.p50.into(), s.health.p99.into(), whole(u32::try_from(s.health.late).unwrap_or(u32::MAX))]);
    put("/jam/latency", vec![s.health.latency_in.into(), s.health.latency_out.into(), (s.lag as f32 * FRAME_MS).into()]);
    let pending = s.pending.iter().take(MOST_PENDING).flat_map(|p| {
        // To a tenth of a second: it is for the eye, and must not change at every look.
        let seconds = ((p.at - s.time) as f64 / f64::from(RATE) * 10.0).round() / 10.0;
        [line(&p.command, names).as_str().into(), OscType::Float(seconds as f32)]
    });
    put("/jam/pending", pending.collect());
    for (name, stem) in names.stems.iter().zip(&s.stems) {
        put(&format!("/jam/stem/{name}/gain"), vec![stem.gain.into()]);
        put(&format!("/jam/stem/{name}/mute"), vec![flag(stem.mute)]);
        put(&format!("/jam/stem/{name}/solo"), vec![flag(stem.solo)]);
        put(&format!("/jam/stem/{name}/pan"), vec![stem.pan.into()]);
        put(&format!("/jam/stem/{name}/freeze"), vec![whole(stem.frozen)]);
        let db = (20.0 * stem.peak.max(1e-6).log10() * 10.0).round() / 10.0;
        put(&format!("/jam/level/{name}"), vec![db.into()]);
    }
    all
}

/// What has changed from one snapshot to another, as messages.
pub fn echo(before: &Snapshot, after: &Snapshot, names: &Names) -> Vec<OscMessage> {
    let old = shown(before, names);
    let new = shown(after, names).into_iter().filter(|(address, args)| old.get(address) != Some(args));
    new.map(|(addr, args)| OscMessage { addr, args }).collect()
}

/// The message that asks for a command; none where no message does.
pub fn message(command: &Command, names: &Names) -> Option<OscMessage> {
    use Command as C;
    let (addr, args): (&str, Vec<OscType>) = match command {
        C::Play => ("/jam/transport/play", vec![]),
        C::Stop => ("/jam/transport/stop", vec![]),
        C::CountIn(n) => ("/jam/transport/count_in", vec![whole(*n)]),
        C::Tempo(bpm) => ("/jam/tempo", vec![OscType::Double(*bpm)]),
        C::Tap => ("/jam/tap", vec![]),
        C::Meter(m) => ("/jam/meter", m.to_string().split('/').filter_map(|n| n.parse::<i32>().ok()).map(OscType::Int).collect()),
        C::Clock(c) => ("/jam/clock", vec![clock(*c).into()]),
        C::Text { part: 0, text, .. } => ("/jam/text", vec![text.as_str().into()]),
        C::Text { part, text, weight } => {
            return Some(OscMessage { addr: format!("/jam/text/{part}"), args: vec![text.as_str().into(), (*weight).into()] });
        }
        C::Chords(chords) => ("/jam/chords", vec![chords.as_str().into()]),
        C::InputStem(input_stem) => ("/jam/play", vec![stem(names, *input_stem).into()]),
        C::Stem(which, action) => {
            let name = match which {
                Which::All => ALL,
                Which::One(n) => names.stems.get(usize::from(*n))?,
            };
            let (what, args): (&str, Vec<OscType>) = match action {
                Action::Gain(db) => ("gain", vec![(*db).into()]),
                Action::Pan(x) => ("pan", vec![(*x).into()]),
                Action::Mute(on) => ("mute", vec![flag(*on)]),
                Action::Solo(on) => ("solo", vec![flag(*on)]),
                Action::Regen => ("regen", vec![]),
                Action::Freeze(bars) => ("freeze", vec![whole(*bars)]),
                Action::Undo => ("undo", vec![]),
                Action::Redo => ("redo", vec![]),
            };
            return Some(OscMessage { addr: format!("/jam/stem/{name}/{what}"), args });
        }
        C::Mode(m) => ("/jam/mode", vec![mode(*m).into()]),
        C::LoopBars(n) => ("/jam/loop", vec![whole(*n)]),
        C::Lag(n) => ("/jam/lag", vec![whole(*n)]),
        C::Hop(n) => ("/jam/hop", vec![whole(*n)]),
        C::Temperature(x) => ("/jam/sample/temperature", vec![(*x).into()]),
        C::TopK(n) => ("/jam/sample/top_k", vec![whole(*n)]),
        C::TopP(x) => ("/jam/sample/top_p", vec![(*x).into()]),
        C::Cfg(x) => ("/jam/sample/cfg", vec![(*x).into()]),
        C::Seed(n) => ("/jam/sample/seed", vec![OscType::Long(n.cast_signed())]),
        C::Section(name) if name.is_empty() => ("/jam/section/next", vec![]),
        C::Section(name) => ("/jam/section/goto", vec![name.as_str().into()]),
        C::Fill => ("/jam/fill", vec![]),
        C::Dim(db) => ("/jam/dip", vec![db.abs().into()]),
        C::Key(key) => ("/jam/key", vec![key.as_str().into()]),
        C::Learn(address) => ("/jam/midi/learn", vec![address.as_str().into()]),
        C::Click(on) => ("/jam/click", vec![flag(*on)]),
        C::Panic => ("/jam/panic", vec![]),
        C::Cancel(None) => ("/jam/cancel", vec![]),
        C::Cancel(Some(n)) => ("/jam/cancel", vec![names.stems.get(usize::from(*n))?.as_str().into()]),
        C::Record(on) => ("/jam/rec", vec![flag(*on)]),
        C::Keep(name) => ("/jam/take/save", vec![name.as_str().into()]),
        // The runner's own.
        C::Guided(_) => return None,
    };
    Some(OscMessage { addr: addr.into(), args })
}

/// A command as a line: its address without the root, and its arguments.
fn line(command: &Command, names: &Names) -> String {
    let Some(OscMessage { addr, args }) = message(command, names) else { return String::new() };
    let words = args.iter().map(|a| match a {
        OscType::Int(n) => format!(" {n}"),
        OscType::Long(n) => format!(" {n}"),
        OscType::Float(n) => format!(" {n}"),
        OscType::Double(n) => format!(" {n}"),
        OscType::String(s) => format!(" {s}"),
        _ => String::new(),
    });
    addr.trim_start_matches("/jam/").to_owned() + &words.collect::<String>()
}

fn stem(names: &Names, input_stem: Option<u8>) -> &str {
    input_stem.and_then(|n| names.stems.get(usize::from(n))).map_or("none", String::as_str)
}

fn clock(clock: Clock) -> &'static str {
    match clock {
        Clock::Internal => "internal",
        Clock::Midi => "midi",
        Clock::Jack => "jack",
        Clock::Link => "link",
        Clock::Free => "free",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Follow => "follow",
        Mode::Loop => "loop",
        Mode::Lead => "lead",
    }
}

fn whole(n: u32) -> OscType {
    OscType::Int(i32::try_from(n).unwrap_or(i32::MAX))
}

fn flag(on: bool) -> OscType {
    OscType::Int(on.into())
}
