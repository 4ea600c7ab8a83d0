//! Remembers what the client's ports are connected to, so that it can be connected again after the server is back.

use std::time::{Duration, Instant};

use jack::{Port, PortFlags, Unowned};

use super::super::Link;

/// Time between two looks. A server that ends takes connections away before it stops its callbacks, so the last look
/// may have missed some; the one before has not.
const LOOK: Duration = Duration::from_secs(2);

/// The connections at the last two looks.
pub(super) struct LinkHistory {
    own: Vec<Port<Unowned>>,
    looked: Option<Instant>,
    last: Vec<Link>,
    before: Vec<Link>,
}

impl LinkHistory {
    /// Of the client's ports `own`. `links`: what they were connected to before the server was lost.
    pub(super) fn new(own: Vec<Port<Unowned>>, links: &[Link]) -> LinkHistory {
        LinkHistory { own, looked: None, last: links.to_vec(), before: links.to_vec() }
    }

    /// Call it often, while the server makes callbacks.
    pub(super) fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
            return;
        }
        if self.looked.is_some() {
            self.before = std::mem::take(&mut self.last);
        }
        (self.looked, self.last) = (Some(now), self.own.iter().flat_map(links_of).collect());
    }

    /// The connections before the server was lost.
    pub(super) fn settled(&self) -> Vec<Link> {
        self.before.clone()
    }
}

/// The connections of one port.
fn links_of(port: &Port<Unowned>) -> Vec<Link> {
    let Ok(own) = port.short_name() else { return Vec::new() };
    let output = port.flags().contains(PortFlags::IS_OUTPUT);
    port.get_connections().into_iter().map(|other| Link { own: own.clone(), other, output }).collect()
}
