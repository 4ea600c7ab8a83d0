//! The state of the OSC server: subscribers with the values they know, requests on their way to the session, messages that wait for their
//! time tag. It opens no socket and reads no clock, so that a test can run hours in a moment.
//!
//! Everything that a packet can cause is bounded: messages of a packet (`packet.rs`), answers and errors for each peer (`peers.rs`),
//! subscribers, requests and waiting messages (`waiting.rs`, `requests.rs`). Music for a third party is sent only to hosts of
//! [`OscState::with_allowed`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rosc::{OscMessage, OscTime};
use sideman_engine::live::commands::CommandKind;
use sideman_engine::live::{Command, Origin, Request, Snapshot, When};

use super::addresses::Addresses;
use super::packet::{elements, encode};
use super::parse::{Ask, parse};
use super::peers::{Peers, TAKES};
use super::requests::Requests;
use super::values::{Values, pending, pending_value, value_set, values};
use super::waiting::Waiting;
use crate::command_language::{Message, Value, expand, is_all, message};

/// The most subscribers at a time, and of one host.
const MAX_SUBSCRIBERS: usize = 32;
const MAX_OF_HOST: usize = 12;
/// The longest time that a message may wait for its time tag.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// The time in which the session takes a value. Until then a subscriber that set it does not get the old one.
const SETTLE: Duration = Duration::from_secs(1);
/// The longest packet that is sent, bytes: the longest text and its address. Beyond 1400 bytes it goes over a network in several pieces.
const MAX_PACKET: usize = 4500;
/// The longest error, in characters: the text that is wrong may be long.
const MAX_ERROR: usize = 500;

/// A packet to send.
pub type Out = (SocketAddr, Vec<u8>);

struct Subscriber {
    until: Instant,
    /// Who subscribed it: a surface may send from another port than it listens at.
    by: SocketAddr,
    /// The values that were sent to it, and those that it set itself.
    knows: Values,
    /// Addresses of values that it has set and that the session has not taken yet, and when.
    moved: BTreeMap<String, Instant>,
}

/// The state of the OSC server.
pub struct OscState {
    addresses: Addresses,
    origin: Origin,
    started: Instant,
    /// Values that commands have set.
    set: Values,
    /// The current values: those of the newest snapshot, else those that commands have set.
    values: Values,
    subscribers: BTreeMap<SocketAddr, Subscriber>,
    /// Hosts that any peer may subscribe.
    allowed: Vec<IpAddr>,
    peers: Peers,
    waiting: Waiting,
    requests: Requests,
    out: Vec<Out>,
    /// Packets that were not valid OSC.
    pub malformed: u64,
    /// Requests and packets that were dropped because there were too many.
    pub dropped: u64,
}

impl OscState {
    /// A server without subscribers. Its requests carry `origin`.
    pub fn new(addresses: Addresses, origin: Origin, now: Instant) -> OscState {
        OscState {
            addresses,
            origin,
            started: now,
            set: text_parts(),
            values: text_parts(),
            subscribers: BTreeMap::new(),
            allowed: Vec::new(),
            peers: Peers::new(now),
            waiting: Waiting::default(),
            requests: Requests::default(),
            out: Vec::new(),
            malformed: 0,
            dropped: 0,
        }
    }

    /// The same; any peer may subscribe these hosts. Without them, a peer may subscribe its own host only: otherwise one packet could
    /// flood a third party for an hour.
    pub fn with_allowed(self, allowed: Vec<IpAddr>) -> OscState {
        OscState { allowed, ..self }
    }

    /// Takes a packet that was received. `clock` is the time of day, for time tags.
    pub fn packet(&mut self, from: SocketAddr, bytes: &[u8], now: Instant, clock: SystemTime) {
        self.due(now);
        for element in elements(bytes) {
            match element.message {
                Ok(message) => self.take(from, message, until(element.time, clock), now),
                Err(what) => {
                    self.malformed += 1;
                    self.error(from, what, now);
                }
            }
        }
    }

    /// Takes a message that is due after a time.
    fn take(&mut self, from: SocketAddr, message: OscMessage, wait: Duration, now: Instant) {
        if wait.is_zero() {
            self.message(from, &message, now);
        } else if wait > MAX_WAIT {
            self.error(from, format!("a time tag more than {} s ahead", MAX_WAIT.as_secs()), now);
        } else if let Err(full) = self.waiting.push(now + wait, from, message) {
            self.dropped += 1;
            self.error(from, full.to_string(), now);
        }
    }

    fn message(&mut self, from: SocketAddr, osc: &OscMessage, now: Instant) {
        // A pattern costs more than an address.
        if self.addresses.is_pattern(&osc.addr) && !self.peers.may_ask(from, now) {
            self.dropped += 1;
            return self.error(from, "too many address patterns: some are left out".into(), now);
        }
        for ask in parse(osc, &self.addresses) {
            match ask {
                Ok(Ask::Command { address, command, when, value }) => self.command(from, address, command, when, value, now),
                Ok(Ask::Read(address)) => self.read(from, &address, now),
                Ok(Ask::Ping) => self.pong(from, now),
                Ok(Ask::Subscribe { host, port, seconds }) => {
                    let to = SocketAddr::new(host.unwrap_or(from.ip()), port.unwrap_or(from.port()));
                    self.subscribe(from, to, now + Duration::from_secs_f64(seconds), now);
                }
                Ok(Ask::Unsubscribe { port: None }) => self.subscribers.retain(|to, s| *to != from && s.by != from),
                Ok(Ask::Unsubscribe { port: Some(port) }) => {
                    self.subscribers.retain(|to, _| to.port() != port || !same_host(to.ip(), from.ip()));
                }
                Ok(Ask::Sync) => {
                    for (address, value) in self.values.clone() {
                        self.answer(from, &address, value, now);
                    }
                }
                Err(what) => self.error(from, what, now),
            }
        }
    }

    fn command(&mut self, from: SocketAddr, address: String, command: Command, when: Option<When>, value: bool, now: Instant) {
        if matches!(command, Command::Keep(_) | Command::Record(true)) && !self.peers.may_record(from, now) {
            self.dropped += 1;
            let (most, rate) = TAKES;
            return self.error(from, format!("{address}: at most {most} takes at once, and then one in {} s", 1.0 / rate), now);
        }
        let clamped = command.clone().clamp();
        if value {
            let own = message(&command, self.addresses.namespace()).map(|m| m.arguments).unwrap_or_default();
            for (_, subscriber) in self.subscribers.iter_mut().filter(|(to, s)| **to == from || s.by == from) {
                subscriber.knows.insert(address.clone(), own.clone());
                if clamped.is_none() {
                    subscriber.moved.insert(address.clone(), now);
                }
            }
        }
        if let (Some(clamped), Some(range)) = (clamped, command.kind().spec().range) {
            self.error(from, format!("{address}: {clamped}; the range is {range}"), now);
        }
        self.cancel(&command);
        if let Err(full) = self.requests.push(from, &address, value, Request { command, when, from: self.origin }) {
            self.dropped += 1;
            self.error(from, full.to_string(), now);
        }
    }

    /// A command that cancels what is pending also cancels the messages that wait here.
    fn cancel(&mut self, command: &Command) {
        match command {
            Command::Panic | Command::Cancel(None) => self.waiting.cancel(None),
            Command::Cancel(Some(stem)) => self.waiting.cancel(self.addresses.namespace().stem_name(*stem)),
            _ => {}
        }
    }

    fn read(&mut self, to: SocketAddr, address: &str, now: Instant) {
        if address == "/jam/pong" {
            self.pong(to, now);
        } else if is_all(address) {
            // The value of each stem at its own address.
            let path = address.replacen("/all", "/S", 1);
            for address in expand(&path, self.addresses.namespace().stems()) {
                if let Some(value) = self.values.get(&address).cloned() {
                    self.answer(to, &address, value, now);
                }
            }
        } else {
            match self.values.get(address) {
                Some(value) => self.answer(to, address, value.clone(), now),
                None => self.error(to, format!("{address} has no value yet"), now),
            }
        }
    }

    fn pong(&mut self, to: SocketAddr, now: Instant) {
        let seconds = now.saturating_duration_since(self.started).as_secs_f32();
        let values = vec![env!("CARGO_PKG_VERSION").into(), self.addresses.model().into(), seconds.into()];
        self.answer(to, "/jam/pong", values, now);
    }

    fn subscribe(&mut self, from: SocketAddr, to: SocketAddr, until: Instant, now: Instant) {
        let host = to.ip().to_canonical();
        if !same_host(host, from.ip()) && !self.allowed.contains(&host) {
            let refused =
                format!("/jam/subscribe {host}: a peer may subscribe its own host only; --osc-allow {host} lets others");
            return self.error(from, refused, now);
        }
        if let Some(subscriber) = self.subscribers.get_mut(&to) {
            (subscriber.until, subscriber.by) = (until, from);
            return;
        }
        let of_host = self.subscribers.keys().filter(|to| to.ip().to_canonical() == host).count();
        if self.subscribers.len() < MAX_SUBSCRIBERS && of_host < MAX_OF_HOST {
            self.subscribers.insert(to, Subscriber { until, by: from, knows: Values::new(), moved: BTreeMap::new() });
        } else {
            let full =
                format!("already {MAX_SUBSCRIBERS} subscribers, or {MAX_OF_HOST} of this host: try again when one has left");
            self.error(from, full, now);
        }
    }

    /// Takes the requests for the session, in order: not all at once. To be called about fifty times a second.
    pub fn requests(&mut self) -> Vec<Request> {
        self.requests.take()
    }

    /// Puts back requests that the session had no room for. They are the next ones to be taken.
    pub fn put_back(&mut self, requests: Vec<Request>) {
        self.requests.put_back(requests);
    }

    /// A request was taken, from OSC or another source. Some values are in no snapshot: this is how they are known.
    pub fn applied(&mut self, request: &Request) {
        if request.from != self.origin {
            self.cancel(&request.command);
        }
        self.set.extend(value_set(&request.command, self.addresses.namespace()));
    }

    /// Sends a text to every subscriber, at `/jam/error`.
    pub fn notify(&mut self, what: &str) {
        let all: Vec<SocketAddr> = self.subscribers.keys().copied().collect();
        all.into_iter().for_each(|to| self.send(to, "/jam/error", vec![what.into()]));
    }

    /// Handles the messages whose time tag is due.
    pub fn due(&mut self, now: Instant) {
        for (from, message) in self.waiting.due(now) {
            self.message(from, &message, now);
        }
    }

    /// Sends every subscriber the values that have changed since its last echo. To be called at most 30 times a second.
    pub fn echo(&mut self, snapshot: &Snapshot, now: Instant) {
        self.subscribers.retain(|_, s| s.until > now);
        self.values = self.set.clone();
        self.values.append(&mut values(snapshot, self.addresses.namespace()));
        let all = pending(snapshot, self.addresses.namespace()).chain(self.waiting.pending(now)).collect();
        self.values.insert("/jam/pending".to_owned(), pending_value(all));
        for (old, new) in self.addresses.namespace().aliases() {
            if let Some(value) = self.values.get(new).cloned() {
                self.values.insert(old.to_owned(), value);
            }
        }
        let mut out = Vec::new();
        for (to, Subscriber { knows, moved, .. }) in &mut self.subscribers {
            let known = |address: &String, value: &[Value]| knows.get(address).is_some_and(|known| equal(known, value));
            // A fader that is sent the value from before its move jumps back under the finger.
            moved.retain(|address, at| {
                let taken = self.values.get(address).is_some_and(|value| known(address, value));
                !taken && now.saturating_duration_since(*at) < SETTLE
            });
            let changed = self.values.iter().filter(|(address, value)| !known(address, value) && !moved.contains_key(*address));
            let changed: Values = changed.map(|(address, value)| (address.clone(), value.clone())).collect();
            knows.extend(changed.clone());
            out.push((*to, changed));
        }
        // Each value has a packet of its own: some clients read no bundles.
        for (to, changed) in out {
            changed.into_iter().for_each(|(address, value)| self.send(to, &address, value));
        }
    }

    /// Takes the packets to send.
    pub fn out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// Sends an error to the peer whose message caused it, except one that repeats.
    fn error(&mut self, to: SocketAddr, what: String, now: Instant) {
        let what: String = what.chars().take(MAX_ERROR).collect();
        if self.peers.may_hear(to, &what, now) {
            self.send(to, "/jam/error", vec![Value::Text(what)]);
        }
    }

    /// Sends an answer to the peer that asked for it, unless it has asked too much.
    fn answer(&mut self, to: SocketAddr, address: &str, arguments: Vec<Value>, now: Instant) {
        if self.peers.may_ask(to, now) {
            self.send(to, address, arguments);
        } else {
            self.dropped += 1;
            self.error(to, "too many values are asked for: some answers are left out".into(), now);
        }
    }

    fn send(&mut self, to: SocketAddr, address: &str, arguments: Vec<Value>) {
        let length = match encode(Message { address: address.to_owned(), arguments }) {
            Some(bytes) if bytes.len() <= MAX_PACKET => return self.out.push((to, bytes)),
            Some(bytes) => bytes.len(),
            None => 0,
        };
        let what = format!("{address}: its value of {length} bytes does not fit in a packet of {MAX_PACKET}");
        if let Some(bytes) = encode(Message { address: "/jam/error".to_owned(), arguments: vec![Value::Text(what)] }) {
            self.out.push((to, bytes));
        }
    }
}

/// Whether two addresses are those of one host. All loopback addresses are this computer's.
fn same_host(a: IpAddr, b: IpAddr) -> bool {
    let (a, b) = (a.to_canonical(), b.to_canonical());
    a == b || a.is_loopback() && b.is_loopback()
}

/// The parts of the text, which are in no snapshot: empty until they are set.
fn text_parts() -> Values {
    let path = CommandKind::TextPart.spec().address.map_or("", |address| address.path);
    expand(path, &[]).into_iter().map(|address| (address, vec!["".into(), Value::Float(0.0)])).collect()
}

/// Whether two values are the same to a client: 1 and 1.0 are one value, and a float has 32 bits.
fn equal(a: &[Value], b: &[Value]) -> bool {
    let same = |(a, b): (&Value, &Value)| match (a.number(), b.number()) {
        (Some(a), Some(b)) => a as f32 == b as f32,
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

/// The time until a time tag. (0, 1) means now, and so does a tag in the past.
fn until(tag: OscTime, clock: SystemTime) -> Duration {
    /// Seconds from 1900, the epoch of time tags, to 1970.
    const TO_1970: u64 = 2_208_988_800;
    if tag.seconds == 0 {
        return Duration::ZERO;
    }
    let nanos = (u64::from(tag.fractional) * 1_000_000_000) >> 32;
    let since = Duration::new(u64::from(tag.seconds).saturating_sub(TO_1970), nanos as u32);
    since.saturating_sub(clock.duration_since(UNIX_EPOCH).unwrap_or_default())
}
