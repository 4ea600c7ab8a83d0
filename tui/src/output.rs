//! A finished song on disk: its stems and their mix, of equal length from sample 0, and `song.json`.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use sideman_engine::atomic;
use sideman_engine::audio::{RATE, level, wav};

use crate::song;

/// A stem: its name and its samples at 32 kHz.
pub struct Stem {
    /// bass, drums or other.
    pub name: String,
    /// Mono at 32 kHz.
    pub samples: Vec<f32>,
    /// A recording that was given: it is written as it is.
    pub kept: bool,
}

/// What was written.
pub struct Written {
    /// The WAVs.
    pub files: Vec<PathBuf>,
    /// What the mix was multiplied with so as not to clip; 1 where it is the plain sum.
    pub mix_gain: f32,
    /// One sentence for each thing that a musician should know.
    pub notes: Vec<String>,
}

/// Makes the folder, so that a wrong `--out` is told before the work and not after it.
///
/// # Errors
/// It can't be made, or is a file.
pub fn folder(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| anyhow!("--out {}: {e}", dir.display()))
}

/// Writes stems, mix and `song.json` (`about`) into `dir`. A played stem beyond full scale is brought down as a whole; a kept one never.
///
/// # Errors
/// The disk is full, the folder gone; nothing has then got its final name.
pub fn write(dir: &Path, stems: &mut [Stem], about: &serde_json::Value) -> Result<Written> {
    let mut notes = Vec::new();
    for stem in stems.iter_mut().filter(|s| !s.kept) {
        let peak = level::peak(&stem.samples);
        if peak > 1.0 {
            stem.samples.iter_mut().for_each(|x| *x *= level::CEILING / peak);
            notes.push(format!("{} came out {:.1} dB above full scale and was brought down", stem.name, level::db(peak)));
        }
    }
    let tracks: Vec<&[f32]> = stems.iter().map(|s| &s.samples[..]).collect();
    let (mix, mix_gain) = level::mix(&tracks);
    if mix_gain < 1.0 {
        notes.push(format!(
            "the mix would clip and is {:.1} dB softer than the sum of its stems; the stems are untouched",
            -level::db(mix_gain)
        ));
    }
    let mut files: Vec<(PathBuf, &[f32])> = stems.iter().map(|s| (dir.join(format!("{}.wav", s.name)), &s.samples[..])).collect();
    files.push((dir.join("mix.wav"), &mix));
    wav::write_all(&files, RATE)?;
    let path = dir.join(song::FILE);
    atomic::write(&path, format!("{about:#}\n").as_bytes())?;
    Ok(Written { files: files.into_iter().map(|(path, _)| path).collect(), mix_gain, notes })
}
