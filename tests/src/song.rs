//! A song that uses every feature of a language model run, sampled on any backend so that backends can be compared: guidance, a prefix,
//! an input stem with a lag, a rollback, and a text that changes.

use sideman_engine::lm::{Lm, Pattern, Run, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_engine::text::Hidden;
use sideman_kernels::{Backend, Format, Sampling, UNKNOWN};

use crate::rng::Rng;

/// Lag of the input stem in frames.
const LAG: usize = 4;
/// Frames at the start that are given for all stems.
const PREFIX: usize = 9;

/// Top-k sampling with guidance.
pub const SAMPLING: Sampling = Sampling { temperature: 1.0, top_k: 40, top_p: 0.0, cfg: 3.0, seed: 7, frame_base: 0 };

/// What to sample.
pub struct Song {
    /// The model.
    pub model: ModelDir,
    /// The format of its weights.
    pub format: Format,
    /// The format of the key and value cache.
    pub kv: Format,
    /// How tokens are sampled.
    pub sampling: Sampling,
    /// The most columns in one forward pass.
    pub block: usize,
    /// Frames of the song. The second half, and a few frames before it, are sampled twice, the second time with another text.
    pub frames: usize,
}

/// The result of [`Song::sample`].
#[derive(Debug, PartialEq)]
pub struct Sampled {
    /// Tokens, `[streams][frames]`.
    pub tokens: Vec<Vec<i32>>,
    /// Logits of the last column, before guidance [2 lanes, Σ cards].
    pub logits: Vec<f32>,
}

impl Song {
    /// A song of 104 frames: a hundred steps and the longest delay.
    pub fn new(model: ModelDir, format: Format) -> Song {
        Song { model, format, kv: Format::F32, sampling: SAMPLING, block: 16, frames: 104 }
    }

    fn text(&self, dim: usize, seed: u64) -> Hidden {
        Hidden { len: 5, data: Rng(seed).values(5 * dim, 1.0) }
    }

    /// The run before its first step, with the prefix, the input stem and the controls written.
    pub fn begin<B: Backend>(&self, backend: &mut B, lm: &Lm<B>) -> Run<B> {
        let config = lm.config();
        let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
        let input_stem: Vec<bool> = config.streams.iter().map(|s| s.stem == config.stems[0]).collect();
        let delays = Pattern::lagged(&delays, &input_stem, LAG);
        let text = config.text.as_ref().map(|t| self.text(t.dim, 1));
        let spec = RunSpec {
            songs: 1,
            guided: true,
            delays: &delays,
            frames: self.frames,
            texts: &[text.as_ref()],
            text_room: 8,
            kv: self.kv,
            block: self.block,
            sampling: self.sampling,
        };
        let mut run = lm.run(backend, &spec).expect("the model can run the song");
        let mut rng = Rng(7);
        for (k, stream) in config.streams.iter().enumerate() {
            let frames = if input_stem[k] { self.frames } else { PREFIX };
            let codes: Vec<i32> = (0..frames).map(|_| rng.below(stream.card) as i32).collect();
            run.put(backend, 0, k, 0, &codes).expect("no column has been computed yet");
        }
        for (c, control) in config.controls.iter().enumerate() {
            let values: Vec<i32> = (0..self.frames).map(|_| rng.below(control.card + 1) as i32).collect();
            run.control(backend, lm, c, 0, &values);
        }
        run
    }

    /// Samples the song: to past the middle, back to before it, then with another text to the end.
    pub fn sample<B: Backend>(&self, backend: &mut B) -> Sampled {
        let lm = Lm::load(backend, &self.model, self.format).unwrap_or_else(|e| panic!("{e}"));
        let mut run = self.begin(backend, &lm);
        let middle = self.frames / 2;
        while run.next(backend, &lm, middle + middle / 8 + 2) > 0 {}
        run.rollback(backend, middle - middle / 8 - 1).expect("the run has passed this step");
        if let Some(text) = &lm.config().text {
            run.set_text(backend, &lm, 0, Some(&self.text(text.dim, 2))).expect("text_room fits the text");
        }
        while run.next(backend, &lm, run.grid().steps - 2) > 0 {}
        assert!(run.step(backend, &lm), "the last step is missing");
        let mut logits = vec![0.0; 2 * run.grid().cards.iter().sum::<usize>()];
        run.logits(backend, &mut logits);
        assert_eq!(run.nonfinite_samples(backend), 0, "logits without any finite value");
        let mut tokens = vec![vec![UNKNOWN; self.frames]; lm.config().streams.len()];
        for (k, row) in tokens.iter_mut().enumerate() {
            run.codes(backend, 0, k, 0, row);
        }
        Sampled { tokens, logits }
    }
}
