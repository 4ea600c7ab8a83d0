//! The desk of a running band: wishes go in by a bounded queue, what has come true goes out to everyone who listens, and the newest
//! [`Snapshot`] can be looked at. Keys, OSC, MIDI and the command line hold a [`Control`] each; the runner holds the one [`ControlReceiver`].
//!
//! *Threading.* Every method of [`Control`] may be called from any thread but an audio callback and never waits for the engine. The desk
//! never waits for a reader of snapshots, and waits for a subscriber only as long as it takes to subscribe.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use sideman_engine::live::{Origin, Request, Snapshot};

/// Requests that may wait for the next hop. A hand makes ten a second and a hop is 80 ms: more than this is a flood.
const QUEUE: usize = 256;
/// Events that a slow listener may be behind.
const BEHIND: usize = 1024;

/// The queue is full: the engine has not taken a request for long, or a source floods it. The request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{QUEUE} requests already wait for the band: this one is lost")
    }
}

impl std::error::Error for Full {}

/// What happened, for those who echo and show it.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request was taken by the session, which does it at its boundary.
    Applied {
        /// Song time of the hop before which it was taken.
        at: i64,
        /// As it was taken; `from` says to whom not to echo it.
        request: Request,
    },
    /// A sentence for the musician: a fault met, a file kept, a device gone.
    Said(String),
}

/// A request on its way, stamped when it was sent: taps are counted by it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// What.
    pub request: Request,
}

/// One source's hold on the band. Clones share queue and snapshot.
#[derive(Clone)]
pub struct Control {
    queue: SyncSender<Sent>,
    shared: Arc<Shared>,
}

/// The runner's side of all [`Control`]s.
pub struct ControlReceiver {
    queue: Receiver<Sent>,
    shared: Arc<Shared>,
}

struct Shared {
    snapshot: Mutex<Snapshot>,
    listeners: Mutex<Vec<SyncSender<Event>>>,
    ended: AtomicBool,
    origins: AtomicU64,
    /// JACK's transport has been heard.
    transport: AtomicBool,
    /// Somebody listens to Ableton Link.
    link: AtomicBool,
    /// How well a clock from outside is known, as the bits of an f32.
    lock: AtomicU32,
}

impl Shared {
    fn tell(&self, event: &Event) {
        lock(&self.listeners).retain(|listener| !matches!(listener.try_send(event.clone()), Err(TrySendError::Disconnected(_))));
    }
}

/// A poisoned lock holds whole values here: every write is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// A new desk, and the first hold on it.
    pub fn new() -> (Control, ControlReceiver) {
        let (tx, rx) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            snapshot: Mutex::default(),
            listeners: Mutex::default(),
            ended: AtomicBool::new(false),
            origins: AtomicU64::new(1),
            transport: AtomicBool::new(false),
            link: AtomicBool::new(false),
            lock: AtomicU32::new(0),
        });
        (Control { queue: tx, shared: shared.clone() }, ControlReceiver { queue: rx, shared })
    }

    /// A number for a new source, to be put in its requests' `from`. 0 is the program itself.
    pub fn origin(&self) -> Origin {
        self.shared.origins.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks for something. It is taken before the next hop.
    ///
    /// # Errors
    /// [`Full`], also once the session is over.
    pub fn send(&self, request: Request) -> Result<(), Full> {
        self.queue.try_send(Sent { at: Instant::now(), request }).map_err(|_| Full)
    }

    /// The band as it was after the last hop.
    pub fn snapshot(&self) -> Snapshot {
        let known = f32::from_bits(self.shared.lock.load(Ordering::Relaxed));
        Snapshot { lock: known, ..lock(&self.shared.snapshot).clone() }
    }

    /// Tells how well the clock is known that the band follows, 0 to 1: who listens to that clock says so.
    pub fn locked(&self, known: f32) {
        self.shared.lock.store(known.to_bits(), Ordering::Relaxed);
    }

    /// Tells that JACK's transport has been heard.
    pub fn transport(&self) {
        self.shared.transport.store(true, Ordering::Relaxed);
    }

    /// Tells that Ableton Link can be followed: who does so hears of it when somebody asks the band to play.
    pub fn link(&self) {
        self.shared.link.store(true, Ordering::Relaxed);
    }

    /// Tells every listener a sentence for the musician.
    pub fn say(&self, what: String) {
        self.shared.tell(&Event::Said(what));
    }

    /// Everything that happens from now on. A listener that falls 1024 events behind misses the newest ones; drop it to stop listening.
    pub fn events(&self) -> Receiver<Event> {
        let (tx, rx) = sync_channel(BEHIND);
        lock(&self.shared.listeners).push(tx);
        rx
    }

    /// Ends the session after the hop that runs: takes are closed, devices given back.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
    }

    /// Somebody has ended the session.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }
}

impl ControlReceiver {
    /// The next request, in order; none when there is none.
    pub fn take(&self) -> Option<Sent> {
        self.queue.try_recv().ok()
    }

    /// There is a JACK transport to follow.
    pub fn has_transport(&self) -> bool {
        self.shared.transport.load(Ordering::Relaxed)
    }

    /// Ableton Link can be followed.
    pub fn has_link(&self) -> bool {
        self.shared.link.load(Ordering::Relaxed)
    }

    /// Tells every listener.
    pub fn tell(&self, event: &Event) {
        self.shared.tell(event);
    }

    /// Shows the band's state, and gives an older one back in its place to be filled anew. Where somebody is just looking, this one is
    /// not shown; the next is.
    pub fn publish(&self, snapshot: &mut Snapshot) {
        match self.shared.snapshot.try_lock() {
            Ok(mut shown) => std::mem::swap(&mut *shown, snapshot),
            Err(TryLockError::Poisoned(shown)) => std::mem::swap(&mut *shown.into_inner(), snapshot),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Somebody has ended the session.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// The session is over, whoever ended it.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use sideman_engine::live::Command;

    use super::*;

    fn tempo(bpm: f64, from: Origin) -> Request {
        Request { command: Command::Tempo(bpm), when: None, from }
    }

    #[test]
    fn requests_keep_their_order_and_a_flood_is_refused() {
        let (control, controls) = Control::new();
        let other = control.clone();
        for n in 0..QUEUE {
            let source = if n % 2 == 0 { &control } else { &other };
            source.send(tempo(n as f64, 0)).unwrap();
        }
        assert_eq!(control.send(tempo(1.0, 0)), Err(Full));
        for n in 0..QUEUE {
            assert_eq!(controls.take().unwrap().request, tempo(n as f64, 0));
        }
        assert!(controls.take().is_none());
        drop(controls);
        assert_eq!(control.send(tempo(1.0, 0)), Err(Full));
    }

    #[test]
    fn all_who_listen_hear_and_who_left_is_forgotten() {
        let (control, controls) = Control::new();
        let (a, b) = (control.events(), control.events());
        assert_ne!(control.origin(), control.origin());
        let event = Event::Applied { at: 640, request: tempo(100.0, 3) };
        controls.tell(&event);
        assert_eq!((a.recv().unwrap(), b.recv().unwrap()), (event.clone(), event));
        drop(a);
        controls.tell(&Event::Said("x".into()));
        assert_eq!(lock(&controls.shared.listeners).len(), 1);
        (0..2 * BEHIND).for_each(|_| controls.tell(&Event::Said("y".into())));
        assert_eq!(b.try_iter().count(), BEHIND);
    }

    #[test]
    fn a_reader_never_stops_the_desk() {
        let (control, controls) = Control::new();
        let mut next = Snapshot { bar: 5, ..Snapshot::default() };
        let looking = lock(&control.shared.snapshot);
        controls.publish(&mut next);
        drop(looking);
        assert_eq!((control.snapshot().bar, next.bar), (0, 5));
        controls.publish(&mut next);
        assert_eq!((control.snapshot().bar, next.bar), (5, 0));
        control.end();
        assert!(controls.ended());
    }
}
