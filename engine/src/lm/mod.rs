//! The language model: a causal transformer over columns of tokens, one per stream (docs/explanation/musicgen-stem.md sections 5 to 7).
//!
//! [`Lm`] holds configuration and weights, which do not change. [`Run`] holds one generation: its sequence, key-value cache and
//! sampler. Several runs can share one `Lm`: live play primes the next window while the current one plays.

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

    /// Format of the key-value cache for these weights: f32 for f32, else bf16, which halves what a step of a long song reads.
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
