//! Modules and functions.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::api_context::give;
use super::code::{self, Code};
use super::state::{Function, State, call, quiet};
use crate::machine::FaultKind;

/// A caller's C string.
///
/// # Safety
/// `text` is null or points to a string that ends in 0.
unsafe fn string<'a>(text: *const c_char) -> Result<&'a str, Code> {
    if text.is_null() {
        return Err(code::INVALID_VALUE);
    }
    // SAFETY: not null, and by the contract ends in 0.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| code::INVALID_PTX)
}

fn load(s: &mut State, text: &str) -> Result<u64, Code> {
    if !text.contains(".version") {
        let detail = "a module image that is no PTX text (a cubin or fatbin can't be run here)".to_string();
        return s.refuse(FaultKind::Unsupported, detail, code::INVALID_SOURCE);
    }
    match s.device.load(text) {
        Ok(module) => {
            let version = module.kernels.values().map(|k| k.version).max().unwrap_or(0);
            if version > s.config.ptx {
                let detail = format!("PTX version {version}, this driver takes {} at most", s.config.ptx);
                return s.refuse(FaultKind::Unsupported, detail, code::UNSUPPORTED_PTX_VERSION);
            }
            let handle = s.handle();
            s.modules.insert(handle, module);
            Ok(handle)
        }
        Err(e) => s.refuse(FaultKind::Unsupported, e.to_string(), code::INVALID_PTX),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadData(module: *mut u64, image: *const c_void) -> Code {
    call(|s| {
        s.no_capture("loading a module while a stream captures")?;
        // SAFETY: the caller's image; PTX ends in 0, and a cubin or fatbin has a 0 in its first bytes.
        let text = unsafe { string(image.cast()) }?;
        // SAFETY: the caller's pointer, as in `give`.
        load(s, text).and_then(|m| unsafe { give(module, m) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut u64,
    image: *const c_void,
    _n: c_uint,
    _options: *mut c_int,
    _values: *mut *mut c_void,
) -> Code {
    // SAFETY: the same contract.
    unsafe { cuModuleLoadData(module, image) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoad(module: *mut u64, path: *const c_char) -> Code {
    call(|s| {
        // SAFETY: the caller's path ends in 0.
        let path = unsafe { string(path) }?;
        let text = std::fs::read_to_string(path).map_err(|_| code::FILE_NOT_FOUND)?;
        // SAFETY: the caller's pointer, as in `give`.
        load(s, &text).and_then(|m| unsafe { give(module, m) })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(module: u64) -> Code {
    quiet(|s| {
        s.drain_all();
        let m = s.modules.remove(&module).ok_or(code::INVALID_HANDLE)?;
        for (address, _) in m.variables.values() {
            s.device.memory.free(*address);
        }
        s.functions.retain(|_, f| f.module != module);
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(function: *mut u64, module: u64, name: *const c_char) -> Code {
    call(|s| {
        // SAFETY: the caller's name ends in 0.
        let name = unsafe { string(name) }?;
        let m = s.modules.get(&module).ok_or(code::INVALID_HANDLE)?;
        let kernel = m.kernels.get(name).ok_or(code::NOT_FOUND)?.clone();
        let handle = s.handle();
        let room = s.device.limits.shared_default.saturating_sub(kernel.shared_bytes);
        s.functions.insert(handle, Function { kernel, dynamic_shared: room, module });
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(function, handle) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetGlobal_v2(at: *mut u64, bytes: *mut usize, module: u64, name: *const c_char) -> Code {
    call(|s| {
        // SAFETY: the caller's name ends in 0.
        let name = unsafe { string(name) }?;
        let m = s.modules.get(&module).ok_or(code::INVALID_HANDLE)?;
        let (address, size) = *m.variables.get(name).ok_or(code::NOT_FOUND)?;
        // SAFETY: the caller's pointers; either may be null.
        unsafe {
            let _ = give(at, address);
            let _ = give(bytes, size as usize);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, function: u64) -> Code {
    call(|s| {
        let f = s.functions.get(&function).ok_or(code::INVALID_HANDLE)?;
        let constants = s.modules.get(&f.module).map_or(0, |m| m.constant_bytes);
        let v = match attribute {
            0 => f.kernel.max_threads.unwrap_or(1024).min(1024) as u32,
            1 => f.kernel.shared_bytes,
            2 => constants as u32,
            3 => f.kernel.local_bytes,
            // The number of real registers is unknown without ptxas; this is a usual one.
            4 => 32,
            5 => f.kernel.version,
            6 => s.config.sm,
            8 => f.dynamic_shared,
            _ => 0,
        };
        // SAFETY: the caller's pointer, as in `give`.
        unsafe { give(value, v as c_int) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: u64, attribute: c_int, value: c_int) -> Code {
    call(|s| {
        let room = s.device.limits.shared_optin;
        let f = s.functions.get_mut(&function).ok_or(code::INVALID_HANDLE)?;
        if attribute == 8 {
            if value < 0 || value as u32 + f.kernel.shared_bytes > room {
                return Err(code::INVALID_VALUE);
            }
            f.dynamic_shared = value as u32;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetCacheConfig(_function: u64, _config: c_int) -> Code {
    code::SUCCESS
}
