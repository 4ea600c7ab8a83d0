//! Functions for tests besides the CUDA API: configuration, faults found, counts. Rust tests use `Fake`.

use std::ffi::{CStr, c_char};

use super::code;
use super::config::Config;
use super::guard;
use super::state::{State, state};
use crate::machine::count;

fn text(s: String, to: *mut u8, room: usize) -> usize {
    if !to.is_null() {
        // SAFETY: the caller's buffer has `room` bytes.
        unsafe { std::ptr::copy_nonoverlapping(s.as_ptr(), to, s.len().min(room)) };
    }
    s.len()
}

/// Resets the driver (all handles and allocations are gone) and configures it with words as in `Config`.
/// Returns 0, or 1 for an unknown word.
///
/// # Safety
/// `words` points to a string that ends in 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fakecuda_configure(words: *const c_char) -> i32 {
    // SAFETY: by the contract.
    let words = unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned();
    let mut config = Config::default();
    if let Err(e) = config.apply(&words) {
        eprintln!("fakecuda: {e}");
        return 1;
    }
    guard::open_all();
    guard::touched();
    *state().lock().unwrap_or_else(|e| e.into_inner()) = State::new(config);
    0
}

/// Writes the faults found so far, one a line, and clears them; returns the length. With a null buffer, only the length.
///
/// # Safety
/// `to` is null or has `room` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fakecuda_faults(to: *mut u8, room: usize) -> usize {
    let mut s = state().lock().unwrap_or_else(|e| e.into_inner());
    s.collect_touches();
    let lines: Vec<String> = s.faults.iter().map(|f| f.to_string()).collect();
    if !to.is_null() {
        s.faults.clear();
    }
    text(lines.join("\n"), to, room)
}

/// Simulates a lost device: from now on every call that uses it fails with CUDA_ERROR_LAUNCH_FAILED. It is not noted as a
/// fault.
#[unsafe(no_mangle)]
pub extern "C" fn fakecuda_lose() {
    state().lock().unwrap_or_else(|e| e.into_inner()).sticky = Some(code::LAUNCH_FAILED);
}

/// Writes the counts of all kernels as JSON (`kind` 0) or as a table (1); returns the length.
///
/// # Safety
/// `to` is null or has `room` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fakecuda_counts(kind: i32, to: *mut u8, room: usize) -> usize {
    let s = state().lock().unwrap_or_else(|e| e.into_inner());
    text(if kind == 0 { count::json(&s.device.counts) } else { count::table(&s.device.counts) }, to, room)
}
