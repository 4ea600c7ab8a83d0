//! The model directory: `config.json` beside its tensor files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::{Config, Tensors};

/// The longest `config.json` that is read: a real one has 3 KiB.
const MAX_CONFIG: u64 = 1 << 20;

/// A model directory whose `config.json` has been read and validated. Tensors are opened file by file.
#[derive(Debug, Clone)]
pub struct ModelDir {
    /// Where it is.
    pub path: PathBuf,
    /// What `config.json` says.
    pub config: Config,
}

impl ModelDir {
    /// Reads and validates `path/config.json`.
    ///
    /// # Errors
    /// The file is missing, no JSON of the right form, or says something that can't be; the error names the key.
    pub fn open(path: impl AsRef<Path>) -> Result<ModelDir> {
        let path = path.as_ref().to_owned();
        let file = path.join("config.json");
        let meta = fs::metadata(&file).map_err(Error::io(&file))?;
        if !meta.is_file() || meta.len() > MAX_CONFIG {
            return Err(Error::file(&file, format!("not a configuration: it should be a file of at most {MAX_CONFIG} bytes")));
        }
        let text = fs::read(&file).map_err(Error::io(&file))?;
        let config = Config::parse(&text, &file)?;
        Ok(ModelDir { path, config })
    }

    /// Opens one tensor file of the directory: `lm.safetensors`, `codec.bass.safetensors`, `text.safetensors`.
    ///
    /// # Errors
    /// See [`Tensors::open`].
    pub fn tensors(&self, file: &str) -> Result<Tensors> {
        Tensors::open(&self.path.join(file))
    }
}
