//! The MIDI thread: takes what the ports receive, sends requests to the session, saves the map, and keeps the session on the clock that it
//! follows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sideman_engine::live::Command;

use super::{Message, MidiMapper, Response};
use crate::clock::{ClockFollower, Transport};
use crate::control::Control;
use crate::event::Event;
use crate::mailbox::{MailReceiver, NoMail};

/// The longest wait for a message, and so the precision of footswitch gestures.
const WAIT: Duration = Duration::from_millis(5);
/// Time between two calls of the clock follower: about a hop.
const FOLLOW: Duration = Duration::from_millis(40);

/// What a device or port receives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PortEvent {
    /// A MIDI message.
    Bytes {
        /// Song time that sounded then, s.
        at: f64,
        /// The bytes, of which the first `len` count.
        bytes: [u8; 3],
        /// See `bytes`.
        len: u8,
    },
    /// The state of JACK transport.
    Transport(Transport),
}

impl Default for PortEvent {
    /// An empty message.
    fn default() -> Self {
        PortEvent::Bytes { at: 0.0, bytes: [0; 3], len: 0 }
    }
}

impl PortEvent {
    /// A message at a song time, s. `None`: it is longer than three bytes (system exclusive), and not used.
    pub fn new(at: f64, bytes: &[u8]) -> Option<PortEvent> {
        let mut kept = [0; 3];
        kept.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(PortEvent::Bytes { at, bytes: kept, len: bytes.len() as u8 })
    }
}

/// The running MIDI thread. Dropping it ends it.
pub struct Server {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Starts the thread. `ports` sends what the ports receive. Learned mappings are saved to `file`.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start(
        control: Control,
        mapper: MidiMapper,
        ports: MailReceiver<PortEvent>,
        file: Option<PathBuf>,
    ) -> std::io::Result<Server> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let events = control.events();
        let serve = move || serve(&control, mapper, ports, &events, file.as_deref(), &seen);
        let thread = std::thread::Builder::new().name("midi".into()).spawn(serve)?;
        Ok(Server { thread: Some(thread), stop })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            crate::join::join(thread);
        }
    }
}

fn serve(
    control: &Control,
    mut mapper: MidiMapper,
    mut ports: MailReceiver<PortEvent>,
    events: &Receiver<Event>,
    file: Option<&Path>,
    stop: &AtomicBool,
) {
    let mut follower = ClockFollower::new(f64::from(mapper.map().clock_offset) / 1000.0, mapper.origin());
    let mut followed = Instant::now();
    // Song time of the newest message, and when it was read: song time continues from there.
    let (mut at, mut since) = (0.0, Instant::now());
    while !stop.load(Ordering::Acquire) && !control.ended() {
        let mut response = Response::default();
        match ports.next_within(WAIT) {
            Ok(PortEvent::Transport(transport)) => {
                control.transport();
                follower.transport(transport);
            }
            Ok(PortEvent::Bytes { at: received, bytes, len }) => {
                (at, since) = (received, Instant::now());
                match bytes.get(..usize::from(len)).and_then(Message::parse) {
                    Some(Message::Clock(message)) => {
                        mapper.message(Message::Clock(message), received);
                        response.requests = follower.midi(message, received);
                    }
                    Some(message) => {
                        mapper.session(control.snapshot());
                        response = mapper.message(message, received);
                    }
                    None => {}
                }
            }
            Err(NoMail::Empty) => {}
            // All ports are closed.
            Err(NoMail::Closed) => return,
        }
        let now = at + since.elapsed().as_secs_f64();
        response.append(mapper.time(now));
        for event in events.try_iter() {
            let Event::Applied { request, .. } = event else { continue };
            mapper.applied(&request.command);
            if let Command::Learn(address) = request.command {
                control.say(match mapper.learn(&address) {
                    Ok(()) => format!("MIDI learn: move the control for {address}"),
                    Err(e) => format!("MIDI learn: {e}"),
                });
            }
        }
        if followed.elapsed() >= FOLLOW {
            followed = Instant::now();
            response.requests.extend(follower.follow(&control.snapshot(), now));
            if let Some(fault) = follower.fault() {
                control.say(fault.to_string());
            }
            if let Some(known) = follower.lock(now) {
                control.locked(known);
            }
        }
        if let Some(mapping) = response.learned {
            if let Some(Err(e)) = file.map(|file| save(&mapper, file)) {
                control.say(e);
            }
            control.say(format!("MIDI learn: {} is now {}", mapping.control, mapping.address));
        }
        response.errors.into_iter().for_each(|error| control.say(error));
        for request in response.requests {
            if let Err(e) = control.send(request) {
                tracing::info!("MIDI: {e}");
            }
        }
    }
}

/// Saves the map. The file is replaced atomically.
fn save(mapper: &MidiMapper, file: &Path) -> Result<(), String> {
    let wrong = |e: std::io::Error| format!("{}: {e}: the learned control is lost when this session ends", file.display());
    let text = mapper.map().text()?;
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(wrong)?;
    }
    let beside = file.with_extension("toml.new");
    std::fs::write(&beside, text).map_err(wrong)?;
    std::fs::rename(&beside, file).map_err(wrong)
}
