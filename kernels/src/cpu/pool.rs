//! A fixed pool of threads that divide the items of one operation after another.
//!
//! An operation of a step lasts 10 µs to 1 ms, and the next one follows at once, so workers spin for a while before they park.
//! The caller is worker 0. Workers take items from a shared counter; when none is left, the caller closes the job and waits only
//! for workers that have begun. So a descheduled worker slows the operation by its share of the work, never by the time it takes
//! to wake up.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::thread::{self, JoinHandle};

/// Polls of the state before a worker parks: 100 to 300 µs, by the processor. What the caller does alone within a hop is shorter
/// (the listener takes 100 µs a frame), so that workers park between hops and not within one.
const SPINS: u32 = 8000;
/// Polls before the caller, which waits for a worker, lets another thread run.
const YIELD_AFTER: u32 = 4000;
/// The state: number of the job in the high half, [`CLOSED`], and the number of active workers in the low bits.
const CLOSED: u64 = 1 << 31;
const ACTIVE: u64 = (1 << 31) - 1;

type Item<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// The workers of one backend; the caller is worker 0.
pub(super) struct Pool {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
    /// Operations that were divided, and threads woken for them.
    fork_joins: (u64, u64),
}

struct Inner {
    state: AtomicU64,
    next: AtomicUsize,
    job: UnsafeCell<(Item<'static>, usize)>,
    parked: Vec<AtomicBool>,
    panicked: AtomicBool,
    quit: AtomicBool,
    started: AtomicUsize,
}

// SAFETY: only the caller writes `job`, while the state is closed and no worker is active; workers read it only after they have
// entered an open state.
unsafe impl Sync for Inner {}
// SAFETY: the job's reference is to a Sync closure.
unsafe impl Send for Inner {}

impl Pool {
    /// `threads` workers, the caller included (0 counts as 1). The pool is smaller where a thread can't be made.
    pub(super) fn new(threads: usize) -> Pool {
        let inner = Arc::new(Inner {
            state: AtomicU64::new(CLOSED),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new((&|_, _| {}, 0)),
            parked: (1..threads).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            started: AtomicUsize::new(0),
        });
        let start = |worker: usize| {
            let inner = inner.clone();
            thread::Builder::new().name(format!("kernels {worker}")).spawn(move || inner.work(worker)).ok()
        };
        let threads: Vec<_> = (1..threads).map_while(start).collect();
        // A thread allocates when it starts; on a busy machine that could happen during playback.
        while inner.started.load(Acquire) < threads.len() {
            thread::yield_now();
        }
        Pool { inner, threads, fork_joins: (0, 0) }
    }

    /// Workers, the caller included.
    pub(super) fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Operations that were divided so far, and threads that were woken for them.
    pub(super) fn fork_joins(&self) -> (u64, u64) {
        self.fork_joins
    }

    /// Calls `f(worker, item)` once for each item in 0..items, on any worker, and returns when all are done.
    pub(super) fn each(&mut self, items: usize, f: Item) {
        if items <= 1 || self.threads.is_empty() {
            return (0..items).for_each(|item| f(0, item));
        }
        let inner = &*self.inner;
        // SAFETY: only the lifetime changes; `Close` below keeps this call from returning while a worker uses `f`.
        let f: Item<'static> = unsafe { std::mem::transmute(f) };
        // SAFETY: the state is closed and no worker is active (the previous call ended so): nobody reads the job.
        unsafe { *inner.job.get() = (f, items) };
        inner.next.store(0, Relaxed);
        let epoch = (inner.state.load(Relaxed) >> 32) + 1;
        inner.state.store(epoch << 32, SeqCst);
        self.fork_joins.0 += 1;
        let close = Close(inner);
        for (parked, thread) in inner.parked.iter().zip(&self.threads).take(items - 1) {
            if parked.load(SeqCst) && parked.swap(false, SeqCst) {
                thread.thread().unpark();
                self.fork_joins.1 += 1;
            }
        }
        inner.items(0, f, items);
        drop(close);
        assert!(!inner.panicked.swap(false, Relaxed), "a worker of the pool panicked");
    }
}

/// Closes the job and waits for the active workers, also when an item of the caller panics.
struct Close<'a>(&'a Inner);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let mut spins = 0u32;
        let mut state = self.0.state.fetch_or(CLOSED, AcqRel);
        while state & ACTIVE != 0 {
            spins += 1;
            if spins < YIELD_AFTER {
                std::hint::spin_loop()
            } else {
                thread::yield_now()
            }
            state = self.0.state.load(Acquire);
        }
    }
}

impl Inner {
    fn items(&self, worker: usize, f: Item, items: usize) {
        loop {
            let item = self.next.fetch_add(1, Relaxed);
            if item >= items {
                return;
            }
            f(worker, item);
        }
    }

    fn work(&self, worker: usize) {
        self.started.fetch_add(1, Release);
        let parked = &self.parked[worker - 1];
        let (mut seen, mut spins) = (0, 0);
        while !self.quit.load(Acquire) {
            let state = self.state.load(SeqCst);
            if state >> 32 != seen {
                spins = 0;
                if state & CLOSED != 0 {
                    seen = state >> 32;
                } else if self.state.compare_exchange(state, state + 1, AcqRel, Relaxed).is_ok() {
                    seen = state >> 32;
                    // SAFETY: this worker is counted as active, so the caller waits for it before it changes the job.
                    let (f, items) = unsafe { *self.job.get() };
                    if catch_unwind(AssertUnwindSafe(|| self.items(worker, f, items))).is_err() {
                        self.panicked.store(true, Relaxed);
                    }
                    self.state.fetch_sub(1, Release);
                }
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                parked.store(true, SeqCst);
                // The caller stores the state, then loads `parked`; here it is the other way round. One of the two sees the other.
                if self.state.load(SeqCst) >> 32 == seen && !self.quit.load(SeqCst) {
                    thread::park();
                }
                parked.store(false, SeqCst);
                spins = 0;
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.inner.quit.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A worker's panic has been reported by `each`.
            let _ = thread.join();
        }
    }
}

/// A slice that several workers write to, each in its own ranges.
#[derive(Clone, Copy)]
pub(super) struct Shared<T> {
    at: *mut T,
    len: usize,
}

// SAFETY: sending it gives no access by itself: `slice` is unsafe, and its caller keeps ranges apart.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn new(slice: &mut [T]) -> Self {
        Shared { at: slice.as_mut_ptr(), len: slice.len() }
    }

    /// `len` values from `at`.
    ///
    /// # Safety
    /// The slice that this was made of must still be borrowed, and no other live slice may overlap this one.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn slice(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at <= self.len && len <= self.len - at, "{len} values at {at} of {}", self.len);
        // SAFETY: in bounds by the assertion; alive and not aliased by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(at), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_once_with_any_number_of_workers() {
        for threads in [0, 1, 2, 3, 5] {
            let mut pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads.max(1));
            for round in 0..300 {
                let items = round % 17;
                let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                pool.each(items, &|worker, item| {
                    assert!(worker < threads.max(1));
                    counts[item].fetch_add(1, Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Relaxed) == 1), "{threads} threads, {items} items");
                if round % 100 == 99 {
                    // Long enough for the workers to park.
                    thread::sleep(std::time::Duration::from_millis(3));
                }
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_still_works() {
        let mut pool = Pool::new(3);
        for bad in 0..8 {
            let panics = catch_unwind(AssertUnwindSafe(|| pool.each(8, &|_, item| assert!(item != bad, "on purpose"))));
            assert!(panics.is_err());
        }
        let sum = AtomicUsize::new(0);
        pool.each(100, &|_, item| {
            sum.fetch_add(item, Relaxed);
        });
        assert_eq!(sum.load(Relaxed), 4950);
    }
}
