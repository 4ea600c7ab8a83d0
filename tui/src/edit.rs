//! `sideman edit`: generates one stem of a song again, or only its texture, or a free variation of the song; or replaces
//! stems of a finished recording ([`replace`]).

use std::ops::RangeInclusive;
use std::process::ExitCode;

use anyhow::{Context, Result};
use sideman_engine::task;

use crate::cli::Edit;
use crate::offline_task::OfflineTask;
use crate::output_folder::OutputFolder;
use crate::render_job::RenderJob;
use crate::song_folder::Stem;
use crate::song_info::SongInfo;
use crate::{hearing, recordings, replace, usage};

/// Runs the command.
///
/// # Errors
/// The error names the file or flag.
pub fn run(args: &Edit) -> Result<ExitCode> {
    let Some(stem) = &args.redo else { return replace::run(args) };
    if args.song.is_file() {
        return Err(usage(format!(
            "{}: is a file; --redo {stem} needs a folder that `render` wrote. To replace a stem of a finished song: --replace {stem}",
            args.song.display()
        )));
    }
    let levels = args.texture.as_deref().map(levels).transpose()?;
    let mut song = SongInfo::offline(&args.chart, Some(&args.song))?;
    let output = OutputFolder::new("--out", &args.out, args.force).reads_folder("SONG", &args.song);
    let mut job = RenderJob::load(&args.run, &args.sampling, &song, 1, &output)?;
    let names = job.stems();
    if !names.contains(stem) {
        return Err(usage(format!("--redo {stem}: the model has the stems {}", names.join(", "))));
    }
    let files = recordings::folder(&args.song, &names)?;
    let given = recordings::read(&files.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect::<Vec<_>>(), None)?;
    // What is generated again is not listened to, because the result would follow its faults.
    let kept: Vec<Stem> = given.iter().filter(|s| s.name != *stem || args.texture.is_some() || args.free).cloned().collect();
    hearing::fill(&mut song, &kept, None, &args.chart, job.config())?;
    job.settings.chart = song.chart()?;
    let config = job.config();
    let edit = task::Edit::new(config, given.iter().map(|s| Some(&s.samples[..])).collect());
    let mut edit = match levels {
        Some(levels) => edit.texture(config, stem, levels).map_err(|e| usage(format!("--texture: {e}")))?,
        None => edit.redo(config, stem)?,
    };
    edit.free = args.free;
    let task = OfflineTask::Edit(task::Edit { settings: job.settings.clone(), ..edit });
    job.run(&output, args.mix.room, &song, &names, &task)
}

/// Reads "3..4" as 3 to 4, and "4" as 4 alone.
fn levels(text: &str) -> Result<RangeInclusive<usize>> {
    let parse = || -> Result<RangeInclusive<usize>> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        Ok(from.trim().parse().context("from")?..=to.trim().trim_start_matches('=').parse().context("to")?)
    };
    parse().map_err(|_| usage(format!("--texture {text}: must be levels such as 2..4, 3..4 or 4")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn texture_levels_are_a_range_or_a_single_level() {
        assert_eq!(super::levels("2..4").unwrap(), 2..=4);
        assert_eq!(super::levels("4").unwrap(), 4..=4);
        for bad in ["", "..", "a..b", "2.."] {
            assert!(super::levels(bad).is_err(), "{bad}");
        }
    }
}
