//! A GPU on paper. The shared library gives the CUDA driver API to cudarc (or any caller) and runs the very PTX
//! it is handed on the CPU, checking every access. Pure Rust, for tests; no GPU, driver or toolkit is needed.
//!
//! * [`ptx`]: text to syntax. * [`program`]: syntax to functions. * [`machine`]: warps, blocks, grids, checks, counts.
//! * [`memory`], [`device`]: allocations, modules, launches. * [`driver`]: streams, events, graphs, the C API.
//! * [`fake`]: what a test in Rust uses.
//!
//! The README says what it checks, what it counts and what it can't show.

pub mod device;
pub mod driver;
pub mod fake;
pub mod machine;
pub mod memory;
pub mod program;
pub mod ptx;

pub use fake::Fake;
