//! Arguments of `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::heading;

/// `sideman doctor`.
#[derive(Args)]
#[command(after_help = "Examples:\n  sideman doctor\n  sideman doctor --calibrate --host jack", next_help_heading = heading::DEVICES)]
pub struct Doctor {
    /// Only measure the round-trip latency by sound; connect an output to an input with a cable first
    #[arg(long)]
    pub calibrate: bool,
    /// Audio system to measure: jack, alsa, pipewire or pulseaudio [default: this machine's]
    #[arg(long, value_name = "HOST", requires = "calibrate")]
    pub host: Option<String>,
    /// Input device; with JACK, the beginning of a port's name
    #[arg(long, value_name = "DEVICE", requires = "calibrate")]
    pub input: Option<String>,
    /// Output device; with JACK, the beginning of the ports' names
    #[arg(long, value_name = "DEVICE", requires = "calibrate")]
    pub output: Option<String>,
    /// Buffer size of the device in audio frames, 16 to 8192; some devices choose their own
    #[arg(long, value_name = "FRAMES", requires = "calibrate", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub period: u32,
    /// Model directory to time [default: all installed models]
    #[arg(long, value_name = "DIR", help_heading = heading::MACHINE)]
    pub model: Option<PathBuf>,
    /// Processor threads, 1 to 256 [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = heading::MACHINE)]
    pub threads: Option<u16>,
    /// Print a JSON report on stdout
    #[arg(long, help_heading = heading::FILES)]
    pub json: bool,
}
