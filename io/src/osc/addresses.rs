//! Every OSC address: those of commands, and those that only OSC has.
//!
//! To add an address for a command, give the command one in the table of commands ([`sideman_engine::live::commands`]). To add a value
//! that can only be read, add a row to [`OUTPUTS`] here and its value in `values.rs`.

use std::collections::BTreeMap;

use sideman_engine::live::commands::{Access, CommandKind};

use crate::command_language::{Namespace, Pattern, expand, is_all};

/// A row of `sideman osc`.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The path; `S` is a stem or `all`, `N` is 1 to 4.
    pub path: &'static str,
    /// The arguments.
    pub arguments: &'static str,
    /// What a message to it does: `set, read`, `trigger`, `read` or `connect`.
    pub access: &'static str,
    /// Help text.
    pub help: &'static str,
}

/// A message about the connection itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Asks for a pong.
    Ping,
    /// Asks for every change.
    Subscribe,
    /// Ends a subscription.
    Unsubscribe,
    /// Asks for all values.
    Sync,
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A command.
    Command(CommandKind),
    /// A message about the connection.
    Connection(Connection),
    /// A value that can only be read.
    Output,
}

const fn connection(path: &'static str, arguments: &'static str, help: &'static str) -> Row {
    Row { path, arguments, access: "connect", help }
}

const fn output(path: &'static str, arguments: &'static str, help: &'static str) -> Row {
    Row { path, arguments, access: "read", help }
}

/// Messages about the connection.
const CONNECTIONS: [(Connection, Row); 4] = [
    (Connection::Ping, connection("/jam/ping", "", "answered by /jam/pong")),
    (
        Connection::Subscribe,
        connection("/jam/subscribe", "[host] [port] [seconds]", "sends every change to a port for a time: 60 s, at most 3600 s"),
    ),
    (
        Connection::Unsubscribe,
        connection("/jam/unsubscribe", "[port]", "ends the sender's subscriptions, or that of a port of its host"),
    ),
    (Connection::Sync, connection("/jam/sync", "", "sends all values once")),
];

/// Values that can only be read.
pub const OUTPUTS: [Row; 14] = [
    output("/jam/beat", "bar beat bpm", "sent at every beat"),
    output("/jam/section", "name bars", "the section that plays, and the bars until the next one"),
    output(
        "/jam/clock/state",
        "off|waiting|following|holding",
        "with the clock by ear: waits for a count, follows you, or keeps the tempo",
    ),
    output("/jam/clock/lock", "0..1", "with the clock by ear: how well your notes fit the beat"),
    output(
        "/jam/clock/offer",
        "bpm",
        "with the clock by ear, while it waits: the tempo of what you play without a count; play on beat 1 accepts it; 0: none",
    ),
    output("/jam/heard/chord", "chord next", "while the chords are heard: the chord, and the one expected in the next bar"),
    output("/jam/heard/loop", "bars", "while the chords are heard: the bars after which they repeat; 0: not known"),
    output("/jam/state", "stopped|counting|playing text", "what the band does, and the last message to the musician"),
    output(
        "/jam/pending",
        "text seconds ...",
        "pending commands, the next one first: each as text, and the seconds until it takes effect",
    ),
    output("/jam/load", "p50 p99 ms late", "time to compute a hop, ms: median and 99th percentile; and the number of late hops"),
    output("/jam/latency", "in out lag", "latency of input and output, and the lag, ms"),
    output("/jam/level/S", "dB", "peak level; -120 is silence"),
    output("/jam/pong", "version model seconds", "the answer to /jam/ping: version, model, seconds since the start"),
    output("/jam/error", "text", "what was wrong with a message, to its sender"),
];

/// All rows, in the order in which `sideman osc` prints them. Aliases are not listed.
pub fn listing() -> impl Iterator<Item = Row> {
    let commands = CommandKind::ALL.iter().filter_map(|kind| kind.spec().address).map(|address| Row {
        path: address.path,
        arguments: address.arguments,
        access: match address.access {
            Access::Value => "set, read",
            Access::Trigger => "trigger",
        },
        help: address.help,
    });
    CONNECTIONS.into_iter().map(|(_, row)| row).chain(commands).chain(OUTPUTS)
}

/// All addresses for one model.
#[derive(Debug, Clone)]
pub struct Addresses {
    model: String,
    namespace: Namespace,
    /// The addresses that only OSC has.
    own: BTreeMap<String, Entry>,
}

impl Addresses {
    /// The addresses for a model and its stems, in its order.
    pub fn new(model: &str, stems: &[&str]) -> Addresses {
        let namespace = Namespace::new(stems);
        let mut own = BTreeMap::new();
        for row in OUTPUTS {
            own.extend(expand(row.path, namespace.stems()).into_iter().map(|address| (address, Entry::Output)));
        }
        own.extend(CONNECTIONS.map(|(connection, row)| (row.path.to_owned(), Entry::Connection(connection))));
        Addresses { model: model.to_owned(), namespace, own }
    }

    /// Name of the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The addresses of commands.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Whether a text has to be matched as a pattern.
    pub fn is_pattern(&self, address: &str) -> bool {
        self.namespace.get(address).is_none() && !self.own.contains_key(address)
    }

    /// The addresses that an address or a pattern means, sorted.
    pub fn find(&self, address: &str) -> Vec<(String, Entry)> {
        if let Some(kind) = self.namespace.get(address) {
            return vec![(address.to_owned(), Entry::Command(kind))];
        }
        if let Some(entry) = self.own.get(address) {
            return vec![(address.to_owned(), *entry)];
        }
        let Some(pattern) = Pattern::new(address) else { return Vec::new() };
        let own = self.own.iter().filter(|(a, _)| !is_all(a) && pattern.matches(a)).map(|(a, entry)| (a.clone(), *entry));
        let commands = self.namespace.find(&pattern).into_iter().map(|(a, kind)| (a.to_owned(), Entry::Command(kind)));
        let mut all: Vec<(String, Entry)> = own.chain(commands).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}
