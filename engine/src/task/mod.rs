//! The paper's tasks, offline: text to stems, stems from stems, continuation, and what live play would make of a recording.
//!
//! All of them lay a song out in windows, each one run of the language model ([`window`]), and are deterministic: dice are keyed
//! by (seed, variation, stream, absolute frame), so a song does not depend on blocks, threads or the number of variations.

mod chart;
mod continue_;
mod edit;
mod generate;
mod lagged;
mod window;

use std::ops::ControlFlow;

use sideman_kernels::Sampling;

pub use chart::{Chart, Chord, Chords, Meter, clock_values, keynote, transposed};
pub use continue_::Continue;
pub use edit::Edit;
pub use generate::Generate;
pub use lagged::Lagged;

use crate::error::{Error, Result};
use crate::model::{Config, SAMPLE_RATE};

/// Tokens of a song: streams × frames.
pub type Codes = Vec<Vec<i32>>;

/// The most variations of one render.
pub const MAX_VARIATIONS: usize = 16;
/// The most music of one render, all variations together, in seconds: an hour.
pub const MAX_SECONDS: f64 = 3600.0;

/// What every task can be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The prompt; blank: none.
    pub text: String,
    /// Tempo, meter and chords, where they are known.
    pub chart: Option<Chart>,
    /// Songs made side by side, 1 to 16; number n is the same whatever their number.
    pub variations: usize,
    /// ≤ 0: always the likeliest code.
    pub temperature: f32,
    /// Keep the k likeliest codes; 0: all. Not used with `top_p`.
    pub top_k: u32,
    /// Nucleus; 0: off.
    pub top_p: f32,
    /// Guidance by text, clock, chords and player, as far as the model has learnt it; 1: none.
    pub cfg: f32,
    /// Another seed, another song.
    pub seed: u64,
    /// Give kept stems back through their codec instead of as they were given.
    pub coded: bool,
    /// Columns fed at once where they are known; changes nothing but the speed.
    pub block: usize,
}

impl Settings {
    /// What suits the model: its sampling parameters, no text, no chart, one song.
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
            coded: false,
            block: 64,
        }
    }

    /// Sampling parameters of a run whose grid frame 0 is frame `frame_base` of the song.
    fn sampling(&self, frame_base: i64) -> Sampling {
        let Settings { temperature, top_k, top_p, cfg, seed, .. } = *self;
        Sampling { temperature, top_k, top_p, cfg, seed, frame_base }
    }

    /// Whether there is something that guidance leans on: a text, the clock, the chart's chords, a player heard late, as the model has learnt.
    fn guided(&self, config: &Config, text: bool, input_stem: bool) -> bool {
        let chords = self.chart.as_ref().is_some_and(|chart| chart.has_chords());
        self.cfg != 1.0 && (text || config.guides(self.chart.is_some(), chords, input_stem))
    }

    /// Errors on a value that can't be, or more music than is made at once; `samples` is a song's length.
    fn check(&self, samples: usize) -> Result<()> {
        let bad = |what: String| Err(Error::Input(what));
        if self.variations == 0 || self.variations > MAX_VARIATIONS {
            return bad(format!("{} variations: 1 to {MAX_VARIATIONS} can be made at once", self.variations));
        }
        if self.variations as f64 * samples as f64 > MAX_SECONDS * SAMPLE_RATE as f64 {
            let minutes = samples as f64 / SAMPLE_RATE as f64 / 60.0;
            return bad(format!("{} times {minutes:.1} minutes is too much music at once: an hour at most", self.variations));
        }
        if !self.temperature.is_finite() || self.temperature > 100.0 {
            return bad(format!("temperature {}: 0 to 100", self.temperature));
        }
        if !(0.0..=1.0).contains(&self.top_p) {
            return bad(format!("top-p {}: 0 to 1", self.top_p));
        }
        if !(-100.0..=100.0).contains(&self.cfg) {
            return bad(format!("guidance {}: -100 to 100", self.cfg));
        }
        if self.block == 0 {
            return bad("blocks of no column".into());
        }
        Ok(())
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Frames of the song that are decided.
    pub done: usize,
    /// Frames of the song.
    pub total: usize,
}

/// Called after each block; `Break` ends the task with [`Error::Cancelled`].
pub type Report<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// One finished song.
#[derive(Debug, Clone, PartialEq)]
pub struct Song {
    /// Samples of each stem, in the model's order, all of one length.
    pub stems: Vec<Vec<f32>>,
    /// Stems that are the given samples, untouched.
    pub kept: Vec<bool>,
    /// The song's tokens.
    pub codes: Codes,
}
