//! One generation: its sequence of columns, with controls, texts, key-value cache and sampler.
//!
//! A slot of the sequence is *forced* (written by [`Run::put`]), *special* (the pattern has no frame there) or *unknown*. An
//! unknown slot is sampled when the column before it has been fed. [`Run::next`] feeds known columns in blocks, and samples where
//! something is unknown. A column can be written until it is fed. [`Run::rollback`] unfeeds columns without copying: live play
//! writes the input stem's tokens just before their column is fed, and rolls back where it predicted them wrongly.

use sideman_kernels::{Backend, Format, Grid, LaneText, Rows, Sampling, UNKNOWN};

use super::pattern::Pattern;
use super::state::State;
use super::{Lm, step};
use crate::error::{Error, Result};
use crate::text::Hidden;

/// The most tokens of a text.
pub const MAX_TEXT: usize = 512;

/// Parameters of a run.
#[derive(Debug, Clone)]
pub struct RunSpec<'a> {
    /// Songs generated side by side (variations); 1 or more.
    pub songs: usize,
    /// Two lanes a song, conditioned and null. Needed where `cfg` isn't 1 and there is a text.
    pub guided: bool,
    /// Delay of each stream (lag included: [`Pattern::lagged`]).
    pub delays: &'a [usize],
    /// Frames of the grid (prefix and transition included).
    pub frames: usize,
    /// Text of each song. Songs beyond the end of the list have none.
    pub texts: &'a [Option<&'a Hidden>],
    /// Room for a text, in tokens, so that [`Run::set_text`] can set it later. At least the texts above fit in any case.
    pub text_room: usize,
    /// Format of the cache: f32, or bf16 at half the memory.
    pub kv: Format,
    /// The most columns that are fed at a time.
    pub block: usize,
    /// Sampling parameters at the start.
    pub sampling: Sampling,
}

/// One generation of one or more songs, step by step together. Use it with the [`Lm`] that made it.
pub struct Run<B: Backend> {
    grid: Grid,
    pattern: Pattern,
    state: State<B>,
    block: usize,
    /// The sequence without sampled tokens [songs, streams, steps]: forced tokens, special ids, UNKNOWN.
    plan: Vec<i32>,
    /// Columns fed; the host's copy of `state.pos`.
    at: usize,
    text_room: usize,
    /// The grid and the sampler without guidance, in a guided run of one song ([`Run::guide`]).
    plain: Option<(Grid, B::Sampler)>,
    guided: bool,
    /// What the backend has recorded of feeding one column, by (guidance off, with sampling).
    graphs: B::Graphs,
}

impl<B: Backend> Run<B> {
    pub(super) fn new(backend: &mut B, lm: &Lm<B>, spec: &RunSpec) -> Result<Self> {
        let config = lm.config();
        if spec.songs == 0 || spec.block == 0 || spec.frames == 0 {
            return Err(Error::Input("a run needs at least one song, one frame and blocks of at least one column".into()));
        }
        if spec.delays.len() != config.streams.len() {
            let what = format!("{} delays for a model of {} streams", spec.delays.len(), config.streams.len());
            return Err(Error::Input(what));
        }
        let longest = spec.texts.iter().flatten().map(|t| t.len).max().unwrap_or(0).max(spec.text_room);
        let text_room = if config.text.is_some() { longest } else { 0 };
        let pattern = Pattern::new(spec.delays, spec.frames);
        let cards: Vec<usize> = config.streams.iter().map(|s| s.card).collect();
        let specials: Vec<i32> = cards.iter().map(|&c| c as i32).collect();
        let grid = Grid {
            songs: spec.songs,
            branches: if spec.guided { 2 } else { 1 },
            cards,
            delays: spec.delays.to_vec(),
            cfg_scale: config.streams.iter().map(|s| config.sampling.cfg_scale.get(&s.stem).copied().unwrap_or(1.0)).collect(),
            steps: pattern.steps(),
        };
        let mut state = State::new(backend, config, &grid, text_room, spec.kv, spec.block)?;
        let unknown = vec![UNKNOWN; pattern.streams() * spec.frames];
        let plan = pattern.lay_out(&unknown, &specials).repeat(spec.songs);
        backend.write_ints(&mut state.seq, 0, &plan);
        for row in 0..grid.branches * config.controls.len() {
            let control = &config.controls[row % config.controls.len()];
            backend.write_ints(&mut state.ctl, row * grid.steps, &vec![control.card as i32; grid.steps]);
        }
        backend.set_sampling(&mut state.sampler, &spec.sampling);
        let plain = if spec.guided && spec.songs == 1 {
            let plain = Grid { branches: 1, ..grid.clone() };
            let mut sampler = backend.sampler(&plain)?;
            backend.set_sampling(&mut sampler, &spec.sampling);
            Some((plain, sampler))
        } else {
            None
        };
        let mut run = Run {
            grid,
            pattern,
            state,
            block: spec.block,
            plan,
            at: 0,
            text_room,
            plain,
            guided: true,
            graphs: B::Graphs::default(),
        };
        for (song, text) in spec.texts.iter().enumerate().take(spec.songs) {
            run.set_text(backend, lm, song, *text)?;
        }
        Ok(run)
    }

    /// The run's pattern.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Songs and lanes, cards and delays.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Columns fed so far. Column `at()` is fed next, and all of it is known.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Changes the sampling parameters from now on.
    pub fn set_sampling(&mut self, backend: &mut B, sampling: &Sampling) {
        backend.set_sampling(&mut self.state.sampler, sampling);
        if let Some((_, sampler)) = &mut self.plain {
            backend.set_sampling(sampler, sampling);
        }
    }

    /// Switches guidance off (which halves the work) or on; only in a run of one song. Columns fed without guidance are missing in
    /// the null lane, so switch it on only before anything is fed.
    pub fn guide(&mut self, guided: bool) {
        self.guided = guided;
    }

    /// Sets the text of a song for every column fed from now on. Allocates nothing. `None`, or a text of no tokens, is the null
    /// condition.
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

    /// Forces `codes` on `stream` of `song` from grid frame `frame` on. The special id (the stream's `card`) hides a frame; UNKNOWN
    /// makes a slot unknown again.
    ///
    /// # Errors
    /// A code out of range, frames past the grid, or a column that has been fed already (or is the next one, and would be unknown).
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

    /// Sets control `control` (in the order of the configuration) from grid frame `frame` on. A value out of the control's
    /// range, such as −1, is its null value. Values of columns past the sequence are dropped. A control that guides is null in
    /// the null lane.
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

    /// Masks streams in the null lane, so that guidance strengthens their influence: the input stem's, in a model trained for it.
    pub fn mask_null_lane(&mut self, backend: &mut B, masked: impl Fn(usize) -> bool) {
        for k in 0..self.pattern.streams() {
            if self.grid.branches > 1 {
                backend.write_ints(&mut self.state.masked, self.pattern.streams() + k, &[i32::from(masked(k))]);
            }
        }
    }

    /// Feeds the next column and samples the unknown slots of the one after it; computes logits in any case ([`Run::logits`]).
    /// False where no column is left whose successor can be sampled.
    pub fn step(&mut self, backend: &mut B, lm: &Lm<B>) -> bool {
        if self.at + 1 >= self.grid.steps {
            return false;
        }
        self.feed(backend, lm, 1, true);
        true
    }

    /// Feeds columns below `limit`: as many known ones as a block takes. Then samples the next column where something in it is
    /// unknown. Gives the number of columns fed, 0 where `limit` or the end is reached. Any block size gives the same bits.
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

    /// Feeds a few columns and takes them back, so that a backend that records graphs has recorded every kind of step, and no
    /// later step allocates. Call it before anything is fed. Does nothing on other backends.
    ///
    /// # Errors
    /// Those of [`Run::rollback`].
    pub fn warm_up(&mut self, backend: &mut B, lm: &Lm<B>) -> Result<()> {
        if B::GRAPH_SIZES.is_empty() {
            return Ok(());
        }
        let guided = self.guided;
        for with in [true, false] {
            self.guided = with;
            for samples in [false, true] {
                // The first run lets scratch memory grow, the second is recorded.
                for _ in 0..2 {
                    self.at = 0;
                    backend.write_ints(&mut self.state.pos, 0, &[0]);
                    self.feed(backend, lm, 1, samples);
                }
            }
        }
        self.guided = guided;
        self.rollback(backend, 0)
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

    /// Unfeeds columns: `step` is the next one to be fed. It keeps its tokens (and can be written). Tokens sampled after it are
    /// unknown again, forced ones stay. Nothing is copied in the cache.
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

    /// Tokens of column `step` into `tokens` [songs, streams]; UNKNOWN where they are not sampled yet.
    pub fn column(&self, backend: &mut B, step: usize, tokens: &mut [i32]) {
        for (row, token) in tokens.iter_mut().enumerate() {
            backend.read_ints(&self.state.seq, row * self.grid.steps + step, std::slice::from_mut(token));
        }
    }

    /// Tokens of frames `frame..` of one stream into `codes`.
    pub fn codes(&self, backend: &mut B, song: usize, stream: usize, frame: usize, codes: &mut [i32]) {
        let at = self.row(song, stream) + self.pattern.step(stream, frame);
        backend.read_ints(&self.state.seq, at, codes);
    }

    /// Logits of the column fed last by [`Run::step`]: lane after lane, stream after stream [lanes, Σ cards]; before guidance.
    pub fn logits(&self, backend: &mut B, logits: &mut [f32]) {
        backend.read(&self.state.logits, 0, logits);
    }

    /// Number of tokens that were sampled from logits without a finite value.
    pub fn nonfinite_samples(&self, backend: &mut B) -> u32 {
        let plain = self.plain.as_ref().map_or(0, |(_, sampler)| backend.nonfinite_samples(sampler));
        plain + backend.nonfinite_samples(&self.state.sampler)
    }

    /// Index of the first slot of a stream in the sequence.
    fn row(&self, song: usize, stream: usize) -> usize {
        (song * self.pattern.streams() + stream) * self.grid.steps
    }
}
