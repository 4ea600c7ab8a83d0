//! `tokens.safetensors` of a take: a file that grows and is whole at every moment.
//!
//! A safetensors file whose length is not the one that its header says is not readable, and header and length
//! can't change at once. So while a take is recorded, the file has room for more frames than there are, filled
//! with [`UNKNOWN`]; frames are written in place, and a file that is full is replaced by one twice as long. At
//! the end it is replaced by one that has exactly the frames of the take.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sideman_engine::atomic::AtomicFile;
use sideman_engine::{Error, Result};
use sideman_kernels::UNKNOWN;

/// Bytes of the header, padded with spaces.
pub(super) const HEADER: usize = 248;
/// Frames that a new file has room for: a minute.
const FIRST_ROOM: u64 = 3000;

/// The file, open for writing.
pub(super) struct TokenFile {
    path: PathBuf,
    file: File,
    streams: usize,
    first_frame: i64,
    frames: u64,
    /// Frames that the file has room for.
    room: u64,
}

impl TokenFile {
    /// Creates it, without frames. `first_frame`: song frame of the first one.
    pub(super) fn create(path: &Path, streams: usize, first_frame: i64) -> Result<TokenFile> {
        // Any file: it is replaced before it is read.
        let mut file = AtomicFile::create(path)?;
        fill(file.file(), streams, first_frame, None, FIRST_ROOM).map_err(Error::io(path))?;
        file.commit()?;
        let file = open(path)?;
        Ok(TokenFile { path: path.to_owned(), file, streams, first_frame, frames: 0, room: FIRST_ROOM })
    }

    /// Adds frames, all streams of a frame after another.
    pub(super) fn add(&mut self, tokens: &[i32]) -> Result<()> {
        let needed = self.frames + (tokens.len() / self.streams) as u64;
        if needed > self.room {
            self.replace(needed.max(2 * self.room))?;
        }
        let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
        let at = (8 + HEADER) as u64 + self.frames * self.streams as u64 * 4;
        let written = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(&bytes));
        written.map_err(Error::io(&self.path))?;
        self.frames = needed;
        Ok(())
    }

    /// Leaves the first `frames` frames, no others and no room.
    pub(super) fn finish(mut self, frames: u64) -> Result<()> {
        self.frames = self.frames.min(frames);
        self.replace(self.frames)
    }

    /// Replaces the file by one with the same frames and room for `room`.
    fn replace(&mut self, room: u64) -> Result<()> {
        let mut new = AtomicFile::create(&self.path)?;
        let old = self.file.seek(SeekFrom::Start((8 + HEADER) as u64)).map(|_| (&mut self.file, self.frames));
        let filled = old.and_then(|old| fill(new.file(), self.streams, self.first_frame, Some(old), room));
        filled.map_err(Error::io(&self.path))?;
        new.commit()?;
        self.file = open(&self.path)?;
        self.room = room;
        Ok(())
    }
}

/// Writes a file: the header, the frames of `old` from its position on, and unknown ones up to `room`.
fn fill(file: &mut File, streams: usize, first_frame: i64, old: Option<(&mut File, u64)>, room: u64) -> std::io::Result<()> {
    let frame = streams as u64 * 4;
    let mut json = format!(
        r#"{{"tokens":{{"dtype":"I32","shape":[{room},{streams}],"data_offsets":[0,{}]}},"__metadata__":{{"first_frame":"{first_frame}"}}}}"#,
        room * frame
    );
    json.extend(std::iter::repeat_n(' ', HEADER.saturating_sub(json.len())));
    file.write_all(&(HEADER as u64).to_le_bytes())?;
    file.write_all(json.as_bytes())?;
    let frames = match old {
        Some((old, frames)) => {
            std::io::copy(&mut old.take(frames * frame), file)?;
            frames
        }
        None => 0,
    };
    let unknown: Vec<u8> = UNKNOWN.to_le_bytes().repeat(streams * 512);
    let mut left = (room - frames) * frame;
    while left > 0 {
        let n = left.min(unknown.len() as u64);
        file.write_all(&unknown[..n as usize])?;
        left -= n;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    File::options().read(true).write(true).open(path).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens in the file, as any safetensors reader checks and finds them.
    fn tokens(path: &Path) -> Vec<i32> {
        let bytes = std::fs::read(path).unwrap();
        let (length, rest) = bytes.split_at(8);
        let (head, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        let head: serde_json::Value = serde_json::from_slice(head).unwrap();
        let (shape, offsets) = (&head["tokens"]["shape"], &head["tokens"]["data_offsets"]);
        assert_eq!(offsets, &serde_json::json!([0, data.len()]), "the file has another length than its header says");
        assert_eq!(shape[0].as_u64().unwrap() * shape[1].as_u64().unwrap() * 4, data.len() as u64);
        data.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    #[test]
    fn the_file_is_whole_at_every_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.safetensors");
        let mut file = TokenFile::create(&path, 3, 7).unwrap();
        assert!(tokens(&path).iter().all(|t| *t == UNKNOWN));
        let mut want = Vec::new();
        for n in 0..40 {
            let new: Vec<i32> = (0..3 * 250).map(|k| n * 1000 + k).collect();
            file.add(&new).unwrap();
            want.extend(new);
            let found = tokens(&path);
            assert!(found[..want.len()] == want && found[want.len()..].iter().all(|t| *t == UNKNOWN), "after {n}");
        }
        file.finish(u64::MAX).unwrap();
        assert_eq!(tokens(&path), want);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
