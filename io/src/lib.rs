//! Everything with a thread, a clock, a socket or a device: how the band is played live ([`control`], [`rt`]), what drives it
//! ([`osc`], [`midi`], [`sync`]), and how fast this machine is ([`speed`]).

pub mod control;
pub mod midi;
pub mod osc;
pub mod rt;
pub mod speed;
pub mod sync;
