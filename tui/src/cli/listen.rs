//! Arguments of `listen`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::heading;

/// What a recording contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Heard {
    /// A bass
    Bass,
    /// Drums
    Drums,
    /// Chords and lines of a guitar
    Guitar,
    /// Chords of a piano, organ or synthesizer
    Keys,
    /// A singer or a wind instrument: one note at a time
    Voice,
}

/// `sideman listen`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  sideman listen bass.wav\n  sideman listen song --json\n  sideman listen guitar.flac --instrument guitar --svg heard.svg",
    next_help_heading = heading::FILES
)]
pub struct Listen {
    /// Recording, or a folder with bass.wav, drums.wav and other.wav
    #[arg(value_name = "FILE", help_heading = "Arguments")]
    pub file: PathBuf,
    /// What the recording contains [default: judged from its sound]
    #[arg(long, value_enum, value_name = "INSTRUMENT", help_heading = heading::SONG)]
    pub instrument: Option<Heard>,
    /// Draw what is heard as a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write tempo and notes as a MIDI file that starts with the first beat
    #[arg(long, value_name = "FILE")]
    pub midi: Option<PathBuf>,
    /// Print everything as JSON on stdout
    #[arg(long)]
    pub json: bool,
}
