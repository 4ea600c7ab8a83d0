//! Reads a song block by block at its own sample rate and with all its channels: for what is written again at that
//! rate. [`super::read()`] reads recordings as mono at the engine's rate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::MAX_MINUTES;
use super::blocks::Blocks;
use super::read::{MAX_PEAK, RATES};
use crate::error::{Error, Result};

/// A song that is being read.
pub struct SongReader {
    path: PathBuf,
    blocks: Blocks,
    /// Sample rate in Hz.
    rate: u32,
    /// Channels.
    channels: usize,
    /// The first block, until it is given out.
    first: Option<Vec<f32>>,
    frames: u64,
    not_finite: u64,
}

impl SongReader {
    /// Opens a song and reads its first block.
    ///
    /// # Errors
    /// The file is missing, not audio or without samples, or its rate is not between 4 and 384 kHz.
    pub fn open(path: &Path) -> Result<SongReader> {
        let (mut blocks, mut first) = (guarded(path, || Blocks::open(path))?, Vec::new());
        let Some((rate, channels)) = guarded(path, || Ok(blocks.next(&mut first)))? else {
            let what = match blocks.skipped() {
                0 => "has no samples".to_owned(),
                n => format!("none of its {n} packets can be decoded"),
            };
            return Err(Error::file(path, what));
        };
        if !RATES.contains(&rate) {
            let what = format!("sample rate {rate} Hz; it should be between {} and {} Hz", RATES.start(), RATES.end());
            return Err(Error::file(path, what));
        }
        if channels == 0 {
            return Err(Error::file(path, "has no channels"));
        }
        Ok(SongReader { path: path.to_owned(), blocks, rate, channels, first: Some(first), frames: 0, not_finite: 0 })
    }

    /// Sample rate in Hz.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Sample frames that the header announces; a file can have fewer or more.
    pub fn promised(&self) -> Option<u64> {
        self.blocks.promised()
    }

    /// Sample frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Puts the next block into `interleaved`; false at the end. Samples that are not finite become 0.
    ///
    /// # Errors
    /// The file changes its rate or channels, is longer than [`MAX_MINUTES`], or has samples far above full scale.
    pub fn next(&mut self, interleaved: &mut Vec<f32>) -> Result<bool> {
        let unusable = |what: String| Error::file(&self.path, what);
        match self.first.take() {
            Some(first) => *interleaved = first,
            None => {
                let Some(now) = guarded(&self.path, || Ok(self.blocks.next(interleaved)))? else { return Ok(false) };
                if now != (self.rate, self.channels) {
                    return Err(unusable(format!(
                        "changes from {} Hz, {} channels to {} Hz, {} channels; both should be the same throughout",
                        self.rate, self.channels, now.0, now.1
                    )));
                }
            }
        }
        for x in interleaved.iter_mut() {
            if !x.is_finite() {
                self.not_finite += 1;
                *x = 0.0;
            }
            if x.abs() > MAX_PEAK {
                return Err(unusable(format!(
                    "a sample is {:.3e} times full scale (1 in a float file); normalise it first",
                    x.abs()
                )));
            }
        }
        self.frames += (interleaved.len() / self.channels) as u64;
        if self.frames > MAX_MINUTES * 60 * u64::from(self.rate) {
            return Err(unusable(format!("longer than {MAX_MINUTES} minutes, the longest that is read; cut it into parts")));
        }
        Ok(true)
    }

    /// A sentence for each defect of the file, when all of it has been read.
    pub fn warnings(&self) -> Vec<String> {
        let (path, rate) = (self.path.display(), f64::from(self.rate));
        let mut all = Vec::new();
        if self.not_finite > 0 {
            all.push(format!("{path}: {} samples are NaN or infinite; they are read as silence", self.not_finite));
        }
        let missing = self.promised().map_or(0, |n| n.saturating_sub(self.frames));
        if missing > 0 {
            all.push(format!("{path}: ends {:.2} s earlier than its header says; the rest is used", missing as f64 / rate));
        }
        if self.blocks.silenced() > 0 {
            all.push(format!("{path}: {:.2} s are damaged; they are read as silence", self.blocks.silenced() as f64 / rate));
        } else if self.blocks.skipped() > 0 {
            all.push(format!("{path}: {} damaged packets are left out", self.blocks.skipped()));
        }
        all
    }
}

/// Runs a decoder, which can panic on a damaged file. Nothing of it is used after that.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err(Error::file(path, "can't be read as audio: it is damaged")))
}
