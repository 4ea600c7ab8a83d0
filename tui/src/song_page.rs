//! The page in a song's folder: what `render`, `edit` and `continue` tell it.

use std::path::Path;

use anyhow::Result;
use sideman_engine::task::{Settings, SongMap};
use sideman_io::dawproject;
use sideman_io::page::{self, Page, PageStem, Picture};

use crate::song_folder::{self, Stem};
use crate::song_info::{self, SongInfo};

/// What is known about a song besides its sound.
pub struct About<'a> {
    /// Tempo, chords and text.
    pub info: &'a SongInfo,
    /// What the model was given.
    pub settings: &'a Settings,
    /// Number of the variation, from 0.
    pub variation: usize,
    /// Frames by which the recordings were heard late; none: they were heard in advance.
    pub lag: Option<usize>,
    /// The model's name.
    pub model: &'a str,
}

/// Writes the page into the folder `dir` of a song whose files are written. `gain`: that of the stems in the mix.
///
/// # Errors
/// The file can't be written.
pub fn write(dir: &Path, stems: &[Stem], gain: f32, map: &SongMap, about: &About) -> Result<()> {
    let stem = |stem: &Stem| PageStem {
        name: stem.name.clone(),
        file: format!("{}.wav", stem.name),
        origin: if stem.kept { "recording" } else { "generated" },
        picture: Picture::of(&stem.samples),
    };
    // A picture is one of the last things that a render waits for.
    let drawn = std::thread::scope(|scope| {
        let threads: Vec<_> = stems.iter().map(|one| scope.spawn(|| stem(one))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let others = [dawproject::FILE, song_folder::TEMPO_MAP, song_info::FILE].into_iter().filter(|name| dir.join(name).exists());
    let page = Page {
        samples: song_folder::samples(stems),
        stems: drawn,
        gain,
        map,
        given: given(about),
        events: Vec::new(),
        load: None,
        files: others.collect(),
    };
    Ok(page::write(dir, page)?)
}

/// Names and values of what the model was given.
fn given(about: &About) -> Vec<(&'static str, String)> {
    let About { info, settings, .. } = about;
    let mut given = Vec::new();
    let mut add = |name, value: Option<String>| given.extend(value.filter(|v| !v.is_empty()).map(|value| (name, value)));
    let tempo =
        |bpm: f64| format!("{} BPM{}", (bpm * 100.0).round() / 100.0, if info.beats.is_some() { ", changing" } else { "" });
    add("Tempo", info.bpm.map(tempo));
    add("Meter", info.bpm.map(|_| info.meter.map_or("4/4".to_owned(), |[n, d]| format!("{n}/{d}"))));
    add("Bar 1", info.bpm.map(|_| format!("at {:.3} s", info.bar1.unwrap_or(0.0))));
    add("Tempo and bars", info.heard.map(|sure| format!("heard, {:.0} % sure", 100.0 * sure)));
    add("Key", info.key.clone());
    add("Chords", info.chords.clone());
    add("Text", Some(settings.text.clone()));
    add("Lag", about.lag.map(|frames| format!("{frames} frames ({} ms)", frames * 20)));
    add("Seed", Some(settings.seed.to_string()));
    add("Variation", (settings.variations > 1).then(|| format!("{} of {}", about.variation + 1, settings.variations)));
    add("Guidance", Some(settings.cfg.to_string()));
    add("Temperature", Some(settings.temperature.to_string()));
    add("Top-k", (settings.top_k > 0 && settings.top_p == 0.0).then(|| settings.top_k.to_string()));
    add("Top-p", (settings.top_p > 0.0).then(|| settings.top_p.to_string()));
    add("Model", Some(about.model.to_owned()));
    given
}
