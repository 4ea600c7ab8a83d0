//! `sideman edit`: one stem of a song anew, or its texture, or a free variation.

use std::ops::RangeInclusive;
use std::process::ExitCode;

use anyhow::{Context, Result};
use sideman_engine::task;

use crate::backend::Work;
use crate::cli::Edit;
use crate::song::Song;
use crate::{model_run, stems, usage};

/// Runs the command.
///
/// # Errors
/// A sentence with the file or flag at fault.
pub fn run(args: &Edit) -> Result<ExitCode> {
    let levels = args.texture.as_deref().map(levels).transpose()?;
    let song = Song::known(&args.chart, Some(&args.song))?;
    let played = model_run::load(&args.run, &args.sampling, &song, 1)?;
    let names = played.stems();
    if !names.contains(&args.redo) {
        return Err(usage(format!("--redo {}: the model's stems are {}", args.redo, names.join(", "))));
    }
    let files = stems::folder(&args.song, &names)?;
    let given = stems::read(&files.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect::<Vec<_>>(), None)?;
    let config = played.config();
    let edit = task::Edit::new(config, given.iter().map(|s| Some(&s.samples[..])).collect());
    let mut edit = match levels {
        Some(levels) => edit.texture(config, &args.redo, levels).map_err(|e| usage(format!("--texture: {e}")))?,
        None => edit.redo(config, &args.redo)?,
    };
    edit.free = args.free;
    let work = Work::Edit(task::Edit { settings: played.settings.clone(), ..edit });
    played.play(&args.out, &song, &names, &work)
}

/// "3..4" as a range, "4" as 4 alone.
fn levels(text: &str) -> Result<RangeInclusive<usize>> {
    let parse = || -> Result<RangeInclusive<usize>> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        Ok(from.trim().parse().context("from")?..=to.trim().trim_start_matches('=').parse().context("to")?)
    };
    parse().map_err(|_| usage(format!("--texture {text}: give levels like 2..4, 3..4 or 4")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn levels_as_typed() {
        assert_eq!(super::levels("2..4").unwrap(), 2..=4);
        assert_eq!(super::levels("4").unwrap(), 4..=4);
        for bad in ["", "..", "a..b", "2.."] {
            assert!(super::levels(bad).is_err(), "{bad}");
        }
    }
}
