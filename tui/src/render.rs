//! `sideman render`: stems from stems, or all of them from a text.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use sideman_engine::task::{Edit, Generate, Lagged};

use crate::backend::Work;
use crate::cli::Render;
use crate::song::Song;
use crate::{model_run, stems, usage};

/// Length of a song from a text where none is asked for, in seconds.
const SECONDS: f64 = 20.0;

/// Runs the command.
///
/// # Errors
/// A sentence with the file or flag at fault.
pub fn run(args: &Render) -> Result<ExitCode> {
    let files: Vec<(&str, &Path)> = [("bass", &args.bass), ("drums", &args.drums), ("other", &args.other)]
        .into_iter()
        .filter_map(|(name, path)| path.as_deref().map(|path| (name, path)))
        .collect();
    if let Some((name, _)) = files.iter().find(|(name, _)| args.make.iter().any(|m| m == name)) {
        return Err(usage(format!("{name} is given by --{name} and asked for by --make: leave one of the two out")));
    }
    if files.is_empty() && args.lag.is_some() {
        return Err(usage("--lag is how late a given stem is heard: give one (--bass FILE)"));
    }
    let length = args.seconds.map(stems::samples).transpose()?;
    let song = Song::known(&args.chart, files.first().map(|(_, path)| *path))?;
    // Recordings first: what is wrong with them is told at once.
    let given = stems::read(&files, length)?;
    let played = model_run::load(&args.run, &args.sampling, &song, args.variations)?;

    let names = played.stems();
    let known = |name: &str| names.iter().any(|n| n == name);
    if let Some(name) = args.make.iter().map(String::as_str).chain(files.iter().map(|f| f.0)).find(|name| !known(name)) {
        return Err(usage(format!("the model has no stem {name}; it has {}", names.join(", "))));
    }
    let made = |name: &String| args.make.is_empty() || args.make.contains(name);
    let wanted: Vec<String> = names.iter().filter(|n| made(n) || files.iter().any(|f| f.0 == **n)).cloned().collect();
    if given.is_empty() {
        let seconds = args.seconds.unwrap_or(SECONDS);
        let work = Work::Generate(Generate { seconds, settings: played.settings.clone() });
        return played.play(&args.out, &song, &wanted, &work);
    }
    if wanted.len() == files.len() {
        return Err(usage("every stem is given: nothing is left to play"));
    }
    let rows = || names.iter().map(|n| given.iter().find(|s| s.name == *n).map(|s| &s.samples[..])).collect::<Vec<_>>();
    if let Some(lag) = args.lag {
        if let Some([from, to]) = played.config().live.as_ref().and_then(|l| l.lags)
            && !(from..=to).contains(&usize::from(lag))
        {
            tracing::warn!("--lag {lag}: the model was trained for {from} to {to}");
        }
        let work = Work::Lagged(Lagged { given: rows(), lag: usize::from(lag), settings: played.settings.clone() });
        return played.play(&args.out, &song, &wanted, &work);
    }
    let edit = Edit::new(played.config(), rows());
    let work = Work::Edit(Edit { settings: played.settings.clone(), ..edit });
    played.play(&args.out, &song, &wanted, &work)
}
