//! What `render` and `live --from` hear of a recording with each `--instrument` and with `--chords ear`. The model is
//! the random one of tests/golden.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The first ten seconds of a recorded bass: Em C G D at 132 BPM.
fn bass(dir: &Path) -> String {
    let samples = sideman_engine::audio::read(&repository("examples/rock.flac")).unwrap().samples;
    let path = dir.join("rock.wav");
    let spec = hound::WavSpec { channels: 1, sample_rate: 32_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    samples[..320_000].iter().for_each(|x| file.write_sample((x * 32_000.0) as i16).unwrap());
    file.finalize().unwrap();
    path.to_string_lossy().into_owned()
}

/// Runs a command that writes the folder `to`. Returns what it prints on stderr.
fn said(args: &[&str], to: &Path) -> String {
    let out = if args[0] == "live" { "--to" } else { "--out" };
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    command.args(args).args([out, &to.to_string_lossy(), "--seed", "7"]).env("SIDEMAN_MODEL", repository("tests/golden/house"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

/// Runs a command that writes the folder `to`, and reads a JSON file of that folder.
fn run(args: &[&str], to: &Path, file: &str) -> Value {
    said(args, to);
    serde_json::from_slice(&std::fs::read(to.join(file)).unwrap()).unwrap()
}

#[test]
fn a_guitarist_a_pianist_and_a_singer_play_the_stem_other_live() {
    let dir = tempfile::tempdir().unwrap();
    let from = bass(dir.path());
    let take = |instrument: &str, file: &str| {
        let to = dir.path().join(format!("{instrument}-{file}"));
        run(&["live", "--headless", "--from", &from, "--seconds", "6", "--instrument", instrument], &to, file)
    };
    for instrument in ["guitar", "keys", "voice"] {
        let take = take(instrument, "take.json");
        assert_eq!(take["stems"][take["input_stem"].as_u64().unwrap() as usize], json!("other"), "{instrument}");
    }
    // A singer is heard one note at a time, as a bass is; a guitar by its chords.
    let [voice, bass, guitar, other] = ["voice", "bass", "guitar", "other"].map(|name| take(name, "song.json")["chords"].clone());
    assert!(voice.is_string() && voice == bass && guitar == other, "{voice} {bass} {guitar} {other}");
}

#[test]
fn chords_by_ear_are_heard_by_render_and_edit_whatever_the_file_says() {
    let dir = tempfile::tempdir().unwrap();
    let from = bass(dir.path());
    std::fs::write(dir.path().join("rock.json"), r#"{"bpm": 132, "bar1": 0.5, "chords": "F# Bb"}"#).unwrap();
    let chords = |args: &[&str], to: &str| run(args, &dir.path().join(to), "song.json")["chords"].clone();
    let render = ["render", "--bass", &from, "--seconds", "8"];
    let given = chords(&render, "given");
    assert_eq!(given, "F# Bb");
    let heard = chords(&[&render[..], &["--chords", "ear"]].concat(), "heard");
    assert!(heard.as_str().is_some_and(|chords| chords.starts_with("Em C G D")), "{heard}");
    let folder = dir.path().join("given").to_string_lossy().into_owned();
    let edited = chords(&["edit", &folder, "--redo", "drums", "--chords", "ear"], "edited");
    assert!(edited.is_string() && edited != "F# Bb", "{edited}");
}

#[test]
fn chords_by_ear_of_live_play_stay_causal_with_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let from = bass(dir.path());
    let take = |name: &str, flags: &[&str]| {
        let args = [&["live", "--headless", "--from", &from, "--seconds", "6"], flags].concat();
        run(&args, &dir.path().join(name), "take.json")
    };
    let causal = take("causal", &["--chords", "ear"]);
    assert_eq!(causal["chords"], "ear");
    // The tempo is heard in advance either way.
    let heard = take("heard", &[]);
    assert!(heard["chords"] != "ear" && heard["tempo"] == causal["tempo"], "{heard} {causal}");
}

/// The recording has 132 BPM, and bar 1 at 0.5 s.
#[test]
fn a_tempo_or_bar_1_that_the_recording_contradicts_is_said_with_what_would_fit() {
    let dir = tempfile::tempdir().unwrap();
    let from = bass(dir.path());
    let says = |name: &str, args: &[&str]| {
        let args = [&["render", "--bass", &from, "--chords", "Em C G D"], args].concat();
        let said = said(&args, &dir.path().join(name));
        (said.contains("132.00 BPM") && said.contains("0.50 s"), said)
    };
    for (name, args) in [
        ("tempo", &["--tempo", "120", "--bar1", "0.5"][..]),
        ("near", &["--tempo", "128", "--bar1", "0.5"]),
        ("bar1", &["--tempo", "132", "--bar1", "0.33"]),
        // Without a tempo the beat that was found is named.
        ("none", &[]),
    ] {
        let (named, said) = says(name, args);
        assert!(named, "{name}: {said}");
    }
    // What fits is not commented on, nor half of it, nor a bar line on another beat.
    for (name, args) in [
        ("same", &["--tempo", "132", "--bar1", "0.5"][..]),
        ("half", &["--tempo", "66", "--bar1", "0.5"]),
        ("beat-2", &["--tempo", "132", "--bar1", "0.954545"]),
        ("silent", &["--tempo", "120", "--bar1", "0.5", "--no-listen"]),
    ] {
        let (named, said) = says(name, args);
        assert!(!named, "{name}: {said}");
    }
}
