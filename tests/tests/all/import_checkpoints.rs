//! Importing checkpoints of Hugging Face transformers and of audiocraft: the imported model equals the one that the checkpoint was made
//! from, and checkpoints with the published tensor lists (docs/explanation/musicgen-stem.md sections 3 to 5) are accepted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use sideman_engine::Error;
use sideman_engine::model::import::{Plan, Quant, Source};
use sideman_engine::model::verify::{self, Part};
use sideman_engine::model::{CodecConfig, Config, Model, ModelDir, PadMode, QuantizerKind, Strategy, Tensors};
use sideman_engine::text::Tokenizer;
use sideman_kernels::Format;
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::checkpoint::{Data, Tensor, save};
use sideman_tests::{golden, published};

fn no_stop(_: sideman_engine::model::import::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn import(src: &Path, t5: Option<&Path>, to: &Path, quant: Quant) -> ModelDir {
    let plan = Plan::open(src, t5).unwrap_or_else(|e| panic!("{e}"));
    plan.write(to, quant, &mut no_stop).unwrap_or_else(|e| panic!("{e}"));
    ModelDir::open(to).unwrap_or_else(|e| panic!("{e}"))
}

/// All tensors of a file, by name.
fn all(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut file = Tensors::open(path).unwrap_or_else(|e| panic!("{e}"));
    file.names().into_iter().map(|n| (n.clone(), golden::values(&mut file, &n))).collect()
}

/// Asserts that two files have the same tensors. Convolutions may differ by rounding, because weight normalization was folded into them.
fn assert_same_tensors(ours: &Path, theirs: &Path) {
    assert_same_after(ours, theirs, |x| x);
}

/// Asserts that two files have the same tensors, where `round` was applied to the second.
fn assert_same_after(ours: &Path, theirs: &Path, round: fn(f32) -> f32) {
    let (ours, theirs) = (all(ours), all(theirs));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, (shape, values)) in &ours {
        assert_eq!(*shape, theirs[name].0, "{name}");
        let folded = name.contains(".conv") || name.contains("_proj.weight") && name.starts_with("quantizer");
        if folded && name.ends_with("weight") {
            let off = golden::relative_error(values, &theirs[name].1);
            assert!(off < 1e-6, "{name}: {off:e}");
        } else {
            let equal = values.iter().zip(&theirs[name].1).all(|(a, b)| *a == round(*b));
            assert!(equal, "{name}");
        }
    }
}

/// Compares an imported model with the reference's numbers.
fn assert_reference_outputs(dir: &ModelDir, file: &str) {
    let mut cpu = CpuBackend::new(1);
    let mut model = Model::load(&mut cpu, dir, Format::F32).unwrap();
    let parts = verify::verify(&mut model, &mut cpu, &golden::path(file)).unwrap();
    // Text, language model, and codes and audio of each stem.
    assert_eq!(parts.len(), 2 + 2 * dir.config.stems.len(), "{parts:?}");
    assert!(parts.iter().all(Part::passes), "{parts:?}");
}

fn assert_licence(config: &Config) {
    assert_eq!(config.licence, "CC-BY-NC-4.0");
    assert!(config.provenance.contains("SHA-256"), "{}", config.provenance);
    assert_eq!(config.live.as_ref().unwrap().strategy, Strategy::Anticipate);
}

#[test]
fn a_hugging_face_folder_becomes_the_model_that_it_was_saved_from() {
    let tmp = tempfile::tempdir().unwrap();
    let to = tmp.path().join("mono");
    let dir = import(&golden::path("hf"), None, &to, Quant::AsItIs);
    let mono = golden::model("mono").config;
    assert_eq!(
        (&dir.config.streams, &dir.config.lm, &dir.config.text, &dir.config.codecs),
        (&mono.streams, &mono.lm, &mono.text, &mono.codecs)
    );
    assert_licence(&dir.config);
    for file in ["lm", "text", "codec.mix"] {
        assert_same_tensors(&to.join(format!("{file}.safetensors")), &golden::path(&format!("mono/{file}.safetensors")));
    }
    assert_reference_outputs(&dir, "mono.golden.safetensors");
    let again = Plan::open(&golden::path("hf"), None).unwrap().write(&to, Quant::AsItIs, &mut no_stop).unwrap_err();
    assert!(matches!(&again, Error::File { path, .. } if *path == to), "{again}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1, "a temporary folder is left");
}

/// A safetensors file's header and data.
fn split(path: &Path) -> (Metadata, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + n]).unwrap(), bytes[8 + n..].to_vec())
}

fn write(path: &Path, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) {
    let views = tensors.iter().map(|(n, d, s, b)| (n, safetensors::tensor::TensorView::new(*d, s.clone(), b).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn sharded_checkpoints_with_old_weight_norm_names_become_the_same_model() {
    let tmp = tempfile::tempdir().unwrap();
    let src = tmp.path().join("src");
    fs::create_dir(&src).unwrap();
    for file in ["config.json", "tokenizer.json"] {
        fs::copy(golden::path("hf").join(file), src.join(file)).unwrap();
    }
    let (header, data) = split(&golden::path("hf/model.safetensors"));
    let mut tensors: Vec<_> = (header.tensors().into_iter())
        .map(|(name, i)| {
            let name = name
                .replace("parametrizations.weight.original0", "weight_g")
                .replace("parametrizations.weight.original1", "weight_v");
            (name, i.dtype, i.shape.clone(), data[i.data_offsets.0..i.data_offsets.1].to_vec())
        })
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let (one, two) = tensors.split_at(tensors.len() / 2);
    write(&src.join("model-00001-of-00002.safetensors"), one);
    write(&src.join("model-00002-of-00002.safetensors"), two);
    let index_part = |(part, n): (&[(String, _, _, _)], usize)| -> Vec<(String, String)> {
        part.iter().map(|t| (t.0.clone(), format!("model-0000{n}-of-00002.safetensors"))).collect()
    };
    let map: BTreeMap<String, String> = [(one, 1), (two, 2)].into_iter().flat_map(index_part).collect();
    let index = serde_json::json!({"metadata": {}, "weight_map": map});
    fs::write(src.join("model.safetensors.index.json"), index.to_string()).unwrap();
    let to = tmp.path().join("to");
    import(&src, None, &to, Quant::AsItIs);
    assert_same_tensors(&to.join("codec.mix.safetensors"), &golden::path("mono/codec.mix.safetensors"));
    assert_same_tensors(&to.join("lm.safetensors"), &golden::path("mono/lm.safetensors"));

    let outside = serde_json::json!({"weight_map": {"a": "../../secret.safetensors"}});
    fs::write(src.join("model.safetensors.index.json"), outside.to_string()).unwrap();
    let error = Plan::open(&src, None).unwrap_err().to_string();
    assert!(error.contains("../../secret.safetensors"), "{error}");
}

/// Writes `six` as audiocraft would export it: an f16 language model, f32 codecs with weight normalization, and a folder with T5.
fn write_six(dir: &Path) {
    let config = golden::model("six").config;
    let of = |file: &str| all(&golden::path(&format!("six/{file}.safetensors")));
    let lm: Vec<Tensor> = of("lm").into_iter().map(|(name, (shape, v))| Tensor { name, shape, data: Data::F16(v) }).collect();
    let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
    let size = &config.lm;
    let yaml = format!(
        "transformer_lm:\n  dim: {}\n  num_heads: {}\n  num_layers: {}\n  hidden_scale: {}\n  n_q: {}\n  card: {}\n\
         codebooks_pattern:\n  modeling: delay\n  delay:\n    delays: {delays:?}\n    flatten_first: 0\n    empty_initial: 0\n\
         classifier_free_guidance:\n  inference_coef: 3.0\ndataset:\n  segment_duration: 30\n",
        size.dim,
        size.heads,
        size.layers,
        size.ffn / size.dim,
        config.streams.len(),
        config.streams[0].card
    );
    save(&dir.join("state_dict.bin"), &lm, &yaml);
    for (stem, codec) in &config.codecs {
        let CodecConfig::Seanet(c) = codec else { panic!("seanet") };
        let mut tensors = Vec::new();
        for (name, (mut shape, values)) in of(&format!("codec.{stem}")) {
            let mut put = |name: String, shape: &[usize], v: Vec<f32>| {
                tensors.push(Tensor { name, shape: shape.to_vec(), data: Data::F32(v) })
            };
            if let Some(book) = name.strip_suffix("embed") {
                put(format!("{book}inited"), &[1], vec![1.0]);
                put(format!("{book}cluster_size"), &[shape[0]], vec![1.0; shape[0]]);
                put(format!("{book}embed_avg"), &shape, values.clone());
            }
            if name.ends_with("_proj.weight") {
                shape.push(1);
            }
            if shape.len() == 3 {
                let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
                put(format!("{name}_g"), &[shape[0], 1, 1], values.chunks(shape[1] * shape[2]).map(norm).collect());
                put(format!("{name}_v"), &shape, values);
            } else {
                put(name, &shape, values);
            }
        }
        let kind = if c.quantizer == QuantizerKind::Euclidean { "rvq" } else { "dac" };
        let pad = if c.pad_mode == PadMode::Reflect { "reflect" } else { "constant" };
        // As audiocraft writes it, with unresolved references.
        let yaml = format!(
            "sample_rate: 32000\nchannels: 1\nencodec:\n  autoencoder: seanet\n  quantizer: {kind}\n  sample_rate: ${{sample_rate}}\n  \
             channels: ${{channels}}\n  causal: false\n  renormalize: false\nseanet:\n  dimension: {}\n  channels: ${{channels}}\n  n_filters: {}\n  \
             n_residual_layers: 1\n  ratios:\n  - 8\n  - 5\n  - 4\n  - 4\n  activation: ELU\n  activation_params:\n    alpha: 1.0\n  norm: weight_norm\n  \
             kernel_size: 7\n  residual_kernel_size: 3\n  last_kernel_size: 7\n  dilation_base: 2\n  pad_mode: {pad}\n  true_skip: true\n  compress: 2\n  lstm: 2\n  \
             decoder:\n    trim_right_ratio: 1.0\n    final_activation: null\n{kind}:\n  n_q: {}\n  bins: {}\n",
            c.dim, c.filters, c.books, c.card
        );
        save(&dir.join(format!("compression_state_dict_{stem}.bin")), &tensors, &yaml);
    }
    let t5 = dir.join("t5");
    fs::create_dir(&t5).unwrap();
    fs::copy(golden::path("six/text.safetensors"), t5.join("model.safetensors")).unwrap();
    fs::copy(golden::path("six/tokenizer.json"), t5.join("tokenizer.json")).unwrap();
    fs::write(t5.join("config.json"), t5_config(&config)).unwrap();
}

fn t5_config(config: &Config) -> String {
    let t = config.text.as_ref().unwrap();
    serde_json::json!({"model_type": "t5", "d_model": t.dim, "num_layers": t.layers, "num_heads": t.heads, "d_kv": t.head_dim, "d_ff": t.ffn,
        "vocab_size": t.vocab, "feed_forward_proj": "relu"})
    .to_string()
}

#[test]
fn audiocraft_pickles_become_the_model_that_they_were_saved_from() {
    let tmp = tempfile::tempdir().unwrap();
    let (src, to) = (tmp.path().join("src"), tmp.path().join("to"));
    fs::create_dir(&src).unwrap();
    write_six(&src);
    let dir = import(&src, Some(&src.join("t5")), &to, Quant::AsItIs);
    let six = golden::model("six").config;
    assert_eq!(
        (&dir.config.streams, &dir.config.lm, &dir.config.text, &dir.config.codecs),
        (&six.streams, &six.lm, &six.text, &six.codecs)
    );
    assert_eq!(dir.config.name, "musicgen-stem-6cb");
    assert_eq!(dir.config.edit.as_ref().map(|e| (e.window, e.decimation)), Some((1250, 5)));
    assert_licence(&dir.config);
    // The checkpoint's language model is f16, in which the smallest of these numbers are not exact.
    let half = |x| half::f16::from_f32(x).to_f32();
    assert_same_after(&to.join("lm.safetensors"), &golden::path("six/lm.safetensors"), half);
    for file in ["text", "codec.bass", "codec.drums", "codec.other"] {
        assert_same_tensors(&to.join(format!("{file}.safetensors")), &golden::path(&format!("six/{file}.safetensors")));
    }
    assert_reference_outputs(&dir, "six.golden.safetensors");

    // Without T5 the model has no text and no cross-attention.
    let textless = import(&src, None, &tmp.path().join("textless"), Quant::AsItIs);
    assert_eq!(textless.config.text, None);
    let mut cpu = CpuBackend::new(1);
    sideman_engine::lm::Lm::load(&mut cpu, &textless, sideman_kernels::Format::F32).unwrap();

    // Quantized weights are close to the original and can be loaded.
    for (quant, max_error) in [(Quant::Bf16, 0.004), (Quant::Q8, 0.01), (Quant::Q4, 0.15)] {
        let to = tmp.path().join(format!("{quant:?}"));
        let dir = import(&src, Some(&src.join("t5")), &to, quant);
        sideman_engine::lm::Lm::load(&mut cpu, &dir, sideman_kernels::Format::F32).unwrap();
        let (mut ours, theirs) = (dir.tensors("lm.safetensors").unwrap(), all(&golden::path("six/lm.safetensors")));
        for (name, (shape, values)) in theirs {
            let off = golden::relative_error(&ours.get(&name, &shape).unwrap(), &values);
            assert!(off <= max_error, "{quant:?} {name}: {off}");
        }
    }
}

#[test]
fn a_pickle_written_by_torch_is_read_with_its_views() {
    let (mut source, found) = Source::pickle(&golden::path("pickle/state.bin")).unwrap();
    assert!(found.config.unwrap().contains("pad_mode: constant"));
    let theirs = all(&golden::path("pickle/state.golden.safetensors"));
    assert_eq!(source.names().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, (shape, values)) in theirs {
        assert_eq!(source.get(&name).unwrap().shape, shape, "{name}");
        assert_eq!(source.read(&name).unwrap(), values, "{name}");
    }
}

/// A SentencePiece model with the pieces of a golden tokenizer.
fn spiece(tokenizer: &serde_json::Value) -> Vec<u8> {
    fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        out.push(number << 3 | 2);
        let mut n = bytes.len();
        while n > 127 {
            out.push(n as u8 | 128);
            n >>= 7;
        }
        out.push(n as u8);
        out.extend(bytes);
    }
    let mut out = Vec::new();
    for (id, row) in tokenizer["model"]["vocab"].as_array().unwrap().iter().enumerate() {
        let mut piece = Vec::new();
        field(&mut piece, 1, row[0].as_str().unwrap().as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend((row[1].as_f64().unwrap() as f32).to_le_bytes());
        piece.extend([3 << 3, [3, 3, 2, 1][id.min(3)]]);
        field(&mut out, 1, &piece);
    }
    field(&mut out, 2, &[3 << 3, 1]);
    let mut rules = Vec::new();
    match tokenizer["normalizer"]["precompiled_charsmap"].as_str() {
        Some(map) => field(&mut rules, 2, &base64(map)),
        None => rules.extend([4 << 3, 0]),
    }
    field(&mut out, 3, &rules);
    out
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|d| *d == c);
    let digits: Vec<usize> = text.bytes().filter_map(digit).collect();
    let bytes = digits.chunks(4).flat_map(|c| {
        let n = c.iter().fold(0, |n, d| n << 6 | d) << (6 * (4 - c.len()));
        [(n >> 16) as u8, (n >> 8) as u8, n as u8][..c.len() - 1].to_vec()
    });
    bytes.collect()
}

#[test]
fn a_sentencepiece_model_gives_the_ids_of_its_tokenizer() {
    for name in ["six", "mono"] {
        let config = golden::model(name).config.text.unwrap();
        let model = spiece(&golden::json(&format!("{name}/tokenizer.json")));
        let json = sideman_engine::model::import::convert_spiece(&model, config.vocab).unwrap();
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("tokenizer.json");
        fs::write(&path, json).unwrap();
        let ours = Tokenizer::open(&path, &config).unwrap();
        let theirs = Tokenizer::open(&golden::path(&format!("{name}/tokenizer.json")), &config).unwrap();
        for case in golden::json(&format!("{name}.tokens.json"))["cases"].as_array().expect("cases") {
            let text = case["text"].as_str().unwrap();
            assert_eq!(ours.ids(text).unwrap(), theirs.ids(text).unwrap(), "{name}: {text:?}");
        }
    }
}

/// Writes a T5 folder with t5-base's tensor names and shapes. The tensors are a hole in the file: zeros that take no disk space.
fn full_t5(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let mut all: Vec<(String, Vec<usize>)> =
        vec![("shared.weight".into(), vec![32128, 768]), ("encoder.final_layer_norm.weight".into(), vec![768])];
    all.push(("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight".into(), vec![32, 12]));
    for n in 0..12 {
        for p in ["q", "k", "v", "o"] {
            all.push((format!("encoder.block.{n}.layer.0.SelfAttention.{p}.weight"), vec![768, 768]));
        }
        all.push((format!("encoder.block.{n}.layer.1.DenseReluDense.wi.weight"), vec![3072, 768]));
        all.push((format!("encoder.block.{n}.layer.1.DenseReluDense.wo.weight"), vec![768, 3072]));
        for l in 0..2 {
            all.push((format!("encoder.block.{n}.layer.{l}.layer_norm.weight"), vec![768]));
        }
    }
    // t5-base also has a decoder, which is not imported.
    all.push(("decoder.final_layer_norm.weight".into(), vec![768]));
    let mut end = 0;
    let infos = all.into_iter().map(|(name, shape)| {
        let from = end;
        end += shape.iter().product::<usize>() * 4;
        (name, TensorInfo { dtype: Dtype::F32, shape, data_offsets: (from, end) })
    });
    let json = serde_json::to_vec(&Metadata::new(None, infos.collect()).unwrap()).unwrap();
    let path = dir.join("model.safetensors");
    fs::write(&path, [(json.len() as u64).to_le_bytes().as_slice(), &json].concat()).unwrap();
    File::options().write(true).open(&path).unwrap().set_len((8 + json.len() + end) as u64).unwrap();
    fs::write(
        dir.join("config.json"),
        r#"{"model_type":"t5","d_model":768,"num_layers":12,"num_heads":12,"d_kv":64,"d_ff":3072,"vocab_size":32128}"#,
    )
    .unwrap();
    fs::copy(golden::path("six/tokenizer.json"), dir.join("tokenizer.json")).unwrap();
}

#[test]
fn published_tensor_lists_are_accepted_and_a_wrong_tensor_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let t5 = tmp.path().join("t5");
    full_t5(&t5);
    let stem = |bass: (usize, bool)| vec![("_bass", bass), ("_drums", (1, true)), ("_other", (4, false))];
    let models = [
        ("6cb", 592, 1536, 24, 48, vec![0, 0, 0, 1, 2, 3], stem((1, true))),
        ("7cb", 594, 1536, 24, 48, vec![0, 1, 0, 0, 1, 2, 3], stem((2, false))),
        ("medium", 588, 1536, 24, 48, vec![0, 1, 2, 3], vec![("", (4, false))]),
        ("small", 300, 1024, 16, 24, vec![0, 1, 2, 3], vec![("", (4, false))]),
    ];
    for (name, count, d, heads, layers, delays, codecs) in models {
        let src = tmp.path().join(name);
        fs::create_dir(&src).unwrap();
        let lm = published::lm(delays.len(), d, layers);
        assert_eq!(lm.len(), count, "{name}");
        let yaml = published::lm_yaml(d, heads, layers, &delays);
        save(&src.join("state_dict.bin"), &lm, &yaml);
        for (suffix, (books, factorised)) in codecs {
            let path = src.join(format!("compression_state_dict{suffix}.bin"));
            save(&path, &published::codec(books, factorised), &published::codec_yaml(factorised, books));
        }
        let plan = Plan::open(&src, Some(&t5)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(plan.tensors(), count, "{name}");
        assert_eq!(plan.config().streams.iter().map(|s| s.delay).collect::<Vec<_>>(), delays);
        assert!(plan.config().name.ends_with(name), "{}", plan.config().name);
        if name != "6cb" {
            continue;
        }
        let error = |lm: &[Tensor]| {
            save(&src.join("state_dict.bin"), lm, &yaml);
            match Plan::open(&src, Some(&t5)).unwrap_err() {
                Error::Tensor { name, what, .. } => (name, what),
                other => panic!("{other}"),
            }
        };
        let mut less = lm.clone();
        let gone = less.remove(300).name;
        let (at, what) = error(&less);
        assert_eq!(at, gone, "{what}");
        let mut more = lm.clone();
        more.push(Tensor { name: "transformer.layers.3.gate.weight".into(), shape: vec![4], data: Data::Sparse });
        let (at, what) = error(&more);
        assert_eq!(at, "transformer.layers.3.gate.weight", "{what}");
        let mut misshapen = lm.clone();
        misshapen[200].shape[0] += 1;
        let (at, what) = error(&misshapen);
        let shape = format!("{:?}", lm[200].shape);
        assert!(at == lm[200].name && what.contains(&shape), "{at}: {what} should name {shape}");
    }
}

#[test]
fn melody_and_stereo_models_are_errors() {
    let tmp = tempfile::tempdir().unwrap();
    let src = tmp.path();
    let error = || match Plan::open(src, None).unwrap_err() {
        Error::File { path, what } => (path, what),
        other => panic!("{other}"),
    };
    let assert_error = |file: &str, kind: &str| {
        let (path, what) = error();
        assert!(path == src.join(file) && what.contains(kind), "{}: {what} should mention {kind}", path.display());
    };
    assert_eq!(error().0, src, "an empty folder");
    fs::write(src.join("config.json"), r#"{"model_type": "musicgen_melody"}"#).unwrap();
    assert_error("config.json", "melody");
    fs::write(src.join("config.json"), r#"{"model_type": "musicgen", "decoder": {"audio_channels": 2}}"#).unwrap();
    assert_error("config.json", "stereo");
    let mut lm = published::lm(4, 64, 1);
    let yaml = published::lm_yaml(64, 1, 1, &[0, 1, 2, 3]);
    save(&src.join("state_dict.bin"), &lm, &format!("{yaml}interleave_stereo_codebooks: {{use: true}}\n"));
    assert_error("state_dict.bin", "stereo");
    lm.push(Tensor {
        name: "condition_provider.conditioners.self_wav.output_proj.weight".into(),
        shape: vec![64, 12],
        data: Data::Sparse,
    });
    save(&src.join("state_dict.bin"), &lm, &yaml);
    assert_error("state_dict.bin", "melody");
}
