//! `sideman live` under a JACK server that the test starts: it handles a pedal and MIDI clock, sent by a JACK
//! client. OSC and the take show the result.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rosc::{OscMessage, OscPacket, OscType};

use sideman_tests::jackd::{Server, deadline, jackd, turn};

const RATE: f64 = 48_000.0;

/// A message: frames after the block that takes the plan, and bytes.
type Plan = Vec<(f64, Vec<u8>)>;

/// A client that sends messages by plans.
struct Rig {
    out: jack::Port<jack::MidiOut>,
    plan: Receiver<Plan>,
    waiting: Plan,
    at: f64,
}

impl jack::ProcessHandler for Rig {
    fn process(&mut self, _: &jack::Client, scope: &jack::ProcessScope) -> jack::Control {
        let now = self.at;
        // A plan begins with the block that takes it.
        self.waiting.extend(self.plan.try_iter().flatten().map(|(at, bytes)| (now + at, bytes)));
        self.waiting.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n = f64::from(scope.n_frames());
        let mut out = self.out.writer(scope);
        for (at, bytes) in self.waiting.iter().take_while(|m| m.0 < now + n) {
            out.write(&jack::RawMidi { time: (at - now) as u32, bytes }).unwrap();
        }
        self.waiting.retain(|m| m.0 >= now + n);
        self.at += n;
        jack::Control::Continue
    }
}

/// The program, which is ended with the test.
struct Sideman(Child);

impl Drop for Sideman {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a message at an address that `hit` accepts.
fn wait(socket: &UdpSocket, address: &str, hit: impl Fn(&[OscType]) -> bool) {
    let (began, mut bytes, mut last) = (Instant::now(), [0; 2000], Vec::new());
    while began.elapsed() < Duration::from_secs(60) {
        let Ok(len) = socket.recv(&mut bytes) else { continue };
        if let OscPacket::Message(m) = rosc::decoder::decode_udp(&bytes[..len]).unwrap().1
            && m.addr == address
        {
            if hit(&m.args) {
                return;
            }
            last = m.args;
        }
    }
    panic!("not heard at {address}; the last was {last:?}");
}

fn send(socket: &UdpSocket, addr: &str, args: Vec<OscType>) {
    let packet = OscPacket::Message(OscMessage { addr: addr.into(), args });
    socket.send(&rosc::encoder::encode(&packet).unwrap()).unwrap();
}

#[test]
fn a_pedal_and_a_clock_reach_the_program() {
    let _turn = turn();
    let _deadline = deadline(240);
    if !jackd("jack_midi::a_pedal_and_a_clock_reach_the_program") {
        return;
    }
    let _server = Server::start(256);
    let (me, _) = jack::Client::new("rig", jack::ClientOptions::NO_START_SERVER).unwrap();
    let out = me.register_port("out", jack::MidiOut::default()).unwrap();
    let (plan, planned): (Sender<Plan>, _) = channel();
    let me = me.activate_async((), Rig { out, plan: planned, waiting: vec![], at: 0.0 }).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    command.args([
        "live",
        "--headless",
        "--host",
        "jack",
        "--client",
        "sideman-pedal",
        "--midi",
        "rig:",
        "--clock",
        "midi",
        "--threads",
        "1",
    ]);
    command
        .args(["--osc", "127.0.0.1:0", "--no-announce", "--tempo", "90", "--count-in", "0", "--lag", "25", "--record"])
        .arg(dir.path());
    command.args(["--chords", "[A] Em C [B] Am F"]);
    command.env("SIDEMAN_MODEL", &model).env("NO_COLOR", "1").env("XDG_CONFIG_HOME", dir.path()).stdin(Stdio::null());
    let mut sideman = Sideman(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(sideman.0.stderr.take().unwrap()).lines();
    let (tell, said) = channel();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
    let port: u16 = loop {
        let line = said.recv_timeout(Duration::from_secs(60)).expect("it says where it listens");
        if let Some(address) = line.strip_prefix("OSC: ") {
            break address.rsplit(':').next().unwrap().parse().unwrap();
        }
    };
    let began = Instant::now();
    let wired =
        || me.as_client().port_by_name("sideman-pedal:midi_in").is_some_and(|p| p.is_connected_to("rig:out").unwrap_or(false));
    while !wired() {
        assert!(began.elapsed() < Duration::from_secs(60), "--midi rig: connects nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    let osc = UdpSocket::bind("127.0.0.1:0").unwrap();
    osc.connect(("127.0.0.1", port)).unwrap();
    osc.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    send(&osc, "/jam/subscribe", vec![OscType::Int(300)]);

    // A fader of the default map, before the band plays.
    plan.send(vec![(0.0, vec![0xb1, 7, 127])]).unwrap();
    wait(&osc, "/jam/stem/drums/gain", |a| a == [OscType::Float(6.0)]);
    // MIDI clock at 105 BPM with a start: the band starts, in its tempo.
    let tick = 60.0 / 105.0 / 24.0 * RATE;
    let mut clock: Plan = (0..24 * 70).map(|k| (f64::from(k) * tick, vec![0xf8])).collect();
    clock.push((23.5 * tick, vec![0xfa]));
    plan.send(clock).unwrap();
    wait(&osc, "/jam/state", |a| a.first() == Some(&OscType::String("playing".into())));
    wait(&osc, "/jam/tempo", |a| matches!(a, [OscType::Float(t)] if (t - 105.0).abs() < 4.5));
    // A program change goes to a section of the chart, at a bar line.
    plan.send(vec![(0.0, vec![0xc0, 1])]).unwrap();
    wait(&osc, "/jam/section", |a| a.first() == Some(&OscType::String("B".into())));
    plan.send(vec![(0.0, vec![0xfc])]).unwrap();
    wait(&osc, "/jam/state", |a| a.first() == Some(&OscType::String("stopped".into())));

    assert!(Command::new("kill").args(["-TERM", &sideman.0.id().to_string()]).status().unwrap().success());
    assert!(sideman.0.wait().unwrap().success(), "{}", said.try_iter().collect::<Vec<_>>().join("\n"));
    let take = std::fs::read_dir(dir.path()).unwrap().flatten().find(|e| e.file_name().to_string_lossy().starts_with("take-"));
    let events = std::fs::read_to_string(take.expect("a take").path().join("events.jsonl")).unwrap();
    for kept in [r#"{"gain":6.0}"#, r#""play""#, r#"{"section":"2"}"#, r#""stop""#] {
        assert!(events.contains(kept), "the take doesn't hold {kept}:\n{events}");
    }
}

#[test]
fn an_unknown_midi_port_is_an_error_that_names_the_flag() {
    let run = |args: &[&str]| {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
        let out = command.args(args).env("SIDEMAN_MODEL", model).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    // With and without MIDI ports on the machine.
    let (code, said) = run(&["live", "--headless", "--host", "null", "--midi", "no such port"]);
    assert!(code == Some(1) && said.contains("--midi no such port: "), "{said}");
    let (code, said) = run(&["live", "--from", "a.wav", "--to", "b", "--midi", "x"]);
    assert!(code == Some(2) && said.contains("--midi"), "{said}");
    let (code, said) = run(&["live", "--from", "a.wav", "--to", "b", "--clock", "link"]);
    assert!(code == Some(2) && said.contains("--clock link") && said.contains("--features link"), "{said}");
    let (code, said) = run(&["live", "--host", "null", "--clock", "jack"]);
    assert!(code == Some(2) && said.contains("--host jack"), "{said}");
}
