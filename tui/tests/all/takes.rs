//! What a session writes: takes, also when names, disks and files are hostile, and the last ten minutes.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rosc::{OscMessage, OscPacket, OscType};
use serde_json::{Value, json};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house");
    command.args(args).env("SIDEMAN_MODEL", model).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A mono file of `seconds` at 32 kHz.
fn bass(path: &Path, seconds: usize) {
    let spec = hound::WavSpec { channels: 1, sample_rate: 32_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    (0..seconds * 32_000).for_each(|n| file.write_sample(((n as f32 * 0.01).sin() * 8000.0) as i16).unwrap());
    file.finalize().unwrap();
}

fn info(take: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(take.join("take.json")).unwrap()).unwrap()
}

/// Names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

/// A session without a device, and a socket that sends it OSC.
struct Session {
    child: Child,
    osc: UdpSocket,
}

impl Session {
    fn start(dir: &Path, more: &[&str]) -> Session {
        let line =
            ["live", "--headless", "--host", "null", "--tempo", "120", "--osc", "127.0.0.1:0", "--no-announce", "--threads", "1"];
        let mut child =
            command(&[&line[..], more].concat()).current_dir(dir).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().find_map(|line| line.unwrap().strip_prefix("OSC: ").map(str::to_owned)).expect("an address");
        std::thread::spawn(move || lines.for_each(drop));
        let osc = UdpSocket::bind("127.0.0.1:0").unwrap();
        osc.connect(address).unwrap();
        Session { child, osc }
    }

    fn send(&self, addr: &str, arg: OscType) {
        let packet = OscPacket::Message(OscMessage { addr: addr.into(), args: vec![arg] });
        self.osc.send(&rosc::encoder::encode(&packet).unwrap()).unwrap();
    }

    fn kill(&mut self, signal: &str) -> Option<i32> {
        assert!(Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

/// Waits until `done`.
fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_name_leads_nowhere_and_takes_of_one_name_and_one_second_are_kept_apart() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("here");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(tmp.path().join("bass.wav"), "mine").unwrap();
    let mut session = Session::start(&dir, &["--record", "takes", "--roll", "roll"]);
    let takes = dir.join("takes");
    wait_for("no take begins", || takes.exists() && names(&takes).len() == 1);
    for name in ["..", "../..", "/", "good", "good", "a\u{1b}[2Jb", "", "x".repeat(3000).as_str()] {
        session.send("/jam/take/save", OscType::String(name.into()));
    }
    for on in [0, 1, 0, 1, 0, 1] {
        session.send("/jam/rec", OscType::Int(on));
    }
    session.send("/jam/take/save", OscType::String("last".into()));
    wait_for("the last take is not kept", || takes.join("last/take.json").exists());
    assert_eq!(session.kill("TERM"), Some(0));
    let all = names(&takes);
    // One from the start, eight that are kept, those of rec (what comes within a hop is one request), the last.
    assert!((11..=13).contains(&all.len()), "{all:?}");
    assert!(all.iter().all(|name| !name.chars().any(char::is_control) && name.len() < 255), "{all:?}");
    assert!(all.contains(&"good".to_owned()) && all.contains(&"good-2".to_owned()), "{all:?}");
    for take in &all {
        let samples = info(&takes.join(take))["samples"].as_u64().unwrap();
        let mix = hound::WavReader::open(takes.join(take).join("mix.wav")).unwrap();
        assert_eq!(u64::from(mix.duration()), samples, "{take}");
    }
    assert_eq!((names(tmp.path()), names(&dir)), (vec!["bass.wav".into(), "here".into()], vec!["roll".into(), "takes".into()]));
    assert_eq!(std::fs::read(tmp.path().join("bass.wav")).unwrap(), b"mine");
}

#[test]
fn a_replay_writes_only_into_its_folder_whatever_the_take_says() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    bass(&dir.join("in.wav"), 1);
    assert!(command(&["live", "--from", "in.wav", "--to", "take"]).current_dir(dir).output().unwrap().status.success());
    let good = info(&dir.join("take"));
    let outside = dir.join("outside").to_string_lossy().into_owned();
    for stems in [
        json!([outside, "drums", "other"]),
        json!(["../outside", "drums", "other"]),
        json!(["bass", "", "other"]),
        json!(["a/b", "drums", "other"]),
        json!(["bass\u{1b}", "drums", "other"]),
    ] {
        let mut bad = good.clone();
        bad["stems"] = stems.clone();
        std::fs::write(dir.join("take/take.json"), bad.to_string()).unwrap();
        let output = command(&["replay", "take", "--out", "again"]).current_dir(dir).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{stems}");
        assert_eq!(names(dir), ["in.wav", "take"], "{stems}");
    }
    // Names that could be stems', but are not this model's: the model has the last word.
    for stems in [json!(["bass"]), json!(["mix", "input", "click"]), json!(["a", "b", "c", "d", "e", "f", "g"])] {
        let mut bad = good.clone();
        bad["stems"] = stems.clone();
        std::fs::write(dir.join("take/take.json"), bad.to_string()).unwrap();
        let output = command(&["replay", "take", "--out", "again", "--force"]).current_dir(dir).output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{stems}");
        assert!(names(dir).iter().all(|name| ["again", "in.wav", "take"].contains(&&**name)), "{stems}");
    }
}

/// The limit of a file's size is a disk that becomes full.
#[test]
fn a_take_ends_where_the_disk_does_and_says_so() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    bass(&dir.join("in.wav"), 20);
    let mut limited = Command::new("sh");
    limited.arg("-c").arg("ulimit -f 2000; exec \"$0\" live --from in.wav --to take --seed 1 --tempo 120");
    let whole = command(&[]);
    let model = whole.get_envs().find(|(name, _)| *name == "SIDEMAN_MODEL").unwrap().1.unwrap();
    let output = limited.arg(env!("CARGO_BIN_EXE_sideman")).env("SIDEMAN_MODEL", model).current_dir(dir).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let take = dir.join("take");
    let samples = info(&take)["samples"].as_u64().unwrap();
    assert!((16_000..19 * 32_000).contains(&samples), "{samples}");
    assert!(info(&take)["ended"].is_string());
    for name in ["input", "bass", "drums", "other", "click", "mix"] {
        let path = take.join(format!("{name}.wav"));
        let wav = hound::WavReader::open(&path).unwrap();
        assert_eq!(u64::from(wav.duration()), samples, "{name}");
        let rest = std::fs::metadata(&path).unwrap().len() - samples * 4 * u64::from(wav.spec().channels);
        assert!(rest < 200, "{name} has {rest} bytes besides its samples");
    }
    assert!(command(&["replay", "take", "--out", "again"]).current_dir(dir).output().unwrap().status.success());
    let drums = |take: &str| -> Vec<f32> {
        hound::WavReader::open(dir.join(take).join("drums.wav")).unwrap().into_samples().map(Result::unwrap).collect()
    };
    assert!(drums("take") == drums("again"));
}

/// A terminal on which Ctrl-S was pressed takes no text: here a pipe that is full.
#[test]
fn a_terminal_that_takes_no_text_stops_neither_the_session_nor_its_end() {
    let tmp = tempfile::tempdir().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let stderr = writer.try_clone().unwrap();
    let line = ["-v", "live", "--headless", "--host", "null", "--no-roll", "--record", "takes"];
    let mut child = command(&line).current_dir(tmp.path()).stderr(stderr).stdout(Stdio::null()).spawn().unwrap();
    let takes = tmp.path().join("takes");
    let length = || -> u64 {
        let take = std::fs::read_dir(&takes).ok().and_then(|mut dir| dir.next()?.ok());
        take.and_then(|take| take.path().join("mix.wav").metadata().ok()).map_or(0, |meta| meta.len())
    };
    wait_for("no take begins", || length() > 32_000 * 8);
    let full = std::thread::spawn(move || drop(std::io::Write::write_all(&mut writer, &vec![0; 1 << 20])));
    std::thread::sleep(Duration::from_millis(200));
    assert!(!full.is_finished(), "the pipe takes everything");
    // The status line is due three times.
    let then = length();
    wait_for("the session stands still", || length() > then + 3 * 32_000 * 8);
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    wait_for("SIGTERM does not end it", || length() == 0 || !Path::new(&format!("/proc/{}/exe", child.id())).exists());
    child.wait().unwrap();
    drop(reader);
    full.join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_locked_where_the_user_may() {
    let tmp = tempfile::tempdir().unwrap();
    let mut session = Session::start(tmp.path(), &["--no-roll", "--record", "takes"]);
    wait_for("no take begins", || tmp.path().join("takes").exists());
    let status = std::fs::read_to_string(format!("/proc/{}/status", session.child.id())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0").trim().to_owned();
    let locked: u64 = field("VmLck:").trim_end_matches(" kB").parse().unwrap();
    // CAP_IPC_LOCK is bit 14.
    let may = u64::from_str_radix(&field("CapEff:"), 16).unwrap() & (1 << 14) != 0;
    assert!(!may || locked > 0, "{locked} kB are locked");
    assert_eq!(session.kill("TERM"), Some(0));
}

#[test]
fn a_session_whose_take_cannot_begin_fails() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(tmp.path().join("file"), "").unwrap();
    let line = ["live", "--headless", "--host", "null", "--seconds", "1", "--no-roll", "--record", "file/takes"];
    assert_eq!(command(&line).current_dir(tmp.path()).output().unwrap().status.code(), Some(1));
}

#[test]
fn the_last_minutes_are_private_and_the_next_session_removes_those_of_a_killed_one() {
    let tmp = tempfile::tempdir().unwrap();
    let roll = tmp.path().join("roll");
    let files = || -> Vec<PathBuf> { names(&roll).iter().map(|name| roll.join(name)).collect() };
    let mut killed = Session::start(tmp.path(), &["--roll", "roll"]);
    wait_for("nothing is buffered", || roll.exists() && files().iter().any(|dir| dir.join("000000.f32").exists()));
    let [left] = &files()[..] else { panic!("one folder") };
    assert_eq!(std::fs::metadata(left).unwrap().permissions().mode() & 0o077, 0);
    assert_eq!(killed.kill("KILL"), None);
    assert!(left.exists());
    let mut next = Session::start(tmp.path(), &["--roll", "roll"]);
    wait_for("it is still there", || !left.exists() && files().iter().any(|dir| dir.join("000000.f32").exists()));
    assert_eq!(next.kill("TERM"), Some(0));
    assert!(files().is_empty());
    // With --no-roll nothing is written anywhere.
    let mut none = Session::start(tmp.path(), &["--no-roll"]);
    none.send("/jam/take/save", OscType::String("x".into()));
    assert_eq!(none.kill("TERM"), Some(0));
    assert_eq!(names(tmp.path()), ["roll"]);
}
