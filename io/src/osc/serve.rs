//! The OSC server: a thread that reads packets, sends requests to the session and echoes the values that have changed.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use sideman_engine::live::{Command, Request};

use super::{Addresses, OscState};
use crate::control::Control;
use crate::event::Event;
use crate::join::join;

/// Time between two echoes: at most 30 a second.
const ECHO: Duration = Duration::from_millis(34);
/// Time between two batches of requests to the session.
const REQUESTS: Duration = Duration::from_millis(20);
/// The longest wait for a packet, and so the precision of time tags.
const WAIT: Duration = Duration::from_millis(5);
/// The most packets that are read in a row.
const BATCH: usize = 1000;

/// A running OSC server. Dropping it ends it.
pub struct Server {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Server {
    /// Listens at a UDP address. `initial` are the values of the session that are in no snapshot, `allowed` the hosts that any peer may
    /// subscribe.
    ///
    /// # Errors
    /// The address can't be bound.
    pub fn start(
        control: Control,
        addresses: Addresses,
        initial: Vec<Command>,
        allowed: Vec<IpAddr>,
        address: SocketAddr,
    ) -> std::io::Result<Server> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(WAIT))?;
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let mut state = OscState::new(addresses, control.origin(), Instant::now()).with_allowed(allowed);
        initial.into_iter().for_each(|command| state.applied(&Request { command, when: None, from: 0 }));
        // Subscribed before the thread starts: no event is missed.
        let events = control.events();
        let thread = std::thread::Builder::new()
            .name("osc".into())
            .spawn(move || serve(&socket, address, &control, state, &events, &seen))?;
        Ok(Server { thread: Some(thread), stop, address })
    }

    /// The address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            join(thread);
        }
    }
}

fn serve(
    socket: &UdpSocket,
    address: SocketAddr,
    control: &Control,
    mut state: OscState,
    events: &Receiver<Event>,
    stop: &AtomicBool,
) {
    // A subscription of this very port would send the server its own values for ever.
    let own = |to: SocketAddr| to.port() == address.port() && (to.ip() == address.ip() || to.ip().is_loopback());
    let mut bytes = vec![0; 1 << 16];
    let (mut echoed, mut sent) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Acquire) && !control.ended() {
        for _ in 0..BATCH {
            match socket.recv_from(&mut bytes) {
                Ok((len, from)) => state.packet(from, &bytes[..len], Instant::now(), SystemTime::now()),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                // The port of one peer is closed: the others go on.
                Err(_) => {}
            }
            if sent.elapsed() >= REQUESTS {
                break;
            }
        }
        let now = Instant::now();
        state.due(now);
        if sent.elapsed() >= REQUESTS {
            sent = now;
            let mut requests = state.requests().into_iter();
            while let Some(request) = requests.next() {
                if control.send(request.clone()).is_err() {
                    // The session takes no more before its next hop.
                    state.put_back([request].into_iter().chain(requests).collect());
                    break;
                }
            }
        }
        for event in events.try_iter() {
            if let Event::Applied { request, .. } = &event {
                state.applied(request);
            } else if let Some(message) = event.message() {
                state.notify(&message);
            }
        }
        if echoed.elapsed() >= ECHO {
            echoed = now;
            state.echo(&control.snapshot(), now);
        }
        for (to, packet) in state.out().into_iter().filter(|(to, _)| !own(*to)) {
            // The subscription of a peer that has gone expires.
            let _ = socket.send_to(&packet, to);
        }
    }
    if state.malformed + state.dropped > 0 {
        tracing::info!("OSC: {} malformed packets, {} dropped messages", state.malformed, state.dropped);
    }
}
