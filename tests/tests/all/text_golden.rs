//! The tokenizer and T5 against the reference implementations (tests/golden).

use sideman_engine::Error;
use sideman_engine::model::ModelDir;
use sideman_engine::text::{T5, TextEncoder, Tokenizer, bucket};
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::fixture::Fixture;
use sideman_tests::golden::{self, ints, list, relative_error, values};

#[test]
fn the_tokenizer_gives_the_ids_of_the_reference() {
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
        assert!(matches!(tokenizer.ids(&long), Err(Error::Input(_))));
        assert!(matches!(tokenizer.ids(&"x".repeat(1 << 20)), Err(Error::Input(_))));
    }
}

#[test]
fn t5_gives_the_hidden_states_of_the_reference() {
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
            let error = relative_error(&hidden.data, &values(&mut file, &format!("hidden.{len}")).1);
            println!("{name}: {len} tokens {error:.1e}");
            assert!(error < 1e-4, "{name}: {len} tokens {error:.1e}");
        }
        let vocab = dir.config.text.as_ref().unwrap().vocab as u32;
        assert!(matches!(t5.encode(&mut cpu, &[vocab]), Err(Error::Input(_))));
    }
}

#[test]
fn the_text_encoder_gives_the_ids_and_hidden_states_of_the_reference() {
    let mut file = golden::tensors("house.golden.safetensors");
    let mut text = TextEncoder::load(&golden::model("house")).unwrap().unwrap();
    let ids = text.ids("funk drums, electric piano").unwrap();
    assert_eq!(ids.iter().map(|&id| id as i32).collect::<Vec<_>>(), ints(&mut file, "text.ids").1);
    let hidden = text.encode("funk drums, electric piano").unwrap();
    let error = relative_error(&hidden.data, &values(&mut file, "text.hidden").1);
    assert!(error < 1e-4, "{error:.1e}");
}

#[test]
fn relative_position_buckets_are_those_of_the_reference() {
    let all = golden::json("t5-buckets.json");
    let first = all["first"].as_i64().unwrap();
    let expected = list(&all["buckets"]);
    assert_eq!(expected.len(), 401);
    for (i, &expected) in expected.iter().enumerate() {
        assert_eq!(bucket(first + i as i64, 32, 128), expected as usize, "offset {}", first + i as i64);
    }
}

#[test]
fn a_blank_text_has_no_hidden_states() {
    let dir = tempfile::tempdir().unwrap();
    Fixture::short().write(dir.path()).unwrap();
    let mut text = TextEncoder::load(&ModelDir::open(dir.path()).unwrap()).unwrap().unwrap();
    assert_eq!(text.encode(" \n").unwrap().len, 0);
    assert_eq!(text.encode("warm bass").unwrap().len, 3);
    Fixture { text: false, ..Fixture::short() }.write(dir.path()).unwrap();
    assert!(TextEncoder::load(&ModelDir::open(dir.path()).unwrap()).unwrap().is_none());
}

#[test]
fn an_invalid_tokenizer_file_is_named_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    Fixture::short().write(dir.path()).unwrap();
    let model = ModelDir::open(dir.path()).unwrap();
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
