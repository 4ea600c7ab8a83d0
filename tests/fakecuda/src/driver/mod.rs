//! The CUDA driver API in C, as cudarc calls it, over one emulated device.

pub mod capture;
pub mod code;
pub mod config;
pub mod guard;
pub mod queue;
pub mod state;

pub mod api_context;
pub mod api_launch;
pub mod api_memory;
pub mod api_module;
pub mod api_stream;
pub mod api_test;
