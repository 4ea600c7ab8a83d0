//! One window of live play: a run of the language model over [prefix ‖ transition ‖ target], where the target's first frame is a frame
//! of the song and its end stays open (musicgen-stem.md section 8; docs/live.md).
//!
//! Two of them are used in turn, allocated once. The player's lag is nothing that the run knows: the slots of the player's streams are
//! filled with what was heard `lag` frames before, over prefix, transition and target alike, which is the pattern that the model was
//! trained with (docs/model-format.md, "Lag"). So a window can have any player and any lag.

use sideman_kernels::{Ops, Sampling, UNKNOWN};

use super::material::{Material, forced};
use super::stem::Stems;
use super::timeline::{Timeline, middle};
use crate::error::Result;
use crate::lm::{Lm, Run, RunSpec};
use crate::model::Config;
use crate::task::Band;

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
            // A model of the paper's text-to-music alone goes on from its own history (musicgen-stem.md 7.1), here a third of a run.
            None => Shape { prefix: 0, frames: config.max_frames, decimation: 1, history: config.max_frames / 3 },
        }
    }
}

/// Who plays what in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    /// The player's stem; none: the model plays all.
    pub player: Option<usize>,
    /// Frames by which it is delayed in the pattern; none: it is not, and the model foretells it until the truth is known.
    pub lag: Option<usize>,
}

/// What a column is filled from.
#[derive(Clone, Copy)]
pub(super) struct Score<'a> {
    pub material: &'a Material,
    pub stems: &'a Stems,
    pub timeline: &'a Timeline,
    /// The beat is known to the model.
    pub clocked: bool,
    /// Frames of the player that are let in.
    pub known: i64,
}

/// See the module's head.
pub(super) struct Window<O: Ops> {
    run: Run<O>,
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

impl<O: Ops> Window<O> {
    pub fn new(ops: &mut O, lm: &Lm<O>, spec: &RunSpec, shape: Shape) -> Result<Self> {
        let mut run = lm.run(ops, spec)?;
        run.rehearse(ops, lm)?;
        Ok(Window {
            run,
            shape,
            start: 0,
            role: Role { player: None, lag: None },
            redraw: 0,
            seed: 0,
            guides: lm.config().live.as_ref().is_some_and(|live| live.guides),
            row: vec![UNKNOWN; shape.prefix],
            unknown: vec![UNKNOWN; spec.frames],
            column: vec![UNKNOWN; spec.delays.len()],
        })
    }

    /// Begins anew at frame `start` of the song: nothing is fed, the prefix sums up the song before frame `cut`. Nothing is allocated.
    pub fn reset(&mut self, ops: &mut O, score: Score, start: i64, cut: i64, role: Role, redraw: u64) -> Result<()> {
        (self.start, self.role, self.redraw) = (start, role, redraw);
        self.run.rollback(ops, 0)?;
        self.run.deafen(ops, |k| self.guides && role.player == Some(score.material.stem_of[k]));
        for k in 0..score.material.delays.len() {
            self.run.put(ops, 0, k, 0, &self.unknown)?;
            let stem = score.material.stem_of[k];
            let special = self.run.grid().cards[k] as i32;
            let player = role.player == Some(stem);
            self.row.fill(special);
            for (i, slot) in self.row.iter_mut().take(self.shape.prefix.saturating_sub(1)).enumerate() {
                let t = start + (i * self.shape.decimation) as i64;
                if t < cut && redraw >> stem & 1 == 0 {
                    *slot = if player { score.material.heard(k, t) } else { score.material.made(k, t) };
                }
            }
            let lag = role.lag.filter(|_| player).unwrap_or(0);
            for slot in 0..lag {
                self.run.put(ops, 0, k, slot, &[special])?;
            }
            self.run.put(ops, 0, k, lag, &self.row)?;
        }
        Ok(())
    }

    /// How the window's tokens are drawn from now on.
    pub fn set_sampling(&mut self, ops: &mut O, sampling: &Sampling, seed: Option<u64>) {
        self.seed = seed.unwrap_or(self.seed);
        let frame_base = self.start - self.shape.prefix as i64;
        self.run.set_sampling(ops, &Sampling { seed: self.seed, frame_base, ..*sampling });
    }

    /// The run, for its text and counters.
    pub fn run(&mut self) -> &mut Run<O> {
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
    fn frame(&self, material: &Material, k: usize, column: usize) -> Option<i64> {
        let lag = self.role.lag.filter(|_| self.role.player == Some(material.stem_of[k])).unwrap_or(0);
        let at = column.checked_sub(1 + material.delays[k] + lag + self.shape.prefix)?;
        Some(self.start + at as i64)
    }

    /// Puts what is known into `column`, which has not been fed. The player's slots that are not known are left to the model, or, where the
    /// stem is lagged, masked until [`Window::hear`].
    fn fill(&mut self, ops: &mut O, score: Score, column: usize) -> Result<()> {
        for k in 0..score.material.delays.len() {
            let Some(t) = self.frame(score.material, k, column) else { continue };
            let stem = score.material.stem_of[k];
            let token = if self.role.player == Some(stem) {
                match self.role.lag {
                    _ if t < score.known => Some(score.material.heard(k, t)),
                    Some(_) => Some(self.run.grid().cards[k] as i32),
                    None => None,
                }
            } else if self.redraw >> stem & 1 == 1 && t < score.material.made_to[k] {
                None
            } else {
                forced(score.material, score.stems, k, t)
            };
            if let Some(token) = token {
                self.put(ops, score.material, k, column, token)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, ops: &mut O, material: &Material, k: usize, column: usize, token: i32) -> Result<()> {
        self.run.put(ops, 0, k, column - 1 - material.delays[k], &[token])
    }

    /// Puts what the player was heard to play into `column`, the next one to be fed.
    fn hear(&mut self, ops: &mut O, score: Score, column: usize) -> Result<()> {
        let Some(player) = self.role.player else { return Ok(()) };
        for &k in &score.material.streams[player] {
            if let Some(t) = self.frame(score.material, k, column).filter(|&t| t < score.known) {
                self.put(ops, score.material, k, column, score.material.heard(k, t))?;
            }
        }
        Ok(())
    }

    /// Sets the controls of `column`: those of the frame that undelayed streams foretell from it.
    fn control(&mut self, ops: &mut O, lm: &Lm<O>, score: Score, column: usize) {
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
            self.run.control(ops, lm, c, column, &[value.unwrap_or(UNKNOWN)]);
        }
    }

    /// Feeds one column and gives the next one's tokens: what was put there, what the model draws.
    pub fn advance(&mut self, ops: &mut O, band: &Band<O>, score: Score) -> Result<()> {
        let at = self.run.at();
        self.hear(ops, score, at)?;
        self.fill(ops, score, at + 1)?;
        self.control(ops, &band.lm, score, at);
        self.run.next(ops, &band.lm, at + 1);
        Ok(())
    }

    /// Decides the frames that the column before the next one's feeding has given the band's streams.
    pub fn commit(&mut self, ops: &mut O, material: &mut Material, stems: &mut Stems) {
        let at = self.run.at();
        self.run.column(ops, at, &mut self.column);
        for k in 0..self.column.len() {
            let stem = material.stem_of[k];
            if self.role.player == Some(stem) || self.frame(material, k, at) != Some(material.made_to[k]) {
                continue;
            }
            let level = material.streams[stem].iter().position(|&s| s == k).unwrap_or(0);
            stems.stem[stem].made(level, material.made_to[k], self.column[k]);
            material.make(k, self.column[k]);
        }
    }

    /// Feeds known columns, as many as `work` allows and below `limit`: a known column costs 1, one that has to be drawn 4.
    pub fn prime(
        &mut self,
        ops: &mut O,
        band: &Band<O>,
        score: Score,
        limit: usize,
        block: usize,
        mut work: usize,
    ) -> Result<()> {
        while work > 0 && self.run.at() < limit {
            let at = self.run.at();
            if self.redraw != 0 && at >= self.shape.prefix {
                self.advance(ops, band, score)?;
                work = work.saturating_sub(4);
                continue;
            }
            let n = (limit - at).min(work).min(block);
            for column in at..at + n {
                self.hear(ops, score, column)?;
                self.fill(ops, score, column + 1)?;
                self.control(ops, &band.lm, score, column);
            }
            let fed = self.run.next(ops, &band.lm, at + n);
            work -= fed.min(work);
        }
        Ok(())
    }

    /// Lets in what the player played in frames `from..score.known`, which the model had foretold: from the first frame that was foretold wrongly
    /// on, the columns are fed again with the truth and with what the band has played since, and the player's later frames are
    /// foretold again. True: something was wrong.
    pub fn correct(&mut self, ops: &mut O, band: &Band<O>, score: Score, from: i64) -> Result<bool> {
        let Some(player) = self.role.player else { return Ok(false) };
        let end = self.run.at();
        let from = from.max(self.start);
        let mut first = usize::MAX;
        for &k in &score.material.streams[player] {
            let delay = score.material.delays[k];
            for t in from..score.known {
                let column = self.column(t) + delay + 1;
                if column > end {
                    break;
                }
                let mut token = [UNKNOWN];
                self.run.codes(ops, 0, k, column - 1 - delay, &mut token);
                if token[0] != score.material.heard(k, t) {
                    first = first.min(column);
                    break;
                }
            }
        }
        if first == usize::MAX {
            return Ok(false);
        }
        self.run.rollback(ops, first)?;
        self.fill(ops, score, first)?;
        while self.run.at() < end {
            self.advance(ops, band, score)?;
        }
        Ok(true)
    }
}
