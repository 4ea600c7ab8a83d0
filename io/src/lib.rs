//! Everything with a thread, a clock, a socket or a device: how the band is played live ([`control`], [`rt`]), and how fast this machine
//! is ([`speed`]).

pub mod control;
pub mod rt;
pub mod speed;
