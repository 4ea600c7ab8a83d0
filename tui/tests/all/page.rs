//! The page beside the WAVs, in a browser.

use std::path::{Path, PathBuf};

use sideman_engine::live::{Action, Command, Request, Which};
use sideman_io::take::Entry;

use crate::chromium::{CHROMIUM, Chromium};

/// What a hostile text tries.
const HOSTILE: &str =
    r#"</script><script>document.body.dataset.bad = 1</script><img src=x onerror="document.body.dataset.bad = 2">'"&lt;"#;

/// Runs the program with the random model of tests/golden.
fn sideman(args: &[&str]) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sideman"));
    let output = command.args(args).env("SIDEMAN_MODEL", model).env("NO_COLOR", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A bass of 6 s.
fn bass(dir: &Path) -> PathBuf {
    let path = dir.join("bass line.wav");
    let spec = hound::WavSpec { channels: 1, sample_rate: 32_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..6 * 32_000 {
        file.write_sample(((f64::from(n) * 82.4 * std::f64::consts::TAU / 32_000.0).sin() * 9000.0) as i16).unwrap();
    }
    file.finalize().unwrap();
    path
}

/// Whether each player is heard, in the order of the page: the mix, then the stems.
const HEARD: &str = "[...document.querySelectorAll('audio')].map(a => !a.muted)";

#[test]
fn the_page_of_a_song_plays_mutes_and_loops_without_a_network() {
    if sideman_skip::without("page::the_page_of_a_song_plays_mutes_and_loops_without_a_network", &[CHROMIUM]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (bass, out) = (bass(dir.path()), dir.path().join("song"));
    let [bass, to] = [&bass, &out].map(|path| path.to_str().unwrap());
    let chart = ["--tempo", "120", "--chords", "[A] Em C [B] G"];
    sideman(&[&["render", "--bass", bass, "--out", to, "--seed", "7", "--text", HOSTILE][..], &chart].concat());
    let mut page = Chromium::open(&out.join("index.html"));

    assert_eq!(page.eval("document.title"), "song · Sideman");
    assert_eq!(page.eval("[...document.querySelectorAll('dd')].map(e => e.textContent).includes(JSON.parse(document.getElementById('data').textContent).given.find(g => g[0] === 'Text')[1])"), true);
    assert_eq!(page.eval("JSON.parse(document.getElementById('data').textContent).given.find(g => g[0] === 'Text')[1]"), HOSTILE);
    assert_eq!(page.eval("[document.body.dataset.bad ?? null, document.images.length]"), serde_json::json!([null, 0]));

    page.wait_for("[...document.querySelectorAll('audio')].every(a => a.readyState >= 3)");
    page.eval("document.getElementById('play').click()");
    page.wait_for("[...document.querySelectorAll('audio')].every(a => !a.paused && a.currentTime > 0.2)");
    assert_eq!(page.eval(HEARD), serde_json::json!([true, false, false, false]), "the mix");
    page.eval("document.querySelector('[aria-label=\"Mute bass\"]').click()");
    assert_eq!(page.eval(HEARD), serde_json::json!([false, false, true, true]));
    page.eval("document.querySelector('[aria-label=\"Solo bass\"]').click()");
    assert_eq!(page.eval(HEARD), serde_json::json!([false, true, false, false]), "solo is heard although it is muted");
    page.eval("document.getElementById('all').click()");
    assert_eq!(page.eval(HEARD), serde_json::json!([true, false, false, false]));
    // The players begin at slightly different times, and come together.
    page.wait_for(
        "(([a, ...b]) => b.every(x => Math.abs(x.currentTime - a.currentTime) < 0.01))([...document.querySelectorAll('audio')])",
    );

    // Drags from 2.1 s to 2.9 s, which is from beat to beat, and listens until it has come around twice.
    let lane = page
        .eval("(({left, top, width}) => [left, top + 10, width])(document.querySelector('.stem .lane').getBoundingClientRect())");
    let [left, y, width] = [0, 1, 2].map(|n| lane[n].as_f64().unwrap());
    page.drag((left + width * 2.1 / 6.0, y), (left + width * 2.9 / 6.0, y));
    assert_eq!(page.eval("document.getElementById('loop').textContent"), "Loop 2.1 to 2.3");
    page.eval("window.turns = 0; window.before = 0; setInterval(() => { const t = document.querySelector('audio').currentTime; if (t < before && t >= 1.9 && before < 3.5) turns++; before = t; }, 10); 0");
    page.wait_for("turns >= 2");
    page.eval("document.getElementById('play').click()");
    page.wait_for("[...document.querySelectorAll('audio')].every(a => a.paused)");
    for dark in ["dark", "light"] {
        let features = serde_json::json!([{ "name": "prefers-color-scheme", "value": dark }]);
        page.call("Emulation.setEmulatedMedia", &serde_json::json!({ "features": features }));
        assert_eq!(page.eval(&format!("matchMedia('(prefers-color-scheme: {dark})').matches")), true);
        let phone = serde_json::json!({ "width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": true });
        page.call("Emulation.setDeviceMetricsOverride", &phone);
        page.wait_for("document.documentElement.scrollWidth <= 390");
    }
    assert_eq!(page.faults(&out), Vec::<String>::new());
}

#[test]
fn the_page_of_a_take_shows_what_happened_and_goes_there() {
    if sideman_skip::without("page::the_page_of_a_take_shows_what_happened_and_goes_there", &[CHROMIUM]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bass = bass(dir.path());
    let [take, again, without] = ["take", "again", "without"].map(|name| dir.path().join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let live = |to: &Path, more: &[&str]| {
        let line = ["live", "--from", &text(&bass), "--to", &text(to), "--tempo", "120", "--chords", "Em C", "--seed", "7"];
        sideman(&[&line[..], more].concat());
    };
    live(&without, &["--no-page"]);
    assert!(without.join("song.dawproject").exists() && !without.join("index.html").exists());
    live(&take, &["--text", HOSTILE]);
    assert!(take.join("index.html").exists());
    // A request of the take, which a replay makes again.
    let command = Command::Stem(Which::One(1), Action::Mute(true));
    let entry = Entry { at: 64_000, request: Request { command, when: None, from: 0 } };
    std::fs::write(take.join("events.jsonl"), serde_json::to_string(&entry).unwrap() + "\n").unwrap();
    sideman(&["replay", &text(&take), "--out", &text(&again)]);
    let mut page = Chromium::open(&again.join("index.html"));
    assert_eq!(page.eval("document.querySelectorAll('li').length"), 1);
    assert_eq!(page.eval("document.querySelector('li span').textContent.includes('drums')"), true);
    page.wait_for("[...document.querySelectorAll('audio')].every(a => a.readyState >= 3)");
    page.eval("document.querySelector('li button').click()");
    page.wait_for("Math.abs(document.querySelector('audio').currentTime - 2) < 0.01");
    assert_eq!(page.eval("document.getElementById('position').textContent"), "bar 2.1 · 0:02.0");
    assert_eq!(page.eval("document.querySelectorAll('.load canvas, .events canvas').length"), 2);
    assert_eq!(page.eval("document.body.dataset.bad ?? null"), serde_json::Value::Null);
    assert_eq!(page.faults(&again), Vec::<String>::new());
}
