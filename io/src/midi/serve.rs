//! The hands at work: a thread that takes what ports have heard, hands wishes to the band, keeps the map, and holds the band to a clock that
//! comes in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sideman_engine::live::Command;

use super::{Message, MidiMapper};
use crate::control::{Control, Event};
use crate::transport::Transport;

/// The longest wait for a message: a held switch is told in time to this.
const WAIT: Duration = Duration::from_millis(5);
/// The band is held to a clock so often: a hop or so.
const FOLLOW: Duration = Duration::from_millis(40);

/// What a device has heard for the hands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard {
    /// Bytes of a MIDI message.
    Bytes {
        /// Song time that sounded then, s.
        at: f64,
        /// They, and how many there are.
        bytes: [u8; 3],
        /// See `bytes`.
        len: u8,
    },
    /// Where JACK's transport is.
    Transport(Transport),
}

impl Heard {
    /// None for what is longer than three bytes: system exclusive, which means nothing here.
    pub fn new(at: f64, bytes: &[u8]) -> Option<Heard> {
        let mut kept = [0; 3];
        kept.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Heard::Bytes { at, bytes: kept, len: bytes.len() as u8 })
    }
}

/// Running hands; they end when this is dropped.
pub struct Server {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Plays on `control` what `inbox` hears. What is learned is kept in `file`, where there is one.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn start(control: Control, hands: MidiMapper, inbox: Receiver<Heard>, file: Option<PathBuf>) -> std::io::Result<Server> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let events = control.events();
        let serve = move || serve(&control, hands, &inbox, &events, file.as_deref(), &seen);
        let thread = std::thread::Builder::new().name("midi".into()).spawn(serve)?;
        Ok(Server { thread: Some(thread), stop })
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

fn serve(
    control: &Control,
    mut hands: MidiMapper,
    inbox: &Receiver<Heard>,
    events: &Receiver<Event>,
    file: Option<&Path>,
    stop: &AtomicBool,
) {
    let mut followed = Instant::now();
    // Song time of the newest message, and when it was read: time goes on from there.
    let (mut at, mut since) = (0.0, Instant::now());
    while !stop.load(Ordering::Acquire) && !control.ended() {
        let mut wishes = Vec::new();
        match inbox.recv_timeout(WAIT) {
            Ok(Heard::Transport(transport)) => {
                control.transport();
                hands.transport.heard(transport);
            }
            Ok(Heard::Bytes { at: heard, bytes, len }) => {
                (at, since) = (heard, Instant::now());
                let message = bytes.get(..usize::from(len)).and_then(Message::parse);
                let (wished, told) = message.map(|m| hands.message(m, heard)).unwrap_or_default();
                wishes.extend(wished);
                if let Some(told) = told {
                    if told.starts_with("learned")
                        && let Some(Err(e)) = file.map(|file| keep(&hands, file))
                    {
                        control.say(e);
                    }
                    control.say(told);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            // No port is left; the map and the gestures have no more to do.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = at + since.elapsed().as_secs_f64();
        wishes.extend(hands.time(now));
        for event in events.try_iter() {
            if let Event::Applied { request, .. } = event
                && let Command::Learn(address) = request.command
            {
                control.say(hands.learn(&address));
            }
        }
        if followed.elapsed() >= FOLLOW {
            followed = Instant::now();
            wishes.extend(hands.follow(&control.snapshot(), now));
            if let Some(known) = hands.lock(now) {
                control.locked(known);
            }
        }
        for wish in wishes {
            if let Err(e) = control.send(wish) {
                tracing::info!("MIDI: {e}");
            }
        }
    }
}

/// Writes the map beside its file, then in its place.
fn keep(hands: &MidiMapper, file: &Path) -> Result<(), String> {
    let wrong = |e: std::io::Error| format!("{}: {e}: what was learned lasts for this session only", file.display());
    let text = hands.map().text()?;
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(wrong)?;
    }
    let beside = file.with_extension("toml.new");
    std::fs::write(&beside, text).map_err(wrong)?;
    std::fs::rename(&beside, file).map_err(wrong)
}
