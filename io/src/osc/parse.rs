//! From a packet's bytes to wishes.

use rosc::{OscMessage, OscPacket, OscType};
use sideman_engine::live::{Command, When, Which};

use super::{ALL, Address, Kind, Names, which};

/// The longest pattern that is matched, the longest text that is taken.
const MAX_ADDRESS: usize = 128;
const MAX_TEXT: usize = 4096;
/// The most bundles and arrays in a packet: the decoder goes into each by itself, so that a packet of nothing else would exhaust its stack.
const MAX_NESTED: usize = 64;
/// Seconds of a subscription, and the most.
const SUBSCRIBED: f64 = 60.0;
const MAX_SUBSCRIBED: f64 = 3600.0;

/// What a message asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// To do something, now or at a boundary.
    Do {
        /// The concrete address.
        address: String,
        /// What.
        command: Command,
        /// When, if the message says so.
        when: Option<When>,
        /// It sets a value: of several that wait, only the last counts.
        value: bool,
    },
    /// To read an address.
    Read(String),
    /// To be answered.
    Ping,
    /// To be told of changes.
    Subscribe {
        /// Where; none: where the message came from.
        host: Option<std::net::IpAddr>,
        /// Its port; none: the message's.
        port: Option<u16>,
        /// For how long.
        seconds: f64,
    },
    /// To be told no more.
    Unsubscribe,
    /// To be told everything.
    Sync,
}

/// What is wrong with a message, in a sentence.
pub type Fault = String;

/// Decodes a packet.
///
/// # Errors
/// It is no OSC.
pub fn decode(bytes: &[u8]) -> Result<OscPacket, Fault> {
    let nested = bytes.windows(8).filter(|w| *w == b"#bundle\0").count() + bytes.iter().filter(|b| **b == b'[').count();
    if nested > MAX_NESTED {
        return Err(format!("a packet of more than {MAX_NESTED} bundles or arrays"));
    }
    match rosc::decoder::decode_udp(bytes) {
        Ok((_, packet)) => Ok(packet),
        Err(e) => Err(format!("a packet that is no OSC: {e}")),
    }
}

/// What a message asks for; several things where its address is a pattern.
pub fn parse(message: &OscMessage, names: &Names) -> Vec<Result<Ask, Fault>> {
    let pattern = message.addr.as_str();
    let one = |address: &str, entry: &Address| {
        let takes = if entry.args.is_empty() { "nothing" } else { entry.args };
        ask(entry.kind, address, &message.args, names).map_err(|what| format!("{address}: {what}; it takes: {takes}")).transpose()
    };
    if let Some(entry) = names.entry(pattern) {
        return one(pattern, entry).into_iter().collect();
    }
    // `all` beside each stem would do everything twice.
    let hit = |address: &&String| !address.contains("/all/") && matches(pattern, address);
    let hits: Vec<&String> = names.addresses.keys().filter(hit).collect();
    if hits.is_empty() {
        let shown: String = pattern.chars().take(MAX_ADDRESS).collect();
        return vec![Err(format!("no address {shown}; `sideman osc` prints them all"))];
    }
    hits.into_iter().filter_map(|address| one(address, names.entry(address)?)).collect()
}

/// What a message to a concrete address asks for; none where a button is let go.
fn ask(kind: Kind, address: &str, given: &[OscType], names: &Names) -> Result<Option<Ask>, Fault> {
    let mut args = Args { given, names, address };
    let found = match kind {
        Kind::Out => Ask::Read(address.to_owned()),
        Kind::Talk(talk) => talk(&mut args)?,
        Kind::Value(_) if given.is_empty() => Ask::Read(address.to_owned()),
        Kind::Value(set) => {
            let command = set(&mut args)?;
            Ask::Do { address: address.to_owned(), command, when: args.when()?, value: true }
        }
        Kind::Deed(deed) => {
            // Buttons of tablets send 1 when they are pressed and 0 when they are let go.
            if args.number_next() && args.number()? == 0.0 {
                return Ok(None);
            }
            let command = deed(&mut args)?;
            Ask::Do { address: address.to_owned(), command, when: args.when()?, value: false }
        }
    };
    if !args.given.is_empty() && !matches!(kind, Kind::Out) {
        return Err("too many arguments".into());
    }
    Ok(Some(found))
}

/// The arguments of a message, taken one after another.
pub struct Args<'a> {
    given: &'a [OscType],
    names: &'a Names,
    address: &'a str,
}

impl Args<'_> {
    fn next(&mut self) -> Result<&OscType, String> {
        let (first, rest) = self.given.split_first().ok_or("an argument is missing")?;
        self.given = rest;
        Ok(first)
    }

    /// Whether a number comes next.
    pub fn number_next(&self) -> bool {
        self.given.first().is_some_and(|a| number(a).is_some())
    }

    pub fn number(&mut self) -> Result<f64, String> {
        number(self.next()?).filter(|n| n.is_finite()).ok_or_else(|| "a number is needed".into())
    }

    pub fn float(&mut self) -> Result<f32, String> {
        let n = self.number()? as f32;
        if n.is_finite() { Ok(n) } else { Err("the number is too large".into()) }
    }

    /// A whole number; a fader's float is rounded.
    pub fn whole(&mut self) -> Result<u32, String> {
        let n = self.number()?.round();
        if (0.0..=f64::from(u32::MAX)).contains(&n) { Ok(n as u32) } else { Err(format!("{n} is no count")) }
    }

    /// A seed: all of a long's bits, or a whole number.
    pub fn seed(&mut self) -> Result<u64, String> {
        match self.given.first() {
            Some(OscType::Long(n)) => {
                let n = n.cast_unsigned();
                self.next()?;
                Ok(n)
            }
            _ => self.whole().map(u64::from),
        }
    }

    pub fn flag(&mut self) -> Result<bool, String> {
        Ok(self.number()? >= 0.5)
    }

    pub fn text(&mut self) -> Result<String, String> {
        match self.next()? {
            OscType::String(s) if s.len() <= MAX_TEXT => Ok(s.clone()),
            OscType::String(_) => Err(format!("a text of more than {MAX_TEXT} bytes")),
            _ => Err("a text is needed".into()),
        }
    }

    /// One of several words.
    pub fn one<T: Copy>(&mut self, all: &[(&str, T)]) -> Result<T, String> {
        let word = self.text()?;
        all.iter().find(|(name, _)| *name == word).map(|(_, v)| *v).ok_or_else(|| format!("{word:?} is none of them"))
    }

    pub fn input_stem(&mut self) -> Result<Option<u8>, String> {
        let word = self.text()?;
        if word == "none" { Ok(None) } else { self.stem(&word).map(Some) }
    }

    /// What is cancelled: everything, or a stem's.
    pub fn cancelled(&mut self) -> Result<Option<u8>, String> {
        match self.given.first() {
            Some(OscType::String(s)) if s == ALL => {
                self.next()?;
                Ok(None)
            }
            Some(OscType::String(s)) if when(s).is_none() => self.input_stem(),
            _ => Ok(None),
        }
    }

    fn stem(&self, name: &str) -> Result<u8, String> {
        self.names.stem(name).ok_or_else(|| format!("no stem {name:?}: {}", self.names.stems.join(", ")))
    }

    /// The stem in the address.
    pub fn which(&self) -> Which {
        let name = self.address.split('/').nth(3).unwrap_or(ALL);
        which(self.names, name).unwrap_or(Which::All)
    }

    /// The number at the end of the address.
    pub fn part(&self) -> u8 {
        self.address.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(1)
    }

    pub fn subscribe(&mut self) -> Result<Ask, String> {
        let host = match self.given.first() {
            Some(OscType::String(_)) => Some(self.text()?),
            _ => None,
        };
        let host = match host.as_deref() {
            Some("localhost") => Some(std::net::Ipv4Addr::LOCALHOST.into()),
            // No name is looked up: that could take seconds.
            Some(h) => Some(h.parse().map_err(|_| format!("{h:?} is no IP address"))?),
            None => None,
        };
        // One number is the seconds, two are port and seconds.
        let port = if host.is_some() && self.number_next() || self.given.len() > 1 { Some(self.whole()?) } else { None };
        let port = port.map(|p| u16::try_from(p).ok().filter(|p| *p > 0).ok_or("that is no port")).transpose()?;
        let seconds = if self.number_next() { self.number()?.clamp(1.0, MAX_SUBSCRIBED) } else { SUBSCRIBED };
        Ok(Ask::Subscribe { host, port, seconds })
    }

    /// The boundary at the end.
    fn when(&mut self) -> Result<Option<When>, String> {
        if self.given.is_empty() {
            return Ok(None);
        }
        let word = self.text()?;
        when(&word).map(Some).ok_or_else(|| format!("{word:?} is no boundary: now, beat, bar, section or \"bar 17\""))
    }
}

fn when(word: &str) -> Option<When> {
    if let Some(number) = word.strip_prefix("bar ") {
        return number.trim().parse().ok().map(When::AtBar);
    }
    [("now", When::Now), ("beat", When::Beat), ("bar", When::Bar), ("section", When::Section)]
        .into_iter()
        .find(|(w, _)| *w == word)
        .map(|(_, w)| w)
}

fn number(arg: &OscType) -> Option<f64> {
    match arg {
        OscType::Int(n) => Some(f64::from(*n)),
        OscType::Long(n) => Some(*n as f64),
        OscType::Float(n) => Some(f64::from(*n)),
        OscType::Double(n) => Some(*n),
        OscType::Bool(b) => Some(f64::from(u8::from(*b))),
        _ => None,
    }
}

/// Matches an address against an OSC 1.0 pattern: `?` one character, `*` any number, `[a-c]` and `[!a-c]` one of a set, `{a,b}` one of
/// several words; none of them goes over a `/`.
pub fn matches(pattern: &str, address: &str) -> bool {
    if pattern.len() > MAX_ADDRESS || pattern.matches('*').count() > 8 {
        return false;
    }
    go(pattern.as_bytes(), address.as_bytes())
}

fn go(pattern: &[u8], address: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return address.is_empty() };
    match first {
        b'*' => {
            let most = address.iter().position(|c| *c == b'/').unwrap_or(address.len());
            (0..=most).any(|n| go(rest, &address[n..]))
        }
        b'{' => {
            let Some(end) = rest.iter().position(|c| *c == b'}') else { return false };
            let (words, rest) = (&rest[..end], &rest[end + 1..]);
            words.split(|c| *c == b',').any(|w| address.strip_prefix(w).is_some_and(|left| go(rest, left)))
        }
        _ => {
            let Some((&c, left)) = address.split_first() else { return false };
            match first {
                b'?' => c != b'/' && go(rest, left),
                b'[' => {
                    let Some(end) = rest.iter().position(|c| *c == b']') else { return false };
                    let (set, rest) = (&rest[..end], &rest[end + 1..]);
                    let (not, set) = set.strip_prefix(b"!").map_or((false, set), |s| (true, s));
                    c != b'/' && within(set, c) != not && go(rest, left)
                }
                _ => c == first && go(rest, left),
            }
        }
    }
}

/// Whether a set of characters and ranges has one.
fn within(set: &[u8], c: u8) -> bool {
    match set {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&c) || within(rest, c),
        [one, rest @ ..] => *one == c || within(rest, c),
        [] => false,
    }
}
