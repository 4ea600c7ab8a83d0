//! Helpers of the tests: a device, buffers, launches, deterministic random numbers.
#![allow(dead_code)] // Each test binary compiles this file, and none uses all of it.

use std::path::PathBuf;
use std::sync::Arc;

use sideman_fakecuda::device::{Device, Loaded, pack};
use sideman_fakecuda::machine::{Fault, Launch, Options, Order};
use sideman_fakecuda::memory::Kind;
use sideman_fakecuda::program::Code;

/// xorshift: the same numbers on every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// In [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
    pub fn units(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit()).collect()
    }
}

/// Types that convert to bytes.
pub trait Plain: Copy {
    fn bytes(list: &[Self]) -> Vec<u8>;
    fn from(bytes: &[u8]) -> Vec<Self>;
}
macro_rules! plain {
    ($($t:ty),*) => {$(impl Plain for $t {
        fn bytes(list: &[Self]) -> Vec<u8> { list.iter().flat_map(|v| v.to_le_bytes()).collect() }
        fn from(bytes: &[u8]) -> Vec<Self> {
            bytes.chunks_exact(size_of::<$t>()).map(|c| <$t>::from_le_bytes(c.try_into().unwrap())).collect()
        }
    })*};
}
plain!(u8, i8, u16, u32, i32, u64, f32, f64);

/// A device with a module loaded.
pub struct Bench {
    pub device: Device,
    pub module: Loaded,
}

/// The committed PTX of `cu/<name>.cu` for an arch.
pub fn ptx(name: &str, sm: u32) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("cu/ptx/{name}.sm_{sm}.ptx"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn options(order: Order) -> Options {
    Options { order, seed: 7, threads: 2, ..Options::default() }
}

impl Bench {
    pub fn new(text: &str, sm: u32, options: Options) -> Self {
        let mut device = Device::new(sm, options);
        let module = device.load(text).unwrap_or_else(|e| panic!("{e}"));
        Bench { device, module }
    }
    pub fn alloc(&mut self, bytes: usize) -> u64 {
        self.device.memory.alloc(bytes as u64, Kind::Device).unwrap()
    }
    pub fn put<T: Plain>(&mut self, list: &[T]) -> u64 {
        let data = T::bytes(list);
        let at = self.alloc(data.len());
        self.device.memory.find(at, data.len() as u64).unwrap().write(at, &data);
        at
    }
    pub fn get<T: Plain>(&self, at: u64, n: usize) -> Vec<T> {
        let bytes = n * size_of::<T>();
        T::from(&self.device.memory.find(at, bytes as u64).unwrap().read(at, bytes))
    }
    pub fn code(&self, kernel: &str) -> Arc<Code> {
        self.module.kernels.get(kernel).unwrap_or_else(|| panic!("no kernel {kernel}")).clone()
    }
    pub fn launch(&mut self, kernel: &str, grid: [u32; 3], block: [u32; 3], shared: u32, args: &[&[u8]]) -> Result<(), Fault> {
        self.start(kernel, grid, block, shared, args, false)
    }
    pub fn start(
        &mut self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        args: &[&[u8]],
        cooperative: bool,
    ) -> Result<(), Fault> {
        let code = self.code(kernel);
        let params = pack(&code, args)?;
        let launch = Launch { code: &code, grid, block, dynamic_shared, params, cooperative };
        self.device.check(&launch, 48 << 10)?;
        self.device.run(launch)
    }
}

/// Bytes of an argument.
pub fn arg<T: Plain>(v: T) -> Vec<u8> {
    T::bytes(&[v])
}
