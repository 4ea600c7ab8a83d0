//! A session between files under OSC control: by liblo's `oscsend` and `oscdump` (Debian: liblo-tools), by
//! python-osc, and by `examples/rig.py`.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rosc::{OscMessage, OscPacket, OscType};
use sideman_io::command_language::Pattern;
use sideman_io::osc::{addresses::Row, listing};
use sideman_skip::skip;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house")
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// `seconds` of a bass at 32 kHz.
fn bass(dir: &Path, seconds: f64) -> PathBuf {
    let path = dir.join("bass.wav");
    let spec = hound::WavSpec { channels: 1, sample_rate: 32_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..(seconds * 32_000.0) as usize {
        file.write_sample(((n as f64 * std::f64::consts::TAU * 55.0 / 32_000.0).sin() * 12_000.0) as i16).unwrap();
    }
    file.finalize().unwrap();
    path
}

/// A session between files, and its OSC port.
struct Jam {
    child: Child,
    port: u16,
    said: Receiver<String>,
}

impl Jam {
    fn start(dir: &Path, from: &Path, to: &str, more: &[&str]) -> Jam {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
        command.args(["-v", "live", "--from"]).arg(from).arg("--to").arg(dir.join(to));
        command.args(["--osc", "127.0.0.1:0", "--tempo", "120", "--seed", "7", "--threads", "1", "--lag", "8"]).args(more);
        command.env("SIDEMAN_MODEL", model()).env("NO_COLOR", "1").current_dir(dir);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tx, said) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tx.send(line))));
        let port = loop {
            let line = said.recv_timeout(Duration::from_secs(60)).expect("it says where it listens");
            if let Some(address) = line.strip_prefix("OSC: ") {
                break address.rsplit(':').next().unwrap().parse().unwrap();
            }
        };
        Jam { child, port, said }
    }

    /// Waits until it ends. Returns what it printed.
    fn end(mut self) -> String {
        let status = self.child.wait().unwrap();
        let said: Vec<String> = self.said.iter().collect();
        assert!(status.success(), "{}", said.join("\n"));
        said.join("\n")
    }

    /// Ends it with SIGTERM.
    fn stop(self) -> String {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        self.end()
    }
}

/// An OSC client.
struct Peer(UdpSocket);

impl Peer {
    fn new(port: u16) -> Peer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Peer(socket)
    }

    fn send(&self, addr: &str, args: &[OscType]) {
        let packet = OscPacket::Message(OscMessage { addr: addr.into(), args: args.to_vec() });
        self.0.send(&rosc::encoder::encode(&packet).unwrap()).unwrap();
    }

    /// The next message; `None`: none for 5 s.
    fn next(&self) -> Option<OscMessage> {
        let mut bytes = [0; 2000];
        let len = self.0.recv(&mut bytes).ok()?;
        match rosc::decoder::decode_udp(&bytes[..len]).unwrap().1 {
            OscPacket::Message(m) => Some(m),
            OscPacket::Bundle(_) => None,
        }
    }

    fn wait(&self, hit: impl Fn(&OscMessage) -> bool) -> OscMessage {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if let Some(m) = self.next().filter(&hit) {
                return m;
            }
        }
        panic!("no answer");
    }
}

/// An `oscdump` on a free port.
struct Dump(Child, u16, Receiver<String>);

impl Dump {
    fn subscribed(to: u16) -> Dump {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new("oscdump")
            .args(["-L", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("oscdump of liblo-tools; scripts/setup.sh installs it");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tx, rx) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tx.send(line)));
        let dump = Dump(child, port, rx);
        let began = Instant::now();
        // Repeated until its socket is open and gets a value.
        while dump.2.recv_timeout(Duration::from_millis(300)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "oscdump gets nothing");
            oscsend(to, &["/jam/subscribe", "sii", "127.0.0.1", &port.to_string(), "100"]);
        }
        dump
    }

    fn wait(&self, text: &str) {
        loop {
            let line = self.2.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("no {text} at {}", self.1));
            if line.contains(text) {
                return;
            }
        }
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn oscsend(port: u16, args: &[&str]) {
    let done = Command::new("oscsend").arg("127.0.0.1").arg(port.to_string()).args(args).status();
    assert!(done.expect("oscsend of liblo-tools; scripts/setup.sh installs it").success());
}

/// Every address with this access.
fn addresses(access: &str) -> Vec<String> {
    let stems = ["bass", "drums", "other", "all"];
    let concrete = |path: &str| -> Vec<String> {
        match path {
            p if p.contains("/S") => stems.iter().map(|s| p.replacen("/S", &format!("/{s}"), 1)).collect(),
            p if p.contains("/N") => (1..=4).map(|n| p.replacen("/N", &format!("/{n}"), 1)).collect(),
            p => vec![p.to_owned()],
        }
    };
    listing().filter(|row| row.access.contains(access)).flat_map(|row| concrete(row.path)).collect()
}

#[test]
fn every_address_can_be_set_read_and_watched_by_two_while_a_band_plays() {
    let dir = tempfile::tempdir().unwrap();
    let jam = Jam::start(dir.path(), &bass(dir.path(), 200.0), "take", &["--pace", "real", "--chords", "Em C"]);
    let (a, b) = (Dump::subscribed(jam.port), Dump::subscribed(jam.port));
    let peer = Peer::new(jam.port);
    // Everything that can be read has a value from the start.
    let mut readable = 0;
    for address in addresses("read").iter().filter(|a| *a != "/jam/error") {
        peer.send(address, &[]);
        let answer = peer.wait(|_| true);
        let same =
            answer.addr == *address || address.contains("/all") && answer.addr.starts_with(address.split("/all").next().unwrap());
        assert!(same, "{address} answers {answer:?}");
        if address.contains("/all") {
            // One answer for each stem.
            (1..3).for_each(|_| drop(peer.next()));
        }
        readable += 1;
    }
    peer.send("/jam/ping", &[]);
    assert_eq!(peer.wait(|_| true).args[1], OscType::from("fixture"));
    let sets: Vec<(Vec<&str>, &str)> = vec![
        (vec!["/jam/mode", "s", "loop"], "/jam/mode s \"loop\""),
        (vec!["/jam/mode", "s", "follow"], "/jam/mode s \"follow\""),
        (vec!["/jam/tempo", "i", "150"], "/jam/tempo f 150.000000"),
        (vec!["/jam/meter", "ii", "3", "4"], "/jam/meter ii 3 4"),
        (vec!["/jam/clock", "s", "midi"], "/jam/clock s \"midi\""),
        (vec!["/jam/clock", "s", "free"], "/jam/clock s \"free\""),
        (vec!["/jam/clock", "s", "internal"], "/jam/clock s \"internal\""),
        (vec!["/jam/text", "s", "slow dub"], "/jam/text s \"slow dub\""),
        (vec!["/jam/text/2", "sf", "brushes", "0.5"], "/jam/text/2 sf \"brushes\" 0.500000"),
        (vec!["/jam/text/1", "sf", "jazz", "1"], "/jam/text s \"jazz, brushes\""),
        (vec!["/jam/chords", "s", "[A] Am F [B] C G"], "/jam/chords s \"[A] Am F [B] C G\""),
        (vec!["/jam/key", "s", "Am"], "/jam/key s \"Am\""),
        (vec!["/jam/key", "ss", "C minor", "now"], "/jam/key s \"C minor\""),
        (vec!["/jam/loop", "f", "2"], "/jam/loop i 2"),
        (vec!["/jam/lag", "i", "12"], "/jam/lag i 12"),
        (vec!["/jam/hop", "d", "5"], "/jam/hop i 5"),
        (vec!["/jam/sample/temperature", "f", "0.75"], "/jam/sample/temperature f 0.750000"),
        (vec!["/jam/sample/top_k", "i", "99"], "/jam/sample/top_k i 99"),
        (vec!["/jam/sample/top_p", "f", "0.5"], "/jam/sample/top_p f 0.500000"),
        (vec!["/jam/sample/cfg", "f", "2.5"], "/jam/sample/cfg f 2.500000"),
        (vec!["/jam/sample/seed", "h", "77"], "/jam/sample/seed h 77"),
        (vec!["/jam/section/goto", "s", "B"], "/jam/section/goto s \"B\""),
        (vec!["/jam/dim", "f", "12"], "/jam/dim f 12.000000"),
        (vec!["/jam/dip", "f", "6"], "/jam/dim f 6.000000"),
        (vec!["/jam/click", "T"], "/jam/click i 1"),
        (vec!["/jam/transport/count_in", "i", "1"], "/jam/transport/count_in i 1"),
        (vec!["/jam/stem/*/solo", "f", "1"], "/jam/stem/other/solo i 1"),
        (vec!["/jam/stem/drums/gain", "fs", "-7.5", "beat"], "/jam/stem/drums/gain f -7.500000"),
        (vec!["/jam/stem/drums/mute", "T"], "/jam/stem/drums/mute i 1"),
        (vec!["/jam/stem/all/freeze", "i", "1"], "/jam/stem/other/freeze i 1"),
        (vec!["/jam/stem/other/pan", "f", "-1"], "/jam/stem/other/pan f -1.000000"),
        (vec!["/jam/instrument", "s", "drums"], "/jam/instrument s \"drums\""),
        (vec!["/jam/play", "s", "bass"], "/jam/instrument s \"bass\""),
        (vec!["/jam/transport/stop"], "/jam/state ss \"stopped\""),
        (vec!["/jam/transport/play"], "/jam/state ss \"counting\""),
        (vec!["/jam/rec", "i", "0"], "/jam/rec i 0"),
    ];
    for (message, echo) in &sets {
        oscsend(jam.port, message);
        a.wait(echo);
        b.wait(echo);
    }
    // No trigger is refused, and each beat is sent.
    while peer.0.set_nonblocking(true).is_ok() && peer.next().is_some() {}
    peer.0.set_nonblocking(false).unwrap();
    let triggers = addresses("trigger");
    for address in &triggers {
        let args: &[OscType] = match address.as_str() {
            "/jam/take/save" => &[OscType::String("good one".into())],
            "/jam/midi/learn" => &[OscType::String("/jam/fill".into())],
            _ => &[],
        };
        peer.send(address, args);
    }
    peer.send("/jam/ping", &[]);
    assert_eq!(peer.wait(|_| true).addr, "/jam/pong");
    // A wrong value is an error, and the music continues.
    peer.send("/jam/tempo", &["fast".into()]);
    assert!(matches!(&peer.wait(|_| true).args[..], [OscType::String(what)] if what.contains("/jam/tempo")));
    peer.send("/jam/subscribe", &[OscType::Int(60)]);
    peer.send("/jam/clock", &["link".into()]);
    peer.wait(|m| m.addr == "/jam/error" && matches!(&m.args[..], [OscType::String(s)] if s.contains("Link")));
    let beat = |m: &OscMessage| m.addr == "/jam/beat";
    assert_ne!(peer.wait(beat).args, peer.wait(beat).args);
    peer.send("/jam/unsubscribe", &[]);
    println!("{readable} addresses read, {} set and echoed to two, {} triggered", sets.len(), triggers.len());
    jam.stop();
}

/// A client in Python: subscribes, sends a bundle with a time tag one second ahead, reads.
const PYTHON: &str = r#"
import sys, threading, time
from pythonosc import dispatcher, osc_bundle_builder, osc_message_builder, osc_server, udp_client
seen = []
d = dispatcher.Dispatcher()
d.set_default_handler(lambda address, *args: seen.append((address, args, time.time())))
server = osc_server.ThreadingOSCUDPServer(("127.0.0.1", 0), d)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = udp_client.SimpleUDPClient("127.0.0.1", int(sys.argv[1]))
# From a port of its own: the port that subscribes hears no moves of its own.
subscriber = udp_client.SimpleUDPClient("127.0.0.1", int(sys.argv[1]))
subscriber.send_message("/jam/subscribe", ["127.0.0.1", server.server_address[1], 30])
when = time.time() + 1.0
bundle = osc_bundle_builder.OscBundleBuilder(when)
for gain in (-3.0, -6.0):
    message = osc_message_builder.OscMessageBuilder("/jam/stem/drums/gain")
    message.add_arg(gain)
    bundle.add_content(message.build())
client.send(bundle.build())
end = time.time() + 30
while time.time() < end and not any(a == "/jam/stem/drums/gain" and v == (-6.0,) for a, v, _ in seen):
    time.sleep(0.01)
came = [t for a, v, t in seen if a == "/jam/stem/drums/gain" and v == (-6.0,)]
assert came and came[0] >= when - 0.01, (came, when)
assert any(a == "/jam/tempo" for a, _, _ in seen)
print("bundle done %.0f ms after its time" % ((came[0] - when) * 1e3))
"#;

#[test]
fn python_osc_can_control_a_session() {
    // The interpreter that has python-osc: `make test` names the one of its own environment
    // (scripts/python-tests.sh).
    let python = std::env::var_os("SIDEMAN_PYTHON").unwrap_or_else(|| "python3".into());
    let has = Command::new(&python).args(["-c", "import pythonosc"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|s| s.success()) {
        skip("rig::python_osc_can_control_a_session", &format!("{} has no python-osc", Path::new(&python).display()));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let jam = Jam::start(dir.path(), &bass(dir.path(), 60.0), "take", &["--pace", "real"]);
    let output = Command::new(&python).args(["-c", PYTHON, &jam.port.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    jam.stop();
}

/// Every address in a text.
fn named(text: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || "_/*{,}".contains(c);
    text.match_indices("/jam/").map(|(at, _)| text[at..].chars().take_while(|c| word(*c)).collect::<String>()).collect()
}

#[test]
fn the_reference_and_the_examples_name_addresses_that_exist() {
    let all = addresses("");
    let read = |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap();
    for (path, least) in [
        ("docs/reference/osc.md", 60),
        ("examples/rig.py", 10),
        ("examples/rig.scd", 10),
        ("examples/rig.open-stage-control.json", 30),
    ] {
        let names = named(&read(path));
        assert!(names.len() >= least, "{path} names {}", names.len());
        for name in &names {
            let name = name.trim_end_matches(',');
            let pattern = Pattern::new(name).unwrap();
            assert!(all.iter().any(|a| pattern.matches(a)), "{path}: no address {name}");
        }
    }
    // The reference has all of them.
    let reference = named(&read("docs/reference/osc.md"));
    for row in listing() {
        let example = row.path.replacen("/S", "/drums", 1).replacen("/N", "/1", 1);
        assert!(reference.contains(&example), "docs/reference/osc.md leaves out {example}");
    }
    // Every widget of the Open Stage Control page sends what its address takes.
    let page: serde_json::Value = serde_json::from_str(&read("examples/rig.open-stage-control.json")).unwrap();
    let widgets = page["content"]["widgets"].as_array().unwrap();
    assert!(widgets.len() > 30);
    for widget in widgets {
        let (address, kind) = (widget["address"].as_str().unwrap(), widget["type"].as_str().unwrap());
        let row: Row = listing().find(|row| all.iter().any(|a| a == address) && same(row.path, address)).unwrap();
        let right = match kind {
            "text" => row.access == "read",
            "button" => ["0|1", "", "[STEM]"].contains(&row.arguments),
            "fader" => widget["range"]["min"].as_f64() < widget["range"]["max"].as_f64() && row.access.starts_with("set"),
            "switch" => row.arguments == "bars" || row.arguments.contains('|'),
            "input" => row.access.starts_with("set"),
            _ => false,
        };
        assert!(right, "{address} is no {kind}: it takes {:?}", row.arguments);
    }
}

/// Whether an address is one of a path's.
fn same(path: &str, address: &str) -> bool {
    let (path, address): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), address.split('/').collect());
    path.len() == address.len() && path.iter().zip(&address).all(|(p, a)| p == a || *p == "S" || *p == "N")
}

fn take(dir: &Path) -> Vec<Vec<u8>> {
    ["input", "bass", "drums", "other", "click", "mix"].map(|n| std::fs::read(dir.join(format!("{n}.wav"))).unwrap()).to_vec()
}

/// With `SIDEMAN_FLOOD_SECONDS=10`: a million packets in ten seconds.
#[test]
fn a_flood_of_packets_changes_no_sample() {
    let seconds: f64 = std::env::var("SIDEMAN_FLOOD_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3.0);
    let dir = tempfile::tempdir().unwrap();
    let from = bass(dir.path(), seconds + 2.0);
    Jam::start(dir.path(), &from, "still", &["--pace", "fast", "--chords", "Em C"]).end();
    let jam = Jam::start(dir.path(), &from, "flooded", &["--pace", "real", "--chords", "Em C"]);
    let message = |addr: &str, args: &[OscType]| {
        rosc::encoder::encode(&OscPacket::Message(OscMessage { addr: addr.into(), args: args.to_vec() })).unwrap()
    };
    // Values that are already set, reads, and addresses that don't exist.
    let good = [
        message("/jam/tempo", &[OscType::Float(120.0)]),
        message("/jam/stem/drums/gain", &[OscType::Float(0.0)]),
        message("/jam/stem/*/mute", &[OscType::Bool(false)]),
        message("/jam/stem/all/pan", &[OscType::Float(0.0), "bar".into()]),
        message("/jam/sync", &[]),
        message("/jam/ping", &[]),
        message("/jam/tempo", &[]),
        message("/jam/sample/temperature", &[OscType::Float(1.0)]),
        message("/jam/subscribe", &[OscType::Int(1)]),
        message("/jam/stem/flute/gain", &[OscType::Float(3.0)]),
        message("/jam/tempo", &["allegro".into()]),
    ];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = ("127.0.0.1", jam.port);
    let (began, mut sent, mut malformed, mut noise) = (Instant::now(), 0u64, 0u64, 1u64);
    while began.elapsed().as_secs_f64() < seconds {
        // 100,000 packets a second, and 10,000 malformed ones in total. On a busy machine there are fewer:
        // the number is printed.
        for _ in 0..2000 {
            if sent as f64 >= began.elapsed().as_secs_f64() * 1e5 {
                break;
            }
            let packet = &good[sent as usize % good.len()];
            if malformed < 10_000 && (malformed as f64) < 1e4 * began.elapsed().as_secs_f64() / seconds {
                let mut bad = packet.clone();
                for b in &mut bad {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // All of it noise, or some bits of a message.
                    *b = if malformed % 2 == 0 { (noise >> 40) as u8 } else { *b ^ if noise >> 62 == 0 { 0x80 } else { 0 } };
                }
                bad.truncate(1 + (noise >> 33) as usize % bad.len());
                drop(socket.send_to(&bad, to));
                malformed += 1;
            }
            drop(socket.send_to(packet, to));
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = began.elapsed().as_secs_f64();
    let said = jam.end();
    let counted = said.lines().find(|l| l.contains("OSC:")).unwrap_or_default();
    println!("{sent} messages in {took:.1} s ({:.0} a second), {malformed} malformed packets; {counted}", sent as f64 / took);
    assert!(take(&dir.path().join("still")) == take(&dir.path().join("flooded")), "the flood changed the music");
    assert!(counted.contains("malformed"), "nothing of the flood came: {said}");
}

/// The short piece with the random model: levels, silence and loops are where the script has them, and the
/// piece is the same twice.
#[test]
fn the_example_script_plays_the_same_piece_twice() {
    let dir = tempfile::tempdir().unwrap();
    let play = |to: &str, pace: &str| -> Output {
        let mut command = Command::new("python3");
        command.arg(examples().join("rig.py")).args(["--short", "--pace", pace, "--out"]).arg(dir.path().join(to));
        command
            .args(["--sideman", env!("CARGO_BIN_EXE_sideman"), "--threads", "1"])
            .env("SIDEMAN_MODEL", model())
            .current_dir(dir.path());
        command.output().expect("python3")
    };
    for (to, pace) in [("one", "fast"), ("two", "fast")] {
        let output = play(to, pace);
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(take(&dir.path().join("one")) == take(&dir.path().join("two")), "the piece depends on when its messages arrived");
}
