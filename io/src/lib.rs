//! Everything with a thread, a clock, a socket or a device. So far: how fast this machine is.

pub mod speed;
