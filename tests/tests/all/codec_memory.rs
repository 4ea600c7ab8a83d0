//! Codecs allocate when an encoder or decoder is made and at the first push of the largest size, and never after that.

use assert_no_alloc::{assert_no_alloc, violation_count};
use sideman_engine::codec::{CHUNK, Codec};
use sideman_engine::model::ModelDir;
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::codecs::signal;
use sideman_tests::golden;

#[test]
fn codecs_allocate_nothing_after_the_first_push() {
    // Without a counting allocator the test could not fail.
    assert_no_alloc(|| drop(std::hint::black_box(vec![1u8; 100])));
    assert!(violation_count() > 0, "the global allocator does not count");

    for (model, stem) in [("six", "other"), ("six", "bass"), ("house", "bass"), ("house", "other")] {
        let backend = &mut CpuBackend::new(1);
        let codec = Codec::load(backend, &ModelDir::open(golden::path(model)).unwrap(), stem).unwrap();
        let audio = signal(3 * CHUNK * 640 + 100, 1);
        let (mut encoder, mut decoder) = (codec.encoder(backend).unwrap(), codec.decoder(backend).unwrap());
        let (mut codes, mut samples) = (Vec::with_capacity(1 << 12), Vec::with_capacity(1 << 18));
        let mut round = |codes: &mut Vec<u32>, samples: &mut Vec<f32>| {
            codes.clear();
            samples.clear();
            encoder.push(backend, &audio, codes);
            for piece in audio.chunks(1000) {
                encoder.push(backend, piece, codes);
            }
            encoder.finish(backend, codes);
            decoder.push(backend, codes, samples).unwrap();
            decoder.push(backend, &codes[..codec.books()], samples).unwrap();
            decoder.finish(backend, samples);
        };
        round(&mut codes, &mut samples);
        let before = violation_count();
        assert_no_alloc(|| round(&mut codes, &mut samples));
        assert_eq!(violation_count(), before, "{model} {stem}: allocations after the first push");
        assert_eq!(samples.len(), codes.len() / codec.books() * 640 + 640);
    }
}
