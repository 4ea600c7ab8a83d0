//! The screen of `sideman live`, driven by keys in a pseudo-terminal, with the random model of tests/golden.
//! The effect of a key is checked on the screen, in the take's events, and in its WAV files.
//! `src/screen/tests.rs` compares what the screen looks like.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::pty::{self, Pty};
use serde_json::Value;

const RATE: usize = 32_000;
/// A bar at 240 quarter notes a minute.
const BAR: usize = RATE;
const FRAME: usize = 640;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sideman"))
}

fn wav(path: &Path) -> Vec<f32> {
    let file = hound::WavReader::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.into_samples::<f32>().map(Result::unwrap).collect()
}

/// Seconds of a 55 Hz tone at 32 kHz.
fn bass(dir: &Path, seconds: usize) -> String {
    let path = dir.join("bass.wav");
    let spec = hound::WavSpec { channels: 1, sample_rate: 32_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..seconds * RATE {
        file.write_sample(((n as f64 * std::f64::consts::TAU * 55.0 / 32_000.0).sin() * 12_000.0) as i16).unwrap();
    }
    file.finalize().unwrap();
    path.to_string_lossy().into_owned()
}

/// A session between files: one bar per second, always the same seed.
struct Session {
    dir: tempfile::TempDir,
    pty: Pty,
}

impl Session {
    fn args<'a>(from: &'a str, to: &'a str, pace: &'a str) -> Vec<&'a str> {
        let line =
            ["live", "--from", from, "--to", to, "--pace", pace, "--instrument", "bass", "--tempo", "240", "--chords", "Em C"];
        line.into_iter().chain(["--text", "tone", "--seed", "7", "--threads", "1", "--lag", "12"]).collect()
    }

    /// Starts in real time in a terminal, and waits until the band plays.
    fn start(seconds: usize) -> Session {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (bass(dir.path(), seconds), dir.path().join("take").to_string_lossy().into_owned());
        let pty = Pty::start(program(), &Session::args(&from, &to, "real"), (80, 24), &[]);
        pty.shows("▶ PLAYING");
        Session { dir, pty }
    }

    /// Waits until `bars` more bars are recorded.
    fn bars(&self, bars: usize) {
        let take = self.dir.path().join("take/mix.wav");
        let there = || std::fs::metadata(&take).map_or(0, |m| m.len()) as usize / 8;
        let until = there() + bars * BAR;
        let began = Instant::now();
        while there() < until {
            assert!(began.elapsed() < Duration::from_secs(90), "the take does not grow:\n{}", self.pty.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Quits, answers the question, and returns the take.
    fn end(mut self) -> Take {
        self.pty.press("q");
        self.pty.shows("Quit?");
        self.pty.press("y");
        assert!(self.pty.ends(), "{}", self.pty.text());
        assert!(self.pty.is_sane() && !self.pty.look(vt100::Screen::alternate_screen), "the terminal is not restored");
        assert!(self.pty.text().contains("seed 7"), "the report is not on the terminal: {}", self.pty.text());
        let take = self.dir.path().join("take");
        let events = std::fs::read_to_string(take.join("events.jsonl")).unwrap();
        let events = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Take { lead: sheet(&take)["lead"].as_u64().unwrap() as usize, events, take, dir: self.dir }
    }
}

fn sheet(take: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(take.join("take.json")).unwrap()).unwrap()
}

struct Take {
    dir: tempfile::TempDir,
    take: PathBuf,
    events: Vec<Value>,
    lead: usize,
}

impl Take {
    fn stem(&self, name: &str) -> Vec<f32> {
        wav(&self.take.join(format!("{name}.wav")))
    }

    /// The same session without keys.
    fn untouched(&self, name: &str) -> Vec<f32> {
        let to = self.dir.path().join("untouched");
        if !to.exists() {
            let (from, to) = (self.dir.path().join("bass.wav").to_string_lossy().into_owned(), to.to_string_lossy().into_owned());
            let out = Command::new(program())
                .args(Session::args(&from, &to, "fast"))
                .env("SIDEMAN_MODEL", pty::model())
                .output()
                .unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        wav(&to.join(format!("{name}.wav")))
    }

    /// Song times at which the session received a command.
    fn at(&self, command: &Value) -> Vec<usize> {
        let of = self.events.iter().filter(|e| e["request"]["command"] == *command);
        of.map(|e| e["at"].as_u64().unwrap() as usize).collect()
    }

    /// The same for a command that was received once.
    fn once(&self, command: Value) -> usize {
        let at = self.at(&command);
        assert_eq!(at.len(), 1, "{command} in {:?}", self.events);
        at[0]
    }
}

fn stem(stem: u64, action: Value) -> Value {
    serde_json::json!({"stem": [{"one": stem}, action]})
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|x| x * x).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

#[test]
fn mute_solo_gain_click_and_panic_keys_change_the_sound() {
    let mut s = Session::start(60);
    let pty = &mut s.pty;
    assert!(pty.text().contains("you play bass"));
    pty.press("2m");
    pty.row("2 drums", "MUTE");
    s.bars(1);
    s.pty.press("m");
    s.pty.row_without("2 drums", "MUTE");
    s.pty.press("3s");
    s.pty.row("3 other", "SOLO");
    s.bars(1);
    s.pty.press("s");
    s.pty.row_without("3 other", "SOLO");
    s.pty.press("2--");
    s.pty.row("2 drums", "-2 dB");
    s.bars(1);
    s.pty.press("+");
    s.pty.row("2 drums", "-1 dB");
    s.bars(1);
    s.pty.press("k");
    s.pty.shows("click on");
    s.bars(1);
    s.pty.press("k");
    s.pty.shows("click off");
    s.bars(1);
    s.pty.press("!");
    s.pty.shows("■ STOPPED");
    s.bars(1);
    s.pty.press(" ");
    s.pty.shows("▶ PLAYING");
    let t = s.end();
    let (lead, drums, other, click) = (t.lead, t.stem("drums"), t.stem("other"), t.stem("click"));
    let unchanged = t.untouched("drums");
    // A command that is received before the hop at `at` takes effect at `at + lead`, or up to a frame later.
    let span = |from: usize, to: usize| from + lead + FRAME..to + lead;
    let (mute, unmute) =
        (t.once(stem(1, serde_json::json!({"mute": true}))), t.once(stem(1, serde_json::json!({"mute": false}))));
    assert!(drums[span(mute, unmute)].iter().all(|x| *x == 0.0), "a muted stem sounds");
    assert!(rms(&unchanged[span(mute, unmute)]) > 1e-4, "without the mute it would sound");
    assert!(drums[..mute + lead] == unchanged[..mute + lead], "the drums differ before the mute");
    let (solo, off) = (t.once(stem(2, serde_json::json!({"solo": true}))), t.once(stem(2, serde_json::json!({"solo": false}))));
    assert!(
        drums[span(solo, off)].iter().all(|x| *x == 0.0) && rms(&other[span(solo, off)]) > 1e-4,
        "another stem sounds besides the solo stem"
    );
    let gain = |db: f64| stem(1, serde_json::json!({"gain": db}));
    let (one, two, back) = (t.at(&gain(-1.0)), t.once(gain(-2.0)), t.at(&gain(-1.0)));
    assert!(one.len() == 2 && one[0] <= two && two < back[1]);
    let ratio = rms(&drums[span(two, back[1])]) / rms(&unchanged[span(two, back[1])]);
    assert!((20.0 * ratio.log10() + 2.0).abs() < 0.01, "two steps down: {ratio}");
    let (on, quiet) = (t.once(serde_json::json!({"click": true})), t.once(serde_json::json!({"click": false})));
    assert!(
        click[..on + lead].iter().all(|x| *x == 0.0) && rms(&click[span(on, quiet)]) > 1e-4,
        "the click sounds while it is off"
    );
    let panic = t.once(serde_json::json!("panic"));
    assert!(drums[panic + lead + FRAME..][..BAR / 2].iter().all(|x| *x == 0.0), "a panic is not silent");
    assert!(t.once(serde_json::json!("play")) > panic);
}

#[test]
fn a_pending_command_is_shown_can_be_cancelled_and_takes_effect_at_its_bar() {
    let mut s = Session::start(60);
    s.pty.press("2r");
    s.pty.row("2 drums", "…regenerate");
    s.pty.row("PENDING", "drums regenerate → ");
    s.pty.press("\x1b");
    s.pty.row("PENDING", "nothing");
    // The cancelled command must have no effect. The next one takes effect.
    s.bars(3);
    s.pty.press("r");
    s.pty.row("2 drums", "…regenerate bar");
    s.pty.row_without("2 drums", "…regenerate");
    s.bars(1);
    s.pty.press("f");
    s.pty.row("2 drums", "FROZEN");
    s.bars(2);
    s.pty.press("f");
    s.pty.row("2 drums", "…unfreeze");
    s.pty.row_without("2 drums", "FROZEN");
    s.pty.press("u");
    s.pty.row("2 drums", "FROZEN");
    s.pty.press("\x12");
    s.pty.row_without("2 drums", "FROZEN");
    s.pty.press("x");
    s.pty.row("2 drums", "…regenerate");
    s.pty.press("\x1b");
    s.pty.row("PENDING", "nothing");
    let t = s.end();
    let (drums, unchanged) = (t.stem("drums"), t.untouched("drums"));
    let regen = t.at(&stem(1, serde_json::json!("regen")));
    assert_eq!(regen.len(), 3, "r, r and x");
    let whens: Vec<&str> = t.events.iter().filter_map(|e| e["request"]["when"].as_str()).collect();
    assert!(whens.contains(&"beat"), "reject has no beat boundary: {whens:?}");
    let differs = drums.iter().zip(&unchanged).position(|(a, b)| a != b).expect("regenerate changes nothing");
    let from_bar = differs.min(differs % BAR).min(BAR - differs % BAR);
    assert!(differs > regen[1], "the cancelled command took effect at {differs}");
    assert!(from_bar < 3 * FRAME, "the stem changes at {differs}, {from_bar} samples from a bar line");
    // A frozen stem repeats tokens, a whole number of bars later.
    let freeze = t.once(stem(1, serde_json::json!({"freeze": 4})));
    let bar = (freeze + t.lead).div_ceil(BAR) * BAR;
    let (a, b) = (&drums[bar + BAR / 4..bar + BAR], &drums);
    let repeats = (1..=4).any(|bars| {
        let Some(start) = (bar + BAR / 4).checked_sub(bars * BAR) else { return false };
        let before = &b[start..start + a.len()];
        let error: Vec<f32> = a.iter().zip(before).map(|(x, y)| x - y).collect();
        rms(&error) < 0.05 * rms(a)
    });
    assert!(repeats, "a frozen stem does not repeat");
    assert_eq!((t.at(&stem(1, serde_json::json!("undo"))).len(), t.at(&stem(1, serde_json::json!("redo"))).len()), (1, 1));
}

#[test]
fn text_chords_tempo_mode_and_section_keys_reach_the_session() {
    let mut s = Session::start(60);
    s.pty.row("TEXT", "tone");
    s.pty.press("e");
    s.pty.row("TEXT", "enter:");
    // Keys are text now and send no commands.
    s.pty.press("\x15funk !q\r");
    s.pty.row("TEXT", "funk !q");
    s.pty.row_without("TEXT", "enter");
    s.pty.press("cx\r");
    s.pty.row("CHORDS", "Cx");
    s.pty.press("\x1b");
    s.pty.row("CHORDS", "of: Em C");
    s.pty.press("c\x15\x1b[200~Am F\n\x1b[201~\r");
    s.pty.row("CHORDS", "Am");
    s.pty.press("n");
    s.pty.row("PENDING", "next section");
    s.pty.press(">");
    s.pty.shows("241.0 bpm");
    s.pty.press("<<");
    s.pty.shows("239.0 bpm");
    s.pty.press("o");
    s.pty.shows("you play bass  loop");
    s.pty.press("F");
    s.pty.press(" ");
    s.pty.row("PENDING", "stop → ");
    s.pty.press(" ");
    s.pty.row("»", "esc");
    s.pty.shows("■ STOPPED");
    s.bars(1);
    s.pty.press("q");
    assert!(s.pty.ends(), "it asks although nothing plays:\n{}", s.pty.text());
    let take = s.dir.path().join("take");
    let text = std::fs::read_to_string(take.join("events.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let t = Take { lead: sheet(&take)["lead"].as_u64().unwrap() as usize, events, take, dir: s.dir };
    let funk = t.once(serde_json::json!({"text": {"part": 0, "text": "funk !q", "weight": 1.0}}));
    let (drums, unchanged) = (t.stem("drums"), t.untouched("drums"));
    let differs = drums.iter().zip(&unchanged).position(|(a, b)| a != b).expect("the text changes nothing");
    assert!(differs > funk, "the drums differ at {differs}, before the new text");
    let chords = t.once(serde_json::json!({"chords": "Am F"}));
    assert!(chords > funk && t.at(&serde_json::json!({"chords": "Em Cx"})).is_empty());
    assert_eq!(t.at(&serde_json::json!("panic")).len(), 0, "a character of the text was used as a key");
    for one in [
        serde_json::json!({"section": ""}),
        serde_json::json!("fill"),
        serde_json::json!({"mode": "loop"}),
        serde_json::json!({"tempo": 239.0}),
    ] {
        t.once(one);
    }
    // After the stop the drums are silent, except for a frame and the decoder's tail.
    let stop = t.once(serde_json::json!("stop"));
    let end = &drums[drums.len() - BAR / 2..];
    assert!(stop + t.lead + 2 * BAR < drums.len() + BAR && end.iter().all(|x| *x == 0.0), "the drums sound after the stop");
}

#[test]
fn a_program_that_was_stopped_takes_the_terminal_again_and_changes_no_sample() {
    let s = Session::start(60);
    let shown = |pty: &Pty| !pty.is_sane() && pty.look(vt100::Screen::alternate_screen);
    // Asked to stop, it gives the terminal back first.
    s.pty.signal("TSTP", true);
    assert!(s.pty.is_sane() && !s.pty.look(vt100::Screen::alternate_screen));
    s.pty.signal("CONT", false);
    s.pty.until("the screen", |text| shown(&s.pty) && text.contains("2 drums"));
    // Stopped without being asked, it finds another program's modes on the terminal.
    s.pty.signal("STOP", true);
    s.pty.stty("sane");
    s.pty.signal("CONT", false);
    s.pty.until("the screen", |text| shown(&s.pty) && text.contains("2 drums"));
    s.bars(1);
    // As a key it does nothing.
    let mut s = s;
    s.pty.press("\x1a");
    s.bars(1);
    let t = s.end();
    let (drums, untouched) = (t.stem("drums"), t.untouched("drums"));
    assert!(drums.len() > 2 * BAR && drums[..] == untouched[..drums.len()]);
}

/// Starts `sideman live` without a device in a terminal.
fn live_without_device(dir: &Path, size: (u16, u16), env: &[(&str, &str)], more: &[&str]) -> Pty {
    let takes = dir.to_string_lossy().into_owned();
    let line = ["live", "--host", "null", "--tempo", "120", "--seed", "3", "--threads", "1", "--record", &takes];
    let args: Vec<&str> = line.into_iter().chain(more.iter().copied()).collect();
    let pty = Pty::start(program(), &args, size, env);
    pty.shows("▶ PLAYING");
    pty
}

fn takes(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(dir).map(|d| d.filter_map(|e| Some(e.ok()?.path())).collect()).unwrap_or_default();
    all.sort();
    all
}

#[test]
fn the_session_goes_on_recording_when_the_terminal_closes() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys.toml");
    std::fs::write(&keys, "record = \"f5\"\n").unwrap();
    let folder = dir.path().join("takes");
    let mut pty = live_without_device(&folder, (130, 40), &[], &["--keys", keys.to_str().unwrap()]);
    pty.shows("● REC");
    pty.shows("f5 record");
    // F5, as keys.toml binds it.
    pty.press("\x1b[15~");
    pty.shows("○ not recording");
    assert_eq!(takes(&folder).len(), 1);
    pty.press("K");
    pty.until("a second take", |_| takes(&folder).len() == 2);
    // Taps about 0.33 s apart, or more on a busy machine: the tempo is no longer 120.
    for _ in 0..3 {
        pty.press("t");
        std::thread::sleep(Duration::from_millis(330));
    }
    pty.until("a tapped tempo", |text| !text.contains("120.0 bpm"));
    std::thread::sleep(Duration::from_secs(1));
    pty.press("\x1b[15~");
    pty.shows("● REC");
    pty.until("a third take", |_| takes(&folder).len() == 3);
    // Ctrl-C asks like q. A key other than y means no.
    pty.press("\x03");
    pty.shows("Quit?");
    pty.press("n");
    pty.until("no question", |text| !text.contains("Quit?"));
    // The terminal closes, and the take must still grow.
    pty.hang_up();
    let newest = takes(&folder).pop().unwrap();
    let size = || std::fs::metadata(newest.join("mix.wav")).map_or(0, |m| m.len());
    let (began, was) = (Instant::now(), size());
    while size() < was + 3 * 8 * RATE as u64 {
        assert!(began.elapsed() < Duration::from_secs(60), "the take stopped with the terminal");
        assert!(pty.child.try_wait().unwrap().is_none(), "the program ended with the terminal");
        std::thread::sleep(Duration::from_millis(50));
    }
    runs_without_a_screen_and_ends_on_sigterm(&mut pty);
    assert_eq!(sheet(&newest)["samples"].as_u64(), Some(wav(&newest.join("drums.wav")).len() as u64));
}

/// After a hangup the screen's thread ends instead of reading end-of-file in a loop. The other threads run
/// until SIGTERM.
fn runs_without_a_screen_and_ends_on_sigterm(pty: &mut Pty) {
    let pid = pty.child.process_id().unwrap().to_string();
    let thread = |name: &str| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("comm")).ok()).any(|comm| comm.trim() == name)
    };
    let began = Instant::now();
    while thread("screen") {
        assert!(began.elapsed() < Duration::from_secs(30), "the screen's thread still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(thread("engine"), "the engine's thread ended with the terminal");
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(pty.ends(), "SIGTERM does not end it with success");
}

/// Checks that the rows that every screen has are complete.
fn rows_are_complete(text: &str) {
    for (begins, has) in [
        ("SIDEMAN", "you play bass"),
        ("STEM", "PENDING"),
        ("2 drums", "dB"),
        ("PLAN", "|"),
        ("TEXT", "("),
        ("CHORDS", "then"),
        ("LOAD", "p99"),
        ("late", "lead"),
        ("space play", "q quit"),
    ] {
        assert!(pty::row(text, begins).contains(has), "the row of {begins} is not complete:\n{text}");
    }
}

#[test]
fn log_lines_become_messages_and_never_overwrite_the_screen() {
    let dir = tempfile::tempdir().unwrap();
    // -vv: stderr, which is the terminal, gets many lines.
    let mut pty = live_without_device(dir.path(), (80, 24), &[], &["-vv"]);
    for (cols, rows) in [(80, 24), (100, 30), (200, 60), (80, 24)] {
        pty.resize(cols, rows);
        pty.until("the whole screen", |text| {
            text.lines().count() == usize::from(rows) && pty::row(text, "space play").contains("q quit")
        });
        pty.press("km");
        std::thread::sleep(Duration::from_millis(300));
        rows_are_complete(&pty.until("the new size", |text| text.lines().count() == usize::from(rows)));
    }
    assert!(pty.look(|s| s.cell(0, 1).unwrap().bold()
        && (0..24).any(|y| (0..80).any(|x| s.cell(y, x).unwrap().fgcolor() != vt100::Color::Default))));
    assert!(pty.text().contains("» "), "a log line is not shown as a message:\n{}", pty.text());
    pty.press("?");
    pty.shows("KEYS");
    pty.press("?");
    pty.shows("LOAD");
    pty.press("qy");
    assert!(pty.ends());
    // The captured lines are printed when the screen closes.
    pty.shows("no device");
    assert!(pty.is_sane());
}

#[test]
fn no_color_turns_colours_off_and_headless_turns_the_screen_off() {
    let dir = tempfile::tempdir().unwrap();
    let line = ["live", "--host", "null", "--tempo", "120", "--record", dir.path().to_str().unwrap(), "--threads", "1"];
    // Not the controlling terminal: no signal reports that it has closed.
    let mut pty = Pty::start_with(program(), &line, (80, 24), &[("NO_COLOR", "1")], false);
    pty.shows("▶ PLAYING");
    pty.press("2m");
    pty.row("2 drums", "MUTE");
    rows_are_complete(&pty.text());
    let plain = |s: &vt100::Screen| {
        (0..24).all(|y| {
            (0..80).all(|x| {
                s.cell(y, x).is_none_or(|c| c.fgcolor() == vt100::Color::Default && c.bgcolor() == vt100::Color::Default)
            })
        })
    };
    assert!(pty.look(plain), "a cell has a colour although NO_COLOR is set");
    assert!(pty.look(|s| s.cell(8, 4).unwrap().bold() || (0..24).any(|y| s.cell(y, 2).is_some_and(vt100::Cell::inverse))));
    pty.hang_up();
    runs_without_a_screen_and_ends_on_sigterm(&mut pty);
    let takes = dir.path().join("other").to_string_lossy().into_owned();
    let mut pty = Pty::start(
        program(),
        &["live", "--headless", "--host", "null", "--record", &takes, "--threads", "1", "--seconds", "2.5"],
        (80, 24),
        &[],
    );
    assert!(pty.ends());
    pty.shows("load");
    assert!(!pty.text().contains("SIDEMAN"));
}

#[test]
fn the_docs_have_the_key_table_that_the_program_prints() {
    let out = Command::new(program()).arg("keys").env("XDG_CONFIG_HOME", "/nonexistent").output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && said.contains("mute"), "{said}");
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/keys.md")).unwrap();
    assert!(docs.contains(&said), "docs/reference/keys.md must contain the table that `sideman keys` prints:\n{said}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    std::fs::write(&file, "mute = \"s\"\n").unwrap();
    let out = Command::new(program()).args(["keys", "--keys", file.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && ["keys.toml", "mute", "solo"].iter().all(|name| said.contains(name)), "{said}");
}

#[test]
fn a_terminal_that_understands_no_escape_sequences_gets_none() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (bass(dir.path(), 30), dir.path().join("take").to_string_lossy().into_owned());
    let mut pty = Pty::start(program(), &Session::args(&from, &to, "real"), (100, 24), &[("TERM", "dumb")]);
    // The model is one for tests, of which a line warns; then comes the status line.
    pty.shows("WARN");
    pty.shows("underrun");
    assert!(pty.is_sane() && !pty.look(vt100::Screen::alternate_screen));
    let plain = |screen: &vt100::Screen| {
        let cells = (0..24).flat_map(|row| (0..100).filter_map(move |col| screen.cell(row, col)));
        cells.filter(|cell| cell.has_contents()).all(|cell| cell.fgcolor() == vt100::Color::Default)
    };
    assert!(pty.look(plain), "colours are shown");
    let pid = pty.child.process_id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(pty.ends());
}
