//! One device with one stream and the loaded kernels: launches, copies and errors of the driver.
//!
//! Everything runs in order on the one stream. The first error is kept ([`crate::Backend::failure`]): after it nothing is launched
//! any more, and reads give zeros.

use super::kernel::{Arguments, Kernel, SOURCES, TENSOR_CORES, needs};
use super::mem::{Array, Block, Plain};
use super::probe::{CudaError, devices};
use cudarc::driver::sys::{CUfunction, CUmodule, CUstream};
use cudarc::driver::{CudaContext, DriverError, result};
use std::ffi::{CString, c_void};
use std::sync::Arc;
use std::thread::ThreadId;

/// Bytes of the pinned host memory that reads go through.
const PINNED: usize = 1 << 18;

/// A device with what the driver made for it.
pub(super) struct Device {
    pub(super) context: Arc<CudaContext>,
    pub(super) stream: CUstream,
    modules: Vec<CUmodule>,
    /// Indexed by [`Kernel`]; null where the device is too old for the kernel.
    functions: Vec<CUfunction>,
    /// Whether it has tensor cores for bf16.
    pub(super) tensor_cores: bool,
    /// Whether products of many rows use them ([`super::CudaBackend::tiles`]), and their scratch memory.
    pub(super) tiles: bool,
    pub(super) parts: Option<Array<u8>>,
    /// [`PINNED`] bytes of host memory that the device writes to.
    pinned: *mut u8,
    /// The thread that the context is current on.
    bound: Option<ThreadId>,
    pub(super) failure: Option<String>,
    /// Memory that the graph being recorded uses; `None` while nothing is recorded.
    pub(super) recorded: Option<Vec<Arc<Block>>>,
    /// Kernels launched, those of replayed graphs not counted.
    pub(super) launches: u64,
}

// SAFETY: the driver's handles may be used from any thread that has the context current (`bind` makes it so), by one thread at a
// time (`&mut` ensures it); nothing else uses the pinned memory.
unsafe impl Send for Device {}

impl Device {
    pub(super) fn new(ordinal: usize) -> Result<Device, CudaError> {
        devices()?;
        let error = |at: &'static str| move |e: DriverError| CudaError::new(at, e);
        let context = CudaContext::new(ordinal).map_err(error("making a context"))?;
        let capability = context.compute_capability().map_err(error("asking for the capability"))?;
        if capability < (7, 5) {
            return Err(CudaError::OldDevice { name: context.name().unwrap_or_default(), capability });
        }
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(error("making a stream"))?;
        let mut device = Device {
            context,
            stream,
            modules: Vec::new(),
            functions: Vec::new(),
            tensor_cores: capability >= TENSOR_CORES,
            tiles: false,
            parts: None,
            pinned: std::ptr::null_mut(),
            bound: Some(std::thread::current().id()),
            failure: None,
            recorded: None,
            launches: 0,
        };
        // SAFETY: a plain allocation, freed in drop; flags 0 leave it cached, for fast reads by the host.
        device.pinned = unsafe { result::malloc_host(PINNED, 0) }.map_err(error("allocating pinned memory"))?.cast();
        let known = |source: &usize| capability >= needs(*source);
        for source in (0..SOURCES.len()).filter(known).map(|n| SOURCES[n]) {
            let text = CString::new(source).expect("PTX has no zero byte");
            // SAFETY: the text ends with a zero byte.
            let module = unsafe { result::module::load_data(text.as_ptr().cast()) }.map_err(error("loading kernels"))?;
            device.modules.push(module);
        }
        for kernel in Kernel::ALL {
            if !known(&kernel.source()) {
                device.functions.push(std::ptr::null_mut());
                continue;
            }
            let name = CString::new(kernel.name()).expect("a name has no zero byte");
            // SAFETY: the module stays loaded until drop.
            let function = unsafe { result::module::get_function(device.modules[kernel.source()], name) };
            device.functions.push(function.map_err(error("finding a kernel"))?);
        }
        Ok(device)
    }

    /// Makes the context current on this thread; false where the device has failed.
    pub(super) fn bind(&mut self) -> bool {
        if self.failure.is_some() {
            return false;
        }
        let here = std::thread::current().id();
        if self.bound != Some(here) {
            let bound = self.context.bind_to_thread();
            self.check("binding the context", bound);
            self.bound = Some(here);
        }
        self.failure.is_none()
    }

    /// Keeps an error if it is the first one.
    pub(super) fn check(&mut self, at: &'static str, result: Result<(), DriverError>) {
        if let (Err(e), None) = (result, &self.failure) {
            self.failure = Some(format!("the GPU is lost: {:?} at {at}", e.0));
        }
    }

    /// Address of an array. A graph being recorded keeps the array alive.
    pub(super) fn at<T>(&mut self, array: &Array<T>) -> u64 {
        if let Some(recorded) = &mut self.recorded
            && !recorded.iter().any(|b| Arc::ptr_eq(b, &array.block))
        {
            recorded.push(array.block.clone());
        }
        array.block.at
    }

    /// Launches a kernel on `grid` blocks of `threads`, with `shared` bytes of dynamic shared memory.
    pub(super) fn launch<A: Arguments>(&mut self, kernel: Kernel, grid: (u32, u32), threads: u32, shared: u32, mut arguments: A) {
        if !self.bind() {
            return;
        }
        debug_assert!(A::KERNELS.contains(&kernel), "{} takes other arguments", kernel.name());
        let mut parameters = [(&raw mut arguments).cast::<c_void>()];
        let function = self.functions[kernel as usize];
        // SAFETY: the function is of a loaded module, and `A` has the layout of its parameter (a test compares the sizes). A kernel
        // can't write to the host's memory.
        let launched = unsafe {
            result::launch_kernel(function, (grid.0, grid.1, 1), (threads, 1, 1), shared, self.stream, &mut parameters)
        };
        self.check(kernel.name(), launched);
        self.launches += 1;
    }

    /// Copies `src` to index `at`.
    pub(super) fn write<T: Plain>(&mut self, dst: &mut Array<T>, at: usize, src: &[T]) {
        assert!(at + src.len() <= dst.len(), "write: {} values at {at} of {}", src.len(), dst.len());
        if src.is_empty() || !self.bind() {
            return;
        }
        let to = self.at(dst) + (at * size_of::<T>()) as u64;
        // SAFETY: the target is `src.len()` values inside a live array; pageable memory has been copied when the call returns.
        let copied = unsafe { result::memcpy_htod_async(to, src, self.stream) };
        self.check("a copy to the GPU", copied);
    }

    /// Waits for everything launched so far and reads from index `at`; gives zeros after a failure.
    pub(super) fn read<T: Plain>(&mut self, src: &Array<T>, at: usize, dst: &mut [T]) {
        assert!(at + dst.len() <= src.len(), "read: {} values at {at} of {}", dst.len(), src.len());
        let each = PINNED / size_of::<T>();
        for (n, dst) in dst.chunks_mut(each).enumerate() {
            if !self.bind() {
                dst.fill(T::default());
                continue;
            }
            let from = self.at(src) + ((at + n * each) * size_of::<T>()) as u64;
            // SAFETY: the pinned memory holds PINNED bytes, T is plain, and nothing else uses it until the stream is waited for.
            let staged = unsafe { std::slice::from_raw_parts_mut(self.pinned.cast::<T>(), dst.len()) };
            // SAFETY: the source is `dst.len()` values inside a live array.
            let copied = unsafe { result::memcpy_dtoh_async(staged, from, self.stream) };
            self.check("a copy from the GPU", copied);
            self.wait();
            if self.failure.is_some() {
                dst.fill(T::default());
            } else {
                dst.copy_from_slice(staged);
            }
        }
    }

    /// Waits until the stream is empty.
    pub(super) fn wait(&mut self) {
        if self.bind() {
            // SAFETY: the stream lives until drop.
            let waited = unsafe { result::stream::synchronize(self.stream) };
            self.check("waiting", waited);
        }
    }

    /// Copies `bytes` bytes on the device.
    pub(super) fn copy(&mut self, from: u64, to: u64, bytes: usize) {
        if bytes > 0 && self.bind() {
            // SAFETY: both addresses are inside live arrays with room for the bytes (the callers check it).
            let copied = unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) };
            self.check("a copy on the GPU", copied);
        }
    }

    /// Sets `bytes` bytes to zero.
    pub(super) fn zero(&mut self, at: u64, bytes: usize) {
        if bytes > 0 && self.bind() {
            // SAFETY: as in `copy`.
            let set = unsafe { result::memset_d8_async(at, 0, bytes, self.stream) };
            self.check("clearing memory", set);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: each was made once by `new` and is not used afterwards. Errors of a lost device don't matter here.
        unsafe {
            let _ = result::stream::synchronize(self.stream);
            let _ = result::stream::destroy(self.stream);
            for module in &self.modules {
                let _ = result::module::unload(*module);
            }
            if !self.pinned.is_null() {
                let _ = result::free_host(self.pinned.cast());
            }
        }
    }
}
