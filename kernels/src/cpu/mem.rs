//! Memory of the CPU backend: zeroed, aligned to a cache line, on huge pages where it is large.

use crate::BackendError;
use std::alloc::{Layout, alloc, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Number types for which all-zero bytes are a valid zero.
pub trait Plain: Copy + Send + Sync + 'static {}
impl Plain for f32 {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for i8 {}
impl Plain for i32 {}

/// A fixed array, zeroed when made, aligned to 64 bytes.
pub struct Store<T> {
    at: NonNull<T>,
    len: usize,
    layout: Option<Layout>,
}

// SAFETY: Store owns its memory alone, as a Box<[T]> would.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Sync> Sync for Store<T> {}

const HUGE_PAGE: usize = 2 << 20;

impl<T: Plain> Store<T> {
    /// `len` zeros; `what` names them in the error. Touches every page, so that no later step has a page fault.
    pub(super) fn zeros(len: usize, what: &str) -> Result<Self, BackendError> {
        if len == 0 {
            return Ok(Self::default());
        }
        let fail = || BackendError::Memory { bytes: len.saturating_mul(size_of::<T>()), what: what.to_string() };
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(fail)?;
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { 64 };
        let layout = Layout::from_size_align(bytes, align).map_err(|_| fail())?;
        // SAFETY: the layout's size is not zero.
        let raw = unsafe { alloc(layout) };
        let at = NonNull::new(raw.cast::<T>()).ok_or_else(fail)?;
        #[cfg(target_os = "linux")]
        if align == HUGE_PAGE {
            // SAFETY: advice on a range that we own; where it fails, pages stay small.
            unsafe { libc::madvise(raw.cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        // SAFETY: `bytes` bytes at `raw` are ours, and zero bytes are a valid T (Plain).
        unsafe { raw.write_bytes(0, bytes) };
        Ok(Store { at, len, layout: Some(layout) })
    }

    /// Grows scratch memory to at least `len` values; its content is lost where it grows.
    pub(super) fn grow(&mut self, len: usize) {
        if self.len < len {
            *self = Store::zeros(len, "scratch").unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Store { at: NonNull::dangling(), len: 0, layout: None }
    }
}

impl<T> Deref for Store<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `at` points to `len` initialised values (or dangles with len 0).
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Store<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in deref, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        if let Some(layout) = self.layout {
            // SAFETY: allocated by `zeros` with this layout. T is Plain: nothing to drop.
            unsafe { dealloc(self.at.as_ptr().cast(), layout) };
        }
    }
}

/// The bits of f32 values, as integers in the same memory.
pub(super) fn ints_of(x: &[f32]) -> &[i32] {
    // SAFETY: same size and alignment, and every 32 bits are an i32.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), x.len()) }
}

/// [`ints_of`] to write to.
pub(super) fn ints(x: &mut [f32]) -> &mut [i32] {
    // SAFETY: as above, every 32 bits are also an f32, and the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_zero_and_aligned() {
        for len in [1, 17, 1 << 20] {
            let store = Store::<f32>::zeros(len, "test").unwrap();
            assert!(store.iter().all(|x| *x == 0.0) && store.len() == len && store.as_ptr().addr().is_multiple_of(64));
        }
    }

    #[test]
    fn sizes_that_cannot_be_allocated_are_errors() {
        for len in [usize::MAX, usize::MAX / 4, 1 << 55] {
            assert!(matches!(Store::<f32>::zeros(len, "test"), Err(BackendError::Memory { .. })), "{len}");
        }
    }
}
