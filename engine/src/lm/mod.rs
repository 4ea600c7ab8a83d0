//! The language model: a causal transformer over columns of tokens, one per stream
//! (docs/explanation/musicgen-stem.md sections 5 to 7).
//!
//! [`Lm`] holds configuration and weights, which do not change. [`Run`] holds one generation: its sequence,
//! key-value cache and sampler. Several runs can share one `Lm`: live play primes the next window while the
//! current one plays.

pub mod pattern;
mod run;
mod state;
mod step;
mod weights;

pub use pattern::Pattern;
pub use run::{MAX_TEXT, Run, RunSpec};

use sideman_kernels::{Backend, Format};

use crate::error::Result;
use crate::model::{Config, ModelDir};

/// A loaded language model.
///
/// ```
/// use sideman_engine::lm::{Lm, RunSpec};
/// use sideman_engine::model::ModelDir;
/// use sideman_kernels::{Format, Sampling, cpu::CpuBackend};
///
/// let dir = ModelDir::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/six"))?;
/// let mut cpu = CpuBackend::new(1);
/// let lm = Lm::load(&mut cpu, &dir, Format::F32)?;
/// let delays: Vec<usize> = dir.config.streams.iter().map(|stream| stream.delay).collect();
/// let sampling = Sampling { temperature: 1.0, top_k: 50, top_p: 0.0, cfg: 1.0, seed: 7, frame_base: 0 };
/// let spec = RunSpec {
///     songs: 1,
///     guided: false,
///     delays: &delays,
///     frames: 8,
///     texts: &[],
///     text_room: 0,
///     kv: Format::F32,
///     block: 16,
///     sampling,
/// };
/// let mut run = lm.run(&mut cpu, &spec)?;
/// // The tokens of stream 0 are given; the other streams are sampled.
/// run.put(&mut cpu, 0, 0, 0, &[1, 2, 3, 4, 5, 6, 7, 8])?;
/// while run.next(&mut cpu, &lm, usize::MAX) > 0 {}
/// let mut codes = [0; 8];
/// run.codes(&mut cpu, 0, 1, 0, &mut codes);
/// assert!(codes.iter().all(|&code| 0 <= code && (code as usize) < dir.config.streams[1].card));
/// # Ok::<(), sideman_engine::Error>(())
/// ```
pub struct Lm<B: Backend> {
    config: Config,
    weights: weights::Weights<B>,
    cache: Format,
}

impl<B: Backend> Lm<B> {
    /// Loads `lm.safetensors` of a model directory, its matrices kept in `format`.
    ///
    /// # Errors
    /// A tensor is missing, unknown or has the wrong shape; the backend's memory is full.
    pub fn load(backend: &mut B, dir: &ModelDir, format: Format) -> Result<Self> {
        let file = dir.tensors("lm.safetensors")?;
        let weights = weights::Weights::load(backend, &dir.config, file, format)?;
        let cache = if format == Format::F32 { Format::F32 } else { Format::Bf16 };
        Ok(Lm { config: dir.config.clone(), weights, cache })
    }

    /// Format of the key-value cache for these weights: f32 for f32, else bf16, which halves what a step of a
    /// long song reads.
    pub fn cache(&self) -> Format {
        self.cache
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Starts a generation.
    ///
    /// # Errors
    /// The spec doesn't fit the model (see [`RunSpec`]), or the backend's memory is full.
    pub fn run(&self, backend: &mut B, spec: &RunSpec) -> Result<Run<B>> {
        Run::new(backend, self, spec)
    }
}
