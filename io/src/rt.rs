//! The realtime rules. What runs in a device's callback
//!
//! 1. allocates nothing and frees nothing (no heap crosses into a callback: samples are copied, scalars are atomics);
//! 2. takes no lock, waits for no other thread, sends to no channel that may block;
//! 3. makes no system call: no file, no log, no clock beyond what the device gives, but while two streams find each other (`device::stream_clock`);
//! 4. does work bounded by its block: copies, fades, counts. No resampler, no model, no search;
//! 5. meets what goes wrong by a count that somebody else reads: too little is filled in, too much is dropped, both by name.
//!
//! Rule 1 is checked by [`no_alloc`] in every test whose allocator is `assert_no_alloc::AllocDisabler`. The engine's thread keeps it
//! inside `Session::hop`, and may allocate between hops.
//!
//! *Priority.* A callback has what its system gives it: JACK's and PipeWire's are realtime; ALSA's is made so here where the user may. The
//! engine and its workers come before other programs by niceness and are never realtime: they compute for tens of ms, on every core unless told
//! otherwise, and spin while they wait for each other. A realtime engine that is too slow for its machine would leave no core to the terminal that
//! should stop it, and an engine with priority over its own workers would wait for them for ever.

use std::sync::atomic::{AtomicU32, Ordering};

use thread_priority::{
    Error, NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

static ALLOCATIONS: AtomicU32 = AtomicU32::new(0);

/// Runs `f` where memory may be neither allocated nor freed; violations are counted.
pub fn no_alloc<T>(f: impl FnOnce() -> T) -> T {
    let before = assert_no_alloc::violation_count();
    let out = assert_no_alloc::assert_no_alloc(f);
    ALLOCATIONS.fetch_add(assert_no_alloc::violation_count() - before, Ordering::Relaxed);
    out
}

/// Times that memory was allocated or freed inside of [`no_alloc`], on any thread. Always 0 where the allocator isn't the checking one.
pub fn allocations() -> u32 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Denormals off on this thread and those that it makes. Call it before the processor (`CpuBackend`) is made, so that its workers compute as the
/// caller does, bit for bit.
pub fn quiet_denormals() {
    sideman_kernels::denormal::off();
}

/// This thread, and those that it makes, before other programs: niceness as low as the system lets. A failure is a message, no more.
pub fn favour_this_thread() -> Result<(), String> {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let most = ThreadPriority::Crossplatform(90u8.try_into().map_err(|e| format!("{e:?}"))?);
    set_thread_priority_and_policy(thread_native_id(), most, policy).map_err(|e| {
        format!("the engine's thread has ordinary priority ({e:?}); as root, or with a nice limit of -15, it comes first")
    })
}

/// What `f` makes, on a thread that comes before other programs: the threads that are made in it do, too. A player's workers are to be as
/// early as the engine that waits for them.
pub fn favoured<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let favoured = || {
        // Where it can't be, the engine's thread says so.
        let _ = favour_this_thread();
        f()
    };
    std::thread::scope(|scope| scope.spawn(favoured).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A callback's thread before everything that isn't realtime, where it is not realtime yet and the user may. Allocates nothing. Only where
/// the system has left it ordinary: ALSA.
///
/// # Errors
/// The system doesn't let.
pub fn realtime_this_thread() -> Result<(), Error> {
    if !cfg!(target_os = "linux") || !matches!(thread_schedule_policy()?, ThreadSchedulePolicy::Normal(_)) {
        return Ok(());
    }
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let priority = ThreadPriority::Crossplatform(20u8.try_into().map_err(|_| Error::Priority("20 of 99"))?);
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
}

/// In words: what the engine and a callback on ALSA may have here.
pub fn priorities() -> String {
    let tried = || {
        let engine = if favour_this_thread().is_ok() { "comes before other programs" } else { "as other programs" };
        let callback = if realtime_this_thread().is_ok() { "realtime" } else { "as other programs" };
        (engine, callback)
    };
    let (engine, callback) = std::thread::spawn(tried).join().unwrap_or(("unknown", "unknown"));
    let help = if callback == "realtime" { "" } else { "; an rtprio limit of 20 and a nice limit of -15 would change that" };
    let grouped = std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|on| on.trim() == "1");
    let within = if grouped { " of its terminal (autogroup)" } else { "" };
    format!("engine {engine}{within}, callback on ALSA {callback}{help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_alloc_gives_back_what_the_closure_gives() {
        assert_eq!(super::no_alloc(|| 7), 7);
    }

    #[test]
    fn a_callback_is_realtime_where_it_may_be_and_ordinary_where_not() {
        let policy = || {
            let done = realtime_this_thread();
            (done.is_ok(), thread_schedule_policy().unwrap())
        };
        let (done, policy) = std::thread::spawn(policy).join().unwrap();
        assert_eq!(done && cfg!(target_os = "linux"), matches!(policy, ThreadSchedulePolicy::Realtime(_)), "{policy:?}");
        let said = priorities();
        assert_eq!(said.contains("callback on ALSA realtime"), done, "{said}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn workers_are_as_early_as_their_engine() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // Field 19; the second one is a name in brackets.
            stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = nice();
        let inside = favoured(|| std::thread::spawn(nice).join().unwrap());
        let engine = std::thread::spawn(move || (favour_this_thread(), nice()).1).join().unwrap();
        assert_eq!((inside, nice()), (engine, before));
    }
}
