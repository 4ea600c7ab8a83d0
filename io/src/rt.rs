//! The realtime rules, and thread priorities. Code in a device's callback
//!
//! 1. allocates nothing and frees nothing (callbacks get no heap values from other threads: samples are copied
//!    through rings, scalars are atomics);
//! 2. takes no lock, waits for no other thread, sends to no channel that may block;
//! 3. makes no system call: no file, no log, no clock but the device's, except in the first 0.25 s of two
//!    streams (`device::stream_clock`), and none that waits, except in JACK's freewheel, which is not in real time;
//! 4. does work bounded by its block: copies, fades, counts. No resampler, no model, no search;
//! 5. reports faults as counts that another thread reads: underruns are filled in, overruns are dropped.
//!
//! Every callback runs in [`callback`]. Rule 1 is checked by [`no_alloc`] in every test whose allocator is `assert_no_alloc::AllocDisabler`. It
//! also holds for the engine's thread inside `Session::hop`. Between hops that thread sends through
//! [`crate::mailbox`], which allocates nothing and takes no lock; only a request that holds a text is copied.
//! `tests/tests/realtime/` counts page faults and system calls of both, and of the callbacks of a real device.
//!
//! *Priority.* JACK and PipeWire run callbacks with realtime priority; ALSA's are raised to it here where the
//! user may. The engine and its workers get a low niceness and never realtime priority: they compute for tens
//! of ms, by default on every core, and spin while they wait for each other. A realtime engine on a machine
//! that is too slow would leave no core to the terminal that should stop it, and an engine with priority over
//! its own workers would wait for them without end.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use thread_priority::{
    Error, NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

static ALLOCATIONS: AtomicU32 = AtomicU32::new(0);

/// Runs `f`, which must not allocate or free memory; violations are counted.
pub fn no_alloc<T>(f: impl FnOnce() -> T) -> T {
    let before = assert_no_alloc::violation_count();
    let out = assert_no_alloc::assert_no_alloc(f);
    ALLOCATIONS.fetch_add(assert_no_alloc::violation_count() - before, Ordering::Relaxed);
    out
}

/// Violations inside [`no_alloc`] so far, on any thread. Always 0 where the allocator is not the checking
/// one.
pub fn allocations() -> u32 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// A callback that a device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callback {
    /// Takes input samples.
    Input,
    /// Gives output samples.
    Output,
    /// Both in one (JACK).
    Duplex,
    /// Hears of an error of the device.
    Error,
}

/// What a test runs in place of each callback: it has to call the closure, which is the callback.
pub type Observer = fn(Callback, &mut dyn FnMut());

static OBSERVER: OnceLock<Observer> = OnceLock::new();

/// Runs `observer` in place of every callback of this process, so that a test can measure what happens on a
/// callback's own thread. Only the first call counts.
pub fn observe(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

/// Runs `f`, the body of a device's callback, which must keep the rules above.
pub fn callback(callback: Callback, f: impl FnOnce()) {
    let Some(observer) = OBSERVER.get() else { return no_alloc(f) };
    let mut f = Some(f);
    observer(callback, &mut || f.take().into_iter().for_each(no_alloc));
}

/// Flushes denormals to zero on this thread and those that it starts. Call it before a `CpuBackend` is made,
/// so that its workers compute the same bits as the caller.
pub fn flush_denormals() {
    sideman_kernels::denormal::off();
}

/// Gives this thread, and those that it starts, the lowest niceness that the system allows.
///
/// # Errors
/// The system allows none below 0; what would. Not fatal.
pub fn raise_priority() -> Result<(), String> {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let most = ThreadPriority::Crossplatform(90u8.try_into().map_err(|e| format!("{e:?}"))?);
    set_thread_priority_and_policy(thread_native_id(), most, policy).map_err(|e| {
        format!("the engine's thread has ordinary priority ({e:?}); as root, or with a nice limit of -15, it comes first")
    })
}

/// Runs `f` on a thread with low niceness, which the threads that it starts inherit: a backend's workers need
/// the priority of the engine that waits for them.
pub fn with_raised_priority<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let raised = || {
        // The engine's thread reports the failure.
        let _ = raise_priority();
        f()
    };
    std::thread::scope(|scope| scope.spawn(raised).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Gives a callback's thread realtime priority, where it has none yet (ALSA) and the user may. Allocates
/// nothing.
///
/// # Errors
/// The system does not allow it.
pub fn make_realtime() -> Result<(), Error> {
    if !cfg!(target_os = "linux") || !matches!(thread_schedule_policy()?, ThreadSchedulePolicy::Normal(_)) {
        return Ok(());
    }
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let priority = ThreadPriority::Crossplatform(20u8.try_into().map_err(|_| Error::Priority("20 of 99"))?);
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
}

/// The priorities that this user's threads get on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priorities {
    /// The engine's niceness can be lowered.
    pub engine_raised: bool,
    /// A callback on ALSA can get realtime priority.
    pub callback_realtime: bool,
    /// The kernel applies niceness within each terminal only (autogroup).
    pub autogroup: bool,
}

impl Priorities {
    /// Tries them on a thread that ends at once.
    pub fn find() -> Priorities {
        let find = || (raise_priority().is_ok(), make_realtime().is_ok());
        let (engine_raised, callback_realtime) = std::thread::spawn(find).join().unwrap_or_default();
        let setting = std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
        Priorities { engine_raised, callback_realtime, autogroup: setting.is_ok_and(|on| on.trim() == "1") }
    }
}

impl fmt::Display for Priorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = if self.engine_raised { "before other programs" } else { "as other programs" };
        let scope = if self.autogroup { " of its terminal (autogroup)" } else { "" };
        let callback = if self.callback_realtime { "realtime" } else { "as other programs" };
        write!(f, "engine {engine}{scope}, callback on ALSA {callback}")?;
        if !self.callback_realtime {
            write!(f, "; an rtprio limit of 20 and a nice limit of -15 would change that")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_alloc_returns_the_value_of_the_closure() {
        assert_eq!(super::no_alloc(|| 7), 7);
    }

    #[test]
    fn a_callback_gets_realtime_priority_where_the_user_may() {
        let policy = || {
            let done = make_realtime();
            (done.is_ok(), thread_schedule_policy().unwrap())
        };
        let (done, policy) = std::thread::spawn(policy).join().unwrap();
        assert_eq!(done && cfg!(target_os = "linux"), matches!(policy, ThreadSchedulePolicy::Realtime(_)), "{policy:?}");
        assert_eq!(Priorities::find().callback_realtime, done);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn workers_have_the_niceness_of_the_engine() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // Field 19; the second one is a name in brackets.
            stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = nice();
        let inside = with_raised_priority(|| std::thread::spawn(nice).join().unwrap());
        let engine = std::thread::spawn(move || (raise_priority(), nice()).1).join().unwrap();
        assert_eq!((inside, nice()), (engine, before));
    }
}
