//! Recordings in: one for each stem that is given, at 32 kHz, all as long as the longest.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use sideman_engine::audio::{self, RATE};

use crate::output::Stem;

/// Reads recordings of stems and makes them `samples` long (by default as long as the longest) with silence at the end, or a cut.
/// What is wrong with a file but no reason to stop is logged.
///
/// # Errors
/// A file that can't be used.
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

/// `seconds` in samples.
///
/// # Errors
/// Not a length: usage.
pub fn samples(seconds: f64) -> Result<usize> {
    let most = (audio::MAX_MINUTES * 60) as f64;
    if seconds.is_finite() && seconds > 0.0 && seconds <= most {
        Ok((seconds * f64::from(RATE)).round() as usize)
    } else {
        Err(crate::usage(format!("--seconds {seconds}: give a length above 0 and up to {most}")))
    }
}

/// The WAVs of a song's folder, one for each of the model's stems.
///
/// # Errors
/// One is missing.
pub fn folder(dir: &Path, names: &[String]) -> Result<Vec<(String, PathBuf)>> {
    if !dir.is_dir() {
        return Err(anyhow!("{}: no such folder; give one with bass.wav, drums.wav and other.wav in it", dir.display()));
    }
    names
        .iter()
        .map(|name| {
            let path = dir.join(format!("{name}.wav"));
            if path.is_file() {
                Ok((name.clone(), path))
            } else {
                Err(anyhow!("{}: missing; a song's folder has a WAV for each of {}", path.display(), names.join(", ")))
            }
        })
        .collect()
}
