//! The callbacks that cpal runs on an ALSA device, and what it calls when the device has an error.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sideman_io::rt::{self, Callback};
use sideman_tests::jackd::{Server, deadline, turn};
use sideman_tests::manual_device::ManualDevice;
use sideman_tests::{alsa, stage};

use super::{RATE, alone, page_faults, trap_system_calls, trapped};

/// Callbacks of a stream in which code and stack are used for the first time, and latencies are measured.
const FIRST: u64 = 20;
/// Callbacks after which page faults were counted; system calls are trapped from then on.
const TRAP: u64 = 150;
/// Callbacks of a stream that a test waits for.
const ENOUGH: u64 = 300;

/// Page faults in callbacks.
static FAULTS: AtomicU64 = AtomicU64::new(0);
/// Callbacks of the input and of the output that have returned.
static RETURNED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// Errors that were reported.
static ERRORS: AtomicU64 = AtomicU64::new(0);
/// What is done around callbacks.
static MODE: AtomicU8 = AtomicU8::new(NOTHING);
const NOTHING: u8 = 0;
/// Page faults are counted, then system calls are trapped.
const MEASURE: u8 = 1;
/// Callbacks are late once, and threads end in the callback for errors.
const DISTURB: u8 = 2;

thread_local! {
    /// Callbacks of this thread so far.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Runs in place of each callback.
fn measure(which: Callback, callback: &mut dyn FnMut()) {
    let n = COUNT.replace(COUNT.get() + 1);
    let mode = MODE.load(Ordering::Relaxed);
    match which {
        Callback::Error if mode == DISTURB => {
            trap_system_calls(&[libc::SYS_clock_nanosleep]);
            callback();
            ERRORS.fetch_add(1, Ordering::Relaxed);
            // What cpal does next makes system calls. The thread sleeps until the process ends.
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Callback::Error => callback(),
        Callback::Input | Callback::Output | Callback::Duplex => {
            if mode != MEASURE {
                callback();
            } else if n < TRAP {
                // Counting has page faults of its own at first.
                let before: u64 = page_faults().iter().sum();
                callback();
                let faults = page_faults().iter().sum::<u64>() - before;
                FAULTS.fetch_add(if n < FIRST { 0 } else { faults }, Ordering::Relaxed);
            } else {
                if n == TRAP {
                    // Between callbacks ALSA waits for the device, and its plugin reads a pipe.
                    trap_system_calls(&[libc::SYS_poll, libc::SYS_read]);
                }
                callback();
            }
            RETURNED[usize::from(which == Callback::Output)].fetch_add(1, Ordering::Relaxed);
            if mode == DISTURB && n == FIRST {
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    }
}

fn wait_for(what: &str, happened: impl Fn() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not within 60 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn callbacks_returned(n: u64) -> bool {
    RETURNED.iter().all(|returned| returned.load(Ordering::Relaxed) >= n)
}

/// A system call of ALSA itself between two callbacks would fail the test as well.
#[test]
fn callbacks_on_alsa_have_no_page_fault_and_make_no_system_call() {
    let _alone = alone();
    let (_turn, _deadline) = (turn(), deadline(120));
    if !alsa::available("alsa::callbacks_on_alsa_have_no_page_fault_and_make_no_system_call") {
        return;
    }
    let _server = Server::start(alsa::PERIOD);
    let trapped = trapped();
    let device = ManualDevice::with(super::config(), RATE, None, None);
    rt::observe(measure);
    RETURNED.iter().for_each(|returned| returned.store(0, Ordering::Relaxed));
    MODE.store(MEASURE, Ordering::Relaxed);
    let stream = alsa::open(&device.handle);
    device.control.send(stage::now(sideman_engine::live::Command::Hop(2))).unwrap();
    wait_for("callbacks", || callbacks_returned(ENOUGH));
    let (seen, faults) = (trapped.load(Ordering::Relaxed), FAULTS.load(Ordering::Relaxed));
    // Its threads can make no system call any more, so they can't be ended.
    std::mem::forget(stream);
    device.end();
    assert_eq!(faults, 0, "page faults in callbacks");
    assert_eq!(seen, 0, "a callback made a system call");
}

#[test]
fn an_underrun_and_an_overrun_of_alsa_are_counted_without_a_system_call() {
    let _alone = alone();
    let (_turn, _deadline) = (turn(), deadline(120));
    if !alsa::available("alsa::an_underrun_and_an_overrun_of_alsa_are_counted_without_a_system_call") {
        return;
    }
    let _server = Server::start(alsa::PERIOD);
    let trapped = trapped();
    let device = ManualDevice::with(super::config(), RATE, None, None);
    rt::observe(measure);
    RETURNED.iter().for_each(|returned| returned.store(0, Ordering::Relaxed));
    MODE.store(DISTURB, Ordering::Relaxed);
    let stream = alsa::open(&device.handle);
    // An underrun and an overrun.
    wait_for("two errors", || ERRORS.load(Ordering::Relaxed) == 2);
    assert_eq!(stream.stats().xruns.load(Ordering::Relaxed), 2);
    assert_eq!(stream.failure(), None, "the device is not lost");
    let seen = trapped.load(Ordering::Relaxed);
    std::mem::forget(stream);
    device.end();
    assert_eq!(seen, 0, "the callback for errors made a system call");
}

/// The jack plugin of ALSA reports no error when the server ends.
#[test]
fn a_device_that_asks_for_no_samples_any_more_counts_as_lost() {
    let _alone = alone();
    let (_turn, _deadline) = (turn(), deadline(120));
    if !alsa::available("alsa::a_device_that_asks_for_no_samples_any_more_counts_as_lost") {
        return;
    }
    let server = Server::start(alsa::PERIOD);
    let device = ManualDevice::with(super::config(), RATE, None, None);
    MODE.store(NOTHING, Ordering::Relaxed);
    let stream = alsa::open(&device.handle);
    // As often as the supervisor looks.
    let look = || {
        std::thread::sleep(Duration::from_millis(50));
        stream.failure()
    };
    wait_for("callbacks", || look().is_none() && stream.stats().frames.load(Ordering::Relaxed) > 0);
    (0..40).for_each(|_| assert_eq!(look(), None));
    drop(server);
    wait_for("a lost device", || look().is_some());
    drop(stream);
    device.end();
}
