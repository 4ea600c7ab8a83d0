//! The program's commands: the files and JSON that they write, and their exit status. Models are the random
//! ones of tests/golden.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sideman_engine::audio;

/// A random model with text and controls.
fn house() -> PathBuf {
    golden("house")
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

/// Runs the program.
fn sideman<const N: usize>(args: [&dyn AsRef<std::ffi::OsStr>; N]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    args.iter().for_each(|arg| {
        command.arg(arg);
    });
    command.env_remove("SIDEMAN_MODEL").env("NO_COLOR", "1").output().unwrap()
}

/// The stdout of a successful run.
fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The stderr of a run that fails with this exit status and does not panic.
fn bad(output: &Output, status: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// A bass of `seconds` as a stereo WAV: 44.1 kHz, 16 bits.
fn bass(dir: &Path, seconds: f64) -> PathBuf {
    let path = dir.join("bass.wav");
    let spec = hound::WavSpec { channels: 2, sample_rate: 44_100, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..(seconds * 44_100.0) as usize {
        let x = (n as f64 * std::f64::consts::TAU * 82.4 / 44_100.0).sin() * 0.4 * f64::from(i16::MAX);
        file.write_sample(x as i16).unwrap();
        file.write_sample((x * 0.5) as i16).unwrap();
    }
    file.finalize().unwrap();
    path
}

fn samples(path: &Path) -> Vec<f32> {
    let mut file = hound::WavReader::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let spec = file.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, 32_000, 32), "{}", path.display());
    file.samples::<f32>().map(Result::unwrap).collect()
}

/// Names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[test]
fn the_help_of_every_command_has_an_example() {
    for command in [
        &["render"][..],
        &["edit"],
        &["continue"],
        &["model", "list"],
        &["model", "info"],
        &["model", "verify"],
        &["doctor"],
        &["osc"],
        &[],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_sideman")).args(command).arg("--help").output().unwrap();
        let text = good(&output);
        assert!(text.contains("Example") && text.contains("  sideman "), "{command:?}: {text}");
    }
}

#[test]
fn render_keeps_the_recording_and_adds_the_other_stems() {
    let dir = tempfile::tempdir().unwrap();
    let bass = bass(dir.path(), 1.5);
    let out = dir.path().join("band");
    good(&sideman([
        &"render",
        &"--bass",
        &bass,
        &"--make",
        &"drums,other",
        &"--out",
        &out,
        &"--model",
        &house(),
        &"--seed",
        &"7",
        &"--room",
        &"0",
    ]));
    assert_eq!(names(&out), ["bass.wav", "drums.wav", "index.html", "mix.wav", "other.wav", "song.dawproject", "song.json"]);
    let stems: Vec<_> = ["bass", "drums", "other", "mix"].iter().map(|n| samples(&out.join(format!("{n}.wav")))).collect();
    // 1.5 s at 44.1 kHz are 48 000 samples at 32 kHz.
    assert!(stems.iter().all(|s| s.len() == 48_000));
    assert_eq!(stems[0], audio::read(&bass).unwrap().samples, "the bass is written bit for bit");
    assert!(audio::level::peak(&stems[3]) <= 1.0);
    let sums: Vec<f32> = (0..48_000).map(|n| stems[0][n] + stems[1][n] + stems[2][n]).collect();
    let gain = audio::level::rms(&stems[3]) / audio::level::rms(&sums);
    let off = sums.iter().zip(&stems[3]).map(|(sum, mix)| (sum * gain - mix).abs()).fold(0.0, f32::max);
    assert!(off < 1e-4, "the mix is the sum of the stems times one gain, but differs by {off}");

    let again = dir.path().join("again");
    good(&sideman([&"render", &"--bass", &bass, &"--out", &again, &"--model", &house(), &"--seed", &"7", &"--threads", &"1"]));
    let other = dir.path().join("other");
    good(&sideman([&"render", &"--bass", &bass, &"--out", &other, &"--model", &house(), &"--seed", &"8"]));
    for name in ["bass.wav", "drums.wav", "other.wav"] {
        let [a, b, c] = [&out, &again, &other].map(|dir| std::fs::read(dir.join(name)).unwrap());
        assert!(a == b, "{name}: the same seed gives other bytes, or the room is in a stem");
        assert_eq!(a == c, name == "bass.wav", "{name}: another seed");
    }
    // In a room the mix is wide.
    let mut file = hound::WavReader::open(again.join("mix.wav")).unwrap();
    assert_eq!((file.spec().channels, file.duration()), (2, 48_000));
    let mix: Vec<f32> = file.samples::<f32>().map(Result::unwrap).collect();
    assert!(mix.chunks(2).any(|pair| (pair[0] - pair[1]).abs() > 1e-3) && audio::level::peak(&mix) <= 1.0);
}

#[test]
fn render_writes_only_the_stems_of_make() {
    let dir = tempfile::tempdir().unwrap();
    let (bass, out) = (bass(dir.path(), 0.3), dir.path().join("band"));
    let no_page = "--no-page";
    good(&sideman([&"render", &"--bass", &bass, &"--make", &"drums", &"--out", &out, &"--model", &house(), &no_page]));
    assert_eq!(names(&out), ["bass.wav", "drums.wav", "mix.wav", "song.dawproject", "song.json"]);
}

#[test]
fn a_flag_overrides_the_json_file_beside_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let bass = bass(dir.path(), 0.5);
    std::fs::write(
        dir.path().join("bass.json"),
        r#"{"bpm": 100, "meter": [4, 4], "bar1": 0.1, "chords": "Em7 A7", "style": "funk"}"#,
    )
    .unwrap();
    let render = |out: &str, more: &[&str]| {
        let out = dir.path().join(out);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
        command
            .arg("render")
            .arg("--bass")
            .arg(&bass)
            .arg("--out")
            .arg(&out)
            .arg("--model")
            .arg(house())
            .args(["--seed", "1"])
            .args(more);
        let output = command.output().unwrap();
        good(&output);
        let song: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("song.json")).unwrap()).unwrap();
        (String::from_utf8(output.stderr).unwrap(), song, samples(&out.join("drums.wav")))
    };
    let (said, song, with) = render("with", &[]);
    assert!(said.contains("bass.json"), "{said}");
    assert_eq!((&song["bpm"], &song["text"], &song["seed"]), (&100.0.into(), &"funk".into(), &1.into()));
    assert_eq!(song["chords"], "Em7 A7");
    let (said, song, without) = render("without", &["--no-chart"]);
    assert!(!said.contains("bass.json") && song["bpm"].is_null(), "{said}");
    assert!(with != without, "the chart changes the music");
    let (_, song, _) = render("flags", &["--tempo", "90", "--text", "slow"]);
    assert_eq!((&song["bpm"], &song["text"], &song["chords"]), (&90.0.into(), &"slow".into(), &"Em7 A7".into()));
}

#[test]
fn the_first_variation_equals_a_single_render() {
    let dir = tempfile::tempdir().unwrap();
    let (bass, out, one) = (bass(dir.path(), 0.4), dir.path().join("band"), dir.path().join("one"));
    let text = good(&sideman([
        &"render",
        &"--bass",
        &bass,
        &"--out",
        &out,
        &"--model",
        &house(),
        &"--seed",
        &"3",
        &"--variations",
        &"2",
        &"--json",
    ]));
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (document["songs"].as_array().unwrap().len(), &document["fixture"], &document["seed"]),
        (2, &true.into(), &3.into())
    );
    good(&sideman([&"render", &"--bass", &bass, &"--out", &one, &"--model", &house(), &"--seed", &"3"]));
    assert_eq!(names(&out), ["1", "2"]);
    let drums = |dir: &Path| samples(&dir.join("drums.wav"));
    assert_eq!(drums(&out.join("1")), drums(&one), "the first variation differs from a single render");
    assert_ne!(drums(&out.join("1")), drums(&out.join("2")));
}

#[test]
fn a_song_from_a_text_can_be_edited_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    let [song, edited, textured, longer] = ["song", "edited", "textured", "longer"].map(|n| dir.path().join(n));
    good(&sideman([
        &"render",
        &"--text",
        &"slow funk",
        &"--seconds",
        &"0.7",
        &"--out",
        &song,
        &"--model",
        &house(),
        &"--seed",
        &"1",
    ]));
    let len = samples(&song.join("bass.wav")).len();
    assert_eq!(len, 22_400);

    good(&sideman([&"edit", &song, &"--redo", &"drums", &"--out", &edited, &"--model", &house(), &"--seed", &"2"]));
    for (name, same) in [("bass.wav", true), ("other.wav", true), ("drums.wav", false)] {
        assert_eq!(samples(&song.join(name)) == samples(&edited.join(name)), same, "{name}");
    }
    let levels = good(&sideman([
        &"edit",
        &song,
        &"--redo",
        &"other",
        &"--texture",
        &"2..4",
        &"--out",
        &textured,
        &"--model",
        &house(),
        &"--seed",
        &"2",
    ]));
    assert!(levels.contains("other.wav"));
    assert_eq!(samples(&song.join("drums.wav")), samples(&textured.join("drums.wav")));

    good(&sideman([&"continue", &song, &"--seconds", &"0.5", &"--out", &longer, &"--model", &house(), &"--seed", &"2"]));
    let (before, after) = (samples(&song.join("drums.wav")), samples(&longer.join("drums.wav")));
    assert_eq!(after.len(), len + 16_000);
    // The last frame is cross-faded with what follows.
    assert_eq!(before[..len - 640], after[..len - 640]);
}

#[test]
fn a_wrong_command_line_ends_with_2_and_names_the_flag() {
    let dir = tempfile::tempdir().unwrap();
    let (bass, out) = (bass(dir.path(), 0.1), dir.path().join("band"));
    let render = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
        command.arg("render").arg("--bass").arg(&bass).arg("--out").arg(&out).arg("--model").arg(house()).args(more);
        let text = bad(&command.output().unwrap(), 2);
        assert!(!out.exists(), "{more:?} left a folder");
        text
    };
    assert!(render(&["--make", "bass"]).contains("--make"));
    assert!(render(&["--make", "violin"]).contains("violin"));
    assert!(render(&["--chords", "Em"]).contains("--tempo"));
    assert!(render(&["--tempo", "500"]).contains("--tempo"));
    assert!(render(&["--tempo", "100", "--chords", "Em Hm"]).contains("Hm"));
    assert!(render(&["--tempo", "100", "--meter", "5/4"]).contains("5/4"));
    assert!(render(&["--seconds", "-1"]).contains("--seconds"));
    assert!(render(&["--seconds", "1e12"]).contains("--seconds"));
    assert!(render(&["--temperature", "nan"]).contains("--temperature"));
    assert!(render(&["--top-k", "5", "--top-p", "0.5"]).contains("--top-p"));
    assert!(render(&["--variations", "0"]).contains("--variations"));
    assert!(render(&["--nonsense"]).contains("--nonsense"));
    bad(&sideman([&"render", &"--lag", &"8", &"--out", &out, &"--model", &house()]), 2);
    bad(&sideman([&"edit", &dir.path(), &"--redo", &"violin", &"--out", &out, &"--model", &house()]), 2);
    bad(&sideman([&"jam"]), 2);
}

#[test]
fn a_failed_command_ends_with_1_names_the_file_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (bass, out) = (bass(dir.path(), 0.1), dir.path().join("band"));
    let file = dir.path().join("notes.txt");
    std::fs::write(&file, "no folder").unwrap();

    let text = bad(&sideman([&"render", &"--bass", &"/nowhere/bass.wav", &"--out", &out, &"--model", &house()]), 1);
    assert!(text.contains("/nowhere/bass.wav"), "{text}");
    let text = bad(&sideman([&"render", &"--bass", &file, &"--out", &out, &"--model", &house()]), 1);
    assert!(text.contains("notes.txt") && text.contains("FLAC"), "{text}");
    let text = bad(&sideman([&"render", &"--bass", &bass, &"--out", &out, &"--model", &dir.path()]), 1);
    assert!(text.contains("config.json"), "{text}");
    assert!(!out.exists());
    let text = bad(&sideman([&"render", &"--bass", &bass, &"--out", &file, &"--model", &house()]), 1);
    assert!(text.contains("notes.txt"), "{text}");
    let text = bad(&sideman([&"edit", &dir.path(), &"--redo", &"drums", &"--out", &out, &"--model", &house()]), 1);
    assert!(text.contains("drums.wav"), "{text}");
    assert!(!out.exists());
}

/// Each file is cut short, and each has a changed byte in its header.
#[test]
fn a_damaged_model_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let bass = bass(dir.path(), 0.1);
    let (model, out) = (dir.path().join("model"), dir.path().join("band"));
    for name in names(&house()) {
        for damage in ["cut", "changed"] {
            std::fs::create_dir_all(&model).unwrap();
            for file in names(&house()) {
                std::fs::copy(house().join(&file), model.join(&file)).unwrap();
            }
            let mut bytes = std::fs::read(model.join(&name)).unwrap();
            match damage {
                "cut" => bytes.truncate(bytes.len() / 2),
                _ => bytes[9] ^= 0x55,
            }
            std::fs::write(model.join(&name), bytes).unwrap();
            let text = bad(&sideman([&"render", &"--bass", &bass, &"--out", &out, &"--model", &model]), 1);
            assert!(text.contains(&name), "{name} {damage}: {text}");
            assert!(!out.exists(), "{name} {damage}");
            std::fs::remove_dir_all(&model).unwrap();
        }
    }
}

#[test]
fn model_info_and_list_describe_a_model_and_verify_compares_it() {
    assert!(good(&sideman([&"model", &"info", &house()])).lines().count() > 10);
    let document: serde_json::Value = serde_json::from_str(&good(&sideman([&"model", &"info", &house(), &"--json"]))).unwrap();
    let config = &document["config"];
    assert_eq!((&config["fixture"], &config["stems"]), (&true.into(), &serde_json::json!(["bass", "drums", "other"])));
    assert_eq!((&config["controls"][0]["name"], &config["controls"][1]["name"]), (&"beat".into(), &"chord".into()));
    assert!(document["files"].as_array().unwrap().iter().all(|file| file["weights"].as_u64().unwrap() > 0), "{document}");
    let list: serde_json::Value = serde_json::from_str(&good(&sideman([&"model", &"list", &"--json"]))).unwrap();
    assert!(list.is_array());
    for name in ["six", "mono", "house"] {
        let text =
            good(&sideman([&"model", &"verify", &golden(name), &"--golden", &golden(&format!("{name}.golden.safetensors"))]));
        assert!(text.contains("lm.logits") && text.contains("text.hidden") && text.contains(".codes"), "{text}");
    }
    // A model with other weights does not pass.
    let other = dir_with_other_lm();
    let text = sideman([&"model", &"verify", &other.path(), &"--golden", &golden("six.golden.safetensors")]);
    assert_eq!(text.status.code(), Some(1));
    bad(&sideman([&"model", &"verify", &golden("six"), &"--golden", &golden("mono.golden.safetensors")]), 1);
}

/// The model `six` with slightly changed weights in its LM.
fn dir_with_other_lm() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in names(&golden("six")) {
        std::fs::copy(golden("six").join(&file), dir.path().join(&file)).unwrap();
    }
    let path = dir.path().join("lm.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 64 * 64;
    // bf16 values: the lowest bits of the mantissa of thirty-two of them.
    bytes[middle..middle + 64].iter_mut().step_by(2).for_each(|b| *b ^= 0x3f);
    std::fs::write(&path, bytes).unwrap();
    dir
}

#[test]
fn doctor_times_a_model_in_every_precision() {
    let document: serde_json::Value =
        serde_json::from_str(&good(&sideman([&"doctor", &"--model", &golden("six"), &"--json"]))).unwrap();
    let model = &document["models"][0];
    let steps = model["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|s| s["precision"].as_str().unwrap()).collect::<Vec<_>>(), ["f32", "bf16", "q8", "q4"]);
    for step in steps {
        assert!(step["p50_ms"].as_f64().unwrap() > 0.0 && step["p99_ms"].as_f64() >= step["p50_ms"].as_f64(), "{step}");
    }
    assert!(document["bandwidth_bytes_per_second"].as_f64().unwrap() > 1e8);
    assert!(steps.iter().any(|step| step["precision"] == model["best_precision"]), "{model}");
    // What to do about sound, and about the model.
    assert_eq!(document["advice"].as_array().unwrap().len(), 2);
    assert!(model["frame_share"].as_f64().unwrap() > 0.0, "{model}");
}

#[test]
fn an_imported_model_verifies_against_its_reference() {
    let tmp = tempfile::tempdir().unwrap();
    let to = tmp.path().join("mono");
    good(&sideman([&"model", &"import", &golden("hf"), &"--to", &to]));
    let info: serde_json::Value = serde_json::from_str(&good(&sideman([&"model", &"info", &to, &"--json"]))).unwrap();
    assert_eq!(info["config"]["licence"], "CC-BY-NC-4.0");
    let provenance = info["config"]["provenance"].as_str().unwrap();
    let is_hash = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    assert!(provenance.split(|c: char| !c.is_alphanumeric()).any(is_hash), "{provenance}");
    good(&sideman([&"model", &"verify", &to, &"--golden", &golden("mono.golden.safetensors")]));
    let again = bad(&sideman([&"model", &"import", &golden("hf"), &"--to", &to]), 1);
    assert!(again.contains("mono"), "{again}");
    let nothing = bad(&sideman([&"model", &"import", &tmp.path(), &"--to", &tmp.path().join("x")]), 1);
    assert!(nothing.contains("state_dict.bin"), "{nothing}");
    bad(&sideman([&"model", &"import", &golden("hf")]), 2);
}

#[test]
fn osc_prints_every_address() {
    let text = good(&sideman([&"osc"]));
    for row in sideman_io::osc::listing() {
        assert!(text.contains(row.path) && text.contains(row.help), "{}", row.path);
    }
}
