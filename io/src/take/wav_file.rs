//! A WAV file of 32-bit floats that grows: its header is updated in one write, and beyond 4 GiB it is RF64.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sideman_engine::audio::RATE;
use sideman_engine::audio::riff::{self, SampleFormat};
use sideman_engine::{Error, Result};

/// The file, open for writing.
pub(super) struct WavFile {
    path: PathBuf,
    file: BufWriter<File>,
    channels: u16,
    /// Samples written, of all channels.
    samples: u64,
}

impl WavFile {
    /// Creates it; readers find an empty file at once.
    pub(super) fn create(path: &Path, channels: u16) -> Result<WavFile> {
        let file = File::create(path).map_err(Error::io(path))?;
        let mut wav = WavFile { path: path.to_owned(), file: BufWriter::new(file), channels, samples: 0 };
        wav.file.write_all(&riff::header(channels, RATE, 0)).and_then(|()| wav.file.flush()).map_err(Error::io(path))?;
        Ok(wav)
    }

    /// Adds a sample.
    pub(super) fn write(&mut self, sample: f32) -> Result<()> {
        self.samples += 1;
        self.file.write_all(&sample.to_le_bytes()).map_err(Error::io(&self.path))
    }

    /// Updates what readers see.
    pub(super) fn flush(&mut self) -> Result<()> {
        let header = riff::header(self.channels, RATE, self.samples / u64::from(self.channels));
        // The samples before the header that counts them.
        self.file.flush().and_then(|()| write_at_start(self.file.get_mut(), &header)).map_err(Error::io(&self.path))
    }

    /// Closes the file, on disk.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.file.get_ref().sync_all().map_err(Error::io(&self.path))
    }

    /// Cuts the file after `frames` frames: what is behind them could not be written whole.
    pub(super) fn cut(self, frames: u64) -> Result<()> {
        // What is buffered is given up.
        let (mut file, _) = self.file.into_parts();
        let length = riff::HEADER as u64 + frames * u64::from(self.channels) * 4;
        let header = riff::header(self.channels, RATE, frames);
        let cut = file.set_len(length).and_then(|()| write_at_start(&mut file, &header)).and_then(|()| file.sync_all());
        cut.map_err(Error::io(&self.path))
    }
}

/// Writes at the start of a file, and leaves its position at the end.
fn write_at_start(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(bytes)?;
    file.seek(SeekFrom::End(0)).map(drop)
}

/// Reads a mono file of 32-bit floats at 32 kHz, also one whose writer was killed.
///
/// # Errors
/// It is not such a file.
pub(super) fn read(path: &Path) -> Result<Vec<f32>> {
    let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let header = match riff::read(&mut file) {
        Ok(header) => header,
        Err(riff::Fault::Io(source)) => return Err(Error::Io { path: path.to_owned(), source }),
        Err(fault) => return Err(Error::file(path, fault.to_string())),
    };
    if (header.channels, header.rate, header.format) != (1, RATE, SampleFormat::F32) {
        return Err(Error::file(path, format!("not the input of a take: it must be mono, 32-bit float, {RATE} Hz")));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(header.start)).map_err(Error::io(path))?;
    file.take(header.bytes).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
