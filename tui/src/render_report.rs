//! What `render`, `edit` and `continue` print: a line for each song, or one JSON document; and what they
//! write into song.json.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use sideman_engine::audio::RATE;
use sideman_engine::model::ModelDir;
use sideman_io::page;

use crate::song_folder::{Stem, Written};
use crate::song_info::SongInfo;
use crate::stdout;

/// The report of one run.
pub struct RenderReport {
    json: bool,
    seed: u64,
    model: String,
    /// The model is random: a fixture of the tests.
    fixture: bool,
    songs: Vec<Value>,
}

impl RenderReport {
    /// A report without songs.
    pub fn new(json: bool, seed: u64, model: &ModelDir) -> Self {
        RenderReport { json, seed, model: model.path.display().to_string(), fixture: model.config.fixture, songs: Vec::new() }
    }

    /// The content of the song.json of a variation.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn song_json(&self, info: &SongInfo, variation: usize) -> Result<Value> {
        let mut document = serde_json::to_value(info)?;
        document["seed"] = json!(self.seed);
        document["variation"] = json!(variation);
        document["model"] = json!(self.model);
        document["version"] = json!(env!("CARGO_PKG_VERSION"));
        Ok(document)
    }

    /// Reports a song that was written to `dir`.
    pub fn song(&mut self, dir: &Path, stems: &[Stem], written: &Written) {
        let Written { files, mix_gain, notes } = written;
        let page = Some(dir.join(page::FILE)).filter(|page| page.exists()).map(|page| page.display().to_string());
        let seconds = stems.first().map_or(0.0, |s| s.samples.len() as f64 / f64::from(RATE));
        if self.json {
            let files: Vec<String> = files.iter().map(|name| dir.join(name).display().to_string()).collect();
            self.songs.push(json!({"out": dir.display().to_string(), "files": files, "page": page, "seconds": seconds, "mix_gain": mix_gain, "notes": notes}));
            return;
        }
        stdout::line(format!("{}: {} ({seconds:.1} s)", dir.display(), files.join(" ")));
        notes.iter().for_each(|note| stdout::line(format!("  {note}")));
        if let Some(page) = page {
            stdout::line(format!("  a browser shows and plays them: {page}"));
        }
    }

    /// Reports the whole run. `speed`: seconds of music per second.
    pub fn finish(self, info: &SongInfo, backend: &str, took: Duration, speed: f64) {
        if self.json {
            stdout::json(&json!({
                "seed": self.seed, "model": self.model, "fixture": self.fixture, "song": info, "backend": backend,
                "took_seconds": took.as_secs_f64(), "times_real_time": speed, "songs": self.songs,
            }));
            return;
        }
        stdout::line(format!("seed {}, {:.1} s, {speed:.1} x real time", self.seed, took.as_secs_f64()));
        if self.fixture {
            stdout::line("This is a random model for tests: the songs are noise.");
        }
    }
}
