//! Requests on their way to the session. A few are handed on at a time, so that a flood leaves room for keys and pedals in the session's
//! own queue; the others stay here until their turn.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sideman_engine::live::Request;

/// The most requests that are handed on at once.
const MAX_AT_ONCE: usize = 32;
/// The most requests of one host that are queued, and of all: one host delays the others by at most 0.2 s.
const MAX_OF_HOST: usize = 256;
const MAX_QUEUED: usize = 1024;

/// There is no room for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "already {MAX_OF_HOST} requests are queued: some are not taken")
    }
}

struct Queued {
    host: IpAddr,
    address: String,
    /// It sets a value: a newer one replaces it.
    value: bool,
    request: Request,
}

/// The queue.
#[derive(Default)]
pub struct Requests {
    queue: VecDeque<Queued>,
    /// Requests that were taken, and put back.
    back: VecDeque<Request>,
}

impl Requests {
    /// Queues a request. A newer value replaces one that is still queued.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(&mut self, from: SocketAddr, address: &str, value: bool, request: Request) -> Result<(), Full> {
        let same = |q: &&mut Queued| value && q.value && q.address == address && q.request.when == request.when;
        if let Some(queued) = self.queue.iter_mut().find(same) {
            queued.request = request;
            return Ok(());
        }
        let host = from.ip();
        if self.queue.len() >= MAX_QUEUED || self.queue.iter().filter(|q| q.host == host).count() >= MAX_OF_HOST {
            return Err(Full);
        }
        self.queue.push_back(Queued { host, address: address.to_owned(), value, request });
        Ok(())
    }

    /// Takes the next requests.
    pub fn take(&mut self) -> Vec<Request> {
        let back = self.back.len().min(MAX_AT_ONCE);
        let mut all: Vec<Request> = self.back.drain(..back).collect();
        let more = self.queue.len().min(MAX_AT_ONCE - back);
        all.extend(self.queue.drain(..more).map(|queued| queued.request));
        all
    }

    /// Puts back requests that could not be handed on.
    pub fn put_back(&mut self, requests: Vec<Request>) {
        requests.into_iter().rev().for_each(|request| self.back.push_front(request));
    }
}
