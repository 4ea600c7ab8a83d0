//! Everything that needs a thread, a clock, a socket or a device.
//!
//! A live session, from input to output: [`device`], [`input`], [`live`] with [`runner`], [`mix`],
//! [`output`], [`device`]. The other modules:
//!
//! * [`control`]: the queue of requests to the session. [`command_language`], [`osc`] and [`midi`] fill it;
//!   [`clock`] follows a beat from outside.
//! * [`load_shedding`], [`failover`], [`silence_watchdog`], [`supervisor`]: what happens when the computer, a
//!   GPU, a stem or a device fails.
//! * [`event`]: what happened in a session, and its text. [`command_text`]: commands in words.
//! * [`recorder`], [`take`]: recording and takes. [`page`], [`dawproject`]: the page and the DAW project
//!   beside the WAVs of a song or a take.
//! * [`join`]: joins threads in bounded time.
//! * [`rt`]: the rules of realtime code. [`mailbox`]: how the engine's thread sends to others.
//! * [`speed`], [`calibrate`]: the speed of the computer, the latency of a device.

pub mod calibrate;
pub mod clock;
pub mod command_language;
pub mod command_text;
pub mod control;
pub mod dawproject;
pub mod device;
mod drift;
pub mod event;
pub mod failover;
pub mod input;
pub mod join;
pub mod live;
pub mod load_shedding;
pub mod mailbox;
pub mod midi;
pub mod mix;
pub mod osc;
pub mod output;
pub mod page;
mod published;
pub mod recorder;
pub mod resample;
pub mod rt;
pub mod run_mode;
pub mod runner;
pub mod silence_watchdog;
pub mod slot_layout;
pub mod speed;
pub mod supervisor;
pub mod take;
mod text_encoder_thread;
mod touched;

/// Counts allocations in callbacks.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;
