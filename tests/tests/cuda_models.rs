//! Whole models on the CUDA player, beside the CPU player: each scene is written once over [`Ops`] and played by both, the CUDA one
//! on a GPU on paper that runs the shipped PTX and checks every access (tests/fakecuda).

use sideman_engine::codec::Codec;
use sideman_engine::lm::{Lm, Pattern, Run, RunSpec};
use sideman_engine::text::Hidden;
use sideman_fakecuda::Fake;
use sideman_kernels::cpu::Cpu;
use sideman_kernels::cuda::Cuda;
use sideman_kernels::{Format, Ops, Sampling, UNKNOWN};
use sideman_tests::codecs::{Noise, signal};
use sideman_tests::golden;

/// Plays `scene` on the CUDA player of a driver as `words` say, and holds it to have met no fault.
fn on_paper<T>(words: &str, scene: impl FnOnce(&mut Cuda) -> T) -> T {
    let fake = Fake::load(words).unwrap();
    let mut cuda = Cuda::new(0).unwrap_or_else(|e| panic!("{e}"));
    let out = scene(&mut cuda);
    assert_eq!(cuda.fault(), None, "{words}: {:?}", fake.faults());
    drop(cuda);
    assert_eq!(fake.faults(), [""; 0], "{words}");
    out
}

fn close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{name}[{i}]: {g}, the CPU has {w}");
    }
}

/// A song as live play and edits make it: two lanes, a text that changes, a prefix, the bass forced and late, one step back.
struct Song {
    model: &'static str,
    format: Format,
    kv: Format,
    sampling: Sampling,
    block: usize,
}

const FRAMES: usize = 104;
const LAG: usize = 4;
const PREFIX: usize = 9;

impl Song {
    fn text(&self, dim: usize, seed: u64) -> Hidden {
        Hidden { len: 5, data: Noise(seed).values(5 * dim, 1.0) }
    }

    fn begin<O: Ops>(&self, ops: &mut O, lm: &Lm<O>) -> Run<O> {
        let config = lm.config();
        let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
        let player: Vec<bool> = config.streams.iter().map(|s| s.stem == config.stems[0]).collect();
        let delays = Pattern::lagged(&delays, &player, LAG);
        let text = config.text.as_ref().map(|t| self.text(t.dim, 1));
        let spec = RunSpec {
            songs: 1,
            guided: true,
            delays: &delays,
            frames: FRAMES,
            texts: &[text.as_ref()],
            text_room: 8,
            kv: self.kv,
            block: self.block,
            sampling: self.sampling,
        };
        let mut run = lm.run(ops, &spec).unwrap();
        let mut noise = Noise(7);
        for (k, stream) in config.streams.iter().enumerate() {
            let frames = if player[k] { FRAMES } else { PREFIX };
            let codes: Vec<i32> = (0..frames).map(|_| noise.below(stream.card) as i32).collect();
            run.put(ops, 0, k, 0, &codes).unwrap();
        }
        for (c, control) in config.controls.iter().enumerate() {
            let values: Vec<i32> = (0..FRAMES).map(|_| noise.below(control.card + 1) as i32).collect();
            run.control(ops, lm, c, 0, &values);
        }
        run
    }

    /// Tokens of all streams, then the logits of the last column.
    fn play<O: Ops>(&self, ops: &mut O) -> (Vec<Vec<i32>>, Vec<f32>) {
        let lm = Lm::load(ops, &golden::model(self.model), self.format).unwrap();
        let mut run = self.begin(ops, &lm);
        while run.next(ops, &lm, 60) > 0 {}
        run.rollback(ops, 45).unwrap();
        if let Some(text) = &lm.config().text {
            run.set_text(ops, &lm, 0, Some(&self.text(text.dim, 2))).unwrap();
        }
        while run.next(ops, &lm, run.grid().steps - 2) > 0 {}
        assert!(run.step(ops, &lm));
        let mut logits = vec![0.0; 2 * run.grid().cards.iter().sum::<usize>()];
        run.logits(ops, &mut logits);
        assert_eq!(run.faults(ops), 0);
        let row = |ops: &mut O, k| {
            let mut row = vec![UNKNOWN; FRAMES];
            run.codes(ops, 0, k, 0, &mut row);
            row
        };
        ((0..lm.config().streams.len()).map(|k| row(ops, k)).collect(), logits)
    }
}

const SAMPLING: Sampling = Sampling { temperature: 1.0, top_k: 40, top_p: 0.0, cfg: 3.0, seed: 7, frame_base: 0 };

#[test]
fn a_hundred_steps_have_the_tokens_of_the_cpu() {
    let nucleus = Sampling { temperature: 0.9, top_k: 0, top_p: 0.8, ..SAMPLING };
    for (model, format, kv, sampling, words) in [
        ("house", Format::Q8, Format::F32, SAMPLING, ["sm=75 order=reverse", "sm=80 lazy order=random seed=5"]),
        ("six", Format::F32, Format::F32, nucleus, ["sm=80", "sm=90 lazy races=0"]),
        ("six", Format::Bf16, Format::F32, Sampling { temperature: 0.0, ..SAMPLING }, ["sm=75 lazy", "sm=120 races=0"]),
    ] {
        let song = |block| Song { model, format, kv, sampling, block };
        let (tokens, logits) = song(16).play(&mut Cpu::new(1));
        for (words, block) in words.into_iter().zip([16, 1]) {
            let (on_gpu, near) = on_paper(words, |cuda| song(block).play(cuda));
            assert_eq!(on_gpu, tokens, "{model} {format:?} {words}");
            close(&format!("logits of {model} {format:?} {words}"), &near, &logits, 1e-4);
        }
    }
}

/// Blocks of any size and a fresh run after a rollback: the same bits on the GPU too, with a bf16 cache.
#[test]
fn prefill_is_steps_bit_for_bit() {
    on_paper("sm=80 lazy", |cuda| {
        let song = |block| Song { model: "house", format: Format::Bf16, kv: Format::Bf16, sampling: SAMPLING, block };
        let expected = song(1).play(cuda);
        assert_eq!(song(33).play(cuda), expected);
    });
}

/// Tensor cores in the prefill of a render: the processor's tokens still, and logits near.
#[test]
fn a_prefill_by_tensor_cores_has_the_tokens_of_the_cpu() {
    let song = |format| Song { model: "house", format, kv: Format::F32, sampling: SAMPLING, block: 64 };
    for (format, words) in [(Format::Bf16, "sm=80 lazy"), (Format::Q8, "sm=90 order=random")] {
        let (tokens, logits) = song(format).play(&mut Cpu::new(1));
        let (on_gpu, near) = on_paper(words, |cuda| {
            cuda.tiles(true);
            song(format).play(cuda)
        });
        assert_eq!(on_gpu, tokens, "{format:?}");
        close(&format!("logits, {format:?}"), &near, &logits, 1e-3);
    }
}

#[test]
fn a_step_is_one_graph_of_at_most_eight_kernels_a_layer() {
    on_paper("sm=80 lazy races=0", |cuda| {
        let song = Song { model: "house", format: Format::Q8, kv: Format::Bf16, sampling: SAMPLING, block: 1 };
        let lm = Lm::load(cuda, &golden::model(song.model), song.format).unwrap();
        let mut run = song.begin(cuda, &lm);
        let mut launches = Vec::new();
        for _ in 0..4 {
            let before = cuda.launches();
            assert!(run.step(cuda, &lm));
            launches.push(cuda.launches() - before);
        }
        // In the open, recorded, replayed, replayed.
        let layers = lm.config().lm.layers as u64;
        assert_eq!(launches, [8 * layers + 3, 8 * layers + 3, 0, 0]);
    });
}

/// Codes of a signal and samples of codes.
fn codec<O: Ops>(ops: &mut O, model: &str, stem: &str) -> (Vec<u32>, Vec<f32>) {
    let codec: Codec<O> = Codec::load(ops, &golden::model(model), stem).unwrap();
    let codes = codec.encode(ops, &signal(640 * 9 + 100, 3)).unwrap();
    let mut noise = Noise(4);
    let drawn: Vec<u32> = (0..8 * codec.books()).map(|_| noise.below(codec.card()) as u32).collect();
    let samples = codec.decode(ops, &drawn).unwrap();
    (codes, samples)
}

#[test]
fn codecs_have_the_codes_and_samples_of_the_cpu() {
    for (model, stem, words) in
        [("house", "drums", "sm=80 lazy"), ("six", "bass", "sm=75 order=random"), ("mono", "mix", "sm=80 races=0")]
    {
        let (codes, samples) = codec(&mut Cpu::new(1), model, stem);
        let (on_gpu, near) = on_paper(words, |cuda| codec(cuda, model, stem));
        assert_eq!(on_gpu, codes, "{model} {stem}");
        close(&format!("samples of {model} {stem}"), &near, &samples, 1e-4);
    }
}
