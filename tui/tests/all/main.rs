//! The tests of the program as a user runs it, one module per topic, in one binary. tests/README.md says
//! where a new test goes.

mod alsa;
mod chromium;
mod cli;
mod form;
mod gpu;
mod hearing;
mod house;
mod jack_midi;
mod live;
mod outputs;
mod page;
mod pipewire;
mod pty;
mod replace;
mod rig;
mod screen;
mod separate;
mod soak;
mod strangers;
mod takes;
