//! Writes stems and mixes: WAV files of 32-bit float. Float, so that a given stem is written bit for bit and nothing clips in
//! the file. Sets of files are written whole and atomically ([`crate::atomic`]); a [`WavFile`] grows.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::atomic::AtomicFile;
use crate::error::{Error, Result};

/// Audio of a file: interleaved samples of a number of channels.
#[derive(Clone, Copy)]
pub struct Audio<'a> {
    /// Samples, interleaved.
    pub samples: &'a [f32],
    /// Channels.
    pub channels: u16,
}

impl<'a> Audio<'a> {
    /// Audio of one channel.
    pub fn mono(samples: &'a [f32]) -> Self {
        Audio { samples, channels: 1 }
    }
}

/// Writes audio at `rate` Hz under a temporary name; [`AtomicFile::commit`] gives the file the name `path`.
///
/// # Errors
/// [`Error::Io`] with the path: its folder is missing, no permission to write, or the disk is full.
fn stage(path: &Path, audio: Audio, rate: u32) -> Result<AtomicFile> {
    let Audio { samples, channels } = audio;
    let mut staged = AtomicFile::create(path)?;
    let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
    let write = |file| -> hound::Result<()> {
        let mut wav = hound::WavWriter::new(BufWriter::new(file), spec)?;
        for x in samples {
            wav.write_sample(*x)?;
        }
        wav.finalize()
    };
    write(staged.file()).map_err(|e| failed(path, e))?;
    Ok(staged)
}

/// Writes a set of WAV files of `rate` Hz. All are written before the first gets its final name.
///
/// # Errors
/// [`Error::Io`] with the path: a folder is missing, no permission to write, or the disk is full; no file has its final
/// name then. Or a file can't be renamed: those before it have theirs.
pub fn write_all(files: &[(PathBuf, Audio)], rate: u32) -> Result<()> {
    let staged = files.iter().map(|(path, audio)| stage(path, *audio, rate)).collect::<Result<Vec<_>>>()?;
    staged.into_iter().try_for_each(AtomicFile::commit)
}

/// A WAV file of 32-bit float with any number of channels, written piece by piece. Put it into a folder that appears
/// when it is complete.
pub struct WavFile {
    /// The name that it will have, for errors.
    path: PathBuf,
    wav: hound::WavWriter<BufWriter<File>>,
    /// Values that still fit.
    room: u64,
}

/// The most bytes of samples: a WAV file counts them in 32 bits, with its header.
const MAX_BYTES: u64 = u32::MAX as u64 - 1000;

impl WavFile {
    /// Creates the file `temporary`, which errors call `path`: the name that it will have.
    ///
    /// # Errors
    /// No permission to write, or more channels than a WAV file can have.
    pub fn create(temporary: &Path, path: &Path, channels: usize, rate: u32) -> Result<WavFile> {
        let count = u16::try_from(channels);
        let channels = count.map_err(|_| Error::file(path, format!("{channels} channels; a WAV file has at most 65535")))?;
        let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
        let file = File::create(temporary).map_err(Error::io(path))?;
        let wav = hound::WavWriter::new(BufWriter::new(file), spec).map_err(|e| failed(path, e))?;
        Ok(WavFile { path: path.to_owned(), wav, room: MAX_BYTES / 4 })
    }

    /// Appends interleaved samples.
    ///
    /// # Errors
    /// The disk is full, or the file would have more than 4 GiB.
    pub fn write(&mut self, interleaved: &[f32]) -> Result<()> {
        let room = self.room.checked_sub(interleaved.len() as u64);
        self.room = room.ok_or_else(|| Error::file(&self.path, "longer than 4 GiB, the most that a WAV file can have"))?;
        let mut put = || interleaved.iter().try_for_each(|x| self.wav.write_sample(*x));
        put().map_err(|e| failed(&self.path, e))
    }

    /// Completes the header.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(self) -> Result<()> {
        self.wav.finalize().map_err(|e| failed(&self.path, e))
    }
}

/// A WAV writer's error.
fn failed(path: &Path, error: hound::Error) -> Error {
    let source = match error {
        hound::Error::IoError(e) => e,
        other => std::io::Error::other(other.to_string()),
    };
    Error::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bass.wav");
        let samples = [0.1f32, -1.5, f32::MIN_POSITIVE, 0.0, -0.0];
        write_all(&[(path.clone(), Audio::mono(&samples))], 32_000).unwrap();
        let mut file = hound::WavReader::open(&path).unwrap();
        assert_eq!(file.spec().sample_rate, 32_000);
        let back: Vec<u32> = file.samples::<f32>().map(|x| x.unwrap().to_bits()).collect();
        assert_eq!(back, samples.map(f32::to_bits));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file left");
    }

    #[test]
    fn a_set_with_a_file_that_fails_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let files =
            [(dir.path().join("bass.wav"), Audio::mono(&[0.0])), (dir.path().join("no/such/drums.wav"), Audio::mono(&[0.0]))];
        let error = write_all(&files, 32_000).unwrap_err().to_string();
        assert!(error.contains("drums.wav"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
