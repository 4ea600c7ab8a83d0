//! Helpers of the integration tests: fixture models, reference data, a fuzzer, JACK servers and live sessions.

pub mod alsa;
pub mod checkpoint;
pub mod codecs;
pub mod echo;
pub mod fixture;
pub mod fuzz;
pub mod golden;
pub mod jackd;
pub mod jam;
pub mod listen;
pub mod manual_device;
pub mod medium;
pub mod published;
pub mod rng;
pub mod song;
pub mod stage;
