//! Launches and occupancy.

use std::ffi::{c_int, c_uint, c_void};

use super::api_context::give;
use super::code::{self, Code};
use super::queue::Work;
use super::state::{State, call, state};
use crate::machine::{FaultKind, Launch};

#[allow(clippy::too_many_arguments)]
unsafe fn launch(
    s: &mut State,
    function: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: u64,
    params: *mut *mut c_void,
    cooperative: bool,
) -> Result<(), Code> {
    s.lane(stream)?;
    let f = s.functions.get(&function).ok_or(code::INVALID_HANDLE)?;
    let (kernel, optin) = (f.kernel.clone(), f.dynamic_shared);
    let mut bytes = vec![0u8; kernel.param_bytes];
    if params.is_null() && !kernel.params.is_empty() {
        return s.refuse(FaultKind::BadArgument, format!("{} without arguments", kernel.name), code::INVALID_VALUE);
    }
    for (i, p) in kernel.params.iter().enumerate() {
        // SAFETY: the caller passes a pointer per parameter, each to that many bytes.
        unsafe {
            let from = *params.add(i);
            if from.is_null() {
                return Err(code::INVALID_VALUE);
            }
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), bytes[p.offset..].as_mut_ptr(), p.bytes);
        }
    }
    let trial = Launch { code: &kernel, grid, block, dynamic_shared: shared, params: Vec::new(), cooperative };
    if let Err(fault) = s.device.check(&trial, optin) {
        let too_large = cooperative && fault.detail.contains("cooperative");
        s.note(fault);
        return Err(if too_large { code::COOPERATIVE_LAUNCH_TOO_LARGE } else { code::INVALID_VALUE });
    }
    s.enqueue(stream, Work::Kernel { kernel, grid, block, shared, params: bytes, cooperative })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    function: u64,
    gx: c_uint,
    gy: c_uint,
    gz: c_uint,
    bx: c_uint,
    by: c_uint,
    bz: c_uint,
    shared: c_uint,
    stream: u64,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    if !extra.is_null() {
        return code::NOT_SUPPORTED;
    }
    // SAFETY: the caller's promise about `params` is passed on.
    call(|s| unsafe { launch(s, function, [gx, gy, gz], [bx, by, bz], shared, stream, params, false) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchCooperativeKernel(
    function: u64,
    gx: c_uint,
    gy: c_uint,
    gz: c_uint,
    bx: c_uint,
    by: c_uint,
    bz: c_uint,
    shared: c_uint,
    stream: u64,
    params: *mut *mut c_void,
) -> Code {
    // SAFETY: the caller's promise about `params` is passed on.
    call(|s| unsafe { launch(s, function, [gx, gy, gz], [bx, by, bz], shared, stream, params, true) })
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchHostFunc(stream: u64, function: Option<extern "C" fn(*mut c_void)>, data: *mut c_void) -> Code {
    let Some(function) = function else { return code::INVALID_VALUE };
    call(|s| s.enqueue(stream, Work::Call { function, data: data as u64 }))
}

fn blocks(function: u64, threads: c_int, shared: usize) -> Result<u32, Code> {
    let s = state().lock().unwrap_or_else(|e| e.into_inner());
    let f = s.functions.get(&function).ok_or(code::INVALID_HANDLE)?;
    if threads < 0 || shared > 1 << 20 {
        return Err(code::INVALID_VALUE);
    }
    Ok(s.device.occupancy(&f.kernel, threads as u32, shared as u32))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(n: *mut c_int, f: u64, threads: c_int, shared: usize) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    blocks(f, threads, shared).and_then(|b| unsafe { give(n, b as c_int) }).err().unwrap_or(0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    n: *mut c_int,
    f: u64,
    threads: c_int,
    shared: usize,
    _flags: c_uint,
) -> Code {
    // SAFETY: the same contract.
    unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(n, f, threads, shared) }
}

type SharedOf = Option<extern "C" fn(c_int) -> usize>;

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxPotentialBlockSize(
    grid: *mut c_int,
    block: *mut c_int,
    f: u64,
    shared_of: SharedOf,
    shared: usize,
    limit: c_int,
) -> Code {
    let most = if limit > 0 { limit.min(1024) } else { 1024 };
    let best = (1..=most / 32).map(|w| w * 32).filter_map(|t| {
        let n = blocks(f, t, shared_of.map_or(shared, |g| g(t))).ok()?;
        (n > 0).then_some((n as c_int * t, t, n as c_int))
    });
    let Some((_, threads, n)) = best.max() else { return code::INVALID_VALUE };
    let sms = state().lock().map_or(1, |s| s.config.options.multiprocessors as c_int);
    // SAFETY: the caller's pointers, as in `give`.
    unsafe { give(grid, n * sms).and_then(|()| give(block, threads)).err().unwrap_or(0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    grid: *mut c_int,
    block: *mut c_int,
    f: u64,
    shared_of: SharedOf,
    shared: usize,
    limit: c_int,
    _flags: c_uint,
) -> Code {
    // SAFETY: the same contract.
    unsafe { cuOccupancyMaxPotentialBlockSize(grid, block, f, shared_of, shared, limit) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: *mut usize, f: u64, n: c_int, _threads: c_int) -> Code {
    call(|s| {
        let static_bytes = s.functions.get(&f).ok_or(code::INVALID_HANDLE)?.kernel.shared_bytes;
        let each = s.device.limits.shared_multiprocessor / n.max(1) as u32;
        let room = each.saturating_sub(1024).min(s.device.limits.shared_optin).saturating_sub(static_bytes);
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(bytes, room as usize) }
    })
}
