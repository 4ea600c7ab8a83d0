//! Arguments that several commands take: the model and the machine, sampling, and what is known about the
//! song.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sideman_engine::limits;

use super::heading;
use super::range::{f32_in, f64_in};

/// Precision of the weights in memory.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 4 bytes per weight
    F32,
    /// 2 bytes per weight
    Bf16,
    /// 1.125 bytes per weight
    Q8,
    /// 0.625 bytes per weight; coarse, meant for large models
    Q4,
}

/// How q8 and q4 weights are multiplied.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActivationsChoice {
    /// In 32 bits: the arithmetic of GPUs, and of takes before this option
    F32,
    /// In 8-bit integers with a scale for each 32: faster
    Int8,
}

/// The backend that computes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// The GPU if there is a usable one, else the processor; `live` uses the processor
    Auto,
    /// The processor
    Cpu,
    /// The first NVIDIA GPU; an error says why if it can't be used
    Cuda,
}

/// The instrument of a recording that is not bass or drums, which decides how its notes are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Instrument {
    /// Chords and lines of a guitar
    Guitar,
    /// Chords of a piano, organ or synthesizer
    Keys,
    /// A singer or a wind instrument: one note at a time
    Voice,
}

/// The precision where none is chosen.
pub const DEFAULT_PRECISION: &str = "bf16";

/// Which model runs, and on what.
#[derive(Args, Clone)]
#[command(next_help_heading = heading::MACHINE)]
pub struct RunArgs {
    /// Model directory [default: $SIDEMAN_MODEL, else the house model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Processor threads, 1 to 256 [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Precision of the weights in memory
    #[arg(long, value_enum, default_value = DEFAULT_PRECISION)]
    pub precision: Precision,
    /// Precision of what q8 and q4 weights are multiplied by, on the processor
    #[arg(long, value_enum, default_value = "int8")]
    pub activations: ActivationsChoice,
    /// Backend that computes
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendChoice,
    /// Print a JSON report on stdout, and no progress
    #[arg(long, help_heading = heading::FILES)]
    pub json: bool,
    /// Don't write index.html, the page on which a browser shows and plays the files
    #[arg(long, help_heading = heading::FILES)]
    pub no_page: bool,
}

/// How the mix is made.
#[derive(Args, Clone, Copy)]
#[command(next_help_heading = heading::FILES)]
pub struct MixArgs {
    /// Level of the room in the mix, 0 to 1; 0: the plain sum of the stems. The stems themselves stay dry
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true, default_value_t = 0.3, value_parser = f32_in(limits::ROOM))]
    pub room: f32,
}

/// How the next token is chosen from the model's probabilities. A value that isn't given is the model's own.
#[derive(Args, Clone)]
#[command(next_help_heading = heading::SAMPLING)]
pub struct SamplingArgs {
    /// Seed of the random numbers; the same seed gives the same files [default: a new seed, which is printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    #[arg(long = "cfg", value_name = "SCALE", allow_negative_numbers = true, value_parser = f32_in(limits::START_CFG_SCALE),
        help = format!("Guidance scale, {}: how closely the music follows clock, chords, input stem and text; 1 is no guidance \
            [default: the model's]", limits::START_CFG_SCALE))]
    pub cfg_scale: Option<f32>,
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = f32_in(limits::START_TEMPERATURE),
        help = format!("Temperature, {}: higher is more random; 0 always takes the most likely token [default: the model's]",
            limits::START_TEMPERATURE))]
    pub temperature: Option<f32>,
    /// Sample from the K most likely tokens; 0 is all tokens [default: the model's]
    #[arg(long, value_name = "K")]
    pub top_k: Option<u32>,
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = f32_in(limits::TOP_P),
        help = format!("Sample from the fewest tokens whose probabilities add up to P, {}; 0 turns it off [default: the model's]",
            limits::TOP_P))]
    pub top_p: Option<f32>,
}

/// What is known about the song. A file NAME.json beside the recording NAME.flac (bpm, meter, bar1, chords,
/// text) supplies what the flags don't.
#[derive(Args, Clone)]
#[command(next_help_heading = heading::SONG)]
pub struct ChartArgs {
    #[arg(long, value_name = "BPM", allow_negative_numbers = true, value_parser = f64_in(limits::TEMPO),
        help = format!("Tempo, {} (quarter notes per minute); without it, the tempo is heard from the recordings, or chosen for the text if there are none, and `live` on devices waits for a count (--clock ear)", limits::TEMPO))]
    pub tempo: Option<f64>,
    /// Where bar 1 begins, in seconds from the start [default: 0; live with devices: after the count-in]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = f64_in(limits::BAR1))]
    pub bar1: Option<f64>,
    /// Meter: 4/4, 3/4, 6/8 or 12/8 [default: 4/4]
    #[arg(long, value_name = "METER")]
    pub meter: Option<String>,
    /// Chords, one per bar, repeated to the end of the song [default: those that are heard]
    ///
    /// "Em Em C D" is four bars. Chords with a comma share a bar: "Dm7,G7 C". Brackets name sections:
    /// "[Verse] Em C [Chorus] G D".
    #[arg(long, value_name = "CHORDS")]
    #[allow(rustdoc::broken_intra_doc_links)] // The brackets are text of the help.
    pub chords: Option<String>,
    /// Description of the music, such as "warm funk, dry drums"
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Ignore the JSON file beside the recording; without a recording, choose no tempo and no chords for the text
    #[arg(long)]
    pub no_chart: bool,
    /// Beats of the recording: a FILE of labels or MIDI, or how to correct what is heard: half, double, shift, off-beat
    ///
    /// A file of labels has a beat in each line: seconds and a label, which is 1 where a bar begins (Audacity, Sonic
    /// Visualiser). Of a MIDI file its tempo map is used. `half` and `double` change the number of beats; `shift` begins
    /// the bars a beat later (`shift-2` two beats); `off-beat` moves the beats by half a beat. Several are separated by
    /// commas.
    #[arg(long, value_name = "BEATS")]
    pub beats: Option<String>,
    /// Don't listen to the recordings for the tempo, bars and chords that nobody gives
    #[arg(long)]
    pub no_listen: bool,
}
