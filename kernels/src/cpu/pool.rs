//! Fixed workers.

/// The workers of one player; the caller is worker 0.
pub(super) struct Pool {
    threads: usize,
}

impl Pool {
    pub(super) fn new(threads: usize) -> Pool {
        Pool { threads: threads.max(1) }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `f(worker, item)` once for each item in 0..items, on any worker, and returns when all are done.
    pub(super) fn each(&mut self, items: usize, f: &(dyn Fn(usize, usize) + Sync)) {
        (0..items).for_each(|item| f(0, item));
    }
}

/// A slice that workers write to, each at places of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared<T> {
    at: *mut T,
    len: usize,
}

// SAFETY: handing it to another thread gives nothing by itself: `slice` is unsafe and its caller keeps places apart.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn new(slice: &mut [T]) -> Self {
        Shared { at: slice.as_mut_ptr(), len: slice.len() }
    }

    /// `len` values from `at`.
    ///
    /// # Safety
    /// The slice that this was made of must still be borrowed, and no other live slice may overlap this one.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn slice(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at <= self.len && len <= self.len - at, "{len} values at {at} of {}", self.len);
        // SAFETY: in bounds by the assertion; alive and not aliased by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(at), len) }
    }
}
