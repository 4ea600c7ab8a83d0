//! A PTX emulator with the CUDA driver API in front of it. The shared library runs the PTX that it is given on the
//! CPU and checks every memory access. Pure Rust, for tests; no GPU, driver or toolkit is needed.
//!
//! * [`ptx`]: text to syntax. * [`program`]: syntax to functions. * [`machine`]: warps, blocks, grids, checks, counts.
//! * [`memory`], [`device`]: allocations, modules, launches. * [`driver`]: streams, events, graphs, the C API.
//! * [`fake`]: what a test in Rust uses.
//!
//! The README lists what it checks, what it counts and what it can't show.

pub mod device;
pub mod driver;
pub mod fake;
pub mod machine;
pub mod memory;
pub mod program;
pub mod ptx;

pub use fake::Fake;
