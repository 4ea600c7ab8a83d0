//! Everything with a thread, a clock, a socket or a device. A session, from the ear to the speaker: [`device`] → [`input`] → [`live`]
//! ([`runner`], [`ladder`], [`silence_watchdog`]) → [`mix`] → [`output`] → [`device`]; beside it [`control`] (who may ask for what), what drives it ([`osc`],
//! [`midi`], [`sync`], [`transport`], Ableton Link with the feature `link`; in time by [`speaker`]), [`tape`] and [`take`] (what is kept), [`supervisor`] (devices that come and go), [`rt`] (the rules). And how fast
//! this machine is: [`speed`]; how long its sound takes: [`calibrate`].

pub mod calibrate;
pub mod control;
pub mod device;
pub mod failover;
pub mod input;
pub mod ladder;
#[cfg(feature = "link")]
pub mod link;
pub mod live;
pub mod midi;
pub mod mix;
pub mod osc;
pub mod output;
pub mod playback_clock;
pub mod resample;
pub mod rt;
pub mod runner;
pub mod silence_watchdog;
pub mod speed;
pub mod supervisor;
pub mod sync;
pub mod take;
pub mod tape;
mod text_encoder_thread;
pub mod transport;
