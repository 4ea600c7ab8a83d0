//! Allocation, copies, fills, pinned and managed memory.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::api_context::give;
use super::code::{self, Code};
use super::guard;
use super::queue::Work;
use super::state::{State, call, quiet};
use crate::machine::FaultKind;
use crate::memory::Kind;

fn alloc(s: &mut State, bytes: usize, kind: Kind) -> Result<u64, Code> {
    s.no_capture("an allocation while a stream captures")?;
    if bytes == 0 {
        return Err(code::INVALID_VALUE);
    }
    s.device.memory.alloc(bytes as u64, kind).ok_or(code::OUT_OF_MEMORY)
}

/// The range must lie in one allocation.
fn check(s: &mut State, what: &str, at: u64, bytes: usize) -> Result<(), Code> {
    if s.device.memory.find(at, bytes as u64).is_some() {
        return Ok(());
    }
    let detail = format!("{what} of {bytes} bytes: {}", s.device.memory.describe(at));
    s.refuse(FaultKind::BadArgument, detail, code::INVALID_VALUE)
}

fn pinned(s: &State, at: *const c_void, bytes: usize) -> bool {
    s.device.memory.find(at as u64, bytes as u64).is_some_and(|r| matches!(r.kind, Kind::Pinned | Kind::Managed))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAlloc_v2(to: *mut u64, bytes: usize) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    call(|s| alloc(s, bytes, Kind::Device).and_then(|a| unsafe { give(to, a) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocAsync(to: *mut u64, bytes: usize, stream: u64) -> Code {
    call(|s| {
        s.lane(stream)?;
        s.not_capturing(stream, "an allocation on a capturing stream")?;
        // SAFETY: the caller's pointer, as in `give`.
        alloc(s, bytes, Kind::Device).and_then(|a| unsafe { give(to, a) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocManaged(to: *mut u64, bytes: usize, _flags: c_uint) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    call(|s| alloc(s, bytes, Kind::Managed).and_then(|a| unsafe { give(to, a) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemHostAlloc(to: *mut *mut c_void, bytes: usize, _flags: c_uint) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    call(|s| alloc(s, bytes, Kind::Pinned).and_then(|a| unsafe { give(to, a as *mut c_void) }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(at: u64) -> Code {
    quiet(|s| {
        if at == 0 {
            return Ok(());
        }
        s.no_capture("cuMemFree while a stream captures")?;
        s.drain_all();
        if s.device.memory.free(at) { Ok(()) } else { Err(code::INVALID_VALUE) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(at: u64, stream: u64) -> Code {
    quiet(|s| {
        if s.device.memory.find(at, 0).is_none_or(|r| r.base != at) {
            return Err(code::INVALID_VALUE);
        }
        s.not_capturing(stream, "cuMemFreeAsync on a capturing stream")?;
        if s.sticky.is_some() {
            s.device.memory.free(at);
            return Ok(());
        }
        s.enqueue(stream, Work::Free { address: at })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(at: *mut c_void) -> Code {
    quiet(|s| {
        s.drain_all();
        guard::open(at as u64);
        if s.device.memory.free(at as u64) { Ok(()) } else { Err(code::INVALID_VALUE) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    call(|s| {
        let (left, all) = (s.device.memory.left() as usize, s.device.memory.total as usize);
        // SAFETY: the caller's pointers, as in `give`.
        unsafe { give(free, left).and_then(|()| give(total, all)) }
    })
}

/// Host to device: pinned memory is read when the copy runs, other memory at the call.
unsafe fn upload(s: &mut State, to: u64, from: *const c_void, bytes: usize, stream: u64) -> Result<(), Code> {
    s.lane(stream)?;
    if bytes == 0 {
        return Ok(());
    }
    check(s, "target of a copy", to, bytes)?;
    if pinned(s, from, bytes) {
        return s.enqueue(stream, Work::Copy { to, from: from as u64, bytes: bytes as u64 });
    }
    s.not_capturing(stream, "a copy from pageable host memory on a capturing stream")?;
    if from.is_null() {
        return Err(code::INVALID_VALUE);
    }
    // SAFETY: the caller promises `bytes` readable bytes at `from`.
    let data = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) }.to_vec();
    s.enqueue(stream, Work::Upload { to, data: Arc::new(data) })
}

/// Device to host: pinned memory is written when the copy runs; for other memory the call waits for the stream.
unsafe fn download(s: &mut State, to: *mut c_void, from: u64, bytes: usize, stream: u64) -> Result<(), Code> {
    let lane = s.lane(stream)?;
    if bytes == 0 {
        return Ok(());
    }
    check(s, "source of a copy", from, bytes)?;
    if pinned(s, to, bytes) {
        return s.enqueue(stream, Work::Copy { to: to as u64, from, bytes: bytes as u64 });
    }
    s.not_capturing(stream, "a copy to pageable host memory on a capturing stream")?;
    if to.is_null() {
        return Err(code::INVALID_VALUE);
    }
    s.drain(lane);
    if let Some(code) = s.sticky {
        return Err(code);
    }
    let data = s.fetch(from, bytes as u64).ok_or(code::INVALID_VALUE)?;
    // SAFETY: the caller promises `bytes` writable bytes at `to`.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to.cast(), bytes) };
    Ok(())
}

fn copy(s: &mut State, to: u64, from: u64, bytes: usize, stream: u64) -> Result<(), Code> {
    s.lane(stream)?;
    if bytes == 0 {
        return Ok(());
    }
    check(s, "target of a copy", to, bytes)?;
    check(s, "source of a copy", from, bytes)?;
    s.enqueue(stream, Work::Copy { to, from, bytes: bytes as u64 })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: u64) -> Code {
    // SAFETY: the caller's promise about `from` is passed on.
    call(|s| unsafe { upload(s, to, from, bytes, stream) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Code {
    call(|s| {
        s.no_capture("a synchronous copy while a stream captures")?;
        // SAFETY: the caller's promise about `from` is passed on.
        unsafe { upload(s, to, from, bytes, 0) }?;
        s.drain(0);
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: u64) -> Code {
    // SAFETY: the caller's promise about `to` is passed on.
    call(|s| unsafe { download(s, to, from, bytes, stream) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Code {
    call(|s| {
        s.no_capture("a synchronous copy while a stream captures")?;
        // SAFETY: the caller's promise about `to` is passed on.
        unsafe { download(s, to, from, bytes, 0) }?;
        s.drain(0);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) -> Code {
    call(|s| copy(s, to, from, bytes, stream))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    call(|s| {
        s.no_capture("a synchronous copy while a stream captures")?;
        copy(s, to, from, bytes, 0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeerAsync(to: u64, _a: u64, from: u64, _b: u64, bytes: usize, stream: u64) -> Code {
    call(|s| copy(s, to, from, bytes, stream))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(to: u64, value: u8, bytes: usize, stream: u64) -> Code {
    call(|s| {
        s.lane(stream)?;
        check(s, "target of a fill", to, bytes)?;
        s.enqueue(stream, Work::Fill { to, value, bytes: bytes as u64 })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8_v2(to: u64, value: u8, bytes: usize) -> Code {
    cuMemsetD8Async(to, value, bytes, 0)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPrefetchAsync(_at: u64, _bytes: usize, _device: c_int, _stream: u64) -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAdvise(_at: u64, _bytes: usize, _advice: c_int, _device: c_int) -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamAttachMemAsync(_stream: u64, _at: u64, _bytes: usize, _flags: c_uint) -> Code {
    code::SUCCESS
}
