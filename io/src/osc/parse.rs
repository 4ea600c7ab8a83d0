//! Parses an OSC message to its requests ([`Ask`]).

use rosc::OscMessage;
use sideman_engine::live::commands::{Access, MidiTarget};
use sideman_engine::live::{Command, When};

use super::addresses::{Addresses, Connection, Entry};
use super::packet::arguments;
use crate::command_language::{Arguments, Parsed, parse_arguments};

/// Length of a subscription, s, and the longest one.
const SUBSCRIPTION: f64 = 60.0;
const MAX_SUBSCRIPTION: f64 = 3600.0;
/// Characters of an unknown address that its error repeats.
const SHOWN: usize = 128;

/// One thing that a message requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// A command.
    Command {
        /// The address.
        address: String,
        /// The command.
        command: Command,
        /// The boundary, if the message names one.
        when: Option<When>,
        /// It sets a value: of several in a row, only the last one counts.
        value: bool,
    },
    /// The value of an address.
    Read(String),
    /// A pong.
    Ping,
    /// Every change.
    Subscribe {
        /// Where to; `None`: to the sender.
        host: Option<std::net::IpAddr>,
        /// The port; `None`: the sender's.
        port: Option<u16>,
        /// For how long.
        seconds: f64,
    },
    /// No more changes.
    Unsubscribe {
        /// The port of the sender's host that gets them; `None`: those that the sender subscribed.
        port: Option<u16>,
    },
    /// All values.
    Sync,
}

/// What a message requests: several things if its address is a pattern, nothing if it is a button that was
/// released.
pub fn parse(message: &OscMessage, addresses: &Addresses) -> Vec<Result<Ask, String>> {
    let found = addresses.find(&message.addr);
    if found.is_empty() {
        let shown: String = message.addr.chars().take(SHOWN).collect();
        return vec![Err(format!("no address {shown}: `sideman osc` prints all addresses"))];
    }
    found.into_iter().filter_map(|(address, entry)| ask(address, entry, message, addresses).transpose()).collect()
}

/// What a message to one address requests.
fn ask(address: String, entry: Entry, message: &OscMessage, addresses: &Addresses) -> Result<Option<Ask>, String> {
    let without_arguments = |ask| match message.args.is_empty() {
        true => Ok(Some(ask)),
        false => Err(format!("{address}: too many arguments; arguments: none")),
    };
    let kind = match entry {
        Entry::Output => return Ok(Some(Ask::Read(address))),
        Entry::Connection(Connection::Ping) => return without_arguments(Ask::Ping),
        Entry::Connection(Connection::Subscribe) => return subscribe(&address, message, addresses).map(Some),
        Entry::Connection(Connection::Unsubscribe) => return unsubscribe(&address, message, addresses).map(Some),
        Entry::Connection(Connection::Sync) => return without_arguments(Ask::Sync),
        Entry::Command(kind) => kind,
    };
    let row = kind.spec().address;
    let button = row.is_some_and(|row| row.access == Access::Trigger) || kind.spec().midi == MidiTarget::OnOff;
    let given = arguments(&message.args, button).map_err(|e| format!("{address}: {e}"))?;
    Ok(match parse_arguments(kind, &address, &given, addresses.namespace())? {
        Parsed::Command { command, when } => {
            let value = row.is_some_and(|row| row.access == Access::Value);
            Some(Ask::Command { address, command, when, value })
        }
        Parsed::Read => Some(Ask::Read(address)),
        Parsed::Released => None,
    })
}

fn subscribe(address: &str, message: &OscMessage, addresses: &Addresses) -> Result<Ask, String> {
    let wrong = |e: String| format!("{address}: {e}; arguments: [host] [port] [seconds]");
    let given = arguments(&message.args, false).map_err(wrong)?;
    let mut left = Arguments::new(&given, addresses.namespace(), address);
    let mut read = || -> Result<Ask, String> {
        let host = if left.is_empty() || left.number_next() { None } else { Some(left.text()?) };
        let host = match host.as_deref() {
            Some("localhost") => Some(std::net::Ipv4Addr::LOCALHOST.into()),
            // Host names are not looked up: that can take seconds.
            Some(host) => Some(host.parse().map_err(|_| format!("host {host:?}: must be an IP address or localhost"))?),
            None => None,
        };
        // One number is the seconds, two are port and seconds.
        let port = if host.is_some() && left.number_next() || left.len() > 1 { Some(left.whole()?) } else { None };
        let port = port.map(valid_port).transpose()?;
        let seconds = if left.number_next() { left.number()?.clamp(1.0, MAX_SUBSCRIPTION) } else { SUBSCRIPTION };
        if left.is_empty() { Ok(Ask::Subscribe { host, port, seconds }) } else { Err("too many arguments".into()) }
    };
    read().map_err(wrong)
}

fn unsubscribe(address: &str, message: &OscMessage, addresses: &Addresses) -> Result<Ask, String> {
    let wrong = |e: String| format!("{address}: {e}; arguments: [port]");
    let given = arguments(&message.args, false).map_err(wrong)?;
    let mut left = Arguments::new(&given, addresses.namespace(), address);
    let port = if left.is_empty() { None } else { Some(left.whole().and_then(valid_port).map_err(wrong)?) };
    if left.is_empty() { Ok(Ask::Unsubscribe { port }) } else { Err(wrong("too many arguments".into())) }
}

fn valid_port(port: u32) -> Result<u16, String> {
    u16::try_from(port).ok().filter(|p| *p > 0).ok_or(format!("port {port}: must be 1 to 65535"))
}
