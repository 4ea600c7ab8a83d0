//! One run of `render`, `edit` or `continue`: loads the model, runs the task with progress, writes the songs
//! and reports them.

use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Result;
use sideman_engine::model::{Config, ModelDir};
use sideman_engine::task::{Settings, Song};
use sideman_kernels::{Activations, Format};

use crate::cli::{BackendChoice, RunArgs, SamplingArgs};
use crate::offline_task::{LoadedModel, OfflineTask};
use crate::output_folder::OutputFolder;
use crate::progress::Progress;
use crate::render_report::RenderReport;
use crate::song_folder::{self, Stem};
use crate::song_info::SongInfo;
use crate::song_page::{self, About};
use crate::{backend, interrupt, model_path};

/// A loaded model and the settings of this run.
pub struct RenderJob {
    model: LoadedModel,
    dir: ModelDir,
    threads: usize,
    format: Format,
    activations: Activations,
    /// Text, chart and sampling.
    pub settings: Settings,
    json: bool,
    page: bool,
}

impl RenderJob {
    /// Checks the output folder, loads the model and takes the settings from the flags and from what is known
    /// about the song.
    ///
    /// # Errors
    /// There is no model, it is damaged, a flag has an impossible value, or a file would be replaced.
    pub fn load(
        run: &RunArgs,
        sampling: &SamplingArgs,
        song: &SongInfo,
        variations: u16,
        output: &OutputFolder,
    ) -> Result<RenderJob> {
        let dir = model_path::open(run.model.as_deref())?;
        output.check(&song_folder::file_names(&dir.config.stems), variations)?;
        RenderJob::with(dir, run, sampling, song, variations)
    }

    /// The same for a model directory that is open, without the check of the output folder.
    ///
    /// # Errors
    /// Those of [`RenderJob::load`] but for the files.
    pub fn with(dir: ModelDir, run: &RunArgs, sampling: &SamplingArgs, song: &SongInfo, variations: u16) -> Result<RenderJob> {
        sampling.check()?;
        let chart = song.chart()?;
        if dir.config.fixture {
            tracing::warn!("{} is a random model for tests: it generates noise", dir.path.display());
        }
        if chart.is_some() && dir.config.controls.is_empty() {
            tracing::warn!("the model {} takes no tempo and no chords: it infers them from the input", dir.config.name);
        }
        let (threads, format, activations) = (backend::threads(run.threads), run.precision.into(), run.activations.into());
        let model = LoadedModel::load(run.backend, threads, &dir, format, activations)?;
        let mut settings = Settings::new(model.config());
        match (&song.text, &dir.config.text) {
            (Some(text), Some(_)) => settings.text = text.clone(),
            (Some(_), None) => tracing::warn!("the model {} takes no text", dir.config.name),
            (None, _) => {}
        }
        settings.chart = chart;
        settings.variations = usize::from(variations);
        sampling.apply(&mut settings);
        Ok(RenderJob { model, dir, threads, format, activations, settings, json: run.json, page: !run.no_page })
    }

    /// Names of the model's stems.
    pub fn stems(&self) -> Vec<String> {
        self.config().stems.clone()
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// Runs a task, writes its songs to the folder `output` without the stems that aren't `wanted`, and reports
    /// them. `room`: level of the room in the mix.
    ///
    /// # Errors
    /// Those of the task and of the disk. No file of the songs then has its final name.
    pub fn run(
        mut self,
        output: &OutputFolder,
        room: f32,
        info: &SongInfo,
        wanted: &[String],
        task: &OfflineTask,
    ) -> Result<ExitCode> {
        interrupt::watch()?;
        let files = output.begin()?;
        let mut progress = Progress::new("rendering", self.json);
        let songs = self.render(task, &mut progress)?;
        let (took, speed) = progress.finish();

        let mut report = RenderReport::new(self.json, self.settings.seed, &self.dir);
        let several = songs.len() > 1;
        let mut finished = Vec::new();
        for (n, song) in songs.into_iter().enumerate() {
            let folder = if several { (n + 1).to_string() } else { String::new() };
            let dir = files.temporary().join(&folder);
            song_folder::create(&dir, "--out")?;
            let mut stems: Vec<Stem> = (self.stems().into_iter().zip(song.stems).zip(song.kept))
                .filter(|((name, _), _)| wanted.contains(name))
                .map(|((name, samples), kept)| Stem { name, samples, kept })
                .collect();
            let written = song_folder::write(&dir, &mut stems, room, &report.song_json(info, n)?)?;
            let map = song_folder::map(&stems, self.settings.chart.as_ref());
            song_folder::write_tempo_map(&dir, info, &map)?;
            song_folder::write_daw_project(&dir, &stems, written.mix_gain, &map, &self.settings.text)?;
            if self.page {
                let about = About { info, settings: &self.settings, variation: n, lag: task.lag(), model: &self.dir.config.name };
                song_page::write(&dir, &stems, written.mix_gain, &map, &about)?;
            }
            // Not join: with an empty name it would add a slash.
            finished.push((if several { output.dir().join(folder) } else { output.dir().to_owned() }, stems, written));
        }
        files.commit()?;
        finished.iter().for_each(|(dir, stems, written)| report.song(dir, stems, written));
        report.finish(info, self.model.backend_name(), took, speed);
        Ok(ExitCode::SUCCESS)
    }

    /// The model's directory.
    pub fn dir(&self) -> &ModelDir {
        &self.dir
    }

    /// Runs the task; if the GPU fails, once more on the processor.
    ///
    /// # Errors
    /// Those of the task.
    pub fn render(&mut self, task: &OfflineTask, progress: &mut Progress) -> Result<Vec<Song>> {
        loop {
            let songs = task.run(&mut self.model, &mut |at| {
                progress.update(at.done, at.total);
                ControlFlow::Continue(())
            })?;
            match songs {
                Some(songs) => return Ok(songs),
                None => {
                    self.model = LoadedModel::load(BackendChoice::Cpu, self.threads, &self.dir, self.format, self.activations)?;
                }
            }
        }
    }
}
