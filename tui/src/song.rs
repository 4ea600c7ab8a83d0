//! What is known of a song besides its sound: tempo, bar 1, meter, chords, text. From the flags, from a JSON file beside a
//! recording (`funk.json` for `funk.flac`), or from the `song.json` that a render leaves in its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use sideman_engine::task::{Chart, Meter};

use crate::cli::ChartArgs;
use crate::usage;

/// Name of the file in a song's folder.
pub const FILE: &str = "song.json";

/// A song's JSON file. Keys that aren't known here (licence, bass, …) are left alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Song {
    /// Quarter notes a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bpm: Option<f64>,
    /// Beats in a bar, and their value: [4, 4].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<[u8; 2]>,
    /// Where bar 1 begins, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar1: Option<f64>,
    /// Chords, one a bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chords: Option<String>,
    /// What it should sound like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The same in a word, where there is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
}

impl Song {
    /// Reads a JSON file.
    ///
    /// # Errors
    /// It can't be read, or isn't a song.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| anyhow!("{}: {e}", path.display()))?;
        serde_json::from_slice(&bytes).map_err(|e| anyhow!("{}: {e}", path.display()))
    }

    /// The file beside a recording, or the one in a song's folder; none where there is none.
    pub fn beside(path: &Path) -> Option<PathBuf> {
        let file = if path.is_dir() { path.join(FILE) } else { path.with_extension("json") };
        file.is_file().then_some(file)
    }

    /// What is known: the flags first, then the JSON file beside `path`.
    ///
    /// # Errors
    /// The JSON file isn't a song.
    pub fn known(args: &ChartArgs, path: Option<&Path>) -> Result<Self> {
        let file = path.filter(|_| !args.no_chart).and_then(Song::beside);
        let from_file = file.as_deref().map(Song::read).transpose()?.unwrap_or_default();
        let meter = args.meter.as_deref().map(meter).transpose()?;
        let song = Song {
            bpm: args.tempo.or(from_file.bpm),
            meter: meter.or(from_file.meter),
            bar1: args.bar1.or(from_file.bar1),
            chords: args.chords.clone().or(from_file.chords),
            text: args.text.clone().or(from_file.text).or(from_file.style),
            style: None,
        };
        if let Some(file) = file {
            eprintln!("{}: {}", file.display(), song.words());
        }
        if song.bpm.is_none() && (args.bar1.is_some() || args.meter.is_some() || args.chords.is_some()) {
            return Err(usage("--bar1, --meter and --chords need --tempo: without it there is no bar to count"));
        }
        Ok(song)
    }

    /// In words, for the musician.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        match self.bpm {
            Some(bpm) => {
                let [n, d] = self.meter.unwrap_or([4, 4]);
                parts.push(format!("{bpm} bpm in {n}/{d}, bar 1 at {} s", self.bar1.unwrap_or(0.0)));
            }
            None => parts.push("no tempo: the beat is found by ear".to_owned()),
        }
        parts.extend(self.chords.as_ref().map(|c| format!("chords {c}")));
        parts.extend(self.text.as_ref().map(|t| format!("\"{t}\"")));
        parts.join(", ")
    }

    /// The chart, where a tempo is known.
    ///
    /// # Errors
    /// A tempo, meter or chord that can't be.
    pub fn chart(&self) -> Result<Option<Chart>> {
        let Some(bpm) = self.bpm else { return Ok(None) };
        let [n, d] = self.meter.unwrap_or([4, 4]);
        let meter: Meter = format!("{n}/{d}").parse().map_err(|e: sideman_engine::Error| usage(e.to_string()))?;
        let mut chart = Chart::new(bpm, self.bar1.unwrap_or(0.0), meter).map_err(|e| usage(e.to_string()))?;
        if let Some(chords) = self.chords.as_deref().filter(|c| !c.trim().is_empty()) {
            chart = chart.with_chords(chords).map_err(|e| usage(e.to_string()))?;
        }
        Ok(Some(chart))
    }
}

/// "6/8" as [6, 8].
fn meter(text: &str) -> Result<[u8; 2]> {
    let parse = || -> Result<[u8; 2]> {
        let (n, d) = text.split_once('/').context("no /")?;
        Ok([n.trim().parse()?, d.trim().parse()?])
    };
    parse().map_err(|_| usage(format!("--meter {text} is not a meter: 4/4, 3/4, 6/8 or 12/8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> ChartArgs {
        ChartArgs { tempo: None, bar1: None, meter: None, chords: None, text: None, no_chart: false }
    }

    #[test]
    fn flags_come_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("funk.flac");
        std::fs::write(
            dir.path().join("funk.json"),
            r#"{"bpm": 100, "meter": [3, 4], "bar1": 0.5, "chords": "Em", "bass": "x"}"#,
        )
        .unwrap();
        let song = Song::known(&flags(), Some(&path)).unwrap();
        assert_eq!((song.bpm, song.meter, song.bar1), (Some(100.0), Some([3, 4]), Some(0.5)));
        let song = Song::known(&ChartArgs { tempo: Some(90.0), meter: Some("6/8".into()), ..flags() }, Some(&path)).unwrap();
        assert_eq!((song.bpm, song.meter, song.chords.as_deref()), (Some(90.0), Some([6, 8]), Some("Em")));
        assert_eq!(Song::known(&ChartArgs { no_chart: true, ..flags() }, Some(&path)).unwrap(), Song::default());
        assert!(song.chart().unwrap().is_some());
    }

    #[test]
    fn what_can_not_be_is_a_usage_error() {
        for args in [
            ChartArgs { chords: Some("Em".into()), ..flags() },
            ChartArgs { tempo: Some(100.0), meter: Some("five".into()), ..flags() },
            ChartArgs { tempo: Some(100.0), meter: Some("5/4".into()), ..flags() },
            ChartArgs { tempo: Some(1e9), ..flags() },
            ChartArgs { tempo: Some(100.0), chords: Some("Xm".into()), ..flags() },
        ] {
            let error = Song::known(&args, None).and_then(|song| song.chart()).unwrap_err();
            assert!(error.is::<crate::Usage>(), "{error}");
        }
    }
}
