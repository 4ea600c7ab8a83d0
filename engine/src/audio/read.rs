//! Reads an audio file as mono f32 at 32 kHz: WAV, FLAC, MP3 or OGG Vorbis, 4 to 384 kHz. Channels are
//! averaged, unless they cancel each other out. Files are decoded packet by packet, so that only the result is in memory.

use std::path::{Path, PathBuf};

use super::blocks::{Blocks, Spec};
use super::downmix::{Downmix, Mix};
use super::{MAX_MINUTES, RATE, Resampler};
use crate::error::{Error, Result};

/// Sample rates that are read, in Hz.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Largest sample value of a float file (full scale is 1). A file with larger ones is not what its header
/// says.
pub(super) const MAX_PEAK: f32 = 16.0;

/// A recording, and what was wrong with its file.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Mono at 32 kHz; all finite.
    pub samples: Vec<f32>,
    /// Sample rate of the file in Hz.
    pub rate: u32,
    /// Channels of the file.
    pub channels: usize,
    /// Samples of the file that were NaN or infinite. They are 0 in `samples`.
    pub not_finite: u64,
    /// Clipped samples: at full scale, after another one at full scale with the same sign.
    pub clipped: u64,
    /// Damaged packets that were found.
    pub skipped: u64,
    /// Sample frames of the file that are silence in `samples` because the file is damaged there.
    pub silenced: u64,
    /// Sample frames that the header announces and the file does not have.
    pub missing: u64,
    /// The channels cancel each other out when they are averaged, so `samples` are half of the difference of
    /// two channels, or the loudest of more.
    pub cancelled: bool,
    path: PathBuf,
}

impl Recording {
    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(RATE)
    }

    /// A sentence for each defect of the file.
    pub fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let mut all = Vec::new();
        if self.not_finite > 0 {
            all.push(format!("{path}: {} samples are NaN or infinite; they are read as silence", self.not_finite));
        }
        if self.missing > 0 {
            let seconds = self.missing as f64 / f64::from(self.rate);
            all.push(format!("{path}: ends {seconds:.2} s earlier than its header says; the rest is used"));
        }
        if self.silenced > 0 {
            let seconds = self.silenced as f64 / f64::from(self.rate);
            all.push(format!("{path}: {seconds:.2} s are damaged; they are read as silence"));
        } else if self.skipped > 0 {
            all.push(format!("{path}: {} damaged packets are left out", self.skipped));
        }
        if self.clipped > 0 {
            all.push(format!("{path}: {} samples are clipped", self.clipped));
        }
        if self.cancelled {
            let used = if self.channels == 2 { "half of their difference" } else { "the loudest one" };
            all.push(format!(
                "{path}: its channels cancel each other out when they are mixed, as when one is the other's inverse; {used} is used"
            ));
        }
        if super::level::peak(&self.samples) < 1e-4 {
            all.push(format!("{path}: silent (never above -80 dBFS)"));
        }
        all
    }
}

/// Reads a recording of at most [`MAX_MINUTES`] with [`read_up_to`].
///
/// # Errors
/// Those of [`read_up_to`].
pub fn read(path: &Path) -> Result<Recording> {
    read_up_to(path, MAX_MINUTES)
}

/// Reads a recording of at most `most` minutes.
///
/// # Errors
/// The file is missing, not audio or without samples; its rate is not between 4 and 384 kHz; it is longer
/// than `most` minutes; or its samples are far above full scale. A file that ends early, has NaNs or a
/// damaged packet is read as far as possible: see [`Recording::warnings`].
pub fn read_up_to(path: &Path, most: u64) -> Result<Recording> {
    // A decoder can panic on a damaged header (symphonia's WAV reader shifts by the channel count). The file
    // is unreadable then, but the program should go on. Nothing outlives the closure, so no half-changed
    // state can be seen.
    std::panic::catch_unwind(|| decode(path, most))
        .unwrap_or_else(|_| Err(Error::file(path, "can't be read as audio: its header is damaged")))
}

fn decode(path: &Path, most: u64) -> Result<Recording> {
    let (recording, better) = decode_with(path, most, Mix::Mean)?;
    match better {
        Some(mix) => Ok(decode_with(path, most, mix)?.0),
        None => Ok(recording),
    }
}

/// Decodes a file; also gives a better mix of its channels, if there is one.
fn decode_with(path: &Path, most: u64, mix: Mix) -> Result<(Recording, Option<Mix>)> {
    let unusable = |what: String| Error::file(path, what);
    let mut blocks = Blocks::open(path)?;
    let mut first: Option<Spec> = None;
    let mut resampler: Option<Resampler> = None;
    let (mut interleaved, mut mono, mut samples) = (Vec::<f32>::new(), Vec::new(), Vec::new());
    let mut downmix = Downmix::new(mix);
    let mut frames = 0u64;
    while let Some(now) = blocks.next(&mut interleaved) {
        match first {
            None => {
                if !RATES.contains(&now.0) {
                    return Err(unusable(format!(
                        "sample rate {} Hz; it should be between {} and {} Hz",
                        now.0,
                        RATES.start(),
                        RATES.end()
                    )));
                }
                if now.1 == 0 {
                    return Err(unusable("has no channels".to_owned()));
                }
                first = Some(now);
                resampler = Some(Resampler::new(now.0, RATE)?);
            }
            Some(first) if first != now => {
                return Err(unusable(format!(
                    "changes from {} Hz, {} channels to {} Hz, {} channels; both should be the same throughout",
                    first.0, first.1, now.0, now.1
                )));
            }
            Some(_) => {}
        }
        downmix.run(&interleaved, now.1, &mut mono);
        frames += mono.len() as u64;
        if frames > most * 60 * u64::from(now.0) {
            return Err(unusable(format!("longer than {most} minutes, the longest that is read; cut it into parts")));
        }
        if let Some(resampler) = &mut resampler {
            resampler.push(&mono, &mut samples);
        }
    }
    let (skipped, silenced) = (blocks.skipped(), blocks.silenced());
    let (Some((rate, channels)), Some(resampler)) = (first, resampler) else {
        return Err(unusable(match skipped {
            0 => "has no samples".to_owned(),
            n => format!("none of its {n} packets can be decoded"),
        }));
    };
    resampler.finish(&mut samples);
    if samples.is_empty() {
        return Err(unusable("has no samples".to_owned()));
    }
    if downmix.peak > MAX_PEAK {
        return Err(unusable(format!(
            "its peak is {:.3e} times full scale (1 in a float file); normalise it first",
            downmix.peak
        )));
    }
    let recording = Recording {
        samples,
        rate,
        channels,
        not_finite: downmix.not_finite,
        clipped: downmix.clipped,
        skipped,
        silenced,
        missing: blocks.promised().map_or(0, |n| n.saturating_sub(frames)),
        cancelled: mix != Mix::Mean,
        path: path.to_owned(),
    };
    Ok((recording, downmix.better()))
}
