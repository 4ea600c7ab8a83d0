//! Devices, contexts, errors.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_uint, c_void};

use super::code::{self, Code};
use super::state::{CONTEXT, call, quiet, state};

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Writes a result through the caller's pointer.
///
/// # Safety
/// `to` is null or valid for a write of `T`, as the driver API requires.
pub(crate) unsafe fn give<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(code::INVALID_VALUE);
    }
    // SAFETY: not null, and by the contract valid.
    unsafe { to.write(value) };
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: c_uint) -> Code {
    let mut s = state().lock().unwrap_or_else(|e| e.into_inner());
    if s.config.devices == 0 {
        return code::NO_DEVICE;
    }
    s.ready = true;
    code::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    quiet(|_| unsafe { give(version, 12080) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    quiet(|s| unsafe { give(count, s.config.devices) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    call(|s| {
        if ordinal < 0 || ordinal >= s.config.devices {
            return Err(code::INVALID_DEVICE);
        }
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(device, ordinal) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, _device: c_int) -> Code {
    call(|s| {
        let text = format!("Fake CUDA device sm_{} (PTX on the CPU)", s.config.sm);
        let n = text.len().min((len.max(1) - 1) as usize);
        for (i, b) in text.bytes().take(n).chain([0]).enumerate() {
            // SAFETY: at most `len` bytes, which the caller's buffer has.
            unsafe { give(name.wrapping_add(i), b as c_char)? };
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    call(|s| unsafe { give(bytes, s.device.memory.total as usize) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], _device: c_int) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    call(|_| unsafe { give(uuid, *b"fakecuda-0000000") })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) -> Code {
    // SAFETY: the same contract.
    unsafe { cuDeviceGetUuid_v2(uuid, device) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) -> Code {
    call(|s| {
        let l = s.device.limits;
        let v = match attribute {
            1..=3 => 1024,                                 // threads per block, block dim x, y
            4 => 64,                                       // block dim z
            5 => i32::MAX,                                 // grid dim x
            6 | 7 => 65535,                                // grid dim y, z
            8 => l.shared_default as i32,                  // shared memory per block
            9 => 65536,                                    // constant memory
            10 => 32,                                      // warp size
            12 | 82 => 65536,                              // registers per block, per multiprocessor
            13 => 1_500_000,                               // clock rate in kHz
            16 => s.config.options.multiprocessors as i32, // multiprocessors
            31 | 41 | 78 | 83 | 95 | 115 => 1, // concurrent kernels, unified addressing, priorities, managed, cooperative, pools
            36 => 8_000_000,                   // memory clock
            37 => 256,                         // bus width
            38 => 6 << 20,                     // L2
            39 => l.threads as i32,            // threads per multiprocessor
            40 => 2,                           // copy engines
            75 => (l.sm / 10) as i32,          // compute capability
            76 => (l.sm % 10) as i32,
            81 => l.shared_multiprocessor as i32, // shared memory per multiprocessor
            97 => l.shared_optin as i32,          // shared memory per block, if requested
            106 => l.blocks as i32,               // blocks per multiprocessor
            _ => 0,
        };
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(value, v) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut u64, _device: c_int) -> Code {
    call(|s| {
        s.contexts.insert(CONTEXT);
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(context, CONTEXT) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(_device: c_int) -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetDefaultMemPool(pool: *mut u64, _device: c_int) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    call(|_| unsafe { give(pool, 0x20) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetMemPool(pool: *mut u64, device: c_int) -> Code {
    // SAFETY: the same contract.
    unsafe { cuDeviceGetDefaultMemPool(pool, device) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolTrimTo(_pool: u64, _keep: usize) -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolSetAttribute(_pool: u64, _attribute: c_int, _value: *const c_void) -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetCurrent(context: *mut u64) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    quiet(|_| unsafe { give(context, CURRENT.get()) })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: u64) -> Code {
    quiet(|s| {
        if context != 0 && !s.contexts.contains(&context) {
            return Err(code::INVALID_CONTEXT);
        }
        CURRENT.set(context);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> Code {
    call(|s| {
        s.no_capture("cuCtxSynchronize while a stream captures")?;
        s.drain_all();
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetFlags(_flags: c_uint) -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetLimit(value: *mut usize, _limit: c_int) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    call(|_| unsafe { give(value, 1024) })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetLimit(_limit: c_int, _value: usize) -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetCacheConfig(config: *mut c_int) -> Code {
    // SAFETY: the caller's pointer, as in `give`.
    call(|_| unsafe { give(config, 0) })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCacheConfig(_config: c_int) -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> Code {
    // SAFETY: the caller's pointers, as in `give`.
    call(|_| unsafe { give(least, 0).and_then(|()| give(greatest, -5)) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorName(error: Code, text: *mut *const c_char) -> Code {
    let words = code::words(error).map(|w| w.0);
    // SAFETY: the caller's pointer, as in `give`; the text is static.
    words.map_or(code::INVALID_VALUE, |w| unsafe { give(text, w.as_ptr()) }.err().unwrap_or(0))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(error: Code, text: *mut *const c_char) -> Code {
    let words = code::words(error).map(|w| w.1);
    // SAFETY: the caller's pointer, as in `give`; the text is static.
    words.map_or(code::INVALID_VALUE, |w| unsafe { give(text, w.as_ptr()) }.err().unwrap_or(0))
}

#[unsafe(no_mangle)]
extern "C" fn cuProfilerStart() -> Code {
    code::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuProfilerStop() -> Code {
    code::SUCCESS
}
