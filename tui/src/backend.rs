//! Chooses the backend that computes: the processor, or an NVIDIA GPU.

use anyhow::{Result, anyhow};
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Activations, Format};

use crate::cli::{ActivationsChoice, BackendChoice, Precision};

impl From<ActivationsChoice> for Activations {
    fn from(choice: ActivationsChoice) -> Self {
        match choice {
            ActivationsChoice::F32 => Activations::F32,
            ActivationsChoice::Int8 => Activations::Int8,
        }
    }
}

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

/// Processor threads: the value of `--threads`, or one per core.
pub fn threads(flag: Option<u16>) -> usize {
    flag.map(usize::from).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// The GPU, if `choice` requests one; `None` is the processor. With `auto`, an unusable GPU is logged and not
/// an error.
///
/// # Errors
/// `choice` is `cuda`, and the GPU can't be used.
pub fn gpu(choice: BackendChoice) -> Result<Option<CudaBackend>> {
    if choice == BackendChoice::Cpu {
        return Ok(None);
    }
    match CudaBackend::new(0) {
        Ok(cuda) => Ok(Some(cuda)),
        Err(error) if choice == BackendChoice::Cuda => Err(anyhow!("--backend cuda: {error}")),
        Err(error) => {
            tracing::info!("the processor computes: {error}");
            Ok(None)
        }
    }
}
