//! Reads a take for a replay.

use std::collections::VecDeque;
use std::path::Path;

use sideman_engine::model::is_plain_name;
use sideman_engine::{Error, Result};

use super::{Entry, TakeInfo, wav_file};

/// What a replay needs of a take.
pub struct Take {
    /// `take.json`.
    pub info: TakeInfo,
    /// The musician's samples.
    pub input: Vec<f32>,
    /// `events.jsonl`, in order.
    pub events: VecDeque<Entry>,
}

/// Reads a take, also one whose program was killed.
///
/// # Errors
/// A file is missing or not a take's; which.
pub fn read(dir: &Path) -> Result<Take> {
    let path = dir.join("take.json");
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let info: TakeInfo = serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, format!("not a take: {e}")))?;
    // They become names of files.
    if let Some(stem) = info.stems.iter().find(|stem| !is_plain_name(stem)) {
        return Err(Error::file(
            &path,
            format!("stems: {stem:?} is no name of a stem: 1 to 32 of the letters a-z, digits and _"),
        ));
    }
    Ok(Take { info, input: read_input(dir)?, events: read_events(&dir.join("events.jsonl"))? })
}

fn read_input(dir: &Path) -> Result<Vec<f32>> {
    // Takes of version 0.1.0 have player.wav.
    let (new, old) = (dir.join("input.wav"), dir.join("player.wav"));
    let path = if !new.exists() && old.exists() { old } else { new };
    wav_file::read(&path)
}

fn read_events(path: &Path) -> Result<VecDeque<Entry>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let mut events = VecDeque::new();
    for (n, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str::<Entry>(line) {
            Ok(entry) => events.push_back(entry),
            // The last line of a program that was killed.
            Err(_) if !line.ends_with('\n') => break,
            Err(e) => return Err(Error::file(path, format!("line {}: {e}", n + 1))),
        }
    }
    Ok(events)
}
