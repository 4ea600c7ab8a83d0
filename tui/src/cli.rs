//! What may be typed. Every command shows an example in its `--help`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Sideman plays the stems that you don't: give it a bass, it plays drums and other.
#[derive(Parser)]
#[command(name = "sideman", version, after_help = "Example:\n  sideman render --bass bass.flac --make drums,other --out band")]
pub struct Cli {
    /// What to do; nothing: the jam in this terminal, on the machine's own devices.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The jam without devices: a recorded bassist plays, the band is seen here and heard in WAVs (folder `demo`).
    #[arg(long)]
    pub demo: bool,
    /// Say more on stderr (-v, -vv).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Play the missing stems to recordings of the others, or all three from a text.
    Render(Render),
    /// Play one stem of a song anew; the others stay as they are.
    Edit(Edit),
    /// Go on from where a song ends.
    Continue(Continue),
    /// Play live: with devices, or the same between files.
    Live(Box<Live>),
    /// Play a recorded take again, sample for sample.
    Replay(Replay),
    /// List, describe and check models.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Tell what this machine can do: processor, memory, sound devices, milliseconds per step of every model.
    Doctor(Doctor),
    /// Print the OSC namespace: every address, its arguments, what it does.
    #[command(after_help = "Example:\n  sideman osc | grep stem")]
    Osc,
    /// Print the keys of the screen, as they are bound.
    #[command(after_help = "Examples:\n  sideman keys\n  sideman keys --keys my-keys.toml")]
    Keys(Keys),
}

/// `sideman keys`.
#[derive(Args)]
pub struct Keys {
    /// Your own keys, in TOML: mute = "M" [default: sideman/keys.toml in your folder of settings, where there is one]
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
}

/// Precision of the weights in memory.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 4 bytes a weight.
    F32,
    /// 2 bytes a weight.
    Bf16,
    /// 1.125 bytes a weight.
    Q8,
    /// 0.625 bytes a weight: coarse, for large models.
    Q4,
}

/// What computes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// The GPU where there is one that can, else the processor; on stage (live) the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU, or an error that says why it can't.
    Cuda,
}

/// What every command that plays a model takes.
#[derive(Args)]
pub struct RunArgs {
    /// Model directory [default: $SIDEMAN_MODEL, else the house model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Threads to compute with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Precision of the weights in memory
    #[arg(long, value_enum, default_value = "bf16")]
    pub precision: Precision,
    /// What computes
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendChoice,
    /// Print a JSON document on stdout, and no progress
    #[arg(long)]
    pub json: bool,
}

/// How tokens are drawn; what isn't given is the model's own.
#[derive(Args)]
pub struct SamplingArgs {
    /// Seed: the same one gives the same files [default: a new one each time; it is printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How hard the band leans on clock, chords, player and text (guidance); 1 is not at all
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub cfg: Option<f32>,
    /// Temperature; 0 takes the likeliest token always
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub temperature: Option<f32>,
    /// Draw from the K likeliest tokens; 0 is all
    #[arg(long, value_name = "K")]
    pub top_k: Option<u32>,
    /// Draw from the likeliest tokens that hold this share of the probability; 0 is off
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f32>,
}

/// What the band knows of the song ahead. A file NAME.json beside the recording NAME.flac (bpm, meter, bar1, chords, text) says
/// it where the flags don't.
#[derive(Args)]
pub struct ChartArgs {
    /// Tempo in quarter notes a minute; without it the band finds the beat by ear
    #[arg(long, value_name = "BPM", allow_negative_numbers = true)]
    pub tempo: Option<f64>,
    /// Where bar 1 begins in the recording, in seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub bar1: Option<f64>,
    /// Meter: 4/4, 3/4, 6/8 or 12/8
    #[arg(long, value_name = "N/D")]
    pub meter: Option<String>,
    /// Chords, one a bar, repeated: "Em Em C D"; "Dm7,G7" shares a bar, "[Verse] Em C [Chorus] G D" names sections; needs a tempo
    #[arg(long, value_name = "CHORDS")]
    pub chords: Option<String>,
    /// What it should sound like, in words
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Don't look for a JSON file beside the recording
    #[arg(long)]
    pub no_chart: bool,
}

/// `sideman render`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    sideman render --bass bass.flac --make drums,other --out band --tempo 100 --bar1 0.5 --chords \"Em7 Em7 A7 A7\"\n  \
    sideman render --text \"slow blues, brushes, organ\" --seconds 20 --out blues")]
pub struct Render {
    /// Recording of the bass: WAV, FLAC, MP3 or OGG, any rate, mono or more
    #[arg(long, value_name = "FILE")]
    pub bass: Option<PathBuf>,
    /// Recording of the drums
    #[arg(long, value_name = "FILE")]
    pub drums: Option<PathBuf>,
    /// Recording of everything else
    #[arg(long, value_name = "FILE")]
    pub other: Option<PathBuf>,
    /// Stems to play [default: all that aren't given]
    #[arg(long, value_name = "STEMS", value_delimiter = ',')]
    pub make: Vec<String>,
    /// Folder for the WAVs; made if need be
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Length [default: that of the longest recording; 20 without one]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub seconds: Option<f64>,
    /// How many versions to play side by side, in folders 1, 2, ... of DIR
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub variations: u16,
    /// Frames (of 20 ms) that the band hears late, as in live play [default: it hears the whole recording ahead]
    #[arg(long, value_name = "FRAMES")]
    pub lag: Option<u16>,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// `sideman edit`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    sideman edit band --redo drums --out band2\n  \
    sideman edit band --redo other --texture 3..4 --out band3")]
pub struct Edit {
    /// Folder with bass.wav, drums.wav and other.wav, as `render` writes it
    #[arg(value_name = "DIR")]
    pub song: PathBuf,
    /// The stem to play anew
    #[arg(long, value_name = "STEM")]
    pub redo: String,
    /// Only these levels of `other`, of 2 to 4: the same music in another sound
    #[arg(long, value_name = "FROM..TO")]
    pub texture: Option<String>,
    /// Keep nothing note for note: a variation of the song around the stems that are kept
    #[arg(long, conflicts_with = "texture")]
    pub free: bool,
    /// Folder for the WAVs; made if need be
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// `sideman continue`.
#[derive(Args)]
#[command(after_help = "Example:\n  sideman continue band --seconds 60 --out longer")]
pub struct Continue {
    /// Folder with bass.wav, drums.wav and other.wav, as `render` writes it
    #[arg(value_name = "DIR")]
    pub song: PathBuf,
    /// How much to add
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub seconds: f64,
    /// Folder for the WAVs; made if need be
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// How fast a file is played to the band.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// As fast as it goes; the same files.
    Fast,
    /// As you would play it.
    Real,
}

/// Who plays on the band beside its keys.
#[derive(Args)]
pub struct ControlSurfaces {
    /// Listen for OSC there; `sideman osc` prints what it understands
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9940", value_parser = crate::control_surfaces::osc_address)]
    pub osc: Option<std::net::SocketAddr>,
    /// Don't announce the OSC port on the network (mDNS, _osc._udp)
    #[arg(long)]
    pub no_announce: bool,
    /// MIDI port to play on the band, or the beginning of its name; under JACK `none` leaves midi_in and midi_out to be wired by hand
    #[arg(long, value_name = "PORT")]
    pub midi: Option<String>,
    /// What pedals and faders do; what is learned is kept there [default: sideman/midi.toml in your configuration folder]
    #[arg(long, value_name = "FILE")]
    pub midi_map: Option<PathBuf>,
    /// Where the beat comes from: internal, midi (the band waits for a start), jack (for the server's transport to roll), link (for
    /// you or another one on Ableton Link; in builds with it) or free
    #[arg(long, value_name = "SOURCE", value_parser = ["internal", "midi", "jack", "link", "free"])]
    pub clock: Option<String>,
    /// With a file: begin when /jam/transport/play comes, so that all that a script asks for before it comes true in its bar
    #[arg(long, requires = "from", requires = "osc")]
    pub wait: bool,
}

/// `sideman live`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    sideman live --host jack --tempo 112 --count-in 1 --chords \"Em Em C D\"\n  \
    sideman live --headless --tempo 96 --record takes\n  \
    sideman live --from bass.wav --to take --pace fast --play bass --tempo 104 --bar1 0.5 --lag 8 --seed 7")]
pub struct Live {
    /// A recording in place of a device to hear
    #[arg(long, value_name = "FILE", requires = "to")]
    pub from: Option<PathBuf>,
    /// Folder for what is played to it
    #[arg(long, value_name = "DIR", requires = "from")]
    pub to: Option<PathBuf>,
    /// How fast the recording is played
    #[arg(long, value_enum, default_value = "fast")]
    pub pace: Pace,
    /// The stem that you play; none: the band plays all
    #[arg(long, value_name = "STEM", default_value = "bass")]
    pub play: String,
    /// Frames (of 20 ms) that the band hears you late [default: as few as your devices and computer allow]
    #[arg(long, value_name = "FRAMES")]
    pub lag: Option<u16>,
    /// Frames decided at a time; fewer cost more, and change no sample
    #[arg(long, value_name = "FRAMES", default_value_t = 4, value_parser = clap::value_parser!(u8).range(sideman_engine::limits::HOP.whole()))]
    pub hop: u8,
    /// Bars of clicks before bar 1, 0 to 4 [default: 1 with devices, 0 with a file]
    #[arg(long, value_name = "BARS", value_parser = clap::value_parser!(u8).range(sideman_engine::limits::COUNT_IN.whole()))]
    pub count_in: Option<u8>,
    /// Go on clicking after the count-in
    #[arg(long)]
    pub click: bool,
    /// Record from the start, into a folder take-DATE-TIME of DIR; without it takes asked for go to ./takes
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// The sound system: jack, alsa, pipewire, pulseaudio or null [default: this machine's]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Input device (JACK: beginning of a port's name)
    #[arg(long, value_name = "DEVICE")]
    pub input: Option<String>,
    /// Output device (JACK: beginning of the ports' names)
    #[arg(long, value_name = "DEVICE")]
    pub output: Option<String>,
    /// Name as a client of JACK
    #[arg(long, value_name = "NAME", default_value = "sideman")]
    pub client: String,
    /// Frames of a device's block, where it can be asked for
    #[arg(long, value_name = "FRAMES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub period: u32,
    /// Round trip that the device doesn't tell of, in ms, as `sideman doctor --calibrate` measures it
    #[arg(long, value_name = "MS", default_value_t = 0.0, allow_negative_numbers = true)]
    pub latency: f64,
    /// No screen: one line a second on stderr; so it is anyway without a terminal, and between files at the fast pace
    #[arg(long)]
    pub headless: bool,
    /// Your own keys, in TOML: mute = "M" [default: sideman/keys.toml in your folder of settings, where there is one]
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// End after so long [default: with Ctrl-C, or with the file]
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    #[command(flatten)]
    pub hands: ControlSurfaces,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// `sideman replay`.
#[derive(Args)]
#[command(after_help = "Example:\n  sideman replay takes/take-20260314-212055 --out again")]
pub struct Replay {
    /// A take that was recorded from the start of its session
    #[arg(value_name = "TAKE")]
    pub take: PathBuf,
    /// Folder for the new take
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Model directory [default: the one that the take names]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Threads to compute with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Print a JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// `sideman model`.
#[derive(Subcommand)]
pub enum ModelCommand {
    /// List the models that are installed.
    #[command(after_help = "Example:\n  sideman model list")]
    List(ModelList),
    /// Describe one model: stems, sizes, licence, what it was trained for.
    #[command(after_help = "Example:\n  sideman model info models/house")]
    Info(ModelInfo),
    /// Make a model directory from a published checkpoint: MusicGen-Stem or MusicGen.
    #[command(after_help = "Examples:\n  \
        sideman model import musicgen-stem-6cb --t5 t5-base --to models/stem6 --quant q8\n  \
        sideman model import musicgen-small --to models/small")]
    Import(ModelImport),
    /// Hold a model to a reference's numbers; fails above 1e-4, or where a code differs.
    #[command(after_help = "Example:\n  sideman model verify models/house --golden reference.safetensors")]
    Verify(Verify),
}

/// `sideman model list`.
#[derive(Args)]
pub struct ModelList {
    /// Print a JSON document
    #[arg(long)]
    pub json: bool,
}

/// `sideman model info`.
#[derive(Args)]
pub struct ModelInfo {
    /// Model directory [default: $SIDEMAN_MODEL, else the house model]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print a JSON document
    #[arg(long)]
    pub json: bool,
}

/// Precision of the weights on disk.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoredAs {
    /// 2 bytes a weight.
    Bf16,
    /// 1.125 bytes a weight.
    Q8,
    /// 0.625 bytes a weight.
    Q4,
}

/// `sideman model import`.
#[derive(Args)]
pub struct ModelImport {
    /// Folder as it was downloaded: state_dict.bin and compression_state_dict*.bin, or config.json and model.safetensors
    #[arg(value_name = "SRC")]
    pub src: PathBuf,
    /// The model directory; it must not be there yet
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Folder of T5: config.json, model.safetensors, and tokenizer.json or spiece.model [default: the one inside of SRC's weights;
    /// audiocraft's hold none, and without it the model takes no text]
    #[arg(long, value_name = "DIR")]
    pub t5: Option<PathBuf>,
    /// Store the transformer's matrices smaller [default: as they are]
    #[arg(long, value_enum)]
    pub quant: Option<StoredAs>,
    /// Print a JSON document on stdout, and no progress
    #[arg(long)]
    pub json: bool,
}

/// `sideman model verify`.
#[derive(Args)]
pub struct Verify {
    /// Model directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The reference's inputs and outputs
    #[arg(long, value_name = "FILE")]
    pub golden: PathBuf,
    /// What computes (the text encoder is the processor's always)
    #[arg(long, value_enum, default_value = "cpu")]
    pub backend: BackendChoice,
    /// Threads to compute with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Print a JSON document
    #[arg(long)]
    pub json: bool,
}

/// `sideman doctor`.
#[derive(Args)]
#[command(after_help = "Example:\n  sideman doctor")]
pub struct Doctor {
    /// Measure the devices' round trip by sound, over a cable from the output to the input, instead of all else
    #[arg(long)]
    pub calibrate: bool,
    /// The sound system to measure: jack, alsa, pipewire, pulseaudio [default: this machine's]
    #[arg(long, value_name = "HOST", requires = "calibrate")]
    pub host: Option<String>,
    /// Input device (JACK: beginning of a port's name)
    #[arg(long, value_name = "DEVICE", requires = "calibrate")]
    pub input: Option<String>,
    /// Output device (JACK: beginning of the ports' names)
    #[arg(long, value_name = "DEVICE", requires = "calibrate")]
    pub output: Option<String>,
    /// Frames of a device's block, where it can be asked for
    #[arg(long, value_name = "FRAMES", requires = "calibrate", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub period: u32,
    /// A model directory to time, instead of all that are installed
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Threads to compute with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Print a JSON document
    #[arg(long)]
    pub json: bool,
}
