//! `sideman separate` and the import of a separator, with a tiny random network: its stems are noise, but they add up to the song.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(path)
}

pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    command.args(args).current_dir(dir).env("NO_COLOR", "1");
    command
}

/// The exit status of the program, which must not panic.
pub fn status(dir: &Path, args: &[&str]) -> i32 {
    let output = command(dir, args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{args:?}: {text}");
    println!("{args:?}: {text}");
    output.status.code().expect("an exit status")
}

/// A temporary folder with the tiny separator in `net`.
pub fn separator() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    let net = golden("golden/htdemucs/tiny-33b232b2.th");
    assert_eq!(status(tmp.path(), &["model", "import", net.to_str().unwrap(), "--to", "net"]), 0);
    tmp
}

/// Writes a song of 16-bit samples. Each channel has a tone of its own, and silence in the second half.
pub fn song(path: &Path, rate: u32, channels: u16, frames: u32) {
    let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..frames {
        for c in 0..channels {
            let tone = (n as f32 * 0.02 * f32::from(c + 1)).sin() * if n < frames / 2 { 9000.0 } else { 0.0 };
            file.write_sample(tone as i16).unwrap();
        }
    }
    file.finalize().unwrap();
}

pub fn read(path: &Path) -> (hound::WavSpec, Vec<f32>) {
    let mut file = hound::WavReader::open(path).unwrap();
    let spec = file.spec();
    let samples = match spec.sample_format {
        hound::SampleFormat::Float => file.samples::<f32>().map(Result::unwrap).collect(),
        hound::SampleFormat::Int => file.samples::<i16>().map(|x| f32::from(x.unwrap()) / 32768.0).collect(),
    };
    (spec, samples)
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn stems_have_the_songs_rate_channels_and_length_and_add_up_to_it() {
    let tmp = separator();
    let dir = tmp.path();
    for (rate, channels, frames) in
        [(44_100, 2, 44_100), (48_000, 1, 48_000), (96_000, 6, 30_001), (8000, 2, 20_000), (22_050, 3, 1), (48_000, 2, 100)]
    {
        song(&dir.join("song.wav"), rate, channels, frames);
        assert_eq!(status(dir, &["separate", "song.wav", "--separator", "net", "--out", "out", "--force"]), 0);
        assert_eq!(names(&dir.join("out")), ["bass.wav", "drums.wav", "other.wav", "separation.json", "vocals.wav"]);
        let (_, mut rest) = read(&dir.join("song.wav"));
        let loudest = rest.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        for name in ["bass", "drums", "other", "vocals"] {
            let (spec, stem) = read(&dir.join("out").join(format!("{name}.wav")));
            assert_eq!((spec.sample_rate, spec.channels, stem.len()), (rate, channels, rest.len()), "{name}");
            rest.iter_mut().zip(&stem).for_each(|(rest, x)| *rest -= x);
        }
        assert!(rest.iter().all(|x| x.abs() < 1e-5 * loudest.max(1.0)), "{rate} Hz, {channels} channels");
        let report = std::fs::read(dir.join("out/separation.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!((report["sample_rate"].as_u64(), report["channels"].as_u64()), (Some(rate.into()), Some(channels.into())));
        assert_eq!(report["frames"].as_u64(), Some(frames.into()));
        let stems = report["stems"].as_array().unwrap();
        assert_eq!(stems.iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>(), ["drums", "bass", "vocals", "other"]);
        assert!(stems.iter().all(|s| s["estimated"].as_bool() == Some(s["name"] != "other")));
    }
}

#[test]
fn a_separator_is_described_with_its_licence() {
    let tmp = separator();
    let output = command(tmp.path(), &["model", "info", "net", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let config = std::fs::read(tmp.path().join("net/separator.json")).unwrap();
    assert_eq!(report["separator"], serde_json::from_slice::<serde_json::Value>(&config).unwrap());
    assert_eq!(report["weights"], 415_008);
    assert_eq!(status(tmp.path(), &["model", "info", "net"]), 0);
}

#[test]
fn one_stem_is_taken_out_of_compressed_songs() {
    let tmp = separator();
    let dir = tmp.path();
    for format in ["mp3", "ogg", "flac"] {
        let song = golden(&format!("audio/tone.{format}"));
        let args = ["separate", song.to_str().unwrap(), "--separator", "net", "--stems", "drums", "--out", format, "--json"];
        let output = command(dir, &args).output().unwrap();
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(names(&dir.join(format)), ["drums.wav", "remainder.wav", "separation.json"]);
        let [drums, remainder] = ["drums", "remainder"].map(|name| read(&dir.join(format).join(format!("{name}.wav"))).1);
        let values = report["frames"].as_u64().unwrap() * report["channels"].as_u64().unwrap();
        assert_eq!((drums.len() as u64, remainder.len() as u64), (values, values));
        assert!(drums.iter().any(|x| x.abs() > 1e-3) && drums.iter().chain(&remainder).all(|x| x.is_finite()));
    }
}

#[test]
fn silence_has_silent_stems() {
    let tmp = separator();
    let dir = tmp.path();
    let spec = hound::WavSpec { channels: 2, sample_rate: 44_100, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(dir.join("song.wav"), spec).unwrap();
    (0..100_000).for_each(|_| file.write_sample(0i16).unwrap());
    file.finalize().unwrap();
    assert_eq!(status(dir, &["separate", "song.wav", "--separator", "net", "--out", "out"]), 0);
    for name in ["bass", "drums", "other", "vocals"] {
        let (_, stem) = read(&dir.join("out").join(format!("{name}.wav")));
        assert!(stem.len() == 100_000 && stem.iter().all(|x| *x == 0.0), "{name}");
    }
}

#[test]
fn the_number_of_threads_changes_no_byte_of_the_files() {
    let tmp = separator();
    let dir = tmp.path();
    song(&dir.join("song.wav"), 12_000, 2, 15_000);
    for threads in ["1", "3"] {
        assert_eq!(status(dir, &["separate", "song.wav", "--separator", "net", "--threads", threads, "--out", threads]), 0);
    }
    for name in names(&dir.join("1")) {
        assert!(std::fs::read(dir.join("1").join(&name)).unwrap() == std::fs::read(dir.join("3").join(&name)).unwrap(), "{name}");
    }
}

#[test]
fn nothing_is_replaced_without_force_and_a_song_never() {
    let tmp = separator();
    let dir = tmp.path();
    song(&dir.join("drums.wav"), 8000, 1, 8000);
    let before = std::fs::read(dir.join("drums.wav")).unwrap();
    for more in [&[][..], &["--force"]] {
        assert_eq!(status(dir, &[&["separate", "drums.wav", "--separator", "net", "--out", "."][..], more].concat()), 2);
    }
    let first = ["separate", "drums.wav", "--separator", "net", "--out", "out"];
    assert_eq!(status(dir, &first), 0);
    let bass = std::fs::read(dir.join("out/bass.wav")).unwrap();
    std::fs::write(dir.join("out/bass.wav"), "mine").unwrap();
    assert_eq!(status(dir, &first), 2);
    assert_eq!(std::fs::read(dir.join("out/bass.wav")).unwrap(), b"mine");
    assert_eq!(status(dir, &[&first[..], &["--force"]].concat()), 0);
    assert!(std::fs::read(dir.join("out/bass.wav")).unwrap() == bass);
    assert!(std::fs::read(dir.join("drums.wav")).unwrap() == before);
}

#[test]
fn what_cannot_be_separated_is_an_error_and_leaves_nothing() {
    let tmp = separator();
    let dir = tmp.path();
    song(&dir.join("song.wav"), 8000, 1, 8000);
    std::fs::write(dir.join("text.wav"), "no audio").unwrap();
    std::fs::create_dir(dir.join("empty")).unwrap();
    let before = names(dir);
    for (args, code) in [
        (&["separate", "song.wav", "--separator", "net", "--stems", "guitar", "--out", "out"][..], 2),
        (&["separate", "song.wav", "--separator", "net", "--stems", "drums,drums", "--out", "out"], 2),
        (&["separate", "song.wav", "--separator", "empty", "--out", "out"], 1),
        (&["separate", "song.wav", "--separator", "song.wav", "--out", "out"], 1),
        (&["separate", "text.wav", "--separator", "net", "--out", "out"], 1),
        (&["separate", "none.wav", "--separator", "net", "--out", "out"], 1),
        (&["separate", "empty", "--separator", "net", "--out", "out"], 1),
        (&["separate", "song.wav", "--separator", "net"], 2),
        (&["model", "import", "song.wav", "--to", "net2"], 1),
        (&["model", "import", "song.wav", "--to", "net2", "--quant", "q8"], 2),
    ] {
        assert_eq!(status(dir, args), code, "{args:?}");
        assert_eq!(names(dir), before, "{args:?}");
    }
}

#[test]
fn ctrl_c_in_mid_song_leaves_nothing() {
    let tmp = separator();
    let dir = tmp.path();
    song(&dir.join("song.wav"), 8000, 2, 4_000_000);
    let before = names(dir);
    let mut child = command(dir, &["separate", "song.wav", "--separator", "net", "--out", "a/out"]);
    let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("frames")), "it says nothing");
    std::thread::spawn(move || lines.for_each(drop));
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(dir), before);
}
