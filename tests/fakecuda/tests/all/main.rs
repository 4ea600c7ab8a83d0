//! The tests of the PTX emulator, one module per topic, in one binary.

mod common;
mod counts;
mod driver;
mod faults;
mod fuzz;
mod instructions;
mod kernels;
mod matrices;
