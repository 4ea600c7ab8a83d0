//! From MIDI messages to requests, by the map.

use std::collections::BTreeMap;

use sideman_engine::live::commands::CommandKind;
use sideman_engine::live::{Command, Origin, Request};

use super::{Control, ControlMode, Footswitch, Gesture, HeldChord, Learn, Map, Mapping, Message};
use crate::command_language::{self, Namespace, Parsed, Pattern, Value};

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
    footswitches: BTreeMap<Control, Footswitch>,
    /// The values of toggled and relative controls.
    values: BTreeMap<Control, f32>,
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
            footswitches: BTreeMap::new(),
            values: BTreeMap::new(),
            held: HeldChord::default(),
        }
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

    /// Takes a message that arrived at a time, s. Messages of MIDI clock are ignored: they are for [`crate::clock::ClockFollower`].
    pub fn message(&mut self, message: Message, at: f64) -> Response {
        let (control, value) = match message {
            Message::Clock(_) => return Response::default(),
            // All sound off and all notes off can't be mapped.
            Message::Control { number: 120 | 123, .. } => return self.request(Command::Panic).into(),
            Message::Note { channel, key, velocity } if Some(channel) == self.map.chord_channel => {
                let chord = self.held.note(key, velocity > 0);
                return chord.map(|chord| self.request(Command::Chords(chord))).unwrap_or_default().into();
            }
            // For a button, the velocity of a pad does not matter.
            Message::Note { channel, key, velocity } => {
                let control = Control::Note { channel, key };
                let fader = self.map.get(control).is_some_and(|m| m.mode == ControlMode::Absolute);
                (control, if velocity > 0 && !fader { 127 } else { velocity })
            }
            Message::Control { channel, number, value } => (Control::Cc { channel, number }, value),
            Message::Program { channel, number } => (Control::Program { channel, number }, 127),
        };
        if let Some(learn) = &mut self.learn {
            let learned = learn.moved(control, value);
            if let Some(mapping) = &learned {
                self.map.put(mapping.clone());
                self.learn = None;
            }
            return Response { learned, ..Response::default() };
        }
        self.moved(control, value, at)
    }

    fn moved(&mut self, control: Control, value: u8, at: f64) -> Response {
        let Some(mapping) = self.map.get(control).cloned() else { return Response::default() };
        if mapping.mode == ControlMode::Footswitch {
            let gesture = self.footswitches.entry(control).or_default().moved(value >= 64, at);
            return gesture.map(|gesture| self.gesture(&mapping, gesture)).unwrap_or_default();
        }
        let current = self.values.entry(control).or_insert(mapping.from);
        match mapping.value(value, *current) {
            Some(value) => {
                *current = value;
                self.send(&command_language::Message { address: mapping.address, arguments: vec![Value::from(value)] })
            }
            None => Response::default(),
        }
    }

    /// Lets time pass: a footswitch that is held, or was tapped once, is known after a while.
    pub fn time(&mut self, at: f64) -> Response {
        let gestures: Vec<(Control, Gesture)> =
            self.footswitches.iter_mut().filter_map(|(control, switch)| Some((*control, switch.time(at)?))).collect();
        let mut all = Response::default();
        for (control, gesture) in gestures {
            if let Some(mapping) = self.map.get(control).cloned() {
                let one = self.gesture(&mapping, gesture);
                all.requests.extend(one.requests);
                all.errors.extend(one.errors);
            }
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
