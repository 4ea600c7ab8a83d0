//! Reading `config.json` and safetensors files that may be damaged or malicious: each fault is an error that names the key or the tensor.

use std::path::Path;

use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use sideman_engine::Error;
use sideman_engine::codec::Codec;
use sideman_engine::model::{CodecConfig, Config, ModelDir, Tensors};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Act, Backend, Format, Linear, Rows};
use sideman_tests::golden;

fn parse(config: &Value) -> Result<Config, Error> {
    Config::parse(&serde_json::to_vec(config).unwrap(), Path::new("m/config.json"))
}

fn six() -> Value {
    serde_json::from_slice(&std::fs::read(golden::path("six/config.json")).unwrap()).unwrap()
}

#[test]
fn the_configurations_of_the_golden_models_are_read_and_written_unchanged() {
    for (name, stems, streams) in [("six", 3, 6), ("mono", 1, 4), ("seven", 3, 7)] {
        let dir = ModelDir::open(golden::path(name)).unwrap();
        assert_eq!((dir.config.stems.len(), dir.config.streams.len()), (stems, streams), "{name}");
        assert!(dir.config.fixture);
        let text = serde_json::to_vec(&dir.config).unwrap();
        assert_eq!(Config::parse(&text, Path::new("again")).unwrap(), dir.config);
    }
    assert_eq!(ModelDir::open(golden::path("six")).unwrap().config.streams_of("other"), [2, 3, 4, 5]);
}

#[test]
fn what_a_download_left_in_place_of_a_file_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    let page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>";
    for text in [pointer, page] {
        let path = dir.path().join("lm.safetensors");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(Tensors::open(&path), Err(Error::Placeholder { path: found, .. }) if found == path));
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(ModelDir::open(dir.path()), Err(Error::Placeholder { path: found, .. }) if found == path));
        let path = dir.path().join("bass.wav");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(sideman_engine::audio::read(&path), Err(Error::Placeholder { path: found, .. }) if found == path));
    }
}

#[test]
fn an_invalid_configuration_value_is_an_error_that_names_its_key() {
    let cases: [(&str, Value, &str); 29] = [
        ("/format", json!(2), "format"),
        ("/sample_rate", json!(44100), "sample_rate"),
        ("/stems", json!([]), "stems"),
        ("/stems/0", json!("../../etc/passwd"), "stems"),
        ("/stems/1", json!("bass"), "stems"),
        ("/streams/2/stem", json!("vocals"), "streams.2.stem"),
        ("/streams/3/level", json!(3), "streams"),
        ("/streams/3/delay", json!(9_999_999), "streams.3.delay"),
        ("/streams/0/card", json!(63), "streams.0.card"),
        ("/lm/heads", json!(3), "lm.heads"),
        ("/lm/dim", json!(0), "lm.dim"),
        ("/lm/layers", json!(1_000_000_000), "lm.layers"),
        ("/lm/norm_eps", json!(0.0), "lm.norm_eps"),
        ("/text/vocab", json!(0), "text.vocab"),
        ("/text/eos", json!(200), "text.eos"),
        ("/controls", json!([{"name": "a b", "card": 3}]), "controls.name"),
        ("/edit/decimation", json!(0), "edit.decimation"),
        ("/max_frames", json!(0), "max_frames"),
        ("/live", json!({"strategy": "lagged"}), "live.lags"),
        ("/live", json!({"strategy": "lagged", "lags": [9, 4]}), "live.lags"),
        ("/sampling/top_p", json!(1.5), "sampling.top_p"),
        ("/sampling/cfg_scale", json!({"drums": -0.5}), "sampling.cfg_scale.drums"),
        ("/sampling/cfg_scale", json!({"vocals": 1.0}), "sampling.cfg_scale.vocals"),
        ("/codecs/bass/ratios", json!([8, 5, 4]), "codecs.bass"),
        ("/codecs/bass/ratios/0", json!(0), "codecs.bass.ratios"),
        ("/codecs/bass/compress", json!(3), "codecs.bass.compress"),
        ("/codecs/bass/books", json!(2), "streams"),
        ("/codecs/bass/code_dim", json!(0), "codecs.bass.code_dim"),
        ("/codecs/other/code_dim", json!(8), "codecs.other.code_dim"),
    ];
    for (at, value, key) in cases {
        let mut config = six();
        match config.pointer_mut(at) {
            Some(place) => *place = value,
            None => {
                let (parent, name) = at.rsplit_once('/').unwrap();
                config.pointer_mut(parent).unwrap()[name] = value;
            }
        }
        match parse(&config) {
            Err(Error::Key { key: found, what, .. }) => {
                assert!(found.starts_with(key), "{at}: the error names {found}");
                assert!(!what.is_empty());
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    let mut config = six();
    config["codecs"].as_object_mut().unwrap().remove("drums");
    assert!(matches!(parse(&config), Err(Error::Key { key, .. }) if key == "codecs.drums"));
    let mut config = six();
    config["colour"] = json!("blue");
    assert!(parse(&config).unwrap_err().to_string().contains("colour"));
}

/// Tensors by name: type, shape and bytes.
type Raw = Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>;

fn file(tensors: &Raw) -> Vec<u8> {
    let views = tensors.iter().map(|(n, d, s, b)| (*n, TensorView::new(*d, s.clone(), b).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn open(bytes: &[u8]) -> Result<Tensors, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    std::fs::write(&path, bytes).unwrap();
    Tensors::open(&path)
}

fn bytes<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    values.into_iter().flatten().collect()
}

/// A matrix [2, 64] of each type, and the values of the float ones.
fn sample() -> (Raw, Vec<f32>) {
    let values: Vec<f32> = (0..128).map(|i| (i as f32 - 60.0) / 16.0).collect();
    let ints: Vec<i8> = (0..128).map(|i| (i * 2 - 127) as i8).collect();
    let nibbles: Vec<u8> = (0..64).map(|i| (i as u8).wrapping_mul(37)).collect();
    let scales = bytes([0.5f32, 0.25, 2.0, 0.125].map(f32::to_le_bytes));
    let raw: Raw = vec![
        ("f32", Dtype::F32, vec![2, 64], bytes(values.iter().map(|v| v.to_le_bytes()))),
        ("f16", Dtype::F16, vec![2, 64], bytes(values.iter().map(|v| f16::from_f32(*v).to_le_bytes()))),
        ("bf16", Dtype::BF16, vec![2, 64], bytes(values.iter().map(|v| bf16::from_f32(*v).to_le_bytes()))),
        ("q8", Dtype::I8, vec![2, 64], ints.iter().map(|i| *i as u8).collect()),
        ("q8.scale", Dtype::F32, vec![2, 2], scales.clone()),
        ("q4", Dtype::U8, vec![2, 32], nibbles),
        ("q4.scale", Dtype::F32, vec![2, 2], scales),
    ];
    (raw, values)
}

#[test]
fn tensors_of_every_type_are_read_as_f32() {
    let (raw, values) = sample();
    let mut t = open(&file(&raw)).unwrap();
    for name in ["f32", "f16", "bf16"] {
        assert_eq!(t.get(name, &[2, 64]).unwrap(), values, "{name}");
    }
    let scale = |i: usize| [0.5f32, 0.25, 2.0, 0.125][i / 32];
    let q8: Vec<f32> = (0..128).map(|i| (i as f32 * 2.0 - 127.0) * scale(i)).collect();
    assert_eq!(t.get("q8", &[2, 64]).unwrap(), q8);
    // q4 has two weights per byte, the lower four bits first, with an offset of 8.
    let nibble = |i: usize| {
        let byte = ((i / 2) as u8).wrapping_mul(37);
        f32::from(if i.is_multiple_of(2) { byte & 15 } else { byte >> 4 }) - 8.0
    };
    let q4: Vec<f32> = (0..128).map(|i| nibble(i) * scale(i)).collect();
    assert_eq!(t.get("q4", &[2, 64]).unwrap(), q4);
    t.finish().unwrap();
}

/// Formats of a backend's matrix: the stored one, which is copied, and others, which are converted.
#[test]
fn q8_and_q4_matrices_are_loaded_without_loss() {
    for (name, formats) in [("q8", [Format::Q8, Format::F32].as_slice()), ("q4", &[Format::Q4, Format::Q8, Format::F32])] {
        assert_loaded_without_loss(name, formats);
    }
}

fn assert_loaded_without_loss(name: &str, formats: &[Format]) {
    let backend = &mut CpuBackend::new(1);
    let (raw, _) = sample();
    let mut t = open(&file(&raw)).unwrap();
    let mut y = Vec::new();
    for format in formats {
        let weight = t.mat(backend, name, 2, 64, *format).unwrap();
        assert_eq!(weight.format(), *format);
        let linear = Linear { weight, bias: None, norm: None, act: Act::None, add: false };
        let (mut x, mut out) = (backend.buf(64).unwrap(), backend.buf(2).unwrap());
        backend.write(&mut x, 0, &[1.0; 64]);
        backend.linear(&linear, &x, Rows::packed(1, 64), &mut out, Rows::packed(1, 2));
        let mut got = [0.0; 2];
        backend.read(&out, 0, &mut got);
        y.push(got);
    }
    let w = t.get(name, &[2, 64]).unwrap();
    for y in y {
        assert_eq!(y, [w[..64].iter().sum::<f32>(), w[64..].iter().sum()], "{name}");
    }
}

#[test]
fn an_invalid_tensor_is_an_error_that_names_it() {
    let (raw, values) = sample();
    let good = file(&raw);
    let fresh = || open(&good).unwrap();
    assert_eq!(faulty_tensor(fresh().get("g32", &[2, 64])).0, "g32");
    let (name, what) = faulty_tensor(fresh().get("f16", &[64, 2]));
    assert!(name == "f16" && what.contains("[2, 64]") && what.contains("[64, 2]"), "{name}: {what}");
    assert_eq!(faulty_tensor(fresh().get("q4", &[2, 32])).0, "q4");
    assert_eq!(faulty_tensor(fresh().ints("f32")).0, "f32");
    let mut half = fresh();
    half.get("f32", &[2, 64]).unwrap();
    // A tensor that nobody has read is one that the model doesn't have.
    assert_ne!(faulty_tensor(half.finish()).0, "f32");

    for bad in [f32::NAN, f32::INFINITY] {
        let mut raw = raw.clone();
        raw[0].3[20..24].copy_from_slice(&bad.to_le_bytes());
        let (name, what) = faulty_tensor(open(&file(&raw)).unwrap().get("f32", &[2, 64]));
        assert!(name == "f32" && what.contains('5'), "{name}: {what} should name the value's position");
    }
    let without: Raw = raw.iter().filter(|t| t.0 != "q8.scale").cloned().collect();
    assert_eq!(faulty_tensor(open(&file(&without)).unwrap().get("q8", &[2, 64])).0, "q8.scale");
    let i64s: Raw = vec![("ids", Dtype::I64, vec![2], bytes([7i64, -1].map(i64::to_le_bytes)))];
    assert_eq!(open(&file(&i64s)).unwrap().ints("ids").unwrap(), (vec![2], vec![7, -1]));
    assert_eq!(faulty_tensor(open(&file(&i64s)).unwrap().get("ids", &[2])).0, "ids");
    let odd: Raw =
        vec![("w", Dtype::I8, vec![1, 40], vec![1; 40]), ("w.scale", Dtype::F32, vec![1, 1], bytes([values[0].to_le_bytes()]))];
    assert_eq!(faulty_tensor(open(&file(&odd)).unwrap().get("w", &[1, 40])).0, "w");
}

/// The tensor that an error names, and the rest of the error.
#[track_caller]
fn faulty_tensor<T>(result: Result<T, Error>) -> (String, String) {
    match result.err().expect("an error") {
        Error::Tensor { name, what, .. } => (name, what),
        other => panic!("{other}"),
    }
}

#[test]
fn truncated_too_long_and_malicious_safetensors_files_are_errors() {
    let good = file(&sample().0);
    for cut in [0, 1, 7, 8, 9, 100, good.len() - 1] {
        assert!(open(&good[..cut]).is_err(), "cut to {cut} bytes");
    }
    assert!(matches!(open(&[good.as_slice(), b"x"].concat()), Err(Error::File { .. })));
    let header = |json: &str, data: usize| [&(json.len() as u64).to_le_bytes(), json.as_bytes(), &vec![0; data]].concat();
    assert!(open(&header("{}", 0)).unwrap().finish().is_ok());
    let malicious = [
        // A header length larger than the file, and larger than memory.
        [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat(),
        [(1u64 << 40).to_le_bytes().as_slice(), b"{}"].concat(),
        header(r#"{"a":{"dtype":"F32","shape":[18446744073709551615,4],"data_offsets":[0,16]}}"#, 16),
        header(r#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,18446744073709551615]}}"#, 16),
        header(r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#, 16),
        header(r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}"#, 16),
        header(
            r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
            16,
        ),
        header(r#"{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}}"#, 16),
        header("[[[[", 0),
        header(&"[".repeat(100_000), 0),
    ];
    for (i, bytes) in malicious.iter().enumerate() {
        assert!(open(bytes).is_err(), "case {i}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Tensors::open(dir.path()), Err(Error::File { .. } | Error::Io { .. })));
    assert!(matches!(Tensors::open(&dir.path().join("none")), Err(Error::Io { .. })));
    assert!(matches!(ModelDir::open(dir.path()), Err(Error::Io { .. })));
}

#[test]
fn a_codec_file_of_another_codec_is_an_error_that_names_file_and_tensor() {
    let backend = &mut CpuBackend::new(1);
    let dir = ModelDir::open(golden::path("six")).unwrap();
    let bass = &dir.config.codecs["bass"];
    let e = Codec::read(backend, bass, dir.tensors("codec.other.safetensors").unwrap()).err().unwrap().to_string();
    assert!(e.contains("codec.other.safetensors") && e.contains("encoder.model.0.conv.conv.weight"), "{e}");
    let CodecConfig::Seanet(mut shallow) = bass.clone() else { panic!("the codecs of `six` are of kind seanet") };
    shallow.lstm = 1;
    let e = Codec::read(backend, &CodecConfig::Seanet(shallow), dir.tensors("codec.bass.safetensors").unwrap());
    let e = e.err().unwrap().to_string();
    assert!(e.contains("lstm") && e.contains("_l1"), "{e}");
    let e = Codec::load(backend, &dir, "vocals").err().unwrap().to_string();
    assert!(e.contains("vocals") && e.contains("bass"), "{e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_safetensors_file_never_makes_the_reader_panic(edits in prop::collection::vec((0usize..1200, any::<u8>()), 1..6), cut in 0usize..2500) {
        let mut bytes = file(&sample().0);
        bytes.truncate(bytes.len().min(cut.max(600)));
        for (at, value) in edits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if let Ok(mut t) = open(&bytes) {
            for name in t.names() {
                let shape = t.shape(&name).unwrap().to_vec();
                let _ = t.get(&name, &shape);
                let _ = t.ints(&name);
                if let [rows, cols] = shape[..] {
                    let _ = t.get(&name, &[rows, cols.saturating_mul(2)]);
                    let _ = t.mat(&mut CpuBackend::new(1), &name, rows, cols, Format::Q8);
                    let _ = t.mat(&mut CpuBackend::new(1), &name, rows, cols.saturating_mul(2), Format::Q4);
                }
            }
            let _ = t.get("f32", &[2, 64]);
            let _ = t.get("q8", &[2, 64]);
            let _ = t.get("q4", &[2, 64]);
            let _ = t.finish();
        }
    }

    #[test]
    fn a_damaged_configuration_is_an_error_or_valid(edits in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        let mut text = std::fs::read(golden::path("six/config.json")).unwrap();
        for (at, value) in edits {
            let at = at % text.len();
            // Mostly digits: the file stays JSON, with other numbers.
            text[at] = if value < 200 { b'0' + value % 10 } else { value };
        }
        if let Ok(config) = Config::parse(&text, Path::new("config.json")) {
            prop_assert!(config.validate(Path::new("config.json")).is_ok());
            for c in config.codecs.values() {
                prop_assert_eq!(c.frame(), 640);
            }
        }
    }

    #[test]
    fn a_damaged_codec_file_is_an_error_or_gives_valid_codes(at in 0usize..6000, value in any::<u8>()) {
        let dir = ModelDir::open(golden::path("six")).unwrap();
        let mut bytes = std::fs::read(golden::path("six/codec.bass.safetensors")).unwrap();
        bytes[at] = value;
        let backend = &mut CpuBackend::new(1);
        if let Ok(codec) = open(&bytes).and_then(|t| Codec::read(backend, &dir.config.codecs["bass"], t)) {
            let codes = codec.encode(backend, &[0.1; 700]).unwrap();
            prop_assert!(codes.iter().all(|c| (*c as usize) < codec.card()));
        }
    }
}
