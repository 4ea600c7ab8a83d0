//! The callbacks of a device and the engine's thread, while they play: no page fault, and no system call but those
//! that are listed here. This binary has the system's allocator: the one that counts allocations touches memory
//! that the system's leaves for later.
#![cfg(target_os = "linux")]

mod alsa;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};
use sideman_engine::live::{Action, Command, SessionConfig, Which};
use sideman_tests::manual_device::ManualDevice;
use sideman_tests::stage;

const RATE: u32 = 48_000;
const BLOCK: usize = 256;
/// Hops after which nothing is used for the first time.
const WARM: u64 = 50;

/// One test at a time: a signal is the whole process's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Page faults of the calling thread so far: without and with the disk.
fn page_faults() -> [u64; 2] {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // Fields 10 and 12; the second one is a name in brackets.
    let after: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [after[7], after[9]].map(|n| n.parse().unwrap())
}

/// Settings with everything that a hop can compute: guidance, chords by ear.
fn config() -> SessionConfig {
    SessionConfig { guided: true, cfg_scale: 3.0, chords: Some("ear".into()), ..stage::config(12) }
}

/// Plays `seconds`, and calls `around` for each callback with the number of its block and what runs it. `paced`: in
/// real time, so that the recorder keeps up; else as fast as the band plays.
fn play(device: &mut ManualDevice, seconds: usize, paced: bool, mut around: impl FnMut(usize, &mut dyn FnMut())) {
    // Never freed: that can be a system call, in the thread that makes none.
    static SAMPLES: LazyLock<Vec<f32>> = LazyLock::new(|| stage::bass(8 * RATE as usize, RATE));
    let samples = &*SAMPLES;
    let start = Instant::now();
    for n in 0..seconds * RATE as usize / BLOCK {
        let from = n * BLOCK % (samples.len() - BLOCK);
        let block = &samples[from..from + BLOCK];
        around(n, &mut || device.input(block));
        let began = Instant::now();
        while device.ports.output.ready() < BLOCK as u64 {
            assert!(began.elapsed() < Duration::from_secs(120), "no output at block {n}");
            std::thread::yield_now();
        }
        around(n, &mut || {
            device.output(BLOCK);
        });
        if paced {
            let due = Duration::from_secs_f64((n * BLOCK) as f64 / f64::from(RATE));
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        // Requests come while it plays.
        let request = match n {
            0 => Some(Command::Hop(2)),
            1000 => Some(Command::Stem(Which::All, Action::Freeze(1))),
            1500 => Some(Command::Stem(Which::All, Action::Freeze(0))),
            2000 => Some(Command::Tempo(112.0)),
            2500 => Some(Command::Stem(Which::One(1), Action::Gain(-3.0))),
            _ => None,
        };
        request.into_iter().for_each(|command| device.control.send(stage::now(command)).unwrap());
    }
}

#[test]
fn callbacks_have_no_page_fault_and_hops_none_after_the_first() {
    let _alone = alone();
    let (minor, major, hops) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (all_minor, all_major, count) = (minor.clone(), major.clone(), hops.clone());
    let mut before = None;
    let before_hop = Box::new(move |_: i64| {
        let now = page_faults();
        let n = count.fetch_add(1, Ordering::Relaxed);
        if let Some(last) = before.replace(now).filter(|_| n > WARM) {
            let [small, large]: [u64; 2] = [now[0] - last[0], now[1] - last[1]];
            if small > 0 {
                eprintln!("hop {n}: {small} page faults");
            }
            all_minor.fetch_add(small, Ordering::Relaxed);
            all_major.fetch_add(large, Ordering::Relaxed);
        }
    });
    let mut device = ManualDevice::with(config(), RATE, Some(before_hop), None);
    let mut callbacks = [0; 2];
    // Longer than the rings and the model's window.
    play(&mut device, 120, false, |n, callback| {
        let before = page_faults();
        callback();
        let after = page_faults();
        // The first blocks touch code and the stack.
        if n > 10 {
            (0..2).for_each(|i| callbacks[i] += after[i] - before[i]);
        }
    });
    device.end();
    let engine = [minor, major].map(|count| count.load(Ordering::Relaxed));
    eprintln!("{} hops: {engine:?} page faults; callbacks: {callbacks:?}", hops.load(Ordering::Relaxed));
    assert!(hops.load(Ordering::Relaxed) > 2000);
    assert_eq!(callbacks, [0; 2], "page faults in callbacks");
    assert_eq!(engine, [0; 2], "page faults between two hops");
}

/// Traps every system call of the calling thread from now on, for as long as it lives, except `allowed`, waking
/// another thread, and the end of the thread. A trapped call does nothing.
fn trap_system_calls(allowed: &[i64]) {
    let wake = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(0x7f), libc::FUTEX_WAKE as u64).unwrap();
    let always = [libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn, libc::SYS_clock_gettime];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = always.iter().chain(allowed).map(|call| (*call, vec![])).collect();
    rules.insert(libc::SYS_futex, vec![SeccompRule::new(vec![wake]).unwrap()]);
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, machine).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}

/// Is 1 once a system call was trapped, on any thread.
fn trapped() -> Arc<AtomicUsize> {
    let trapped = Arc::new(AtomicUsize::new(0));
    signal_hook::flag::register_usize(libc::SIGSYS, trapped.clone(), 1).unwrap();
    trapped
}

#[test]
fn a_trapped_system_call_is_seen() {
    let _alone = alone();
    let trapped = trapped();
    let thread = std::thread::spawn(|| {
        trap_system_calls(&[]);
        // It does nothing, and its result means nothing.
        let _ = std::fs::metadata("/");
    });
    thread.join().unwrap();
    assert_eq!(trapped.load(Ordering::Relaxed), 1);
}

/// The engine's thread sleeps between hops, and wakes the threads that it sends to. It makes no other system call:
/// none for memory, files or locks.
#[test]
fn the_engine_only_sleeps_and_wakes_other_threads() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let trapped = trapped();
    let over = Arc::new(AtomicBool::new(false));
    let (is_over, mut n) = (over.clone(), 0);
    let before_hop = Box::new(move |_: i64| {
        n += 1;
        if n == WARM {
            trap_system_calls(&[libc::SYS_clock_nanosleep, libc::SYS_nanosleep]);
        }
        // It can't end its session: that waits for the recorder. The thread sleeps until the process ends.
        while is_over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    let mut device = ManualDevice::with(config(), RATE, Some(before_hop), Some(dir.path().join("take")));
    let events = device.control.events();
    play(&mut device, 15, true, |_, callback| callback());
    over.store(true, Ordering::Relaxed);
    std::mem::forget(device);
    let seen = trapped.load(Ordering::Relaxed);
    assert_eq!(seen, 0, "the engine's thread made a system call; `strace -f` shows which");
    assert!(events.try_iter().count() >= 4, "the requests were answered");
}

/// Callbacks make no system call at all.
#[test]
fn callbacks_make_no_system_call() {
    let _alone = alone();
    let trapped = trapped();
    let mut device = ManualDevice::with(config(), RATE, None, None);
    let seen = trapped.clone();
    let thread = std::thread::spawn(move || {
        let mut calls = 0;
        play(&mut device, 30, false, |n, callback| {
            if n == 10 && calls == 0 {
                // The test itself waits for the engine, and sends requests.
                trap_system_calls(&[libc::SYS_sched_yield]);
                calls += 1;
            }
            callback();
        });
        let seen = seen.load(Ordering::Relaxed);
        (device, seen)
    });
    let (device, seen) = thread.join().unwrap();
    device.end();
    assert_eq!(seen, 0, "a callback made a system call");
}
