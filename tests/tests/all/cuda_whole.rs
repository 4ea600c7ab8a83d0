//! Whole models of real size on a GPU on paper that runs the shipped PTX and checks every access (tests/fakecuda): the trained house
//! model and one as wide as medium have the processor's tokens.

use std::path::Path;
use std::time::Instant;

use sideman_engine::model::ModelDir;
use sideman_fakecuda::Fake;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Backend, Format};
use sideman_tests::medium;
use sideman_tests::song::Song;

/// Both kinds of PTX, eager and lazy, blocks in reverse and random order, races looked for in all.
const WORDS: [&str; 4] =
    ["sm=80 lazy order=random seed=5", "sm=75 order=reverse", "sm=75 lazy order=random seed=6", "sm=80 order=reverse"];

fn house() -> ModelDir {
    ModelDir::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/house")).unwrap_or_else(|e| panic!("{e}"))
}

/// Plays the song on the processor, then as each of `words` say, in blocks and column by column, and holds tokens to be equal and the
/// last column's logits to be near.
fn held(song: &Song, words: &[&str]) {
    let want = song.play(&mut CpuBackend::new(1));
    let drawn = want.tokens.last().expect("streams");
    assert!(drawn.windows(2).any(|w| w[0] != w[1]), "one token all along: nothing is compared");
    for (words, block) in words.iter().zip([16, 1].into_iter().cycle()) {
        let begun = Instant::now();
        let fake = Fake::load(words).unwrap();
        let mut cuda = CudaBackend::new(0).unwrap();
        let song = Song { block, model: song.model.clone(), ..*song };
        let got = song.play(&mut cuda);
        assert_eq!(cuda.fault(), None, "{words}: {:?}", fake.faults());
        drop(cuda);
        assert_eq!(fake.faults(), [""; 0], "{words}");
        assert_eq!(got.tokens, want.tokens, "{words}");
        let off = got.logits.iter().zip(&want.logits).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f32::max);
        println!("{} frames, {words}: logits within {off:e}, {:.0} s", song.frames, begun.elapsed().as_secs_f32());
        assert!(off <= 1e-4, "{words}: logits {off:e} apart");
    }
}

#[test]
fn the_trained_model_has_the_tokens_of_the_cpu() {
    held(&Song { frames: 12, ..Song::of(house(), Format::Q8) }, &WORDS[..1]);
}

#[test]
#[ignore = "takes minutes on an interpreter: docs/explanation/cuda.md has the command"]
fn a_hundred_steps_of_the_trained_model_have_the_tokens_of_the_cpu() {
    held(&Song::of(house(), Format::Q8), &WORDS);
}

/// Two layers as wide as medium; `devices` of [`WORDS`].
fn medium_held(frames: usize, devices: usize) {
    let dir = tempfile::tempdir().unwrap();
    medium::write(dir.path(), 2).unwrap();
    held(&Song { frames, ..Song::of(ModelDir::open(dir.path()).unwrap(), Format::Bf16) }, &WORDS[..devices]);
}

/// Few steps: each takes some six seconds of a processor here. 16 frames, the delays and the lag hold prefix, rollback and both texts.
#[test]
#[ignore = "takes minutes on an interpreter: docs/explanation/cuda.md has the command"]
fn a_model_of_medium_width_has_the_tokens_of_the_cpu() {
    medium_held(16, 2);
}

#[test]
#[ignore = "takes a quarter of an hour on an interpreter: docs/explanation/cuda.md has the command"]
fn a_hundred_steps_of_medium_width_have_the_tokens_of_the_cpu() {
    medium_held(104, 1);
}
