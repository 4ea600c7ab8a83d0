//! The machine: grids, blocks and warps that run decoded programs, and the checks on what they do.

pub mod access;
pub mod atomic;
pub mod block;
pub mod clock;
pub mod collective;
pub mod count;
pub mod exec;
pub mod fault;
pub mod grid;
pub mod matrix;
pub mod race;
pub mod shared;
pub mod touched;
pub mod warp;

pub use count::Counts;
pub use fault::{Fault, FaultKind};
pub use grid::{Launch, Options, Order};
