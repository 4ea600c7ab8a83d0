//! Writes stems: mono WAV files of 32-bit float. Float, so that a given stem is written bit for bit and
//! nothing clips in the file. Files are written atomically ([`crate::atomic`]).

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::atomic::AtomicFile;
use crate::error::{Error, Result};

/// Writes mono `samples` at `rate` Hz under a temporary name; [`AtomicFile::commit`] gives the file the name
/// `path`.
///
/// # Errors
/// [`Error::Io`] with the path: its folder is missing, no permission to write, or the disk is full.
pub fn stage(path: &Path, samples: &[f32], rate: u32) -> Result<AtomicFile> {
    let mut staged = AtomicFile::create(path)?;
    let spec = hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
    let write = |file| -> hound::Result<()> {
        let mut wav = hound::WavWriter::new(BufWriter::new(file), spec)?;
        for x in samples {
            wav.write_sample(*x)?;
        }
        wav.finalize()
    };
    write(staged.file()).map_err(|e| {
        let source = match e {
            hound::Error::IoError(e) => e,
            other => std::io::Error::other(other.to_string()),
        };
        Error::Io { path: path.to_owned(), source }
    })?;
    Ok(staged)
}

/// Writes a set of mono WAV files of `rate` Hz. All are written before the first gets its final name.
///
/// # Errors
/// Those of [`stage`]: no file has its final name then. Or a file can't be renamed: those before it have
/// theirs.
pub fn write_all(files: &[(PathBuf, &[f32])], rate: u32) -> Result<()> {
    let staged = files.iter().map(|(path, samples)| stage(path, samples, rate)).collect::<Result<Vec<_>>>()?;
    staged.into_iter().try_for_each(AtomicFile::commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_bit_for_bit() {
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
    fn a_set_with_a_file_that_fails_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = [(dir.path().join("bass.wav"), &[0.0f32][..]), (dir.path().join("no/such/drums.wav"), &[0.0f32][..])];
        let error = write_all(&files, 32_000).unwrap_err().to_string();
        assert!(error.contains("drums.wav"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
