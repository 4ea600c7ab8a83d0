//! Hybrid Transformer Demucs against the package `demucs`: every layer, a whole segment, a signal of several segments; and the same bits
//! for any number of threads. The networks are tiny and random (tests/golden/README.md).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sideman_engine::model::Tensors;
use sideman_engine::model::import::SeparatorPlan;
use sideman_engine::separate::{Choice, Htdemucs, Separator, SeparatorDir, SongSeparation};
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::golden;

/// How far a layer may be off.
const CLOSE: f64 = 1e-4;

/// Imports a separator of `tests/golden/htdemucs`.
fn import(src: &str, to: &Path) -> SeparatorDir {
    let plan = SeparatorPlan::open(&golden::path(src)).unwrap_or_else(|e| panic!("{e}"));
    plan.write(to, &mut |_| ControlFlow::Continue(())).unwrap_or_else(|e| panic!("{e}"));
    SeparatorDir::open(to).unwrap_or_else(|e| panic!("{e}"))
}

fn tiny(tmp: &Path) -> SeparatorDir {
    import("htdemucs/tiny-33b232b2.th", &tmp.join("tiny"))
}

/// The two channels of a golden signal.
fn channels(file: &mut Tensors, name: &str) -> [Vec<f32>; 2] {
    let (shape, values) = golden::values(file, name);
    [values[..shape[1]].to_vec(), values[shape[1]..].to_vec()]
}

/// All rows of `every` of each of `frames` frames.
fn thinned(x: &[f32], frames: usize, width: usize, every: usize) -> Vec<f32> {
    let rows = x.len() / frames / width;
    let kept = (0..frames).flat_map(|t| (0..rows).step_by(every).map(move |r| t * rows + r));
    kept.flat_map(|row| x[row * width..][..width].iter().copied()).collect()
}

/// Runs one segment. Gives the stems and the output of every layer.
fn run(dir: &SeparatorDir, file: &mut Tensors, threads: usize) -> (Vec<f32>, BTreeMap<String, Vec<f32>>) {
    let (sizes, sources) = (dir.config.htdemucs().unwrap(), dir.config.sources.len());
    let mut cpu = CpuBackend::new(threads);
    let net = Htdemucs::load(&mut cpu, &mut dir.tensors().unwrap(), "0.", sizes, sources).unwrap();
    let mut state = net.state(&mut cpu).unwrap();
    let [left, right] = channels(file, "audio");
    let mut out = vec![0.0; sources * 2 * sizes.segment];
    let mut layers = BTreeMap::new();
    // The second run finds what the first left in the buffers.
    net.run(&mut cpu, &mut state, [&right, &left], &mut out);
    let mut probe = |name: &str, x: &[f32]| drop(layers.insert(name.to_owned(), x.to_vec()));
    out.fill(0.0);
    net.probed(&mut cpu, &mut state, [&left, &right], &mut out, Some(&mut probe));
    (out, layers)
}

#[track_caller]
pub fn assert_close(name: &str, ours: &[f32], theirs: &[f32]) {
    let off = golden::relative_error(ours, theirs);
    assert!(off < CLOSE, "{name}: {off:e}");
}

#[test]
fn every_layer_and_the_whole_equal_the_package() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tiny(tmp.path());
    let mut file = golden::tensors("htdemucs/tiny.golden.safetensors");
    let (stems, layers) = run(&dir, &mut file, 2);
    // Encoders and decoders of both branches, and both branches of each layer of the transformer.
    assert_eq!(layers.len(), 4 * 4 + 2 * 5, "{:?}", layers.keys());
    let frames = dir.config.htdemucs().unwrap().frames();
    for (name, ours) in &layers {
        let (shape, theirs) = golden::values(&mut file, name);
        let width = *shape.last().unwrap();
        let ours = match name.as_str() {
            "encoder.0" | "decoder.2" => thinned(ours, frames, width, 4),
            "decoder.3" => thinned(ours, frames, width, 16),
            "tdecoder.3" => thinned(ours, 1, width, 8),
            _ => ours.clone(),
        };
        assert_close(name, &ours, &theirs);
    }
    assert_close("stems", &stems, &golden::values(&mut file, "stems").1);
}

#[test]
fn a_network_without_projections_and_with_six_sources_equals_the_package() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = import("htdemucs/six", &tmp.path().join("six"));
    assert_eq!(dir.config.sources, ["drums", "bass", "other", "vocals", "guitar", "piano"]);
    let mut file = golden::tensors("htdemucs/six.golden.safetensors");
    let (stems, layers) = run(&dir, &mut file, 1);
    for name in ["layers.1", "layers_t.1"] {
        assert_close(name, &layers[name], &golden::values(&mut file, name).1);
    }
    let piano = &stems[5 * 2 * dir.config.network.segment()..];
    assert_close("piano", piano, &golden::values(&mut file, "piano").1);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tiny(tmp.path());
    let mut file = golden::tensors("htdemucs/tiny.golden.safetensors");
    let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let one = bits(run(&dir, &mut file, 1).0);
    for threads in [2, 3, 5] {
        assert!(bits(run(&dir, &mut file, threads).0) == one, "{threads} threads");
    }
}

/// Separates a song of both channels, given in pieces of `piece` frames. Gives each stem's two channels after each other.
pub fn separate(dir: &SeparatorDir, wanted: &[&str], rate: u32, song: &[Vec<f32>], piece: usize) -> (Vec<String>, Vec<Vec<f32>>) {
    let mut cpu = CpuBackend::new(2);
    let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
    let choice = Choice::new(&dir.config, &wanted).unwrap();
    let separator = Separator::load(&mut cpu, dir, &choice.estimated).unwrap();
    let channels = song.len();
    let mut run = SongSeparation::new(&mut cpu, &separator, &choice, rate, channels).unwrap();
    let names = choice.names(&dir.config);
    let mut stems = vec![Vec::new(); names.len()];
    let mut sink = |new: &[Vec<f32>]| {
        stems.iter_mut().zip(new).for_each(|(stem, new): (&mut Vec<f32>, _)| stem.extend(new));
        Ok(())
    };
    let interleaved: Vec<f32> = (0..song[0].len()).flat_map(|i| song.iter().map(move |c| c[i])).collect();
    for part in interleaved.chunks(piece * channels) {
        run.push(&mut cpu, &separator, part, &mut sink).unwrap();
    }
    run.finish(&mut cpu, &separator, &mut sink).unwrap();
    let split =
        |x: Vec<f32>| (0..channels).flat_map(|c| x.iter().skip(c).step_by(channels).copied().collect::<Vec<_>>()).collect();
    (names, stems.into_iter().map(split).collect())
}

#[test]
fn segments_overlap_as_in_the_package() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tiny(tmp.path());
    let mut file = golden::tensors("htdemucs/tiny.golden.safetensors");
    let song = channels(&mut file, "long.audio");
    let (names, stems) = separate(&dir, &[], 8000, &song, 1000);
    assert_eq!(names, ["drums", "bass", "vocals", "other"]);
    for (name, stem) in names.iter().zip(&stems).filter(|(name, _)| ["drums", "vocals"].contains(&name.as_str())) {
        assert_close(name, stem, &golden::values(&mut file, &format!("long.{name}")).1);
    }
    // Shorter than a segment: the song is in the middle of one.
    let song = channels(&mut file, "short.audio");
    let (names, stems) = separate(&dir, &["bass"], 8000, &song, 1000);
    assert_eq!(names, ["bass", "remainder"]);
    assert_close("short.bass", &stems[0], &golden::values(&mut file, "short.bass").1);
}

#[test]
fn the_pieces_of_a_song_change_no_bit_of_its_stems() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tiny(tmp.path());
    let song = channels(&mut golden::tensors("htdemucs/tiny.golden.safetensors"), "long.audio");
    for rate in [8000, 12_000] {
        let whole = separate(&dir, &["drums"], rate, &song, song[0].len());
        for piece in [97, 6400] {
            assert!(separate(&dir, &["drums"], rate, &song, piece) == whole, "pieces of {piece} at {rate} Hz");
        }
    }
}

#[test]
fn stems_add_up_to_the_song_at_any_rate_and_with_any_number_of_channels() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tiny(tmp.path());
    let [left, right] = channels(&mut golden::tensors("htdemucs/tiny.golden.safetensors"), "long.audio");
    let six = [&left, &right, &left, &right, &right, &left].map(Clone::clone);
    let songs: [(u32, &[Vec<f32>]); 5] =
        [(8000, &six[..1]), (8000, &six[..2]), (44_100, &six[..2]), (96_000, &six[..3]), (48_000, &six[..])];
    for (rate, song) in songs {
        let (names, stems) = separate(&dir, &[], rate, song, 4096);
        assert_eq!(names.len(), 4);
        let all = song.concat();
        for stem in &stems {
            assert_eq!(stem.len(), all.len(), "{rate} Hz, {} channels", song.len());
        }
        for (i, x) in all.iter().enumerate() {
            let sum: f32 = stems.iter().map(|stem| stem[i]).sum();
            let loudest = stems.iter().map(|stem| stem[i].abs()).fold(x.abs(), f32::max);
            assert!((sum - x).abs() <= 8.0 * f32::EPSILON * loudest, "sample {i} at {rate} Hz: {sum}, not {x}");
        }
        assert!(stems.iter().all(|stem| stem.iter().any(|x| x.abs() > 1e-3)), "a stem is silent at {rate} Hz");
    }
}

#[test]
fn a_mono_song_is_both_channels_and_pairs_of_channels_do_not_touch_each_other() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tiny(tmp.path());
    let [left, right] = channels(&mut golden::tensors("htdemucs/tiny.golden.safetensors"), "long.audio");
    let len = left.len();
    let (_, mono) = separate(&dir, &["bass"], 8000, std::slice::from_ref(&left), 4096);
    let (_, both) = separate(&dir, &["bass"], 8000, &[left.clone(), left.clone()], 4096);
    let mean: Vec<f32> = (0..len).map(|i| (both[0][i] + both[0][len + i]) / 2.0).collect();
    assert_eq!(mono[0], mean);
    let (_, pair) = separate(&dir, &["bass"], 8000, &[left.clone(), right.clone()], 4096);
    let (_, three) = separate(&dir, &["bass"], 8000, &[left.clone(), right, left], 4096);
    assert_eq!(three[0][..2 * len], pair[0]);
    assert_eq!(three[0][2 * len..], mono[0]);
}

#[test]
fn songs_of_any_short_length_and_silence_have_stems_of_their_length() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tiny(tmp.path());
    for (rate, len) in [(8000, 1), (96_000, 1), (8000, 7), (11_025, 1000), (8000, 6400), (8000, 6401), (8000, 11_201)] {
        let song: Vec<f32> = (0..len).map(|i| (i as f32 * 0.1).sin()).collect();
        let (_, stems) = separate(&dir, &[], rate, &[song], 4096);
        assert!(stems.iter().all(|stem| stem.len() == len && stem.iter().all(|x| x.is_finite())), "{len} samples at {rate} Hz");
    }
    let (_, stems) = separate(&dir, &[], 8000, &[vec![0.0; 10_000], vec![0.0; 10_000]], 4096);
    assert!(stems.iter().flatten().all(|x| *x == 0.0));
}

/// Writes a folder with a bag of two copies of the tiny network, with these shares.
fn bag(folder: &Path, shares: &str) -> PathBuf {
    std::fs::create_dir(folder).unwrap();
    let file = golden::path("htdemucs/tiny-33b232b2.th");
    std::fs::copy(&file, folder.join("aa.th")).unwrap();
    std::fs::copy(&file, folder.join("bb-0011.th")).unwrap();
    std::fs::write(folder.join("twice.yaml"), format!("models: ['aa', 'bb']\n{shares}")).unwrap();
    folder.to_owned()
}

#[test]
fn a_bag_averages_its_networks_and_runs_only_those_with_a_share() {
    let tmp = tempfile::tempdir().unwrap();
    let song = channels(&mut golden::tensors("htdemucs/tiny.golden.safetensors"), "long.audio");
    let (_, one) = separate(&tiny(tmp.path()), &["bass"], 8000, &song, 4096);
    for (i, shares) in
        ["", "weights: [[1., 0., 1, 1], [0., 1., 1, 1]]", "weights: [[1, 0.25, 1, 1], [1, 0.5, 1, 1]]"].iter().enumerate()
    {
        let plan = SeparatorPlan::open(&bag(&tmp.path().join(format!("bag{i}")), shares)).unwrap();
        let to = tmp.path().join(format!("to{i}"));
        plan.write(&to, &mut |_| ControlFlow::Continue(())).unwrap();
        let dir = SeparatorDir::open(&to).unwrap();
        assert_eq!((dir.config.name.as_str(), dir.config.bag.len()), ("twice", 2));
        assert_close("bass", &separate(&dir, &["bass"], 8000, &song, 4096).1[0], &one[0]);
        // Networks without a share in what is wanted are not loaded.
        let mut cpu = CpuBackend::new(1);
        let loaded = Separator::load(&mut cpu, &dir, &[1]).unwrap().networks();
        assert_eq!(loaded, if i == 1 { 1 } else { 2 }, "{shares}");
    }
}
