//! What each peer may cost: token buckets of answers and address patterns, of errors, and of takes; and the errors that it was sent
//! lately.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Answers that a peer may get at once, and a second. `/jam/sync` takes about 80.
const ANSWERS: (f64, f64) = (800.0, 400.0);
/// The same for all peers together: the addresses of packets can be forged.
const ALL_ANSWERS: (f64, f64) = (4000.0, 2000.0);
/// Errors that a peer may get at once, and a second.
const ERRORS: (f64, f64) = (16.0, 4.0);
/// Takes that a peer may start or keep at once, and a second: each one is a folder, with up to ten minutes of music.
pub const TAKES: (f64, f64) = (12.0, 0.1);
/// The same for all peers together.
const ALL_TAKES: (f64, f64) = (24.0, 0.2);
/// Time in which the same error is not sent to the same port again.
const REPEAT: Duration = Duration::from_secs(10);
/// The most peers, and errors of a peer, that are remembered. Those that were not seen for the longest time are forgotten.
const MAX_PEERS: usize = 64;
const MAX_ERRORS: usize = 32;

/// A token bucket: it holds at most `size` tokens, and gets `rate` a second.
#[derive(Debug, Clone)]
struct Bucket {
    tokens: f64,
    size: f64,
    rate: f64,
    at: Instant,
}

impl Bucket {
    fn new((size, rate): (f64, f64), now: Instant) -> Bucket {
        Bucket { tokens: size, size, rate, at: now }
    }

    fn fill(&mut self, now: Instant) -> bool {
        self.tokens = (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * self.rate).min(self.size);
        self.at = self.at.max(now);
        self.tokens >= 1.0
    }
}

#[derive(Debug)]
struct Peer {
    answers: Bucket,
    errors: Bucket,
    takes: Bucket,
    /// Errors that were sent, oldest first: to which port, and when.
    sent: Vec<(u16, String, Instant)>,
}

/// The peers that have sent packets, by host: a peer can send from any number of ports.
#[derive(Debug)]
pub struct Peers {
    peers: BTreeMap<IpAddr, Peer>,
    everyone: Bucket,
    all_takes: Bucket,
}

impl Peers {
    /// No peers yet.
    pub fn new(now: Instant) -> Peers {
        Peers { peers: BTreeMap::new(), everyone: Bucket::new(ALL_ANSWERS, now), all_takes: Bucket::new(ALL_TAKES, now) }
    }

    fn peer(&mut self, host: IpAddr, now: Instant) -> &mut Peer {
        if !self.peers.contains_key(&host) && self.peers.len() == MAX_PEERS {
            let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.answers.at).map(|(host, _)| *host);
            oldest.map(|host| self.peers.remove(&host));
        }
        let new = || Peer {
            answers: Bucket::new(ANSWERS, now),
            errors: Bucket::new(ERRORS, now),
            takes: Bucket::new(TAKES, now),
            sent: Vec::new(),
        };
        self.peers.entry(host).or_insert_with(new)
    }

    /// Takes a token for an answer or for matching a pattern. False: the peer has to wait.
    pub fn may_ask(&mut self, from: SocketAddr, now: Instant) -> bool {
        let all = self.everyone.fill(now);
        let own = &mut self.peer(from.ip(), now).answers;
        let allowed = own.fill(now) && all;
        if allowed {
            own.tokens -= 1.0;
            self.everyone.tokens -= 1.0;
        }
        allowed
    }

    /// Takes a token for a take. False: the peer has to wait.
    pub fn may_record(&mut self, from: SocketAddr, now: Instant) -> bool {
        let all = self.all_takes.fill(now);
        let own = &mut self.peer(from.ip(), now).takes;
        let allowed = own.fill(now) && all;
        if allowed {
            own.tokens -= 1.0;
            self.all_takes.tokens -= 1.0;
        }
        allowed
    }

    /// Whether an error is to be sent: it is not a repetition, and there are not too many.
    pub fn may_hear(&mut self, to: SocketAddr, error: &str, now: Instant) -> bool {
        let all = self.everyone.fill(now);
        let Peer { errors, sent, .. } = self.peer(to.ip(), now);
        sent.retain(|(_, _, at)| now.saturating_duration_since(*at) < REPEAT);
        let allowed = all && errors.fill(now) && !sent.iter().any(|(port, text, _)| *port == to.port() && text == error);
        if allowed {
            errors.tokens -= 1.0;
            if sent.len() == MAX_ERRORS {
                sent.remove(0);
            }
            sent.push((to.port(), error.to_owned(), now));
            self.everyone.tokens -= 1.0;
        }
        allowed
    }
}
