//! Models of full width on the CUDA backend against the CPU backend, in the PTX emulator (tests/fakecuda): the house model, and one as wide
//! as MusicGen medium.

use std::path::Path;
use std::time::Instant;

use sideman_engine::model::ModelDir;
use sideman_fakecuda::Fake;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Activations, Backend, Format};
use sideman_tests::medium;
use sideman_tests::song::Song;

/// Emulator settings: both PTX targets, eager and lazy execution, blocks in reverse and random order; all look for races.
const SETTINGS: [&str; 4] =
    ["sm=80 lazy order=random seed=5", "sm=75 order=reverse", "sm=75 lazy order=random seed=6", "sm=80 order=reverse"];

fn house() -> ModelDir {
    ModelDir::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/house")).unwrap_or_else(|e| panic!("{e}"))
}

/// Samples the song on the CPU and, with each of the emulator's settings, on the CUDA backend: in blocks and column by column. Asserts that
/// the tokens are equal and the last column's logits close.
fn compare_backends(song: &Song, all_settings: &[&str]) {
    // The CUDA backend multiplies by activations in f32.
    let want = song.sample(&mut CpuBackend::new(1).with_activations(Activations::F32));
    let last = want.tokens.last().expect("streams");
    assert!(last.windows(2).any(|w| w[0] != w[1]), "the tokens never change");
    for (settings, block) in all_settings.iter().zip([16, 1].into_iter().cycle()) {
        let start = Instant::now();
        let fake = Fake::load(settings).unwrap();
        let mut cuda = CudaBackend::new(0).unwrap();
        let song = Song { block, model: song.model.clone(), ..*song };
        let got = song.sample(&mut cuda);
        assert_eq!(cuda.failure(), None, "{settings}: {:?}", fake.faults());
        drop(cuda);
        assert_eq!(fake.faults(), [""; 0], "{settings}");
        assert_eq!(got.tokens, want.tokens, "{settings}");
        let error = got.logits.iter().zip(&want.logits).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f32::max);
        println!("{} frames, {settings}: logits within {error:e}, {:.0} s", song.frames, start.elapsed().as_secs_f32());
        assert!(error <= 1e-4, "{settings}: logits differ by {error:e}");
    }
}

#[test]
fn the_house_model_has_the_tokens_of_the_cpu() {
    compare_backends(&Song { frames: 12, ..Song::new(house(), Format::Q8) }, &SETTINGS[..1]);
}

#[test]
#[ignore = "takes minutes in the emulator: docs/explanation/cuda.md has the command"]
fn a_hundred_steps_of_the_house_model_have_the_tokens_of_the_cpu() {
    compare_backends(&Song::new(house(), Format::Q8), &SETTINGS);
}

/// Compares the backends on two layers as wide as MusicGen medium, with the first `count` of [`SETTINGS`].
fn compare_medium(frames: usize, count: usize) {
    let dir = tempfile::tempdir().unwrap();
    medium::write(dir.path(), 2).unwrap();
    compare_backends(&Song { frames, ..Song::new(ModelDir::open(dir.path()).unwrap(), Format::Bf16) }, &SETTINGS[..count]);
}

/// Few frames, because a step takes about six seconds. 16 are enough for the prefix, the lag, the rollback and both texts.
#[test]
#[ignore = "takes minutes in the emulator: docs/explanation/cuda.md has the command"]
fn a_model_of_medium_width_has_the_tokens_of_the_cpu() {
    compare_medium(16, 2);
}

#[test]
#[ignore = "takes a quarter of an hour in the emulator: docs/explanation/cuda.md has the command"]
fn a_hundred_steps_of_medium_width_have_the_tokens_of_the_cpu() {
    compare_medium(104, 1);
}
