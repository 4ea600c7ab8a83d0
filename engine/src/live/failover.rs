//! Another player takes over a song: the processor, from a GPU that was lost.
//!
//! What the band was (its song, clock, wishes, levels) is the host's and goes on; what lay in the lost player's memory (caches, codecs'
//! states) is made anew. The hop in which it was lost counts as silence, on every stream. The band is silent up to the first bar line for
//! which a window can be primed with the song so far; there it comes in, in phase. The click goes on.

use sideman_kernels::Backend;

use super::decode::RING_OUT;
use super::session::Session;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::text::Hidden;

/// What is true when a hop begins, so that a hop that was lost can be told from those before it.
#[derive(Default)]
pub(super) struct HopStart {
    /// Frames decided, of each stream.
    made_to: Vec<i64>,
    /// The next frame to be heard, of each stem.
    heard: Vec<i64>,
}

impl HopStart {
    /// Room for all streams and stems.
    pub fn new(streams: usize, stems: usize) -> Self {
        HopStart { made_to: vec![0; streams], heard: vec![0; stems] }
    }
}

impl<B: Backend> Session<B> {
    /// Notes where the hop begins.
    pub(super) fn note(&mut self) {
        self.begun.made_to.copy_from_slice(&self.history.made_to);
        self.begun.heard.iter_mut().zip(&self.ears).for_each(|(to, ear)| *to = ear.next);
    }

    /// Goes on with the song of `lost`, whose player failed in its last hop; what that hop gave stays with `lost`'s numbers of samples.
    /// `self` is a session of the same model and spec that has not heard anything; `text` is the text in force.
    ///
    /// # Errors
    /// The two don't fit: another model, lag or room for text.
    pub fn take_over<P: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        lost: Session<P>,
        text: Option<&Hidden>,
    ) -> Result<()> {
        if (self.lead, self.base_lag, &self.history.delays) != (lost.lead, lost.base_lag, &lost.history.delays) {
            return Err(Error::Input("the session that takes over is of another model or lag".into()));
        }
        self.set_text(backend, model, text)?;
        (self.n, self.front, self.lag) = (lost.n, lost.front, lost.lag);
        (self.history, self.stems, self.timeline, self.schedule) = (lost.history, lost.stems, lost.timeline, lost.schedule);
        (self.input_stem, self.mode, self.clock, self.playing) = (lost.input_stem, lost.mode, lost.clock, lost.playing);
        (self.count_in, self.loop_bars, self.key, self.chart) = (lost.count_in, lost.loop_bars, lost.key, lost.chart);
        (self.sampling, self.guided, self.salt) = (lost.sampling, lost.guided, lost.salt);
        (self.fill_to, self.dim, self.click_on, self.counted) = (lost.fill_to, lost.dim, lost.click_on, lost.counted);
        (self.message, self.click, self.heard_peak) = (lost.message, lost.click, lost.heard_peak);
        (self.decoded, self.quiet, self.fifo) = (lost.decoded, lost.quiet, lost.fifo);
        (self.out, self.levels, self.clicks) = (lost.out, lost.levels, lost.clicks);
        (self.tokens, self.tokens_from) = (lost.tokens, lost.tokens_from);
        self.silence_since(&lost.begun);
        for (ear, was) in self.ears.iter_mut().zip(&lost.ears) {
            // A new signal: its first frame is the next one to be heard.
            (ear.on, ear.next) = (was.on, self.n);
        }
        self.warm(backend)?;

        // Where the band was to begin, it begins; where it played, it comes in again.
        self.fresh = lost.fresh;
        (self.main, self.next) = (None, None);
        self.resume = lost.main.is_some() || lost.resume;
        self.schedule.all().iter_mut().for_each(|e| e.taken = false);
        Ok(())
    }

    /// All that was decided or heard since is silence.
    fn silence_since(&mut self, begun: &HopStart) {
        let streams = self.history.delays.len();
        for k in 0..streams {
            let (stem, token) = (self.history.stem_of[k], self.history.silence[k]);
            let level = self.history.streams[stem].iter().position(|&s| s == k).unwrap_or(0);
            for t in begun.made_to[k]..self.history.made_to[k] {
                self.history.unmake(k, t);
                self.stems.stem[stem].made(level, t, token);
            }
            (begun.heard[stem]..self.n).for_each(|t| self.history.hear(k, t, token));
        }
        // What the hop gave out: most of its frames were decided before it.
        for (t, frame) in (self.tokens_from..).zip(self.tokens.chunks_exact_mut(streams)) {
            frame.iter_mut().enumerate().for_each(|(k, token)| *token = self.history.made(k, t));
        }
    }

    /// Decoders that have decoded as much silence as their predecessors hold back: what comes next fits what was given.
    fn warm(&mut self, backend: &mut B) -> Result<()> {
        for s in 0..self.decoders.len() {
            let streams = &self.history.streams[s];
            let codes: Vec<u32> = (0..RING_OUT).flat_map(|_| streams.iter().map(|&k| self.history.silence[k] as u32)).collect();
            let mut dropped = Vec::new();
            self.decoders[s].push(backend, &codes, &mut dropped)?;
        }
        Ok(())
    }
}
