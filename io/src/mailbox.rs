//! A bounded queue from one thread to another whose sender allocates nothing, takes no lock and never waits. The
//! engine's thread sends events, MIDI messages and hops through it.
//!
//! Sending makes at most one system call, which wakes the receiver. What finds no room is given back to the
//! sender, who counts it or keeps it.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

/// Longest time until the receiver notices that the sender is gone.
const LOOK: Duration = Duration::from_millis(20);

/// A queue for `capacity` values. `any` makes a value: the queue is filled once and emptied, so that its memory is
/// there when it is used.
pub fn mailbox<T>(capacity: usize, any: impl Fn() -> T) -> (MailSender<T>, MailReceiver<T>) {
    let (mut sender, mut receiver) = HeapRb::new(capacity).split();
    sender.push_iter(std::iter::repeat_with(any).take(capacity));
    receiver.clear();
    let reader = Arc::new(OnceLock::new());
    (MailSender { ring: sender, reader: reader.clone() }, MailReceiver { ring: receiver, reader })
}

/// The sender's end. Dropping it closes the queue.
pub struct MailSender<T> {
    ring: HeapProd<T>,
    /// The thread that waits for values, once it has waited.
    reader: Arc<OnceLock<Thread>>,
}

impl<T> MailSender<T> {
    /// Sends a value.
    ///
    /// # Errors
    /// The value: there is no room for it, or the receiver is gone.
    pub fn send(&mut self, value: T) -> Result<(), T> {
        if !self.is_open() {
            return Err(value);
        }
        self.ring.try_push(value)?;
        // The receiver sets `reader`, then looks for a value; here it is the other way round. One of the two
        // sees the other.
        fence(Ordering::SeqCst);
        if let Some(thread) = self.reader.get() {
            thread.unpark();
        }
        Ok(())
    }

    /// Whether there is a receiver.
    pub fn is_open(&self) -> bool {
        self.ring.read_is_held()
    }
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMail {
    /// None has come yet.
    Empty,
    /// The sender is gone, and every value has been taken.
    Closed,
}

/// The receiver's end. It belongs to the thread that waits first.
pub struct MailReceiver<T> {
    ring: HeapCons<T>,
    reader: Arc<OnceLock<Thread>>,
}

impl<T> MailReceiver<T> {
    /// The next value, without waiting.
    ///
    /// # Errors
    /// There is none.
    pub fn try_next(&mut self) -> Result<T, NoMail> {
        // A sender that is gone has sent everything before.
        let closed = !self.ring.write_is_held();
        self.ring.try_pop().ok_or(if closed { NoMail::Closed } else { NoMail::Empty })
    }

    /// The next value; waits for it, at most for `wait`.
    ///
    /// # Errors
    /// There is none.
    pub fn next_within(&mut self, wait: Duration) -> Result<T, NoMail> {
        let began = Instant::now();
        self.reader.get_or_init(std::thread::current);
        loop {
            fence(Ordering::SeqCst);
            match self.try_next() {
                Err(NoMail::Empty) if began.elapsed() < wait => {
                    std::thread::park_timeout(LOOK.min(wait.saturating_sub(began.elapsed())));
                }
                next => return next,
            }
        }
    }

    /// The next value; waits for it. `None`: the sender is gone.
    pub fn wait(&mut self) -> Option<T> {
        self.next_within(Duration::MAX).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_in_order_and_what_finds_no_room_comes_back() {
        let (mut sender, mut receiver) = mailbox(3, || 0);
        assert_eq!(receiver.try_next(), Err(NoMail::Empty));
        for n in 0..3 {
            sender.send(n).unwrap();
        }
        assert_eq!(sender.send(3), Err(3));
        assert_eq!((0..2).map(|_| receiver.try_next().unwrap()).collect::<Vec<_>>(), [0, 1]);
        sender.send(4).unwrap();
        drop(sender);
        assert_eq!((receiver.wait(), receiver.wait(), receiver.wait()), (Some(2), Some(4), None));
        assert_eq!(receiver.try_next(), Err(NoMail::Closed));
    }

    #[test]
    fn a_receiver_that_is_gone_is_noticed() {
        let (mut sender, receiver) = mailbox(1, || 0);
        assert!(sender.is_open());
        drop(receiver);
        assert_eq!((sender.is_open(), sender.send(1)), (false, Err(1)));
    }

    #[test]
    fn a_receiver_on_another_thread_gets_every_value_and_the_end() {
        let (mut sender, mut receiver) = mailbox(4, || 0);
        let reader = std::thread::spawn(move || std::iter::from_fn(|| receiver.wait()).sum::<u64>());
        for n in 1..=10_000u64 {
            let mut value = n;
            while let Err(back) = sender.send(value) {
                value = back;
                std::thread::yield_now();
            }
        }
        drop(sender);
        assert_eq!(reader.join().unwrap(), 50_005_000);
    }
}
