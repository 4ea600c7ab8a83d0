//! Songs from a text alone: the tempo, meter and chords that are chosen. The model is the random one of
//! tests/golden with the house model's table of styles.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A model directory with a table of styles.
fn model(dir: &Path) -> PathBuf {
    let model = dir.join("model");
    std::fs::create_dir(&model).unwrap();
    for file in std::fs::read_dir(repository("tests/golden/house")).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&file, model.join(file.file_name().unwrap())).unwrap();
    }
    std::fs::copy(repository("models/house/styles.json"), model.join("styles.json")).unwrap();
    model
}

fn run(args: &[&str], model: &Path, out: &str, to: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    command.args(args).arg("--model").arg(model).arg(out).arg(to).args(["--seed", "7"]);
    command.env_remove("SIDEMAN_MODEL").output().unwrap()
}

/// The song.json and the bass.wav of a song without a recording.
fn render(flags: &[&str], model: &Path, out: &Path) -> (Value, Vec<u8>) {
    let output = run(&[&["render", "--seconds", "0.3"], flags].concat(), model, "--out", out);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let song = serde_json::from_slice(&std::fs::read(out.join("song.json")).unwrap()).unwrap();
    (song, std::fs::read(out.join("bass.wav")).unwrap())
}

#[test]
fn the_flags_that_are_printed_make_the_same_song() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let (song, bass) = render(&["--text", "slow blues"], &model, &dir.path().join("chosen"));
    assert_eq!((&song["meter"], &song["bar1"]), (&json!([12, 8]), &json!(0.0)));
    let (tempo, chords) = (song["bpm"].as_f64().unwrap().to_string(), song["chords"].as_str().unwrap());
    let typed = ["--text", "slow blues", "--tempo", &tempo, "--meter", "12/8", "--bar1", "0", "--chords", chords];
    assert_eq!(render(&typed, &model, &dir.path().join("typed")), (song.clone(), bass.clone()));

    let output = run(&["render", "--text", "slow blues", "--seconds", "0.3"], &model, "--out", &dir.path().join("printed"));
    let printed = String::from_utf8(output.stderr).unwrap();
    for part in [format!("--tempo {tempo}"), "--meter 12/8".into(), "--bar1 0".into(), format!("--chords \"{chords}\"")] {
        assert!(printed.lines().any(|line| line.contains(&part)), "{part} is not in {printed}");
    }
}

#[test]
fn flags_win_and_no_chart_and_a_model_without_styles_choose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let song = |name: &str, flags: &[&str]| render(flags, &model, &dir.path().join(name)).0;
    let given = song("given", &["--text", "slow blues", "--tempo", "97", "--meter", "3/4", "--bar1", "0.5", "--chords", "Em"]);
    let wanted = [json!(97.0), json!([3, 4]), json!(0.5), json!("Em")];
    assert_eq!(["bpm", "meter", "bar1", "chords"].map(|key| given[key].clone()), wanted);
    let tempo = song("tempo", &["--text", "slow blues", "--tempo", "97"]);
    assert_eq!((&tempo["bpm"], &tempo["meter"], tempo["chords"].is_string()), (&json!(97.0), &json!([12, 8]), true));
    assert_eq!(song("none", &["--text", "slow blues", "--chords", ""])["chords"], "");
    let named = song("named", &["--text", "a waltz in E minor at 140 bpm"]);
    assert_eq!((&named["bpm"], &named["meter"]), (&json!(140.0), &json!([3, 4])));
    assert_eq!(song("unnamed", &[])["meter"], json!([4, 4]));

    for flag in ["--no-chart", "--no-listen"] {
        let told_nothing = song(flag, &["--text", "slow blues", flag]);
        assert!(told_nothing["bpm"].is_null() && told_nothing["chords"].is_null(), "{flag}: {told_nothing}");
    }
    let plain = render(&["--text", "slow blues"], &repository("tests/golden/house"), &dir.path().join("plain")).0;
    assert!(plain["bpm"].is_null() && plain["chords"].is_null(), "{plain}");
}

#[test]
fn a_damaged_table_of_styles_is_an_error_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    std::fs::write(model.join("styles.json"), "{}").unwrap();
    let out = dir.path().join("out");
    let output = run(&["render", "--text", "funk", "--seconds", "0.3"], &model, "--out", &out);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("styles.json") && !out.exists());
}

#[test]
fn a_live_band_that_plays_alone_gets_a_form_and_one_that_hears_gets_none() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let spec = hound::WavSpec { channels: 1, sample_rate: 32_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let input = dir.path().join("in.wav");
    let mut file = hound::WavWriter::create(&input, spec).unwrap();
    (0..16_000).for_each(|_| file.write_sample(0i16).unwrap());
    file.finalize().unwrap();
    let live = |name: &str, instrument: &str, flags: &[&str]| -> Value {
        let to = dir.path().join(name);
        let input = input.to_str().unwrap();
        let args = ["live", "--headless", "--pace", "fast", "--from", input, "--instrument", instrument, "--text", "slow blues"];
        let output = run(&[&args, flags].concat(), &model, "--to", &to);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&std::fs::read(to.join("take.json")).unwrap()).unwrap()
    };
    let charted = |take: &Value| take["chords"].as_str().is_some_and(|chords| chords != "ear");
    let alone = live("alone", "none", &[]);
    assert_eq!((&alone["meter"], charted(&alone)), (&json!("12/8"), true), "{alone}");
    for (name, instrument, flags) in
        [("heard", "bass", &[][..]), ("tempo", "none", &["--tempo", "100"]), ("no chart", "none", &["--no-chart"])]
    {
        let take = live(name, instrument, flags);
        assert_eq!((&take["meter"], charted(&take)), (&json!("4/4"), false), "{name}: {take}");
    }
}
