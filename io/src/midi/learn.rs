//! MIDI learn: the control that moves next is assigned to an address.

use sideman_engine::live::commands::MidiTarget;

use super::{Control, ControlMode, Mapping};

/// Values of a controller after which its mode is known.
const VALUES: usize = 3;

/// Watches controls until it is known which one moves, and how.
#[derive(Debug, Clone)]
pub struct Learn {
    address: String,
    target: MidiTarget,
    /// The last values of the controller that moves.
    seen: Vec<(Control, u8)>,
}

impl Learn {
    /// Learns a control for an address.
    pub fn new(address: &str, target: MidiTarget) -> Learn {
        Learn { address: address.to_owned(), target, seen: Vec::new() }
    }

    /// A control has moved. Returns its mapping once it is known: a fader sends several values, a button 127 and 0, an endless knob only
    /// values next to 0 and 128.
    pub fn moved(&mut self, control: Control, value: u8) -> Option<Mapping> {
        let button = if self.target == MidiTarget::OnOff { ControlMode::Toggle } else { ControlMode::Momentary };
        match control {
            Control::Program { .. } => return Some(self.mapping(control, ControlMode::Toggle)),
            Control::Note { .. } => return Some(self.mapping(control, button)),
            Control::Cc { .. } => {}
        }
        self.seen.retain(|(c, _)| *c == control);
        self.seen.push((control, value));
        let values: Vec<u8> = self.seen.iter().map(|(_, v)| *v).collect();
        if values.contains(&127) && values.contains(&0) {
            return Some(self.mapping(control, button));
        }
        if values.len() < VALUES {
            return None;
        }
        let near = |v: &u8| (1..=3).contains(v) || (125..=127).contains(v);
        // A fader passes through adjacent values; an endless knob repeats the same step.
        let knob = values.iter().all(near) && values.windows(2).any(|w| w[0] == w[1]);
        Some(self.mapping(control, if knob { ControlMode::Relative } else { ControlMode::Absolute }))
    }

    fn mapping(&self, control: Control, mode: ControlMode) -> Mapping {
        Mapping::new(control, &self.address, mode).with_target(self.target)
    }
}
