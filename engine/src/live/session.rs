//! [`Session`]: live play on one backend. Samples of the musician in, samples of the band out, hop by hop.

use sideman_kernels::{Backend, Sampling};

use super::click::Metronome;
use super::ear::Ear;
use super::ear_clock::EarClock;
use super::failover::HopStart;
use super::model_state::ModelState;
use super::notice::NoticeSlot;
use super::output::{Output, silence};
use super::schedule::Schedule;
use super::song::{Arrangement, Input, Listening, SamplingState, Setup, Song, Transport, frame, part};
use super::stem::Stems;
use super::timeline::{Boundary, Timeline};
use super::token_history::TokenHistory;
use super::window::Shape;
use super::{Clock, Mode, SessionConfig};
use crate::codec::{CHUNK, Codec};
use crate::error::{Error, Result};
use crate::limits::MAX_HOP;
use crate::model::{FRAME, Model, Strategy};
use crate::text::Hidden;

/// Live play of one model on one backend. [`crate::live`] describes its parts.
pub struct Session<B: Backend> {
    /// Its state in host memory.
    pub(super) song: Song,
    /// What the model holds on the backend.
    pub(super) model_state: ModelState<B>,
}

/// Look-ahead of the slowest encoder, in frames.
fn lookahead<B: Backend>(codecs: &[Codec<B>]) -> i64 {
    let behind = |c: &Codec<B>| 1000 - c.known_frames(1000 * FRAME) as i64;
    codecs.iter().map(behind).max().unwrap_or(0)
}

impl<B: Backend> Session<B> {
    /// The lead that a session with this lag has, in samples: how far the band's samples are ahead of the
    /// musician's when they come out of the session. It is the smallest (lag + 1 − A − D) · 640 − H of all
    /// stems, where A is the look-ahead of the slowest encoder and D the largest delay of the stem's streams,
    /// both in frames, and H the samples that the stem's decoder holds back. If it is negative, the band is
    /// late by that much.
    pub fn lead_of(model: &Model<B>, lag: usize) -> i64 {
        let (config, heard) = (model.config(), 1000i64);
        let frames = heard + lag as i64 + 1 - lookahead(&model.codecs);
        let stem = |(stem, codec): (&String, &Codec<B>)| {
            let delay = config.streams.iter().filter(|s| s.stem == *stem).map(|s| s.delay).max().unwrap_or(0);
            codec.known_samples((frames - delay as i64).max(0) as usize) as i64 - heard * FRAME as i64
        };
        config.stems.iter().zip(&model.codecs).map(stem).min().unwrap_or(0)
    }

    /// The smallest lag, in frames, that leaves a lead of at least `lead` samples and that the model was
    /// trained for. `None`: there is none below 5 s.
    pub fn lag_for(model: &Model<B>, lead: i64) -> Option<usize> {
        let lags = model.config().live.as_ref().and_then(|l| l.lags).unwrap_or([0, 249]);
        (lags[0]..=lags[1]).find(|&lag| Self::lead_of(model, lag) >= lead)
    }

    /// Starts a session. `text` is `settings.text`, encoded; `None` if that is empty. If the band plays at
    /// once, its first frames are computed here: [`Session::stem`] then holds song time 0 to the lead.
    ///
    /// # Errors
    /// [`Error::Input`] from [`SessionConfig::validate`]; [`Error::Backend`] if the backend has not enough
    /// memory.
    pub fn new(backend: &mut B, model: &Model<B>, settings: &SessionConfig, text: Option<&Hidden>) -> Result<Self> {
        let config = model.config().clone();
        settings.validate(&config)?;
        // Every setting is named: one that is added and not used here does not compile. `ModelState::new`
        // uses those that are left out.
        let &SessionConfig {
            input_stem,
            lag,
            tempo,
            meter,
            bar1,
            ref chords,
            count_in,
            playing,
            click,
            clock,
            text: _,
            text_room: _,
            guided: _,
            temperature,
            top_k,
            top_p,
            cfg_scale,
            room: room_amount,
            seed,
            block: _,
        } = settings;
        let stems = config.stems.len();
        let mut timeline = Timeline::new(bar1, tempo, meter);
        if let Some(chords) = settings.parsed_chords()? {
            timeline.set_chords(Some(chords), 1);
        }
        let (num, den) = timeline.bar_len(bar1);
        let count_in_from = bar1 - (i128::from(count_in) * num).div_euclid(den) as i64;
        let setup = Setup {
            lookahead: lookahead(&model.codecs),
            base_lag: lag,
            lead: Self::lead_of(model, lag),
            lagged: config.live.as_ref().is_some_and(|l| l.strategy == Strategy::Lagged),
            shape: Shape::new(&config),
            config,
        };
        let history = TokenHistory::new(&setup.config, silence(backend, model)?);
        let model_state = ModelState::new(backend, model, &setup, &history.delays, settings, text)?;
        // Frames that a hop gives at most, those of the start included.
        let room = (lag as i64 + setup.longest_delay() as i64 + setup.lookahead) as usize + 2 * MAX_HOP + CHUNK;
        let start = playing.then_some(frame(bar1.max(0)));
        let mut stems_state = Stems::new(&history);
        stems_state.room = room_amount;
        if let Some(from) = start {
            (stems_state.from, stems_state.to) = (from, i64::MAX);
        }
        let song = Song {
            heard: 0,
            front: 0,
            timeline,
            schedule: Schedule::new(),
            transport: Transport {
                playing,
                clock,
                count_in,
                count_in_span: if playing { (count_in_from, bar1) } else { (0, 0) },
                start_at: start,
                resume: false,
                resting: false,
            },
            arrangement: Arrangement {
                mode: Mode::Follow,
                loop_bars: 4,
                key: String::new(),
                chart: chords.clone().unwrap_or_default().into(),
            },
            sampling: SamplingState {
                params: Sampling { temperature, top_k, top_p, cfg: cfg_scale, seed, frame_base: 0 },
                guided: true,
                has_text: text.is_some_and(|text| text.len > 0),
                variation: 0,
                fill_until: i64::MIN,
            },
            input: Input { stem: input_stem.map(usize::from), lag, listening: vec![Listening::default(); stems], peak: 0.0 },
            ear_clock: EarClock::new(),
            ear: Ear::new(
                part(input_stem.and_then(|stem| setup.config.stems.get(usize::from(stem)))),
                chords.as_deref().is_some_and(crate::task::by_ear),
            ),
            output: Output::new(&setup, room),
            metronome: Metronome::new(click, room * FRAME),
            notices: NoticeSlot::default(),
            hop_start: HopStart::new(history.delays.len(), stems),
            stems: stems_state,
            history,
            setup,
        };
        let mut session = Session { song, model_state };
        if clock == Clock::Ear && playing {
            session.song.ear_clock.start(bar1, &session.song.timeline);
        }
        session.listen(backend);
        session.song.update_audible(0);
        session.start(backend, model)?;
        Ok(session)
    }

    /// Decides what can be decided before anything is heard, and gives song time 0 to the lead.
    fn start(&mut self, backend: &mut B, model: &Model<B>) -> Result<()> {
        self.plan_window(backend, 0)?;
        self.prime(backend, model, usize::MAX)?;
        while self.song.front <= self.song.last_decidable() {
            self.decide_frame(backend, model)?;
        }
        self.decode(backend)?;
        let lead = self.song.setup.lead;
        // If the band is late, the samples before song time 0 are silence.
        self.song.output.delay((-lead).max(0) as usize);
        let mut t = 0;
        while t < lead {
            let n = (lead - t).min(FRAME as i64);
            self.render_controls(t, n);
            t += n;
        }
        self.song.output.give(lead.max(0) as usize);
        Ok(())
    }

    /// Takes one hop of the musician's samples, 1 to 25 frames of 640, and gives as many of each stem. It
    /// allocates and frees nothing.
    ///
    /// # Errors
    /// [`Error::Input`] if the hop is not a whole number of frames, or too long. Nothing has been taken then.
    pub fn hop(&mut self, backend: &mut B, model: &Model<B>, heard: &[f32]) -> Result<()> {
        if heard.is_empty() || !heard.len().is_multiple_of(FRAME) || heard.len() > MAX_HOP * FRAME {
            let len = heard.len();
            return Err(Error::Input(format!("a hop of {len} samples: must be 1 to {MAX_HOP} frames of {FRAME} samples")));
        }
        self.song.clear_output();
        self.song.note_hop_start();
        self.listen(backend);
        self.hear(backend, heard);
        for frame in heard.as_chunks().0 {
            let Song { ear, timeline, heard, .. } = &mut self.song;
            let (f, features) = (*heard, ear.push(frame, *heard, timeline));
            self.song.hear_beat(&features, f);
            let at = self.heard_to() + self.lead();
            self.render_controls(at, FRAME as i64);
            self.song.heard += 1;
            while self.song.front <= self.song.last_decidable() {
                self.decide_frame(backend, model)?;
            }
        }
        self.decode(backend)?;
        self.song.output.give(heard.len());
        Ok(())
    }

    /// The lead, in samples: how far the band's samples are ahead of the musician's. It does not change
    /// during a session.
    pub fn lead(&self) -> i64 {
        self.song.setup.lead
    }

    /// Samples heard.
    pub fn heard_to(&self) -> i64 {
        self.song.heard * FRAME as i64
    }

    /// What the last hop gave of a stem, before gain and pan: as many samples as the hop had, from song time
    /// `heard_to() before the hop + lead()` on. The input stem is silence. Before the first hop: song time 0
    /// to the lead.
    pub fn stem(&self, stem: usize) -> &[f32] {
        &self.song.output.samples[stem]
    }

    /// Left and right gain at the end of each frame of those samples (before the first hop, the last frame
    /// may be shorter). Between two frames the gain is interpolated linearly. It holds gain, pan, mute, solo
    /// and dim, and is 0 where the band doesn't play. A stem at 0 dB in the middle has 1 and 1.
    pub fn levels(&self, stem: usize) -> &[[f32; 2]] {
        &self.song.output.levels[stem]
    }

    /// Level of the room in the mix at each frame of those samples, 0 to 1.
    pub fn room(&self) -> &[f32] {
        &self.song.output.room
    }

    /// The metronome of those samples.
    pub fn click(&self) -> &[f32] {
        &self.song.metronome.samples
    }

    /// Frames that the last hop has decided on every stream, the input stem included: the number of the first
    /// one, and the tokens, all streams of a frame after another.
    pub fn tokens(&self) -> (i64, &[i32]) {
        (self.song.output.tokens_from, &self.song.output.tokens)
    }

    /// The token that a stream holds where its stem is silent.
    pub fn silence(&self, stream: usize) -> i32 {
        self.song.history.silence[stream]
    }

    /// Frame at which the window that plays starts, its history included. `None`: the model does not run.
    pub fn window(&self) -> Option<i64> {
        self.model_state.current.map(|current| self.model_state.windows[current].start)
    }

    /// Sets the text for everything that is decided from now on. It allocates nothing.
    ///
    /// # Errors
    /// [`Error::Input`] if the text is longer than [`SessionConfig::text_room`] or is another model's.
    pub fn set_text(&mut self, backend: &mut B, model: &Model<B>, text: Option<&Hidden>) -> Result<()> {
        self.model_state.set_text(backend, model, text)?;
        self.song.sampling.has_text = text.is_some_and(|text| text.len > 0);
        Ok(())
    }

    /// Whether guidance would change anything: the guidance scale is not 1, and there is a text, a clock,
    /// chords or an input stem that the model was trained to be guided by. A window has one lane or two from
    /// its start, so a change takes effect with the next window.
    pub fn guidance_applies(&self) -> bool {
        let song = &self.song;
        let input_stem = song.window_input().stem.is_some();
        let controls = song.setup.config.guides(
            song.transport.clock != Clock::Free,
            song.timeline.has_chords() || song.ear.chords,
            input_stem,
        );
        song.sampling.params.cfg != 1.0 && (song.sampling.has_text || controls)
    }

    /// Tokens sampled so far from logits of which none was finite. Each of them is code 0.
    pub fn faults(&mut self, backend: &mut B) -> u64 {
        self.model_state.windows.iter_mut().map(|w| u64::from(w.run().nonfinite_samples(backend))).sum()
    }

    /// Song time at which bar `bar` starts, in samples; not before the next frame to be decided.
    pub fn bar_at(&self, bar: i64) -> i64 {
        self.song.timeline.next(self.song.front * FRAME as i64, Boundary::Numbered(bar))
    }
}
