//! The control of a running session: a bounded queue of requests to the runner, events back to all listeners, and the newest [`Snapshot`].
//!
//! Keys, OSC, MIDI and the command line have a [`Control`] each; the runner has the one [`ControlReceiver`].
//!
//! *Threads.* Each method of [`Control`] may be called in any thread except an audio callback, and never waits for the engine. The receiver
//! never waits for a reader of snapshots. Against devices it never waits for a listener either ([`ControlReceiver::forward_events`]).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sideman_engine::live::{Origin, Request, Snapshot};

use crate::event::{EngineEvent, Event};
use crate::mailbox::{MailSender, NoMail, mailbox};
use crate::published;

/// The most requests that may be queued for the next hop. A musician makes about ten a second, and a hop is 80 ms: more is a flood.
const QUEUE: usize = 256;
/// The most events that may be queued for a listener, and on the way to all of them.
const BEHIND: usize = 1024;
/// How often lost events are reported while none is sent.
const LOOK: Duration = Duration::from_millis(500);

/// The queue is full: a source floods it, or the session has ended. The request is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "already {QUEUE} requests are queued: this one is dropped")
    }
}

impl std::error::Error for Full {}

/// A request in the queue, with the time at which it was sent, which tap tempo needs.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When it was sent.
    pub at: Instant,
    /// The request.
    pub request: Request,
}

/// The sender's side. Clones share the queue and the snapshot.
#[derive(Clone)]
pub struct Control {
    queue: SyncSender<Sent>,
    shared: Arc<Shared>,
}

/// The runner's side.
pub struct ControlReceiver {
    queue: Receiver<Sent>,
    snapshot: triple_buffer::Input<Snapshot>,
    shared: Arc<Shared>,
    /// Takes events to the thread that sends them to the listeners; without it they are sent at once.
    forwarded: Option<MailSender<Event>>,
}

struct Shared {
    /// The readers' end. Readers wait for each other; the engine never waits for them.
    snapshot: Mutex<triple_buffer::Output<Snapshot>>,
    listeners: Mutex<Vec<SyncSender<Event>>>,
    ended: AtomicBool,
    origins: AtomicU64,
    /// The state of JACK transport has arrived.
    transport: AtomicBool,
    /// Ableton Link can be followed.
    link: AtomicBool,
    /// How well the followed clock is known, as the bits of an f32.
    lock: AtomicU32,
    /// Events for which there was no room on the way to the listeners.
    lost_events: AtomicU64,
}

impl Shared {
    fn tell(&self, event: &Event) {
        lock(&self.listeners).retain(|listener| !matches!(listener.try_send(event.clone()), Err(TrySendError::Disconnected(_))));
    }
}

/// Takes a lock, poisoned or not: every write is one assignment, so the value is valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// A new queue: its first sender, and its receiver.
    pub fn new() -> (Control, ControlReceiver) {
        let (tx, rx) = sync_channel(QUEUE);
        let (snapshot, snapshots) = triple_buffer::triple_buffer(&Snapshot::default());
        let shared = Arc::new(Shared {
            snapshot: Mutex::new(snapshots),
            listeners: Mutex::default(),
            ended: AtomicBool::new(false),
            origins: AtomicU64::new(1),
            transport: AtomicBool::new(false),
            link: AtomicBool::new(false),
            lock: AtomicU32::new(0),
            lost_events: AtomicU64::new(0),
        });
        (Control { queue: tx, shared: shared.clone() }, ControlReceiver { queue: rx, snapshot, shared, forwarded: None })
    }

    /// A new number for a source of requests, for their `from`. 0 is the program itself.
    pub fn origin(&self) -> Origin {
        self.shared.origins.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request. It is taken before the next hop.
    ///
    /// # Errors
    /// [`Full`]: the queue is full, or the session has ended.
    pub fn send(&self, request: Request) -> Result<(), Full> {
        self.queue.try_send(Sent { at: Instant::now(), request }).map_err(|_| Full)
    }

    /// The snapshot of the last hop.
    pub fn snapshot(&self) -> Snapshot {
        let known = f32::from_bits(self.shared.lock.load(Ordering::Relaxed));
        Snapshot { lock: known, ..lock(&self.shared.snapshot).read().clone() }
    }

    /// Sets how well the clock that the session follows is known, 0 to 1. Called by the thread that receives it.
    pub fn locked(&self, known: f32) {
        self.shared.lock.store(known.to_bits(), Ordering::Relaxed);
    }

    /// The state of JACK transport has arrived: it can be followed.
    pub fn transport(&self) {
        self.shared.transport.store(true, Ordering::Relaxed);
    }

    /// Ableton Link can be followed: its thread gets the commands to play, and starts the session on a shared bar line.
    pub fn link(&self) {
        self.shared.link.store(true, Ordering::Relaxed);
    }

    /// Sends an event to every listener.
    pub fn tell(&self, event: impl Into<Event>) {
        self.shared.tell(&event.into());
    }

    /// Sends a message of OSC, MIDI or Link to every listener.
    pub fn say(&self, what: String) {
        self.shared.tell(&Event::Controls(what));
    }

    /// Subscribes to all events from now on. A listener that is 1024 events behind misses the newest ones. Dropping it unsubscribes.
    pub fn events(&self) -> Receiver<Event> {
        let (tx, rx) = sync_channel(BEHIND);
        lock(&self.shared.listeners).push(tx);
        rx
    }

    /// Ends the session after the current hop: takes and devices are closed.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
    }

    /// Whether the session has been ended.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }
}

impl ControlReceiver {
    /// The next request, in order.
    pub fn take(&self) -> Option<Sent> {
        self.queue.try_recv().ok()
    }

    /// Whether JACK transport can be followed.
    pub fn has_transport(&self) -> bool {
        self.shared.transport.load(Ordering::Relaxed)
    }

    /// Whether Ableton Link can be followed.
    pub fn has_link(&self) -> bool {
        self.shared.link.load(Ordering::Relaxed)
    }

    /// Sends an event to every listener.
    pub fn tell(&mut self, event: Event) {
        match &mut self.forwarded {
            None => self.shared.tell(&event),
            Some(forwarded) => {
                if forwarded.send(event).is_err() {
                    self.shared.lost_events.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// From now on events reach the listeners over a thread of their own, so that [`ControlReceiver::tell`] allocates nothing and
    /// takes no lock. Events for which there is no room are counted, and the number is an event. The thread ends when this receiver is
    /// dropped; join it to be sure that every event has been sent.
    ///
    /// # Errors
    /// The system makes no thread: events are sent as before.
    pub fn forward_events(&mut self) -> std::io::Result<JoinHandle<()>> {
        let (sender, mut events) = mailbox(BEHIND, || Event::Controls(String::new()));
        let shared = self.shared.clone();
        let forward = move || {
            loop {
                let next = events.next_within(LOOK);
                let lost = shared.lost_events.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    shared.tell(&EngineEvent::EventsLost { count: lost }.into());
                }
                match next {
                    Ok(event) => shared.tell(&event),
                    Err(NoMail::Empty) => {}
                    Err(NoMail::Closed) => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("events".into()).spawn(forward)?;
        self.forwarded = Some(sender);
        Ok(thread)
    }

    /// Publishes a snapshot to all readers. Never waits for one of them, and keeps the memory of older ones.
    pub fn publish(&mut self, snapshot: &Snapshot) {
        published::copy(snapshot, self.snapshot.input_buffer_mut());
        self.snapshot.publish();
    }

    /// Whether the session has been ended.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Marks the session as ended.
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
    fn every_listener_gets_events_and_a_dropped_one_is_removed() {
        let (control, mut controls) = Control::new();
        let (a, b) = (control.events(), control.events());
        assert_ne!(control.origin(), control.origin());
        let event = Event::Applied { at: 640, request: tempo(100.0, 3) };
        controls.tell(event.clone());
        assert_eq!((a.recv().unwrap(), b.recv().unwrap()), (event.clone(), event));
        drop(a);
        controls.tell(Event::Controls("x".into()));
        assert_eq!(lock(&controls.shared.listeners).len(), 1);
        (0..2 * BEHIND).for_each(|_| controls.tell(Event::Controls("y".into())));
        assert_eq!(b.try_iter().count(), BEHIND);
    }

    #[test]
    fn a_listener_that_is_being_added_does_not_keep_the_engine_waiting_and_lost_events_are_counted() {
        let (control, mut controls) = Control::new();
        let heard = control.events();
        let thread = controls.forward_events().unwrap();
        // Whoever adds a listener holds the list, for as long as the system likes.
        let adding = lock(&control.shared.listeners);
        let late = |n: usize| Event::Engine(EngineEvent::LateHop { late: n as f64 });
        let sent = 3 * BEHIND;
        for n in 0..sent {
            // It would never return if it waited.
            controls.tell(late(n));
        }
        drop(adding);
        drop(controls);
        thread.join().unwrap();
        let (mut events, mut lost, mut newest) = (0, 0, -1.0);
        for event in heard.try_iter() {
            match event {
                Event::Engine(EngineEvent::EventsLost { count }) => lost += count as usize,
                Event::Engine(EngineEvent::LateHop { late }) => {
                    assert!(late > newest, "event {late} after {newest}");
                    (events, newest) = (events + 1, late);
                }
                other => panic!("{other:?}"),
            }
        }
        // The listener's own queue ends at 1024.
        assert!(events + lost >= BEHIND && lost >= sent - BEHIND - 2 && lost < sent, "{events} came, {lost} were lost");
    }

    #[test]
    fn a_snapshot_is_published_while_a_reader_looks_at_another() {
        let (control, mut controls) = Control::new();
        let at_bar = |bar| Snapshot { bar, ..Snapshot::default() };
        controls.publish(&at_bar(4));
        let mut reader = lock(&control.shared.snapshot);
        let read = reader.read();
        controls.publish(&at_bar(5));
        assert_eq!(read.bar, 4);
        drop(reader);
        assert_eq!(control.snapshot().bar, 5);
        control.end();
        assert!(controls.ended());
    }
}
