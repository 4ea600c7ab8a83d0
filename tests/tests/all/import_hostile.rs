//! Malicious and damaged checkpoints: each is an error, never a panic, and nothing in a pickle is executed.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};
use sideman_engine::Error;
use sideman_engine::model::import::{Plan, Source, convert_spiece, parse_pickle};
use sideman_engine::text::Tokenizer;
use sideman_tests::checkpoint::{Data, Pickle, Record, Tensor, network_pickle, save, zip};
use sideman_tests::golden;

/// The error for a checkpoint with this pickle and a storage `0` of 8 values.
fn error_of(pickle: &[u8]) -> String {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("state_dict.bin");
    let records = [("a/data.pkl".to_owned(), Record::Bytes(pickle.to_vec())), ("a/data/0".into(), Record::Bytes(vec![0; 32]))];
    zip(&path, &records);
    file_error(Source::pickle(&path), &path)
}

/// Asserts that the error is about the file at `path`. Returns what the error says about it.
#[track_caller]
fn file_error<T>(result: Result<T, Error>, path: &Path) -> String {
    match result.err().expect("an error") {
        Error::File { path: found, what } if found == path => what,
        other => panic!("{other}"),
    }
}

/// A pickle that holds one tensor.
fn one(class: &str, key: &str, len: u64, offset: u64, shape: &[usize], stride: &[usize]) -> Vec<u8> {
    let mut p = Pickle::new();
    p.raw(b"}").text("x").tensor(class, key, len, offset, shape, stride).raw(b"s.");
    p.0
}

#[test]
fn the_checkpoints_of_these_tests_are_read_if_they_are_valid() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("good.bin");
    let pickle = one("FloatStorage", "0", 8, 2, &[2, 3], &[1, 2]);
    zip(
        &path,
        &[
            ("a/data.pkl".into(), Record::Bytes(pickle)),
            ("a/data/0".into(), Record::Bytes((0..8).flat_map(|i| (i as f32).to_le_bytes()).collect())),
        ],
    );
    let (mut source, _) = Source::pickle(&path).unwrap();
    assert_eq!(source.read("x").unwrap(), [2.0, 4.0, 6.0, 3.0, 5.0, 7.0]);
}

#[test]
fn a_malicious_pickle_is_an_error_that_names_what_is_wrong() {
    let with = |bytes: &[u8]| [&[0x80, 2], bytes].concat();
    let mut deep = vec![0x80, 2, b')'];
    deep.extend(vec![0x85; 1_000_000]);
    deep.push(b'.');
    // What the pickle does, the pickle, and the name or number that the error has to mention.
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("runs a command", with(b"cposix\nsystem\nX\x02\0\0\0id\x85R."), "`posix.system`"),
        ("evaluates text", with(b"c__builtin__\neval\nX\x01\0\0\x001\x85R."), "`__builtin__.eval`"),
        ("finds a function by another opcode", with(b"X\x02\0\0\0osX\x06\0\0\0system\x93."), "STACK_GLOBAL (0x93)"),
        ("builds an object", with(b"(X\x02\0\0\0idios\nsystem\n."), "INST (0x69)"),
        ("has a newer protocol", vec![0x80, 4, b'}', b'.'], "4"),
        ("calls a storage", with(b"ctorch\nFloatStorage\nK\x08\x85R."), "_rebuild_tensor_v2"),
        ("has a terabyte-sized storage", one("FloatStorage", "0", 1 << 38, 0, &[1 << 38], &[1]), "32"),
        ("has a tensor past the end of its storage", one("FloatStorage", "0", 8, 4, &[5], &[1]), "8"),
        ("repeats one value a million times", one("FloatStorage", "0", 8, 0, &[1000, 1000], &[0, 0]), "8"),
        ("has sizes that overflow", one("FloatStorage", "0", 8, 0, &[usize::MAX >> 1; 4], &[usize::MAX >> 1; 4]), "8"),
        ("has a storage without a record", one("FloatStorage", "../../etc/passwd", 8, 0, &[8], &[1]), "`../../etc/passwd`"),
        ("reads a memo that was never set", with(b"h\x07."), "7"),
        ("nests a million tuples", deep, ""),
        ("pops from an empty stack", with(b"R."), ""),
        ("ends inside a string", with(b"}X\xff\xff\xff\x7fabc"), ""),
        ("holds no weights", with(b"}X\x01\0\0\0xX\x01\0\0\0ys."), "`x`"),
    ];
    for (what, pickle, name) in cases {
        let error = error_of(&pickle);
        assert!(error.contains(name), "{what}: {error}");
    }
}

#[test]
fn an_invalid_zip_is_an_error_that_names_the_file_and_the_record() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("state_dict.bin");
    let error_of_bytes = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        file_error(Source::pickle(&path), &path)
    };
    let error_of_records = |records: &[(String, Record)]| {
        zip(&path, records);
        file_error(Source::pickle(&path), &path)
    };
    let good = fs::read(golden::path("pickle/state.bin")).unwrap();
    error_of_bytes(&good[..good.len() - 30]);
    error_of_bytes(b"");
    error_of_bytes(b"\x80\x02}q\x00.");
    // Every local and central header with the compression method "deflate".
    let mut deflated = good.clone();
    for at in 0..good.len() - 12 {
        match &good[at..at + 4] {
            b"PK\x03\x04" => deflated[at + 8] = 8,
            b"PK\x01\x02" => deflated[at + 10] = 8,
            _ => {}
        }
    }
    assert!(error_of_bytes(&deflated).contains("data.pkl"), "{}", error_of_bytes(&deflated));
    let record = |name: &str| (name.to_owned(), Record::Bytes(b"\x80\x02}.".to_vec()));
    assert!(error_of_records(&[record("a/data.pkl"), record("b/data.pkl")]).contains("data.pkl"));
    assert!(error_of_records(&[record("a/data.pkl"), record("a/data.pkl")]).contains("`a/data.pkl`"));
    let big_endian = ("a/byteorder".into(), Record::Bytes(b"big".to_vec()));
    assert!(error_of_records(&[record("a/data.pkl"), big_endian]).contains("endian"));
    assert!(error_of_records(&[("a/data.pkl".into(), Record::Sparse(5 << 20))]).contains("4194304"));
}

#[test]
fn a_configuration_with_anchors_deep_nesting_or_too_many_bytes_is_an_error() {
    let tmp = tempfile::tempdir().unwrap();
    let error = |yaml: &str| {
        let tensors = [Tensor { name: "x".into(), shape: vec![1], data: Data::F32(vec![0.0]) }];
        save(&tmp.path().join("state_dict.bin"), &tensors, yaml);
        save(&tmp.path().join("compression_state_dict.bin"), &tensors, yaml);
        Plan::open(tmp.path(), None).unwrap_err().to_string()
    };
    // The reader doesn't follow anchors, so nothing grows; the key that refers to one is missing.
    let bomb = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\ntransformer_lm: {dim: *b}\n";
    assert!(!error(bomb).is_empty());
    assert!(error(&"[".repeat(5000)).contains("xp.cfg"), "{}", error(&"[".repeat(5000)));
    assert!(error(&format!("a: {}", "[".repeat(40))).contains("32"));
    assert!(error(&"x".repeat(2 << 20)).contains("1048576"));
    // A key that refers to itself.
    assert!(!error("transformer_lm: {dim: \"${transformer_lm.dim}\"}").is_empty());
}

/// A proptest configuration. SIDEMAN_FUZZ=50 runs fifty times as many cases.
fn runs(cases: u32) -> Runs {
    let more = std::env::var("SIDEMAN_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    Runs { cases: cases * more, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..Runs::default() }
}

/// Changes, removes and inserts bytes.
fn damage(bytes: &[u8], changes: &[(usize, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, kind, value) in changes {
        let at = at % bytes.len().max(1);
        match kind % 8 {
            0 if bytes.len() > 1 => drop(bytes.remove(at)),
            1 => bytes.insert(at, *value),
            2 => bytes.truncate(at.max(1)),
            _ => bytes[at] = *value,
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..8)
}

/// A `record` function for the pickle reader, in which every short key exists.
fn record(key: &str) -> Option<(u64, u64)> {
    (key.len() < 3).then_some((64, 96))
}

/// Opens a damaged file and reads its tensors, if it opens.
fn open(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    if let Ok((mut source, _)) = Source::pickle(path) {
        let names: Vec<String> = source.names().map(str::to_owned).collect();
        for name in names {
            let _ = source.read(&name);
        }
    }
}

#[test]
fn damaged_pickles_never_make_the_reader_panic() {
    let mut good = one("FloatStorage", "0", 24, 0, &[4, 6], &[6, 1]);
    good.splice(2..2, *b"NK\x05M\x05\x00\x8a\x01\x07\x88)]\x85\x86\x87q\x01h\x01r\x01\0\0\0j\x01\0\0\0");
    proptest!(runs(20_000), |(c in changes())| { let _ = parse_pickle(&damage(&good, &c), &record); });
    let net = network_pickle();
    proptest!(runs(20_000), |(c in changes())| { let _ = parse_pickle(&damage(&net, &c), &record); });
    proptest!(runs(20_000), |(bytes in prop::collection::vec(any::<u8>(), 0..64))| { let _ = parse_pickle(&bytes, &record); });
}

#[test]
fn damaged_zips_never_make_the_reader_panic() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("state.bin");
    let good = fs::read(golden::path("pickle/state.bin")).unwrap();
    proptest!(runs(2000), |(c in changes())| open(&path, &damage(&good, &c)));
    // The directory of a zip is at its end.
    let tail = good.len() - 600;
    proptest!(runs(2000), |(c in changes())| open(&path, &[&good[..tail], &damage(&good[tail..], &c)].concat()));
}

#[test]
fn damaged_headers_never_make_the_reader_panic() {
    let tmp = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(golden::path("hf").join(file), tmp.path().join(file)).unwrap();
    }
    for (file, from, len) in [("model.safetensors", 0, 20_000), ("config.json", 0, usize::MAX)] {
        let good = fs::read(golden::path("hf").join(file)).unwrap();
        let head = len.min(good.len()) - from;
        proptest!(runs(300), |(c in changes())| {
            fs::write(tmp.path().join(file), [&damage(&good[..head], &c), &good[head..]].concat()).unwrap();
            let _ = Plan::open(tmp.path(), None);
        });
        fs::write(tmp.path().join(file), &good).unwrap();
    }
    Plan::open(tmp.path(), None).unwrap();
}

#[test]
fn damaged_tokenizers_never_make_the_reader_panic() {
    let config = golden::model("six").config.text.unwrap();
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("tokenizer.json");
    let good = fs::read(golden::path("six/tokenizer.json")).unwrap();
    // Half of the changes are in the compiled normalization rules, which the `tokenizers` crate doesn't check.
    let rules = good.windows(20).position(|w| w.starts_with(b"precompiled_charsmap")).unwrap();
    proptest!(runs(1000), |(c in changes(), near in any::<bool>())| {
        let from = if near { rules } else { 0 };
        let to = if near { rules + 1600 } else { good.len() };
        fs::write(&path, [&good[..from], &damage(&good[from..to], &c), &good[to..]].concat()).unwrap();
        if let Ok(tokenizer) = Tokenizer::open(&path, &config) {
            let _ = tokenizer.ids("funk ｇroove with\tslap ﬁnger café \u{1}x");
        }
    });
    let mut piece = vec![0x0a, 14, 0x0a, 5];
    piece.extend(b"<unk>\x15\0\0\0\0\x18\x02");
    piece.extend([0x12, 2, 0x18, 1]);
    convert_spiece(&piece, 200).unwrap();
    proptest!(runs(20_000), |(c in changes())| { let _ = convert_spiece(&damage(&piece, &c), 200); });
}
