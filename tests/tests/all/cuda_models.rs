//! Whole models on the CUDA backend against the CPU backend, in the PTX emulator (tests/fakecuda), which runs the shipped PTX and checks
//! every memory access.

use sideman_engine::codec::Codec;
use sideman_engine::lm::Lm;
use sideman_fakecuda::Fake;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Activations, Backend, Format, Sampling};
use sideman_tests::codecs::signal;
use sideman_tests::golden;
use sideman_tests::rng::Rng;
use sideman_tests::song::{SAMPLING, Song};

/// Runs `work` on the CUDA backend in an emulator that `settings` configures, and asserts that the emulator found no fault.
fn in_emulator<T>(settings: &str, work: impl FnOnce(&mut CudaBackend) -> T) -> T {
    let fake = Fake::load(settings).unwrap();
    let mut cuda = CudaBackend::new(0).unwrap_or_else(|e| panic!("{e}"));
    let out = work(&mut cuda);
    assert_eq!(cuda.failure(), None, "{settings}: {:?}", fake.faults());
    drop(cuda);
    assert_eq!(fake.faults(), [""; 0], "{settings}");
    out
}

fn close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{name}[{i}]: {g}; the CPU has {w}");
    }
}

/// The CPU, with products as the CUDA backend has them: by activations in f32.
fn in_f32() -> CpuBackend {
    CpuBackend::new(1).with_activations(Activations::F32)
}

#[test]
fn a_hundred_steps_have_the_tokens_of_the_cpu() {
    let nucleus = Sampling { temperature: 0.9, top_k: 0, top_p: 0.8, ..SAMPLING };
    for (model, format, sampling, settings) in [
        ("house", Format::Q8, SAMPLING, ["sm=75 order=reverse", "sm=80 lazy order=random seed=5"]),
        ("house", Format::Q4, SAMPLING, ["sm=75 lazy order=random seed=2", "sm=80 order=reverse"]),
        ("six", Format::F32, nucleus, ["sm=80", "sm=90 lazy races=0"]),
        ("six", Format::Bf16, Sampling { temperature: 0.0, ..SAMPLING }, ["sm=75 lazy", "sm=120 races=0"]),
    ] {
        let song = |block| Song { sampling, block, ..Song::new(golden::model(model), format) };
        let want = song(16).sample(&mut in_f32());
        for (settings, block) in settings.into_iter().zip([16, 1]) {
            let got = in_emulator(settings, |cuda| song(block).sample(cuda));
            assert_eq!(got.tokens, want.tokens, "{model} {format:?} {settings}");
            close(&format!("logits of {model} {format:?} {settings}"), &got.logits, &want.logits, 1e-4);
        }
    }
}

#[test]
fn prefill_in_blocks_gives_the_same_bits_as_single_steps() {
    in_emulator("sm=80 lazy", |cuda| {
        let song = |block| Song { kv: Format::Bf16, block, ..Song::new(golden::model("house"), Format::Bf16) };
        let expected = song(1).sample(cuda);
        assert_eq!(song(33).sample(cuda), expected);
    });
}

/// The prefill of a render may use tensor cores, whose sums round differently.
#[test]
fn a_prefill_on_tensor_cores_has_the_tokens_of_the_cpu() {
    let song = |format| Song { block: 64, ..Song::new(golden::model("house"), format) };
    for (format, settings) in
        [(Format::Bf16, "sm=80 lazy"), (Format::Q8, "sm=90 order=random"), (Format::Q4, "sm=80 order=reverse")]
    {
        let want = song(format).sample(&mut in_f32());
        let got = in_emulator(settings, |cuda| {
            cuda.tiles(true);
            song(format).sample(cuda)
        });
        assert_eq!(got.tokens, want.tokens, "{format:?}");
        close(&format!("logits, {format:?}"), &got.logits, &want.logits, 1e-3);
    }
}

#[test]
fn a_step_is_one_graph_of_at_most_eight_kernels_a_layer() {
    in_emulator("sm=80 lazy races=0", |cuda| {
        let song = Song { kv: Format::Bf16, block: 1, ..Song::new(golden::model("house"), Format::Q8) };
        let lm = Lm::load(cuda, &song.model, song.format).unwrap();
        let mut run = song.begin(cuda, &lm);
        let mut launches = Vec::new();
        for _ in 0..4 {
            let before = cuda.launches();
            assert!(run.step(cuda, &lm));
            launches.push(cuda.launches() - before);
        }
        // Launched, recorded as a graph, replayed, replayed.
        let layers = lm.config().lm.layers as u64;
        assert_eq!(launches, [8 * layers + 3, 8 * layers + 3, 0, 0]);
    });
}

/// Encodes a signal and decodes random codes.
fn encode_and_decode<B: Backend>(backend: &mut B, model: &str, stem: &str) -> (Vec<u32>, Vec<f32>) {
    let codec: Codec<B> = Codec::load(backend, &golden::model(model), stem).unwrap();
    let codes = codec.encode(backend, &signal(640 * 9 + 100, 3)).unwrap();
    let mut rng = Rng(4);
    let random: Vec<u32> = (0..8 * codec.books()).map(|_| rng.below(codec.card()) as u32).collect();
    let samples = codec.decode(backend, &random).unwrap();
    (codes, samples)
}

#[test]
fn codecs_have_the_codes_and_samples_of_the_cpu() {
    for (model, stem, settings) in
        [("house", "drums", "sm=80 lazy"), ("six", "bass", "sm=75 order=random"), ("mono", "mix", "sm=80 races=0")]
    {
        let (codes, samples) = encode_and_decode(&mut CpuBackend::new(1), model, stem);
        let (gpu_codes, gpu_samples) = in_emulator(settings, |cuda| encode_and_decode(cuda, model, stem));
        assert_eq!(gpu_codes, codes, "{model} {stem}");
        close(&format!("samples of {model} {stem}"), &gpu_samples, &samples, 1e-4);
    }
}
