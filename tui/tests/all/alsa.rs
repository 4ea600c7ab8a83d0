//! `sideman live` on ALSA: the real program, by cpal, on a pcm of `type jack` (Debian: libasound2-plugins), behind which a JACK server of
//! the test's own keeps the time. A JACK client plays the bass and records the band; OSC is the script. The pcms are in a file of the
//! test's, which only the program that is tested reads. What is exact is asserted; what is timing is printed.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rosc::{OscMessage, OscPacket, OscType};
use sideman_skip::{Need, without};
use sideman_tests::jackd::{Server, deadline, jackd, turn};
use sideman_tests::listen::{find, grid, strikes};
use sideman_tests::stage;

const RATE: usize = 48_000;
/// Frames of the server's block and of ours: with two of them a loaded machine has 85 ms to be in time.
const PERIOD: u32 = 2048;
/// A click at 120 a minute.
const BEAT: usize = RATE / 2;

/// The ALSA devices of the test: `rig` is the JACK client; `card` the same as an interface that takes integers alone, which is what most
/// interfaces are when nothing stands before them.
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

/// Whether ALSA has its jack plugin. Where it hasn't, `test` is reported as skipped.
fn plugin(test: &str) -> bool {
    !without(test, &[Need::AlsaPlugin("libasound_module_pcm_jack.so", "libasound2-plugins")])
}

/// The musician and the recorder.
struct Rig {
    left: jack::Port<jack::AudioIn>,
    right: jack::Port<jack::AudioIn>,
    output: jack::Port<jack::AudioOut>,
    /// Ten seconds, after which it repeats itself without a seam.
    bass: Vec<f32>,
    at: usize,
    blocks: Sender<Block>,
}

/// The server's time, and frames of left and right. The bass begins with the first block.
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

/// Puts the rig on the server: its ports are there before ALSA looks for them.
fn rig() -> (jack::AsyncClient<(), Rig>, Receiver<Block>) {
    let (me, _) = jack::Client::new("rig", jack::ClientOptions::NO_START_SERVER).unwrap();
    let (blocks, recorded) = channel();
    let port = |name| me.register_port(name, jack::AudioIn::default()).unwrap();
    let (left, right) = (port("left"), port("right"));
    let output = me.register_port("bass", jack::AudioOut::default()).unwrap();
    let rig = Rig { left, right, output, bass: stage::bass(RATE * 10, RATE as u32), at: 0, blocks };
    (me.activate_async((), rig).unwrap(), recorded)
}

/// What was recorded, by the server's time: silence where it lost frames. Row n came while frame n of the bass was played, but for those. Gives
/// how often it lost some.
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
struct Jam {
    child: Child,
    said: Receiver<String>,
}

impl Jam {
    fn start(dir: &Path, device: &str, seconds: u32) -> Jam {
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
        Jam { child, said }
    }

    /// Asks for a deed over OSC, once it listens. The stems go to the left: what is on the right is then the click alone.
    fn script(&self) {
        let address = loop {
            let line = self.said.recv_timeout(Duration::from_secs(60)).expect("it says where it listens for OSC");
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

    /// Waits for its end, which has to be a good one; gives its report.
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

/// Samples of a WAV of one channel.
fn wav(path: &Path) -> Vec<f32> {
    hound::WavReader::open(path).unwrap().into_samples::<f32>().map(Result::unwrap).collect()
}

/// Plays on a device for so long, and listens to what came of it.
fn jam(device: &str, seconds: u32) {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(PERIOD);
    let (rig, recorded) = rig();
    let jam = Jam::start(dir.path(), device, seconds);
    jam.script();
    let report = jam.end();
    drop(rig);
    let (rows, gaps) = rows(&recorded);
    let (count, ms) = (|name: &str| report[name].as_u64().unwrap(), |name: &str| report[name].as_f64().unwrap());
    // What lost time: our device, or the server. The band is back in phase after it as far as the device's clock tells, not to the frame.
    let lapses = count("xruns") + gaps;
    eprintln!(
        "ALSA jam on {device}: {:.1} s of music in {:.1} s; xruns {}, server's gaps {gaps}, underrun {}, late {}; hop p99 {:.1} ms; latency {:.1} + {:.1} ms",
        ms("seconds"),
        ms("took_seconds"),
        count("xruns"),
        count("underrun"),
        count("late"),
        ms("hop_ms_p99"),
        ms("latency_in_ms"),
        ms("latency_out_ms"),
    );
    let take = std::fs::read_dir(dir.path().join("takes")).unwrap().next().unwrap().unwrap().path();
    let (input_stem, click) = (wav(&take.join("input.wav")), wav(&take.join("click.wav")));
    let length = input_stem.len() as f64 / 32_000.0;
    assert!(click.len() == input_stem.len() && (length - ms("seconds")).abs() < 0.01, "{length} s recorded");

    // The clicks. The first is before the two streams have found each other, 0.25 s in; the last may still be in the device, or
    // beyond what was recorded.
    let (clicks, wanted) = (strikes(rows.iter().map(|row| row[1]), RATE), strikes(click.iter().copied(), 32_000));
    assert!(clicks.len() > 3 && wanted.len() > 3, "{clicks:?} of {wanted:?}");
    // Song time is the server's time, which on a machine that is too busy isn't the wall's.
    let played = (rows.len() - clicks[0]) as f64 / RATE as f64;
    assert!((played - length).abs() < 2.0, "{length} s of song in {played} s");
    let (moves, worst) = grid(&clicks[1..], BEAT);
    eprintln!("  {} clicks of {}, at most {worst} frames beside the grid, which moved {moves} times", clicks.len(), wanted.len());
    assert!(moves <= lapses, "the grid moved {moves} times, the device lost time {lapses} times: {clicks:?}");
    assert!(clicks.len().abs_diff(wanted.len()) as u64 <= 1 + lapses, "{clicks:?}, not {wanted:?}");
    // The band, which is on the left alone.
    let band = rows.iter().map(|row| f64::from(row[0] - row[1]).powi(2)).sum::<f64>();
    assert!(band > 10.0, "the band is not heard: {band}");

    // What was played to it is what the take has of it, from beginning to end; and what was in the air at once is at one place in the take.
    let line = stage::bass(60 * 32_000, 32_000);
    assert!(input_stem.len() > 64_000, "only {length} s");
    for at in [input_stem.len() / 3, input_stem.len() - 40_000] {
        let (from, like) = find(&input_stem[at..at + 32_000], &line);
        let heard = from as f64 * 1.5;
        let there = clicks[2] as f64 + (at as f64 - wanted[2] as f64) * 1.5;
        // The line repeats every 10 s.
        let apart = (heard - there + 240_000.0).rem_euclid(480_000.0) - 240_000.0;
        eprintln!(
            "  at {:.1} s: likeness of the bass {like:.4}, {:.2} ms from where it was played",
            at as f64 / 32e3,
            apart / 48.0
        );
        assert!(like > if lapses == 0 { 0.99 } else { 0.5 }, "the bass is not heard: likeness {like}");
        assert!(lapses > 0 || apart.abs() < f64::from(PERIOD) / 2.0, "heard {apart} frames from where it was played");
    }
}

#[test]
fn a_jam_on_alsa() {
    let _turn = turn();
    let _deadline = deadline(120);
    if jackd("alsa::a_jam_on_alsa") && plugin("alsa::a_jam_on_alsa") {
        jam("rig", 10);
    }
}

#[test]
fn a_card_that_takes_integers_alone() {
    let _turn = turn();
    let _deadline = deadline(120);
    if jackd("alsa::a_card_that_takes_integers_alone") && plugin("alsa::a_card_that_takes_integers_alone") {
        jam("card", 6);
    }
}
