//! Finds host code that accesses pinned memory too early. Until a queued copy has written a pinned buffer, its pages
//! are protected. The first access is noted and unprotects them, and reads the old bytes.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

const SLOTS: usize = 64;
const PAGE: u64 = 4096;

/// Protected ranges (start, end; 0 is a free slot), and for each slot the address that was accessed.
static START: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];
static END: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];
static TOUCHED: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];
static OLD: AtomicU64 = AtomicU64::new(0);
static INSTALL: Once = Once::new();

fn protect(start: u64, end: u64, how: i32) {
    // SAFETY: the range is whole pages of a buffer that this crate allocated page by page for pinned memory.
    unsafe { libc::mprotect(start as *mut libc::c_void, (end - start) as usize, how) };
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid siginfo to a SA_SIGINFO handler.
    let address = unsafe { (*info).si_addr() } as u64;
    for i in 0..SLOTS {
        let (start, end) = (START[i].load(SeqCst), END[i].load(SeqCst));
        if start != 0 && address >= start && address < end {
            TOUCHED[i].store(address, SeqCst);
            protect(start, end, libc::PROT_READ | libc::PROT_WRITE);
            return;
        }
    }
    // Not in a protected range: handled as if this handler were not installed.
    let old = OLD.load(SeqCst);
    if old == libc::SIG_DFL as u64 || old == libc::SIG_IGN as u64 {
        // SAFETY: restoring the default action is always allowed; the access then faults again and ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: `old` is the handler that was installed before ours (Rust's own, of the same three-argument form).
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = unsafe { std::mem::transmute(old as usize) };
    handler(signal, info, context);
}

fn install() {
    INSTALL.call_once(|| {
        // SAFETY: both structures are plain data that sigaction reads and fills; the handler only uses atomics and mprotect.
        unsafe {
            let mut new: libc::sigaction = std::mem::zeroed();
            let mut old: libc::sigaction = std::mem::zeroed();
            new.sa_sigaction = on_fault as *const () as usize;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            if libc::sigaction(libc::SIGSEGV, std::ptr::null(), &mut old) == 0 {
                OLD.store(old.sa_sigaction as u64, SeqCst);
                libc::sigaction(libc::SIGSEGV, &new, std::ptr::null_mut());
            }
        }
    });
}

/// Protects the pages of a pinned buffer, which shares them with nothing.
pub fn close(base: u64, bytes: u64) {
    install();
    let end = (base + bytes).next_multiple_of(PAGE);
    let slot = (0..SLOTS)
        .find(|i| START[*i].load(SeqCst) == base)
        .or_else(|| (0..SLOTS).find(|i| START[*i].load(SeqCst) == 0 && TOUCHED[*i].load(SeqCst) == 0));
    if let Some(i) = slot {
        END[i].store(end, SeqCst);
        START[i].store(base, SeqCst);
        protect(base, end, libc::PROT_NONE);
    }
}

/// Unprotects them, before the copy writes them or the buffer is freed.
pub fn open(base: u64) {
    for i in 0..SLOTS {
        if START[i].load(SeqCst) == base {
            protect(base, END[i].load(SeqCst), libc::PROT_READ | libc::PROT_WRITE);
            START[i].store(0, SeqCst);
        }
    }
}

/// Unprotects all.
pub fn open_all() {
    START.iter().map(|s| s.load(SeqCst)).filter(|s| *s != 0).for_each(open);
}

/// Addresses that were accessed too early since the last call.
pub fn touched() -> Vec<u64> {
    TOUCHED.iter().map(|t| t.swap(0, SeqCst)).filter(|a| *a != 0).collect()
}
