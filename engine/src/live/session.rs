//! The session: samples of the player in, samples of the band out. See the head of [`crate::live`].

use sideman_kernels::{Backend, Sampling};

use super::click::Click;
use super::decode::silence;
use super::failover::HopStart;
use super::play::Next;
use super::schedule::Schedule;
use super::stem::Stems;
use super::timeline::{Boundary, Timeline};
use super::token_history::TokenHistory;
use super::window::{Role, Shape, Window};
use super::{Clock, Command, Mode, SessionConfig};
use crate::codec::{CHUNK, Codec, Decoder, Encoder};
use crate::error::{Error, Result};
use crate::limits::MAX_HOP;
use crate::lm::RunSpec;
use crate::model::{Config, FRAME, Model, Strategy};
use crate::text::Hidden;

/// An encoder that may listen.
pub(super) struct Ear<B: Backend> {
    encoder: Encoder<B>,
    pub on: bool,
    /// Frame of the song that its next code is for.
    pub next: i64,
}

/// A band that plays. See the module's head.
pub struct Session<B: Backend> {
    pub(super) config: Config,
    /// Look-ahead of the slowest encoder, frames.
    pub(super) ahead: i64,
    /// The lag that the lead is made of.
    pub(super) base_lag: usize,
    /// The lag in force from the next window on.
    pub(super) lag: usize,
    pub(super) lagged: bool,
    pub(super) shape: Shape,
    pub(super) block: usize,
    pub(super) lead: i64,
    /// Frames heard.
    pub(super) n: i64,
    /// The next frame of undelayed streams to be decided.
    pub(super) front: i64,

    pub(super) history: TokenHistory,
    pub(super) stems: Stems,
    pub(super) timeline: Timeline,
    pub(super) schedule: Schedule,
    pub(super) windows: [Window<B>; 2],
    /// The window that plays.
    pub(super) main: Option<usize>,
    /// The one that is primed.
    pub(super) next: Option<Next>,
    /// The band starts from nothing at this frame.
    pub(super) fresh: Option<i64>,
    /// It was taken over while it played ([`Session::take_over`]): it comes in again at a bar line.
    pub(super) resume: bool,
    /// Where the last hop began.
    pub(super) begun: HopStart,
    /// Frames of the player that a model that anticipates knows.
    pub(super) let_in: i64,

    pub(super) input_stem: Option<usize>,
    pub(super) mode: Mode,
    pub(super) clock: Clock,
    pub(super) playing: bool,
    pub(super) count_in: u32,
    pub(super) loop_bars: u32,
    /// Key as it was written; empty: not known.
    pub(super) key: String,
    /// Chords as they were written; empty: not known.
    pub(super) chart: String,
    pub(super) sampling: Sampling,
    /// Not given up by who runs the band.
    pub(super) guided: bool,
    /// There is a text.
    pub(super) texted: bool,
    /// How often something else was asked for.
    pub(super) salt: u64,
    /// Bolder dice before this frame.
    pub(super) fill_to: i64,
    pub(super) dim: f32,
    pub(super) click_on: bool,
    /// Samples of the count-in.
    pub(super) counted: (i64, i64),
    pub(super) message: String,

    pub(super) ears: Vec<Ear<B>>,
    pub(super) decoders: Vec<Decoder<B>>,
    pub(super) click: Click,
    codes: Vec<u32>,
    /// Frames of each stem that are decoded, how many of the last ones are silent, and the codes of this hop.
    pub(super) decoded: Vec<i64>,
    pub(super) quiet: Vec<usize>,
    pub(super) to_decode: Vec<Vec<u32>>,
    /// Samples decoded and not yet given.
    pub(super) fifo: Vec<Vec<f32>>,
    pub(super) out: Vec<Vec<f32>>,
    pub(super) levels: Vec<Vec<[f32; 2]>>,
    pub(super) clicks: Vec<f32>,
    /// Tokens of the hop, frame-major, from frame `tokens_from` on.
    pub(super) tokens: Vec<i32>,
    pub(super) tokens_from: i64,
    pub(super) heard_peak: f32,
}

/// Frames by which the slowest encoder is behind.
fn look_ahead<B: Backend>(codecs: &[Codec<B>]) -> i64 {
    let behind = |c: &Codec<B>| 1000 - c.known_frames(1000 * FRAME) as i64;
    codecs.iter().map(behind).max().unwrap_or(0)
}

impl<B: Backend> Session<B> {
    /// Lead of a session with this lag, in samples: how far the band's samples are ahead of the player's when they are decided. With A
    /// the look-ahead of the slowest encoder, D the largest delay of a stem's streams and H what its decoder holds back, it is the
    /// smallest (lag + 1 − A − D) · 640 − H of all stems. Below 0: the band would come too late by so much.
    pub fn lead_of(model: &Model<B>, lag: usize) -> i64 {
        let (config, heard) = (model.config(), 1000i64);
        let frames = heard + lag as i64 + 1 - look_ahead(&model.codecs);
        let stem = |(stem, codec): (&String, &Codec<B>)| {
            let delay = config.streams.iter().filter(|s| s.stem == *stem).map(|s| s.delay).max().unwrap_or(0);
            codec.known_samples((frames - delay as i64).max(0) as usize) as i64 - heard * FRAME as i64
        };
        config.stems.iter().zip(&model.codecs).map(stem).min().unwrap_or(0)
    }

    /// The smallest lag that leaves at least `lead` samples and that the model was trained for; none: there is none below 5 s.
    pub fn lag_for(model: &Model<B>, lead: i64) -> Option<usize> {
        let lags = model.config().live.as_ref().and_then(|l| l.lags).unwrap_or([0, 249]);
        (lags[0]..=lags[1]).find(|&lag| Self::lead_of(model, lag) >= lead)
    }

    /// Starts a session. `text` is `settings.text`, encoded; `None` if that is empty. If the band plays at once, its first frames are
    /// computed here: [`Session::stem`] then holds song time 0 to the lead.
    ///
    /// # Errors
    /// [`Error::Input`] from [`SessionConfig::validate`]; [`Error::Backend`] if the backend has not enough memory.
    pub fn new(backend: &mut B, model: &Model<B>, settings: &SessionConfig, text: Option<&Hidden>) -> Result<Self> {
        let config = model.config().clone();
        settings.validate(&config)?;
        // Every setting is named: one that is added and not used here does not compile.
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
            text_room,
            guided,
            temperature,
            top_k,
            top_p,
            cfg_scale,
            seed,
            block,
        } = settings;
        let shape = Shape::new(&config);
        let stems = config.stems.len();
        let largest = config.streams.iter().map(|s| s.delay).max().unwrap_or(0);
        let mut timeline = Timeline::new(bar1, tempo, meter);
        if let Some(chords) = settings.parsed_chords()? {
            timeline.set_chords(Some(chords), 1);
        }

        let ahead = look_ahead(&model.codecs);
        let lead = Self::lead_of(model, lag);
        let history = TokenHistory::new(&config, silence(backend, model)?);
        let delays = history.delays.clone();
        let run = RunSpec {
            songs: 1,
            guided,
            delays: &delays,
            // A stop at a window's end lets the delayed streams end.
            frames: shape.prefix + shape.frames + largest + 1,
            texts: &[text],
            text_room: text_room.max(text.map_or(0, |text| text.len)),
            kv: model.lm.cache(),
            block,
            sampling: Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 1.0, seed: 0, frame_base: 0 },
        };
        let windows = [Window::new(backend, &model.lm, &run, shape)?, Window::new(backend, &model.lm, &run, shape)?];
        let ear = |codec: &Codec<B>, backend: &mut B| -> Result<Ear<B>> {
            let mut encoder = codec.encoder(backend)?;
            encoder.warm_up(backend);
            Ok(Ear { encoder, on: false, next: 0 })
        };
        let voice = |codec: &Codec<B>, backend: &mut B| -> Result<Decoder<B>> {
            let mut decoder = codec.decoder(backend)?;
            decoder.warm_up(backend);
            Ok(decoder)
        };
        let most = (lag as i64 + largest as i64 + ahead) as usize + 2 * MAX_HOP + CHUNK;
        let vectors = |len: usize| (0..stems).map(|_| Vec::with_capacity(len)).collect::<Vec<Vec<f32>>>();
        let starts = playing.then_some(bar1.max(0).div_euclid(FRAME as i64));
        let counted = (timeline_before(&timeline, bar1, count_in), bar1);
        let mut session = Session {
            ahead,
            base_lag: lag,
            lag,
            lagged: config.live.as_ref().is_some_and(|l| l.strategy == Strategy::Lagged),
            shape,
            block,
            lead,
            n: 0,
            front: 0,
            stems: Stems::new(&history),
            timeline,
            schedule: Schedule::new(),
            windows,
            main: None,
            next: None,
            fresh: starts,
            resume: false,
            begun: HopStart::new(history.delays.len(), stems),
            let_in: 0,
            input_stem: input_stem.map(usize::from),
            mode: Mode::Follow,
            clock,
            playing,
            count_in,
            loop_bars: 4,
            key: String::new(),
            chart: chords.clone().unwrap_or_default(),
            sampling: Sampling { temperature, top_k, top_p, cfg: cfg_scale, seed, frame_base: 0 },
            guided: true,
            texted: text.is_some_and(|text| text.len > 0),
            salt: 0,
            fill_to: i64::MIN,
            dim: 0.0,
            click_on: click,
            counted: if playing { counted } else { (0, 0) },
            message: String::with_capacity(256),
            ears: model.codecs.iter().map(|codec| ear(codec, backend)).collect::<Result<_>>()?,
            decoders: model.codecs.iter().map(|codec| voice(codec, backend)).collect::<Result<_>>()?,
            click: Click::new(),
            codes: Vec::with_capacity(16 * (MAX_HOP + CHUNK)),
            decoded: vec![0; stems],
            quiet: vec![0; stems],
            to_decode: (0..stems).map(|_| Vec::with_capacity(16 * most)).collect(),
            fifo: vectors(most * FRAME + lead.unsigned_abs() as usize),
            out: vectors(most * FRAME),
            levels: (0..stems).map(|_| Vec::with_capacity(most)).collect(),
            clicks: Vec::with_capacity(most * FRAME),
            tokens: Vec::with_capacity(config.streams.len() * most),
            tokens_from: 0,
            heard_peak: 0.0,
            history,
            config,
        };
        if let Some(from) = starts {
            (session.stems.from, session.stems.to) = (from, i64::MAX);
        }
        session.listen(backend);
        session.voices(0);
        session.begin(backend, model)?;
        Ok(session)
    }

    /// Decides what can be decided before anything is heard, and gives song time 0..lead.
    fn begin(&mut self, backend: &mut B, model: &Model<B>) -> Result<()> {
        self.plan(backend, 0)?;
        self.prime(backend, model, usize::MAX)?;
        while self.front <= self.edge() {
            self.tick(backend, model)?;
        }
        self.decode(backend)?;
        let lead = self.lead.max(0);
        for fifo in &mut self.fifo {
            // Where the band is late, the samples before song time 0 are silence.
            let missing = (-self.lead).max(0) as usize;
            let old = fifo.len();
            fifo.resize(old + missing, 0.0);
            fifo.copy_within(0..old, missing);
            fifo[..missing].fill(0.0);
        }
        let mut t = 0;
        while t < lead {
            let n = (lead - t).min(FRAME as i64);
            self.sound(t, n);
            t += n;
        }
        self.give(lead as usize);
        Ok(())
    }

    /// Takes one hop of the player's samples, 1 to 25 frames of 640, and decides as many of the band's. Allocates nothing.
    ///
    /// # Errors
    /// The hop is no whole number of frames, or too long; nothing has been taken then.
    pub fn hop(&mut self, backend: &mut B, model: &Model<B>, heard: &[f32]) -> Result<()> {
        if heard.is_empty() || !heard.len().is_multiple_of(FRAME) || heard.len() > MAX_HOP * FRAME {
            return Err(Error::Input(format!("a hop of {} samples: 1 to {MAX_HOP} frames of {FRAME}", heard.len())));
        }
        self.clear();
        self.note();
        self.listen(backend);
        self.hear(backend, heard);
        for _ in 0..heard.len() / FRAME {
            let at = self.n * FRAME as i64 + self.lead;
            self.sound(at, FRAME as i64);
            self.n += 1;
            while self.front <= self.edge() {
                self.tick(backend, model)?;
            }
        }
        self.decode(backend)?;
        self.give(heard.len());
        Ok(())
    }

    /// The last frame of undelayed streams that can be decided.
    fn edge(&self) -> i64 {
        self.n + self.base_lag as i64 - self.ahead
    }

    /// Frames of the player that are known.
    pub(super) fn known(&self) -> i64 {
        (self.n - self.ahead).max(0)
    }

    fn clear(&mut self) {
        self.levels.iter_mut().for_each(Vec::clear);
        self.clicks.clear();
        self.tokens_from += (self.tokens.len() / self.history.delays.len()) as i64;
        self.tokens.clear();
    }

    /// Encodes what was heard, for every stem that the player plays or is about to play.
    fn hear(&mut self, backend: &mut B, heard: &[f32]) {
        let loud = |peak: f32, x: &f32| if x.is_finite() { peak.max(x.abs()) } else { peak };
        self.heard_peak = heard.iter().fold(0.0, loud);
        for (stem, ear) in self.ears.iter_mut().enumerate().filter(|(_, ear)| ear.on) {
            self.codes.clear();
            ear.encoder.push(backend, heard, &mut self.codes);
            let streams = self.history.streams[stem].len();
            for frame in 0..self.codes.len() / streams {
                for level in 0..streams {
                    let k = self.history.streams[stem][level];
                    self.history.hear(k, ear.next, self.codes[frame * streams + level] as i32);
                }
                ear.next += 1;
            }
        }
    }

    /// Listens to the stems that are the player's or are asked for, and to no others. What the new one played before counts as silence.
    fn listen(&mut self, backend: &mut B) {
        for stem in 0..self.ears.len() {
            let asked = |e: &mut super::schedule::Entry| matches!(e.request.command, Command::InputStem(Some(p)) if usize::from(p) == stem);
            let on = self.input_stem == Some(stem) || self.schedule.all().iter_mut().any(asked);
            let ear = &mut self.ears[stem];
            if on && !ear.on {
                self.codes.clear();
                ear.encoder.finish(backend, &mut self.codes);
                (ear.next, ear.on) = (self.n, on);
                self.history.forget(stem);
            }
            ear.on = on;
        }
    }

    /// Who plays what from the next window on.
    pub(super) fn role(&self) -> Role {
        let input_stem = self.input_stem.filter(|_| self.mode != Mode::Lead);
        Role { input_stem, lag: self.lagged.then_some(self.lag) }
    }

    /// Samples by which the band is ahead of what it has heard; constant.
    pub fn lead(&self) -> i64 {
        self.lead
    }

    /// Samples heard.
    pub fn heard_to(&self) -> i64 {
        self.n * FRAME as i64
    }

    /// What the last hop gave of a stem: as many samples as it was given, for song time from `heard_to before it + lead` on, before level
    /// and pan. The player's own stem is silence. Before the first hop: song time 0..lead.
    pub fn stem(&self, stem: usize) -> &[f32] {
        &self.out[stem]
    }

    /// Left and right gain at the end of each frame of those samples (before the first hop, the last frame may be shorter), to be
    /// reached in a straight line from the one before: level, pan, mute, solo, dip, and silence where the band doesn't play. 1 and 1 in the
    /// middle at 0 dB.
    pub fn levels(&self, stem: usize) -> &[[f32; 2]] {
        &self.levels[stem]
    }

    /// The metronome of those samples.
    pub fn click(&self) -> &[f32] {
        &self.clicks
    }

    /// Frames that the last hop has decided on every stream, the player's included: the first one's number, and tokens, all streams of a
    /// frame after another.
    pub fn tokens(&self) -> (i64, &[i32]) {
        (self.tokens_from, &self.tokens)
    }

    /// The token that a stream holds where its stem is silent.
    pub fn silence(&self, stream: usize) -> i32 {
        self.history.silence[stream]
    }

    /// Frame at which the window that plays begins, its history included; none: the model rests.
    pub fn window(&self) -> Option<i64> {
        self.main.map(|main| self.windows[main].start)
    }

    /// Sets the text for all that is decided from now on; allocates nothing.
    ///
    /// # Errors
    /// It is longer than the room that the configuration reserves, or of another model.
    pub fn set_text(&mut self, backend: &mut B, model: &Model<B>, text: Option<&Hidden>) -> Result<()> {
        for window in &mut self.windows {
            window.run().set_text(backend, &model.lm, 0, text)?;
        }
        self.texted = text.is_some_and(|text| text.len > 0);
        Ok(())
    }

    /// Whether there is something that guidance leans on: a text, the clock, chords, the player, as the model has learnt. A window is fed
    /// two lanes or one from its beginning, so a change shows with the next one.
    pub fn leans(&self) -> bool {
        let input_stem = self.input_stem.is_some() && self.mode != Mode::Lead;
        let told = self.config.guides(self.clock != Clock::Free, self.timeline.has_chords(), input_stem);
        self.sampling.cfg != 1.0 && (self.texted || told)
    }

    /// Draws without a finite logit so far, each mended by a code that can be played.
    pub fn faults(&mut self, backend: &mut B) -> u64 {
        self.windows.iter_mut().map(|w| u64::from(w.run().nonfinite_samples(backend))).sum()
    }

    /// Where bar `bar` begins, in song time; not before what is decided next.
    pub fn bar_at(&self, bar: i64) -> i64 {
        self.timeline.next(self.front * FRAME as i64, Boundary::Numbered(bar))
    }
}

/// Sample at which a count-in of `bars` bars before bar 1, at `bar1`, begins.
fn timeline_before(timeline: &Timeline, bar1: i64, bars: u32) -> i64 {
    let (num, den) = timeline.bar_len(bar1);
    bar1 - (i128::from(bars) * num).div_euclid(den) as i64
}
