//! Connects the client's ports to those that `--input`, `--output` and `--midi` name, and to those that they were
//! connected to before the server was lost.

use std::time::{Duration, Instant};

use jack::{Client, PortFlags};

use super::super::{DeviceConfig, Link};
use super::jack_error;

/// Time between two attempts to connect ports that are missing.
const AGAIN: Duration = Duration::from_secs(1);

/// What is to be connected.
#[derive(Debug, Clone)]
enum Wanted {
    /// The port that `--input` names.
    Input(String),
    /// The ports that `--output` names.
    Output(String),
    /// The ports that `--midi` names.
    Midi(String),
    /// As before the server was lost.
    Before(Link),
}

/// The connections that are wanted and not made yet.
pub(super) struct Connections {
    names: PortNames,
    missing: Vec<Wanted>,
    tried: Instant,
}

impl Connections {
    /// Those of a configuration, and those that there were before.
    pub(super) fn new(names: PortNames, config: &DeviceConfig, before: &[Link]) -> Connections {
        let flags = [
            config.input.clone().map(Wanted::Input),
            config.output.clone().map(Wanted::Output),
            config.midi.clone().map(Wanted::Midi),
        ];
        let missing = flags.into_iter().flatten().chain(before.iter().cloned().map(Wanted::Before)).collect();
        Connections { names, missing, tried: Instant::now() }
    }

    /// Makes the connections whose ports are there.
    ///
    /// # Errors
    /// Those that are missing, in words.
    pub(super) fn make(&mut self, client: &Client) -> Result<(), String> {
        self.tried = Instant::now();
        let mut errors = Vec::new();
        let names = &self.names;
        self.missing.retain(|wanted| {
            let made = match wanted {
                Wanted::Input(name) => names.connect_input(client, name),
                Wanted::Output(name) => names.connect_output(client, name),
                Wanted::Midi(name) => names.connect_midi(client, name),
                Wanted::Before(link) => connect_link(client, link),
            };
            made.map_err(|e| errors.push(e)).is_err()
        });
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    /// Connections of before that could not be made again yet.
    pub(super) fn missing_links(&self) -> impl Iterator<Item = &Link> {
        self.missing.iter().filter_map(|wanted| if let Wanted::Before(link) = wanted { Some(link) } else { None })
    }

    /// Tries again, if something is missing and the last attempt was a while ago.
    pub(super) fn retry(&mut self, client: &Client) {
        if !self.missing.is_empty() && self.tried.elapsed() >= AGAIN {
            match self.make(client) {
                Ok(()) => tracing::info!("JACK: all ports are connected again"),
                Err(e) => tracing::debug!("{e}"),
            }
        }
    }
}

/// Names of the client's ports.
pub(super) struct PortNames {
    pub input: String,
    /// Left and right.
    pub mix: [String; 2],
    pub midi_in: String,
    pub midi_out: String,
}

impl PortNames {
    /// Connects the input to the first port whose name begins with `from`.
    fn connect_input(&self, client: &Client, from: &str) -> Result<(), String> {
        let ports = ports(client, from, None, PortFlags::IS_OUTPUT);
        let port = ports.first().ok_or_else(|| format!("--input {from}: JACK has no output port of that name"))?;
        connect(client, port, &self.input)
    }

    /// Connects left and right to the first two ports whose names begin with `to`; to the same one where
    /// there is one.
    fn connect_output(&self, client: &Client, to: &str) -> Result<(), String> {
        let ports = ports(client, to, None, PortFlags::IS_INPUT);
        let Some(last) = ports.len().checked_sub(1) else {
            return Err(format!("--output {to}: JACK has no input port of that name"));
        };
        for (n, own) in self.mix.iter().enumerate() {
            connect(client, own, &ports[n.min(last)])?;
        }
        Ok(())
    }

    /// Connects MIDI in and out to the first ports whose names begin with `name`, as far as there are both.
    fn connect_midi(&self, client: &Client, name: &str) -> Result<(), String> {
        let ports = |flag| ports(client, name, Some("8 bit raw midi"), flag);
        let (from, to) = (ports(PortFlags::IS_OUTPUT), ports(PortFlags::IS_INPUT));
        if from.is_empty() && to.is_empty() {
            return Err(format!("--midi {name}: JACK has no MIDI port of that name"));
        }
        if let Some(port) = from.first() {
            connect(client, port, &self.midi_in)?;
        }
        if let Some(port) = to.first() {
            connect(client, &self.midi_out, port)?;
        }
        Ok(())
    }
}

/// Connects two ports. It is no error that they are connected already.
fn connect(client: &Client, from: &str, to: &str) -> Result<(), String> {
    match client.connect_ports_by_name(from, to) {
        Err(jack::Error::PortAlreadyConnected(..)) => Ok(()),
        made => made.map_err(jack_error),
    }
}

/// Makes a connection again.
fn connect_link(client: &Client, link: &Link) -> Result<(), String> {
    if client.port_by_name(&link.other).is_none() {
        return Err(format!("JACK has no port {}, which {} was connected to", link.other, link.own));
    }
    let own = format!("{}:{}", client.name(), link.own);
    let (from, to) = if link.output { (&own, &link.other) } else { (&link.other, &own) };
    connect(client, from, to)
}

fn ports(client: &Client, prefix: &str, port_type: Option<&str>, flag: PortFlags) -> Vec<String> {
    client.ports(Some(&format!("^{}", escape(prefix))), port_type, flag)
}

/// A name as a regular expression that matches it literally.
fn escape(name: &str) -> String {
    name.chars().flat_map(|c| (!c.is_alphanumeric() && !"_: -".contains(c)).then_some('\\').into_iter().chain([c])).collect()
}
