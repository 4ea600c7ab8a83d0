//! The engine's errors. Each names the file and the tensor or key that is wrong, and says what would be
//! right.

use std::path::{Path, PathBuf};

use sideman_kernels::BackendError;
use thiserror::Error;

/// Result of the engine's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine. Its text is one sentence that can be shown to the user.
#[derive(Debug, Error)]
pub enum Error {
    /// A file can't be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file has the wrong content.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was found, and what would be right.
        what: String,
    },
    /// A download left something else in place of a file: a Git LFS pointer, a web page.
    #[error("{}: {what}", path.display())]
    Placeholder {
        /// The file.
        path: PathBuf,
        /// What it is, and how to get the real file.
        what: &'static str,
    },
    /// A key of a configuration file has a wrong value.
    #[error("{}: {key}: {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key, with dots: `lm.heads`, `codecs.bass.card`.
        key: String,
        /// What was found, and what would be right.
        what: String,
    },
    /// A tensor is missing, damaged, unknown or has the wrong shape.
    #[error("{}: tensor `{name}`: {what}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What was found, and what would be right.
        what: String,
    },
    /// The caller's input is wrong: a stem that the model does not have, a value that is out of its range.
    #[error("{0}")]
    Input(String),
    /// The caller's progress callback returned `Break`.
    #[error("cancelled")]
    Cancelled,
    /// The backend failed: its memory is full, the GPU is lost, or shapes do not fit.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Error {
    /// Makes an [`Error::Io`] with `path`; for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }

    /// An [`Error::File`] with `path`.
    pub fn file(path: &Path, what: impl Into<String>) -> Error {
        Error::File { path: path.to_owned(), what: what.into() }
    }

    /// An [`Error::Tensor`] with `path` and `name`.
    pub fn tensor(path: &Path, name: &str, what: impl Into<String>) -> Error {
        Error::Tensor { path: path.to_owned(), name: name.to_owned(), what: what.into() }
    }
}
