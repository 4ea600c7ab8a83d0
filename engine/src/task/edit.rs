//! The task [`Edit`]: stems from stems (docs/explanation/musicgen-stem.md section 8). Songs of more than a
//! window (25 s) are made in overlapping windows (8.7).

use std::ops::RangeInclusive;

use sideman_kernels::{Backend, UNKNOWN};

use super::window::{Window, prefix, starts};
use super::{Progress, Report, Settings, Song};
use crate::error::{Error, Result};
use crate::model::{Config, FRAME, Model};

/// Generates stems that fit the given ones. Any subset can be given; a missing stem is generated.
#[derive(Debug, Clone)]
pub struct Edit<'a> {
    /// Samples at 32 kHz of each stem, in the model's order; none: the stem is generated. The song is as long
    /// as the longest stem.
    pub given: Vec<Option<&'a [f32]>>,
    /// For each stream, whether it is generated although its stem is given.
    pub redo: Vec<bool>,
    /// A free variation: every stem is generated, and the given stems are known only through the prefix
    /// (every 5th frame, 10 Hz).
    pub free: bool,
    /// Parameters that all tasks have.
    pub settings: Settings,
}

impl<'a> Edit<'a> {
    /// An edit that generates the missing stems and keeps the given ones.
    pub fn new(config: &Config, given: Vec<Option<&'a [f32]>>) -> Self {
        Edit { given, redo: vec![false; config.streams.len()], free: false, settings: Settings::new(config) }
    }

    /// Generates `stem` although it is given.
    ///
    /// # Errors
    /// The model has no such stem.
    pub fn redo(mut self, config: &Config, stem: &str) -> Result<Self> {
        for k in streams_of(config, stem)? {
            self.redo[k] = true;
        }
        Ok(self)
    }

    /// Generates the upper codebook levels of `stem` (counted from 1, up to the last: 2..=4, 3..=4 or 4..=4)
    /// and keeps those below: the same notes with another sound.
    ///
    /// # Errors
    /// The model has no such stem, or the stem no such levels.
    pub fn texture(mut self, config: &Config, stem: &str, levels: RangeInclusive<usize>) -> Result<Self> {
        let streams = streams_of(config, stem)?;
        if *levels.start() < 2 || levels.end() != &streams.len() || levels.is_empty() {
            let what = format!(
                "levels {} to {} of {stem}: they should begin at 2 or above and end at its last, {}",
                levels.start(),
                levels.end(),
                streams.len()
            );
            return Err(Error::Input(what));
        }
        for &k in &streams[levels.start() - 1..] {
            self.redo[k] = true;
        }
        Ok(self)
    }

    /// Generates the songs, one for each variation, as long as the longest given stem. Kept stems are
    /// returned as given.
    ///
    /// # Errors
    /// The model was not trained to edit, no stem is given or kept, a setting is out of range, the backend's
    /// memory is full, or `report` returned `Break`.
    pub fn render<B: Backend>(&self, model: &mut Model<B>, backend: &mut B, report: Report) -> Result<Vec<Song>> {
        let len = model.check_given(&self.given)?;
        self.settings.check(len)?;
        let text = model.hidden(&self.settings)?;
        let config = model.config();
        let Some(edit) = &config.edit else {
            return Err(Error::Input(format!(
                "the model {} was not trained to generate stems from stems; use another model",
                config.name
            )));
        };
        let stem_of = |k: usize| config.stems.iter().position(|s| *s == config.streams[k].stem).unwrap_or(0);
        let masked: Vec<bool> = (0..config.streams.len()).map(|k| self.redo[k] || self.given[stem_of(k)].is_none()).collect();
        if masked.iter().all(|&m| m) {
            return Err(Error::Input("no given stem is kept: keep at least one, or generate a song from text".into()));
        }

        // The given stems, with silence up to the end of a window: the model was trained on no shorter one.
        let frames = len.div_ceil(FRAME);
        let padded = frames.max(edit.window);
        let needed: Vec<Option<&[f32]>> = (self.given.iter().enumerate())
            .map(|(stem, given)| given.filter(|_| (0..masked.len()).any(|k| stem_of(k) == stem && !masked[k])))
            .collect();
        let codes = model.encode_all(backend, &needed, padded)?;

        let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
        let mut songs = vec![vec![vec![UNKNOWN; frames]; delays.len()]; self.settings.variations];
        if !self.free {
            for song in &mut songs {
                for k in (0..delays.len()).filter(|&k| !masked[k]) {
                    song[k].copy_from_slice(&codes[k][..frames]);
                }
            }
        }
        for start in starts(frames, edit.window, (edit.window * 4 / 5).max(1)) {
            // The last window ends with the song: a longer overlap is better than a prefix that ends in
            // silence.
            let start = start.min(frames.saturating_sub(edit.window));
            let end = (start + edit.window).min(frames);
            let summary = prefix(config, &codes, start, |k, _| masked[k]);
            let window = Window {
                input_stem: &[],
                start,
                delays: &delays,
                prefix: vec![summary; songs.len()],
                target: songs.iter().map(|song| song.iter().map(|row| row[start..end].to_vec()).collect()).collect(),
            };
            let total = frames;
            let made = window.sample(model, backend, &self.settings, text.as_ref(), &mut |done| {
                report(Progress { done: start + done, total })
            })?;
            for (song, made) in songs.iter_mut().zip(&made) {
                for (row, new) in song.iter_mut().zip(made) {
                    row[start..end].copy_from_slice(new);
                }
            }
        }

        let untouched = |stem: usize| {
            !self.free && !self.settings.recode_given && (0..masked.len()).all(|k| stem_of(k) != stem || !masked[k])
        };
        let kept: Vec<_> = self.given.iter().enumerate().map(|(stem, given)| given.filter(|_| untouched(stem))).collect();
        songs.into_iter().map(|codes| model.song(backend, codes, len, &kept)).collect()
    }
}

/// Streams of a stem.
fn streams_of(config: &Config, stem: &str) -> Result<Vec<usize>> {
    match config.streams_of(stem) {
        streams if streams.is_empty() => {
            Err(Error::Input(format!("the model has no stem {stem}; its stems are {}", config.stems.join(", "))))
        }
        streams => Ok(streams),
    }
}
