//! Connects the client's ports to those that `--input`, `--output` and `--midi` name.

use std::time::{Duration, Instant};

use jack::{Client, PortFlags};

use super::super::DeviceConfig;
use super::jack_error;

/// Time between two attempts to connect ports that are missing.
const AGAIN: Duration = Duration::from_secs(1);

/// One of the flags that name ports.
#[derive(Debug, Clone, Copy)]
enum Flag {
    Input,
    Output,
    Midi,
}

/// The connections that the flags ask for and that are not made yet.
pub(super) struct Connections {
    names: PortNames,
    missing: Vec<(Flag, String)>,
    tried: Instant,
}

impl Connections {
    /// Those of a configuration.
    pub(super) fn new(names: PortNames, config: &DeviceConfig) -> Connections {
        let asked = [(Flag::Input, &config.input), (Flag::Output, &config.output), (Flag::Midi, &config.midi)];
        let missing = asked.into_iter().filter_map(|(flag, name)| Some((flag, name.clone()?))).collect();
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
        self.missing.retain(|(flag, name)| {
            let made = match flag {
                Flag::Input => names.connect_input(client, name),
                Flag::Output => names.connect_output(client, name),
                Flag::Midi => names.connect_midi(client, name),
            };
            made.map_err(|e| errors.push(e)).is_err()
        });
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
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
        client.connect_ports_by_name(port, &self.input).map_err(jack_error)
    }

    /// Connects left and right to the first two ports whose names begin with `to`; to the same one where
    /// there is one.
    fn connect_output(&self, client: &Client, to: &str) -> Result<(), String> {
        let ports = ports(client, to, None, PortFlags::IS_INPUT);
        let Some(last) = ports.len().checked_sub(1) else {
            return Err(format!("--output {to}: JACK has no input port of that name"));
        };
        for (n, own) in self.mix.iter().enumerate() {
            client.connect_ports_by_name(own, &ports[n.min(last)]).map_err(jack_error)?;
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
            client.connect_ports_by_name(port, &self.midi_in).map_err(jack_error)?;
        }
        if let Some(port) = to.first() {
            client.connect_ports_by_name(&self.midi_out, port).map_err(jack_error)?;
        }
        Ok(())
    }
}

fn ports(client: &Client, prefix: &str, port_type: Option<&str>, flag: PortFlags) -> Vec<String> {
    client.ports(Some(&format!("^{}", escape(prefix))), port_type, flag)
}

/// A name as a regular expression that matches it literally.
fn escape(name: &str) -> String {
    name.chars().flat_map(|c| (!c.is_alphanumeric() && !"_: -".contains(c)).then_some('\\').into_iter().chain([c])).collect()
}
