//! Stems on disk: mono WAVs of 32-bit float, so that a kept stem comes out bit for bit and nothing can clip in the file.
//!
//! A file is written under a temporary name beside its place and renamed when it is whole: nothing half-written is ever
//! seen under its final name, and a set of stems appears together.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A whole WAV under a temporary name; [`Staged::commit`] gives it its own. Dropped without that, it is deleted.
pub struct Staged {
    temporary: PathBuf,
    path: PathBuf,
    done: bool,
}

/// Writes mono `samples` at `rate` Hz for `path`, under a temporary name.
///
/// # Errors
/// [`Error::Io`] with the path: no such folder, no right to write, disk full.
pub fn stage(path: &Path, samples: &[f32], rate: u32) -> Result<Staged> {
    let wrong = |source: std::io::Error| Error::Io { path: path.to_owned(), source };
    let Some(name) = path.file_name() else {
        return Err(wrong(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file name")));
    };
    let temporary = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let staged = Staged { temporary, path: path.to_owned(), done: false };
    let spec = hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
    let write = || -> hound::Result<()> {
        let mut file = hound::WavWriter::create(&staged.temporary, spec)?;
        for x in samples {
            file.write_sample(*x)?;
        }
        file.finalize()
    };
    write().map_err(|e| match e {
        hound::Error::IoError(e) => wrong(e),
        other => wrong(std::io::Error::other(other.to_string())),
    })?;
    Ok(staged)
}

impl Staged {
    /// Gives the file its final name, over what was there.
    ///
    /// # Errors
    /// [`Error::Io`] where the system won't rename.
    pub fn commit(mut self) -> Result<()> {
        std::fs::rename(&self.temporary, &self.path).map_err(Error::io(&self.path))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.done {
            // Nothing more can be done where even this fails.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a set of mono WAVs of `rate` Hz: all of them are written before the first gets its final name.
///
/// # Errors
/// Those of [`stage`]; nothing has then appeared under a final name.
pub fn write_all(files: &[(PathBuf, &[f32])], rate: u32) -> Result<()> {
    let staged = files.iter().map(|(path, samples)| stage(path, samples, rate)).collect::<Result<Vec<_>>>()?;
    staged.into_iter().try_for_each(Staged::commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bass.wav");
        let samples = [0.1f32, -1.5, f32::MIN_POSITIVE, 0.0, -0.0];
        write_all(&[(path.clone(), &samples)], 32_000).unwrap();
        let mut file = hound::WavReader::open(&path).unwrap();
        assert_eq!(file.spec().sample_rate, 32_000);
        let back: Vec<u32> = file.samples::<f32>().map(|x| x.unwrap().to_bits()).collect();
        assert_eq!(back, samples.map(f32::to_bits));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file left");
    }

    #[test]
    fn one_that_fails_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let files = [(dir.path().join("bass.wav"), &[0.0f32][..]), (dir.path().join("no/such/drums.wav"), &[0.0f32][..])];
        let error = write_all(&files, 32_000).unwrap_err().to_string();
        assert!(error.contains("drums.wav"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
