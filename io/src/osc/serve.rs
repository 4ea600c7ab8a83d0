//! The socket: one thread that reads packets, hands wishes to the band and echoes what has changed.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use sideman_engine::live::{Command, Request};

use super::{Names, OscState};
use crate::control::{Control, Event};

/// Echoes at most so often: 30 a second.
const ECHO: Duration = Duration::from_millis(34);
/// Wishes are handed on at most so often.
const HAND_ON: Duration = Duration::from_millis(20);
/// The longest wait for a packet: bundles come in time to this.
const WAIT: Duration = Duration::from_millis(5);
/// Packets that are read before something else is done.
const BATCH: usize = 1000;

/// A running OSC server; it ends when it is dropped.
pub struct Server {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address and drives the band by `control`; `begun` is what the session began with, as far as no snapshot shows it.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub fn start(control: Control, names: Names, begun: Vec<Command>, address: SocketAddr) -> std::io::Result<Server> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(WAIT))?;
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let mut state = OscState::new(names, control.origin(), Instant::now());
        begun.into_iter().for_each(|command| state.applied(&Request { command, when: None, from: 0 }));
        // Before it is heard of: nothing that happens from now on is missed.
        let events = control.events();
        let thread =
            std::thread::Builder::new().name("osc".into()).spawn(move || serve(&socket, &control, state, &events, &seen))?;
        Ok(Server { thread: Some(thread), stop, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It panicked: there is nobody to tell, and the music goes on.
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, control: &Control, mut state: OscState, events: &Receiver<Event>, stop: &AtomicBool) {
    let mut bytes = vec![0; 1 << 16];
    let (mut echoed, mut handed) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Acquire) && !control.ended() {
        // What has come: for as long as there is something, but no longer than an echo can wait.
        for _ in 0..BATCH {
            match socket.recv_from(&mut bytes) {
                Ok((len, from)) => state.packet(from, &bytes[..len], Instant::now(), SystemTime::now()),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                // A peer's port is closed; others may still talk.
                Err(_) => {}
            }
            if handed.elapsed() >= HAND_ON {
                break;
            }
        }
        let now = Instant::now();
        state.due(now);
        if handed.elapsed() >= HAND_ON {
            handed = now;
            for request in state.wishes() {
                if control.send(request).is_err() {
                    state.dropped += 1;
                }
            }
        }
        for event in events.try_iter() {
            match event {
                Event::Applied { request, .. } => state.applied(&request),
                Event::Said(what) => state.said(&what),
            }
        }
        if echoed.elapsed() >= ECHO {
            echoed = now;
            state.echo(&control.snapshot(), now);
        }
        for (to, packet) in state.out() {
            // A subscriber that is gone expires.
            let _ = socket.send_to(&packet, to);
        }
    }
    if state.malformed + state.dropped > 0 {
        tracing::info!("OSC: {} packets were malformed, {} messages were too many", state.malformed, state.dropped);
    }
}
