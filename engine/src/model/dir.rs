//! A model directory: `config.json` and tensor files (docs/reference/model-format.md).

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::{Config, Tensors};

/// The longest `config.json` that is read, in bytes. The house model's has 3 KiB.
const MAX_CONFIG: u64 = 1 << 20;

/// A model directory whose `config.json` is valid. Tensor files are opened one at a time by
/// [`ModelDir::tensors`].
///
/// ```
/// use sideman_engine::model::ModelDir;
///
/// let dir = ModelDir::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/six"))?;
/// assert_eq!(dir.config.stems, ["bass", "drums", "other"]);
/// assert!(dir.tensors("lm.safetensors")?.shape("emb.0.weight").is_some());
/// # Ok::<(), sideman_engine::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelDir {
    /// The directory.
    pub path: PathBuf,
    /// The content of `config.json`.
    pub config: Config,
}

impl ModelDir {
    /// Reads and validates `path/config.json`.
    ///
    /// # Errors
    /// The file is missing, is not JSON, or has a wrong value; the error names the key.
    pub fn open(path: impl AsRef<Path>) -> Result<ModelDir> {
        let path = path.as_ref().to_owned();
        let file = path.join("config.json");
        let meta = fs::metadata(&file).map_err(Error::io(&file))?;
        if !meta.is_file() || meta.len() > MAX_CONFIG {
            return Err(Error::file(
                &file,
                format!("not a model's configuration: it should be a file of at most {MAX_CONFIG} bytes"),
            ));
        }
        crate::placeholder::check(&file)?;
        let text = fs::read(&file).map_err(Error::io(&file))?;
        let config = Config::parse(&text, &file)?;
        Ok(ModelDir { path, config })
    }

    /// Opens a tensor file of the directory: `lm.safetensors`, `codec.bass.safetensors` or
    /// `text.safetensors`.
    ///
    /// # Errors
    /// Those of [`Tensors::open`].
    pub fn tensors(&self, file: &str) -> Result<Tensors> {
        Tensors::open(&self.path.join(file))
    }
}
