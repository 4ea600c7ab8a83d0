//! Arguments of the commands that make files from files: `render`, `edit`, `continue`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::heading;
use super::{ChartArgs, Instrument, MixArgs, RunArgs, SamplingArgs};

/// `sideman render`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  \
        sideman render --bass bass.flac --make drums,other --out song --tempo 100 --bar1 0.5 --chords \"Em7 Em7 A7 A7\"\n  \
        sideman render --text \"slow blues, brushes, organ\" --seconds 20 --out blues",
    next_help_heading = heading::FILES
)]
pub struct Render {
    /// Recording of the bass: WAV, FLAC, MP3 or OGG, any sample rate, any number of channels
    #[arg(long, value_name = "FILE")]
    pub bass: Option<PathBuf>,
    /// Recording of the drums
    #[arg(long, value_name = "FILE")]
    pub drums: Option<PathBuf>,
    /// Recording of everything else
    #[arg(long, value_name = "FILE")]
    pub other: Option<PathBuf>,
    /// Stems to generate, separated by commas [default: all that have no recording]
    #[arg(long, value_name = "STEMS", value_delimiter = ',')]
    pub make: Vec<String>,
    /// Folder for the WAV files; created if it doesn't exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace files of the same names in the folder of --out; never a file that is read
    #[arg(long)]
    pub force: bool,
    /// Length in seconds [default: that of the longest recording; 20 without a recording]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub seconds: Option<f64>,
    /// Number of versions, 1 to 16; more than one go to the folders 1, 2, ... of DIR
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub variations: u16,
    /// Instrument of the recording of --other [default: one that plays chords]
    #[arg(long, value_enum, value_name = "INSTRUMENT")]
    pub instrument: Option<Instrument>,
    /// Hear the recordings this many frames (20 ms each) late, as live play does [default: hear all of them
    /// in advance]
    #[arg(long, value_name = "FRAMES")]
    pub lag: Option<u16>,
    #[command(flatten)]
    pub mix: MixArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// `sideman edit`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  \
        sideman edit song --redo drums --out song2\n  \
        sideman edit song --redo other --texture 3..4 --out song3\n  \
        sideman edit record.mp3 --replace drums --text \"brushes\" --out record2",
    group(ArgGroup::new("task").required(true).args(["redo", "replace"])),
    next_help_heading = heading::FILES
)]
pub struct Edit {
    /// Folder with bass.wav, drums.wav and other.wav, as `render` writes it; with --replace a finished song: WAV, FLAC, MP3 or
    /// OGG, any sample rate, any number of channels
    #[arg(value_name = "SONG", help_heading = "Arguments")]
    pub song: PathBuf,
    /// Stem of the folder to generate again
    #[arg(long, value_name = "STEM")]
    pub redo: Option<String>,
    /// Stems of a finished song to take out and generate anew, separated by commas; the rest of the song stays as it is
    #[arg(long, value_name = "STEMS", value_delimiter = ',', conflicts_with_all = ["texture", "free"])]
    pub replace: Vec<String>,
    /// Separator's directory for --replace, as `sideman model import` writes it [default: the house model's separator]
    #[arg(long, value_name = "DIR", requires = "replace", help_heading = heading::MACHINE)]
    pub separator: Option<PathBuf>,
    /// Generate only these codebook levels of the stem `other`, 2 to 4: the same notes with another sound
    #[arg(long, value_name = "FROM..TO")]
    pub texture: Option<String>,
    /// Generate all stems again as a free variation, guided only by a coarse summary (10 values a second) of
    /// the song
    #[arg(long, conflicts_with = "texture")]
    pub free: bool,
    /// Folder for the WAV files; created if it doesn't exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace files of the same names in the folder of --out; never a file that is read
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub mix: MixArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// `sideman continue`.
#[derive(Args)]
#[command(after_help = "Example:\n  sideman continue song --seconds 60 --out longer", next_help_heading = heading::FILES)]
pub struct Continue {
    /// Folder with bass.wav, drums.wav and other.wav, as `render` writes it
    #[arg(value_name = "DIR", help_heading = "Arguments")]
    pub song: PathBuf,
    /// Seconds to add
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub seconds: f64,
    /// Folder for the WAV files; created if it doesn't exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace files of the same names in the folder of --out; never a file that is read
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub mix: MixArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub run: RunArgs,
}
