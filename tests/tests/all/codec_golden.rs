//! Codecs against reference outputs (tests/golden/README.md): kind `seanet` and both quantizers against EnCodec of Hugging Face
//! transformers, kind `istft` against the training code in PyTorch. Codes are equal, audio is within 1e-4.

use std::collections::BTreeMap;

use serde::Deserialize;
use sideman_engine::codec::{Codec, quantizer};
use sideman_engine::model::{CodecConfig, ModelDir, QuantizerConfig, QuantizerKind, Tensors};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Backend, Rows};
use sideman_tests::codecs::{Named, save};
use sideman_tests::golden;

#[derive(Deserialize)]
struct Cases {
    weights: String,
    configs: BTreeMap<String, CodecConfig>,
    lengths: BTreeMap<String, Vec<usize>>,
}

/// The codes of a golden file [books, frames], transposed to the codec's order: frame by frame.
fn codes(file: &mut Tensors, name: &str) -> Vec<u32> {
    let (shape, values) = file.ints(name).unwrap();
    (0..values.len()).map(|i| values[i % shape[0] * shape[1] + i / shape[0]] as u32).collect()
}

fn floats(file: &mut Tensors, name: &str) -> Vec<f32> {
    let shape = file.shape(name).unwrap_or_else(|| panic!("{name} is missing in the golden file")).to_vec();
    file.get(name, &shape).unwrap()
}

#[track_caller]
fn assert_close(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(size > 1e-3, "{what}: the golden audio is silent");
    assert!(worst <= 1e-4, "{what}: the largest error is {worst}, the peak is {size}");
}

#[test]
fn seanet_has_the_codes_and_audio_of_encodec() {
    let mut backend = CpuBackend::new(1);
    for name in ["codec.mix", "codec.other"] {
        let cases: Cases =
            serde_json::from_slice(&std::fs::read(golden::path(&format!("{name}.configs.json"))).unwrap()).unwrap();
        let mut file = Tensors::open(&golden::path(&format!("{name}.golden.safetensors"))).unwrap();
        let audio = floats(&mut file, "audio");
        assert_eq!(cases.configs.len(), 4, "reflect and constant, centred and causal");
        for (key, config) in &cases.configs {
            let codec = Codec::read(&mut backend, config, Tensors::open(&golden::path(&cases.weights)).unwrap()).unwrap();
            for n in &cases.lengths[key] {
                let want = codes(&mut file, &format!("{key}.{n}.codes"));
                assert_eq!(codec.encode(&mut backend, &audio[..*n]).unwrap(), want, "{name} {key}, {n} samples");
                let decoded = floats(&mut file, &format!("{key}.{n}.decoded"));
                assert_close(&codec.decode(&mut backend, &want).unwrap(), &decoded, &format!("{name} {key}, {n} samples"));
            }
        }
    }
}

#[test]
fn the_codecs_of_the_golden_models_have_the_reference_codes_and_audio() {
    let mut backend = CpuBackend::new(1);
    let three_stems = ["bass", "drums", "other"].as_slice();
    for (name, stems) in [("six", three_stems), ("mono", &["mix"]), ("house", three_stems)] {
        let dir = ModelDir::open(golden::path(name)).unwrap();
        let mut file = Tensors::open(&golden::path(&format!("{name}.golden.safetensors"))).unwrap();
        for stem in stems {
            let codec = Codec::load(&mut backend, &dir, stem).unwrap();
            let want = codes(&mut file, &format!("codec.{stem}.codes"));
            let audio = floats(&mut file, &format!("codec.{stem}.audio"));
            assert_eq!(codec.encode(&mut backend, &audio).unwrap(), want, "{name} {stem}");
            let decoded = floats(&mut file, &format!("codec.{stem}.decoded"));
            assert_close(&codec.decode(&mut backend, &want).unwrap(), &decoded, &format!("{name} {stem}"));
        }
    }
}

/// Each codebook has two equal codes; the first is chosen.
#[test]
fn quantizers_choose_the_codes_of_the_reference() {
    let mut backend = CpuBackend::new(1);
    for (prefix, kind, books, code_dim) in
        [("euclidean", QuantizerKind::Euclidean, 4, 0), ("factorised", QuantizerKind::Factorised, 2, 8)]
    {
        let mut file = Tensors::open(&golden::path("quantizers.golden.safetensors")).unwrap();
        let names: Vec<String> = file.names().iter().filter(|n| n.starts_with(&format!("{prefix}.quantizer"))).cloned().collect();
        let mut own = Named::new();
        for n in &names {
            let shape = file.shape(n).unwrap().to_vec();
            own.insert(n[prefix.len() + 1..].to_owned(), (shape, floats(&mut file, n)));
        }
        let dir = tempfile::tempdir().unwrap();
        save(&dir.path().join("q.safetensors"), &own);
        let mut tensors = Tensors::open(&dir.path().join("q.safetensors")).unwrap();
        let config = QuantizerConfig { kind, books, card: 64, dim: 16, code_dim };
        let loaded = quantizer::load(&mut backend, &config, &mut tensors).unwrap();
        tensors.finish().unwrap();

        let latents = floats(&mut file, &format!("{prefix}.latents"));
        let frames = latents.len() / 16;
        let (_, want) = file.ints(&format!("{prefix}.codes")).unwrap();
        let want: Vec<i32> = want.iter().map(|c| *c as i32).collect();
        let (mut z, mut codes) = (backend.buf(latents.len()).unwrap(), backend.ints(books * frames).unwrap());
        backend.write(&mut z, 0, &latents);
        backend.quantize(&loaded, &mut z, Rows::packed(frames, 16), &mut codes, Rows::packed(books, frames));
        let mut got = vec![0; books * frames];
        backend.read_ints(&codes, 0, &mut got);
        assert_eq!(got, want, "{prefix}");

        backend.dequantize(&loaded, &codes, Rows::packed(books, frames), &mut z, Rows::packed(frames, 16));
        let mut decoded = vec![0.0; latents.len()];
        backend.read(&z, 0, &mut decoded);
        assert_close(&decoded, &floats(&mut file, &format!("{prefix}.decoded")), prefix);
    }
}
