//! The table of styles of a model directory (`styles.json`, docs/reference/model-format.md): tempi, meters and
//! charts, counted from the training music by `train/data/style_table.py`. [`Form`](super::Form) chooses from it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::{Chords, Meter};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::ModelDir;

/// Name of the file in a model directory.
const FILE: &str = "styles.json";
/// The largest file that is read, in bytes. The house model's has 40 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The styles that a model was trained with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Styles {
    format: u32,
    /// Name of the style of a text that names none.
    default: String,
    pub(super) styles: Vec<Style>,
}

/// One style.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Style {
    pub name: String,
    /// Words and phrases that name it, in lower case.
    pub words: Vec<String>,
    /// Whether its words name it only in a text that asks for a slow tempo.
    #[serde(default)]
    pub slow: bool,
    /// Number of songs that were counted.
    #[serde(rename = "songs")]
    _songs: u64,
    pub meter: Meter,
    /// Felt beats a minute: the 5th, 25th, 50th, 75th and 95th percentiles.
    pub bpm: [f64; 5],
    pub charts: Vec<StyleChart>,
}

/// A chart of a style.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StyleChart {
    /// Number of songs that have it.
    pub songs: u32,
    /// Whether its tonic is minor.
    pub minor: bool,
    /// The chart, with C as its tonic.
    pub chords: String,
}

impl Styles {
    /// Reads the table of a model directory; none if the directory has none.
    ///
    /// # Errors
    /// The file can't be read, or is no such table; the error names the file and what is wrong.
    pub fn open(dir: &ModelDir) -> Result<Option<Styles>> {
        let path = dir.path.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let mut text = Vec::new();
        let file = File::open(&path).map_err(Error::io(&path))?;
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(Error::io(&path))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::file(&path, format!("not a table of styles: it should have at most {MAX_BYTES} bytes")));
        }
        Styles::parse(&text, &path).map(Some)
    }

    /// Reads and checks a table; `path` is for errors.
    pub(super) fn parse(text: &[u8], path: &Path) -> Result<Styles> {
        let table: Styles = serde_json::from_slice(text).map_err(|e| Error::file(path, e.to_string()))?;
        let wrong = |what: String| Err(Error::file(path, what));
        if table.format != 1 {
            return wrong(format!("format {}: it should be 1", table.format));
        }
        if !table.styles.iter().any(|style| style.name == table.default) {
            return wrong(format!("default: there is no style {:?}", table.default));
        }
        for Style { name, words, bpm, charts, .. } in &table.styles {
            if words.iter().any(|phrase| phrase.trim().is_empty() || *phrase != phrase.to_lowercase()) {
                return wrong(format!("{name}: words: a word is empty or not in lower case"));
            }
            if !bpm.is_sorted() || !bpm.iter().all(|bpm| limits::TEMPO.contains(*bpm)) {
                return wrong(format!("{name}: bpm: {bpm:?} should ascend and be {}", limits::TEMPO));
            }
            if charts.is_empty() || charts.iter().any(|chart| chart.songs == 0) {
                return wrong(format!("{name}: charts: there should be one or more, each of 1 or more songs"));
            }
            if let Some(e) = charts.iter().find_map(|chart| chart.chords.parse::<Chords>().err()) {
                return wrong(format!("{name}: charts: {e}"));
            }
        }
        Ok(table)
    }

    /// The style of a text that names none.
    pub(super) fn default(&self) -> &Style {
        self.styles.iter().find(|style| style.name == self.default).unwrap_or(&self.styles[0])
    }
}
