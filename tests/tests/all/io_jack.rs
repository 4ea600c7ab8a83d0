//! Live play under a real JACK server (dummy driver): a test client, the rig, plays a bass into Sideman's
//! port and records all of Sideman's outputs. Exact results are asserted; timing (xruns, late hops) is
//! printed, because the machine may be busy.
//!
//! `SIDEMAN_JAM_SECONDS` sets the length, `SIDEMAN_JAM_MODEL` the model (at lag 16), `SIDEMAN_JAM_BASS` a WAV
//! file of 48 kHz at 120 BPM as the input, and `SIDEMAN_JAM_TO` a WAV file for the recording: bass, drums,
//! other, click, left, right.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sideman_engine::live::{Action, Command, SessionConfig, Snapshot, Which};
use sideman_engine::model::ModelDir;
use sideman_io::calibrate::{self, CalibrationError};
use sideman_io::control::Control;
use sideman_io::device::DeviceConfig;
use sideman_io::event::{Event, RecordingEvent};
use sideman_io::live::EngineThread;
use sideman_io::run_mode::RunMode;
use sideman_io::runner::Runner;
use sideman_io::supervisor;
use sideman_kernels::cpu::CpuBackend;
use sideman_skip::{Need, without};
use sideman_tests::jackd::{Server, deadline, device_config, jackd, turn, undisturbed};
use sideman_tests::{echo, stage};

const RATE: u32 = 48_000;

/// Length of the session.
fn seconds() -> f64 {
    std::env::var("SIDEMAN_JAM_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60.0)
}

/// The client that plays and records, block by block, over an unbounded channel.
struct Rig {
    input: Vec<jack::Port<jack::AudioIn>>,
    output: jack::Port<jack::AudioOut>,
    bass: Vec<f32>,
    at: usize,
    begun: bool,
    blocks: Sender<(u32, Vec<f32>)>,
}

impl jack::ProcessHandler for Rig {
    fn process(&mut self, _: &jack::Client, scope: &jack::ProcessScope) -> jack::Control {
        let out = self.output.as_mut_slice(scope);
        let click = self.input[3].as_slice(scope);
        for (x, click) in out.iter_mut().zip(click) {
            // The bass starts with the click.
            self.begun |= click.abs() > 0.05;
            *x = if self.begun { self.bass[self.at % self.bass.len()] } else { 0.0 };
            self.at += usize::from(self.begun);
        }
        let n = scope.n_frames() as usize;
        let rows = (0..n).flat_map(|i| self.input.iter().map(move |p| p.as_slice(scope)[i])).collect();
        let _ = self.blocks.send((scope.last_frame_time(), rows));
        jack::Control::Continue
    }
}

/// A session on the server.
struct Jam {
    control: Control,
    engine: JoinHandle<Vec<RecordingEvent>>,
    devices: JoinHandle<Result<(), String>>,
    events: Receiver<Event>,
}

const PORTS: [&str; 6] = ["bass_out", "drums_out", "other_out", "click_out", "mix_out_1", "mix_out_2"];

impl Jam {
    fn start(client: &str, count_in: u32) -> Jam {
        let config = SessionConfig { count_in, bar1: i64::from(count_in) * 64_000 + 16_000, ..stage::config(25) };
        let (runner, control) = match std::env::var("SIDEMAN_JAM_MODEL") {
            Ok(model) => {
                let model = std::path::PathBuf::from(model);
                let s = ModelDir::open(&model).unwrap().config.sampling;
                let drawn = SessionConfig {
                    temperature: s.temperature,
                    top_k: s.top_k,
                    top_p: s.top_p,
                    cfg_scale: s.cfg,
                    guided: true,
                    ..config
                };
                stage::runner_of(&model, SessionConfig { lag: 16, chords: None, ..drawn }, RunMode::Devices)
            }
            Err(_) => stage::runner(config, RunMode::Devices),
        };
        Jam::of(client, 1024, runner, control)
    }

    fn of(client: &str, period: u32, runner: Runner<CpuBackend>, control: Control) -> Jam {
        Jam::on(device_config(client, period), runner, control)
    }

    fn on(asked: DeviceConfig, runner: Runner<CpuBackend>, control: Control) -> Jam {
        let events = control.events();
        supervisor::print_events(&control, |message| eprintln!("  {message}"));
        // Soft enough that nothing is limited: the mix is then the sum of its stems, but for rounding.
        control.send(stage::now(Command::Stem(Which::All, Action::Gain(-18.0)))).unwrap();
        let (engine, handle) = EngineThread::new(runner);
        let engine = std::thread::spawn(move || engine.run());
        let watched = control.clone();
        let devices = std::thread::spawn(move || supervisor::watch(&watched, &asked, &handle));
        Jam { control, engine, devices, events }
    }

    fn end(self) {
        self.control.end();
        self.engine.join().unwrap();
        self.devices.join().unwrap().unwrap();
    }
}

/// What the rig has recorded: frame time, and rows of six channels.
type Blocks = Receiver<(u32, Vec<f32>)>;

/// Connects the rig to the client's ports, once they are there.
fn rig(client: &str, bass: Vec<f32>) -> (jack::AsyncClient<(), Rig>, Blocks) {
    let (me, _) = jack::Client::new("rig", jack::ClientOptions::NO_START_SERVER).unwrap();
    let began = Instant::now();
    while me.port_by_name(&format!("{client}:mix_out_2")).is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "the client has no ports");
        std::thread::sleep(Duration::from_millis(20));
    }
    let input: Vec<_> = PORTS.iter().map(|p| me.register_port(p, jack::AudioIn::default()).unwrap()).collect();
    let output = me.register_port("bass", jack::AudioOut::default()).unwrap();
    let (blocks, recorded) = channel();
    let names: Vec<String> = input.iter().map(|p| p.name().unwrap()).collect();
    let from = output.name().unwrap();
    let rig = Rig { input, output, bass, at: 0, begun: false, blocks };
    let me = me.activate_async((), rig).unwrap();
    // A client has ports before it is active, but until then the server connects nothing to it. After a restart of the
    // server the session may have connected its ports itself.
    let connect = |from: &str, to: &str| loop {
        match me.as_client().connect_ports_by_name(from, to) {
            Ok(()) | Err(jack::Error::PortAlreadyConnected(..)) => break,
            Err(e) => assert!(began.elapsed() < Duration::from_secs(60), "{e}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    connect(&from, &format!("{client}:bass_in"));
    for (port, name) in PORTS.iter().zip(&names) {
        connect(&format!("{client}:{port}"), name);
    }
    (me, recorded)
}

/// The rig's bass line.
fn line() -> Vec<f32> {
    match std::env::var("SIDEMAN_JAM_BASS") {
        Ok(path) => stage::wav(Path::new(&path)),
        Err(_) => stage::bass(RATE as usize * 8, RATE),
    }
}

/// Records `seconds`: rows of six channels by the server's frame time, silent where it lost frames, and the
/// number of frames lost.
fn record(recorded: &Blocks, seconds: f64) -> (Vec<[f32; 6]>, u32) {
    let (mut rows, mut next, mut lost) = (Vec::new(), None, 0);
    while rows.len() < (seconds * f64::from(RATE)) as usize {
        let (at, block) = recorded.recv_timeout(Duration::from_secs(30)).expect("the server calls us");
        let gap = next.map_or(0, |next: u32| at.wrapping_sub(next)).min(10 * RATE);
        lost += gap;
        rows.extend(std::iter::repeat_n([0.0; 6], gap as usize));
        rows.extend(block.chunks_exact(6).map(|row| <[f32; 6]>::try_from(row).unwrap()));
        next = Some(at.wrapping_add((block.len() / 6) as u32));
    }
    (rows, lost)
}

/// Frames at which a click begins.
fn strikes(rows: &[[f32; 6]]) -> Vec<usize> {
    let mut all: Vec<usize> = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        // Above the ringing of a resampler before an onset.
        if row[3].abs() > 0.05 && all.last().is_none_or(|last| n - last > 12_000) {
            all.push(n);
        }
    }
    all
}

/// Checks that left and right are the sum of the stems' ports in every frame, so no port is shifted against
/// another. Returns the number of frames that were loud enough to be checked.
fn aligned(rows: &[[f32; 6]]) -> usize {
    let mut told = 0;
    for (n, row) in rows.iter().enumerate() {
        let sum = row[0] + row[1] + row[2];
        if sum.abs() > 1e-3 && sum.abs() < 0.9 {
            assert!((row[4] - sum).abs() < 2e-5 && (row[5] - sum).abs() < 2e-5, "frame {n}: {row:?}");
            told += 1;
        }
    }
    told
}

fn health(jam: &Jam) -> String {
    let h = jam.control.snapshot().health;
    format!(
        "hop p50 {:.1} ms, p99 {:.1} ms, load {:.0} %; late hops {}, frames filled in {}, input lost {}, xruns {}; latency {:.1} + {:.1} ms",
        h.p50,
        h.p99,
        h.load * 100.0,
        h.late,
        h.underrun,
        h.overrun,
        h.xruns,
        h.latency_in,
        h.latency_out
    )
}

#[test]
fn all_ports_are_aligned_and_clicks_stay_on_their_grid() {
    let _turn = turn();
    let _deadline = deadline(400);
    let test = "io_jack::all_ports_are_aligned_and_clicks_stay_on_their_grid";
    if jackd(test) {
        undisturbed(test, jam_of_all_ports);
    }
}

/// Whether the server lost no frame; only then are the clicks checked to the frame.
fn jam_of_all_ports() -> bool {
    let seconds = seconds();
    let _server = Server::start(1024);
    let jam = Jam::start("sideman-jam", 1);
    let (rig, recorded) = rig("sideman-jam", line());
    let (rows, lost) = record(&recorded, seconds);
    drop(rig);
    eprintln!("JACK jam of {seconds} s: {}; frames that the server lost: {lost}", health(&jam));
    let snapshot = jam.control.snapshot();
    jam.end();
    if let Ok(path) = std::env::var("SIDEMAN_JAM_TO") {
        let spec =
            hound::WavSpec { channels: 6, sample_rate: RATE, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
        let mut wav = hound::WavWriter::create(path, spec).unwrap();
        rows.iter().flatten().for_each(|x| wav.write_sample(*x).unwrap());
        wav.finalize().unwrap();
    }
    let told = aligned(&rows[RATE as usize / 2..]);
    assert!(told > rows.len() / 10, "only {told} of {} frames sound", rows.len());
    let strikes = strikes(&rows);
    assert!(strikes.len() as f64 > seconds * 2.0 - 6.0, "{} clicks in {seconds} s", strikes.len());
    // At 120 BPM there is a click every 24000 frames. A repeated bar is in phase too.
    let off = strikes.iter().map(|n| (n - strikes[0]) as i64).map(|d| (d - (d + 12_000) / 24_000 * 24_000).abs());
    let worst = off.max().unwrap_or(0);
    eprintln!("  {} clicks, the worst {worst} frames beside the grid; {told} frames aligned", strikes.len());
    assert!(snapshot.bar >= 1 && snapshot.heard > 0.01, "it hears the bass: {}", snapshot.heard);
    assert_eq!(sideman_io::rt::allocations(), 0);
    if lost == 0 {
        assert!(worst <= 2, "clicks up to {worst} frames beside the grid: {strikes:?}");
    }
    lost == 0
}

#[test]
fn a_session_survives_a_new_block_size_and_the_death_of_the_server() {
    let _turn = turn();
    let _deadline = deadline(400);
    let test = "io_jack::a_session_survives_a_new_block_size_and_the_death_of_the_server";
    if jackd(test) {
        undisturbed(test, server_dies_and_comes_back);
    }
}

/// Whether the server lost no frame; only then are the clicks checked to the frame.
fn server_dies_and_comes_back() -> bool {
    let server = Server::start(1024);
    let jam = Jam::start("sideman-fault", 0);
    let (rig_, recorded) = rig("sideman-fault", line());
    record(&recorded, 3.0);
    rig_.as_client().set_buffer_size(512).unwrap();
    let (rows, lost) = record(&recorded, 3.0);
    assert!(aligned(&rows) > 0);
    let strikes_ = strikes(&rows[RATE as usize / 2..]);
    let off = strikes_.windows(2).map(|w| (w[1] - w[0]).abs_diff(24_000)).max().unwrap_or(0);
    if lost == 0 {
        assert!(off <= 2, "blocks of another size moved the clicks: {strikes_:?}");
    }
    // The server is killed.
    drop((rig_, server));
    wait_until_alone(&jam);
    let _server = Server::start(1024);
    let (rig_, recorded) = rig("sideman-fault", line());
    let (rows, _) = record(&recorded, 3.0);
    // The first second is left out: the rig connects one port after another.
    let rows = &rows[RATE as usize..];
    drop(rig_);
    eprintln!("after the server's death: {}", health(&jam));
    assert!(aligned(rows) > 0, "the band is back");
    assert!(jam.events.try_iter().count() < 1000);
    jam.end();
    lost == 0
}

/// Waits until song time goes on without a server: the session has left it. One program can't be a client of two.
fn wait_until_alone(jam: &Jam) {
    let before = jam.control.snapshot().time;
    let began = Instant::now();
    while jam.control.snapshot().time < before + 2 * 32_000 {
        assert!(began.elapsed() < Duration::from_secs(60), "song time stands still without a server");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The largest distance of two clicks from `beat` frames.
fn off_the_beat(rows: &[[f32; 6]], beat: usize) -> usize {
    strikes(rows).windows(2).map(|w| (w[1] - w[0]).abs_diff(beat)).max().unwrap_or(beat)
}

#[test]
fn a_server_that_comes_back_at_another_rate_keeps_the_song() {
    let _turn = turn();
    let _deadline = deadline(400);
    let test = "io_jack::a_server_that_comes_back_at_another_rate_keeps_the_song";
    if jackd(test) {
        undisturbed(test, || {
            let server = Server::start(1024);
            let jam = Jam::start("sideman-rate", 0);
            let (rig_, recorded) = rig("sideman-rate", line());
            record(&recorded, 2.0);
            let bar = jam.control.snapshot().bar;
            drop((rig_, server));
            wait_until_alone(&jam);
            let _server = Server::start_at(44_100, 1024);
            let (rig_, recorded) = rig("sideman-rate", line());
            record(&recorded, 1.0);
            let (rows, lost) = record(&recorded, 4.0);
            drop(rig_);
            eprintln!("at another rate: {}", health(&jam));
            assert!(aligned(&rows) > 0 && jam.control.snapshot().bar > bar, "the band is back");
            jam.end();
            let off = off_the_beat(&rows, 22_050);
            assert!(lost > 0 || off <= 2, "clicks are {off} frames off the beat");
            lost == 0
        });
    }
}

#[test]
fn in_freewheel_nothing_is_late() {
    let _turn = turn();
    let _deadline = deadline(400);
    let test = "io_jack::in_freewheel_nothing_is_late";
    if !jackd(test) || without(test, &[Need::Program("jack_freewheel", "jackd2")]) {
        return;
    }
    let _server = Server::start(1024);
    let jam = Jam::start("sideman-free", 0);
    let (rig_, recorded) = rig("sideman-free", line());
    record(&recorded, 3.0);
    let freewheel = |on: &str| assert!(std::process::Command::new("jack_freewheel").arg(on).status().unwrap().success());
    freewheel("y");
    // What was late before it began, and blocks of before.
    std::thread::sleep(Duration::from_millis(300));
    let before = jam.control.snapshot();
    recorded.try_iter().for_each(drop);
    let (rows, lost) = record(&recorded, 60.0);
    let after = jam.control.snapshot();
    freewheel("n");
    drop(rig_);
    eprintln!("freewheel: {}; frames that the server lost: {lost}", health(&jam));
    jam.end();
    let count = |s: &Snapshot| (s.health.late, s.health.underrun, s.health.overrun);
    assert_eq!(count(&after), count(&before), "late hops, frames filled in, input lost");
    let (song, passed) = ((after.time - before.time) as f64 / 32e3, rows.len() as f64 / f64::from(RATE));
    assert!(song > passed - 1.0, "{song} s of song in {passed} s");
    assert!(aligned(&rows) > rows.len() / 10, "the band plays");
    assert!(lost > 0 || off_the_beat(&rows, 24_000) <= 2, "clicks stay on the beat");
}

#[test]
fn a_server_that_comes_back_without_the_pedal_gives_sound() {
    let _turn = turn();
    let _deadline = deadline(400);
    if !jackd("io_jack::a_server_that_comes_back_without_the_pedal_gives_sound") {
        return;
    }
    let pedal = || {
        let (me, _) = jack::Client::new("pedal", jack::ClientOptions::NO_START_SERVER).unwrap();
        let port = me.register_port("out", jack::MidiOut::default()).unwrap();
        (me.activate_async((), ()).unwrap(), port)
    };
    let server = Server::start(1024);
    let stomp = pedal();
    let config = SessionConfig { count_in: 0, bar1: 16_000, ..stage::config(25) };
    let (runner, control) = stage::runner(config, RunMode::Devices);
    let jam = Jam::on(DeviceConfig { midi: Some("pedal:".into()), ..device_config("sideman-pedal", 1024) }, runner, control);
    let connected = |port: &jack::Port<jack::MidiOut>| port.is_connected_to("sideman-pedal:midi_in").unwrap_or(false);
    let wait = |port: &jack::Port<jack::MidiOut>| {
        let began = Instant::now();
        while !connected(port) {
            assert!(began.elapsed() < Duration::from_secs(60), "the pedal is not connected");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(&stomp.1);
    drop((stomp, server));
    wait_until_alone(&jam);
    let _server = Server::start(1024);
    let (rig_, recorded) = rig("sideman-pedal", line());
    let (rows, _) = record(&recorded, 3.0);
    assert!(aligned(&rows[RATE as usize..]) > 0, "the band is back without the pedal");
    // The pedal is connected when it appears.
    let stomp = pedal();
    wait(&stomp.1);
    drop(rig_);
    jam.end();
}

#[test]
fn a_server_that_comes_back_has_the_connections_of_before() {
    let _turn = turn();
    let _deadline = deadline(400);
    if !jackd("io_jack::a_server_that_comes_back_has_the_connections_of_before") {
        return;
    }
    let server = Server::start(1024);
    let (runner, control) = stage::runner(SessionConfig { count_in: 0, bar1: 16_000, ..stage::config(25) }, RunMode::Devices);
    let jam = Jam::of("sideman-links", 1024, runner, control);
    let made = [("system:capture_1", "sideman-links:bass_in"), ("sideman-links:drums_out", "system:playback_2")];
    let patch = || jack::Client::new("patch", jack::ClientOptions::NO_START_SERVER).unwrap().0;
    let connected = |patch: &jack::Client, (from, to): (&str, &str)| {
        patch.port_by_name(from).is_some_and(|port| port.is_connected_to(to).unwrap_or(false))
    };
    let wait = |what: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !what() {
            assert!(began.elapsed() < Duration::from_secs(60), "the connections are not there");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let user = patch();
    for (from, to) in made {
        wait(&|| user.connect_ports_by_name(from, to).is_ok());
    }
    // They have to last for a moment: what a dying server leaves is not what the user made.
    std::thread::sleep(Duration::from_secs(5));
    drop((user, server));
    wait_until_alone(&jam);
    let _server = Server::start(1024);
    let user = patch();
    wait(&|| made.iter().all(|&link| connected(&user, link)));
    assert!(!connected(&user, ("sideman-links:mix_out_1", "system:playback_1")), "only these");
    drop(user);
    jam.end();
}

/// The time from a note to the first sound that can depend on it, at the ports: a model that repeats what it
/// hears answers lag + 1 frames later.
#[test]
fn a_note_is_answered_after_the_lag() {
    let _turn = turn();
    let _deadline = deadline(400);
    let test = "io_jack::a_note_is_answered_after_the_lag";
    if jackd(test) {
        undisturbed(test, note_is_answered);
    }
}

/// Whether no frame was lost or filled in; only then is the answer's time checked.
fn note_is_answered() -> bool {
    let _server = Server::start(256);
    let dir = tempfile::tempdir().unwrap();
    let model = echo::write(dir.path());
    let lag = 8;
    let config = SessionConfig { chords: None, top_k: 1, bar1: 16_000, ..stage::config(lag) };
    let (runner, control) = stage::runner_of(&model, config, RunMode::Devices);
    control.send(stage::now(Command::Hop(2))).unwrap();
    let jam = Jam::of("sideman-echo", 256, runner, control);
    // A plucked E every 0.67 or 0.86 s, so that it falls anywhere in a frame.
    let onsets: Vec<usize> = (0..40).map(|n| n * 33_600 + n * 7919 % 9600).collect();
    let mut line = vec![0.0; 41 * 33_600];
    for &at in &onsets {
        for (n, x) in line[at..at + 12_000].iter_mut().enumerate() {
            let t = n as f32 / RATE as f32;
            *x = 0.6 * (-t * 12.0).exp() * ((517.8 * t).sin() + 0.5 * (1035.6 * t).sin());
        }
    }
    let (rig, recorded) = rig("sideman-echo", line);
    // What is filled in before the recording begins changes no answer.
    let filled_before = jam.control.snapshot().health.underrun;
    let (rows, lost) = record(&recorded, 30.0);
    drop(rig);
    let filled = jam.control.snapshot().health.underrun - filled_before;
    eprintln!("echo at lag {lag}: {}; frames that the server lost: {lost}", health(&jam));
    jam.end();
    let begun = rows.iter().position(|r| r[3].abs() > 0.05).expect("a click");
    let mut late: Vec<f64> = onsets
        .iter()
        .filter_map(|at| {
            let heard = rows.get(begun + at..begun + at + RATE as usize / 2)?;
            let loudest = heard.iter().map(|r| r[1].abs()).fold(0.0, f32::max);
            let first = heard.iter().position(|r| r[1].abs() > 0.3 * loudest)?;
            Some(first as f64 / f64::from(RATE) * 1e3)
        })
        .collect();
    late.sort_by(f64::total_cmp);
    let (median, p99) = (late[late.len() / 2], late[late.len() * 99 / 100]);
    eprintln!("  {} notes answered after {:.1} to {p99:.1} ms (p99), median {median:.1}", late.len(), late[0]);
    assert!(late.len() > 30, "{} answers", late.len());
    let due = (lag + 1) as f64 * 20.0;
    eprintln!("  frames filled in meanwhile: {filled}");
    let kept = filled == 0 && lost == 0;
    if kept {
        assert!((median - due).abs() < 40.0, "answers after {median} ms, due after {due}: {late:?}");
    }
    kept
}

/// The client's output is connected to its own input: JACK delays that by one block and reports no latency
/// for it.
#[test]
fn calibration_measures_a_cable_from_output_to_input() {
    let _turn = turn();
    let _deadline = deadline(180);
    if !jackd("io_jack::calibration_measures_a_cable_from_output_to_input") {
        return;
    }
    let _server = Server::start(1024);
    let mut asked = device_config("sideman-loop", 1024);
    let around = |asked: &DeviceConfig| {
        let cable = std::thread::spawn(|| {
            let (me, _) = jack::Client::new("cable", jack::ClientOptions::NO_START_SERVER).unwrap();
            let began = Instant::now();
            while me.connect_ports_by_name("sideman-loop:mix_out_1", "sideman-loop:bass_in").is_err() {
                assert!(began.elapsed() < Duration::from_secs(20), "the client has no ports");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let round = calibrate::measure(asked).unwrap();
        cable.join().unwrap();
        eprintln!("  {round:?}");
        round
    };
    let round = around(&asked);
    let block = 1024.0 / f64::from(RATE) * 1e3;
    assert!((round.extra - block).abs() < 0.1 && round.spread < 0.1, "{round:?}, not a block of {block:.2} ms");
    asked.extra_latency = (round.extra * 1e3) as i32;
    let again = around(&asked);
    assert!(again.extra.abs() < 0.1, "what was measured is made up for: {again:?}");
    // Without a cable.
    assert!(matches!(calibrate::measure(&asked), Err(CalibrationError::NoChirp { .. })));
}
