//! Streaming codecs: equal to encoding and decoding a whole file bit for bit, for pieces of any length; which output is final after which
//! input; output lengths; invalid input.

use std::collections::BTreeMap;

use serde::Deserialize;
use sideman_engine::codec::{CHUNK, Codec};
use sideman_engine::model::{CodecConfig, IstftConfig, Phase, Tensors};
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::codecs::{self, codec, decode_in_pieces, encode_in_pieces, random_istft, signal};
use sideman_tests::golden;
use sideman_tests::rng::Rng;

#[derive(Deserialize)]
struct Cases {
    weights: String,
    configs: BTreeMap<String, CodecConfig>,
}

/// The tiny EnCodecs of tests/golden: reflect and constant padding, centred and causal, with EnCodec's ratios and kernels.
fn seanets(backend: &mut CpuBackend) -> Vec<(String, Codec<CpuBackend>)> {
    let cases: Cases = serde_json::from_slice(&std::fs::read(golden::path("codec.mix.configs.json")).unwrap()).unwrap();
    let open = || Tensors::open(&golden::path(&cases.weights)).unwrap();
    cases.configs.iter().map(|(key, config)| (key.clone(), Codec::read(backend, config, open()).unwrap())).collect()
}

/// A small codec of the house model's kind.
fn house() -> IstftConfig {
    IstftConfig { dim: 24, latent: 12, ffn: 40, card: 128, ..codecs::istft() }
}

fn istft(backend: &mut CpuBackend, phase: Phase) -> (String, Codec<CpuBackend>) {
    let c = IstftConfig { phase, ..house() };
    let weights = random_istft(&c, 5);
    (format!("istft, {phase:?} phases"), codec(backend, &CodecConfig::Istft(c), &weights))
}

fn all(backend: &mut CpuBackend) -> Vec<(String, Codec<CpuBackend>)> {
    let mut all = seanets(backend);
    all.extend([Phase::Predicted, Phase::Locked].map(|phase| istft(backend, phase)));
    all
}

fn random_codes(codec: &Codec<CpuBackend>, frames: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng(seed);
    (0..frames * codec.books()).map(|_| rng.below(codec.card()) as u32).collect()
}

#[test]
fn codecs_give_the_same_bits_for_pieces_of_any_length() {
    let backend = &mut CpuBackend::new(1);
    for (name, codec) in all(backend) {
        let audio = signal(70 * 640 + 123, 3);
        let codes = codec.encode(backend, &audio).unwrap();
        assert_eq!(codes.len(), 71 * codec.books(), "{name}");
        assert!(codes.windows(codec.books() + 1).any(|w| w[0] != w[codec.books()]), "{name}: the codes never change");
        let samples = codec.decode(backend, &codes).unwrap();
        for frames in [1, 3, 4, 7, 50] {
            assert_eq!(encode_in_pieces(backend, &codec, &audio, || 640 * frames), codes, "{name}: encoder by {frames} frames");
            assert_eq!(decode_in_pieces(backend, &codec, &codes, || frames), samples, "{name}: decoder by {frames} frames");
        }
        // Pieces that are no multiple of a frame, and pieces of random lengths.
        for n in [97, 641, 5000] {
            assert_eq!(encode_in_pieces(backend, &codec, &audio, || n), codes, "{name}: encoder by {n} samples");
        }
        let mut rng = Rng(9);
        assert_eq!(encode_in_pieces(backend, &codec, &audio, || 1 + rng.below(3000)), codes, "{name}: encoder by random pieces");
        assert_eq!(
            decode_in_pieces(backend, &codec, &codes, || 1 + rng.below(2 * CHUNK)),
            samples,
            "{name}: decoder by random pieces"
        );
    }
}

/// `finish` sets the length of the signal. In short signals mirroring, padding and look-ahead overlap.
#[test]
fn a_codec_has_one_frame_per_640_samples_rounded_up() {
    let backend = &mut CpuBackend::new(1);
    for (name, codec) in all(backend) {
        for n in [0, 1, 2, 3, 4, 639, 640, 641, 1279, 1281, 1920, 2560, 3200, 4000, 32_000, 33_000] {
            let audio = signal(n, 11);
            let codes = codec.encode(backend, &audio).unwrap();
            assert_eq!(codes.len(), n.div_ceil(640) * codec.books(), "{name}: {n} samples");
            assert_eq!(encode_in_pieces(backend, &codec, &audio, || 1000), codes, "{name}: {n} samples in pieces");
            let samples = codec.decode(backend, &codes).unwrap();
            assert_eq!(samples.len(), n.div_ceil(640) * 640, "{name}: {n} samples, encoded and decoded");
            assert!(samples.iter().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn finish_resets_an_encoder_and_a_decoder() {
    let backend = &mut CpuBackend::new(1);
    for (name, codec) in all(backend) {
        let audio = signal(9000, 21);
        let (mut encoder, mut decoder) = (codec.encoder(backend).unwrap(), codec.decoder(backend).unwrap());
        let mut results = Vec::new();
        for first in [true, false, false] {
            let (mut codes, mut samples) = (Vec::new(), Vec::new());
            let other: Vec<f32> = signal(5000, 22).iter().map(|x| x * 50.0).collect();
            encoder.push(backend, if first { &other } else { &audio }, &mut codes);
            encoder.finish(backend, &mut codes);
            decoder.push(backend, &codes, &mut samples).unwrap();
            decoder.finish(backend, &mut samples);
            results.push((codes, samples));
        }
        assert_ne!(results[0].0, results[1].0[..results[0].0.len()], "{name}");
        assert_eq!(results[1], results[2], "{name}");
        assert_eq!(results[1].0, codec.encode(backend, &audio).unwrap(), "{name}");
    }
}

/// docs/explanation/musicgen-stem.md 3.9: given N frames of codes, exactly the first 640·N − 2402 samples are final.
#[test]
fn a_centred_decoders_samples_are_final_up_to_2402_before_its_last_frame_ends() {
    let backend = &mut CpuBackend::new(1);
    for (name, codec) in seanets(backend).into_iter().filter(|(n, _)| n.ends_with("centred")) {
        let codes = random_codes(&codec, 40, 1);
        let samples = codec.decode(backend, &codes).unwrap();
        for n in [10, 20, 30] {
            assert_eq!(codec.known_samples(n), 640 * n - 2402, "{name}");
            let mut other = codes.clone();
            for (i, c) in other.iter_mut().enumerate().skip(n * codec.books()) {
                *c = (*c + 1 + i as u32 % 7) % codec.card() as u32;
            }
            let changed = codec.decode(backend, &other).unwrap();
            let first = samples.iter().zip(&changed).position(|(a, b)| a != b);
            assert_eq!(first, Some(640 * n - 2402), "{name}: the first sample that frame {n} changes");
        }
        assert_eq!(codec.known_samples(3), 0, "{name}");
    }
}

/// docs/explanation/musicgen-stem.md 3.9: frame f is final once sample 640·f + 3025 is given.
#[test]
fn a_centred_encoders_frames_are_final_3025_samples_after_their_start() {
    let backend = &mut CpuBackend::new(1);
    for (name, codec) in seanets(backend).into_iter().filter(|(n, _)| n.ends_with("centred")) {
        let audio = signal(40 * 640, 2);
        let codes = codec.encode(backend, &audio).unwrap();
        let books = codec.books();
        let mut changes = 0;
        for f in 5..30 {
            assert_eq!(codec.known_frames(640 * f + 3025), f, "{name}");
            assert_eq!(codec.known_frames(640 * f + 3026), f + 1, "{name}");
            for (at, first) in [(640 * f + 3025, f), (640 * f + 3026, f + 1)] {
                let mut other = audio.clone();
                other[at..].iter_mut().for_each(|x| *x = -80.0);
                let changed = codec.encode(backend, &other).unwrap();
                assert_eq!(
                    changed[..first * books],
                    codes[..first * books],
                    "{name}: sample {at} changes a frame before {first}"
                );
                changes += usize::from(changed[first * books..][..books] != codes[first * books..][..books]);
            }
        }
        assert!(changes > 0, "{name}: no frame changes with the sample that makes it final");
    }
}

/// The look-ahead of kind `istft`, from docs/reference/model-format.md.
#[test]
fn the_house_codec_looks_one_frame_ahead_each_way() {
    let backend = &mut CpuBackend::new(1);
    let (_, codec) = istft(backend, Phase::Locked);
    for f in 1..20 {
        assert_eq!(codec.known_frames(640 * (f + 1) + 640), f + 1);
        assert_eq!(codec.known_frames(640 * (f + 1) + 639), f);
        assert_eq!(codec.known_samples(f), 640 * f - 480);
    }
    let audio = signal(20 * 640, 2);
    let codes = codec.encode(backend, &audio).unwrap();
    let mut other = audio.clone();
    other[640 * 11..].fill(0.9);
    let changed = codec.encode(backend, &other).unwrap();
    assert_eq!(changed[..10 * codec.books()], codes[..10 * codec.books()]);
    assert_ne!(changed[10 * codec.books()..], codes[10 * codec.books()..]);
}

/// One bad sample from a sound card must not make all later output NaN.
#[test]
fn nan_and_infinite_samples_are_encoded_as_zeros() {
    let backend = &mut CpuBackend::new(1);
    for (name, codec) in all(backend) {
        let clean: Vec<f32> = signal(8000, 4).iter().enumerate().map(|(i, x)| if i % 50 == 7 { 0.0 } else { *x }).collect();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let invalid: Vec<f32> = clean.iter().enumerate().map(|(i, x)| if i % 50 == 7 { bad } else { *x }).collect();
            assert_eq!(codec.encode(backend, &invalid).unwrap(), codec.encode(backend, &clean).unwrap(), "{name}: {bad}");
        }
        let huge: Vec<f32> = signal(8000, 4).iter().map(|x| x * 3e38).collect();
        let codes = codec.encode(backend, &huge).unwrap();
        assert!(codes.iter().all(|c| (*c as usize) < codec.card()), "{name}");
        assert!(codec.decode(backend, &codes).unwrap().iter().all(|x| x.is_finite()), "{name}");
    }
}

#[test]
fn codes_out_of_range_are_an_error_and_leave_the_decoder_unchanged() {
    let backend = &mut CpuBackend::new(1);
    for (name, codec) in all(backend) {
        let codes = random_codes(&codec, 12, 8);
        let mut decoder = codec.decoder(backend).unwrap();
        let mut samples = Vec::new();
        let mut bad = codes.clone();
        bad[5] = codec.card() as u32;
        let e = decoder.push(backend, &bad, &mut samples).unwrap_err().to_string();
        assert!(e.contains(&codec.card().to_string()), "{name}: {e}");
        bad[5] = u32::MAX;
        assert!(decoder.push(backend, &bad, &mut samples).is_err());
        if codec.books() > 1 {
            assert!(decoder.push(backend, &codes[..codec.books() + 1], &mut samples).is_err());
        }
        decoder.push(backend, &codes, &mut samples).unwrap();
        decoder.finish(backend, &mut samples);
        assert_eq!(samples, codec.decode(backend, &codes).unwrap(), "{name}");
    }
}
