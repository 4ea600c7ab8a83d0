//! From MIDI messages to requests, by the map.

use std::collections::BTreeMap;

use sideman_engine::live::commands::{Access, CommandKind};
use sideman_engine::live::{Command, Origin, Request, Snapshot};

use super::reset::Resets;
use super::{Control, ControlMode, Decoder, Footswitch, Gesture, HeldChord, Learn, Map, Mapping, Message, Moved, Position};
use crate::clock::ClockMessage;
use crate::command_language::{self, Namespace, Parsed, Pattern, Value, expand, is_all, message};
use crate::osc::{Values, value_set, values};

/// Time in which a value that was sent is not yet in the snapshot, s: a hop may be half a second long.
const ON_ITS_WAY: f64 = 0.6;

/// What comes of a message.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Response {
    /// Requests to the session.
    pub requests: Vec<Request>,
    /// The mapping that was learned; it is in the map.
    pub learned: Option<Mapping>,
    /// What is wrong with the map, for the musician.
    pub errors: Vec<String>,
}

impl Response {
    /// Adds another response.
    pub fn append(&mut self, other: Response) {
        self.requests.extend(other.requests);
        self.errors.extend(other.errors);
        self.learned = other.learned.or(self.learned.take());
    }
}

impl From<Vec<Request>> for Response {
    fn from(requests: Vec<Request>) -> Response {
        Response { requests, ..Response::default() }
    }
}

/// The map, and the state of the controls.
pub struct MidiMapper {
    namespace: Namespace,
    origin: Origin,
    map: Map,
    learn: Option<Learn>,
    decoder: Decoder,
    resets: Resets,
    footswitches: BTreeMap<Control, Footswitch>,
    /// The session at the last look, and the values that commands have set.
    snapshot: Snapshot,
    set: Values,
    /// The values that toggled and relative controls have sent, by address, and when.
    sent: BTreeMap<String, (f32, f64)>,
    held: HeldChord,
}

impl MidiMapper {
    /// A mapper whose requests carry `origin`.
    pub fn new(namespace: Namespace, map: Map, origin: Origin) -> MidiMapper {
        MidiMapper {
            namespace,
            origin,
            map,
            learn: None,
            decoder: Decoder::default(),
            resets: Resets::default(),
            footswitches: BTreeMap::new(),
            snapshot: Snapshot::default(),
            set: Values::new(),
            sent: BTreeMap::new(),
            held: HeldChord::default(),
        }
    }

    /// The session's state, from which toggled and relative controls start. To be called before a message.
    pub fn session(&mut self, snapshot: Snapshot) {
        self.snapshot = snapshot;
    }

    /// A command was taken, from any source. Some values are in no snapshot: this is how they are known.
    pub fn applied(&mut self, command: &Command) {
        self.set.extend(value_set(command, &self.namespace));
    }

    /// Assigns the control that moves next to an address.
    ///
    /// # Errors
    /// No command has this address: then nothing is learned.
    pub fn learn(&mut self, address: &str) -> Result<(), UnknownAddress> {
        let kind = self.kind(address).ok_or_else(|| UnknownAddress(address.to_owned()))?;
        self.learn = Some(Learn::new(address, kind.spec().midi));
        Ok(())
    }

    /// The command of an address; of a pattern: the first one.
    fn kind(&self, address: &str) -> Option<CommandKind> {
        let find = || self.namespace.find(&Pattern::new(address)?).first().map(|found| found.1);
        self.namespace.get(address).or_else(find)
    }

    /// The map, with the mappings that were learned.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The origin of its requests.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Takes a message that arrived at a time, s. Of MIDI clock it uses start and stop only, which are next to a sequencer's reset: the rest
    /// is for [`crate::clock::ClockFollower`].
    pub fn message(&mut self, message: Message, at: f64) -> Response {
        match message {
            Message::Clock(ClockMessage::Tick) => return Response::default(),
            Message::Clock(_) => {
                self.resets.transport(at);
                return Response::default();
            }
            // All sound off and all notes off can't be mapped.
            Message::Control { channel, number: 120 | 123, .. } => {
                self.resets.all_off(channel, at);
                return Response::default();
            }
            Message::Note { channel, key, velocity } if Some(channel) == self.map.chord_channel => {
                let chord = self.held.note(key, velocity > 0);
                return chord.map(|chord| self.request(Command::Chords(chord.into()))).unwrap_or_default().into();
            }
            Message::Note { .. } | Message::Control { .. } | Message::Program { .. } | Message::Bend { .. } => {}
        }
        let moved = self.decoder.decode(message);
        if let Some(learn) = &mut self.learn {
            let learned = learn.message(message);
            if let Some(mapping) = &learned {
                self.map.put(mapping.clone());
                self.learn = None;
            }
            return Response { learned, ..Response::default() };
        }
        let mapped = moved.into_iter().find_map(|moved| Some((self.map.get(moved.0)?.clone(), moved)));
        mapped.map(|(mapping, moved)| self.moved(&mapping, moved, at)).unwrap_or_default()
    }

    fn moved(&mut self, mapping: &Mapping, (control, position): Moved, at: f64) -> Response {
        let key = matches!(control, Control::Note { .. });
        // For a button, the velocity of a pad does not matter.
        let hard = key && mapping.mode != ControlMode::Absolute && position.coarse() > 0;
        let position = if hard { Position::Seven(127) } else { position };
        let send = |mapper: &Self, address: String, value: f32| {
            mapper.send(&command_language::Message { address, arguments: vec![Value::from(value)] })
        };
        match mapping.mode {
            ControlMode::Footswitch => {
                let gesture = self.footswitches.entry(control).or_default().moved(position.pressed(), at);
                gesture.map(|gesture| self.gesture(mapping, gesture)).unwrap_or_default()
            }
            ControlMode::Absolute | ControlMode::Momentary => {
                let value = mapping.value(position, mapping.from);
                value.map(|value| send(self, mapping.address.clone(), value)).unwrap_or_default()
            }
            ControlMode::Toggle => {
                let targets = self.targets(&mapping.address);
                // Several stems are on if all are.
                let off =
                    targets.iter().map(|a| self.present(a, at)).find(|value| !value.is_some_and(|value| mapping.is_on(value)));
                let current = if off.is_some() { mapping.from } else { mapping.to };
                let Some(value) = mapping.value(position, current) else { return Response::default() };
                // What is triggered has no state.
                let values = targets.into_iter().filter(|address| self.has_value(address)).collect::<Vec<_>>();
                self.sent.extend(values.into_iter().map(|address| (address, (value, at))));
                send(self, mapping.address.clone(), value)
            }
            ControlMode::Relative | ControlMode::RelativeOffset => {
                let mut all = Response::default();
                for address in self.targets(&mapping.address) {
                    let current = self.present(&address, at).unwrap_or(mapping.from);
                    let Some(value) = mapping.value(position, current) else { continue };
                    self.sent.insert(address.clone(), (value, at));
                    all.append(send(self, address, value));
                }
                all
            }
        }
    }

    /// The addresses that an address or a pattern means, each stem by itself.
    fn targets(&self, address: &str) -> Vec<String> {
        if is_all(address) {
            let path = address.replacen("/all", "/S", 1);
            return expand(&path, self.namespace.stems()).into_iter().filter(|address| !is_all(address)).collect();
        }
        match (self.namespace.get(address), Pattern::new(address)) {
            (None, Some(pattern)) => self.namespace.find(&pattern).into_iter().map(|found| found.0.to_owned()).collect(),
            _ => vec![address.to_owned()],
        }
    }

    fn has_value(&self, address: &str) -> bool {
        self.namespace.get(address).is_some_and(|kind| kind.spec().address.is_some_and(|row| row.access == Access::Value))
    }

    /// The session's value at an address, once what is on its way and what is pending has taken effect.
    fn present(&self, address: &str, at: f64) -> Option<f32> {
        let on_its_way = self.sent.get(address).filter(|(_, sent)| (at - sent).abs() < ON_ITS_WAY).map(|(value, _)| *value);
        let number = |arguments: &[Value]| arguments.first().and_then(Value::number).map(|n| n as f32);
        let pending = || {
            let all = self.snapshot.pending.iter().rev().filter_map(|pending| message(&pending.command, &self.namespace));
            all.filter(|message| message.address == address).find_map(|message| number(&message.arguments))
        };
        let now =
            || values(&self.snapshot, &self.namespace).get(address).or_else(|| self.set.get(address)).and_then(|v| number(v));
        on_its_way.or_else(pending).or_else(now)
    }

    /// Lets time pass: a footswitch that is held, or was tapped once, is known after a while, and so is a panic; learning is given up.
    pub fn time(&mut self, at: f64) -> Response {
        let gestures: Vec<(Control, Gesture)> =
            self.footswitches.iter_mut().filter_map(|(control, switch)| Some((*control, switch.time(at)?))).collect();
        let mut all = Response::default();
        for (control, gesture) in gestures {
            if let Some(mapping) = self.map.get(control).cloned() {
                all.append(self.gesture(&mapping, gesture));
            }
        }
        if self.resets.time(at) {
            all.requests.extend(self.request(Command::Panic));
        }
        if let Some(learn) = self.learn.take_if(|learn| learn.is_over(at)) {
            all.errors.push(format!(
                "MIDI learn: no control for {} was recognised; send /jam/midi/learn again to try again",
                learn.address()
            ));
        }
        all
    }

    fn gesture(&self, mapping: &Mapping, gesture: Gesture) -> Response {
        let text = match gesture {
            Gesture::Tap => &mapping.address,
            Gesture::Hold => &mapping.hold,
            Gesture::Double => &mapping.double,
        };
        match text.parse::<command_language::Message>() {
            Ok(message) if !message.address.is_empty() => self.send(&message),
            _ => Response::default(),
        }
    }

    fn send(&self, message: &command_language::Message) -> Response {
        let mut response = Response::default();
        let parsed = command_language::parse(message, &self.namespace);
        if parsed.is_empty() {
            response.errors.push(format!("MIDI map: no address {}: `sideman osc` prints all addresses", message.address));
        }
        for (_, parsed) in parsed {
            match parsed {
                Ok(Parsed::Command { command, when }) => response.requests.push(Request { command, when, from: self.origin }),
                Ok(Parsed::Read | Parsed::Released) => {}
                Err(what) => response.errors.push(format!("MIDI map: {what}")),
            }
        }
        response
    }

    fn request(&self, command: Command) -> Vec<Request> {
        vec![Request { command, when: None, from: self.origin }]
    }
}

/// An address that no command has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAddress(String);

impl std::fmt::Display for UnknownAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "can't learn {}: no command has this address; `sideman osc` prints all addresses", self.0)
    }
}

impl std::error::Error for UnknownAddress {}
