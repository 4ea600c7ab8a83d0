//! Deciding a frame: the model's step, and when one window replaces another.

use sideman_kernels::Backend;

use super::session::Session;
use super::song::Song;
use super::{Action, Command};
use crate::error::Result;
use crate::model::Model;

/// Columns of the next window that are fed while the current window decides one frame. A column that must be
/// sampled counts as four.
pub(super) const PRIMING_RATE: usize = 8;
/// Frames of the song from one correction of a model that anticipates to the next. A correction costs as many
/// steps as the model decides ahead.
const CORRECTION_INTERVAL: i64 = 4;

impl<B: Backend> Session<B> {
    /// Decides the next frame of the undelayed streams, and the frames of the delayed ones that are due with
    /// it.
    pub(super) fn decide_frame(&mut self, backend: &mut B, model: &Model<B>) -> Result<()> {
        let f = self.song.front;
        self.follow_beat(f);
        self.apply_due(backend, f);
        self.enter(backend, f)?;
        let sampling = &mut self.song.sampling;
        if sampling.fill_until > i64::MIN && f >= sampling.fill_until {
            sampling.fill_until = i64::MIN;
            self.update_sampling(backend);
        }
        self.postpone(f);
        self.plan_window(backend, f)?;
        if self.model_state.next.as_ref().is_some_and(|next| f >= next.swap) {
            self.swap_windows(backend, model, f)?;
        }
        let input_stem = self.current_input_stem();
        let Session { song, model_state } = self;
        song.append_heard(input_stem);
        if let Some(current) = model_state.current {
            let window = &mut model_state.windows[current];
            let mut known = song.known();
            if !song.setup.lagged {
                if song.heard % CORRECTION_INTERVAL == 0 && known > model_state.corrected_to {
                    window.correct(backend, model, song.columns(known), model_state.corrected_to)?;
                    model_state.corrected_to = known;
                }
                known = model_state.corrected_to;
            }
            window.advance(backend, model, song.columns(known))?;
            window.commit(backend, &mut song.history, &mut song.stems);
            // The band has stopped, and the delayed streams have been decided to the end.
            if f >= song.stems.to.saturating_add(song.setup.longest_delay() as i64) {
                model_state.current = None;
            }
        } else {
            song.append_silence(input_stem, |delay| f + 1 - delay);
        }
        song.front = f + 1;
        self.prime(backend, model, PRIMING_RATE)?;
        self.song.collect_frames();
        Ok(())
    }

    /// The input stem of the window that plays; if none plays, that of the next window.
    pub(super) fn current_input_stem(&self) -> Option<usize> {
        match self.model_state.current {
            Some(current) => self.model_state.windows[current].input.stem,
            None => self.song.window_input().stem,
        }
    }

    /// Replaces the current window by the one that was primed, with frame `f`.
    fn swap_windows(&mut self, backend: &mut B, model: &Model<B>, f: i64) -> Result<()> {
        let input_stem = self.current_input_stem();
        let Some(next) = self.model_state.next.take() else { return Ok(()) };
        if next.start {
            // The window has no history: every stream is silent up to its start.
            let input_stem = self.model_state.windows[next.index].input.stem;
            self.song.append_silence(input_stem, |_| f);
            self.song.transport.start_at = None;
        } else {
            self.song.append_heard(input_stem);
        }
        self.model_state.current = Some(next.index);
        self.song.transport.resume = false;
        while let Some(entry) = self.song.schedule.take_primed() {
            self.song.apply_primed(&entry.request.command, f);
            self.song.anchor_loops(f);
            self.song.schedule.retire(entry);
        }
        self.song.update_audible(f);
        let Session { song, model_state } = self;
        let known = song.known();
        model_state.corrected_to = known;
        let window = &mut model_state.windows[next.index];
        while window.at() < window.column(f) {
            window.advance(backend, model, song.columns(known))?;
            window.commit(backend, &mut song.history, &mut song.stems);
        }
        self.update_sampling(backend);
        Ok(())
    }

    /// Sets the sampling parameters in force on both windows.
    pub(super) fn update_sampling(&mut self, backend: &mut B) {
        self.model_state.set_sampling(backend, &self.song.sampling.in_force(), None);
    }

    /// The same with the seed in force.
    pub(super) fn update_seed(&mut self, backend: &mut B) {
        let sampling = &self.song.sampling;
        self.model_state.set_sampling(backend, &sampling.in_force(), Some(sampling.seed()));
    }
}

impl Song {
    /// Applies a command for which a window was primed, when the window starts to play.
    fn apply_primed(&mut self, command: &Command, f: i64) {
        match *command {
            Command::InputStem(input_stem) => self.set_input_stem(input_stem),
            Command::Mode(mode) => self.set_mode(mode, f),
            Command::Stem(which, Action::Regen) => self.regenerate(which, f),
            // Needs no window (`schedule::target`).
            Command::Play
            | Command::Stop
            | Command::CountIn(_)
            | Command::Tempo(_)
            | Command::Tap
            | Command::Half
            | Command::Double
            | Command::One
            | Command::Meter(_)
            | Command::Clock(_)
            | Command::Text { .. }
            | Command::Chords(_)
            | Command::Key(_)
            | Command::Stem(
                _,
                Action::Gain(_)
                | Action::Pan(_)
                | Action::Mute(_)
                | Action::Solo(_)
                | Action::Freeze(_)
                | Action::Undo
                | Action::Redo,
            )
            | Command::LoopBars(_)
            | Command::Lag(_)
            | Command::Hop(_)
            | Command::Temperature(_)
            | Command::TopK(_)
            | Command::TopP(_)
            | Command::Cfg(_)
            | Command::Seed(_)
            | Command::Section(_)
            | Command::Fill
            | Command::Dim(_)
            | Command::Room(_)
            | Command::Click(_)
            | Command::Panic
            | Command::Cancel(_)
            | Command::Record(_)
            | Command::Keep(_)
            | Command::Learn(_)
            | Command::Guided(_)
            | Command::Rest(_) => {}
        }
    }
}
