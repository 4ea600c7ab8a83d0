//! Audio devices: they produce input samples and play slots in real time. A backend opens what a
//! [`DeviceConfig`] names, gets its ports from the [`EngineHandle`], and runs its callbacks over them. It
//! reports faults; the [`crate::supervisor`] decides what to do. Files are no device: nothing is late there
//! ([`mod@file`]).

pub mod cpal;
pub mod file;
pub mod jack;
pub mod null;
mod stream_clock;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::live::EngineHandle;

/// Which device to open, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The system: jack, alsa, pipewire, pulseaudio or null; none: the machine's default.
    pub host: Option<String>,
    /// Name of the input, or its beginning.
    pub input: Option<String>,
    /// Name of the output, or its beginning.
    pub output: Option<String>,
    /// Name of the MIDI port, or its beginning, where the system has audio and MIDI (JACK).
    pub midi: Option<String>,
    /// Name of this client, where clients have names (JACK).
    pub client: String,
    /// Frames of a block, where the program chooses them.
    pub period: u32,
    /// Round-trip latency that the device does not report, in microseconds, as [`crate::calibrate`] measures
    /// it.
    pub extra_latency: i32,
    /// The stem that the musician plays.
    pub input_stem: String,
    /// All stems, in the model's order.
    pub stems: Vec<String>,
}

/// Numbers of an open device that its callbacks keep up to date.
#[derive(Debug, Default)]
pub struct DeviceStats {
    /// Input latency in frames of the input.
    pub latency_in: AtomicU32,
    /// Output latency in frames of the output.
    pub latency_out: AtomicU32,
    /// Frames of a block.
    pub period: AtomicU32,
    /// Underruns and overruns that the device reported.
    pub xruns: AtomicU64,
    /// Frames seen by the output's callback.
    pub frames: AtomicU64,
    /// The device runs as fast as its clients compute (JACK's freewheel), and not in real time.
    pub freewheel: AtomicBool,
    /// Frames a second that the device runs at now; 0: as when it was opened.
    pub rate: AtomicU32,
}

/// An open device. Dropping it closes it.
pub trait Stream {
    /// System, names, rates and period, in words.
    fn description(&self) -> String;
    /// Rates of input and output.
    fn rates(&self) -> (u32, u32);
    /// Latencies and counts.
    fn stats(&self) -> &Arc<DeviceStats>;
    /// Why it no longer works, as the system reports it; none while it works.
    fn failure(&self) -> Option<String>;
    /// The connections that it had before it failed, to be made again; none where a system has no connections.
    fn links(&self) -> Vec<Link> {
        Vec::new()
    }
}

/// A connection of one of the client's ports with a port of another client (JACK).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The client's port, without the client's name, which may be another one next time.
    pub own: String,
    /// Name of the other port, with its client's.
    pub other: String,
    /// The client plays to the other port.
    pub output: bool,
}

impl DeviceStats {
    /// Round-trip latency in frames of the output: from when a sound is played to when it is heard again.
    /// `extra`: microseconds that the device does not report.
    pub fn round_trip(&self, rate_in: u32, rate_out: u32, extra: i32) -> u64 {
        let reported = u64::from(self.latency_out.load(Ordering::Relaxed))
            + u64::from(self.latency_in.load(Ordering::Relaxed)) * u64::from(rate_out) / u64::from(rate_in.max(1));
        reported.saturating_add_signed(i64::from(extra) * i64::from(rate_out) / 1_000_000)
    }

    /// Latencies of input and output in ms, at these rates.
    pub fn latency_ms(&self, (rate_in, rate_out): (u32, u32)) -> (f32, f32) {
        let ms = |frames: &AtomicU32, rate: u32| frames.load(Ordering::Relaxed) as f32 * 1e3 / rate.max(1) as f32;
        (ms(&self.latency_in, rate_in), ms(&self.latency_out, rate_out))
    }
}

/// Opens a device. `again`: it was open before, with these connections.
///
/// # Errors
/// The flag or system at fault, and what there is.
pub fn open(config: &DeviceConfig, engine: &EngineHandle, again: Option<&[Link]>) -> Result<Box<dyn Stream>, String> {
    match config.host.as_deref() {
        Some("null") => null::open(engine),
        Some("jack") => jack::open(config, engine, again),
        _ => cpal::open(config, engine),
    }
}

impl DeviceConfig {
    /// Seconds that the device is expected to add from sound in to sound out, before it is open: a period
    /// each way, one of slack, and the latency that it does not report. The lag is chosen by it.
    pub fn expected_latency(&self) -> f64 {
        match self.host.as_deref() {
            Some("null") => 0.0,
            _ => 3.0 * f64::from(self.period) / 44_100.0 + f64::from(self.extra_latency.max(0)) / 1e6,
        }
    }
}
