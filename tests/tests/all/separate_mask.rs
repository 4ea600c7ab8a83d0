//! The mask network against PyTorch (train/separator/export.py --tiny): features, logits, sources; and the same bits for
//! any number of threads and any pieces of a song.

use std::collections::BTreeMap;

use sideman_engine::separate::{Mask, NetworkSizes, SeparatorConfig, SeparatorDir};
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::golden;

use super::separate_golden::{assert_close, separate};

/// Frames of features and logits that the golden file skips after each.
const EVERY: usize = 8;

fn tiny() -> SeparatorDir {
    SeparatorDir::open(golden::path("mask")).unwrap_or_else(|e| panic!("{e}"))
}

/// Separates one segment. Gives the sources and what is seen on the way.
fn run(audio: &[f32], threads: usize) -> (Vec<f32>, BTreeMap<String, Vec<f32>>) {
    let dir = tiny();
    let NetworkSizes::Mask(sizes) = &dir.config.network else { panic!("a mask network") };
    let (mut cpu, sources) = (CpuBackend::new(threads), dir.config.sources.len());
    let mut tensors = dir.tensors().unwrap();
    let net = Mask::load(&mut cpu, &mut tensors, "0.", sizes, sources).unwrap();
    tensors.finish().unwrap();
    let mut state = net.state(&mut cpu).unwrap();
    let (mut out, mut seen) = (vec![0.0; sources * sizes.segment], BTreeMap::new());
    // The second run finds what the first left in the buffers.
    let backwards: Vec<f32> = audio.iter().rev().copied().collect();
    net.channel(&mut cpu, &mut state, &backwards, out.chunks_exact_mut(sizes.segment).collect(), None);
    out.fill(0.0);
    let mut probe = |name: &str, x: &[f32]| drop(seen.insert(name.to_owned(), x.to_vec()));
    net.channel(&mut cpu, &mut state, audio, out.chunks_exact_mut(sizes.segment).collect(), Some(&mut probe));
    (out, seen)
}

#[test]
fn a_segment_equals_pytorch() {
    let mut file = golden::tensors("mask.golden.safetensors");
    let (_, audio) = golden::values(&mut file, "audio");
    let (sources, seen) = run(&audio, 2);
    for name in ["features", "logits"] {
        let (shape, theirs) = golden::values(&mut file, name);
        let frame: usize = shape[1..].iter().product();
        let ours: Vec<f32> = seen[name].chunks(frame).step_by(EVERY).flatten().copied().collect();
        assert_close(name, &ours, &theirs);
    }
    assert_close("sources", &sources, &golden::values(&mut file, "sources").1);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (_, audio) = golden::values(&mut golden::tensors("mask.golden.safetensors"), "audio");
    let one = run(&audio, 1).0;
    for threads in [2, 5] {
        assert!(run(&audio, threads).0.iter().zip(&one).all(|(a, b)| a.to_bits() == b.to_bits()), "{threads} threads");
    }
}

#[test]
fn pieces_of_any_length_give_the_same_stems_which_add_up_to_the_song() {
    let dir = tiny();
    let (_, audio) = golden::values(&mut golden::tensors("mask.golden.safetensors"), "audio");
    let left: Vec<f32> = audio.iter().cycle().take(40_000).copied().collect();
    let right: Vec<f32> = left.iter().rev().map(|x| x * 0.5).collect();
    for (rate, song) in [(32_000, vec![left.clone(), right.clone()]), (44_100, vec![left.clone()])] {
        let (names, stems) = separate(&dir, &[], rate, &song, song[0].len());
        assert_eq!(names, ["drums", "bass", "voice", "other"]);
        for piece in [rate as usize / 1000, rate as usize * 7 / 1000, rate as usize / 10] {
            assert!(separate(&dir, &[], rate, &song, piece).1 == stems, "pieces of {piece} at {rate} Hz");
        }
        for (i, x) in song.concat().iter().enumerate() {
            let sum: f32 = stems.iter().map(|stem| stem[i]).sum();
            assert!((sum - x).abs() < 1e-5, "sample {i} at {rate} Hz: {sum}, not {x}");
        }
        assert!(stems.iter().all(|stem| stem.iter().any(|x| x.abs() > 1e-3)), "a stem is silent at {rate} Hz");
    }
}

#[test]
fn both_channels_of_a_mono_song_are_the_same() {
    let (_, audio) = golden::values(&mut golden::tensors("mask.golden.safetensors"), "audio");
    let (_, stems) = separate(&tiny(), &[], 32_000, &[audio.clone(), audio.clone()], 4096);
    for stem in &stems {
        assert!(stem[..audio.len()] == stem[audio.len()..]);
    }
}

#[test]
fn sizes_that_would_fill_the_memory_are_refused() {
    let text = std::fs::read_to_string(golden::path("mask/separator.json")).unwrap();
    let right: serde_json::Value = serde_json::from_str(&text).unwrap();
    let parse = |config: &serde_json::Value| SeparatorConfig::parse(config.to_string().as_bytes(), "separator.json".as_ref());
    assert!(parse(&right).is_ok());
    for (key, value) in [
        ("segment", serde_json::json!(4_000_001)),
        ("channels", serde_json::json!([1024, 1024, 1024, 1024])),
        ("n_fft", serde_json::json!(1000)),
        ("kernel", serde_json::json!(4)),
        ("dilations", serde_json::json!([])),
        ("dilations", serde_json::json!([1000])),
        ("hidden", serde_json::json!(1u64 << 40)),
        ("unknown", serde_json::json!(1)),
    ] {
        let mut wrong = right.clone();
        wrong["sizes"][key] = value;
        if key == "channels" {
            wrong["sizes"]["segment"] = serde_json::json!(4_000_000);
        }
        assert!(parse(&wrong).is_err(), "{key}");
    }
    let mut other = right;
    other["kind"] = serde_json::json!("htdemucs");
    assert!(parse(&other).is_err(), "sizes of another kind");
}
