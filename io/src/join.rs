//! Joins threads in bounded time: a thread that hangs must not keep the session from closing its take.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest wait for a thread that was asked to end.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until a thread has ended, at most [`PATIENCE`]. Its result; `None`: it goes on, or has panicked. Then the session continues
/// without it.
pub fn join<T>(thread: JoinHandle<T>) -> Option<T> {
    join_within(thread, PATIENCE)
}

/// The same, with a longest wait.
pub fn join_within<T>(thread: JoinHandle<T>, patience: Duration) -> Option<T> {
    let began = Instant::now();
    while !thread.is_finished() {
        if began.elapsed() >= patience {
            tracing::warn!("the thread {:?} does not end: it is left behind", thread.thread().name().unwrap_or("without a name"));
            return None;
        }
        std::thread::sleep(LOOK);
    }
    thread.join().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_thread_that_hangs_is_left_behind() {
        let (end, ended) = channel::<()>();
        let hangs = std::thread::spawn(move || ended.recv().is_ok());
        assert_eq!(join_within(hangs, Duration::from_millis(20)), None);
        drop(end);
        assert_eq!(join(std::thread::spawn(|| 7)), Some(7));
        assert_eq!(join(std::thread::spawn(|| -> i32 { std::panic::resume_unwind(Box::new(())) })), None);
    }
}
