//! [`Song`]: the state of a session in host memory. It does not depend on a backend.
//!
//! When the backend is lost, the song moves as a whole to a session on another backend
//! ([`super::Session::take_over`]). What the model itself holds on a backend is
//! [`super::model_state::ModelState`].

use sideman_kernels::Sampling;

use super::click::Metronome;
use super::ear::Ear;
use super::ear_clock::EarClock;
use super::failover::HopStart;
use super::notice::{Notice, NoticeSlot};
use super::output::Output;
use super::schedule::Schedule;
use super::stem::Stems;
use super::timeline::Timeline;
use super::token_history::TokenHistory;
use super::window::{ColumnSource, Shape, WindowInput};
use super::{Clock, Mode};
use crate::listen::Part;
use crate::model::{Config, FRAME};
use crate::task::WrittenChords;

/// The state of a session in host memory.
pub(super) struct Song {
    /// What does not change.
    pub setup: Setup,
    /// Frames of the musician that have been heard.
    pub heard: i64,
    /// The next frame to decide, of the streams without a delay. One with a delay of d is d frames behind.
    pub front: i64,
    /// Tokens of the last minutes.
    pub history: TokenHistory,
    /// Mix and loops of each stem.
    pub stems: Stems,
    /// Tempo, meter and chords.
    pub timeline: Timeline,
    /// Requests that are pending.
    pub schedule: Schedule,
    /// Starting, stopping and counting in.
    pub transport: Transport,
    /// Mode, key and chart.
    pub arrangement: Arrangement,
    /// How tokens are sampled.
    pub sampling: SamplingState,
    /// The input stem.
    pub input: Input,
    /// What is heard in it without the model.
    pub ear: Ear,
    /// The clock by ear.
    pub ear_clock: EarClock,
    /// Codes, samples and tokens on their way out.
    pub output: Output,
    /// The click.
    pub metronome: Metronome,
    /// What was last reported.
    pub notices: NoticeSlot,
    /// Where the current hop started.
    pub hop_start: HopStart,
}

/// What does not change during a session.
pub(super) struct Setup {
    /// The model's configuration.
    pub config: Config,
    /// Look-ahead of the slowest encoder, in frames.
    pub lookahead: i64,
    /// The lag that the session started with. The lead follows from it.
    pub base_lag: usize,
    /// See [`super::Session::lead`].
    pub lead: i64,
    /// The model was trained with a lag. If not, it predicts the input stem and is corrected
    /// ([`super::window::Window::correct`]).
    pub lagged: bool,
    /// Sizes of a window.
    pub shape: Shape,
}

/// Starting, stopping and counting in.
pub(super) struct Transport {
    /// The band plays or counts in.
    pub playing: bool,
    /// Where the beat comes from.
    pub clock: Clock,
    /// Bars of the next count-in.
    pub count_in: u32,
    /// First sample of the current count-in, and of bar 1 after it.
    pub count_in_span: (i64, i64),
    /// Frame at which the band starts with a window without history.
    pub start_at: Option<i64>,
    /// The backend was lost while the band played, or the model rested: the band comes in again at a bar line.
    pub resume: bool,
    /// The model rests ([`super::Command::Rest`]).
    pub resting: bool,
}

/// Mode, key and chart.
pub(super) struct Arrangement {
    /// What the band does.
    pub mode: Mode,
    /// Bars that the loop mode and undo repeat.
    pub loop_bars: u32,
    /// Key as it was written; empty: not known.
    pub key: String,
    /// Chords as they were written; empty: not known.
    pub chart: WrittenChords,
}

/// How tokens are sampled.
pub(super) struct SamplingState {
    /// The parameters that were set.
    pub params: Sampling,
    /// Guidance has not been switched off ([`super::Command::Guided`]).
    pub guided: bool,
    /// There is a text.
    pub has_text: bool,
    /// How many windows have been primed for a regenerate: each has a seed of its own.
    pub variation: u64,
    /// Frame before which the temperature is raised for a fill; `i64::MIN`: no fill.
    pub fill_until: i64,
}

/// The input stem.
pub(super) struct Input {
    /// The stem that the musician plays.
    pub stem: Option<usize>,
    /// Lag of the next window, in frames.
    pub lag: usize,
    /// For each stem, whether the musician's samples are encoded as this stem.
    pub listening: Vec<Listening>,
    /// Peak of the last hop.
    pub peak: f32,
}

/// Whether the musician's samples are encoded as one of the stems.
#[derive(Clone, Copy, Default)]
pub(super) struct Listening {
    /// They are.
    pub on: bool,
    /// Frame of the song that the encoder's next code is for.
    pub next: i64,
}

/// Frame that holds sample `t`.
pub(super) fn frame(t: i64) -> i64 {
    t.div_euclid(FRAME as i64)
}

/// First sample of frame `f`.
pub(super) fn sample(f: i64) -> i64 {
    f * FRAME as i64
}

impl Setup {
    /// The largest delay of a stream in the pattern, in frames.
    pub fn longest_delay(&self) -> usize {
        self.config.streams.iter().map(|s| s.delay).max().unwrap_or(0)
    }
}

/// What a stem of this name is for [`Ear`].
pub(super) fn part(stem: Option<&String>) -> Part {
    match stem.map(String::as_str) {
        Some("bass") => Part::Bass,
        _ => Part::Chords,
    }
}

impl SamplingState {
    /// The parameters in force: a fill raises the temperature by 0.3.
    pub fn in_force(&self) -> Sampling {
        let fill = self.fill_until > i64::MIN && self.params.temperature > 0.0;
        Sampling { temperature: self.params.temperature + if fill { 0.3 } else { 0.0 }, ..self.params }
    }

    /// The seed in force.
    pub fn seed(&self) -> u64 {
        self.params.seed ^ self.variation.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

impl Song {
    /// Frames of the input stem whose codes are known.
    pub fn known(&self) -> i64 {
        (self.heard - self.setup.lookahead).max(0)
    }

    /// The last frame of the undelayed streams that can be decided.
    pub fn last_decidable(&self) -> i64 {
        self.heard + self.setup.base_lag as i64 - self.setup.lookahead
    }

    /// The input stem and its lag, from the next window on.
    pub fn window_input(&self) -> WindowInput {
        let stem = self.input.stem.filter(|_| self.arrangement.mode != Mode::Lead);
        WindowInput { stem, lag: self.setup.lagged.then_some(self.input.lag) }
    }

    /// The tokens and controls that columns are filled from, if the input stem is known before frame `known`.
    pub fn columns(&self, known: i64) -> ColumnSource<'_> {
        ColumnSource {
            history: &self.history,
            stems: &self.stems,
            timeline: &self.timeline,
            ear: &self.ear,
            clocked: self.transport.clock != Clock::Free,
            known,
        }
    }

    /// Appends what was heard to the input stem of the song.
    pub fn append_heard(&mut self, input_stem: Option<usize>) {
        let Some(input_stem) = input_stem else { return };
        let known = self.known();
        for level in 0..self.history.streams[input_stem].len() {
            let k = self.history.streams[input_stem][level];
            while self.history.decided_to[k] < known {
                let token = self.history.heard(k, self.history.decided_to[k]);
                self.history.push(k, token);
            }
        }
    }

    /// Appends silence to all stems but the input stem. Stream `k` is silent up to frame `to(its delay)`.
    pub fn append_silence(&mut self, input_stem: Option<usize>, to: impl Fn(i64) -> i64) {
        for k in 0..self.history.delays.len() {
            let to = to(self.history.delays[k] as i64);
            while input_stem != Some(self.history.stem_of[k]) && self.history.decided_to[k] < to {
                self.history.push(k, self.history.silence[k]);
            }
        }
    }

    /// Reports a notice to the musician. In a hop it must not own memory: replacing it would free that.
    pub fn notify(&mut self, notice: Notice) {
        self.notices.set(notice);
    }
}
