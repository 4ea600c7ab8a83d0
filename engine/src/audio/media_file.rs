//! An audio file as the decoder gets it: without the ID3v1 tag at its end, which would damage the last frame of a
//! FLAC file, and with block sizes in a FLAC header that the decoder accepts.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::flac;

/// A file for the decoder.
pub(super) struct MediaFile {
    file: File,
    /// Position, and where the tag begins; none for what is no regular file.
    end: Option<u64>,
    at: u64,
    /// Bytes of a FLAC header that are replaced, and where they are.
    mended: Option<(u64, [u8; 4])>,
}

/// Bytes of an ID3v1 tag.
const TAG: u64 = 128;

impl MediaFile {
    /// Opens a file at its beginning.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn new(mut file: File) -> io::Result<MediaFile> {
        if !file.metadata()?.is_file() {
            return Ok(MediaFile { file, end: None, at: 0, mended: None });
        }
        let mut end = file.seek(SeekFrom::End(0))?;
        let mut name = [0; 3];
        if end > TAG && file.seek(SeekFrom::Start(end - TAG)).and_then(|_| file.read_exact(&mut name)).is_ok() && &name == b"TAG"
        {
            end -= TAG;
        }
        let mended = flac::mended_block_sizes(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(MediaFile { file, end: Some(end), at: 0, mended })
    }
}

impl Read for MediaFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = self.end.map_or(out.len() as u64, |end| end.saturating_sub(self.at)).min(out.len() as u64) as usize;
        let n = self.file.read(&mut out[..most])?;
        if let Some((from, bytes)) = self.mended {
            for (at, byte) in (from..).zip(bytes) {
                if let Some(out) = at.checked_sub(self.at).and_then(|n| usize::try_from(n).ok()).and_then(|i| out[..n].get_mut(i))
                {
                    *out = byte;
                }
            }
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for MediaFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match (to, self.end) {
            (SeekFrom::End(by), Some(end)) => SeekFrom::Start(end.saturating_add_signed(by)),
            (to, _) => to,
        };
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

impl MediaSource for MediaFile {
    fn is_seekable(&self) -> bool {
        self.end.is_some()
    }

    fn byte_len(&self) -> Option<u64> {
        self.end
    }
}
