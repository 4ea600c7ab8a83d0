//! Importing separators of the package `demucs`: its own files, the tensor lists of the published networks, and networks that sideman
//! can't run.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};
use sideman_engine::Error;
use sideman_engine::model::import::{Progress, SeparatorPlan, Source, parse_pickle};
use sideman_engine::separate::{SeparatorDir, htdemucs_tensors};
use sideman_tests::checkpoint::{Data, Pickle, Record, Tensor, save_demucs, strides, zip};
use sideman_tests::golden;

const TINY: &str = "htdemucs/tiny-33b232b2.th";

fn write(src: &Path, to: &Path) -> SeparatorDir {
    let plan = SeparatorPlan::open(src).unwrap_or_else(|e| panic!("{e}"));
    plan.write(to, &mut |_| ControlFlow::Continue(())).unwrap_or_else(|e| panic!("{e}"));
    SeparatorDir::open(to).unwrap_or_else(|e| panic!("{e}"))
}

/// The error for a `.th` file of this class with these named arguments, which are opcodes between a mark and SETITEMS.
fn error_of(class: &str, kwargs: &[u8]) -> Error {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("net.th");
    save_demucs(&path, class, kwargs, &[Tensor { name: "x".into(), shape: vec![1], data: Data::F32(vec![0.0]) }]);
    SeparatorPlan::open(&path).unwrap_err()
}

/// Named arguments: pairs of a name and the opcodes of a value.
fn arguments(all: &[(&str, &[u8])]) -> Vec<u8> {
    let mut p = Pickle(Vec::new());
    for (name, value) in all {
        p.text(name).raw(value);
    }
    p.0
}

#[test]
fn a_pickle_of_the_package_becomes_a_separator_with_the_same_weights() {
    let tmp = tempfile::tempdir().unwrap();
    let to = tmp.path().join("tiny");
    let dir = write(&golden::path(TINY), &to);
    let config = &dir.config;
    assert_eq!((config.sources.len(), config.sample_rate, config.bag.len()), (4, 8000, 1));
    assert_eq!(
        (
            config.htdemucs().unwrap().channels,
            config.htdemucs().unwrap().n_fft,
            config.htdemucs().unwrap().bottom,
            config.network.segment()
        ),
        (8, 2048, 32, 6400)
    );
    assert_eq!(
        (config.htdemucs().unwrap().layers, config.htdemucs().unwrap().heads, config.htdemucs().unwrap().ffn),
        (5, 4, 128)
    );
    assert!(config.provenance.contains("tiny-33b232b2.th 33b232b2"), "{}", config.provenance);
    assert!(["MIT", "scientific purposes"].iter().all(|part| config.licence.contains(part)), "{}", config.licence);
    let (mut source, _) = Source::pickle(&golden::path(TINY)).unwrap();
    let mut ours = dir.tensors().unwrap();
    let names: Vec<String> = source.names().map(str::to_owned).collect();
    assert_eq!(names.len(), ours.names().len());
    for name in names {
        let theirs = source.read(&name).unwrap();
        assert_eq!(golden::values(&mut ours, &format!("0.{name}")).1, theirs, "{name}");
    }
    // It is not written over.
    let again = SeparatorPlan::open(&golden::path(TINY)).unwrap().write(&to, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(&again, Error::File { path, .. } if *path == to), "{again}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1, "a temporary folder is left");
}

#[test]
fn a_safetensors_file_and_its_folder_become_the_same_separator() {
    let tmp = tempfile::tempdir().unwrap();
    let [folder, file] = ["htdemucs/six", "htdemucs/six/six.safetensors"].map(golden::path);
    let [a, b] = [("a", folder), ("b", file)].map(|(to, src)| write(&src, &tmp.path().join(to)));
    assert_eq!(a.config, b.config);
    assert_eq!(
        (
            a.config.sources.len(),
            a.config.htdemucs().unwrap().bottom,
            a.config.htdemucs().unwrap().layers,
            a.config.htdemucs().unwrap().ffn
        ),
        (6, 0, 2, 128)
    );
    let bytes = |dir: &SeparatorDir| fs::read(dir.path.join("separator.safetensors")).unwrap();
    assert!(bytes(&a) == bytes(&b));
}

#[test]
fn an_import_that_is_stopped_leaves_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let mut calls = 0;
    let mut stop = |_: Progress| {
        calls += 1;
        if calls == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stopped = SeparatorPlan::open(&golden::path(TINY)).unwrap().write(&tmp.path().join("to"), &mut stop);
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
}

/// Names and shapes of a published network, from the package.
fn published(name: &str) -> Vec<Tensor> {
    let all = golden::json("htdemucs/tensors.json");
    let shape = |v: &serde_json::Value| golden::list(v).into_iter().map(|n| n as usize).collect();
    let all = all[name].as_object().unwrap();
    all.iter().map(|(name, v)| Tensor { name: name.clone(), shape: shape(v), data: Data::Sparse }).collect()
}

/// `segment`: a fraction, as one text or as two numbers.
const SEGMENT: [&[u8]; 2] = [b"cfractions\nFraction\nX\x04\0\0\x0039/5\x85R", b"cfractions\nFraction\nK\x27K\x05\x86R"];

#[test]
fn the_tensors_of_the_published_networks_are_accepted_and_a_wrong_one_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("955717e8-8726e21a.th");
    let nets: [(&str, &[u8], usize, &[u8]); 2] =
        [("htdemucs", b"M\x00\x02", 533, SEGMENT[0]), ("htdemucs_6s", b"K\x00", 525, SEGMENT[1])];
    for (name, bottom, count, segment) in nets {
        let mut tensors = published(name);
        assert_eq!(tensors.len(), count);
        let sources: &[&str] = if count == 525 {
            &["drums", "bass", "other", "vocals", "guitar", "piano"]
        } else {
            &["drums", "bass", "other", "vocals"]
        };
        let mut list = Pickle(b"](".to_vec());
        for source in sources {
            list.text(source);
        }
        list.raw(b"e");
        let kwargs = arguments(&[
            ("sources", &list.0),
            ("bottom_channels", bottom),
            ("dconv_mode", b"K\x03"),
            ("segment", segment),
            ("rescale", b"G?\xb9\x99\x99\x99\x99\x99\x9a"),
        ]);
        save_demucs(&path, "demucs.htdemucs\nHTDemucs", &kwargs, &tensors);
        let config = SeparatorPlan::open(&path).unwrap_or_else(|e| panic!("{e}")).config().clone();
        assert_eq!((config.sources.len(), config.sample_rate, config.network.segment()), (sources.len(), 44_100, 343_980));
        assert_eq!(
            (config.htdemucs().unwrap().n_fft, config.htdemucs().unwrap().dim(), config.htdemucs().unwrap().heads),
            (4096, if count == 533 { 512 } else { 384 }, 8)
        );
        let mut ours: Vec<_> =
            htdemucs_tensors(config.htdemucs().unwrap(), sources.len()).into_iter().map(|t| (t.name, t.shape)).collect();
        let mut theirs: Vec<_> = tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);

        let name = "crosstransformer.layers_t.1.cross_attn.in_proj_weight";
        let n = tensors.iter().position(|t| t.name == name).unwrap();
        let mut error_with = |change: &mut dyn FnMut(&mut Vec<Tensor>)| {
            let old = tensors.clone();
            change(&mut tensors);
            save_demucs(&path, "demucs.htdemucs\nHTDemucs", &kwargs, &tensors);
            tensors = old;
            match SeparatorPlan::open(&path).unwrap_err() {
                Error::Tensor { name, .. } => name,
                other => panic!("{other}"),
            }
        };
        assert_eq!(error_with(&mut |t| drop(t.remove(n))), name);
        assert_eq!(error_with(&mut |t| t[n].shape.swap(0, 1)), name);
        assert_eq!(error_with(&mut |t| t.push(Tensor { name: "more".into(), shape: vec![2], data: Data::Sparse })), "more");
    }
}

#[test]
fn a_network_that_sideman_cant_run_is_an_error_that_names_the_argument() {
    let good: &[(&str, &[u8])] = &[("sources", b"](X\x01\0\0\0aX\x01\0\0\0be"), ("dconv_mode", b"K\x03")];
    let key = |class: &str, more: &[(&str, &[u8])]| {
        let all: Vec<(&str, &[u8])> =
            good.iter().filter(|(name, _)| more.iter().all(|m| m.0 != *name)).chain(more).copied().collect();
        match error_of(class, &arguments(&all)) {
            Error::Key { key, .. } => key,
            other => panic!("{other}"),
        }
    };
    let ours = "demucs.htdemucs\nHTDemucs";
    for class in ["demucs.hdemucs\nHDemucs", "demucs.demucs\nDemucs", "demucs.wdemucs\nWDemucs"] {
        assert_eq!(key(class, &[]), "klass");
    }
    let wrong: [(&str, &[u8]); 12] = [
        ("dconv_mode", b"K\x01"),
        ("depth", b"K\x05"),
        ("t_emb", b"X\x04\0\0\0cape"),
        ("t_sparse_self_attn", b"\x88"),
        ("t_layer_scale", b"\x89"),
        ("cac", b"\x89"),
        ("multi_freqs", b"](K\x01e"),
        ("freq_emb", b"G?\xe0\0\0\0\0\0\0"),
        ("sources", b"X\x01\0\0\0a"),
        ("segment", b"X\x01\0\0\0a"),
        ("nfft", b"\x88"),
        ("channels", b"J\xff\xff\xff\x7f"),
    ];
    for (name, value) in wrong {
        assert_eq!(key(ours, &[(name, value)]), name);
    }
    // What the sizes of a directory forbid.
    for (name, value, theirs) in
        [("nfft", &b"M\x00\x04"[..], "sizes.n_fft"), ("t_heads", b"K\x07", "sizes.heads"), ("segment", b"K\x00", "sizes.segment")]
    {
        assert_eq!(key(ours, &[(name, value)]), theirs);
    }
    assert_eq!(key(ours, &[("sources", b"](X\x01\0\0\0aX\x01\0\0\0ae")]), "sources");
    assert_eq!(key(ours, &[("sources", b"](X\x09\0\0\0remainderX\x01\0\0\0ae")]), "sources");
}

/// What the pickle reader says about a checkpoint of a network.
fn parse(kwargs: &[u8], after: &[u8]) -> Result<(), String> {
    let mut p = Pickle::new();
    p.raw(b"}(").text("klass").raw(b"cdemucs.htdemucs\nHTDemucs\n").text("kwargs").raw(b"}(").raw(kwargs).raw(b"u");
    p.text("state").raw(b"}").text("metrics").raw(if after.is_empty() { b"N" } else { after }).raw(b"u.");
    parse_pickle(&p.0, &|_| None).map(|_| ())
}

#[test]
fn numbers_of_numpy_are_read_over_and_nothing_else_is_called() {
    let scalar = b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\0\0\0f8\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\
        c_codecs\nencode\nX\x01\0\0\0aX\x06\0\0\0latin1\x86R\x86R";
    parse(b"", scalar).unwrap();
    // Before NumPy 2.
    let old = [b"cnumpy.core", &scalar[b"cnumpy._core".len()..]].concat();
    parse(b"", &old).unwrap();
    let refused: [(&str, &[u8]); 7] = [
        ("calls the network's class", b"cdemucs.htdemucs\nHTDemucs\n)R"),
        ("sets attributes of a class", b"cdemucs.htdemucs\nHTDemucs\n}b"),
        ("sets attributes of a number", b"K\x01}b"),
        ("calls another function of numpy", b"cnumpy.core.multiarray\n_reconstruct\n)R"),
        ("calls another codec", b"c_codecs\ndecode\n)R"),
        ("makes a fraction of a network", b"cfractions\nFraction\ncdemucs.htdemucs\nHTDemucs\n\x85R"),
        ("divides by zero", b"cfractions\nFraction\nK\x01K\x00\x86R"),
    ];
    for (what, opcodes) in refused {
        assert!(parse(b"", opcodes).is_err(), "{what}");
    }
}

#[test]
fn arguments_that_contain_themselves_or_are_huge_are_errors() {
    parse(&arguments(&[("a", b"](K\x01K\x02e")]), b"").unwrap();
    // A list that is in itself.
    assert!(parse(&arguments(&[("a", b"]q\x07h\x07a")]), b"").is_err());
    // Ten times the same list of 2000 numbers.
    let wide = [&b"]q\x00("[..], &b"K\x01".repeat(2000), b"e](", &b"h\x00".repeat(10), b"e\x86"].concat();
    assert!(parse(&arguments(&[("a", &wide)]), b"").is_err());
    let mut long = Pickle(Vec::new());
    long.text(&"x".repeat(2000));
    assert!(parse(&arguments(&[("a", &long.0)]), b"").is_err());
    // A tensor, or a class, is no argument.
    assert!(parse(&arguments(&[("a", b"cdemucs.htdemucs\nHTDemucs\n")]), b"").is_err());
}

#[test]
fn a_file_that_is_no_separator_is_an_error_that_names_it() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("net.th");
    let error_path = |path: &Path| match SeparatorPlan::open(path).unwrap_err() {
        Error::File { path, .. } | Error::Key { path, .. } | Error::Io { path, .. } => path,
        other => panic!("{other}"),
    };
    // A pickle without zip, as old versions of torch wrote it; a state dict alone; no file.
    fs::write(&path, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.").unwrap();
    assert_eq!(error_path(&path), path);
    let mut p = Pickle::new();
    p.raw(b"}").text("x").tensor("FloatStorage", "0", 8, 0, &[8], &strides(&[8])).raw(b"s.");
    zip(&path, &[("a/data.pkl".into(), Record::Bytes(p.0)), ("a/data/0".into(), Record::Bytes(vec![0; 32]))]);
    assert_eq!(error_path(&path), path);
    assert_eq!(error_path(&tmp.path().join("none.th")), tmp.path().join("none.th"));
    assert_eq!(error_path(&golden::path("six/lm.safetensors")), golden::path("six/lm.safetensors"));

    // Bags: without a definition, with two, with a missing network, with wrong shares.
    let folder = tmp.path().join("bag");
    fs::create_dir(&folder).unwrap();
    fs::copy(golden::path(TINY), folder.join("tiny-33b232b2.th")).unwrap();
    assert_eq!(error_path(&folder), folder);
    let yaml = |text: &str| -> PathBuf {
        fs::write(folder.join("bag.yaml"), text).unwrap();
        folder.join("bag.yaml")
    };
    for text in [
        "models: [tiny, none]",
        "models: []",
        "models: tiny",
        "models: [tiny]\nweights: [[1, a]]",
        "models: [tiny]\nweights: []",
        "[",
        "",
    ] {
        let yaml = yaml(text);
        assert_eq!(error_path(&folder), yaml, "{text}");
    }
    yaml("models: [tiny]\nweights: [[1, 1, 0, 1]]");
    assert!(matches!(SeparatorPlan::open(&folder), Err(Error::Key { key, .. }) if key == "bag"));
    yaml("models: [tiny]\nweights: [[1, 1, 1]]");
    assert!(matches!(SeparatorPlan::open(&folder), Err(Error::Key { key, .. }) if key == "bag"));
    yaml("models: ['tiny']");
    assert_eq!(SeparatorPlan::open(&folder).unwrap().config().name, "bag");
    fs::write(folder.join("other.yaml"), "models: [tiny]").unwrap();
    assert_eq!(error_path(&folder), folder);
}

#[test]
fn a_wrong_value_in_separator_json_is_an_error_that_names_its_key() {
    let tmp = tempfile::tempdir().unwrap();
    let to = tmp.path().join("tiny");
    write(&golden::path(TINY), &to);
    let file = to.join("separator.json");
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let cases = [
        ("/format", serde_json::json!(2), "format"),
        ("/sample_rate", serde_json::json!(1), "sample_rate"),
        ("/sources", serde_json::json!(["a"]), "sources"),
        ("/sources/0", serde_json::json!("../a"), "sources"),
        ("/sizes/n_fft", serde_json::json!(3000), "sizes.n_fft"),
        ("/sizes/channels", serde_json::json!(1_000_000), "sizes.channels"),
        ("/sizes/segment", serde_json::json!(1_000_000_000), "sizes.segment"),
        ("/sizes/heads", serde_json::json!(0), "sizes.heads"),
        ("/bag", serde_json::json!([]), "bag"),
        ("/bag/0/0", serde_json::json!(-1.0), "bag"),
        ("/bag/0/0", serde_json::json!(0.0), "bag"),
    ];
    for (pointer, value, key) in cases {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        fs::write(&file, wrong.to_string()).unwrap();
        match SeparatorDir::open(&to).unwrap_err() {
            Error::Key { path, key: found, .. } => assert_eq!((path, found.as_str()), (file.clone(), key), "{pointer}"),
            other => panic!("{pointer}: {other}"),
        }
    }
    for (pointer, value) in [("/kind", serde_json::json!("mask")), ("/sizes/more", serde_json::json!(1))] {
        let mut wrong = good.clone();
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[last] = value;
        fs::write(&file, wrong.to_string()).unwrap();
        assert!(matches!(SeparatorDir::open(&to), Err(Error::File { path, .. }) if path == file), "{pointer}");
    }
}

/// Cases of a property. SIDEMAN_FUZZ=50 runs fifty times as many.
fn runs(cases: u32) -> Runs {
    let more = std::env::var("SIDEMAN_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    Runs { cases: cases * more, rng_seed: RngSeed::Fixed(6), failure_persistence: None, ..Runs::default() }
}

#[test]
fn damaged_files_of_a_separator_never_make_the_import_panic() {
    let tmp = tempfile::tempdir().unwrap();
    // The pickle is at the start of the zip; the arguments are at the start of the pickle, or of the header.
    for (name, file, end) in [("net.th", TINY, 70_000usize), ("net.safetensors", "htdemucs/six/six.safetensors", 60_000)] {
        let good = fs::read(golden::path(file)).unwrap();
        let path = tmp.path().join(name);
        fs::write(&path, &good).unwrap();
        assert!(SeparatorPlan::open(&path).is_ok(), "{name}");
        let changes = prop::collection::vec((any::<bool>(), 0..end, any::<u8>()), 1..4);
        proptest!(runs(300), |(changes in changes)| {
            let mut bytes = good.clone();
            for (early, at, value) in changes {
                bytes[if early { at % 700 } else { at }] = value;
            }
            fs::write(&path, &bytes).unwrap();
            // What still opens can be written, or is an error too: a weight that is not finite.
            if let Ok(plan) = SeparatorPlan::open(&path) {
                let to = tmp.path().join("to");
                let _ = plan.write(&to, &mut |_| ControlFlow::Break(()));
                assert!(!to.exists());
            }
        });
    }
    // The configuration of a directory.
    let to = tmp.path().join("tiny");
    write(&golden::path(TINY), &to);
    let good = fs::read(to.join("separator.json")).unwrap();
    let changes = prop::collection::vec((0..good.len(), any::<u8>()), 1..4);
    proptest!(runs(2000), |(changes in changes)| {
        let mut bytes = good.clone();
        changes.into_iter().for_each(|(at, value)| bytes[at] = value);
        fs::write(to.join("separator.json"), &bytes).unwrap();
        let _ = SeparatorDir::open(&to);
    });
}
