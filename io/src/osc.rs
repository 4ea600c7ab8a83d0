//! Open Sound Control: a rig sets, reads and watches everything by addresses under `/jam` (UDP; interfaces page, "OSC").
//!
//! [`ADDRESSES`] is the one table: parsing, reading, echoes, `sideman osc` and the guide come from it. [`parse`] makes wishes of messages,
//! [`echo`] values of a snapshot, [`OscState`] holds subscribers and what was said to whom (no socket, no clock), [`Server`] is the socket.

mod announce;
mod echo;
mod parse;
mod serve;
mod state;

use std::collections::BTreeMap;

use sideman_engine::live::{Action, Clock, Command, Mode, Which};
use sideman_engine::task::Meter;

pub use announce::{Announcement, SERVICE};
pub use echo::{echo, message, shown};
pub use parse::{Ask, Fault, decode, matches, parse};
pub use serve::Server;
pub use state::{OscState, Out};

use parse::Args;

/// The port that is listened on unless told otherwise.
pub const PORT: u16 = 9940;

/// What the addresses of a session are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Stems in the model's order.
    stems: Vec<String>,
    /// The model, for `/jam/pong`.
    model: String,
    /// Every concrete address, with its place in [`ADDRESSES`].
    addresses: BTreeMap<String, usize>,
}

impl Names {
    /// Names of a model and its stems, in its order.
    pub fn new(model: &str, stems: &[&str]) -> Names {
        let stems: Vec<String> = stems.iter().map(|s| (*s).to_owned()).collect();
        let mut addresses = BTreeMap::new();
        for (at, address) in ADDRESSES.iter().enumerate() {
            let all = stems.iter().map(String::as_str).chain([ALL]);
            match address.path {
                p if p.contains("/S") => addresses.extend(all.map(|s| (p.replacen("/S", &format!("/{s}"), 1), at))),
                p if p.contains("/N") => addresses.extend((1..=4).map(|n| (p.replacen("/N", &format!("/{n}"), 1), at))),
                p => drop(addresses.insert(p.to_owned(), at)),
            }
        }
        Names { stems, model: model.to_owned(), addresses }
    }

    /// Every concrete address.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.keys().map(String::as_str)
    }

    /// The entry of a concrete address.
    fn entry(&self, address: &str) -> Option<&'static Address> {
        self.addresses.get(address).map(|at| &ADDRESSES[*at])
    }

    /// A stem by its name.
    fn stem(&self, name: &str) -> Option<u8> {
        self.stems.iter().position(|s| s == name).and_then(|at| u8::try_from(at).ok())
    }
}

/// The name that stands for all stems.
const ALL: &str = "all";

/// One address of the namespace.
pub struct Address {
    /// The address; `S` stands for a stem or `all`, `N` for 1 to 4.
    pub path: &'static str,
    /// Its arguments, in words.
    pub args: &'static str,
    /// What it does.
    pub what: &'static str,
    /// What a message to it is.
    kind: Kind,
}

/// What a message to an address is.
#[derive(Clone, Copy)]
enum Kind {
    /// A value: set with arguments, read without.
    Value(fn(&mut Args) -> Result<Command, String>),
    /// A deed. A button that sends 0 when it is let go does it once.
    Deed(fn(&mut Args) -> Result<Command, String>),
    /// Sent by us; read without arguments.
    Out,
    /// About the conversation itself.
    Talk(fn(&mut Args) -> Result<Ask, String>),
}

impl Address {
    /// Whether it is `set`, `do`, `out` or `talk`.
    pub fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Value(_) => "set, read",
            Kind::Deed(_) => "do",
            Kind::Out => "out, read",
            Kind::Talk(_) => "talk",
        }
    }
}

const fn value(
    path: &'static str,
    args: &'static str,
    what: &'static str,
    f: fn(&mut Args) -> Result<Command, String>,
) -> Address {
    Address { path, args, what, kind: Kind::Value(f) }
}

const fn deed(
    path: &'static str,
    args: &'static str,
    what: &'static str,
    f: fn(&mut Args) -> Result<Command, String>,
) -> Address {
    Address { path, args, what, kind: Kind::Deed(f) }
}

const fn out(path: &'static str, args: &'static str, what: &'static str) -> Address {
    Address { path, args, what, kind: Kind::Out }
}

const fn talk(path: &'static str, args: &'static str, what: &'static str, f: fn(&mut Args) -> Result<Ask, String>) -> Address {
    Address { path, args, what, kind: Kind::Talk(f) }
}

/// The whole namespace.
pub const ADDRESSES: &[Address] = &[
    talk("/jam/ping", "", "answered by /jam/pong: version, model, seconds since the start", |_| Ok(Ask::Ping)),
    talk(
        "/jam/subscribe",
        "[host] [port] [seconds]",
        "every change is sent there for so long (60 s; at most 3600); again: for longer",
        |a| a.subscribe(),
    ),
    talk("/jam/unsubscribe", "", "and no more", |_| Ok(Ask::Unsubscribe)),
    talk("/jam/sync", "", "everything that can be read, at once", |_| Ok(Ask::Sync)),
    deed("/jam/transport/play", "", "the band plays from bar 1, after the count-in", |_| Ok(Command::Play)),
    deed("/jam/transport/stop", "", "the band falls silent; the clock goes on", |_| Ok(Command::Stop)),
    value("/jam/transport/count_in", "bars", "bars of clicks before bar 1", |a| Ok(Command::CountIn(a.whole()?))),
    value("/jam/tempo", "bpm", "quarter notes a minute", |a| Ok(Command::Tempo(a.number()?))),
    deed("/jam/tap", "", "taps the tempo", |_| Ok(Command::Tap)),
    value("/jam/meter", "n d", "4 4, 3 4, 6 8 or 12 8", |a| {
        let (n, d) = (a.whole()?, a.whole()?);
        format!("{n}/{d}").parse::<Meter>().map(Command::Meter).map_err(|e| e.to_string())
    }),
    value("/jam/clock", "internal|midi|jack|link|free", "where the beat comes from", |a| {
        Ok(Command::Clock(a.one(&[
            ("internal", Clock::Internal),
            ("midi", Clock::Midi),
            ("jack", Clock::Jack),
            ("link", Clock::Link),
            ("free", Clock::Free),
        ])?))
    }),
    value("/jam/text", "words", "describes the music; an empty text is none", |a| {
        Ok(Command::Text { part: 0, text: a.text()?, weight: 1.0 })
    }),
    value("/jam/text/N", "words [weight]", "a weighted part of the text", |a| {
        Ok(Command::Text { part: a.part(), text: a.text()?, weight: if a.number_next() { a.float()? } else { 1.0 } })
    }),
    value("/jam/chords", "\"Am F C G\"", "one chord a bar, repeated, [A] names what follows; empty: not known", |a| {
        Ok(Command::Chords(a.text()?))
    }),
    value("/jam/key", "\"Em\"", "the key; chords that are known move with it; empty: not known", |a| Ok(Command::Key(a.text()?))),
    value("/jam/play", "STEM|none", "the stem that the player plays", |a| Ok(Command::InputStem(a.input_stem()?))),
    value("/jam/stem/S/gain", "dB", "level, -60 to 12", |a| Ok(Command::Stem(a.which(), Action::Gain(a.float()?)))),
    value("/jam/stem/S/mute", "0|1", "silenced; the model goes on hearing it", |a| {
        Ok(Command::Stem(a.which(), Action::Mute(a.flag()?)))
    }),
    value("/jam/stem/S/solo", "0|1", "only solo stems sound", |a| Ok(Command::Stem(a.which(), Action::Solo(a.flag()?)))),
    value("/jam/stem/S/pan", "-1..1", "left to right", |a| Ok(Command::Stem(a.which(), Action::Pan(a.float()?)))),
    value("/jam/stem/S/freeze", "bars", "repeats its last bars; 0: plays freely again", |a| {
        Ok(Command::Stem(a.which(), Action::Freeze(a.whole()?)))
    }),
    deed("/jam/stem/S/regen", "", "something else from the next bar on", |a| Ok(Command::Stem(a.which(), Action::Regen))),
    deed("/jam/stem/S/undo", "", "what was before the last regenerate or freeze comes back", |a| {
        Ok(Command::Stem(a.which(), Action::Undo))
    }),
    deed("/jam/stem/S/redo", "", "and away again", |a| Ok(Command::Stem(a.which(), Action::Redo))),
    value("/jam/mode", "follow|loop|lead", "listens, repeats its last bars, or plays by itself", |a| {
        Ok(Command::Mode(a.one(&[("follow", Mode::Follow), ("loop", Mode::Loop), ("lead", Mode::Lead)])?))
    }),
    value("/jam/loop", "bars", "bars that a loop takes", |a| Ok(Command::LoopBars(a.whole()?))),
    value("/jam/lag", "frames", "how late the player is heard by the model", |a| Ok(Command::Lag(a.whole()?))),
    value("/jam/hop", "frames", "frames decided at a time", |a| Ok(Command::Hop(a.whole()?))),
    value("/jam/sample/temperature", "0..4", "how boldly", |a| Ok(Command::Temperature(a.float()?))),
    value("/jam/sample/top_k", "k", "the k likeliest; 0: all", |a| Ok(Command::TopK(a.whole()?))),
    value("/jam/sample/top_p", "p", "nucleus; 0: off", |a| Ok(Command::TopP(a.float()?))),
    value("/jam/sample/cfg", "x", "guidance: how hard the band leans on clock, chords, player and text; 1: not at all", |a| {
        Ok(Command::Cfg(a.float()?))
    }),
    value("/jam/sample/seed", "n", "other dice", |a| Ok(Command::Seed(a.seed()?))),
    deed("/jam/section/next", "", "to the next section", |_| Ok(Command::Section(String::new()))),
    value("/jam/section/goto", "name|number", "to a section of the chart; read: the one that plays", |a| {
        Ok(Command::Section(if a.number_next() { a.whole()?.to_string() } else { a.text()? }))
    }),
    deed("/jam/fill", "", "a fill into the next bar", |_| Ok(Command::Fill)),
    // Down by 12 and at -12 dB mean the same.
    value("/jam/dip", "dB", "everything but the player down by so much; 0: back", |a| Ok(Command::Dim(-a.float()?.abs()))),
    value("/jam/click", "0|1", "the metronome", |a| Ok(Command::Click(a.flag()?))),
    deed("/jam/panic", "", "silence at once, nothing pending", |_| Ok(Command::Panic)),
    deed("/jam/cancel", "[STEM]", "takes back what is pending: all, or for one stem", |a| Ok(Command::Cancel(a.cancelled()?))),
    value("/jam/rec", "0|1", "starts or ends a take", |a| Ok(Command::Record(a.flag()?))),
    deed("/jam/take/save", "name", "keeps the last ten minutes", |a| Ok(Command::Keep(a.text()?))),
    deed("/jam/midi/learn", "address", "the next MIDI control that moves is for this address", |a| Ok(Command::Learn(a.text()?))),
    out("/jam/beat", "bar beat bpm", "at every beat"),
    out("/jam/section", "name bars", "the section that plays, and bars until the next one"),
    out("/jam/state", "stopped|counting|playing message", "what the band does, and what it last said"),
    out("/jam/pending", "what seconds ...", "what waits, soonest first: each as its message, and the seconds until then"),
    out("/jam/load", "p50 p99 ms late", "milliseconds a hop takes: median, 99th percentile; hops that were late"),
    out("/jam/latency", "in out lag", "milliseconds"),
    out("/jam/level/S", "dB", "peak; -120 is silence"),
    out("/jam/pong", "version model seconds", "the answer to /jam/ping"),
    out("/jam/error", "words", "what was wrong with a message, to its sender"),
];

/// The namespace as lines: address, arguments, what it does.
pub fn namespace() -> String {
    let line = |a: &Address| format!("{:<26} {:<30} {:<9} {}\n", a.path, a.args, a.kind(), a.what);
    let rules = "A message with arguments sets, one without reads. S is a stem's name or `all`, N is 1 to 4. A last argument `now`, `beat`, `bar`,\n\
        `section` or `bar 17` (its number) says when. Whole numbers, floats and booleans are taken alike; patterns (* ? [a-z] {a,b}) and bundles with time tags work.\n\n";
    rules.to_owned() + &ADDRESSES.iter().map(line).collect::<String>()
}

/// A command's stems, for those that have any.
fn which(names: &Names, name: &str) -> Option<Which> {
    if name == ALL { Some(Which::All) } else { names.stem(name).map(Which::One) }
}

#[cfg(test)]
mod tests;
