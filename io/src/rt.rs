//! The realtime rules. What runs in a device's callback
//!
//! 1. allocates nothing and frees nothing (no heap crosses into a callback: samples are copied, scalars are atomics);
//! 2. takes no lock, waits for no other thread, sends to no channel that may block;
//! 3. makes no system call: no file, no log, no clock beyond what the device gives, but while two streams find each other (`device::air`);
//! 4. does work bounded by its block: copies, fades, counts. No resampler, no model, no search;
//! 5. meets what goes wrong by a count that somebody else reads: too little is filled in, too much is dropped, both by name.
//!
//! Rule 1 is checked by [`no_alloc`] in every test whose allocator is `assert_no_alloc::AllocDisabler`. The engine's thread keeps it
//! inside `Session::hop`, may allocate between hops, and is no realtime thread: its workers spin for bounded times, and a spinning worker
//! with realtime priority would starve the audio thread that it feeds.

use std::sync::atomic::{AtomicU32, Ordering};

use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};

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

/// Denormals off on this thread and those that it makes. Call it before the processor (`Cpu`) is made, so that its workers compute as the
/// caller does, bit for bit.
pub fn quiet_denormals() {
    sideman_kernels::denormal::off();
}

/// The engine's thread before other programs: niceness as low as the system lets. A failure is a message, no more.
pub fn favour_this_thread() -> Result<(), String> {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let most = ThreadPriority::Crossplatform(90u8.try_into().map_err(|e| format!("{e:?}"))?);
    thread_priority::set_thread_priority_and_policy(thread_priority::thread_native_id(), most, policy).map_err(|e| {
        format!("the engine's thread has ordinary priority ({e:?}); as root, or with a nice limit of -15, it comes first")
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_alloc_gives_back_what_the_closure_gives() {
        assert_eq!(super::no_alloc(|| 7), 7);
    }
}
