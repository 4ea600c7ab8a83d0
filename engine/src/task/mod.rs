//! Offline tasks: generate stems from text ([`Generate`]), stems from stems ([`Edit`]), more of a song
//! ([`Continue`]), and the stems that live play would generate for a recording ([`Lagged`]).
//!
//! Every task splits the song into windows; each window is one run of the language model. The result is
//! deterministic: random numbers are keyed by seed, variation, stream and absolute frame, so a song does not
//! depend on block size, threads or the number of variations. Live play is not here but in [`crate::live`].

mod beat_map;
mod chart;
mod chord;
mod chords;
mod continue_;
mod edit;
mod form;
mod generate;
mod lagged;
mod meter;
mod notation;
mod song_map;
mod styles;
mod window;

use std::ops::ControlFlow;

use sideman_kernels::Sampling;

pub use beat_map::BeatMap;
pub use chart::Chart;
pub use chord::{Chord, chord_name, tonic, transpose_symbol};
pub use chords::{CHORDS_BY_EAR, Chords, WrittenChords, by_ear};
pub use continue_::Continue;
pub use edit::Edit;
pub use form::Form;
pub use generate::Generate;
pub use lagged::Lagged;
pub use meter::{Meter, clock_values};
pub use song_map::{Beat, SongMap};
pub use styles::Styles;

use crate::error::{Error, Result};
use crate::model::{Config, SAMPLE_RATE};

/// Tokens of a song: streams × frames.
pub type Codes = Vec<Vec<i32>>;

/// Most variations of one render.
pub const MAX_VARIATIONS: usize = 16;
/// Most music of one render in seconds, all variations together.
pub const MAX_SECONDS: f64 = 3600.0;

/// Parameters that all tasks have.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The text prompt; empty: no text.
    pub text: String,
    /// Tempo, meter and chords, where they are known.
    pub chart: Option<Chart>,
    /// Number of songs, 1 to 16. Variation n is the same whatever the number.
    pub variations: usize,
    /// Sampling temperature, 0 to 100; 0: always the most likely code.
    pub temperature: f32,
    /// Sample from the k most likely codes; 0: from all. Ignored where `top_p` is above 0.
    pub top_k: u32,
    /// Nucleus sampling, 0 to 1; 0: off.
    pub top_p: f32,
    /// Guidance scale for text, clock, chords and input stem, where the model was trained for it; 1: off.
    pub cfg: f32,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Return given stems encoded and decoded instead of as they are.
    pub recode_given: bool,
    /// Columns computed at once where they are known. Changes the speed only.
    pub block: usize,
}

impl Settings {
    /// The model's own sampling parameters; no text, no chart, one song.
    pub fn new(config: &Config) -> Self {
        let s = &config.sampling;
        Settings {
            text: String::new(),
            chart: None,
            variations: 1,
            temperature: s.temperature,
            top_k: s.top_k,
            top_p: s.top_p,
            cfg: s.cfg,
            seed: 0,
            recode_given: false,
            block: 64,
        }
    }

    /// Sampling parameters of a run. Its grid frame 0 is frame `frame_base` of the song.
    fn sampling(&self, frame_base: i64) -> Sampling {
        let Settings { temperature, top_k, top_p, cfg, seed, .. } = *self;
        Sampling { temperature, top_k, top_p, cfg, seed, frame_base }
    }

    /// Whether the run needs a null lane: guidance is on, and there is a condition that the model was trained
    /// to be guided by.
    fn guided(&self, config: &Config, text: bool, input_stem: bool) -> bool {
        let chords = self.chart.as_ref().is_some_and(|chart| chart.has_chords());
        self.cfg != 1.0 && (text || config.guides(self.chart.is_some(), chords, input_stem))
    }

    /// Checks the ranges of all parameters, and the amount of music; `samples` is the length of a song.
    fn check(&self, samples: usize) -> Result<()> {
        let bad = |what: String| Err(Error::Input(what));
        if self.variations == 0 || self.variations > MAX_VARIATIONS {
            return bad(format!("variations {}: it should be between 1 and {MAX_VARIATIONS}", self.variations));
        }
        if self.variations as f64 * samples as f64 > MAX_SECONDS * SAMPLE_RATE as f64 {
            let minutes = samples as f64 / SAMPLE_RATE as f64 / 60.0;
            return bad(format!(
                "{} variations of {minutes:.1} minutes: at most 60 minutes of music can be rendered at once",
                self.variations
            ));
        }
        if !self.temperature.is_finite() || self.temperature > 100.0 {
            return bad(format!("temperature {}: it should be between 0 and 100", self.temperature));
        }
        if !(0.0..=1.0).contains(&self.top_p) {
            return bad(format!("top-p {}: it should be between 0 and 1", self.top_p));
        }
        if !(-100.0..=100.0).contains(&self.cfg) {
            return bad(format!("guidance scale {}: it should be between -100 and 100", self.cfg));
        }
        if self.block == 0 {
            return bad("block 0: it should be at least 1 column".into());
        }
        Ok(())
    }
}

/// Progress of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Frames that are done.
    pub done: usize,
    /// Frames in all.
    pub total: usize,
}

/// Called after each block; `Break` ends the task with [`Error::Cancelled`].
pub type Report<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// One finished song.
#[derive(Debug, Clone, PartialEq)]
pub struct Song {
    /// Samples of each stem, in the model's order, all of the same length.
    pub stems: Vec<Vec<f32>>,
    /// For each stem, whether it holds given samples, whose level must not be changed.
    pub kept: Vec<bool>,
    /// The song's tokens.
    pub codes: Codes,
}
