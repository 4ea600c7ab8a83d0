//! What is known about a song besides its audio: tempo, bar 1, meter, chords, text. It comes from the flags,
//! from a JSON file beside a recording (`funk.json` for `funk.flac`), or from the `song.json` in a song's
//! folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sideman_engine::live::by_ear;
use sideman_engine::task::{BeatMap, Chart, Chords, Meter};

use crate::cli::ChartArgs;
use crate::{song_file, usage};

/// Name of the file in a song's folder.
pub const FILE: &str = "song.json";

/// Tempo, bar 1, meter, chords and text of a song: the content of its JSON file. Unknown keys (licence, bass,
/// …) are ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SongInfo {
    /// Tempo, quarter notes per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bpm: Option<f64>,
    /// Meter: beats in a bar and their note value, such as [4, 4].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<[u8; 2]>,
    /// Start of bar 1, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar1: Option<f64>,
    /// Chords, one per bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chords: Option<String>,
    /// Beats, where the tempo is not constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats: Option<BeatTimes>,
    /// Key, if it was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Tempo and bars were heard, and how sure they are: 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard: Option<f64>,
    /// Description of the music.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Genre in a word, used if there is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
}

/// Beats of a song.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeatTimes {
    /// Seconds of each beat.
    pub times: Vec<f64>,
    /// Index of the first beat of bar 1.
    pub bar1: usize,
}

impl SongInfo {
    /// The JSON file of a recording, or in a song's folder, if it exists.
    pub fn file_of(path: &Path) -> Option<PathBuf> {
        let file = if path.is_dir() { path.join(FILE) } else { path.with_extension("json") };
        file.is_file().then_some(file)
    }

    /// What the flags give, and for the rest the JSON file of the recording or folder `path`. What is used of
    /// the file is printed on stderr.
    ///
    /// # Errors
    /// A value of a flag is impossible, or a flag needs a tempo. What is impossible in the file is left out
    /// with a warning.
    pub fn from_flags_and_file(args: &ChartArgs, path: Option<&Path>) -> Result<Self> {
        let file = path.filter(|_| !args.no_chart).and_then(SongInfo::file_of);
        let (from_file, notes) = file.as_deref().map(song_file::read).unwrap_or_default();
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        let meter = args.meter.as_deref().map(read_meter).transpose()?;
        if let Some(chords) = args.chords.as_deref().filter(|c| !c.trim().is_empty() && !by_ear(c)) {
            chords.parse::<Chords>().map_err(|e| usage(format!("--chords: {e}")))?;
        }
        let info = SongInfo {
            bpm: args.tempo.or(from_file.bpm),
            meter: meter.or(from_file.meter),
            bar1: args.bar1.or(from_file.bar1),
            chords: args.chords.clone().or(from_file.chords),
            // The flags say another clock than the file.
            beats: from_file.beats.filter(|_| args.tempo.is_none() && args.bar1.is_none() && args.beats.is_none()),
            key: from_file.key,
            heard: None,
            text: args.text.clone().or(from_file.text).or(from_file.style),
            style: None,
        };
        if let Some(file) = file {
            eprintln!("{}: {}", file.display(), info.summary());
        }
        Ok(info)
    }

    /// The same for a command that knows its recordings whole: it hears chords that are not given, so `--chords ear` is
    /// none, and the file's are not used.
    ///
    /// # Errors
    /// Those of [`SongInfo::from_flags_and_file`].
    pub fn offline(args: &ChartArgs, path: Option<&Path>) -> Result<Self> {
        let mut info = SongInfo::from_flags_and_file(args, path)?;
        info.chords.take_if(|chords| by_ear(chords));
        Ok(info)
    }

    /// Checks that bars have a tempo, where none is heard from a recording.
    ///
    /// # Errors
    /// A flag needs `--tempo`: a usage error.
    pub fn check_tempo(&self, args: &ChartArgs) -> Result<()> {
        if self.bpm.is_none() && (args.bar1.is_some() || args.meter.is_some() || args.chords.is_some()) {
            return Err(usage("--bar1, --meter and --chords need --tempo: without a tempo there are no bars"));
        }
        Ok(())
    }

    /// One line for the user.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(bpm) = self.bpm {
            let [n, d] = self.meter.unwrap_or([4, 4]);
            parts.push(format!("{bpm} BPM in {n}/{d}, bar 1 at {} s", self.bar1.unwrap_or(0.0)));
        }
        parts.extend(self.chords.as_ref().map(|c| format!("chords {c}")));
        parts.extend(self.text.as_ref().map(|t| format!("\"{t}\"")));
        parts.join(", ")
    }

    /// The chart; `None` without a tempo.
    ///
    /// # Errors
    /// The tempo, bar 1, meter or a chord is impossible: a usage error.
    pub fn chart(&self) -> Result<Option<Chart>> {
        let Some(bpm) = self.bpm else { return Ok(None) };
        let [n, d] = self.meter.unwrap_or([4, 4]);
        let meter: Meter = format!("{n}/{d}").parse().map_err(|e: sideman_engine::Error| usage(e.to_string()))?;
        let mut chart = match &self.beats {
            Some(beats) => BeatMap::new(&beats.times, beats.bar1).map(|map| Chart::of_beats(map, meter)),
            None => Chart::new(bpm, self.bar1.unwrap_or(0.0), meter),
        }
        .map_err(|e| usage(e.to_string()))?;
        if let Some(chords) = self.chords.as_deref().filter(|c| !c.trim().is_empty()) {
            chart = chart.with_chords(chords).map_err(|e| usage(e.to_string()))?;
        }
        Ok(Some(chart))
    }
}

/// Reads `--meter`: "6/8" as [6, 8].
fn read_meter(text: &str) -> Result<[u8; 2]> {
    let parse = || -> Option<[u8; 2]> {
        text.trim().parse::<Meter>().ok()?;
        let (n, d) = text.split_once('/')?;
        Some([n.trim().parse().ok()?, d.trim().parse().ok()?])
    };
    parse().ok_or_else(|| usage(format!("--meter {text}: must be 4/4, 3/4, 6/8 or 12/8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> ChartArgs {
        ChartArgs {
            tempo: None,
            bar1: None,
            meter: None,
            chords: None,
            text: None,
            no_chart: false,
            beats: None,
            no_listen: false,
        }
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("funk.flac");
        std::fs::write(
            dir.path().join("funk.json"),
            r#"{"bpm": 100, "meter": [3, 4], "bar1": 0.5, "chords": "Em", "bass": "x"}"#,
        )
        .unwrap();
        let song = SongInfo::from_flags_and_file(&flags(), Some(&path)).unwrap();
        assert_eq!((song.bpm, song.meter, song.bar1), (Some(100.0), Some([3, 4]), Some(0.5)));
        let song =
            SongInfo::from_flags_and_file(&ChartArgs { tempo: Some(90.0), meter: Some("6/8".into()), ..flags() }, Some(&path))
                .unwrap();
        assert_eq!((song.bpm, song.meter, song.chords.as_deref()), (Some(90.0), Some([6, 8]), Some("Em")));
        assert_eq!(
            SongInfo::from_flags_and_file(&ChartArgs { no_chart: true, ..flags() }, Some(&path)).unwrap(),
            SongInfo::default()
        );
        assert!(song.chart().unwrap().is_some());
    }

    #[test]
    fn an_impossible_chart_is_a_usage_error() {
        for args in [
            ChartArgs { chords: Some("Em".into()), ..flags() },
            ChartArgs { tempo: Some(100.0), meter: Some("five".into()), ..flags() },
            ChartArgs { tempo: Some(100.0), meter: Some("5/4".into()), ..flags() },
            ChartArgs { tempo: Some(1e9), ..flags() },
            ChartArgs { tempo: Some(100.0), chords: Some("Xm".into()), ..flags() },
        ] {
            let error = SongInfo::from_flags_and_file(&args, None)
                .and_then(|song| song.check_tempo(&args).and_then(|()| song.chart()))
                .unwrap_err();
            assert!(error.is::<crate::Usage>(), "{error}");
        }
    }
}
