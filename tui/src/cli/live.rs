//! Arguments of `live` and `replay`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sideman_engine::limits;

use super::heading;
use super::range::f64_in;
use super::{ChartArgs, Instrument, MixArgs, RunArgs, SamplingArgs};

/// How fast `live --from` reads its file.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// As fast as the machine computes; the files are the same
    Fast,
    /// In real time
    Real,
}

/// Source of the beat.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClockSource {
    /// The session's own tempo
    Internal,
    /// MIDI clock; the band starts at a MIDI start
    Midi,
    /// The JACK transport; the band starts when it rolls
    Jack,
    /// Ableton Link, in builds that have it; the band starts when a peer starts
    Link,
    /// You: count in with four notes of one pitch, three in 3/4; the band follows you
    Ear,
    /// No clock: the model gets no beat, and keeps it poorly from the input alone
    Free,
}

/// OSC, MIDI and the clock.
#[derive(Args, Clone)]
#[command(next_help_heading = heading::SURFACES)]
pub struct SurfaceArgs {
    /// Receive OSC on this address; `sideman osc` lists what it understands
    ///
    /// ADDRESS is HOST:PORT, PORT or HOST; without one it is 127.0.0.1:9940, which only this computer can
    /// reach. 0.0.0.0:9940 lets everyone on the network control the session.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9940", value_parser = crate::control_surfaces::osc_address)]
    pub osc: Option<std::net::SocketAddr>,
    /// Host to which any OSC peer may have values sent, with /jam/subscribe HOST PORT; may be repeated
    ///
    /// Without it, a peer may subscribe ports of its own host only.
    #[arg(long, value_name = "IP", requires = "osc")]
    pub osc_allow: Vec<std::net::IpAddr>,
    /// Don't announce the OSC port on the network (mDNS, _osc._udp); a loopback address never is
    #[arg(long)]
    pub no_announce: bool,
    /// MIDI port of your controller, or the beginning of its name
    ///
    /// With --host jack, `none` connects nothing: connect the JACK ports midi_in and midi_out yourself.
    #[arg(long, value_name = "PORT")]
    pub midi: Option<String>,
    /// TOML file that maps MIDI messages to commands; MIDI learn writes to it [default: sideman/midi.toml in
    /// your configuration folder]
    #[arg(long, value_name = "FILE")]
    pub midi_map: Option<PathBuf>,
    /// Source of the beat [default: internal; without --tempo: ear with devices, free with a file]
    #[arg(long, value_name = "SOURCE", value_enum)]
    pub clock: Option<ClockSource>,
    /// With a file: wait for /jam/transport/play, so that OSC commands sent before it take effect from the
    /// first bar
    #[arg(long, requires = "from", requires = "osc")]
    pub wait: bool,
}

/// `sideman live`.
#[derive(Args, Clone)]
#[command(
    after_help = "Examples:\n  \
        sideman live --host jack --tempo 112 --count-in 1 --chords \"Em Em C D\"\n  \
        sideman live --headless --tempo 96 --record takes\n  \
        sideman live --from bass.wav --to take --pace fast --instrument bass --tempo 104 --bar1 0.5 --lag 8 --seed 7",
    next_help_heading = heading::FILES
)]
pub struct Live {
    /// Recording to play to, instead of an input device
    #[arg(long, value_name = "FILE", requires = "to")]
    pub from: Option<PathBuf>,
    /// Folder for the WAV files, instead of an output device; created if it doesn't exist
    #[arg(long, value_name = "DIR", requires = "from")]
    pub to: Option<PathBuf>,
    /// Replace files of the same names in the folder of --to; never a file that is read
    #[arg(long, requires = "to")]
    pub force: bool,
    /// Speed at which the recording is read
    #[arg(long, value_enum, default_value = "fast")]
    pub pace: Pace,
    /// Record from the start, into a new folder take-DATE-TIME in DIR; takes that you start later go to DIR
    /// too, or to ./takes without this flag
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Folder for the last ten minutes, which K saves as a take: up to 555 MB in files that only you can read,
    /// deleted at the end [default: sideman in your cache folder]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["no_roll", "from"])]
    pub roll: Option<PathBuf>,
    /// Don't write the last ten minutes to disk; K then has nothing to save
    #[arg(long)]
    pub no_roll: bool,
    /// Stop after this many seconds [default: at Ctrl-C, or at the end of the file]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = f64_in(limits::SESSION_SECONDS))]
    pub seconds: Option<f64>,
    /// No screen: print one status line per second on stderr; automatic without a terminal and with --pace
    /// fast
    #[arg(long)]
    pub headless: bool,

    /// What you play: a stem of the model, or guitar, keys or voice, which are the stem `other`; `none` generates all
    /// stems
    ///
    /// `voice` (a singer or a wind instrument) says that one note sounds at a time, which decides how a recording of
    /// --from is heard.
    #[arg(long = "instrument", alias = "play", value_name = "INSTRUMENT", default_value = "bass", help_heading = heading::SONG)]
    pub instrument: String,
    #[arg(long, help = format!("Clicks before bar 1, {} [default: 1 with devices, 0 with a file]", limits::COUNT_IN), value_name = "BARS", value_parser = clap::value_parser!(u8).range(limits::COUNT_IN.whole()), help_heading = heading::SONG)]
    pub count_in: Option<u8>,
    /// Keep the click on after the count-in
    #[arg(long, help_heading = heading::SONG)]
    pub click: bool,
    #[command(flatten)]
    pub mix: MixArgs,
    #[command(flatten)]
    pub chart: ChartArgs,

    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// Audio system: jack, alsa, pipewire, pulseaudio or null [default: the machine's own, ALSA on Linux]
    #[arg(long, value_name = "HOST", help_heading = heading::DEVICES)]
    pub host: Option<String>,
    /// Input device, as `sideman doctor` lists it; ALSA hears its first channel. With JACK, the beginning of a port's
    /// name; without it nothing is connected
    #[arg(long, value_name = "DEVICE", help_heading = heading::DEVICES)]
    pub input: Option<String>,
    /// Output device, as `sideman doctor` lists it. With JACK, the beginning of the ports' names; without it nothing
    /// is connected
    #[arg(long, value_name = "DEVICE", help_heading = heading::DEVICES)]
    pub output: Option<String>,
    /// Client name in JACK
    #[arg(long, value_name = "NAME", default_value = "sideman", help_heading = heading::DEVICES)]
    pub client: String,
    /// Buffer size of the device in audio frames, 16 to 8192; some devices choose their own
    #[arg(long, value_name = "FRAMES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=8192), help_heading = heading::DEVICES)]
    pub period: u32,
    /// Round-trip latency in ms that the device doesn't report, as measured by `sideman doctor --calibrate`
    #[arg(long, value_name = "MS", default_value_t = 0.0, allow_negative_numbers = true, value_parser = f64_in(limits::EXTRA_LATENCY), help_heading = heading::DEVICES)]
    pub latency: f64,
    /// How late the model hears you, in frames of 20 ms [default: the shortest that your devices and computer
    /// allow]
    ///
    /// The stems stay in time with you at every lag; the lag is only how long the model takes to react to
    /// what you play. Each frame of lag adds 20 ms of lead. The lead is how early a sample is computed before
    /// it has to sound: a hop, its computing time and the devices' latencies must fit into it. The house
    /// model is trained for lags of 4 to 25 frames.
    #[arg(long, value_name = "FRAMES", help_heading = heading::DEVICES)]
    pub lag: Option<u16>,
    #[arg(long, help = format!("Hop: {} (20 ms each) computed at a time; a shorter hop allows a shorter lag and costs more processor \
            time, and doesn't change the music [default: 4, or what fits into the lead of --lag]", limits::HOP), value_name = "FRAMES", value_parser = clap::value_parser!(u8).range(limits::HOP.whole()), help_heading = heading::DEVICES)]
    pub hop: Option<u8>,

    /// TOML file with your own keys, such as `mute = "M"` [default: sideman/keys.toml in your configuration
    /// folder, if it exists]
    #[arg(long, value_name = "FILE", help_heading = heading::SURFACES)]
    pub keys: Option<PathBuf>,
    #[command(flatten)]
    pub surfaces: SurfaceArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

impl Live {
    /// The stem of `--instrument`; `None`: all stems are generated.
    pub fn input_stem(&self) -> Option<&str> {
        match self.instrument.as_str() {
            "none" => None,
            _ if self.named_instrument().is_some() => Some("other"),
            stem => Some(stem),
        }
    }

    /// The instrument, if `--instrument` names one rather than a stem.
    pub fn named_instrument(&self) -> Option<Instrument> {
        Instrument::from_str(&self.instrument, false).ok()
    }

    /// Whether the session is a JACK client.
    pub fn uses_jack(&self) -> bool {
        self.from.is_none() && self.host.as_deref() == Some("jack")
    }
}

/// `sideman replay`.
#[derive(Args)]
#[command(after_help = "Example:\n  sideman replay takes/take-20260314-212055 --out again", next_help_heading = heading::FILES)]
pub struct Replay {
    /// Folder of a take that was recorded from the start of its session
    #[arg(value_name = "TAKE", help_heading = "Arguments")]
    pub take: PathBuf,
    /// Folder for the new take
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace files of the same names in the folder of --out; never a file that is read
    #[arg(long)]
    pub force: bool,
    /// Model directory [default: the one that the take names]
    #[arg(long, value_name = "DIR", help_heading = heading::MACHINE)]
    pub model: Option<PathBuf>,
    /// Processor threads, 1 to 256 [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = heading::MACHINE)]
    pub threads: Option<u16>,
    /// Don't write index.html, the page on which a browser shows and plays the files
    #[arg(long)]
    pub no_page: bool,
    /// Print a JSON report on stdout
    #[arg(long)]
    pub json: bool,
}
