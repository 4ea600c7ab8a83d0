//! Messages that wait for their time tag.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use rosc::OscMessage;

use super::packet::arguments;
use crate::command_language::Message;

/// The most messages that wait, and of one host: the cues of a song, and room for others.
const MAX_WAITING: usize = 2048;
const MAX_OF_HOST: usize = 1024;

/// There is no room for another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "already {MAX_OF_HOST} messages wait for their time tag: this one is not taken")
    }
}

/// The messages, in the order in which they came.
#[derive(Debug, Default)]
pub struct Waiting(Vec<(Instant, SocketAddr, OscMessage)>);

impl Waiting {
    /// Adds a message that is due at a time.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(&mut self, at: Instant, from: SocketAddr, message: OscMessage) -> Result<(), Full> {
        let of_host = self.0.iter().filter(|(_, other, _)| other.ip() == from.ip()).count();
        if self.0.len() >= MAX_WAITING || of_host >= MAX_OF_HOST {
            return Err(Full);
        }
        self.0.push((at, from, message));
        Ok(())
    }

    /// Takes the messages that are due, soonest first.
    pub fn due(&mut self, now: Instant) -> Vec<(SocketAddr, OscMessage)> {
        let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0).into_iter().partition(|(at, _, _)| *at <= now);
        self.0 = later;
        due.sort_by_key(|(at, _, _)| *at);
        due.into_iter().map(|(_, from, message)| (from, message)).collect()
    }

    /// Removes the messages to one stem; `None`: all of them.
    pub fn cancel(&mut self, stem: Option<&str>) {
        self.0.retain(|(_, _, message)| stem.is_some_and(|stem| !message.addr.split('/').any(|part| part == stem)));
    }

    /// The messages, each as text, and the seconds until it is due.
    pub fn pending(&self, now: Instant) -> impl Iterator<Item = (String, f64)> + '_ {
        self.0.iter().map(move |(at, _, message)| {
            let arguments = arguments(&message.args, true).unwrap_or_default();
            let text = Message { address: message.addr.clone(), arguments }.to_string();
            (text, at.saturating_duration_since(now).as_secs_f64())
        })
    }
}
