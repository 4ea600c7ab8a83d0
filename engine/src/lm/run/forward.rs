//! Feeds the columns of a [`Run`] to the transformer and samples the next ones; rolls fed columns back.

use sideman_kernels::{Backend, UNKNOWN};

use super::super::state::State;
use super::super::{Lm, step};
use super::Run;
use crate::error::{Error, Result};

impl<B: Backend> Run<B> {
    /// Feeds the next column and samples the unknown slots of the one after it; computes logits in any case
    /// ([`Run::logits`]). False where no column is left whose successor can be sampled.
    pub fn step(&mut self, backend: &mut B, lm: &Lm<B>) -> bool {
        if self.at + 1 >= self.grid.steps {
            return false;
        }
        self.feed(backend, lm, 1, true);
        true
    }

    /// Feeds columns below `limit`: as many known ones as a block takes. Then samples the next column where
    /// something in it is unknown. Gives the number of columns fed, 0 where `limit` or the end is reached.
    /// Any block size gives the same bits.
    pub fn next(&mut self, backend: &mut B, lm: &Lm<B>, limit: usize) -> usize {
        let limit = limit.min(self.grid.steps - 1);
        let most = self.block.min(limit.saturating_sub(self.at));
        if most == 0 {
            return 0;
        }
        let mut n = 1;
        while n < most && self.known(self.at + n) {
            n += 1;
        }
        let samples = !self.known(self.at + n);
        self.feed(backend, lm, n, samples);
        n
    }

    /// Feeds a few columns and takes them back, so that no later step allocates: scratch memory has its full size,
    /// and a backend that records graphs has recorded every kind of step. Call it before anything is fed.
    ///
    /// # Errors
    /// Those of [`Run::rollback`].
    pub fn warm_up(&mut self, backend: &mut B, lm: &Lm<B>) -> Result<()> {
        let guided = self.guided;
        // The most lanes and columns.
        self.guided = true;
        self.feed(backend, lm, self.block.min(self.grid.steps - 1), true);
        self.rollback(backend, 0)?;
        if !B::GRAPH_SIZES.is_empty() {
            for with in [true, false] {
                self.guided = with;
                for samples in [false, true] {
                    // The first run lets scratch memory grow, the second is recorded.
                    for _ in 0..2 {
                        self.feed(backend, lm, 1, samples);
                        self.rollback(backend, 0)?;
                    }
                }
            }
        }
        self.guided = guided;
        Ok(())
    }

    fn feed(&mut self, backend: &mut B, lm: &Lm<B>, n: usize, samples: bool) {
        let Run { grid, state, plain, guided, graphs, .. } = self;
        let mut plain = plain.as_mut().filter(|_| !*guided);
        let key = [usize::from(plain.is_some()), usize::from(samples)];
        let mut work = |backend: &mut B| {
            let grid = plain.as_ref().map_or(&*grid, |plain| &plain.0);
            step::forward(backend, &lm.config, &lm.weights, grid, state, n);
            if samples {
                step::logits(backend, &lm.config, &lm.weights, grid, state, n);
                let State { logits, pos, seq, sampler, .. } = &mut *state;
                let sampler = plain.as_mut().map_or(sampler, |plain| &mut plain.1);
                backend.sample(sampler, logits, n, pos, seq);
            } else {
                backend.advance(n, &mut state.pos);
            }
        };
        if n == 1 {
            backend.run_recorded(graphs, &key, &mut work);
        } else {
            work(backend);
        }
        self.at += n;
    }

    /// Whether every slot of column `step` is forced or special.
    fn known(&self, step: usize) -> bool {
        (0..self.grid.songs * self.pattern.streams()).all(|row| self.plan[row * self.grid.steps + step] != UNKNOWN)
    }

    /// The last column with an unknown slot: feeding the columns before it completes the run.
    pub fn needed(&self) -> usize {
        (0..self.grid.steps).rev().find(|&s| !self.known(s)).unwrap_or(0)
    }

    /// Returns to an earlier column: `step` is the next one to be fed. It keeps its tokens (and can be
    /// written). Tokens sampled after it are unknown again, forced ones stay. Nothing is copied in the cache.
    ///
    /// # Errors
    /// `step` has not been fed yet.
    pub fn rollback(&mut self, backend: &mut B, step: usize) -> Result<()> {
        if step > self.at {
            return Err(Error::Input(format!("rollback to column {step}, but only {} are fed", self.at)));
        }
        let sampled = step + 1..(self.at + 1).min(self.grid.steps);
        for row in 0..self.grid.songs * self.pattern.streams() {
            let at = row * self.grid.steps;
            backend.write_ints(
                &mut self.state.seq,
                at + sampled.start,
                &self.plan[at + sampled.start..at + sampled.end.max(sampled.start)],
            );
        }
        backend.write_ints(&mut self.state.pos, 0, &[step as i32]);
        self.at = step;
        Ok(())
    }
}
