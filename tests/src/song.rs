//! A song as live play and edits make it, played by any player and so by two that can be compared: two lanes, a text that changes, a
//! prefix, the first stem forced and late, a step back.

use sideman_engine::lm::{Lm, Pattern, Run, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_engine::text::Hidden;
use sideman_kernels::{Backend, Format, Sampling, UNKNOWN};

use crate::codecs::Noise;

/// Frames by which the first stem is late.
const LAG: usize = 4;
/// Frames at the start that all stems have from elsewhere.
const PREFIX: usize = 9;

/// Top-k, guided.
pub const SAMPLING: Sampling = Sampling { temperature: 1.0, top_k: 40, top_p: 0.0, cfg: 3.0, seed: 7, frame_base: 0 };

/// What is played.
pub struct Song {
    /// By which model.
    pub model: ModelDir,
    /// How its weights are kept.
    pub format: Format,
    /// How keys and values are kept.
    pub kv: Format,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The most columns fed at once.
    pub block: usize,
    /// Frames of the song; those from a frame before its middle on are played twice, with another text.
    pub frames: usize,
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub struct Played {
    /// Tokens of each stream [streams][frames].
    pub tokens: Vec<Vec<i32>>,
    /// Logits of the last column, before guidance [2 lanes, Σ cards].
    pub logits: Vec<f32>,
}

impl Song {
    /// A song of 104 frames: a hundred steps and the longest delay.
    pub fn of(model: ModelDir, format: Format) -> Song {
        Song { model, format, kv: Format::F32, sampling: SAMPLING, block: 16, frames: 104 }
    }

    fn text(&self, dim: usize, seed: u64) -> Hidden {
        Hidden { len: 5, data: Noise(seed).values(5 * dim, 1.0) }
    }

    /// The run before its first step.
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
        let mut run = lm.run(backend, &spec).expect("the song fits the model");
        let mut noise = Noise(7);
        for (k, stream) in config.streams.iter().enumerate() {
            let frames = if input_stem[k] { self.frames } else { PREFIX };
            let codes: Vec<i32> = (0..frames).map(|_| noise.below(stream.card) as i32).collect();
            run.put(backend, 0, k, 0, &codes).expect("nothing is fed yet");
        }
        for (c, control) in config.controls.iter().enumerate() {
            let values: Vec<i32> = (0..self.frames).map(|_| noise.below(control.card + 1) as i32).collect();
            run.control(backend, lm, c, 0, &values);
        }
        run
    }

    /// Plays it: to past the middle, back to before it, another text, to the end.
    pub fn play<B: Backend>(&self, backend: &mut B) -> Played {
        let lm = Lm::load(backend, &self.model, self.format).unwrap_or_else(|e| panic!("{e}"));
        let mut run = self.begin(backend, &lm);
        let middle = self.frames / 2;
        while run.next(backend, &lm, middle + middle / 8 + 2) > 0 {}
        run.rollback(backend, middle - middle / 8 - 1).expect("that far it is fed");
        if let Some(text) = &lm.config().text {
            run.set_text(backend, &lm, 0, Some(&self.text(text.dim, 2))).expect("there is room for it");
        }
        while run.next(backend, &lm, run.grid().steps - 2) > 0 {}
        assert!(run.step(backend, &lm), "a last step");
        let mut logits = vec![0.0; 2 * run.grid().cards.iter().sum::<usize>()];
        run.logits(backend, &mut logits);
        assert_eq!(run.faults(backend), 0, "logits without a finite value");
        let mut tokens = vec![vec![UNKNOWN; self.frames]; lm.config().streams.len()];
        for (k, row) in tokens.iter_mut().enumerate() {
            run.codes(backend, 0, k, 0, row);
        }
        Played { tokens, logits }
    }
}
