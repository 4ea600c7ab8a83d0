//! What can go wrong in the engine. Each error names the file and the tensor or key at fault, and says what would be right.

use std::path::{Path, PathBuf};

use sideman_kernels::BackendError;
use thiserror::Error;

/// Result of the engine's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine; its text is one sentence, for the musician.
#[derive(Debug, Error)]
pub enum Error {
    /// A file can't be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was found, and what would be right.
        what: String,
    },
    /// A key of a configuration has a value that can't be.
    #[error("{}: {key}: {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key at fault, dotted: `lm.heads`, `codecs.bass.card`.
        key: String,
        /// What was found, and what would be right.
        what: String,
    },
    /// A tensor is missing, misshapen, damaged or unknown.
    #[error("{}: tensor `{name}`: {what}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor at fault.
        name: String,
        /// What was found, and what would be right.
        what: String,
    },
    /// What the caller asked for can't be done (a stem that the model lacks, a code out of range, a length too long).
    #[error("{0}")]
    Input(String),
    /// The caller's progress callback said stop.
    #[error("cancelled")]
    Cancelled,
    /// A player can't do it: no memory, or shapes that don't fit.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Error {
    /// [`Error::Io`] at `path`; for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }

    /// [`Error::File`] at `path`.
    pub fn file(path: &Path, what: impl Into<String>) -> Error {
        Error::File { path: path.to_owned(), what: what.into() }
    }

    /// [`Error::Tensor`] `name` at `path`.
    pub fn tensor(path: &Path, name: &str, what: impl Into<String>) -> Error {
        Error::Tensor { path: path.to_owned(), name: name.to_owned(), what: what.into() }
    }
}
