//! `sideman live` on ALSA, through cpal. The ALSA device is a pcm of `type jack` (Debian: libasound2-plugins)
//! on a JACK server that the test starts. A JACK client plays a bass and records the output; the test sends
//! OSC. The pcms are defined in a file that only the tested program reads. Exact properties are asserted,
//! timing is printed.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rosc::{OscMessage, OscPacket, OscType};
use sideman_tests::jackd::{Server, deadline, turn};
use sideman_tests::listen::{find, grid, strikes};
use sideman_tests::{alsa, stage};

const RATE: usize = 48_000;
/// Period of the server and of the program, frames. Two of them leave a loaded machine 85 ms.
const PERIOD: u32 = 2048;
/// Frames between clicks at 120 BPM.
const BEAT: usize = RATE / 2;

/// The ALSA devices: `rig` is the JACK client; `card` is the same with integer samples only, as most hardware
/// has.
const PCMS: &str = r#"
</usr/share/alsa/alsa.conf>
pcm.rig {
    type jack
    playback_ports { 0 "rig:left" 1 "rig:right" }
    capture_ports { 0 "rig:bass" }
    hint { show on description "The rig" }
}
pcm.card {
    type lfloat
    slave { pcm rig format FLOAT_LE }
    hint { show on description "The rig in integers" }
}
"#;

/// The JACK client: it plays the bass and records the output.
struct Rig {
    left: jack::Port<jack::AudioIn>,
    right: jack::Port<jack::AudioIn>,
    output: jack::Port<jack::AudioOut>,
    /// Ten seconds that loop without a discontinuity.
    bass: Vec<f32>,
    at: usize,
    blocks: Sender<Block>,
}

/// The server's time, and frames of left and right. The bass starts with the first block.
type Block = (u32, Vec<[f32; 2]>);

impl jack::ProcessHandler for Rig {
    fn process(&mut self, _: &jack::Client, scope: &jack::ProcessScope) -> jack::Control {
        for x in self.output.as_mut_slice(scope) {
            *x = self.bass[self.at % self.bass.len()];
            self.at += 1;
        }
        let (left, right) = (self.left.as_slice(scope), self.right.as_slice(scope));
        let _ = self.blocks.send((scope.last_frame_time(), left.iter().zip(right).map(|(l, r)| [*l, *r]).collect()));
        jack::Control::Continue
    }
}

/// Connects the client to the server, so that its ports exist before ALSA looks for them.
fn rig() -> (jack::AsyncClient<(), Rig>, Receiver<Block>) {
    let (me, _) = jack::Client::new("rig", jack::ClientOptions::NO_START_SERVER).unwrap();
    let (blocks, recorded) = channel();
    let port = |name| me.register_port(name, jack::AudioIn::default()).unwrap();
    let (left, right) = (port("left"), port("right"));
    let output = me.register_port("bass", jack::AudioOut::default()).unwrap();
    let rig = Rig { left, right, output, bass: stage::bass(RATE * 10, RATE as u32), at: 0, blocks };
    (me.activate_async((), rig).unwrap(), recorded)
}

/// The recorded frames by the server's time, with silence where the server lost frames, and how often it did.
/// Row n was recorded while frame n of the bass was played.
fn rows(recorded: &Receiver<Block>) -> (Vec<[f32; 2]>, u64) {
    let (mut rows, mut next, mut gaps) = (Vec::new(), None, 0);
    for (at, block) in recorded.try_iter() {
        let gap = next.map_or(0, |next: u32| at.wrapping_sub(next)).min(10 * RATE as u32);
        gaps += u64::from(gap > 0);
        rows.extend(std::iter::repeat_n([0.0; 2], gap as usize));
        next = Some(at.wrapping_add(block.len() as u32));
        rows.extend(block);
    }
    (rows, gaps)
}

/// The program on an ALSA device.
struct Program {
    child: Child,
    said: Receiver<String>,
}

impl Program {
    fn start(dir: &Path, device: &str, seconds: u32) -> Program {
        let config = dir.join("asound.conf");
        std::fs::write(&config, PCMS).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
        command.args(["live", "--host", "alsa", "--input", device, "--output", device, "--period", &PERIOD.to_string()]);
        command.args([
            "--tempo",
            "120",
            "--count-in",
            "1",
            "--click",
            "--chords",
            "Em C",
            "--seed",
            "7",
            "--threads",
            "1",
            "--json",
        ]);
        command
            .args(["--osc", "127.0.0.1:0", "--no-announce", "--seconds", &seconds.to_string(), "--record"])
            .arg(dir.join("takes"));
        command.env("SIDEMAN_MODEL", stage::model()).env("NO_COLOR", "1").env("ALSA_CONFIG_PATH", config).current_dir(dir);
        command.env("JACK_NO_START_SERVER", "1");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tx, said) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tx.send(line))));
        Program { child, said }
    }

    /// Pans the stems to the left by OSC, once the port is open. The right channel then has only the click.
    fn pan_stems_left(&self) {
        let address = loop {
            let line = self.said.recv_timeout(Duration::from_secs(60)).expect("the program prints its OSC address");
            eprintln!("  {line}");
            if let Some(address) = line.strip_prefix("OSC: ") {
                break address.rsplit(' ').next().unwrap().to_owned();
            }
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for stem in ["bass", "drums", "other"] {
            let message = OscMessage { addr: format!("/jam/stem/{stem}/pan"), args: vec![OscType::Float(-1.0)] };
            socket.send_to(&rosc::encoder::encode(&OscPacket::Message(message)).unwrap(), &address).unwrap();
        }
    }

    /// Waits for its successful end and returns its JSON report.
    fn end(mut self) -> serde_json::Value {
        let mut report = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
        let status = self.child.wait().unwrap();
        let said: Vec<String> = self.said.iter().collect();
        said.iter().for_each(|line| eprintln!("  {line}"));
        assert!(status.success() && !said.iter().any(|line| line.contains("panicked")), "{status}: {}", said.join("\n"));
        serde_json::from_str(&report).unwrap()
    }
}

/// Samples of a WAV file with one channel.
fn wav(path: &Path) -> Vec<f32> {
    hound::WavReader::open(path).unwrap().into_samples::<f32>().map(Result::unwrap).collect()
}

/// Plays on a device for `seconds`, and checks the output and the take.
fn play(device: &str, seconds: u32) {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(PERIOD);
    let (rig, recorded) = rig();
    let program = Program::start(dir.path(), device, seconds);
    program.pan_stems_left();
    let report = program.end();
    drop(rig);
    let (rows, gaps) = rows(&recorded);
    let (count, ms) = (|name: &str| report[name].as_u64().unwrap(), |name: &str| report[name].as_f64().unwrap());
    // Gaps of the device or of the server. After a gap the output is in phase again to the precision of the
    // device's clock, not to the frame.
    let lapses = count("xruns") + gaps;
    eprintln!(
        "ALSA on {device}: {:.1} s of music in {:.1} s; xruns {}, server's gaps {gaps}, underrun {}, late {}; hop p99 {:.1} ms; latency {:.1} + {:.1} ms",
        ms("seconds"),
        ms("took_seconds"),
        count("xruns"),
        count("underrun"),
        count("late"),
        ms("hop_ms_p99"),
        ms("latency_in_ms"),
        ms("latency_out_ms"),
    );
    assert_eq!(count("allocations"), 0, "a callback or a hop requested memory");
    let take = std::fs::read_dir(dir.path().join("takes")).unwrap().next().unwrap().unwrap().path();
    let (input_stem, click) = (wav(&take.join("input.wav")), wav(&take.join("click.wav")));
    let length = input_stem.len() as f64 / 32_000.0;
    assert!(click.len() == input_stem.len() && (length - ms("seconds")).abs() < 0.01, "{length} s recorded");

    // The first click comes at 0.25 s, before the input and output streams are aligned. The last one may
    // still be in the device when the recording ends.
    let (clicks, wanted) = (strikes(rows.iter().map(|row| row[1]), RATE), strikes(click.iter().copied(), 32_000));
    assert!(clicks.len() > 3 && wanted.len() > 3, "{clicks:?} of {wanted:?}");
    // Song time follows the server's time, which on a busy machine differs from wall time.
    let played = (rows.len() - clicks[0]) as f64 / RATE as f64;
    assert!((played - length).abs() < 2.0, "{length} s of song in {played} s");
    let (moves, worst) = grid(&clicks[1..], BEAT);
    eprintln!("  {} clicks of {}, at most {worst} frames off the grid, which moved {moves} times", clicks.len(), wanted.len());
    assert!(moves <= lapses, "the grid moved {moves} times, there were {lapses} gaps: {clicks:?}");
    assert!(clicks.len().abs_diff(wanted.len()) as u64 <= 1 + lapses, "{clicks:?}, not {wanted:?}");
    // The stems, which are only on the left.
    let band = rows.iter().map(|row| f64::from(row[0] - row[1]).powi(2)).sum::<f64>();
    assert!(band > 10.0, "the stems do not sound: {band}");

    // The take has the bass that was played, and bass and clicks that sounded together are at the same place
    // in it.
    let line = stage::bass(60 * 32_000, 32_000);
    assert!(input_stem.len() > 64_000, "only {length} s");
    for at in [input_stem.len() / 3, input_stem.len() - 40_000] {
        let (from, like) = find(&input_stem[at..at + 32_000], &line);
        let heard = from as f64 * 1.5;
        let there = clicks[2] as f64 + (at as f64 - wanted[2] as f64) * 1.5;
        // The bass repeats every 10 s.
        let apart = (heard - there + 240_000.0).rem_euclid(480_000.0) - 240_000.0;
        eprintln!(
            "  at {:.1} s: correlation with the bass {like:.4}, {:.2} ms from where it was played",
            at as f64 / 32e3,
            apart / 48.0
        );
        assert!(like > if lapses == 0 { 0.99 } else { 0.5 }, "the bass is not in the take: correlation {like}");
        assert!(lapses > 0 || apart.abs() < f64::from(PERIOD) / 2.0, "the bass is {apart} frames from where it was played");
    }
}

#[test]
fn a_session_on_alsa_keeps_time_and_records_the_input() {
    let _turn = turn();
    let _deadline = deadline(120);
    if alsa::available("alsa::a_session_on_alsa_keeps_time_and_records_the_input") {
        play("rig", 10);
    }
}

#[test]
fn a_session_on_an_alsa_device_with_integer_samples_keeps_time() {
    let _turn = turn();
    let _deadline = deadline(120);
    if alsa::available("alsa::a_session_on_an_alsa_device_with_integer_samples_keeps_time") {
        play("card", 6);
    }
}
