//! The hands at work: a thread that takes what ports have heard, hands wishes to the band, keeps the map, and holds the band to a clock that
//! comes in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sideman_engine::live::Command;

use super::{Hands, Message};
use crate::control::{Control, Event};

/// The longest wait for a message: a held switch is told in time to this.
const WAIT: Duration = Duration::from_millis(5);
/// The band is held to a clock so often: a hop or so.
const FOLLOW: Duration = Duration::from_millis(40);

/// Bytes that a port has heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// Song time that sounded then, s.
    pub at: f64,
    bytes: [u8; 3],
    len: u8,
}

impl Heard {
    /// None for what is longer than three bytes: system exclusive, which means nothing here.
    pub fn new(at: f64, bytes: &[u8]) -> Option<Heard> {
        let mut kept = [0; 3];
        kept.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Heard { at, bytes: kept, len: bytes.len() as u8 })
    }

    fn message(&self) -> Option<Message> {
        Message::parse(&self.bytes[..usize::from(self.len)])
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
    pub fn start(control: Control, hands: Hands, inbox: Receiver<Heard>, file: Option<PathBuf>) -> std::io::Result<Server> {
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
    mut hands: Hands,
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
            Ok(heard) => {
                (at, since) = (heard.at, Instant::now());
                let (wished, told) = heard.message().map(|m| hands.message(m, heard.at)).unwrap_or_default();
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
        }
        for wish in wishes {
            if let Err(e) = control.send(wish) {
                tracing::info!("MIDI: {e}");
            }
        }
    }
}

/// Writes the map beside its file, then in its place.
fn keep(hands: &Hands, file: &Path) -> Result<(), String> {
    let wrong = |e: std::io::Error| format!("{}: {e}: what was learned lasts for this session only", file.display());
    let text = hands.map().text()?;
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(wrong)?;
    }
    let beside = file.with_extension("toml.new");
    std::fs::write(&beside, text).map_err(wrong)?;
    std::fs::rename(&beside, file).map_err(wrong)
}
