//! What computes: the processor, or a GPU where there is one that can. Tasks are written over any player; here is where one is
//! chosen, and where the processor takes over from a GPU that fails.

use anyhow::{Result, anyhow};
use sideman_engine::model::Model;
use sideman_engine::model::{Config, ModelDir};
use sideman_engine::task::{Continue, Edit, Generate, Lagged, Report, Song};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Backend, BackendError, Format};

use crate::cli::BackendChoice;

/// A GPU if `backend` wants one: None is the processor. `auto` says in the log why it isn't the GPU.
///
/// # Errors
/// `cuda` was asked for and can't be had.
pub fn gpu(backend: BackendChoice) -> Result<Option<CudaBackend>> {
    if backend == BackendChoice::Cpu {
        return Ok(None);
    }
    match CudaBackend::new(0) {
        Ok(cuda) => Ok(Some(cuda)),
        Err(why) if backend == BackendChoice::Cuda => Err(anyhow!("--backend cuda: {why}")),
        Err(why) => {
            tracing::info!("playing on the processor: {why}");
            Ok(None)
        }
    }
}

/// A model in the memory of what plays it.
pub enum Loaded {
    /// On the processor.
    Cpu(Box<(CpuBackend, Model<CpuBackend>)>),
    /// On a GPU.
    Cuda(Box<(CudaBackend, Model<CudaBackend>)>),
}

impl Loaded {
    /// Loads a model. With `auto`, a GPU without room for it gives way to the processor.
    ///
    /// # Errors
    /// A damaged model, or no room.
    pub fn load(backend: BackendChoice, threads: usize, dir: &ModelDir, format: Format) -> Result<Loaded> {
        if let Some(mut cuda) = gpu(backend)? {
            // Songs are made in one go: nothing depends on a prefill having the bits of its steps.
            cuda.tiles(true);
            match Model::load(&mut cuda, dir, format) {
                Ok(band) if cuda.fault().is_none() => return Ok(Loaded::Cuda(Box::new((cuda, band)))),
                Err(sideman_engine::Error::Backend(why @ (BackendError::Memory { .. } | BackendError::Lost(_))))
                    if backend == BackendChoice::Auto =>
                {
                    tracing::warn!("playing on the processor: {why}");
                }
                Err(error) => return Err(error.into()),
                Ok(_) if backend == BackendChoice::Auto => {
                    tracing::warn!("playing on the processor: {}", cuda.fault().unwrap_or_default());
                }
                Ok(_) => return Err(anyhow!("{}", cuda.fault().unwrap_or_default())),
            }
        }
        let mut cpu = CpuBackend::new(threads);
        let band = Model::load(&mut cpu, dir, format)?;
        Ok(Loaded::Cpu(Box::new((cpu, band))))
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        match self {
            Loaded::Cpu(loaded) => loaded.1.config(),
            Loaded::Cuda(loaded) => loaded.1.config(),
        }
    }

    /// What plays it, for reports.
    pub fn name(&self) -> &'static str {
        match self {
            Loaded::Cpu(_) => "cpu",
            Loaded::Cuda(_) => "cuda",
        }
    }
}

/// A task, whoever plays it.
pub enum Work<'a> {
    /// Stems from a text.
    Generate(Generate),
    /// Stems to stems.
    Edit(Edit<'a>),
    /// More of a song.
    Continue(Continue<'a>),
    /// As live play would.
    Lagged(Lagged<'a>),
}

impl Work<'_> {
    fn on<B: Backend>(&self, backend: &mut B, band: &mut Model<B>, report: Report) -> sideman_engine::Result<Vec<Song>> {
        match self {
            Work::Generate(task) => task.render(band, backend, report),
            Work::Edit(task) => task.render(band, backend, report),
            Work::Continue(task) => task.render(band, backend, report),
            Work::Lagged(task) => task.render(band, backend, report),
        }
    }

    /// Does the task. None: the GPU was lost on the way, or has no room for it; the reason is logged.
    ///
    /// # Errors
    /// Those of the task.
    pub fn run(&self, loaded: &mut Loaded, report: Report) -> Result<Option<Vec<Song>>> {
        match loaded {
            Loaded::Cpu(loaded) => Ok(Some(self.on(&mut loaded.0, &mut loaded.1, report)?)),
            Loaded::Cuda(loaded) => {
                let done = self.on(&mut loaded.0, &mut loaded.1, report);
                let why = match (loaded.0.fault(), done) {
                    (Some(why), _) => why.to_owned(),
                    (None, Err(sideman_engine::Error::Backend(why @ BackendError::Memory { .. }))) => why.to_string(),
                    (None, done) => return Ok(Some(done?)),
                };
                tracing::warn!("{why}: the processor takes over from the beginning");
                Ok(None)
            }
        }
    }
}
