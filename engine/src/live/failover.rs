//! Failover: a session on another backend (the CPU) takes over the song of a session whose backend (a GPU)
//! was lost.
//!
//! The song moves as a whole: clock, requests, mix and tokens go on. What the lost backend held, caches and
//! states of the codecs, is computed again. The hop in which the backend was lost counts as silence on every
//! stream. The band is silent up to the first bar line for which a window can be primed, and comes in there,
//! in phase. The click never stops.

use sideman_kernels::Backend;

use super::output::DECODER_TAIL;
use super::session::Session;
use super::song::Song;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::text::Hidden;

/// Where a hop started: a hop in which the backend was lost is undone back to here.
#[derive(Default)]
pub(super) struct HopStart {
    /// Frames decided, by stream.
    decided_to: Vec<i64>,
    /// The next frame to be heard, by stem.
    heard: Vec<i64>,
}

impl HopStart {
    /// Room for all streams and stems.
    pub fn new(streams: usize, stems: usize) -> Self {
        HopStart { decided_to: vec![0; streams], heard: vec![0; stems] }
    }
}

impl<B: Backend> Session<B> {
    /// Takes over the song of `lost`, whose backend failed in its last hop. The samples that this hop gave
    /// stay as they are. `self` is a session of the same model and settings that has heard nothing; `text` is
    /// the text in force.
    ///
    /// # Errors
    /// [`Error::Input`] if the two sessions differ in model or lag, or if there is not enough room for the
    /// text.
    pub fn take_over<P: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        lost: Session<P>,
        text: Option<&Hidden>,
    ) -> Result<()> {
        let fits = |song: &Song| (song.setup.lead, song.setup.base_lag);
        if fits(&self.song) != fits(&lost.song) || self.song.history.delays != lost.song.history.delays {
            return Err(Error::Input("the session that takes over is of another model or lag".into()));
        }
        let was_playing = lost.model_state.current.is_some();
        self.song = lost.song;
        self.set_text(backend, model, text)?;
        self.song.silence_last_hop();
        for listening in &mut self.song.input.listening {
            // The encoder starts a new signal: its first frame is the next one to be heard.
            listening.next = self.song.heard;
        }
        self.warm_up_decoders(backend)?;
        (self.model_state.current, self.model_state.next) = (None, None);
        // If the band was about to start, it starts; if it played, it comes in again.
        let transport = &mut self.song.transport;
        transport.resume |= was_playing || (transport.playing && transport.start_at.is_none());
        self.song.schedule.pending_mut().iter_mut().for_each(|e| e.primed = false);
        Ok(())
    }

    /// Decodes as much silence as the lost decoders held back, so that what comes next fits what was given.
    fn warm_up_decoders(&mut self, backend: &mut B) -> Result<()> {
        let history = &self.song.history;
        for (s, decoder) in self.model_state.decoders.iter_mut().enumerate() {
            let silence = |&k: &usize| history.silence[k] as u32;
            let codes: Vec<u32> = (0..DECODER_TAIL).flat_map(|_| history.streams[s].iter().map(silence)).collect();
            decoder.push(backend, &codes, &mut Vec::new())?;
        }
        Ok(())
    }
}

impl Song {
    /// Notes where the hop starts.
    pub(super) fn note_hop_start(&mut self) {
        self.hop_start.decided_to.copy_from_slice(&self.history.decided_to);
        self.hop_start.heard.iter_mut().zip(&self.input.listening).for_each(|(to, listening)| *to = listening.next);
    }

    /// Replaces everything that was decided or heard since the hop started by silence.
    fn silence_last_hop(&mut self) {
        let streams = self.history.delays.len();
        for k in 0..streams {
            let (stem, token) = (self.history.stem_of[k], self.history.silence[k]);
            let level = self.history.level_of(k);
            for t in self.hop_start.decided_to[k]..self.history.decided_to[k] {
                self.history.silence_frame(k, t);
                self.stems.stem[stem].store_in_loops(level, t, token);
            }
            (self.hop_start.heard[stem]..self.heard).for_each(|t| self.history.set_heard(k, t, token));
        }
        // What the hop gave: most of its frames were decided before it.
        for (t, frame) in (self.output.tokens_from..).zip(self.output.tokens.chunks_exact_mut(streams)) {
            frame.iter_mut().enumerate().for_each(|(k, token)| *token = self.history.token(k, t));
        }
        self.output.discard_codes();
    }
}
