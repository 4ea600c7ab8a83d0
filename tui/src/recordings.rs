//! Reads recordings of stems: mono, 32 kHz, all of the same length.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use sideman_engine::audio::{self, RATE};
use sideman_engine::limits::SONG_SECONDS;

use crate::song_folder::Stem;

/// Reads recordings of stems and cuts them or pads them with silence to `samples`, by default to the longest.
/// A file's defects that can be tolerated are logged.
///
/// # Errors
/// A file can't be read.
pub fn read(given: &[(&str, &Path)], samples: Option<usize>) -> Result<Vec<Stem>> {
    let mut stems = Vec::new();
    for (name, path) in given {
        let recording = audio::read(path)?;
        for warning in recording.warnings() {
            tracing::warn!("{warning}");
        }
        tracing::info!(
            "{}: {} Hz, {} channels, {:.2} s",
            path.display(),
            recording.rate,
            recording.channels,
            recording.seconds()
        );
        stems.push(Stem { name: (*name).to_owned(), samples: recording.samples, kept: true });
    }
    let longest = stems.iter().map(|s| s.samples.len()).max().unwrap_or(0);
    let len = samples.unwrap_or(longest);
    for stem in &mut stems {
        stem.samples.resize(len, 0.0);
    }
    Ok(stems)
}

/// The value of `--seconds` in samples.
///
/// # Errors
/// A usage error if it is out of range.
pub fn samples(seconds: f64) -> Result<usize> {
    match SONG_SECONDS.contains(seconds) {
        true => Ok((seconds * f64::from(RATE)).round() as usize),
        false => Err(crate::usage(format!("--seconds {seconds}: must be {SONG_SECONDS}"))),
    }
}

/// The WAV files of a song's folder, one for each of the model's stems.
///
/// # Errors
/// A file or the folder is missing.
pub fn folder(dir: &Path, names: &[String]) -> Result<Vec<(String, PathBuf)>> {
    let wavs = || names.iter().map(|name| format!("{name}.wav")).collect::<Vec<_>>().join(", ");
    if !dir.is_dir() {
        return Err(anyhow!("{}: no such folder; give one that contains {}", dir.display(), wavs()));
    }
    names
        .iter()
        .map(|name| {
            let path = dir.join(format!("{name}.wav"));
            if path.is_file() {
                Ok((name.clone(), path))
            } else {
                Err(anyhow!("{}: no such file; the folder must contain {}", path.display(), wavs()))
            }
        })
        .collect()
}
