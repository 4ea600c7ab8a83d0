//! `sideman live` and `sideman replay` as a musician meets them, with the random model of tests/golden.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    command.args(args).env("SIDEMAN_MODEL", model()).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn sideman(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Samples of a WAV as a reader finds them: as many as its header says.
fn wav(path: &Path) -> Vec<f32> {
    let file = hound::WavReader::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.into_samples::<f32>().map(Result::unwrap).collect()
}

/// `seconds` of 48 kHz stereo.
fn bass(dir: &Path, seconds: f64) -> String {
    let path = dir.join("bass.wav");
    let spec = hound::WavSpec { channels: 2, sample_rate: 48_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..(seconds * 48_000.0) as usize {
        let x = ((n as f64 * std::f64::consts::TAU * 55.0 / 48_000.0).sin() * 12_000.0) as i16;
        file.write_sample(x).unwrap();
        file.write_sample(x).unwrap();
    }
    file.finalize().unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn live_between_files_depends_only_on_the_input_and_replays_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let from = bass(dir.path(), 2.5);
    let play = |to: &str, more: &[&str]| {
        let line =
            ["live", "--from", &from, "--to", to, "--instrument", "bass", "--tempo", "104", "--bar1", "0.5", "--chords", "Em C"];
        let args: Vec<&str> = line
            .into_iter()
            .chain(["--seed", "7", "--threads", "1", "--click", "--lag", "12"])
            .chain(more.iter().copied())
            .collect();
        good(&sideman(&args))
    };
    let said = play(&at("fast"), &[]);
    assert!(said.contains("seed 7"), "{said}");
    play(&at("real"), &["--pace", "real", "--hop", "6"]);
    let again = good(&sideman(&["replay", &at("fast"), "--out", &at("again"), "--json"]));
    assert!(again.contains("\"seconds\": 2.5"), "{again}");
    for name in ["input", "bass", "drums", "other", "click", "mix"] {
        let file = |take: &str| std::fs::read(dir.path().join(take).join(format!("{name}.wav"))).unwrap();
        let wide = if name == "mix" { 2 } else { 1 };
        assert_eq!(
            wav(&dir.path().join("fast").join(format!("{name}.wav"))).len(),
            wide * 80_000,
            "{name} is as long as the input"
        );
        assert!(file("fast") == file("real"), "{name} depends on the pace");
        assert!(file("fast") == file("again"), "{name} is not the same from its take");
    }
    assert_eq!(wav(&dir.path().join("fast/input.wav")), wav(&dir.path().join("fast/bass.wav")));
    // Clicks are on the beats: at 0.5 s, and every 60/104 s after it.
    let click = wav(&dir.path().join("fast/click.wav"));
    let mut strikes = Vec::new();
    for (n, x) in click.iter().enumerate() {
        if *x != 0.0 && strikes.last().is_none_or(|last| n - last > 8000) {
            strikes.push(n);
        }
    }
    let beat = 60.0 / 104.0 * 32_000.0;
    let near = |n: usize| ((n as f64 - 16_000.0) / beat - ((n as f64 - 16_000.0) / beat).round()).abs() * beat;
    assert!(strikes.len() >= 3 && strikes.iter().all(|n| near(*n) <= 2.0), "{strikes:?}");
    let sheet: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.path().join("fast/take.json")).unwrap()).unwrap();
    assert_eq!((sheet["seed"].as_u64(), sheet["samples"].as_u64()), (Some(7), Some(80_000)));
    assert_eq!(sheet["model_sha256"].as_str().map(str::len), Some(64));
    // A take can be edited.
    good(&sideman(&["edit", &at("fast"), "--redo", "drums", "--out", &at("edited"), "--seed", "1", "--threads", "1"]));
    assert_eq!(wav(&dir.path().join("edited/bass.wav")), wav(&dir.path().join("fast/bass.wav")));
}

/// Take folders of q8 with either activations. A take from before the key `activations` was played with f32.
#[test]
fn a_take_says_which_activations_it_was_played_with_and_replays_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let from = bass(dir.path(), 2.0);
    let play = |to: &str, more: &[&str]| {
        let line = ["live", "--from", &from, "--to", &at(to), "--tempo", "104", "--seed", "7", "--threads", "1"];
        good(&sideman(&line.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()));
        let text = std::fs::read(dir.path().join(to).join("take.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()
    };
    let tokens = |take: &str| std::fs::read(dir.path().join(take).join("tokens.safetensors")).unwrap();
    let drums = |take: &str| wav(&dir.path().join(take).join("drums.wav"));
    assert_eq!(play("int8", &["--precision", "q8"])["activations"], "int8");
    assert_eq!(play("bf16", &["--precision", "bf16"])["activations"], "f32");
    let mut old = play("f32", &["--precision", "q8", "--activations", "f32"]);
    assert_eq!(old["activations"], "f32");
    assert!(drums("int8") != drums("f32"), "the two arithmetics differ");
    old.as_object_mut().unwrap().remove("activations");
    std::fs::write(dir.path().join("f32/take.json"), old.to_string()).unwrap();
    for take in ["int8", "f32"] {
        let again = format!("{take}-again");
        good(&sideman(&["replay", &at(take), "--out", &at(&again), "--threads", "2"]));
        assert!(tokens(take) == tokens(&again) && drums(take) == drums(&again), "{take} is not the same from its take");
    }
}

/// A count of four at 120 BPM from second 1.5 on, and four bars of eighth notes after it, in A.
fn counted_bass(dir: &Path) -> String {
    let path = dir.join("counted.wav");
    let spec = hound::WavSpec { channels: 1, sample_rate: 32_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..12 * 32_000 {
        let t = f64::from(n) / 32_000.0 - 1.5;
        let (note, hz) = if t < 2.0 { (t % 0.5, 55.0) } else { (t % 0.25, [55.0, 82.5][(t * 4.0) as usize % 2]) };
        let tone = |h: i32| (note * hz * f64::from(h) * std::f64::consts::TAU).sin() / f64::from(h);
        let x = if t < 0.0 || note > 0.2 { 0.0 } else { 9_000.0 * (-6.0 * note).exp() * (1..6).map(tone).sum::<f64>() };
        file.write_sample(x as i16).unwrap();
    }
    file.finalize().unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_take_by_ear_lists_beats_and_chords_and_replays_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let from = counted_bass(dir.path());
    let line = ["live", "--from", &from, "--to", &at("take"), "--clock", "ear", "--meter", "4/4", "--json", "--threads", "1"];
    let report: serde_json::Value = serde_json::from_str(&good(&sideman(&line))).unwrap();
    let beats = report["beats"].as_array().unwrap();
    assert!(beats.len() >= 12, "{beats:?}");
    for (n, beat) in beats.iter().take(12).enumerate() {
        assert_eq!((beat["bar"].as_u64(), beat["beat"].as_u64()), (Some(n as u64 / 4 + 1), Some(n as u64 % 4 + 1)));
        assert!((beat["time"].as_f64().unwrap() - 3.5 - 0.5 * n as f64).abs() < 0.05, "{beat}");
    }
    let chords = report["chords"].as_array().unwrap();
    assert!(chords.iter().any(|chord| chord["name"].as_str().is_some_and(|name| name.starts_with('A'))), "{chords:?}");
    good(&sideman(&["replay", &at("take"), "--out", &at("again"), "--threads", "1"]));
    for name in ["bass", "drums", "other", "mix"] {
        let file = |take: &str| std::fs::read(dir.path().join(take).join(format!("{name}.wav"))).unwrap();
        assert!(file("take") == file("again"), "{name} is not the same from its take");
    }
}

#[test]
fn an_impossible_flag_or_take_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let from = bass(dir.path(), 0.5);
    let to = dir.path().join("to").to_string_lossy().into_owned();
    for (args, status, words) in [
        (vec!["live", "--host", "theatre"], 1, "--host theatre"),
        (vec!["live", "--headless", "--keys", "no-such.toml"], 2, "no-such.toml"),
        (vec!["live", "--from", &from], 2, "--to"),
        (vec!["live", "--from", &from, "--to", &to, "--instrument", "kazoo"], 2, "--instrument kazoo"),
        (vec!["live", "--from", &from, "--to", &to, "--tempo", "1000"], 2, "1000"),
        (vec!["live", "--headless", "--host", "theatre"], 1, "--host theatre"),
        (vec!["replay", dir.path().to_str().unwrap(), "--out", &to], 1, "take.json"),
    ] {
        let output = sideman(&args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        assert!(text.contains(words) && !text.contains("panicked"), "{args:?}: {text}");
    }
}

#[test]
fn a_hop_that_does_not_fit_the_lead_is_refused_before_anything_sounds() {
    let dir = tempfile::tempdir().unwrap();
    let takes = dir.path().join("takes").to_string_lossy().into_owned();
    let play = |more: &[&str]| {
        let line =
            ["live", "--headless", "--host", "null", "--tempo", "120", "--seconds", "1", "--threads", "1", "--record", &takes];
        sideman(&line.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()).status.code()
    };
    // At lag 8 the lead is 53 ms, at lag 25 it is 393 ms.
    assert_eq!(play(&["--lag", "8", "--hop", "4"]), Some(2));
    assert_eq!(play(&["--lag", "25", "--hop", "25"]), Some(2));
    assert!(!dir.path().join("takes").exists(), "nothing was begun");
    // One that fits, and the default, which is shortened.
    assert_eq!(play(&["--lag", "8", "--hop", "1"]), Some(0));
    assert_eq!(play(&["--lag", "8"]), Some(0));
}

/// Starts a session without a device that records below `dir`.
fn start(dir: &Path) -> Child {
    let takes = dir.to_string_lossy();
    let args = ["live", "--headless", "--host", "null", "--tempo", "120", "--record", &takes, "--seed", "3", "--threads", "1"];
    command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The take below `dir`, when it has `seconds`.
fn take(dir: &Path, seconds: f64) -> PathBuf {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(120), "no take of {seconds} s");
        std::thread::sleep(Duration::from_millis(50));
        let Some(take) = std::fs::read_dir(dir).ok().and_then(|mut d| d.next()).and_then(Result::ok) else { continue };
        let size = |name: &str| std::fs::metadata(take.path().join(name)).map_or(0, |m| m.len()) as f64;
        if size("mix.wav") / (8.0 * 32_000.0) > seconds {
            return take.path();
        }
    }
}

#[test]
fn a_killed_session_loses_at_most_a_second_of_its_take() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = start(dir.path());
    let take = take(dir.path(), 3.0);
    let there = std::fs::metadata(take.join("mix.wav")).unwrap().len() as usize / 8;
    // SIGKILL.
    session.kill().unwrap();
    session.wait().unwrap();
    let lengths = ["input", "bass", "drums", "other", "click", "mix"]
        .map(|name| wav(&take.join(format!("{name}.wav"))).len() / if name == "mix" { 2 } else { 1 });
    assert!(lengths.iter().all(|n| n + 32_000 >= there), "{lengths:?} of {there}");
    // The take can be replayed.
    let out = dir.path().join("again").to_string_lossy().into_owned();
    good(&sideman(&["replay", take.to_str().unwrap(), "--out", &out]));
    let (was, is) = (wav(&take.join("other.wav")), wav(&dir.path().join("again/other.wav")));
    let n = was.len().min(is.len());
    assert!(n >= 32_000 && was[..n] == is[..n], "the replay differs from the take of the killed session");
}

#[test]
fn sigterm_closes_the_take() {
    let dir = tempfile::tempdir().unwrap();
    let session = start(dir.path());
    let take = take(dir.path(), 1.0);
    let pid = session.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = session.wait_with_output().unwrap();
    let said = good(&output);
    assert!(said.contains("seed 3"), "{said}");
    let status = String::from_utf8_lossy(&output.stderr);
    assert!(status.contains("bar ") && status.contains("no device"), "{status}");
    let sheet: serde_json::Value = serde_json::from_slice(&std::fs::read(take.join("take.json")).unwrap()).unwrap();
    assert_eq!(sheet["samples"].as_u64(), Some(wav(&take.join("drums.wav")).len() as u64));
}
