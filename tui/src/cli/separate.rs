//! Arguments of `sideman separate`.

use std::path::PathBuf;

use clap::Args;

use super::heading;

/// `sideman separate`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  \
        sideman separate song.flac --separator models/htdemucs --out stems\n  \
        sideman separate song.mp3 --separator models/htdemucs --stems drums --out without-drums",
    next_help_heading = heading::FILES
)]
pub struct Separate {
    /// Song: WAV, FLAC, MP3 or OGG, any sample rate, any number of channels
    #[arg(value_name = "SONG", help_heading = "Arguments")]
    pub song: PathBuf,
    /// Folder for the WAV files; created if it doesn't exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Stems to take out, separated by commas; what is left is written as `remainder` [default: all stems]
    #[arg(long, value_name = "STEMS", value_delimiter = ',')]
    pub stems: Vec<String>,
    /// Replace files of the same names in the folder of --out; never a file that is read
    #[arg(long)]
    pub force: bool,
    /// Separator's directory, as `sideman model import` writes it [default: the house model's separator]
    #[arg(long, value_name = "DIR", help_heading = heading::MACHINE)]
    pub separator: Option<PathBuf>,
    /// Processor threads, 1 to 256 [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = heading::MACHINE)]
    pub threads: Option<u16>,
    /// Print a JSON report on stdout, and no progress
    #[arg(long)]
    pub json: bool,
}
