//! An audio file as the decoder gets it: without the ID3v1 tag at its end, which would damage the last frame of a
//! FLAC file, with block sizes in a FLAC header that the decoder accepts, and with silent frames in place of damaged ones
//! of an MP3 file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::mp3::Scan;
use super::{flac, mp3};

/// Bytes of a file that are replaced, and where they begin.
pub(super) type Mended = (u64, Vec<u8>);

/// A file for the decoder.
pub(super) struct MediaFile {
    file: File,
    /// Position, and where the tag begins; none for what is no regular file.
    end: Option<u64>,
    at: u64,
    mended: Vec<Mended>,
    /// Sample frames that are silence because the file is damaged there.
    pub silenced: u64,
    /// Sample frames of an MP3 file; 0: it is none, or not known.
    pub mp3_samples: u64,
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
            return Ok(MediaFile { file, end: None, at: 0, mended: Vec::new(), silenced: 0, mp3_samples: 0 });
        }
        let mut end = file.seek(SeekFrom::End(0))?;
        let mut name = [0; 3];
        if end > TAG && file.seek(SeekFrom::Start(end - TAG)).and_then(|_| file.read_exact(&mut name)).is_ok() && &name == b"TAG"
        {
            end -= TAG;
        }
        let Scan { mended, silenced, samples } = match flac::mended_block_sizes(&mut file)? {
            Some((at, bytes)) => Scan { mended: vec![(at, bytes.to_vec())], ..Scan::default() },
            None => mp3::scan(&mut file, end)?,
        };
        file.seek(SeekFrom::Start(0))?;
        Ok(MediaFile { file, end: Some(end), at: 0, mended, silenced, mp3_samples: samples })
    }
}

impl Read for MediaFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = self.end.map_or(out.len() as u64, |end| end.saturating_sub(self.at)).min(out.len() as u64) as usize;
        let n = self.file.read(&mut out[..most])?;
        let (from, to) = (self.at, self.at + n as u64);
        for (at, bytes) in &self.mended {
            let (first, last) = (from.max(*at), to.min(at + bytes.len() as u64));
            if first < last {
                let part = &bytes[(first - at) as usize..(last - at) as usize];
                out[(first - from) as usize..(last - from) as usize].copy_from_slice(part);
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
