//! One generation: its sequence of columns, with controls, texts, key-value cache and sampler.
//!
//! A slot of the sequence is *forced* (written by [`Run::put`]), *special* (the pattern has no frame there)
//! or *unknown*. An unknown slot is sampled when the column before it has been fed. [`Run::next`] feeds known
//! columns in blocks, and samples where something is unknown. A column can be written until it is fed.
//! [`Run::rollback`] returns to an earlier column without copying: live play writes the input stem's tokens
//! just before their column is fed, and rolls back where it predicted them wrongly.

mod forward;
mod inputs;

use sideman_kernels::{Backend, Format, Grid, Sampling, UNKNOWN};

use super::Lm;
use super::pattern::Pattern;
use super::state::State;
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
    /// Room for a text, in tokens, so that [`Run::set_text`] can set it later. At least the texts above fit
    /// in any case.
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

    /// Logits of the column fed last by [`Run::step`]: lane after lane, stream after stream [lanes, Σ cards];
    /// before guidance.
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
