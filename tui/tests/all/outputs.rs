//! What the commands do to files that are there already: none that is read is replaced, and none that appears
//! is incomplete.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house")
}

/// The program in the folder `dir`.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    command.args(args).current_dir(dir).env("SIDEMAN_MODEL", golden()).env("NO_COLOR", "1");
    command
}

/// The exit status of the program, which must not panic.
fn status(dir: &Path, args: &[&str]) -> i32 {
    let output = command(dir, args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{args:?}: {text}");
    println!("{args:?}: {text}");
    output.status.code().expect("an exit status")
}

/// A bass of half a second: stereo, 48 kHz.
fn bass(path: &Path) {
    let spec = hound::WavSpec { channels: 2, sample_rate: 48_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..48_000 {
        file.write_sample(((n / 2) as f32 * 0.01).sin() as i16 * 8000).unwrap();
    }
    file.finalize().unwrap();
}

/// Every file below a folder with its contents.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.insert(path.clone(), Vec::new());
            // A link to a folder can lead back to it.
            files.extend(if path.is_symlink() { BTreeMap::new() } else { tree(&path) });
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn no_command_replaces_a_file_that_it_reads() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    bass(&dir.join("bass.wav"));
    bass(&dir.join("song.wav"));
    std::fs::write(dir.join("song.json"), r#"{"bpm": 100, "licence": "mine"}"#).unwrap();
    std::fs::create_dir(dir.join("linked")).unwrap();
    std::os::unix::fs::symlink("../bass.wav", dir.join("linked/bass.wav")).unwrap();
    std::fs::create_dir(dir.join("hard")).unwrap();
    std::fs::hard_link(dir.join("bass.wav"), dir.join("hard/drums.wav")).unwrap();
    std::os::unix::fs::symlink(".", dir.join("here")).unwrap();
    assert_eq!(status(dir, &["render", "--bass", "bass.wav", "--out", "band"]), 0);
    assert_eq!(status(dir, &["live", "--from", "bass.wav", "--to", "take"]), 0);
    let before = tree(dir);
    for args in [
        &["render", "--bass", "bass.wav", "--out", "."][..],
        &["render", "--bass", "here/bass.wav", "--out", "."],
        &["render", "--bass", "bass.wav", "--out", "here"],
        &["render", "--bass", "bass.wav", "--out", "linked"],
        &["render", "--bass", "bass.wav", "--out", "hard"],
        // Its song.json is read.
        &["render", "--bass", "song.wav", "--out", ".", "--make", "drums"],
        &["render", "--bass", "band/bass.wav", "--out", "band"],
        &["live", "--from", "bass.wav", "--to", "."],
        &["live", "--from", "bass.wav", "--to", "linked"],
        &["edit", "band", "--redo", "drums", "--out", "band"],
        &["continue", "band", "--seconds", "1", "--out", "band"],
        &["edit", "take", "--redo", "drums", "--out", "take"],
        &["replay", "take", "--out", "take"],
        &["replay", "take", "--out", "here/take"],
    ] {
        assert_eq!(status(dir, args), 2, "{args:?}");
        assert_eq!(status(dir, &[args, &["--force"]].concat()), 2, "{args:?} --force");
        assert!(tree(dir) == before, "{args:?} changed a file");
    }
}

#[test]
fn a_folder_that_holds_a_song_is_replaced_only_with_force() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    bass(&dir.join("in.wav"));
    let render = ["render", "--bass", "in.wav", "--out", "out", "--seed"];
    let live = ["live", "--from", "in.wav", "--to", "out", "--seed"];
    let variations = ["render", "--bass", "in.wav", "--variations", "2", "--out", "many", "--seed"];
    for (first, args) in [(render, live), (live, render)] {
        assert_eq!(status(dir, &[&first[..], &["1"]].concat()), 0);
        let before = tree(dir);
        for again in [first, args] {
            assert_eq!(status(dir, &[&again[..], &["2"]].concat()), 2);
            assert!(tree(dir) == before, "{again:?} changed a file");
        }
        assert_eq!(status(dir, &[&args[..], &["2", "--force"]].concat()), 0);
        assert!(tree(dir) != before);
        std::fs::remove_dir_all(dir.join("out")).unwrap();
    }
    assert_eq!(status(dir, &[&variations[..], &["1"]].concat()), 0);
    let before = tree(dir);
    assert_eq!(status(dir, &[&variations[..], &["2"]].concat()), 2);
    assert!(tree(dir) == before);
    // What else is in the folder stays, and is no reason to refuse.
    std::fs::create_dir(dir.join("mine")).unwrap();
    std::fs::write(dir.join("mine/notes.txt"), "mine").unwrap();
    assert_eq!(status(dir, &["render", "--bass", "in.wav", "--out", "mine"]), 0);
    assert_eq!(std::fs::read(dir.join("mine/notes.txt")).unwrap(), b"mine");
    assert!(dir.join("mine/mix.wav").exists());
}

#[test]
fn with_force_a_link_in_the_output_folder_is_replaced_and_not_what_it_points_to() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    bass(&dir.join("in.wav"));
    std::fs::write(dir.join("precious"), "mine").unwrap();
    for args in [["render", "--bass", "in.wav", "--out"], ["live", "--from", "in.wav", "--to"]] {
        let out = dir.join(args[0]);
        std::fs::create_dir(&out).unwrap();
        std::os::unix::fs::symlink("../precious", out.join("drums.wav")).unwrap();
        assert_eq!(status(dir, &[&args[..], &[args[0]]].concat()), 2);
        assert_eq!(status(dir, &[&args[..], &[args[0], "--force"]].concat()), 0);
        assert_eq!(std::fs::read(dir.join("precious")).unwrap(), b"mine");
        assert!(hound::WavReader::open(out.join("drums.wav")).is_ok());
    }
}

/// A render that takes long, when it has begun to generate.
fn long_render(dir: &Path, before: &str) -> Child {
    let mut child = Command::new("sh");
    child.arg("-c").arg(format!("{before} exec \"$0\" render --text funk --seconds 1200 --out a/band"));
    child.arg(env!("CARGO_BIN_EXE_sideman")).current_dir(dir).env("SIDEMAN_MODEL", golden()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("frames")), "it says nothing");
    // It goes on writing to stderr.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn kill(child: &Child, signal: &str) {
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_signal_in_mid_render_leaves_nothing_and_gives_its_exit_status() {
    let tmp = tempfile::tempdir().unwrap();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut child = long_render(tmp.path(), "");
        kill(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0, "{signal} left a file");
    }
}

#[test]
fn a_signal_that_was_ignored_before_stays_ignored() {
    let tmp = tempfile::tempdir().unwrap();
    let mut child = long_render(tmp.path(), "trap '' HUP;");
    kill(&child, "HUP");
    kill(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143), "nohup must work");
}

#[test]
fn what_stdout_cannot_take_is_a_failure() {
    let tmp = tempfile::tempdir().unwrap();
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let status = command(tmp.path(), &["osc"]).stdout(full()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    // `| head` ends early, which is no failure.
    let mut child = command(tmp.path(), &["osc"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_model_whose_path_is_not_utf8_renders_records_and_replays() {
    use std::os::unix::ffi::OsStrExt;
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let model = dir.join(std::ffi::OsStr::from_bytes(b"mod\xffel"));
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    bass(&dir.join("in.wav"));
    for args in [
        &["render", "--bass", "in.wav", "--out", "band", "--json"][..],
        &["live", "--from", "in.wav", "--to", "take", "--json"],
        &["replay", "take", "--out", "again", "--json"],
        &["model", "list", "--json"],
    ] {
        let mut command = command(dir, args);
        if args[0] != "model" {
            command.arg("--model").arg(&model);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok(), "{args:?}");
    }
    let names =
        |name: &str| tree(&dir.join(name)).into_keys().filter_map(|p| p.file_name().map(|n| n.to_owned())).collect::<Vec<_>>();
    assert_eq!(names("take").len(), 13, "{:?}", names("take"));
    assert_eq!(std::fs::read(dir.join("take/mix.wav")).unwrap(), std::fs::read(dir.join("again/mix.wav")).unwrap());
}

#[test]
fn a_length_or_a_lag_that_cannot_be_is_refused_and_leaves_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    bass(&dir.join("in.wav"));
    let before = tree(dir);
    for (args, code) in [
        (&["live", "--from", "in.wav", "--to", "out", "--seconds", "nan"][..], 2),
        (&["live", "--from", "in.wav", "--to", "out", "--seconds", "1e-9"], 2),
        (&["live", "--from", "in.wav", "--to", "out", "--seconds", "-3"], 2),
        (&["live", "--from", "in.wav", "--to", "out", "--bar1", "nan"], 2),
        (&["live", "--from", "in.wav", "--to", "out", "--latency", "nan"], 2),
        (&["live", "--from", "in.wav", "--to", "out", "--lag", "65535"], 2),
        (&["render", "--text", "funk", "--seconds", "1e-9", "--out", "out"], 2),
        (&["render", "--text", "funk", "--seconds", "nan", "--out", "out"], 2),
        (&["render", "--bass", "in.wav", "--lag", "65535", "--out", "out"], 1),
        (&["render", "--bass", "in.wav", "--bar1", "nan", "--tempo", "100", "--out", "out"], 2),
    ] {
        assert_eq!(status(dir, args), code, "{args:?}");
        assert!(tree(dir) == before, "{args:?} left a file");
    }
}

/// A bass.json that another program wrote is no reason not to play.
#[test]
fn a_json_file_of_another_program_does_not_stop_a_render() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    bass(&dir.join("bass.wav"));
    for (n, text) in [r#"{"bpm": 100, "chords": ["Em7", "A7"]}"#, r#"{"chords": [{"t": 1}]}"#, "[1, 2]", "{"].iter().enumerate() {
        std::fs::write(dir.join("bass.json"), text).unwrap();
        let out = format!("band{n}");
        assert_eq!(status(dir, &["render", "--bass", "bass.wav", "--out", &out]), 0, "{text}");
        let song: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join(out).join("song.json")).unwrap()).unwrap();
        assert_eq!(song["chords"].as_str(), (n == 0).then_some("Em7 A7"), "{text}");
    }
}

/// Two stems whose sum clips, and one that is above full scale by itself.
#[test]
fn continue_leaves_what_is_given_bit_for_bit() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    std::fs::create_dir(dir.join("song")).unwrap();
    let spec =
        hound::WavSpec { channels: 1, sample_rate: 32_000, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
    for (name, gain) in [("bass", 1.3), ("drums", 0.9), ("other", 0.9)] {
        let mut file = hound::WavWriter::create(dir.join(format!("song/{name}.wav")), spec).unwrap();
        (0..32_000).for_each(|n| file.write_sample(gain * (n as f32 * 0.02).sin()).unwrap());
        file.finalize().unwrap();
    }
    assert_eq!(status(dir, &["continue", "song", "--seconds", "0.5", "--out", "longer"]), 0);
    let bits = |path: &str| -> Vec<u32> {
        hound::WavReader::open(dir.join(path)).unwrap().into_samples::<f32>().map(|x| x.unwrap().to_bits()).collect()
    };
    for name in ["bass", "drums", "other"] {
        let (given, longer) = (bits(&format!("song/{name}.wav")), bits(&format!("longer/{name}.wav")));
        // Over the last frame it is cross-faded with what follows.
        assert!(given[..32_000 - 640] == longer[..32_000 - 640], "{name}");
    }
    let mix = bits("longer/mix.wav");
    assert!(mix.iter().all(|x| f32::from_bits(*x).abs() <= 1.0), "the mix alone has headroom");
}
