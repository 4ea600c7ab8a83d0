//! The command line: one struct of arguments per command, in the file named after the command's area.
//!
//! Help texts are doc comments: the first paragraph is shown by `-h`, all of it by `--help`. A flag that gets
//! a new name keeps the old one as a hidden alias.

mod doctor;
mod listen;
mod live;
mod model;
mod range;
mod separate;
mod shared;
mod song;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub use doctor::Doctor;
pub use listen::{Heard, Listen};
pub use live::{ClockSource, Live, Pace, Replay, SurfaceArgs};
pub use model::{ModelCommand, ModelImport, ModelInfo, ModelList, StoredAs, Verify};
pub use separate::Separate;
pub use shared::{
    ActivationsChoice, BackendChoice, ChartArgs, DEFAULT_PRECISION, Instrument, MixArgs, Precision, RunArgs, SamplingArgs,
};
pub use song::{Continue, Edit, Render};

/// Headings under which `--help` groups the flags.
mod heading {
    pub const FILES: &str = "Input and output";
    pub const SONG: &str = "Song and musical time";
    pub const SAMPLING: &str = "Sampling";
    pub const DEVICES: &str = "Devices and latency";
    pub const SURFACES: &str = "Control surfaces";
    pub const MACHINE: &str = "Model and machine";
}

/// Sideman plays the stems that you don't: give it a bass, and it plays drums and everything else.
///
/// Without a command, it plays live in this terminal on the default sound devices.
#[derive(Parser)]
#[command(
    name = "sideman",
    version,
    after_help = "Examples:\n  \
        sideman\n  \
        sideman --demo\n  \
        sideman render --bass bass.flac --make drums,other --out song\n\n\
        `sideman COMMAND --help` describes a command's flags."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Play live without devices and without sound: a recorded bass is the input, and the stems go to WAV files in
    /// the folder `demo`, or `demo-2` and so on
    #[arg(long)]
    pub demo: bool,
    /// Log more on stderr: -v for information, -vv for debugging
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Generate the missing stems for recordings of the others, or all stems from a text
    Render(Render),
    /// Generate one stem of a song again; the other stems stay the same
    Edit(Edit),
    /// Extend a song beyond its end
    Continue(Continue),
    /// Take a song apart into stems
    Separate(Separate),
    /// Show what is heard in a recording: notes, beats, bars, chords and key
    Listen(Listen),
    /// Play live, on sound devices or from a file into files
    Live(Box<Live>),
    /// Play a recorded take again; the files are the same, sample for sample
    Replay(Replay),
    /// List, describe, import and verify models
    #[command(subcommand)]
    Model(ModelCommand),
    /// Show what this machine can do: processor, memory, GPU, sound devices, and how fast each model runs
    Doctor(Doctor),
    /// Print every OSC address, its arguments and what it does
    #[command(after_help = "Example:\n  sideman osc | grep stem")]
    Osc,
    /// Print the keys of the terminal screen
    #[command(after_help = "Examples:\n  sideman keys\n  sideman keys --keys my-keys.toml")]
    Keys(Keys),
}

/// `sideman keys`.
#[derive(Args)]
pub struct Keys {
    /// TOML file with your own keys, such as `mute = "M"` [default: sideman/keys.toml in your configuration
    /// folder, if it exists]
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_help_and_every_live_flag_has_a_heading() {
        fn walk(command: &clap::Command) {
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
                if command.get_name() == "live" && !["help", "verbose"].contains(&arg.get_id().as_str()) {
                    assert!(arg.get_help_heading().is_some(), "live --{}", arg.get_id());
                }
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn the_old_name_of_a_flag_still_works() {
        for flag in ["--instrument", "--play"] {
            let cli = Cli::try_parse_from(["sideman", "live", flag, "drums"]).unwrap();
            assert!(matches!(cli.command, Some(Command::Live(live)) if live.instrument == "drums"), "{flag}");
        }
    }
}
