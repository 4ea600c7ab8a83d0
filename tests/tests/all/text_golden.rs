//! Tokenizer and T5 against the reference implementations (tests/golden).

use sideman_engine::text::{T5, TextEncoder, Tokenizer, bucket};
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::fixture::Fixture;
use sideman_tests::golden::{self, ints, list, relative_error, values};

#[test]
fn tokenizer_ids() {
    for name in ["six", "mono"] {
        let dir = golden::model(name);
        let tokenizer = Tokenizer::open(&dir.path.join("tokenizer.json"), dir.config.text.as_ref().unwrap()).unwrap();
        let cases = golden::json(&format!("{name}.tokens.json"));
        let cases = cases["cases"].as_array().unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let ids: Vec<i32> = tokenizer.ids(text).unwrap().into_iter().map(|id| id as i32).collect();
            assert_eq!(ids, list(&case["ids"]), "{name}: {text:?}");
        }
        let long = "funk ".repeat(1000);
        assert!(tokenizer.ids(&long).unwrap_err().to_string().contains("512 tokens"));
        assert!(tokenizer.ids(&"x".repeat(1 << 20)).unwrap_err().to_string().contains("512 tokens"));
    }
}

#[test]
fn hidden_states() {
    for (name, lengths) in [("six", &[1usize, 7, 40, 150][..]), ("mono", &[7, 40])] {
        let dir = golden::model(name);
        let mut file = golden::tensors(&format!("{name}.text.golden.safetensors"));
        let mut cpu = CpuBackend::new(2);
        let t5 = T5::load(&mut cpu, dir.config.text.as_ref().unwrap(), dir.tensors("text.safetensors").unwrap()).unwrap();
        for &len in lengths {
            let (_, ids) = ints(&mut file, &format!("ids.{len}"));
            let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
            let hidden = t5.encode(&mut cpu, &ids).unwrap();
            assert_eq!(hidden.len, len);
            let off = relative_error(&hidden.data, &values(&mut file, &format!("hidden.{len}")).1);
            println!("{name}: {len} tokens {off:.1e}");
            assert!(off < 1e-4, "{name}: {len} tokens {off:.1e}");
        }
        let vocab = dir.config.text.as_ref().unwrap().vocab as u32;
        assert!(t5.encode(&mut cpu, &[vocab]).unwrap_err().to_string().contains("vocabulary"));
    }
}

#[test]
fn house_prompt() {
    let mut file = golden::tensors("house.golden.safetensors");
    let mut text = TextEncoder::load(&golden::model("house")).unwrap().unwrap();
    let ids = text.ids("funk drums, electric piano").unwrap();
    assert_eq!(ids.iter().map(|&id| id as i32).collect::<Vec<_>>(), ints(&mut file, "text.ids").1);
    let hidden = text.encode("funk drums, electric piano").unwrap();
    let off = relative_error(&hidden.data, &values(&mut file, "text.hidden").1);
    assert!(off < 1e-4, "{off:.1e}");
}

#[test]
fn buckets() {
    let all = golden::json("t5-buckets.json");
    let first = all["first"].as_i64().unwrap();
    let expected = list(&all["buckets"]);
    assert_eq!(expected.len(), 401);
    for (i, &expected) in expected.iter().enumerate() {
        assert_eq!(bucket(first + i as i64, 32, 128), expected as usize, "offset {}", first + i as i64);
    }
}

#[test]
fn blank_text_is_the_null_condition() {
    let dir = tempfile::tempdir().unwrap();
    Fixture::short().write(dir.path()).unwrap();
    let mut text = TextEncoder::load(&sideman_engine::model::ModelDir::open(dir.path()).unwrap()).unwrap().unwrap();
    assert_eq!(text.encode(" \n").unwrap().len, 0);
    assert_eq!(text.encode("warm bass").unwrap().len, 3);
    Fixture { text: false, ..Fixture::short() }.write(dir.path()).unwrap();
    assert!(TextEncoder::load(&sideman_engine::model::ModelDir::open(dir.path()).unwrap()).unwrap().is_none());
}

#[test]
fn a_tokenizer_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    Fixture::short().write(dir.path()).unwrap();
    let model = sideman_engine::model::ModelDir::open(dir.path()).unwrap();
    for bad in ["", "{}", "not json", r#"{"version":"1.0","model":{"type":"Unigram","vocab":[]}}"#] {
        std::fs::write(dir.path().join("tokenizer.json"), bad).unwrap();
        match TextEncoder::load(&model) {
            Ok(mut text) => assert!(text.as_mut().unwrap().encode("funk").is_err(), "{bad}"),
            Err(e) => assert!(e.to_string().contains("tokenizer.json"), "{bad}: {e}"),
        }
    }
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    assert!(TextEncoder::load(&model).err().unwrap().to_string().contains("tokenizer.json"));
}
