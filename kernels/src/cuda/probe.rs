//! Checks for a usable NVIDIA driver and device. Each reason why there is none is an error of one sentence.
//!
//! cudarc looks a symbol up when it is first called, and panics where it is missing. So all symbols are looked up here first.

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, DriverError};
use std::sync::OnceLock;
use thiserror::Error;

/// Why there is no usable GPU.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CudaError {
    /// No libcuda.
    #[error("no NVIDIA driver is installed (libcuda was not found)")]
    NoDriver,
    /// A libcuda without a function that the backend calls.
    #[error("the NVIDIA driver is too old: libcuda lacks {0}; version 525 or later is needed")]
    OldDriver(&'static str),
    /// The driver does not know the PTX version of our kernels.
    #[error("the NVIDIA driver is too old for PTX 8.0; version 525 or later is needed")]
    OldPtx,
    /// The driver reports no device.
    #[error("the NVIDIA driver finds no GPU")]
    NoDevice,
    /// A device older than sm_75.
    #[error("{name} has compute capability {}.{}; 7.5 or later is needed", .capability.0, .capability.1)]
    OldDevice {
        /// The device's name.
        name: String,
        /// Major and minor.
        capability: (i32, i32),
    },
    /// The device's memory is full.
    #[error("the GPU's memory is full")]
    Memory,
    /// Any other error of the driver.
    #[error("the NVIDIA driver reports {code} at {at}")]
    Driver {
        /// The driver's name of the error.
        code: String,
        /// What was being done.
        at: &'static str,
    },
}

impl CudaError {
    /// The error for what the driver returned while doing `at`.
    pub(super) fn new(at: &'static str, error: DriverError) -> CudaError {
        match error.0 {
            CUresult::CUDA_ERROR_NO_DEVICE => CudaError::NoDevice,
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => CudaError::Memory,
            CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => CudaError::OldPtx,
            code => CudaError::Driver { code: format!("{code:?}"), at },
        }
    }
}

/// Every driver function that the backend calls, directly or through cudarc.
const SYMBOLS: [&str; 35] = [
    "cuInit",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetAttribute",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleUnload",
    "cuLaunchKernel",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphUpload",
    "cuGraphExecDestroy",
    "cuGraphDestroy",
];

/// Whether the driver is installed and has every symbol; looked up once.
fn library() -> Result<(), CudaError> {
    static FOUND: OnceLock<Result<(), CudaError>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let names = ["cuda", "nvcuda"].into_iter().flat_map(cudarc::get_lib_name_candidates);
            // SAFETY: loading the driver runs its constructors, as cudarc's own loading of it would.
            let library = names.into_iter().find_map(|name| unsafe { libloading::Library::new(name) }.ok());
            let library = library.ok_or(CudaError::NoDriver)?;
            for symbol in SYMBOLS {
                // SAFETY: the symbol is only looked up, never called.
                let found = unsafe { library.get::<unsafe extern "C" fn()>(symbol.as_bytes()) };
                found.map_err(|_| CudaError::OldDriver(symbol))?;
            }
            // cudarc loads it again and keeps it; unloading it here would run the driver's destructors.
            std::mem::forget(library);
            Ok(())
        })
        .clone()
}

/// Number of devices, at least 1.
///
/// # Errors
/// There is no driver, it is too old, or it reports no device.
pub fn devices() -> Result<usize, CudaError> {
    library()?;
    match CudaContext::device_count() {
        Ok(0) => Err(CudaError::NoDevice),
        Ok(n) => Ok(n.unsigned_abs() as usize),
        Err(e) => Err(CudaError::new("cuInit", e)),
    }
}
