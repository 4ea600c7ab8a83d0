//! Who is told what: subscribers, the values they were told last, wishes on their way to the band, bundles that wait for their time. It
//! opens no socket and reads no clock, so a test can play days in a moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rosc::{OscMessage, OscPacket, OscTime, OscType};
use sideman_engine::live::{Origin, Request, Snapshot};

use super::echo::{Values, message, shown};
use super::parse::{Ask, decode, parse};
use super::{Kind, Names};

/// Subscribers at a time, bundles that wait, and the longest that one may wait.
const MAX_SUBSCRIBERS: usize = 32;
const MAX_WAITING: usize = 1024;
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Wishes that are handed on at once: a part of the band's queue, so that a flood leaves room for keys and pedals.
const MAX_WISHES: usize = 32;
/// Errors that are sent between two echoes.
const MAX_ERRORS: usize = 8;
/// The most bytes that go out in a packet.
const MAX_PACKET: usize = 1400;

/// A packet to send.
pub type Out = (SocketAddr, Vec<u8>);

struct Subscriber {
    until: Instant,
    /// What it was told, or said itself.
    knows: Values,
}

/// The conversation with all peers.
pub struct OscState {
    names: Names,
    origin: Origin,
    started: Instant,
    /// What was asked for, and what is shown: the snapshot's word where it has one.
    asked: Values,
    values: Values,
    subscribers: BTreeMap<SocketAddr, Subscriber>,
    waiting: Vec<(Instant, SocketAddr, OscMessage)>,
    wishes: Vec<(String, bool, Request)>,
    out: Vec<Out>,
    errors: usize,
    /// Packets that were no OSC, and wishes that a flood swept away.
    pub malformed: u64,
    /// See `malformed`.
    pub dropped: u64,
}

impl OscState {
    /// A conversation without anybody yet.
    pub fn new(names: Names, origin: Origin, now: Instant) -> OscState {
        OscState {
            names,
            origin,
            started: now,
            asked: blank(),
            values: blank(),
            subscribers: BTreeMap::new(),
            waiting: Vec::new(),
            wishes: Vec::new(),
            out: Vec::new(),
            errors: 0,
            malformed: 0,
            dropped: 0,
        }
    }

    /// A packet has come. `clock` is the time of day, for time tags.
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
            OscPacket::Message(_) => self.error(from, format!("{MAX_WAITING} messages wait for their time already")),
            OscPacket::Bundle(bundle) => {
                let wait = until(bundle.timetag, clock);
                if wait > MAX_WAIT {
                    return self.error(from, format!("a bundle for a time more than {} s ahead", MAX_WAIT.as_secs()));
                }
                // A bundle in a bundle is never sooner than it.
                let at = at.max(now + wait);
                bundle.content.into_iter().for_each(|packet| self.take(from, packet, at, now, clock));
            }
        }
    }

    fn message(&mut self, from: SocketAddr, message: &OscMessage, now: Instant) {
        for ask in parse(message, &self.names) {
            match ask {
                Ok(Ask::Do { address, command, when, value }) => {
                    if let (true, Some(subscriber)) = (value, self.subscribers.get_mut(&from)) {
                        let said = super::message(&command, &self.names).map(|m| m.args).unwrap_or_default();
                        subscriber.knows.insert(address.clone(), said);
                    }
                    self.wish(address, value, Request { command, when, from: self.origin });
                }
                Ok(Ask::Read(address)) if address == "/jam/pong" => self.pong(from, now),
                // Of all stems each says its own.
                Ok(Ask::Read(address)) if address.contains("/all") => {
                    for stem in self.names.stems.clone() {
                        let own = address.replacen("/all", &format!("/{stem}"), 1);
                        if let Some(args) = self.values.get(&own).cloned() {
                            self.send(from, &own, args);
                        }
                    }
                }
                Ok(Ask::Read(address)) => match self.values.get(&address) {
                    Some(args) => self.send(from, &address, args.clone()),
                    None => self.error(from, format!("{address} has no value yet")),
                },
                Ok(Ask::Ping) => self.pong(from, now),
                Ok(Ask::Subscribe { host, port, seconds }) => {
                    let to = SocketAddr::new(host.unwrap_or(from.ip()), port.unwrap_or(from.port()));
                    let until = now + Duration::from_secs_f64(seconds);
                    if let Some(subscriber) = self.subscribers.get_mut(&to) {
                        subscriber.until = until;
                    } else if self.subscribers.len() < MAX_SUBSCRIBERS {
                        self.subscribers.insert(to, Subscriber { until, knows: Values::new() });
                    } else {
                        self.error(from, format!("{MAX_SUBSCRIBERS} subscribers are told already"));
                    }
                }
                Ok(Ask::Unsubscribe) => {
                    // Also the one that was subscribed under another port of the same host by this peer.
                    if self.subscribers.remove(&from).is_none() {
                        self.subscribers.retain(|to, _| to.ip() != from.ip());
                    }
                }
                Ok(Ask::Sync) => {
                    let all: Vec<(String, Vec<OscType>)> = self.values.clone().into_iter().collect();
                    self.all(from, &all);
                }
                Err(what) => self.error(from, what),
            }
        }
    }

    fn pong(&mut self, to: SocketAddr, now: Instant) {
        let seconds = now.saturating_duration_since(self.started).as_secs_f32();
        let args = vec![env!("CARGO_PKG_VERSION").into(), self.names.model.as_str().into(), seconds.into()];
        self.send(to, "/jam/pong", args);
    }

    /// Queues a wish; a newer value takes the place of one that still waits here.
    fn wish(&mut self, address: String, value: bool, request: Request) {
        let same = |w: &&mut (String, bool, Request)| value && w.1 && w.0 == address && w.2.when == request.when;
        if let Some(waiting) = self.wishes.iter_mut().find(same) {
            waiting.2 = request;
        } else if self.wishes.len() < MAX_WISHES {
            self.wishes.push((address, value, request));
        } else {
            self.dropped += 1;
        }
    }

    /// Wishes to hand on, in order. To be called some fifty times a second.
    pub fn wishes(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.wishes).into_iter().map(|(_, _, request)| request).collect()
    }

    /// A request was taken, ours or another's: what no snapshot shows is known by it.
    pub fn applied(&mut self, request: &Request) {
        let Some(OscMessage { addr, args }) = message(&request.command, &self.names) else { return };
        if self.names.entry(&addr).is_some_and(|a| matches!(a.kind, Kind::Value(_))) {
            self.asked.insert(addr, args);
        }
    }

    /// Something to tell all who listen.
    pub fn said(&mut self, what: &str) {
        let all: Vec<SocketAddr> = self.subscribers.keys().copied().collect();
        all.into_iter().for_each(|to| self.error(to, what.to_owned()));
    }

    /// Brings bundles whose time has come.
    pub fn due(&mut self, now: Instant) {
        let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(|(at, _, _)| *at <= now);
        self.waiting = later;
        due.sort_by_key(|(at, _, _)| *at);
        due.iter().for_each(|(_, from, message)| self.message(*from, message, now));
    }

    /// Tells every subscriber what has changed since it was told last: to be called at most 30 times a second.
    pub fn echo(&mut self, snapshot: &Snapshot, now: Instant) {
        self.errors = 0;
        self.subscribers.retain(|_, s| s.until > now);
        self.values = self.asked.clone();
        self.values.append(&mut shown(snapshot, &self.names));
        let mut out = Vec::new();
        for (to, subscriber) in &mut self.subscribers {
            let news: Vec<(String, Vec<OscType>)> = self
                .values
                .iter()
                .filter(|(a, args)| !subscriber.knows.get(*a).is_some_and(|k| equal(k, args)))
                .map(|(a, v)| (a.clone(), v.clone()))
                .collect();
            subscriber.knows.extend(news.iter().cloned());
            out.push((*to, news));
        }
        out.iter().for_each(|(to, news)| self.all(*to, news));
    }

    /// Packets to send.
    pub fn out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    fn error(&mut self, to: SocketAddr, what: String) {
        self.errors += 1;
        if self.errors <= MAX_ERRORS {
            self.send(to, "/jam/error", vec![what.into()]);
        }
    }

    /// Messages, each in a packet of its own: old tablets read no bundles.
    fn all(&mut self, to: SocketAddr, all: &[(String, Vec<OscType>)]) {
        for (address, args) in all {
            self.send(to, address, args.clone());
        }
    }

    fn send(&mut self, to: SocketAddr, address: &str, args: Vec<OscType>) {
        let message = OscPacket::Message(OscMessage { addr: address.to_owned(), args });
        match rosc::encoder::encode(&message) {
            Ok(bytes) if bytes.len() <= MAX_PACKET => self.out.push((to, bytes)),
            // A text of this length is not for a fader's display.
            _ => self.dropped += 1,
        }
    }
}

/// What no snapshot shows and nobody has asked for yet.
fn blank() -> Values {
    let part = |n: u8| (format!("/jam/text/{n}"), vec!["".into(), OscType::Float(0.0)]);
    (1..=4).map(part).collect()
}

/// Equal as a peer means it: 1, 1.0 and true are one value, and a float went through f32.
fn equal(a: &[OscType], b: &[OscType]) -> bool {
    let number = |v: &OscType| match v {
        OscType::Int(n) => Some(*n as f32),
        OscType::Long(n) => Some(*n as f32),
        OscType::Float(n) => Some(*n),
        OscType::Double(n) => Some(*n as f32),
        OscType::Bool(b) => Some(f32::from(u8::from(*b))),
        _ => None,
    };
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        })
}

/// How long until a time tag. (0, 1) is at once, and what is past is too.
fn until(tag: OscTime, clock: SystemTime) -> Duration {
    /// Seconds from 1900, where time tags begin, to 1970.
    const TO_1970: u64 = 2_208_988_800;
    if tag.seconds == 0 {
        return Duration::ZERO;
    }
    let nanos = (u64::from(tag.fractional) * 1_000_000_000) >> 32;
    let since = Duration::new(u64::from(tag.seconds).saturating_sub(TO_1970), nanos as u32);
    since.saturating_sub(clock.duration_since(UNIX_EPOCH).unwrap_or_default())
}
