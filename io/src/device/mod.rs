//! Devices: who gives samples and takes slots in real time. A backend opens what was asked for, asks the [`EngineHandle`] for its two ring ends
//! at its rates, and runs its callbacks over them; it reports, the [`crate::supervisor`] decides. Files are no device: nothing there is
//! late (`file`).

pub mod cpal;
pub mod file;
pub mod jack;
pub mod null;
mod stream_clock;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::live::EngineHandle;

/// What to play on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The system: jack, alsa, pipewire, pulseaudio, null, or what the machine has.
    pub host: Option<String>,
    /// Name of the input, or its beginning.
    pub input: Option<String>,
    /// Name of the output, or its beginning.
    pub output: Option<String>,
    /// Name of the MIDI port, or its beginning, where the system has audio and MIDI in one (JACK).
    pub midi: Option<String>,
    /// Name of this client where the system has names.
    pub client: String,
    /// Frames of a block, where they can be asked for.
    pub period: u32,
    /// Round trip that the device does not tell of, in microseconds, as [`crate::calibrate`] measures it.
    pub beyond: i32,
    /// The stem that the musician plays, and those that the band may play, in the model's order.
    pub input_stem: String,
    /// See `input_stem`.
    pub stems: Vec<String>,
}

/// What was opened, in numbers that its callbacks keep up to date.
#[derive(Debug, Default)]
pub struct DeviceStats {
    /// Latencies in frames of the device's own rate.
    pub latency_in: AtomicU32,
    /// See `latency_in`.
    pub latency_out: AtomicU32,
    /// Frames of a block.
    pub period: AtomicU32,
    /// What the device reported as missed.
    pub xruns: AtomicU64,
    /// Frames seen by the output's callback.
    pub frames: AtomicU64,
}

/// An open device. Dropping it closes it.
pub trait Stream {
    /// In words: system, names, rates, period.
    fn about(&self) -> String;
    /// Rates of input and output.
    fn rates(&self) -> (u32, u32);
    /// Numbers.
    fn stats(&self) -> &Arc<DeviceStats>;
    /// Why it is no more; none while it is.
    fn lost(&self) -> Option<String>;
}

impl DeviceStats {
    /// Frames of the output, at rates of input and output, from when a sound is played to when it is heard again.
    pub fn trip(&self, rate_in: u32, rate_out: u32, beyond: i32) -> u64 {
        let told = u64::from(self.latency_out.load(Ordering::Relaxed))
            + u64::from(self.latency_in.load(Ordering::Relaxed)) * u64::from(rate_out) / u64::from(rate_in.max(1));
        told.saturating_add_signed(i64::from(beyond) * i64::from(rate_out) / 1_000_000)
    }

    /// ms of input and output at these rates.
    pub fn latency_ms(&self, (rate_in, rate_out): (u32, u32)) -> (f32, f32) {
        let ms = |frames: &AtomicU32, rate: u32| frames.load(Ordering::Relaxed) as f32 * 1e3 / rate.max(1) as f32;
        (ms(&self.latency_in, rate_in), ms(&self.latency_out, rate_out))
    }
}

/// Opens what was asked for.
///
/// # Errors
/// One sentence: what is missing, and what there is.
pub fn open(asked: &DeviceConfig, link: &EngineHandle) -> Result<Box<dyn Stream>, String> {
    match asked.host.as_deref() {
        Some("null") => null::open(link),
        Some("jack") => jack::open(asked, link),
        _ => cpal::open(asked, link),
    }
}

/// Seconds from sound in to sound out that the device adds, before it is open: to choose the lag. A period each way, one of
/// slack, and what was measured beyond that.
pub fn expected_latency(asked: &DeviceConfig) -> f64 {
    match asked.host.as_deref() {
        Some("null") => 0.0,
        _ => 3.0 * f64::from(asked.period) / 44_100.0 + f64::from(asked.beyond.max(0)) / 1e6,
    }
}
