//! Stems from stems: the paper's editing (docs/explanation/musicgen-stem.md section 8), past 25 s by overlapped windows (8.7).

use std::ops::RangeInclusive;

use sideman_kernels::{Backend, UNKNOWN};

use super::window::{Window, prefix, starts};
use super::{Progress, Report, Settings, Song};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::{Config, FRAME};

/// Stems that fit those given. Any subset may be given; an absent stem is made, never forced to silence.
#[derive(Debug, Clone)]
pub struct Edit<'a> {
    /// Samples at 32 kHz of each stem, in the model's order; none: to be made. The song is as long as the longest.
    pub given: Vec<Option<&'a [f32]>>,
    /// Streams of given stems that are to be made anew all the same.
    pub redo: Vec<bool>,
    /// A free variation: what is given guides through its 10 Hz summary only, and every stem is made.
    pub free: bool,
    /// The rest.
    pub settings: Settings,
}

impl<'a> Edit<'a> {
    /// Makes the absent stems and keeps the given ones.
    pub fn new(config: &Config, given: Vec<Option<&'a [f32]>>) -> Self {
        Edit { given, redo: vec![false; config.streams.len()], free: false, settings: Settings::new(config) }
    }

    /// Makes `stem` anew although it is given.
    ///
    /// # Errors
    /// The model has no such stem.
    pub fn redo(mut self, config: &Config, stem: &str) -> Result<Self> {
        for k in streams_of(config, stem)? {
            self.redo[k] = true;
        }
        Ok(self)
    }

    /// Gives `stem` a new texture: makes its levels `levels` anew (counted from 1, up to the last: 2..=4, 3..=4, 4..=4) and keeps those
    /// below.
    ///
    /// # Errors
    /// The model has no such stem, or the stem no such levels.
    pub fn texture(mut self, config: &Config, stem: &str, levels: RangeInclusive<usize>) -> Result<Self> {
        let streams = streams_of(config, stem)?;
        if *levels.start() < 2 || levels.end() != &streams.len() || levels.is_empty() {
            let what = format!(
                "levels {}..{} of {stem}: from 2 or more up to its last, {}",
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

    /// Makes the songs, one a variation, each as long as what is given. Kept stems come back as they were given.
    ///
    /// # Errors
    /// The model can't edit, nothing is given or kept, a setting can't be, the player's memory is full, or `report` said stop.
    pub fn render<B: Backend>(&self, model: &mut Model<B>, backend: &mut B, report: Report) -> Result<Vec<Song>> {
        let len = model.check_given(&self.given)?;
        self.settings.check(len)?;
        let text = model.hidden(&self.settings)?;
        let config = model.config();
        let Some(edit) = &config.edit else {
            return Err(Error::Input(format!("the model {} makes no stems from stems: it was not trained to", config.name)));
        };
        let stem_of = |k: usize| config.stems.iter().position(|s| *s == config.streams[k].stem).unwrap_or(0);
        let masked: Vec<bool> = (0..config.streams.len()).map(|k| self.redo[k] || self.given[stem_of(k)].is_none()).collect();
        if masked.iter().all(|&m| m) {
            return Err(Error::Input("nothing of what is given is kept: leave one stem, or make a song from text".into()));
        }

        // What is given, with silence up to the end of a window: the model has seen no shorter one.
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
            // The last window ends with the song: better a longer overlap than a summary that ends in silence.
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
            let made = window.play(model, backend, &self.settings, text.as_ref(), &mut |done| {
                report(Progress { done: start + done, total })
            })?;
            for (song, made) in songs.iter_mut().zip(&made) {
                for (row, new) in song.iter_mut().zip(made) {
                    row[start..end].copy_from_slice(new);
                }
            }
        }

        let untouched =
            |stem: usize| !self.free && !self.settings.coded && (0..masked.len()).all(|k| stem_of(k) != stem || !masked[k]);
        let kept: Vec<_> = self.given.iter().enumerate().map(|(stem, given)| given.filter(|_| untouched(stem))).collect();
        songs.into_iter().map(|codes| model.song(backend, codes, len, &kept)).collect()
    }
}

/// Streams of a stem, or what is wrong with its name.
fn streams_of(config: &Config, stem: &str) -> Result<Vec<usize>> {
    match config.streams_of(stem) {
        streams if streams.is_empty() => {
            Err(Error::Input(format!("no stem {stem}; the model's stems are {}", config.stems.join(", "))))
        }
        streams => Ok(streams),
    }
}
