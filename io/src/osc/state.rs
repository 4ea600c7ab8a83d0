//! The state of the OSC server: subscribers with the values they know, requests on their way to the session, messages that wait for their
//! time tag. It opens no socket and reads no clock, so that a test can run hours in a moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rosc::{OscMessage, OscPacket, OscTime};
use sideman_engine::live::commands::{Access, CommandKind};
use sideman_engine::live::{Origin, Request, Snapshot};

use super::addresses::Addresses;
use super::packet::{decode, encode};
use super::parse::{Ask, parse};
use super::values::{Values, values};
use crate::command_language::{Message, Value, expand, is_all, message};

/// The most subscribers at a time.
const MAX_SUBSCRIBERS: usize = 32;
/// The most messages that wait for their time tag, and the longest time that one may wait.
const MAX_WAITING: usize = 1024;
const MAX_WAIT: Duration = Duration::from_secs(600);
/// The most requests that are sent to the session at once: a part of its queue, so that a flood leaves room for keys and pedals.
const MAX_REQUESTS: usize = 32;
/// The most errors that are sent between two echoes.
const MAX_ERRORS: usize = 8;
/// The longest packet that is sent, bytes.
const MAX_PACKET: usize = 1400;

/// A packet to send.
pub type Out = (SocketAddr, Vec<u8>);

struct Subscriber {
    until: Instant,
    /// The values that were sent to it, and those that it set itself.
    knows: Values,
}

/// A request on its way to the session.
struct Queued {
    address: String,
    /// It sets a value: a newer one replaces it.
    value: bool,
    request: Request,
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
    waiting: Vec<(Instant, SocketAddr, OscMessage)>,
    requests: Vec<Queued>,
    out: Vec<Out>,
    errors: usize,
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
            waiting: Vec::new(),
            requests: Vec::new(),
            out: Vec::new(),
            errors: 0,
            malformed: 0,
            dropped: 0,
        }
    }

    /// Takes a packet that was received. `clock` is the time of day, for time tags.
    pub fn packet(&mut self, from: SocketAddr, bytes: &[u8], now: Instant, clock: SystemTime) {
        match decode(bytes) {
            Ok(packet) => self.take(from, packet, now, now, clock),
            Err(what) => {
                self.malformed += 1;
                self.error(from, what);
            }
        }
    }

    fn take(&mut self, from: SocketAddr, packet: OscPacket, at: Instant, now: Instant, clock: SystemTime) {
        match packet {
            OscPacket::Message(message) if at <= now => self.message(from, &message, now),
            OscPacket::Message(message) if self.waiting.len() < MAX_WAITING => self.waiting.push((at, from, message)),
            OscPacket::Message(_) => self.error(from, format!("already {MAX_WAITING} messages wait for their time tag")),
            OscPacket::Bundle(bundle) => {
                let wait = until(bundle.timetag, clock);
                if wait > MAX_WAIT {
                    return self.error(from, format!("a time tag more than {} s ahead", MAX_WAIT.as_secs()));
                }
                // A bundle inside a bundle is never due before the outer one.
                let at = at.max(now + wait);
                bundle.content.into_iter().for_each(|packet| self.take(from, packet, at, now, clock));
            }
        }
    }

    fn message(&mut self, from: SocketAddr, osc: &OscMessage, now: Instant) {
        for ask in parse(osc, &self.addresses) {
            match ask {
                Ok(Ask::Command { address, command, when, value }) => {
                    if let (true, Some(subscriber)) = (value, self.subscribers.get_mut(&from)) {
                        let own = message(&command, self.addresses.namespace()).map(|m| m.arguments).unwrap_or_default();
                        subscriber.knows.insert(address.clone(), own);
                    }
                    self.request(address, value, Request { command, when, from: self.origin });
                }
                Ok(Ask::Read(address)) => self.read(from, &address, now),
                Ok(Ask::Ping) => self.pong(from, now),
                Ok(Ask::Subscribe { host, port, seconds }) => {
                    let to = SocketAddr::new(host.unwrap_or(from.ip()), port.unwrap_or(from.port()));
                    self.subscribe(from, to, now + Duration::from_secs_f64(seconds));
                }
                Ok(Ask::Unsubscribe) => {
                    // A peer may have subscribed another port of its host.
                    if self.subscribers.remove(&from).is_none() {
                        self.subscribers.retain(|to, _| to.ip() != from.ip());
                    }
                }
                Ok(Ask::Sync) => self.send_all(from, &self.values.clone()),
                Err(what) => self.error(from, what),
            }
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
                    self.send(to, &address, value);
                }
            }
        } else {
            match self.values.get(address) {
                Some(value) => self.send(to, address, value.clone()),
                None => self.error(to, format!("{address} has no value yet")),
            }
        }
    }

    fn pong(&mut self, to: SocketAddr, now: Instant) {
        let seconds = now.saturating_duration_since(self.started).as_secs_f32();
        let values = vec![env!("CARGO_PKG_VERSION").into(), self.addresses.model().into(), seconds.into()];
        self.send(to, "/jam/pong", values);
    }

    fn subscribe(&mut self, from: SocketAddr, to: SocketAddr, until: Instant) {
        if let Some(subscriber) = self.subscribers.get_mut(&to) {
            subscriber.until = until;
        } else if self.subscribers.len() < MAX_SUBSCRIBERS {
            self.subscribers.insert(to, Subscriber { until, knows: Values::new() });
        } else {
            self.error(from, format!("already {MAX_SUBSCRIBERS} subscribers: try again when one has left"));
        }
    }

    /// Queues a request. A newer value replaces one that is still queued.
    fn request(&mut self, address: String, value: bool, request: Request) {
        let same = |q: &&mut Queued| value && q.value && q.address == address && q.request.when == request.when;
        if let Some(queued) = self.requests.iter_mut().find(same) {
            queued.request = request;
        } else if self.requests.len() < MAX_REQUESTS {
            self.requests.push(Queued { address, value, request });
        } else {
            self.dropped += 1;
        }
    }

    /// Takes the queued requests, in order. To be called about fifty times a second.
    pub fn requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests).into_iter().map(|queued| queued.request).collect()
    }

    /// A request was taken, from OSC or another source. Some values are in no snapshot: this is how they are known.
    pub fn applied(&mut self, request: &Request) {
        let value = request.command.kind().spec().address.is_some_and(|address| address.access == Access::Value);
        if let Some(Message { address, arguments }) = message(&request.command, self.addresses.namespace()).filter(|_| value) {
            self.set.insert(address, arguments);
        }
    }

    /// Sends a text to every subscriber, at `/jam/error`.
    pub fn notify(&mut self, what: &str) {
        let all: Vec<SocketAddr> = self.subscribers.keys().copied().collect();
        all.into_iter().for_each(|to| self.error(to, what.to_owned()));
    }

    /// Handles the messages whose time tag is due.
    pub fn due(&mut self, now: Instant) {
        let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(|(at, _, _)| *at <= now);
        self.waiting = later;
        due.sort_by_key(|(at, _, _)| *at);
        due.iter().for_each(|(_, from, message)| self.message(*from, message, now));
    }

    /// Sends every subscriber the values that have changed since its last echo. To be called at most 30 times a second.
    pub fn echo(&mut self, snapshot: &Snapshot, now: Instant) {
        self.errors = 0;
        self.subscribers.retain(|_, s| s.until > now);
        self.values = self.set.clone();
        self.values.append(&mut values(snapshot, self.addresses.namespace()));
        for (old, new) in self.addresses.namespace().aliases() {
            if let Some(value) = self.values.get(new).cloned() {
                self.values.insert(old.to_owned(), value);
            }
        }
        let mut out = Vec::new();
        for (to, subscriber) in &mut self.subscribers {
            let known =
                |address: &String, value: &[Value]| subscriber.knows.get(address).is_some_and(|known| equal(known, value));
            let changed = self.values.iter().filter(|(address, value)| !known(address, value));
            let changed: Values = changed.map(|(address, value)| (address.clone(), value.clone())).collect();
            subscriber.knows.extend(changed.clone());
            out.push((*to, changed));
        }
        out.iter().for_each(|(to, changed)| self.send_all(*to, changed));
    }

    /// Takes the packets to send.
    pub fn out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    fn error(&mut self, to: SocketAddr, what: String) {
        self.errors += 1;
        if self.errors <= MAX_ERRORS {
            self.send(to, "/jam/error", vec![Value::Text(what)]);
        }
    }

    /// Sends each value in a packet of its own: some clients read no bundles.
    fn send_all(&mut self, to: SocketAddr, all: &Values) {
        for (address, value) in all {
            self.send(to, address, value.clone());
        }
    }

    fn send(&mut self, to: SocketAddr, address: &str, arguments: Vec<Value>) {
        match encode(Message { address: address.to_owned(), arguments }) {
            Some(bytes) if bytes.len() <= MAX_PACKET => self.out.push((to, bytes)),
            _ => self.dropped += 1,
        }
    }
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
