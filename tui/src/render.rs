//! `sideman render`: generates stems from recordings of the others, or all stems from a text.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use sideman_engine::task::{Edit, Generate, Lagged};

use crate::cli::{Render, SamplingArgs};
use crate::offline_task::OfflineTask;
use crate::output_folder::OutputFolder;
use crate::render_job::RenderJob;
use crate::song_info::SongInfo;
use crate::{form, hearing, recordings, usage};

/// Default length of a song from a text, in seconds.
const DEFAULT_SECONDS: f64 = 20.0;

/// Runs the command.
///
/// # Errors
/// The error names the file or flag.
pub fn run(args: &Render) -> Result<ExitCode> {
    let files: Vec<(&str, &Path)> = [("bass", &args.bass), ("drums", &args.drums), ("other", &args.other)]
        .into_iter()
        .filter_map(|(name, path)| path.as_deref().map(|path| (name, path)))
        .collect();
    if let Some((name, _)) = files.iter().find(|(name, _)| args.make.iter().any(|m| m == name)) {
        return Err(usage(format!("--make {name}: --{name} gives a recording of it; leave one of the two out")));
    }
    if files.is_empty() && args.lag.is_some() {
        return Err(usage("--lag needs a recording that is heard late, such as --bass FILE"));
    }
    let length = args.seconds.map(recordings::samples).transpose()?;
    let seed = args.sampling.seed_or_new();
    let sampling = SamplingArgs { seed: Some(seed), ..args.sampling.clone() };
    // Without a recording, tempo and chords are chosen for the text.
    let chart = match files.is_empty() {
        true => form::choose(&args.chart, args.run.model.as_deref(), Some(0.0), seed)?,
        false => args.chart.clone(),
    };
    let mut song = SongInfo::offline(&chart, files.first().map(|(_, path)| *path))?;
    let output = OutputFolder::new("--out", &args.out, args.force);
    let output = files.iter().fold(output, |output, (name, path)| output.reads(&format!("--{name}"), path));
    // Before the model is loaded, so that an unreadable recording fails at once.
    let given = recordings::read(&files, length)?;
    let mut job = RenderJob::load(&args.run, &sampling, &song, args.variations, &output)?;

    let names = job.stems();
    let known = |name: &str| names.iter().any(|n| n == name);
    if let Some(name) = args.make.iter().map(String::as_str).chain(files.iter().map(|f| f.0)).find(|name| !known(name)) {
        return Err(usage(format!("there is no stem {name}: the model has {}", names.join(", "))));
    }
    let generated = |name: &String| args.make.is_empty() || args.make.contains(name);
    let wanted: Vec<String> = names.iter().filter(|n| generated(n) || files.iter().any(|f| f.0 == **n)).cloned().collect();
    if given.is_empty() {
        song.check_tempo(&args.chart)?;
        let seconds = args.seconds.unwrap_or(DEFAULT_SECONDS);
        let task = OfflineTask::Generate(Generate { seconds, settings: job.settings.clone() });
        return job.run(&output, args.mix.room, &song, &wanted, &task);
    }
    if wanted.len() == files.len() {
        return Err(usage("every stem has a recording: no stem is left to generate"));
    }
    hearing::fill(&mut song, &given, args.instrument, &args.chart, job.config())?;
    job.settings.chart = song.chart()?;
    let rows = || names.iter().map(|n| given.iter().find(|s| s.name == *n).map(|s| &s.samples[..])).collect::<Vec<_>>();
    if let Some(lag) = args.lag {
        if let Some([from, to]) = job.config().live.as_ref().and_then(|l| l.lags)
            && !(from..=to).contains(&usize::from(lag))
        {
            tracing::warn!("--lag {lag}: the model is trained for {from} to {to} frames");
        }
        let task = OfflineTask::Lagged(Lagged { given: rows(), lag: usize::from(lag), settings: job.settings.clone() });
        return job.run(&output, args.mix.room, &song, &wanted, &task);
    }
    let edit = Edit::new(job.config(), rows());
    let task = OfflineTask::Edit(Edit { settings: job.settings.clone(), ..edit });
    job.run(&output, args.mix.room, &song, &wanted, &task)
}
