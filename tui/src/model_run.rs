//! A model ready to play, and the way from its songs to files: what `render`, `edit` and `continue` share.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::json;
use sideman_engine::limits;
use sideman_engine::model::{Config, ModelDir};
use sideman_engine::task::Settings;
use sideman_kernels::Format;

use crate::backend::{Loaded, Work};
use crate::cli::{BackendChoice, Precision, RunArgs, SamplingArgs};
use crate::output::{self, Stem};
use crate::progress::Progress;
use crate::song::Song;
use crate::{find, report, usage};

impl From<Precision> for Format {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Format::F32,
            Precision::Bf16 => Format::Bf16,
            Precision::Q8 => Format::Q8,
            Precision::Q4 => Format::Q4,
        }
    }
}

/// Threads to compute with: what was asked for, or one for each core.
pub fn threads(flag: Option<u16>) -> usize {
    flag.map(usize::from).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// A loaded model, and what this call of the program is to do with it.
pub struct Played {
    loaded: Loaded,
    /// Text, chart, dice.
    pub settings: Settings,
    dir: ModelDir,
    threads: usize,
    format: Format,
    model: PathBuf,
    fixture: bool,
    json: bool,
}

/// Loads the model, and makes its settings of the flags and of what is known of the song.
///
/// # Errors
/// No model, a damaged one, or a flag that can't be meant.
pub fn load(run: &RunArgs, sampling: &SamplingArgs, song: &Song, variations: u16) -> Result<Played> {
    check(sampling)?;
    let chart = song.chart()?;
    let dir = find::open(run.model.as_deref())?;
    let (model, fixture) = (dir.path.clone(), dir.config.fixture);
    if fixture {
        tracing::warn!("{} is a random model for tests: what it plays is noise", model.display());
    }
    if chart.is_some() && dir.config.controls.is_empty() {
        tracing::warn!("the model {} takes no beat and no chords; it finds them by ear", dir.config.name);
    }
    let (threads, format) = (threads(run.threads), run.precision.into());
    let loaded = Loaded::load(run.backend, threads, &dir, format)?;
    let mut settings = Settings::new(loaded.config());
    match (&song.text, &dir.config.text) {
        (Some(text), Some(_)) => settings.text = text.clone(),
        (Some(_), None) => tracing::warn!("the model {} takes no text", dir.config.name),
        (None, _) => {}
    }
    settings.chart = chart;
    settings.variations = usize::from(variations);
    // A new seed each time, small enough to be typed again.
    settings.seed = sampling.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (now.as_nanos() / 1_000 % 1_000_000) as u64
    });
    settings.temperature = sampling.temperature.unwrap_or(settings.temperature);
    settings.cfg = sampling.cfg.unwrap_or(settings.cfg);
    if sampling.top_k.is_some() || sampling.top_p.is_some() {
        settings.top_k = sampling.top_k.unwrap_or(0);
        settings.top_p = sampling.top_p.unwrap_or(0.0);
    }
    Ok(Played { loaded, settings, dir, threads, format, model, fixture, json: run.json })
}

/// Errors on a number that can't be meant.
///
/// # Errors
/// Usage, with the flag.
pub fn check(sampling: &SamplingArgs) -> Result<()> {
    let values = [
        ("--temperature", sampling.temperature, limits::START_TEMPERATURE),
        ("--top-p", sampling.top_p, limits::TOP_P),
        ("--cfg", sampling.cfg, limits::START_CFG_SCALE),
    ];
    for (flag, value, range) in values {
        if let Some(value) = value.filter(|value| !range.contains(f64::from(*value))) {
            return Err(usage(format!("{flag} {value}: must be {range}")));
        }
    }
    if sampling.top_k.is_some_and(|k| k > 0) && sampling.top_p.is_some_and(|p| p > 0.0) {
        return Err(usage("--top-k and --top-p can't both be used: give one"));
    }
    Ok(())
}

impl Played {
    /// Names of the model's stems.
    pub fn stems(&self) -> Vec<String> {
        self.config().stems.clone()
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        self.loaded.config()
    }

    /// Does a task with progress, writes its songs below `out` and says so. Stems that aren't `wanted` are left out.
    ///
    /// # Errors
    /// Those of the task and of the disk.
    pub fn play(mut self, out: &Path, song: &Song, wanted: &[String], work: &Work) -> Result<ExitCode> {
        output::folder(out)?;
        let names = self.stems();
        let mut progress = Progress::new("playing", self.json);
        let songs = loop {
            let done = work.run(&mut self.loaded, &mut |at| {
                progress.at(at.done, at.total);
                ControlFlow::Continue(())
            })?;
            match done {
                Some(songs) => break songs,
                None => self.loaded = Loaded::load(BackendChoice::Cpu, self.threads, &self.dir, self.format)?,
            }
        };
        let (took, real_time) = progress.finish();

        let several = songs.len() > 1;
        let mut documents = Vec::new();
        for (n, made) in songs.into_iter().enumerate() {
            let dir = if several { out.join((n + 1).to_string()) } else { out.to_owned() };
            output::folder(&dir)?;
            let mut stems: Vec<Stem> = (names.iter().zip(made.stems).zip(made.kept))
                .filter(|((name, _), _)| wanted.contains(name))
                .map(|((name, samples), kept)| Stem { name: name.clone(), samples, kept })
                .collect();
            let mut about = serde_json::to_value(song)?;
            about["seed"] = json!(self.settings.seed);
            about["variation"] = json!(n);
            about["model"] = json!(self.model);
            about["version"] = json!(env!("CARGO_PKG_VERSION"));
            let written = output::write(&dir, &mut stems, &about)?;
            let seconds = stems.first().map_or(0.0, |s| s.samples.len() as f64 / f64::from(sideman_engine::audio::RATE));
            if self.json {
                documents.push(json!({"out": dir, "files": written.files, "seconds": seconds, "mix_gain": written.mix_gain, "notes": written.notes}));
            } else {
                let files: Vec<_> = written.files.iter().filter_map(|f| f.file_name()).map(|f| f.to_string_lossy()).collect();
                report::line(format!("{}: {} ({seconds:.1} s)", dir.display(), files.join(" ")));
                written.notes.iter().for_each(|note| report::line(format!("  {note}")));
            }
        }
        if self.json {
            report::json(&json!({
                "seed": self.settings.seed, "model": self.model, "fixture": self.fixture, "song": song, "backend": self.loaded.name(),
                "took_seconds": took.as_secs_f64(), "times_real_time": real_time, "songs": documents,
            }));
        } else {
            report::line(format!("seed {}, {:.1} s, {real_time:.1} x real time", self.settings.seed, took.as_secs_f64()));
            if self.fixture {
                report::line("This is a random model for tests: what it played is noise.");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
