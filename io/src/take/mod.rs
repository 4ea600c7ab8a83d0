//! A take: one session on disk, for a DAW and for `sideman replay`.
//!
//! Its WAV files are 32-bit float at 32 kHz, of equal length, from the same sample on. The file of the stem
//! that the musician plays holds the musician. Of a take whose program was killed everything is readable but
//! the last half second: headers are updated that often, and every file grows only at its end.

mod folder;
mod overview;
mod read;
mod tempo_map;
mod tokens;
mod wav_file;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sideman_engine::live::commands::Owner;
use sideman_engine::live::{Command, Request, SessionConfig};
use sideman_engine::{Error, Result};
use sideman_kernels::{Activations, Format};

use crate::{dawproject, page};

pub use folder::{TakePlace, dated_name};
pub use overview::HopState;
pub use read::{Take, read};
pub use tempo_map::{TempoChange, midi_file};
pub use write::{TakeWriter, row_width};

/// Contents of `take.json`: all that is needed to play the session again.
///
/// In the file the fields of `config` are at the same level as the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TakeInfo {
    /// Version of the program that recorded the take.
    pub version: String,
    /// Model directory. What is not UTF-8 in its name is replaced in the file, and a replay then needs
    /// `--model`.
    #[serde(serialize_with = "lossy")]
    pub model: PathBuf,
    /// SHA-256 of what is in the model directory ([`model_hash`]).
    pub model_sha256: String,
    /// Precision of the weights in memory. A name that is not known is an error: with another precision the
    /// replay would differ.
    #[serde(with = "PrecisionName")]
    pub precision: Format,
    /// What the weights were multiplied by. Takes of before this field have none: f32.
    #[serde(with = "ActivationsName", default = "old_activations")]
    pub activations: Activations,
    /// The model's stems, in its order.
    pub stems: Vec<String>,
    /// Lead of the session, in samples at 32 kHz ([`sideman_engine::live::Session::lead`]).
    pub lead: i64,
    /// The devices that were played on, in words.
    pub devices: String,
    /// Input latency in ms.
    pub latency_in: f32,
    /// Output latency in ms.
    pub latency_out: f32,
    /// Song time of the take's first sample. Only a take from 0 can be replayed.
    pub from: i64,
    /// Length in samples. 0: the program was killed, and the length is that of the files.
    pub samples: u64,
    /// Why the take ended before it was stopped: the disk's error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The settings that the session started with.
    #[serde(flatten)]
    pub config: SessionConfig,
}

fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Names of [`Format`] in `take.json`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Format", rename_all = "lowercase")]
enum PrecisionName {
    F32,
    Bf16,
    Q8,
    Q4,
}

/// Names of [`Activations`] in `take.json`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Activations", rename_all = "lowercase")]
enum ActivationsName {
    F32,
    Int8,
}

fn old_activations() -> Activations {
    Activations::F32
}

/// One line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Song time, in samples, of the hop before which it was applied.
    pub at: i64,
    /// The request, with the boundary that was requested.
    pub request: Request,
}

/// Names of the files of a take with these stems.
pub fn file_names(stems: &[String]) -> Vec<String> {
    wav_names(stems)
        .into_iter()
        .chain(["take.json", "tempo.mid", "events.jsonl", "tokens.safetensors", dawproject::FILE, page::FILE].map(str::to_owned))
        .collect()
}

/// Names of the WAV files: the input, the stems, the click, the mix. The stem of a model that has only a mix is
/// not `mix.wav`, which has the musician in it.
fn wav_names(stems: &[String]) -> Vec<String> {
    let others = ["input", "click", "mix"];
    let stems =
        stems.iter().map(|stem| if others.contains(&&**stem) { format!("stem_{stem}.wav") } else { format!("{stem}.wav") });
    ["input.wav".to_owned()].into_iter().chain(stems).chain(["click.wav", "mix.wav"].map(str::to_owned)).collect()
}

/// SHA-256 of a model directory: names and contents of its JSON and safetensors files, in order of their names, but
/// not of `styles.json` and of the separator.
///
/// # Errors
/// A file can't be read.
pub fn model_hash(dir: &Path) -> Result<String> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten().map(|e| e.path()).collect();
    names.retain(|p| p.extension().is_some_and(|e| e == "json" || e == "safetensors"));
    // These change no sound of a take: it has the chart that was chosen by the table of styles, and takes are not separated.
    let others = ["styles.json", "separator.json", "separator.safetensors"];
    names.retain(|p| p.file_name().is_some_and(|name| others.iter().all(|other| name != *other)));
    names.sort();
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    for path in names {
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        loop {
            let n = file.read(&mut piece).map_err(Error::io(&path))?;
            if n == 0 {
                break;
            }
            hash.update(&piece[..n]);
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Whether a command changes nothing that is heard: a replay leaves it out.
pub fn silent(command: &Command) -> bool {
    match command.kind().spec().owner {
        Owner::Runner | Owner::MidiMapper => true,
        Owner::Session | Owner::TextEncoder => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use sideman_engine::live::Clock;
    use sideman_engine::task::Meter;

    use super::*;

    pub(crate) fn info() -> TakeInfo {
        TakeInfo {
            version: "0".into(),
            model: "m".into(),
            model_sha256: String::new(),
            precision: Format::Bf16,
            activations: Activations::F32,
            stems: ["bass", "drums"].map(str::to_owned).to_vec(),
            lead: 1280,
            devices: String::new(),
            latency_in: 0.0,
            latency_out: 0.0,
            from: 0,
            samples: 0,
            ended: None,
            config: SessionConfig { seed: 7, ..SessionConfig::default() },
        }
    }

    /// `take.json` as version 0.1.0 wrote it.
    const OLD: &str = r#"{
        "version": "0.1.0", "model": "models/house", "model_sha256": "59609b8d", "precision": "q8", "stems": ["bass", "drums", "other"],
        "player": 1, "lag": 9, "lead": 1696, "tempo": 100.5, "meter": "6/8", "bar1": 16000, "chords": "Em7 A7", "count_in": 2,
        "playing": false, "click": true, "clock": "midi", "text": "funk", "text_room": 64, "guided": true, "temperature": 0.8,
        "top_k": 100, "top_p": 0.25, "cfg": 2.5, "seed": 18446744073709551615, "block": 8, "devices": "examples/funk.flac",
        "latency_in": 1.5, "latency_out": 2.5, "from": 640, "samples": 640000 }"#;

    #[test]
    fn a_take_of_the_first_version_is_read_in_full() {
        let config = SessionConfig {
            input_stem: Some(1),
            lag: 9,
            tempo: 100.5,
            meter: Meter::SixEight,
            bar1: 16_000,
            chords: Some("Em7 A7".into()),
            count_in: 2,
            playing: false,
            click: true,
            clock: Clock::Midi,
            text: "funk".into(),
            text_room: 64,
            guided: true,
            temperature: 0.8,
            top_k: 100,
            top_p: 0.25,
            cfg_scale: 2.5,
            // That version had no room.
            room: 0.0,
            seed: u64::MAX,
            block: 8,
        };
        let info = TakeInfo {
            version: "0.1.0".into(),
            model: "models/house".into(),
            model_sha256: "59609b8d".into(),
            precision: Format::Q8,
            activations: Activations::F32,
            stems: ["bass", "drums", "other"].map(str::to_owned).to_vec(),
            lead: 1696,
            devices: "examples/funk.flac".into(),
            latency_in: 1.5,
            latency_out: 2.5,
            from: 640,
            samples: 640_000,
            ended: None,
            config,
        };
        assert_eq!(serde_json::from_str::<TakeInfo>(OLD).unwrap(), info);
        let info = TakeInfo { config: SessionConfig { room: 0.25, ..info.config }, ..info };
        let new = serde_json::to_string(&info).unwrap();
        assert_eq!(serde_json::from_str::<TakeInfo>(&new).unwrap(), info);
    }

    #[test]
    fn a_take_stays_replayable_when_the_model_gets_a_separator() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(dir.path().join(name), name).unwrap();
        write("config.json");
        let before = model_hash(dir.path()).unwrap();
        ["separator.json", "separator.safetensors", "styles.json"].into_iter().for_each(write);
        assert_eq!(model_hash(dir.path()).unwrap(), before);
        write("lm.safetensors");
        assert_ne!(model_hash(dir.path()).unwrap(), before);
    }

    #[test]
    fn a_precision_that_is_not_known_is_an_error() {
        let take = OLD.replace("q8", "q5");
        assert!(serde_json::from_str::<TakeInfo>(&take).is_err());
    }

    #[test]
    fn activations_are_kept_and_a_name_that_is_not_known_is_an_error() {
        let new = serde_json::to_value(TakeInfo { activations: Activations::Int8, ..info() }).unwrap();
        assert_eq!(new["activations"], "int8");
        assert_eq!(serde_json::from_value::<TakeInfo>(new.clone()).unwrap().activations, Activations::Int8);
        let serde_json::Value::Object(mut take) = new else { panic!("an object") };
        take.insert("activations".to_owned(), "int4".into());
        assert!(serde_json::from_value::<TakeInfo>(take.into()).is_err());
    }

    #[test]
    fn a_take_without_one_of_its_settings_is_an_error() {
        let serde_json::Value::Object(whole) = serde_json::from_str(OLD).unwrap() else { panic!("an object") };
        // An option that is missing is none.
        for field in whole.keys().filter(|field| !["player", "chords"].contains(&field.as_str())) {
            let mut part = whole.clone();
            part.remove(field);
            assert!(serde_json::from_value::<TakeInfo>(part.into()).is_err(), "{field}");
        }
    }

    fn samples(path: &Path) -> Vec<f32> {
        hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect()
    }

    #[test]
    fn a_take_can_be_read_while_it_is_written_but_for_the_last_half_second() {
        let dir = tempfile::tempdir().unwrap();
        let mut take = TakeWriter::create(dir.path(), &info(), 2, true).unwrap();
        // Soft enough that the mix is not limited, and exact.
        let level = |n: usize| n as f32 / 131_072.0;
        let row = |n: usize| [level(n), 0.0, 0.5, 0.25, 0.125, 0.0625];
        let entry = Entry { at: 640, request: Request { command: Command::Seed(3), when: None, from: 2 } };
        take.event(&entry).unwrap();
        for second in 0..3 {
            let rows: Vec<f32> = (second * 32_000..(second + 1) * 32_000).flat_map(row).collect();
            take.rows(&rows, Some(0)).unwrap();
            take.tokens(&[second as i32; 100]).unwrap();
        }
        take.rows(&row(7), Some(0)).unwrap();
        take.state(&HopState { at: 64_000, tempo: 90.0, meter: Meter::ThreeFour, ..HopState::default() });
        // As kill -9 leaves it: nothing is finished, nothing dropped.
        let killed = read(dir.path()).unwrap();
        assert_eq!(killed.input.len(), 96_000);
        assert_eq!((killed.input[777], killed.events[0].clone(), killed.info.samples), (level(777), entry.clone(), 0));
        std::fs::OpenOptions::new().append(true).open(dir.path().join("events.jsonl")).unwrap().write_all(b"{\"at\": 1").unwrap();
        assert_eq!(read(dir.path()).unwrap().events.len(), 1, "half a line is the killed program's");
        take.finish().unwrap();
        let whole = read(dir.path()).unwrap();
        assert_eq!((whole.input.len(), whole.info.samples), (96_001, 96_001));
        assert_eq!(samples(&dir.path().join("bass.wav"))[777], level(777), "the stem that they play is the musician's");
        assert_eq!(samples(&dir.path().join("drums.wav"))[777], 0.5);
        assert_eq!(samples(&dir.path().join("mix.wav"))[2 * 777..2 * 778], [level(777) + 0.125, level(777) + 0.0625]);
        let token_bytes = std::fs::read(dir.path().join("tokens.safetensors")).unwrap();
        assert_eq!(token_bytes.len(), 8 + tokens::HEADER + 1200);
        let head: serde_json::Value = serde_json::from_slice(&token_bytes[8..8 + tokens::HEADER]).unwrap();
        assert_eq!(head["tokens"]["shape"], serde_json::json!([150, 2]));
        let midi = std::fs::read(dir.path().join("tempo.mid")).unwrap();
        let smf = midly::Smf::parse(&midi).unwrap();
        assert_eq!(smf.tracks[0][2].delta.as_int(), 2 * 2 * 960, "2 s at 120");
    }

    #[test]
    fn the_mix_of_a_loud_musician_and_a_loud_band_is_limited() {
        let dir = tempfile::tempdir().unwrap();
        let mut take = TakeWriter::create(dir.path(), &info(), 2, true).unwrap();
        let rows: Vec<f32> = (0..32_000).flat_map(|n| [if n < 100 { 0.9 } else { 0.1 }, 0.0, 0.7, 0.0, 0.7, -0.7]).collect();
        take.rows(&rows, Some(0)).unwrap();
        take.finish().unwrap();
        let mix = samples(&dir.path().join("mix.wav"));
        assert!(mix.iter().all(|x| x.abs() <= 0.966 + 1e-6), "{:?}", mix.iter().cloned().fold(0.0, f32::max));
        assert_eq!(samples(&dir.path().join("input.wav"))[0], 0.9, "the stems are as they were played");
        assert!((mix[2 * 31_000] - 0.8).abs() < 0.01, "it lets go: {}", mix[2 * 31_000]);
    }

    #[test]
    fn on_a_full_disk_a_take_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("click.wav")).unwrap();
        let error = TakeWriter::create(dir.path(), &info(), 2, true).err().expect("no space is left");
        let Error::Io { path, source } = &error else { panic!("{error}") };
        assert_eq!((path, source.kind()), (&dir.path().join("click.wav"), std::io::ErrorKind::StorageFull));
    }

    #[test]
    fn a_folder_that_is_not_a_take_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).err().expect("none").to_string().contains("take.json"));
        TakeWriter::create(dir.path(), &info(), 2, true).unwrap().finish().unwrap();
        std::fs::write(dir.path().join("events.jsonl"), "nonsense\n").unwrap();
        assert!(read(dir.path()).err().expect("none").to_string().contains("line 1"));
    }
}
