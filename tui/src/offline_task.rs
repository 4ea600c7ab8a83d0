//! An offline task on whichever backend has the model: the commands `render`, `edit` and `continue`. Live
//! play doesn't use it.

use anyhow::{Result, anyhow};
use sideman_engine::model::{Config, Model, ModelDir};
use sideman_engine::task::{Continue, Edit, Generate, Lagged, Report, Song};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Activations, Backend, BackendError, Format};

use crate::backend::gpu;
use crate::cli::BackendChoice;

/// A model in the memory of its backend.
pub enum LoadedModel {
    /// On the processor.
    Cpu(Box<(CpuBackend, Model<CpuBackend>)>),
    /// On a GPU.
    Cuda(Box<(CudaBackend, Model<CudaBackend>)>),
}

impl LoadedModel {
    /// Loads a model. With `auto`, the processor is used if the GPU has too little memory or is lost.
    ///
    /// # Errors
    /// The model is damaged, or there is too little memory.
    pub fn load(
        choice: BackendChoice,
        threads: usize,
        dir: &ModelDir,
        format: Format,
        activations: Activations,
    ) -> Result<LoadedModel> {
        if let Some(mut cuda) = gpu(choice)? {
            // Tensor cores change the order of sums. An offline song is made in one go, so nothing compares a
            // prefill with single steps.
            cuda.tiles(true);
            match Model::load(&mut cuda, dir, format) {
                Ok(model) if cuda.failure().is_none() => return Ok(LoadedModel::Cuda(Box::new((cuda, model)))),
                Err(sideman_engine::Error::Backend(error @ (BackendError::Memory { .. } | BackendError::Lost(_))))
                    if choice == BackendChoice::Auto =>
                {
                    tracing::warn!("{error}; the processor computes instead");
                }
                Err(error) => return Err(error.into()),
                Ok(_) if choice == BackendChoice::Auto => {
                    tracing::warn!("{}; the processor computes instead", cuda.failure().unwrap_or_default());
                }
                Ok(_) => return Err(anyhow!("--backend cuda: {}", cuda.failure().unwrap_or_default())),
            }
        }
        let mut cpu = CpuBackend::new(threads).with_activations(activations);
        let model = Model::load(&mut cpu, dir, format)?;
        Ok(LoadedModel::Cpu(Box::new((cpu, model))))
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        match self {
            LoadedModel::Cpu(loaded) => loaded.1.config(),
            LoadedModel::Cuda(loaded) => loaded.1.config(),
        }
    }

    /// The backend, as reports name it.
    pub fn backend_name(&self) -> &'static str {
        match self {
            LoadedModel::Cpu(_) => "cpu",
            LoadedModel::Cuda(_) => "cuda",
        }
    }
}

/// A task of the engine.
pub enum OfflineTask<'a> {
    /// All stems from a text.
    Generate(Generate),
    /// Stems from stems.
    Edit(Edit<'a>),
    /// More of a song.
    Continue(Continue<'a>),
    /// Stems from stems that are heard late, as in live play.
    Lagged(Lagged<'a>),
}

impl OfflineTask<'_> {
    /// Frames by which the recordings are heard late; none where they are heard in advance.
    pub fn lag(&self) -> Option<usize> {
        match self {
            OfflineTask::Lagged(task) => Some(task.lag),
            OfflineTask::Generate(_) | OfflineTask::Edit(_) | OfflineTask::Continue(_) => None,
        }
    }

    fn render<B: Backend>(&self, backend: &mut B, model: &mut Model<B>, report: Report) -> sideman_engine::Result<Vec<Song>> {
        match self {
            OfflineTask::Generate(task) => task.render(model, backend, report),
            OfflineTask::Edit(task) => task.render(model, backend, report),
            OfflineTask::Continue(task) => task.render(model, backend, report),
            OfflineTask::Lagged(task) => task.render(model, backend, report),
        }
    }

    /// Runs the task. `None`: the GPU was lost or has too little memory, which is logged; run it again on the
    /// processor.
    ///
    /// # Errors
    /// Those of the task.
    pub fn run(&self, loaded: &mut LoadedModel, report: Report) -> Result<Option<Vec<Song>>> {
        match loaded {
            LoadedModel::Cpu(loaded) => Ok(Some(self.render(&mut loaded.0, &mut loaded.1, report)?)),
            LoadedModel::Cuda(loaded) => {
                let songs = self.render(&mut loaded.0, &mut loaded.1, report);
                let error = match (loaded.0.failure(), songs) {
                    (Some(fault), _) => fault.to_owned(),
                    (None, Err(sideman_engine::Error::Backend(error @ BackendError::Memory { .. }))) => error.to_string(),
                    (None, songs) => return Ok(Some(songs?)),
                };
                tracing::warn!("{error}; the processor starts again from the beginning");
                Ok(None)
            }
        }
    }
}
