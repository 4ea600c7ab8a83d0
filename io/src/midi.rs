//! MIDI: pedals, faders and clocks. [`Message`] is what bytes say, [`Map`] which wish a control stands for (in a file of its own, in
//! OSC's words), [`Learn`] finds out which control was meant, [`Switch`] tells tap, hold and double tap apart, [`MidiMapper`] holds all of it
//! together: messages in, wishes out. No port is opened there and no clock read, so a test can play a gig in a moment. [`Server`] is their
//! thread, [`Clock`] the clock that we send; ports are JACK's (`crate::device::jack`) or the system's ([`ports`]).

mod chord;
mod clock;
mod map;
pub mod ports;
mod serve;
mod switch;

pub use clock::{Clock, Mark};
pub use serve::{Heard, Server};

pub use chord::{Held, name};
pub use map::{Control, Entry, Learn, Map, Way};
pub use switch::{Gesture, Switch};

use std::collections::BTreeMap;

use rosc::{OscMessage, OscType};
use sideman_engine::audio::RATE;
use sideman_engine::live::{Clock as Source, Command, Origin, Request, Snapshot, When};
use sideman_engine::task::Meter;

use crate::osc::{Ask, Names, parse};
use crate::sync::{Follower, TICKS};
use crate::transport;

/// What a message says; channels from 1, as they are written on devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A key goes down (velocity 1 to 127) or up (0).
    Note {
        /// Channel.
        channel: u8,
        /// Key, 60 is the middle C.
        key: u8,
        /// Velocity.
        velocity: u8,
    },
    /// A controller moves.
    Control {
        /// Channel.
        channel: u8,
        /// Controller.
        number: u8,
        /// Value.
        value: u8,
    },
    /// A program is called.
    Program {
        /// Channel.
        channel: u8,
        /// Program, from 0.
        number: u8,
    },
    /// A tick of the clock.
    Tick,
    /// The song begins with the next tick.
    Start,
    /// It goes on.
    Continue,
    /// It stops.
    Stop,
    /// Song position in sixteenths.
    Position(u16),
}

impl Message {
    /// The message of some bytes; none for what means nothing here (active sensing, system exclusive, half a message).
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let (&status, data) = bytes.split_first()?;
        if data.iter().any(|d| *d > 127) {
            return None;
        }
        let channel = (status & 15) + 1;
        Some(match (status & 0xf0, status, data) {
            (0x80, _, &[key, _]) => Message::Note { channel, key, velocity: 0 },
            (0x90, _, &[key, velocity]) => Message::Note { channel, key, velocity },
            (0xb0, _, &[number, value]) => Message::Control { channel, number, value },
            (0xc0, _, &[number]) => Message::Program { channel, number },
            (_, 0xf2, &[low, high]) => Message::Position(u16::from(low) | u16::from(high) << 7),
            (_, 0xf8, []) => Message::Tick,
            (_, 0xfa, []) => Message::Start,
            (_, 0xfb, []) => Message::Continue,
            (_, 0xfc, []) => Message::Stop,
            _ => return None,
        })
    }
}

/// All that is played on: map, switches, held chord, clock.
pub struct MidiMapper {
    names: Names,
    origin: Origin,
    map: Map,
    learn: Option<Learn>,
    switches: BTreeMap<Control, Switch>,
    /// Where relative and toggled controls stand.
    at: BTreeMap<Control, f32>,
    held: Held,
    /// The clock that comes in.
    pub clock: Follower,
    /// JACK's transport, where there is one.
    pub transport: transport::Follower,
    /// What the band follows, as it was seen last.
    source: Option<Source>,
    entry: Entrance,
}

/// The way in with a clock from outside: at one of its bar lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entrance {
    /// The sender has started.
    armed: bool,
    /// The band was asked to be still before it comes in.
    stilled: bool,
}

/// The soonest that a band comes in after the samples that are decided next, s: its first window must be primed.
pub(crate) const COME_IN: f64 = 1.4;

/// Ticks after a start until its tempo is known well enough to foretell a bar line: two beats.
const TO_KNOW: u64 = 48;

/// Where a band's next samples lie, in quarter notes since bar 1.
pub(crate) fn quarters(model: &Snapshot) -> f64 {
    // Beats are quarter notes but in 6/8 and 12/8, which are counted in dotted ones.
    let per_beat = if model.meter.to_string().ends_with("/8") { 1.5 } else { 1.0 };
    (model.bar - 1) as f64 * model.meter.quarters() as f64 + (f64::from(model.beat) - 1.0 + f64::from(model.phase)) * per_beat
}

impl MidiMapper {
    /// Hands on a band of these names.
    pub fn new(names: Names, map: Map, origin: Origin) -> MidiMapper {
        let clock = Follower::new(f64::from(map.clock_offset) / 1000.0);
        MidiMapper {
            names,
            origin,
            map,
            learn: None,
            switches: BTreeMap::new(),
            at: BTreeMap::new(),
            held: Held::default(),
            clock,
            transport: transport::Follower::default(),
            source: None,
            entry: Entrance::default(),
        }
    }

    /// The next control that moves is for a wish, a message in OSC's words without its last number: "/jam/stem/drums/gain".
    /// Gives a sentence for the player.
    pub fn learn(&mut self, address: &str) -> String {
        let known = parse(&OscMessage { addr: address.to_owned(), args: Vec::new() }, &self.names);
        if matches!(known[..], [Err(ref e)] if e.starts_with("no address")) {
            return format!("nothing to learn: no address {address}");
        }
        self.learn = Some(Learn::new(address));
        format!("move the control for {address}")
    }

    /// The map, with what was learned.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// A message that came at a time (s): what is wished by it, and what is to be told to the player.
    pub fn message(&mut self, message: Message, at: f64) -> (Vec<Request>, Option<String>) {
        match message {
            Message::Tick => self.clock.tick(at),
            Message::Position(p) => self.clock.position(p),
            Message::Start => {
                self.clock.start();
                return (self.started(), None);
            }
            Message::Continue => {
                self.clock.resume();
                return (self.started(), None);
            }
            Message::Stop => {
                self.clock.stop();
                self.entry.leave();
                // The sender is still already.
                let when = self.follows().then_some(When::Now);
                return (vec![Request { command: Command::Stop, when, from: self.origin }], None);
            }
            // All sound off and all notes off are not for mapping.
            Message::Control { number: 120 | 123, .. } => return (self.wish(Command::Panic), None),
            _ => return self.played(message, at),
        }
        (Vec::new(), None)
    }

    fn played(&mut self, message: Message, at: f64) -> (Vec<Request>, Option<String>) {
        if let Message::Note { channel, key, velocity } = message
            && Some(channel) == self.map.chord_channel
        {
            let chord = self.held.note(key, velocity > 0);
            return (chord.map(|c| self.wish(Command::Chords(c))).unwrap_or_default(), None);
        }
        let (control, value) = match message {
            // However softly: a key is down or up.
            Message::Note { channel, key, velocity } => {
                let control = Control::Note { channel, key };
                let fader = self.map.get(control).is_some_and(|e| e.way == Way::Absolute);
                (control, if velocity > 0 && !fader { 127 } else { velocity })
            }
            Message::Control { channel, number, value } => (Control::Cc { channel, number }, value),
            Message::Program { channel, number } => (Control::Program { channel, number }, 127),
            _ => return (Vec::new(), None),
        };
        if let Some(learn) = &mut self.learn {
            let Some(entry) = learn.seen(control, value) else { return (Vec::new(), None) };
            let told = format!("learned: {control} is {}", entry.address);
            self.map.put(entry);
            self.learn = None;
            return (Vec::new(), Some(told));
        }
        let Some(entry) = self.map.get(control).cloned() else { return (Vec::new(), None) };
        if entry.way == Way::Switch {
            let gesture = self.switches.entry(control).or_default().moved(value >= 64, at);
            return self.gesture(&entry, gesture);
        }
        let Some(args) = entry.argument(value, self.at.entry(control).or_insert(entry.from)) else { return (Vec::new(), None) };
        self.ask(&entry.address, args)
    }

    /// Time goes by: switches that are held, or were tapped once, say so now.
    pub fn time(&mut self, at: f64) -> Vec<Request> {
        let gestures: Vec<(Control, Gesture)> =
            self.switches.iter_mut().filter_map(|(c, s)| s.time(at).map(|g| (*c, g))).collect();
        let mut wishes = Vec::new();
        for (control, gesture) in gestures {
            if let Some(entry) = self.map.get(control).cloned() {
                wishes.extend(self.gesture(&entry, Some(gesture)).0);
            }
        }
        wishes
    }

    fn gesture(&self, entry: &Entry, gesture: Option<Gesture>) -> (Vec<Request>, Option<String>) {
        let words = match gesture {
            None => return (Vec::new(), None),
            Some(Gesture::Tap) => &entry.address,
            Some(Gesture::Hold) => &entry.hold,
            Some(Gesture::Double) => &entry.double,
        };
        let mut words = words.split_whitespace();
        let Some(address) = words.next() else { return (Vec::new(), None) };
        let args = words.map(|w| w.parse::<f32>().map_or_else(|_| w.into(), OscType::Float)).collect();
        self.ask(address, args)
    }

    fn ask(&self, address: &str, args: Vec<OscType>) -> (Vec<Request>, Option<String>) {
        let (mut wishes, mut told) = (Vec::new(), None);
        for ask in parse(&OscMessage { addr: address.to_owned(), args }, &self.names) {
            match ask {
                Ok(Ask::Do { command, when, .. }) => wishes.push(Request { command, when, from: self.origin }),
                Ok(_) => {}
                Err(what) => told = Some(format!("MIDI map: {what}")),
            }
        }
        (wishes, told)
    }

    fn wish(&self, command: Command) -> Vec<Request> {
        vec![Request { command, when: None, from: self.origin }]
    }

    /// The sender has started: where the band follows its clock it comes in at a bar line of the sender's, else as soon as it can.
    fn started(&mut self) -> Vec<Request> {
        if !self.follows() {
            return self.wish(Command::Play);
        }
        self.entry.arm();
        Vec::new()
    }

    /// The band follows MIDI's clock.
    fn follows(&self) -> bool {
        self.source == Some(Source::Midi)
    }

    /// How well the clock that the band follows is known at a time, 0 to 1; none: it is no clock of ours.
    pub fn lock(&self, now: f64) -> Option<f32> {
        match self.source? {
            Source::Midi => Some(self.clock.lock(now) as f32),
            Source::Jack => Some(f32::from(u8::from(self.transport.known()))),
            Source::Link => None,
            _ => Some(0.0),
        }
    }

    /// What the clock that comes in asks of the band at a time (`now`, song time in s): a tempo to meet it, and to come in at its bar line.
    /// Nothing while the band has another source of its beat.
    pub fn follow(&mut self, model: &Snapshot, now: f64) -> Vec<Request> {
        let taken_up = self.source.replace(model.clock) != Some(model.clock);
        match model.clock {
            Source::Jack => return self.transport.follow(model, taken_up, &mut self.entry, self.origin),
            Source::Midi => {}
            _ => return Vec::new(),
        }
        let Some(tempo) = self.clock.tempo().filter(|_| self.clock.lock(now) > 0.0) else { return Vec::new() };
        // What is asked for now is heard from the samples on that are decided next.
        let next = model.time as f64 / f64::from(RATE);
        let theirs = self.clock.quarters(now) + (next - now) * tempo / 60.0;
        if !self.clock.running() {
            return keep_tempo(model, tempo, self.origin);
        }
        if self.entry.armed && self.clock.since < TO_KNOW {
            return Vec::new();
        }
        let entered = self.entry.come_in(model, next, theirs, tempo, None, self.origin);
        entered.unwrap_or_else(|| keep_on(model, theirs, tempo, self.origin))
    }
}

impl Entrance {
    /// The band is to come in.
    pub fn arm(&mut self) {
        (self.armed, self.stilled) = (true, false);
    }

    /// It is not any more.
    pub fn leave(&mut self) {
        self.armed = false;
    }

    /// It is to come in, and has not.
    #[cfg(feature = "link")]
    pub fn armed(&self) -> bool {
        self.armed
    }

    /// What a band that is to come in is asked for: to begin at the sender's next bar line, in its tempo and meter; before that, to be still, where
    /// its own bars lie elsewhere. None: it is in.
    ///
    /// * `next`: song time of the samples that are decided next, s. `theirs`: quarter notes of the sender's then.
    pub fn come_in(
        &mut self,
        model: &Snapshot,
        next: f64,
        theirs: f64,
        tempo: f64,
        meter: Option<Meter>,
        from: Origin,
    ) -> Option<Vec<Request>> {
        if !self.armed {
            return None;
        }
        let request = |command, when| Request { command, when: Some(when), from };
        let bar = meter.unwrap_or(model.meter).quarters() as f64;
        if !model.playing {
            self.armed = false;
            let line = ((theirs + COME_IN * tempo / 60.0) / bar).ceil() * bar;
            let at = next + (line - theirs) * 60.0 / tempo;
            let at = When::Sample((at * f64::from(RATE)).round() as i64);
            let mut wishes = vec![request(Command::Tempo(tempo), When::Now)];
            wishes.extend(meter.filter(|m| *m != model.meter).map(|m| request(Command::Meter(m), at)));
            wishes.push(request(Command::Play, at));
            return Some(wishes);
        }
        let apart = (theirs - quarters(model)) / bar;
        if !self.stilled && ((apart - apart.round()) * bar).abs() > 0.5 {
            // Its bars lie elsewhere now.
            self.stilled = true;
            return Some(vec![request(Command::Stop, When::Now)]);
        }
        self.armed = self.stilled;
        None
    }
}

/// Bends the tempo so that the band stays on the beat of a clock that is at `theirs` quarter notes.
pub(crate) fn keep_on(model: &Snapshot, theirs: f64, tempo: f64, from: Origin) -> Vec<Request> {
    keep_tempo(model, crate::sync::bend(tempo, quarters(model), theirs), from)
}

/// Asks for a tempo; a twentieth of a beat a minute is not worth a command.
pub(crate) fn keep_tempo(model: &Snapshot, tempo: f64, from: Origin) -> Vec<Request> {
    let request = Request { command: Command::Tempo(tempo), when: Some(When::Now), from };
    if (tempo - model.tempo).abs() > 0.05 { vec![request] } else { Vec::new() }
}

/// The page that every session begins with (interfaces page, "MIDI"): CC7 on channels 1 to 3 is the level of a stem, CC64 freezes it, CC11
/// dips, CC1 is the temperature; pads (notes 36 to 43 on channel 10) and programs 1 to 8 on channel 1 go to the sections of the chart.
pub fn default_page(names: &[&str]) -> Map {
    let mut map = Map::default();
    for (channel, stem) in (1..).zip(names.iter().take(3)) {
        map.put(Entry {
            from: -40.0,
            to: 6.0,
            ..Entry::new(Control::Cc { channel, number: 7 }, &format!("/jam/stem/{stem}/gain"), Way::Absolute)
        });
        map.put(Entry {
            to: 2.0,
            ..Entry::new(Control::Cc { channel, number: 64 }, &format!("/jam/stem/{stem}/freeze"), Way::Momentary)
        });
        map.put(Entry { from: 30.0, to: 0.0, ..Entry::new(Control::Cc { channel, number: 11 }, "/jam/dip", Way::Absolute) });
        map.put(Entry {
            from: 0.0,
            to: 2.0,
            ..Entry::new(Control::Cc { channel, number: 1 }, "/jam/sample/temperature", Way::Absolute)
        });
    }
    for section in 0..8u8 {
        let number = f32::from(section) + 1.0;
        for control in [Control::Note { channel: 10, key: 36 + section }, Control::Program { channel: 1, number: section }] {
            map.put(Entry { from: number, to: number, ..Entry::new(control, "/jam/section/goto", Way::Toggle) });
        }
    }
    map
}

#[cfg(test)]
mod tests;
