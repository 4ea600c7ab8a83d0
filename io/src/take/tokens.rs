//! `tokens.safetensors` of a take: a file that grows, whose header is rewritten in place.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sideman_engine::{Error, Result};

/// Bytes of the header, padded with spaces.
pub(super) const HEADER: usize = 248;

/// The file, open for writing.
pub(super) struct TokenFile {
    path: PathBuf,
    file: File,
    streams: usize,
    first_frame: i64,
    frames: u64,
}

impl TokenFile {
    /// Creates it, without frames. `first_frame`: song frame of the first one.
    pub(super) fn create(path: &Path, streams: usize, first_frame: i64) -> Result<TokenFile> {
        let file = File::create(path).map_err(Error::io(path))?;
        let mut tokens = TokenFile { path: path.to_owned(), file, streams, first_frame, frames: 0 };
        tokens.write_header()?;
        Ok(tokens)
    }

    /// Adds frames, all streams of a frame after another.
    pub(super) fn add(&mut self, tokens: &[i32]) -> Result<()> {
        let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
        self.file.write_all(&bytes).map_err(Error::io(&self.path))?;
        self.frames += (tokens.len() / self.streams) as u64;
        Ok(())
    }

    /// Updates the number of frames that readers see.
    pub(super) fn write_header(&mut self) -> Result<()> {
        let bytes = self.frames * self.streams as u64 * 4;
        let mut json = format!(
            r#"{{"tokens":{{"dtype":"I32","shape":[{},{}],"data_offsets":[0,{bytes}]}},"__metadata__":{{"first_frame":"{}"}}}}"#,
            self.frames, self.streams, self.first_frame
        );
        json.extend(std::iter::repeat_n(' ', HEADER.saturating_sub(json.len())));
        let mut write = || -> std::io::Result<()> {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&(HEADER as u64).to_le_bytes())?;
            self.file.write_all(json.as_bytes())?;
            self.file.seek(SeekFrom::End(0)).map(drop)
        };
        write().map_err(Error::io(&self.path))
    }
}
