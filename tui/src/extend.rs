//! `sideman continue`: extends a song. (`continue` is a keyword of Rust.)

use std::process::ExitCode;

use anyhow::Result;
use sideman_engine::task;

use crate::cli::Continue;
use crate::offline_task::OfflineTask;
use crate::output_folder::OutputFolder;
use crate::render_job::RenderJob;
use crate::song_info::SongInfo;
use crate::{hearing, recordings};

/// Runs the command.
///
/// # Errors
/// The error names the file or flag.
pub fn run(args: &Continue) -> Result<ExitCode> {
    recordings::samples(args.seconds)?;
    let mut song = SongInfo::offline(&args.chart, Some(&args.song))?;
    let output = OutputFolder::new("--out", &args.out, args.force).reads_folder("DIR", &args.song);
    let mut job = RenderJob::load(&args.run, &args.sampling, &song, 1, &output)?;
    let names = job.stems();
    let files = recordings::folder(&args.song, &names)?;
    let given = recordings::read(&files.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect::<Vec<_>>(), None)?;
    hearing::fill(&mut song, &given, None, &args.chart, job.config())?;
    job.settings.chart = song.chart()?;
    let given = given.iter().map(|s| Some(&s.samples[..])).collect();
    let task = OfflineTask::Continue(task::Continue { given, seconds: args.seconds, settings: job.settings.clone() });
    job.run(&output, args.mix.room, &song, &names, &task)
}
