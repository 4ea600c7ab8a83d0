//! One window of live play: a run of the language model over [prefix ‖ transition ‖ target], where the target's first frame is a frame
//! of the song and its end stays open (docs/explanation/musicgen-stem.md section 8; docs/explanation/live-play.md).
//!
//! Two of them are used in turn, allocated once. The player's lag is nothing that the run knows: the slots of the player's streams are
//! filled with what was heard `lag` frames before, over prefix, transition and target alike, which is the pattern that the model was
//! trained with (docs/reference/model-format.md, "Lag"). So a window can have any player and any lag.

use sideman_kernels::{Backend, Sampling, UNKNOWN};

use super::stem::Stems;
use super::timeline::{Timeline, middle};
use super::token_history::{TokenHistory, forced};
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
    /// The prefix holds every so many frames.
    pub decimation: usize,
    /// Frames of history that a window begins with.
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
            // A model of the paper's text-to-music alone goes on from its own history (docs/explanation/musicgen-stem.md 7.1), here a third of a run.
            None => Shape { prefix: 0, frames: config.max_frames, decimation: 1, history: config.max_frames / 3 },
        }
    }
}

/// Who plays what in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    /// The player's stem; none: the model plays all.
    pub input_stem: Option<usize>,
    /// Frames by which it is delayed in the pattern; none: it is not, and the model foretells it until the truth is known.
    pub lag: Option<usize>,
}

/// What a column is filled from.
#[derive(Clone, Copy)]
pub(super) struct Score<'a> {
    pub history: &'a TokenHistory,
    pub stems: &'a Stems,
    pub timeline: &'a Timeline,
    /// The beat is known to the model.
    pub clocked: bool,
    /// Frames of the player that are let in.
    pub known: i64,
}

/// See the module's head.
pub(super) struct Window<B: Backend> {
    run: Run<B>,
    shape: Shape,
    /// Frame of the song at which the target begins.
    pub start: i64,
    /// Who plays what.
    pub role: Role,
    /// Stems whose history is made anew, as bits.
    pub redraw: u64,
    seed: u64,
    /// Guidance leans on the player, too.
    guides: bool,
    /// One stream's slots, to write them at once.
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
            role: Role { input_stem: None, lag: None },
            redraw: 0,
            seed: 0,
            guides: lm.config().live.as_ref().is_some_and(|live| live.guides),
            row: vec![UNKNOWN; shape.prefix],
            unknown: vec![UNKNOWN; spec.frames],
            column: vec![UNKNOWN; spec.delays.len()],
        })
    }

    /// Begins anew at frame `start` of the song: nothing is fed, the prefix sums up the song before frame `cut`. Nothing is allocated.
    pub fn reset(&mut self, backend: &mut B, score: Score, start: i64, cut: i64, role: Role, redraw: u64) -> Result<()> {
        (self.start, self.role, self.redraw) = (start, role, redraw);
        self.run.rollback(backend, 0)?;
        self.run.mask_null_lane(backend, |k| self.guides && role.input_stem == Some(score.history.stem_of[k]));
        for k in 0..score.history.delays.len() {
            self.run.put(backend, 0, k, 0, &self.unknown)?;
            let stem = score.history.stem_of[k];
            let special = self.run.grid().cards[k] as i32;
            let input_stem = role.input_stem == Some(stem);
            self.row.fill(special);
            for (i, slot) in self.row.iter_mut().take(self.shape.prefix.saturating_sub(1)).enumerate() {
                let t = start + (i * self.shape.decimation) as i64;
                if t < cut && redraw >> stem & 1 == 0 {
                    *slot = if input_stem { score.history.heard(k, t) } else { score.history.made(k, t) };
                }
            }
            let lag = role.lag.filter(|_| input_stem).unwrap_or(0);
            for slot in 0..lag {
                self.run.put(backend, 0, k, slot, &[special])?;
            }
            self.run.put(backend, 0, k, lag, &self.row)?;
        }
        Ok(())
    }

    /// How the window's tokens are drawn from now on.
    pub fn set_sampling(&mut self, backend: &mut B, sampling: &Sampling, seed: Option<u64>) {
        self.seed = seed.unwrap_or(self.seed);
        let frame_base = self.start - self.shape.prefix as i64;
        self.run.set_sampling(backend, &Sampling { seed: self.seed, frame_base, ..*sampling });
    }

    /// The run, for its text and counters.
    pub fn run(&mut self) -> &mut Run<B> {
        &mut self.run
    }

    /// The column that is fed to foretell frame `f` of undelayed streams.
    pub fn column(&self, f: i64) -> usize {
        (self.shape.prefix as i64 + f - self.start).max(0) as usize
    }

    /// Columns fed.
    pub fn at(&self) -> usize {
        self.run.at()
    }

    /// First frame past the window.
    pub fn end(&self) -> i64 {
        self.start + self.shape.frames as i64
    }

    /// Frame of the song in slot `column` of stream `k`; none in the prefix and before.
    fn frame(&self, history: &TokenHistory, k: usize, column: usize) -> Option<i64> {
        let lag = self.role.lag.filter(|_| self.role.input_stem == Some(history.stem_of[k])).unwrap_or(0);
        let at = column.checked_sub(1 + history.delays[k] + lag + self.shape.prefix)?;
        Some(self.start + at as i64)
    }

    /// Puts what is known into `column`, which has not been fed. The player's slots that are not known are left to the model, or, where the
    /// stem is lagged, masked until [`Window::hear`].
    fn fill(&mut self, backend: &mut B, score: Score, column: usize) -> Result<()> {
        for k in 0..score.history.delays.len() {
            let Some(t) = self.frame(score.history, k, column) else { continue };
            let stem = score.history.stem_of[k];
            let token = if self.role.input_stem == Some(stem) {
                match self.role.lag {
                    _ if t < score.known => Some(score.history.heard(k, t)),
                    Some(_) => Some(self.run.grid().cards[k] as i32),
                    None => None,
                }
            } else if self.redraw >> stem & 1 == 1 && t < score.history.made_to[k] {
                None
            } else {
                forced(score.history, score.stems, k, t)
            };
            if let Some(token) = token {
                self.put(backend, score.history, k, column, token)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, backend: &mut B, history: &TokenHistory, k: usize, column: usize, token: i32) -> Result<()> {
        self.run.put(backend, 0, k, column - 1 - history.delays[k], &[token])
    }

    /// Puts what the player was heard to play into `column`, the next one to be fed.
    fn hear(&mut self, backend: &mut B, score: Score, column: usize) -> Result<()> {
        let Some(input_stem) = self.role.input_stem else { return Ok(()) };
        for &k in &score.history.streams[input_stem] {
            if let Some(t) = self.frame(score.history, k, column).filter(|&t| t < score.known) {
                self.put(backend, score.history, k, column, score.history.heard(k, t))?;
            }
        }
        Ok(())
    }

    /// Sets the controls of `column`: those of the frame that undelayed streams foretell from it.
    fn control(&mut self, backend: &mut B, lm: &Lm<B>, score: Score, column: usize) {
        let frame = match (column + 1).cmp(&self.shape.prefix) {
            std::cmp::Ordering::Less => Some(self.start + (column * self.shape.decimation) as i64),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(self.start + (column - self.shape.prefix) as i64),
        };
        for (c, control) in lm.config().controls.iter().enumerate() {
            let value = frame.and_then(|f| match control.name.as_str() {
                "beat" => score.clocked.then(|| score.timeline.clock(f).0),
                "tick" => score.clocked.then(|| score.timeline.clock(f).1),
                "chord" => score.timeline.chord(middle(f)).map(|(value, _)| value),
                _ => None,
            });
            self.run.control(backend, lm, c, column, &[value.unwrap_or(UNKNOWN)]);
        }
    }

    /// Feeds one column and gives the next one's tokens: what was put there, what the model draws.
    pub fn advance(&mut self, backend: &mut B, model: &Model<B>, score: Score) -> Result<()> {
        let at = self.run.at();
        self.hear(backend, score, at)?;
        self.fill(backend, score, at + 1)?;
        self.control(backend, &model.lm, score, at);
        self.run.next(backend, &model.lm, at + 1);
        Ok(())
    }

    /// Decides the frames that the column before the next one's feeding has given the band's streams.
    pub fn commit(&mut self, backend: &mut B, history: &mut TokenHistory, stems: &mut Stems) {
        let at = self.run.at();
        self.run.column(backend, at, &mut self.column);
        for k in 0..self.column.len() {
            let stem = history.stem_of[k];
            if self.role.input_stem == Some(stem) || self.frame(history, k, at) != Some(history.made_to[k]) {
                continue;
            }
            let level = history.streams[stem].iter().position(|&s| s == k).unwrap_or(0);
            stems.stem[stem].made(level, history.made_to[k], self.column[k]);
            history.make(k, self.column[k]);
        }
    }

    /// Feeds known columns, as many as `work` allows and below `limit`: a known column costs 1, one that has to be drawn 4.
    pub fn prime(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        score: Score,
        limit: usize,
        block: usize,
        mut work: usize,
    ) -> Result<()> {
        while work > 0 && self.run.at() < limit {
            let at = self.run.at();
            if self.redraw != 0 && at >= self.shape.prefix {
                self.advance(backend, model, score)?;
                work = work.saturating_sub(4);
                continue;
            }
            let n = (limit - at).min(work).min(block);
            for column in at..at + n {
                self.hear(backend, score, column)?;
                self.fill(backend, score, column + 1)?;
                self.control(backend, &model.lm, score, column);
            }
            let fed = self.run.next(backend, &model.lm, at + n);
            work -= fed.min(work);
        }
        Ok(())
    }

    /// Lets in what the player played in frames `from..score.known`, which the model had foretold: from the first frame that was foretold wrongly
    /// on, the columns are fed again with the truth and with what the band has played since, and the player's later frames are
    /// foretold again. True: something was wrong.
    pub fn correct(&mut self, backend: &mut B, model: &Model<B>, score: Score, from: i64) -> Result<bool> {
        let Some(input_stem) = self.role.input_stem else { return Ok(false) };
        let end = self.run.at();
        let from = from.max(self.start);
        let mut first = usize::MAX;
        for &k in &score.history.streams[input_stem] {
            let delay = score.history.delays[k];
            for t in from..score.known {
                let column = self.column(t) + delay + 1;
                if column > end {
                    break;
                }
                let mut token = [UNKNOWN];
                self.run.codes(backend, 0, k, column - 1 - delay, &mut token);
                if token[0] != score.history.heard(k, t) {
                    first = first.min(column);
                    break;
                }
            }
        }
        if first == usize::MAX {
            return Ok(false);
        }
        self.run.rollback(backend, first)?;
        self.fill(backend, score, first)?;
        while self.run.at() < end {
            self.advance(backend, model, score)?;
        }
        Ok(true)
    }
}
