//! [`Window`]: a run of the language model over [prefix ‖ transition ‖ target], where the target's first
//! frame is a frame of the song and its end stays open (docs/explanation/musicgen-stem.md section 8;
//! docs/explanation/live-play.md).
//!
//! A session has two, used in turn and allocated once. The lag is not a property of the run: the slots of the
//! input stem's streams are filled with what was heard `lag` frames before, over prefix, transition and
//! target alike, which is the pattern that the model was trained with (docs/reference/model-format.md,
//! "Lag"). So a window can have any input stem and any lag.

use sideman_kernels::{Backend, Sampling, UNKNOWN};

use super::ear::Ear;
use super::stem::Stems;
use super::timeline::{Timeline, middle};
use super::token_history::{TokenHistory, forced_token};
use crate::error::Result;
use crate::lm::{Lm, Run, RunSpec};
use crate::model::Config;
use crate::model::Model;

/// Sizes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Frames of prefix and transition; 0: none.
    pub prefix: usize,
    /// Frames of the target.
    pub frames: usize,
    /// The prefix holds every `decimation`-th frame of the song.
    pub decimation: usize,
    /// Frames of history that a window starts with.
    pub history: usize,
}

impl Shape {
    pub fn new(config: &Config) -> Self {
        match &config.edit {
            Some(e) => Shape {
                prefix: e.window.div_ceil(e.decimation) + 1,
                frames: e.window,
                decimation: e.decimation,
                history: e.window / 5,
            },
            // A model that was only trained for text-to-music continues from its own history
            // (docs/explanation/musicgen-stem.md 7.1), here a third of a run.
            None => Shape { prefix: 0, frames: config.max_frames, decimation: 1, history: config.max_frames / 3 },
        }
    }
}

/// The input stem of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowInput {
    /// The stem; `None`: the model plays all stems.
    pub stem: Option<usize>,
    /// Frames by which it is delayed in the pattern. `None`: it has no delay, and the model predicts it until it
    /// is known.
    pub lag: Option<usize>,
}

/// The song's tokens and controls, from which columns are filled.
#[derive(Clone, Copy)]
pub(super) struct ColumnSource<'a> {
    pub history: &'a TokenHistory,
    pub stems: &'a Stems,
    pub timeline: &'a Timeline,
    pub ear: &'a Ear,
    /// The model is given the beat.
    pub clocked: bool,
    /// The input stem is known before this frame.
    pub known: i64,
}

/// A run of the language model over a stretch of the song.
pub(super) struct Window<B: Backend> {
    run: Run<B>,
    shape: Shape,
    /// Frame of the song at which the target starts.
    pub start: i64,
    /// The input stem.
    pub input: WindowInput,
    /// Stems whose history is sampled again, as bits.
    regenerate: u64,
    seed: u64,
    /// Guidance hides the input stem from the null lane, too.
    guides: bool,
    /// The prefix of one stream, to write it at once.
    row: Vec<i32>,
    unknown: Vec<i32>,
    column: Vec<i32>,
}

impl<B: Backend> Window<B> {
    pub fn new(backend: &mut B, lm: &Lm<B>, spec: &RunSpec, shape: Shape) -> Result<Self> {
        let mut run = lm.run(backend, spec)?;
        run.warm_up(backend, lm)?;
        Ok(Window {
            run,
            shape,
            start: 0,
            input: WindowInput { stem: None, lag: None },
            regenerate: 0,
            seed: 0,
            guides: lm.config().live.as_ref().is_some_and(|live| live.guides),
            row: vec![UNKNOWN; shape.prefix],
            unknown: vec![UNKNOWN; spec.frames],
            column: vec![UNKNOWN; spec.delays.len()],
        })
    }

    /// Empties the window and moves it to frame `start` of the song. Nothing is fed yet; the prefix sums up
    /// the song before frame `cut`. It allocates nothing.
    pub fn reset(
        &mut self,
        backend: &mut B,
        source: ColumnSource,
        start: i64,
        cut: i64,
        input: WindowInput,
        regenerate: u64,
    ) -> Result<()> {
        (self.start, self.input, self.regenerate) = (start, input, regenerate);
        self.run.rollback(backend, 0)?;
        self.run.mask_null_lane(backend, |k| self.guides && input.stem == Some(source.history.stem_of[k]));
        for k in 0..source.history.delays.len() {
            self.run.put(backend, 0, k, 0, &self.unknown)?;
            let stem = source.history.stem_of[k];
            let special = self.run.grid().cards[k] as i32;
            let is_input = input.stem == Some(stem);
            self.row.fill(special);
            for (i, slot) in self.row.iter_mut().take(self.shape.prefix.saturating_sub(1)).enumerate() {
                let t = start + (i * self.shape.decimation) as i64;
                if t < cut && regenerate >> stem & 1 == 0 {
                    *slot = if is_input { source.history.heard(k, t) } else { source.history.token(k, t) };
                }
            }
            let lag = input.lag.filter(|_| is_input).unwrap_or(0);
            for slot in 0..lag {
                self.run.put(backend, 0, k, slot, &[special])?;
            }
            self.run.put(backend, 0, k, lag, &self.row)?;
        }
        Ok(())
    }

    /// Sets the sampling parameters from the next column on, and the seed if one is given.
    pub fn set_sampling(&mut self, backend: &mut B, sampling: &Sampling, seed: Option<u64>) {
        self.seed = seed.unwrap_or(self.seed);
        let frame_base = self.start - self.shape.prefix as i64;
        self.run.set_sampling(backend, &Sampling { seed: self.seed, frame_base, ..*sampling });
    }

    /// The run, for its text, guidance and counters.
    pub fn run(&mut self) -> &mut Run<B> {
        &mut self.run
    }

    /// The column that is fed to predict frame `f` of the undelayed streams.
    pub fn column(&self, f: i64) -> usize {
        (self.shape.prefix as i64 + f - self.start).max(0) as usize
    }

    /// Columns that have been fed.
    pub fn at(&self) -> usize {
        self.run.at()
    }

    /// The first frame past the window.
    pub fn end(&self) -> i64 {
        self.start + self.shape.frames as i64
    }

    /// Frame of the song in slot `column` of stream `k`; `None` in the prefix and before.
    fn frame(&self, history: &TokenHistory, k: usize, column: usize) -> Option<i64> {
        let lag = self.input.lag.filter(|_| self.input.stem == Some(history.stem_of[k])).unwrap_or(0);
        let at = column.checked_sub(1 + history.delays[k] + lag + self.shape.prefix)?;
        Some(self.start + at as i64)
    }

    /// Writes the known tokens into `column`, which has not been fed. Slots of the input stem that are not
    /// known are left to the model, or, if the stem is lagged, masked until [`Window::hear`].
    fn fill(&mut self, backend: &mut B, source: ColumnSource, column: usize) -> Result<()> {
        for k in 0..source.history.delays.len() {
            let Some(t) = self.frame(source.history, k, column) else { continue };
            let stem = source.history.stem_of[k];
            let token = if self.input.stem == Some(stem) {
                match self.input.lag {
                    _ if t < source.known => Some(source.history.heard(k, t)),
                    Some(_) => Some(self.run.grid().cards[k] as i32),
                    None => None,
                }
            } else if self.regenerate >> stem & 1 == 1 && t < source.history.decided_to[k] {
                None
            } else {
                forced_token(source.history, source.stems, k, t)
            };
            if let Some(token) = token {
                self.put(backend, source.history, k, column, token)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, backend: &mut B, history: &TokenHistory, k: usize, column: usize, token: i32) -> Result<()> {
        self.run.put(backend, 0, k, column - 1 - history.delays[k], &[token])
    }

    /// Writes the tokens of what was heard into `column`, the next one to be fed.
    fn hear(&mut self, backend: &mut B, source: ColumnSource, column: usize) -> Result<()> {
        let Some(input_stem) = self.input.stem else { return Ok(()) };
        for &k in &source.history.streams[input_stem] {
            if let Some(t) = self.frame(source.history, k, column).filter(|&t| t < source.known) {
                self.put(backend, source.history, k, column, source.history.heard(k, t))?;
            }
        }
        Ok(())
    }

    /// Sets the controls of `column`: those of the frame of the undelayed streams that is predicted from it.
    fn control(&mut self, backend: &mut B, lm: &Lm<B>, source: ColumnSource, column: usize) {
        let frame = match (column + 1).cmp(&self.shape.prefix) {
            std::cmp::Ordering::Less => Some(self.start + (column * self.shape.decimation) as i64),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(self.start + (column - self.shape.prefix) as i64),
        };
        for (c, control) in lm.config().controls.iter().enumerate() {
            let value = frame.and_then(|f| match control.name.as_str() {
                "beat" => source.clocked.then(|| source.timeline.clock_controls(f).0),
                "tick" => source.clocked.then(|| source.timeline.clock_controls(f).1),
                "chord" => match source.timeline.chord(middle(f)) {
                    Some((value, _)) => Some(value),
                    None if source.clocked => source.ear.chord_control(f, source.timeline),
                    None => None,
                },
                _ => None,
            });
            self.run.control(backend, lm, c, column, &[value.unwrap_or(UNKNOWN)]);
        }
    }

    /// Feeds one column. The next column then holds the tokens that were written and those that were sampled.
    pub fn advance(&mut self, backend: &mut B, model: &Model<B>, source: ColumnSource) -> Result<()> {
        let at = self.run.at();
        self.hear(backend, source, at)?;
        self.fill(backend, source, at + 1)?;
        self.control(backend, &model.lm, source, at);
        self.run.next(backend, &model.lm, at + 1);
        Ok(())
    }

    /// Adds the band's frames in the column that is fed next to the history: they are now decided.
    pub fn commit(&mut self, backend: &mut B, history: &mut TokenHistory, stems: &mut Stems) {
        let at = self.run.at();
        self.run.column(backend, at, &mut self.column);
        for k in 0..self.column.len() {
            let stem = history.stem_of[k];
            if self.input.stem == Some(stem) || self.frame(history, k, at) != Some(history.decided_to[k]) {
                continue;
            }
            stems.stem[stem].store_in_loops(history.level_of(k), history.decided_to[k], self.column[k]);
            history.push(k, self.column[k]);
        }
    }

    /// Feeds known columns below `limit`, as many as `work` allows: a known column costs 1, one that must be
    /// sampled costs 4.
    pub fn prime(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        source: ColumnSource,
        limit: usize,
        block: usize,
        mut work: usize,
    ) -> Result<()> {
        while work > 0 && self.run.at() < limit {
            let at = self.run.at();
            if self.regenerate != 0 && at >= self.shape.prefix {
                self.advance(backend, model, source)?;
                work = work.saturating_sub(4);
                continue;
            }
            let n = (limit - at).min(work).min(block);
            for column in at..at + n {
                self.hear(backend, source, column)?;
                self.fill(backend, source, column + 1)?;
                self.control(backend, &model.lm, source, column);
            }
            let fed = self.run.next(backend, &model.lm, at + n);
            work -= fed.min(work);
        }
        Ok(())
    }

    /// Corrects what the model has predicted of the input stem in frames `from..source.known`. From the first
    /// wrong frame on, columns are fed again with what was heard and with what the band has played since, and
    /// the later frames of the input stem are predicted again. True: something was wrong.
    pub fn correct(&mut self, backend: &mut B, model: &Model<B>, source: ColumnSource, from: i64) -> Result<bool> {
        let Some(input_stem) = self.input.stem else { return Ok(false) };
        let end = self.run.at();
        let from = from.max(self.start);
        let mut first = usize::MAX;
        for &k in &source.history.streams[input_stem] {
            let delay = source.history.delays[k];
            for t in from..source.known {
                let column = self.column(t) + delay + 1;
                if column > end {
                    break;
                }
                let mut token = [UNKNOWN];
                self.run.codes(backend, 0, k, column - 1 - delay, &mut token);
                if token[0] != source.history.heard(k, t) {
                    first = first.min(column);
                    break;
                }
            }
        }
        if first == usize::MAX {
            return Ok(false);
        }
        self.run.rollback(backend, first)?;
        self.fill(backend, source, first)?;
        while self.run.at() < end {
            self.advance(backend, model, source)?;
        }
        Ok(true)
    }
}
