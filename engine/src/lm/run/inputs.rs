//! The inputs of a [`Run`]: sampling parameters, guidance, texts, forced tokens, controls and masks.

use sideman_kernels::{Backend, LaneText, Rows, Sampling, UNKNOWN};

use super::super::Lm;
use super::Run;
use crate::error::{Error, Result};
use crate::text::Hidden;

impl<B: Backend> Run<B> {
    /// Changes the sampling parameters from now on.
    pub fn set_sampling(&mut self, backend: &mut B, sampling: &Sampling) {
        backend.set_sampling(&mut self.state.sampler, sampling);
        if let Some((_, sampler)) = &mut self.plain {
            backend.set_sampling(sampler, sampling);
        }
    }

    /// Switches guidance off (which halves the work) or on; only in a run of one song. Columns fed without
    /// guidance are missing in the null lane, so switch it on only before anything is fed.
    pub fn guide(&mut self, guided: bool) {
        self.guided = guided;
    }

    /// Sets the text of a song for every column fed from now on. Allocates nothing. `None`, or a text of no
    /// tokens, is the null condition.
    ///
    /// # Errors
    /// The text is longer than the run's room, or not of this model's width.
    pub fn set_text(&mut self, backend: &mut B, lm: &Lm<B>, song: usize, text: Option<&Hidden>) -> Result<()> {
        let (Some(state), Some(project)) = (&mut self.state.text, &lm.weights.project) else {
            return match text {
                Some(text) if text.len > 0 => Err(Error::Input("the run was made without room for a text".into())),
                _ => Ok(()),
            };
        };
        let config = lm.config();
        let (d, text_dim) = (config.lm.dim, config.text.as_ref().map_or(0, |t| t.dim));
        let len = text.map_or(0, |t| t.len);
        let data = text.map_or(&[][..], |t| &t.data);
        if len > self.text_room || data.len() != len * text_dim {
            let what = format!("a text of {len} tokens and {} values where the run has room for {}", data.len(), self.text_room);
            return Err(Error::Input(format!("{what} tokens of {text_dim}")));
        }
        let (wide, narrow) = (Rows::packed(len, d), Rows::packed(len, text_dim));
        if len > 0 {
            backend.write(&mut state.hidden, 0, data);
            backend.linear(project, &state.hidden, narrow, &mut state.condition, wide);
        }
        let lane = song * self.grid.branches;
        for (l, layer) in lm.weights.layers.iter().enumerate() {
            let Some(cross) = &layer.cross else { continue };
            if len > 0 {
                backend.linear(&cross.k, &state.condition, wide, &mut state.k, wide);
                backend.linear(&cross.v, &state.condition, wide, &mut state.v, wide);
            }
            backend.set_text(&mut state.kv, LaneText { layer: l, lane, len }, &state.k, &state.v);
        }
        Ok(())
    }

    /// Forces `codes` on `stream` of `song` from grid frame `frame` on. The special id (the stream's `card`)
    /// hides a frame; UNKNOWN makes a slot unknown again.
    ///
    /// # Errors
    /// A code out of range, frames past the grid, or a column that has been fed already (or is the next one,
    /// and would be unknown).
    pub fn put(&mut self, backend: &mut B, song: usize, stream: usize, frame: usize, codes: &[i32]) -> Result<()> {
        if codes.is_empty() {
            return Ok(());
        }
        let card = self.grid.cards[stream] as i32;
        if let Some(code) = codes.iter().find(|&&c| c > card || c < UNKNOWN) {
            return Err(Error::Input(format!("code {code} on stream {stream}, whose codes end at {card}")));
        }
        let step = self.pattern.step(stream, frame);
        let late = step < self.at || step == self.at && codes[0] == UNKNOWN;
        if frame + codes.len() > self.pattern.frames() || late {
            let what = format!("frames {frame}..{} can't be written: columns up to {} are fed", frame + codes.len(), self.at);
            return Err(Error::Input(format!("{what}, the grid has {} frames", self.pattern.frames())));
        }
        let at = self.row(song, stream) + step;
        self.plan[at..at + codes.len()].copy_from_slice(codes);
        backend.write_ints(&mut self.state.seq, at, codes);
        Ok(())
    }

    /// Sets control `control` (in the order of the configuration) from grid frame `frame` on. A value out of
    /// the control's range, such as −1, is its null value. Values of columns past the sequence are dropped. A
    /// control that guides is null in the null lane.
    pub fn control(&mut self, backend: &mut B, lm: &Lm<B>, control: usize, frame: usize, values: &[i32]) {
        let config = &lm.config().controls[control];
        let card = config.card as i32;
        let branches = if config.guides { 1 } else { self.grid.branches };
        for (step, &value) in (frame..self.grid.steps).zip(values) {
            let value = if (0..card).contains(&value) { value } else { card };
            for branch in 0..branches {
                let row = branch * lm.config().controls.len() + control;
                backend.write_ints(&mut self.state.ctl, row * self.grid.steps + step, &[value]);
            }
        }
    }

    /// Masks streams in the null lane, so that guidance strengthens their influence: the input stem's, in a
    /// model trained for it.
    pub fn mask_null_lane(&mut self, backend: &mut B, masked: impl Fn(usize) -> bool) {
        for k in 0..self.pattern.streams() {
            if self.grid.branches > 1 {
                backend.write_ints(&mut self.state.masked, self.pattern.streams() + k, &[i32::from(masked(k))]);
            }
        }
    }
}
