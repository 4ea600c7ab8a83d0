//! Device memory: arrays that are freed with their last owner (a buffer, or a recorded graph that uses it).

use super::device::Device;
use crate::BackendError;
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, result};
use std::marker::PhantomData;
use std::sync::Arc;

/// Number types for which all bytes are valid.
pub trait Plain: Copy + Default + Send + Sync + 'static {}
impl Plain for f32 {}
impl Plain for i32 {}
impl Plain for u32 {}
impl Plain for u8 {}

/// One allocation.
pub(super) struct Block {
    pub at: u64,
    context: Arc<CudaContext>,
}

impl Drop for Block {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: allocated in `zeros`, freed once; the driver waits for kernels that use it. Errors of a lost device don't matter.
        let _ = unsafe { result::free_sync(self.at) };
    }
}

/// `len` values on the device.
pub struct Array<T> {
    pub(super) block: Arc<Block>,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Plain> Array<T> {
    /// `len` zeros; `what` names them in the error.
    pub(super) fn zeros(device: &mut Device, len: usize, what: &str) -> Result<Array<T>, BackendError> {
        let fail = || BackendError::Memory { bytes: len.saturating_mul(size_of::<T>()), what: format!("{what} on the GPU") };
        // At least 16 bytes, so that every array has an address.
        let bytes = len.checked_mul(size_of::<T>()).filter(|b| *b < 1 << 48).ok_or_else(fail)?.max(16);
        if !device.bind() {
            return Err(BackendError::Lost(device.failure.clone().unwrap_or_default()));
        }
        // SAFETY: a plain allocation, owned by the block from here on.
        let at = match unsafe { result::malloc_sync(bytes) } {
            Ok(at) => at,
            Err(e) if e.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY => return Err(fail()),
            Err(e) => {
                device.check("allocating memory", Err(e));
                return Err(BackendError::Lost(device.failure.clone().unwrap_or_default()));
            }
        };
        let block = Arc::new(Block { at, context: device.context.clone() });
        device.zero(at, bytes);
        Ok(Array { block, len, of: PhantomData })
    }

    /// The values of `data`.
    pub(super) fn of(device: &mut Device, data: &[T], what: &str) -> Result<Array<T>, BackendError> {
        let mut array = Array::zeros(device, data.len(), what)?;
        device.write(&mut array, 0, data);
        Ok(array)
    }

    /// Grows scratch memory to at least `len` values; its content is lost where it grows. A graph keeps the memory it was recorded
    /// with.
    pub(super) fn grow(this: &mut Option<Array<T>>, device: &mut Device, len: usize) {
        if this.as_ref().is_none_or(|a| a.len < len) {
            *this = match Array::zeros(device, len, "scratch") {
                Ok(array) => Some(array),
                Err(e) => {
                    device.failure.get_or_insert(e.to_string());
                    None
                }
            };
        }
    }
}

impl<T> Array<T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
