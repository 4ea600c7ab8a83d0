//! Whole models on the CUDA player, beside the CPU player: each scene is written once over [`Backend`] and played by both, the CUDA one
//! on a GPU on paper that runs the shipped PTX and checks every access (tests/fakecuda).

use sideman_engine::codec::Codec;
use sideman_engine::lm::Lm;
use sideman_fakecuda::Fake;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Backend, Format, Sampling};
use sideman_tests::codecs::{Noise, signal};
use sideman_tests::golden;
use sideman_tests::song::{SAMPLING, Song};

/// Plays `scene` on the CUDA player of a driver as `words` say, and holds it to have met no fault.
fn on_paper<T>(words: &str, scene: impl FnOnce(&mut CudaBackend) -> T) -> T {
    let fake = Fake::load(words).unwrap();
    let mut cuda = CudaBackend::new(0).unwrap_or_else(|e| panic!("{e}"));
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

#[test]
fn a_hundred_steps_have_the_tokens_of_the_cpu() {
    let nucleus = Sampling { temperature: 0.9, top_k: 0, top_p: 0.8, ..SAMPLING };
    for (model, format, sampling, words) in [
        ("house", Format::Q8, SAMPLING, ["sm=75 order=reverse", "sm=80 lazy order=random seed=5"]),
        ("house", Format::Q4, SAMPLING, ["sm=75 lazy order=random seed=2", "sm=80 order=reverse"]),
        ("six", Format::F32, nucleus, ["sm=80", "sm=90 lazy races=0"]),
        ("six", Format::Bf16, Sampling { temperature: 0.0, ..SAMPLING }, ["sm=75 lazy", "sm=120 races=0"]),
    ] {
        let song = |block| Song { sampling, block, ..Song::of(golden::model(model), format) };
        let want = song(16).play(&mut CpuBackend::new(1));
        for (words, block) in words.into_iter().zip([16, 1]) {
            let got = on_paper(words, |cuda| song(block).play(cuda));
            assert_eq!(got.tokens, want.tokens, "{model} {format:?} {words}");
            close(&format!("logits of {model} {format:?} {words}"), &got.logits, &want.logits, 1e-4);
        }
    }
}

/// Blocks of any size and a fresh run after a rollback: the same bits on the GPU too, with a bf16 cache.
#[test]
fn prefill_is_steps_bit_for_bit() {
    on_paper("sm=80 lazy", |cuda| {
        let song = |block| Song { kv: Format::Bf16, block, ..Song::of(golden::model("house"), Format::Bf16) };
        let expected = song(1).play(cuda);
        assert_eq!(song(33).play(cuda), expected);
    });
}

/// Tensor cores in the prefill of a render: the processor's tokens still, and logits near.
#[test]
fn a_prefill_by_tensor_cores_has_the_tokens_of_the_cpu() {
    let song = |format| Song { block: 64, ..Song::of(golden::model("house"), format) };
    for (format, words) in [(Format::Bf16, "sm=80 lazy"), (Format::Q8, "sm=90 order=random"), (Format::Q4, "sm=80 order=reverse")]
    {
        let want = song(format).play(&mut CpuBackend::new(1));
        let got = on_paper(words, |cuda| {
            cuda.tiles(true);
            song(format).play(cuda)
        });
        assert_eq!(got.tokens, want.tokens, "{format:?}");
        close(&format!("logits, {format:?}"), &got.logits, &want.logits, 1e-3);
    }
}

#[test]
fn a_step_is_one_graph_of_at_most_eight_kernels_a_layer() {
    on_paper("sm=80 lazy races=0", |cuda| {
        let song = Song { kv: Format::Bf16, block: 1, ..Song::of(golden::model("house"), Format::Q8) };
        let lm = Lm::load(cuda, &song.model, song.format).unwrap();
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
fn codec<B: Backend>(backend: &mut B, model: &str, stem: &str) -> (Vec<u32>, Vec<f32>) {
    let codec: Codec<B> = Codec::load(backend, &golden::model(model), stem).unwrap();
    let codes = codec.encode(backend, &signal(640 * 9 + 100, 3)).unwrap();
    let mut noise = Noise(4);
    let drawn: Vec<u32> = (0..8 * codec.books()).map(|_| noise.below(codec.card()) as u32).collect();
    let samples = codec.decode(backend, &drawn).unwrap();
    (codes, samples)
}

#[test]
fn codecs_have_the_codes_and_samples_of_the_cpu() {
    for (model, stem, words) in
        [("house", "drums", "sm=80 lazy"), ("six", "bass", "sm=75 order=random"), ("mono", "mix", "sm=80 races=0")]
    {
        let (codes, samples) = codec(&mut CpuBackend::new(1), model, stem);
        let (on_gpu, near) = on_paper(words, |cuda| codec(cuda, model, stem));
        assert_eq!(on_gpu, codes, "{model} {stem}");
        close(&format!("samples of {model} {stem}"), &near, &samples, 1e-4);
    }
}
