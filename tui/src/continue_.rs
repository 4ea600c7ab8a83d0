//! `sideman continue`: more of a song.

use std::process::ExitCode;

use anyhow::Result;
use sideman_engine::task;

use crate::backend::Work;
use crate::cli::Continue;
use crate::song::Song;
use crate::{model_run, stems};

/// Runs the command.
///
/// # Errors
/// A sentence with the file or flag at fault.
pub fn run(args: &Continue) -> Result<ExitCode> {
    stems::samples(args.seconds)?;
    let song = Song::known(&args.chart, Some(&args.song))?;
    let played = model_run::load(&args.run, &args.sampling, &song, 1)?;
    let names = played.stems();
    let files = stems::folder(&args.song, &names)?;
    let given = stems::read(&files.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect::<Vec<_>>(), None)?;
    let given = given.iter().map(|s| Some(&s.samples[..])).collect();
    let work = Work::Continue(task::Continue { given, seconds: args.seconds, settings: played.settings.clone() });
    played.play(&args.out, &song, &names, &work)
}
