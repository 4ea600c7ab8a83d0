//! The fuzz targets: for each reader its seeds, the tokens of its format, and how much memory it may allocate.

use std::path::{Path, PathBuf};

use sideman_engine::codec::Codec;
use sideman_engine::lm::Lm;
use sideman_engine::model::import::{Plan, Source, convert_spiece, parse_pickle};
use sideman_engine::model::{ModelDir, Tensors};
use sideman_engine::text::Tokenizer;
use sideman_kernels::Format;
use sideman_kernels::cpu::CpuBackend;
use tempfile::TempDir;

use super::{MemoryLimit, Target, live};
use crate::checkpoint::{Data, Pickle, Tensor, network_pickle, save};
use crate::{golden, published};

/// All targets.
pub const NAMES: [&str; 12] = [
    "pickle",
    "zip",
    "safetensors",
    "config",
    "huggingface",
    "audiocraft",
    "tokenizer",
    "spiece",
    "chart",
    "osc",
    "midi",
    "take",
];

/// A target by its name.
pub fn target(name: &str) -> Option<Target> {
    Some(match name {
        "pickle" => pickle(),
        "zip" => zip(),
        "safetensors" => safetensors(),
        "config" => config(),
        "huggingface" => huggingface(),
        "audiocraft" => audiocraft(),
        "tokenizer" => tokenizer(),
        "spiece" => spiece(),
        "chart" => live::chart(),
        "osc" => live::osc_packets(),
        "midi" => live::midi_bytes(),
        "take" => live::take(),
        _ => return None,
    })
}

/// A temporary folder, in memory where the system has one: a run writes a million small files.
pub(super) fn temp_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a temporary folder")
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(golden::path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(super) fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

pub(super) fn tokens(all: &[&[u8]]) -> Vec<Vec<u8>> {
    all.iter().map(|t| t.to_vec()).collect()
}

pub(super) fn message(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// The size of all files of a folder, in bytes.
fn size(dir: &Path) -> usize {
    let files = std::fs::read_dir(dir).expect("a folder").flatten();
    files.filter_map(|f| std::fs::metadata(f.path()).ok()).map(|m| m.len() as usize).sum()
}

fn pickle() -> Target {
    let mut all = Pickle::new();
    all.raw(b"NK\x05M\x05\x00\x8a\x01\x07\x88)]\x85\x86\x87q\x01h\x01r\x01\0\0\0j\x01\0\0\0");
    all.raw(b"}(").text("best_state").raw(b"ccollections\nOrderedDict\n)R(").text("a.weight");
    all.tensor("FloatStorage", "0", 24, 0, &[4, 6], &[6, 1]).raw(b"u}").text("_metadata").raw(b"}sb").text("xp.cfg").text("a: 1");
    all.raw(b"u.");
    let file = read("pickle/state.bin");
    let start = file.windows(2).position(|w| w == b"\x80\x02").expect("a pickle");
    let end =
        file.windows(4).skip(start).position(|w| w == b"PK\x07\x08" || w == b"PK\x03\x04").map_or(file.len(), |n| start + n);
    // Any short key has a record.
    let record = |key: &str| (key.len() < 3).then_some((64, 96));
    Target {
        seeds: vec![all.0, file[start..end].to_vec(), network_pickle()],
        tokens: tokens(&[
            b"ctorch\nHalfStorage\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"cfractions\nFraction\n",
            b"X\x05\0\0\0klass",
            b"]",
            b"a",
            b"h\x05",
            b"(",
            b"t",
            b"R",
            b"Q",
            b"}",
            b"\x85",
            b"u",
            b"s",
            b".",
        ]),
        // One byte can push a value and an empty dictionary: 40 bytes, in arrays that double as they grow. Two bytes can
        // repeat an argument of up to 64 bytes.
        memory: MemoryLimit { per_byte: 256, constant: 1 << 14 },
        read: Box::new(move |bytes| parse_pickle(bytes, &record).map(|_| ())),
    }
}

fn zip() -> Target {
    let dir = temp_dir();
    let path = dir.path().join("state.bin");
    let tensors = [
        Tensor { name: "x".into(), shape: vec![2, 3], data: Data::F32(vec![1.0; 6]) },
        Tensor { name: "y".into(), shape: vec![4], data: Data::F16(vec![0.5; 4]) },
    ];
    save(&path, &tensors, "a: 1");
    let own = std::fs::read(&path).expect("just written");
    Target {
        seeds: vec![read("pickle/state.bin"), own],
        tokens: tokens(&[
            b"PK\x03\x04",
            b"PK\x01\x02",
            b"PK\x05\x06",
            b"PK\x06\x06",
            b"PK\x06\x07",
            b"\x01\0\x10\0",
            b"archive/data/0",
        ]),
        // The reader has a buffer of about 64 KiB.
        memory: MemoryLimit { per_byte: 64, constant: 1 << 18 },
        read: Box::new(move |bytes| {
            let path = dir.path().join("state.bin");
            write(&path, bytes);
            let (mut source, _) = Source::pickle(&path).map_err(message)?;
            let names: Vec<String> = source.names().map(str::to_owned).collect();
            names.iter().try_for_each(|name| source.read(name).map(|_| ())).map_err(message)
        }),
    }
}

fn safetensors() -> Target {
    let header = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F16","shape":[4],"data_offsets":[24,32]},
        "c":{"dtype":"BF16","shape":[2,2],"data_offsets":[32,40]},"q.scale":{"dtype":"F32","shape":[1,1],"data_offsets":[40,44]},
        "q":{"dtype":"I8","shape":[1,32],"data_offsets":[44,76]},"r.scale":{"dtype":"F32","shape":[1,1],"data_offsets":[76,80]},
        "r":{"dtype":"U8","shape":[1,16],"data_offsets":[80,96]},"i":{"dtype":"I64","shape":[2],"data_offsets":[96,112]}}"#;
    let mut seed = (header.len() as u64).to_le_bytes().to_vec();
    seed.extend(header.as_bytes());
    seed.extend([0; 112]);
    let small = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let second = [(small.len() as u64).to_le_bytes().as_slice(), small.as_bytes(), &[0; 8]].concat();
    let dir = temp_dir();
    let mut cpu = CpuBackend::new(1);
    Target {
        seeds: vec![seed, second],
        tokens: tokens(&[
            b"\"F64\"",
            b"\"I8\"",
            b"\"U8\"",
            b"\"F8_E4M3\"",
            b"[0,0]",
            b"\"__metadata__\":{\"a\":\"b\"},",
            b",",
            b"[]",
        ]),
        memory: MemoryLimit { per_byte: 64, constant: 1 << 16 },
        read: Box::new(move |bytes| {
            let path = dir.path().join("model.safetensors");
            write(&path, bytes);
            let opened = Tensors::open(&path).map_err(message).and_then(|mut file| {
                for name in file.names() {
                    let shape = file.shape(&name).unwrap_or_default().to_vec();
                    let _ = file.ints(&name);
                    let _ = file.get(&name, &shape);
                    if let [rows, cols] = shape[..] {
                        // As a q8 matrix, and as a q4 matrix with two weights a byte.
                        let _ = file.mat(&mut cpu, &name, rows, cols, Format::Q8);
                        let _ = file.mat(&mut cpu, &name, rows, cols.saturating_mul(2), Format::Q4);
                        let _ = file.get(&name, &[rows, cols.saturating_mul(2)]);
                    }
                }
                file.finish().map_err(message)
            });
            let mut source = Source::folder(dir.path()).map_err(message)?;
            let names: Vec<String> = source.names().map(str::to_owned).collect();
            names.iter().try_for_each(|name| source.read(name).map(|_| ())).map_err(message)?;
            opened
        }),
    }
}

/// A copy of a golden folder.
fn copy(name: &str) -> TempDir {
    let dir = temp_dir();
    for file in std::fs::read_dir(golden::path(name)).expect("a golden folder").flatten() {
        std::fs::copy(file.path(), dir.path().join(file.file_name())).expect("copied");
    }
    dir
}

fn config() -> Target {
    let dir = copy("house");
    let mut cpu = CpuBackend::new(1);
    let seeds: Vec<Vec<u8>> =
        ["house", "house", "six", "seven", "mono"].iter().map(|n| read(&format!("{n}/config.json"))).collect();
    Target {
        seeds,
        tokens: tokens(&[
            b"\"seanet\"",
            b"\"istft\"",
            b"null",
            b"[]",
            b"{}",
            b",",
            b"\"bass\"",
            b"\"reflect\"",
            b"\"euclidean\"",
        ]),
        // An accepted configuration is loaded with the house model's tensors, so their size counts as input too.
        memory: MemoryLimit { per_byte: 64, constant: 16 * size(dir.path()) },
        read: Box::new(move |bytes| {
            write(&dir.path().join("config.json"), bytes);
            let model = ModelDir::open(dir.path()).map_err(message)?;
            Lm::load(&mut cpu, &model, Format::Q8).map_err(message)?;
            model.config.stems.iter().try_for_each(|stem| Codec::load(&mut cpu, &model, stem).map(|_| ())).map_err(message)
        }),
    }
}

fn huggingface() -> Target {
    let dir = copy("hf");
    Target {
        seeds: vec![read("hf/config.json")],
        tokens: tokens(&[b"null", b"[]", b"{}", b",", b"\"musicgen\"", b"true", b"\"encodec\"", b"1e400"]),
        memory: MemoryLimit { per_byte: 64, constant: 2 * size(dir.path()) },
        read: Box::new(move |bytes| {
            write(&dir.path().join("config.json"), bytes);
            Plan::open(dir.path(), None).map(|_| ()).map_err(message)
        }),
    }
}

/// An input is the language model's YAML and the codec's, with a line `---` between them.
fn audiocraft() -> Target {
    let dir = temp_dir();
    let seed = |n: &[usize]| format!("{}---\n{}", published::lm_yaml(64, 1, 1, n), published::codec_yaml(false, 4)).into_bytes();
    let full = "sample_rate: 32000\nencodec:\n  sample_rate: ${sample_rate}\n  quantizer: rvq\n".as_bytes();
    let lm = published::lm(4, 64, 1);
    let codec = published::codec(4, false);
    let mut n = 0;
    Target {
        seeds: vec![seed(&[0, 1, 2, 3]), seed(&[0, 0, 0, 1, 2, 3]), [seed(&[0, 1, 2, 3]).as_slice(), full].concat()],
        tokens: tokens(&[
            b"${sample_rate}",
            b"&a ",
            b"*a",
            b"\n---\n",
            b"[",
            b"{",
            b"- ",
            b": ",
            b"\n  ",
            b"!!int ",
            b"|\n",
            b"null",
        ]),
        memory: MemoryLimit { per_byte: 256, constant: 1 << 20 },
        read: Box::new(move |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let (first, second) = text.split_once("---\n").unwrap_or((&text, ""));
            save(&dir.path().join("state_dict.bin"), &lm, first);
            // A whole codec is slow to write, and few inputs get as far as reading it.
            n += 1;
            let codec = if n % 32 == 1 { &codec[..] } else { &codec[..4] };
            save(&dir.path().join("compression_state_dict.bin"), codec, second);
            Plan::open(dir.path(), None).map(|_| ()).map_err(message)
        }),
    }
}

fn tokenizer() -> Target {
    let dir = temp_dir();
    let path: PathBuf = dir.path().join("tokenizer.json");
    let config = golden::model("six").config.text.expect("six reads text");
    Target {
        seeds: ["six", "mono", "house"].iter().map(|n| read(&format!("{n}/tokenizer.json"))).collect(),
        tokens: tokens(&[
            b"\"precompiled_charsmap\":",
            b"null",
            b"[]",
            b"{}",
            b",",
            b"\"Unigram\"",
            b"\"BPE\"",
            b"\"WordPiece\"",
            b"\"Metaspace\"",
            b"\"Replace\"",
            b"\"Sequence\"",
            b"\"Precompiled\"",
            b"\"ByteLevel\"",
            b"\"Regex\"",
            b"\"(a+)+$\"",
        ]),
        memory: MemoryLimit { per_byte: 256, constant: 1 << 21 },
        read: Box::new(move |bytes| {
            let _ = &dir;
            write(&path, bytes);
            let tokenizer = Tokenizer::open(&path, &config).map_err(message)?;
            tokenizer.ids("funk ｇroove with\tslap ﬁnger café \u{1}x").map(|_| ()).map_err(message)
        }),
    }
}

fn spiece() -> Target {
    let mut seed = Vec::new();
    for (id, piece) in ["<pad>", "</s>", "<unk>", "▁a", "b", "▁bass"].iter().enumerate() {
        seed.extend([0x0a, piece.len() as u8 + 9, 0x0a, piece.len() as u8]);
        seed.extend(piece.as_bytes());
        seed.extend([0x15, 0, 0, 0, id as u8, 0x18, [3, 3, 2, 1][id.min(3)]]);
    }
    seed.extend([0x12, 2, 0x18, 1]);
    let with_rules = [seed.as_slice(), &[0x1a, 10, 0x12, 8, 4, 0, 0, 0, 0, 0, 0, 0]].concat();
    Target {
        seeds: vec![seed, with_rules],
        tokens: tokens(&[b"\x0a\x05", b"\x12\x02\x18\x01", b"\x1a\x04\x12\x02", b"\x18\x02", b"\xff\xff\xff\xff\x0f"]),
        // The `tokenizers` crate allocates half of the constant for any input.
        memory: MemoryLimit { per_byte: 256, constant: 1 << 19 },
        read: Box::new(|bytes| convert_spiece(bytes, 200).map(|_| ())),
    }
}
