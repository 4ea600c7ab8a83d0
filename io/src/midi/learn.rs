//! MIDI learn: the control that moves next is assigned to an address.

use sideman_engine::live::commands::MidiTarget;

use super::decoder::Decoder;
use super::{Control, ControlMode, Mapping, Message};

/// Values of a controller after which its mode is known; those after which it is decided in doubt.
const VALUES: usize = 3;
const MOST_VALUES: usize = 6;
/// Time after which nothing more is learned, s.
const PATIENCE: f64 = 10.0;

/// Watches controls until it is known which one moves, and how.
#[derive(Debug, Clone)]
pub struct Learn {
    address: String,
    target: MidiTarget,
    /// When it was first called.
    since: Option<f64>,
    decoder: Decoder,
    /// The last values of the control that moves.
    seen: Vec<(Control, u8)>,
    /// A key that is down. Motor faders send one when they are touched, before they move.
    key: Option<Control>,
}

impl Learn {
    /// Learns a control for an address.
    pub fn new(address: &str, target: MidiTarget) -> Learn {
        Learn { address: address.to_owned(), target, since: None, decoder: Decoder::default(), seen: Vec::new(), key: None }
    }

    /// The address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is given up at a time, s.
    pub fn is_over(&mut self, at: f64) -> bool {
        let since = *self.since.get_or_insert(at);
        // Song time may be set back, where a device is opened again.
        self.since = Some(since.min(at));
        at - since > PATIENCE
    }

    /// Takes a message. Returns the mapping once it is known: a fader sends several values, a button 127 and 0, an endless knob repeats the
    /// same small steps.
    pub fn message(&mut self, message: Message) -> Option<Mapping> {
        let moved = self.decoder.decode(message);
        let (plain, position) = *moved.first()?;
        match plain {
            Control::Program { .. } => return Some(self.mapping(plain, ControlMode::Toggle)),
            Control::Note { .. } if position.coarse() > 0 => {
                self.key = Some(plain);
                return None;
            }
            // A key that was pressed and released while nothing else moved.
            Control::Note { .. } => {
                return self.key.take().filter(|key| *key == plain).map(|key| self.mapping(key, self.button()));
            }
            Control::Bend { .. } | Control::Cc { .. } | Control::Cc14 { .. } | Control::Nrpn { .. } => self.key = None,
        }
        let control = match (plain, moved.last()) {
            // The number of a parameter is no value.
            (Control::Cc { number: 98..=101, .. }, _) => return None,
            (_, Some((nrpn @ Control::Nrpn { .. }, _))) => *nrpn,
            (Control::Cc { channel, number }, _) => self.pair(channel, number).unwrap_or(plain),
            _ => plain,
        };
        self.seen.retain(|(c, _)| *c == control);
        self.seen.push((control, position.coarse()));
        self.mode(control).map(|mode| self.mapping(control, mode))
    }

    /// The pair of which a controller is half: the one that moved before was the other half.
    fn pair(&mut self, channel: u8, number: u8) -> Option<Control> {
        let low = number % 32;
        let wide = Control::Cc14 { channel, number: low };
        let other = Control::Cc { channel, number: if number < 32 { low + 32 } else { low } };
        if number >= 64 || !self.seen.iter().any(|(c, _)| *c == wide || *c == other) {
            return None;
        }
        self.seen.iter_mut().filter(|(c, _)| *c == other).for_each(|(c, _)| *c = wide);
        Some(wide)
    }

    fn button(&self) -> ControlMode {
        if self.target == MidiTarget::OnOff { ControlMode::Toggle } else { ControlMode::Momentary }
    }

    /// What the values of the control that moves mean; `None`: not known yet.
    fn mode(&self, control: Control) -> Option<ControlMode> {
        let values: Vec<u8> = self.seen.iter().map(|(_, value)| *value).collect();
        if !matches!(control, Control::Cc { .. }) {
            return (values.len() >= VALUES).then_some(ControlMode::Absolute);
        }
        if values.contains(&127) && values.contains(&0) {
            return Some(self.button());
        }
        if values.len() < VALUES {
            return None;
        }
        let all = |zones: &[std::ops::RangeInclusive<u8>]| values.iter().all(|v| zones.iter().any(|zone| zone.contains(v)));
        let any = |zone: std::ops::RangeInclusive<u8>| values.iter().any(|v| zone.contains(v));
        // A fader passes through values; an endless knob repeats the same step, or goes back and forth between both directions.
        let repeats = values.windows(2).any(|w| w[0] == w[1]);
        let turns = values.windows(3).any(|w| (w[0] < w[1]) != (w[1] < w[2]));
        let (few, in_doubt) = (values.len() == VALUES, values.len() < MOST_VALUES);
        let (up, twos, sign, below) = (1..=15, 113..=127, 65..=79, 49..=63);
        if all(&[up.clone(), twos.clone()]) || all(&[up.clone(), sign.clone()]) && any(up.clone()) {
            let both = any(up) && (any(twos) || any(sign));
            if repeats || both || turns && !few {
                return Some(ControlMode::Relative);
            }
            return if in_doubt { None } else { Some(ControlMode::Absolute) };
        }
        if all(&[below.clone(), sign]) {
            // 65 may be one step up, or one down with its sign.
            if repeats && any(below) || !in_doubt && (repeats || turns) {
                return Some(ControlMode::RelativeOffset);
            }
            return if in_doubt { None } else { Some(ControlMode::Absolute) };
        }
        Some(ControlMode::Absolute)
    }

    fn mapping(&self, control: Control, mode: ControlMode) -> Mapping {
        Mapping::new(control, &self.address, mode).with_target(self.target)
    }
}
