//! Tells a panic button from a sequencer's reset. Both send all sound off or all notes off (CC 120 and 123): a sequencer on several channels,
//! or next to a start or stop.

use std::collections::BTreeSet;

/// Time in which the messages of a reset arrive, s. A panic is that late.
const WAIT: f64 = 0.05;
/// The longest time between a sequencer's reset and its start or stop, s.
const NEAR: f64 = 0.2;

/// The all-off messages that have just arrived.
#[derive(Debug, Clone, Default)]
pub struct Resets {
    /// The channels, and when the first message came.
    channels: BTreeSet<u8>,
    since: f64,
    /// The last start, continue or stop.
    transport: Option<f64>,
}

impl Resets {
    /// An all-off message on a channel, at a time, s.
    pub fn all_off(&mut self, channel: u8, at: f64) {
        if self.channels.is_empty() {
            self.since = at;
        }
        self.channels.insert(channel);
    }

    /// A start, continue or stop at a time, s.
    pub fn transport(&mut self, at: f64) {
        self.transport = Some(at);
        self.channels.clear();
    }

    /// Lets time pass, to a time, s. True: a panic button was pressed.
    pub fn time(&mut self, at: f64) -> bool {
        if self.channels.is_empty() || (0.0..WAIT).contains(&(at - self.since)) {
            return false;
        }
        let sequencer = self.channels.len() > 1 || self.transport.is_some_and(|t| (self.since - t).abs() < NEAR);
        self.channels.clear();
        !sequencer
    }
}
