//! MIDI under a real JACK server: following a clock with jitter and gaps, also after a restart by song position; following jack_midi_clock
//! and JACK transport; MIDI clock out; pedals and learned controls. Exact results are asserted, timing is printed: the machine may be busy.

use std::io::Write;
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sideman_engine::live::{Action, Clock, Command, Request, SessionConfig, Which};
use sideman_io::command_language::Namespace;
use sideman_io::control::Control;
use sideman_io::device::DeviceConfig;
use sideman_io::event::RecordingEvent;
use sideman_io::live::EngineThread;
use sideman_io::mailbox::mailbox;
use sideman_io::midi::{self, Map, MidiMapper};
use sideman_io::run_mode::RunMode;
use sideman_io::supervisor;
use sideman_skip::{Need, without};
use sideman_tests::stage;

use sideman_tests::jackd::{Server, deadline, device_config, jackd, turn, undisturbed};

const RATE: f64 = 48_000.0;

/// A JACK client on the session's server: sends MIDI by a plan, records MIDI and clicks.
struct Rig {
    out: jack::Port<jack::MidiOut>,
    /// The session's MIDI clock, another program's MIDI clock, the session's click.
    clock: jack::Port<jack::MidiIn>,
    other: jack::Port<jack::MidiIn>,
    click: jack::Port<jack::AudioIn>,
    plan: Receiver<Vec<(u64, Vec<u8>)>>,
    waiting: Vec<(u64, Vec<u8>)>,
    begun: Option<u32>,
    heard: Sender<Heard>,
}

/// A recorded block: its first frame, the transport's position then, the messages of both clocks, the click.
struct Heard {
    at: u64,
    transport: u64,
    clock: Vec<(u64, Vec<u8>)>,
    other: Vec<(u64, Vec<u8>)>,
    click: Vec<f32>,
}

impl jack::ProcessHandler for Rig {
    fn process(&mut self, client: &jack::Client, scope: &jack::ProcessScope) -> jack::Control {
        let begun = *self.begun.get_or_insert(scope.last_frame_time());
        let at = u64::from(scope.last_frame_time().wrapping_sub(begun));
        let n = u64::from(scope.n_frames());
        self.waiting.extend(self.plan.try_iter().flatten());
        let mut out = self.out.writer(scope);
        // A late message is sent at once.
        for (when, bytes) in self.waiting.iter().take_while(|m| m.0 < at + n) {
            out.write(&jack::RawMidi { time: when.saturating_sub(at) as u32, bytes }).unwrap();
        }
        self.waiting.retain(|m| m.0 >= at + n);
        let all =
            |port: &jack::Port<jack::MidiIn>| port.iter(scope).map(|m| (at + u64::from(m.time), m.bytes.to_vec())).collect();
        let transport = u64::from(client.transport().query().unwrap().pos.frame());
        let heard =
            Heard { at, transport, clock: all(&self.clock), other: all(&self.other), click: self.click.as_slice(scope).to_vec() };
        let _ = self.heard.send(heard);
        jack::Control::Continue
    }
}

/// A session on the server, and the client.
struct Jam {
    control: Control,
    engine: Option<JoinHandle<Vec<RecordingEvent>>>,
    devices: Option<JoinHandle<Result<(), String>>>,
    _midi: midi::Server,
    rig: jack::AsyncClient<(), Rig>,
    plan: Sender<Vec<(u64, Vec<u8>)>>,
    heard: Receiver<Heard>,
}

impl Jam {
    fn start(client: &str, config: SessionConfig, map: Map, file: Option<std::path::PathBuf>) -> Jam {
        let (runner, control) = stage::runner(config, RunMode::Devices);
        let (mut engine, handle) = EngineThread::new(runner);
        let (tx, inbox) = mailbox(1024, midi::PortEvent::default);
        engine.midi = Some(tx);
        let mapper = MidiMapper::new(Namespace::new(&["bass", "drums", "other"]), map, control.origin());
        let midi = midi::Server::start(control.clone(), mapper, inbox, file).unwrap();
        let engine = std::thread::spawn(move || engine.run());
        let (me, _) = jack::Client::new("rig", jack::ClientOptions::NO_START_SERVER).unwrap();
        let out = me.register_port("out", jack::MidiOut::default()).unwrap();
        // As with `--midi rig:`.
        let asked = DeviceConfig { midi: Some(out.name().unwrap()), ..device_config(client, 256) };
        let (plan, planned) = channel();
        let (tx, heard) = channel();
        let clock = me.register_port("clock", jack::MidiIn::default()).unwrap();
        let other = me.register_port("other", jack::MidiIn::default()).unwrap();
        let click = me.register_port("click", jack::AudioIn::default()).unwrap();
        let rig = Rig { out, clock, other, click, plan: planned, waiting: vec![], begun: None, heard: tx };
        let rig = me.activate_async((), rig).unwrap();
        supervisor::print_events(&control, |message| eprintln!("  {message}"));
        let watched = control.clone();
        let devices = std::thread::spawn(move || supervisor::watch(&watched, &asked, &handle));
        let began = Instant::now();
        let there = |port: &str| rig.as_client().port_by_name(&format!("{client}:{port}"));
        while !there("midi_in").is_some_and(|p| p.is_connected_to("rig:out").unwrap_or(false)) {
            assert!(began.elapsed() < Duration::from_secs(60), "our client has no MIDI ports, or they aren't connected");
            std::thread::sleep(Duration::from_millis(20));
        }
        rig.as_client().connect_ports_by_name(&format!("{client}:midi_out"), "rig:clock").unwrap();
        rig.as_client().connect_ports_by_name(&format!("{client}:click_out"), "rig:click").unwrap();
        Jam { control, engine: Some(engine), devices: Some(devices), _midi: midi, rig, plan, heard }
    }

    /// Disconnects the client's outputs. Connected on both sides of the session, it would record the click a block late: the server then
    /// runs it before the session.
    fn listen_only(&self, client: &str) {
        let me = self.rig.as_client();
        me.disconnect_ports_by_name("rig:out", &format!("{client}:midi_in")).unwrap();
        let wires = [("midi_out", "rig:clock"), ("click_out", "rig:click")].map(|(from, to)| (format!("{client}:{from}"), to));
        wires.iter().for_each(|(from, to)| me.disconnect_ports_by_name(from, to).unwrap());
        wires.iter().for_each(|(from, to)| me.connect_ports_by_name(from, to).unwrap());
    }

    /// Records the next seconds.
    fn record(&self, seconds: f64) -> Recorded {
        let mut all = Recorded::default();
        while all.frames < (seconds * RATE) as u64 {
            let block = self.heard.recv_timeout(Duration::from_secs(30)).expect("the server calls us");
            all.frames += block.click.len() as u64;
            all.clock.extend(block.clock);
            all.other.extend(block.other);
            let from = *all.from.get_or_insert(block.at);
            all.transport.push((block.at, block.transport));
            // Silence for frames that the server lost.
            all.click.resize((block.at - from) as usize, 0.0);
            all.click.extend(block.click);
        }
        all
    }

    /// About the next frame of the client.
    fn now(&self) -> u64 {
        let block = self.heard.recv_timeout(Duration::from_secs(30)).expect("the server calls us");
        self.heard.try_iter().last().map_or(block.at, |block| block.at)
    }

    fn send(&self, command: Command) {
        self.control.send(Request { command, when: None, from: 99 }).unwrap();
    }

    fn wait(&self, what: &str, there: impl Fn(&Control) -> bool) {
        let began = Instant::now();
        while !there(&self.control) {
            assert!(began.elapsed() < Duration::from_secs(30), "not yet: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Jam {
    fn drop(&mut self) {
        let h = self.control.snapshot().health;
        eprintln!("  load {:.0} %, late hops {}, frames filled in {}, xruns {}", h.load * 100.0, h.late, h.underrun, h.xruns);
        self.control.end();
        // Also after a failure: the next test needs the server's name.
        let _ = self.engine.take().map(JoinHandle::join);
        let _ = self.devices.take().map(JoinHandle::join);
    }
}

#[derive(Default)]
struct Recorded {
    frames: u64,
    from: Option<u64>,
    transport: Vec<(u64, u64)>,
    clock: Vec<(u64, Vec<u8>)>,
    other: Vec<(u64, Vec<u8>)>,
    click: Vec<f32>,
}

/// A click: its frame, and whether it is the first of a bar, which is higher (1760 Hz instead of 1175).
type Strike = (u64, bool);

impl Recorded {
    fn strikes(&self) -> Vec<Strike> {
        let (mut all, mut n) = (Vec::new(), 0);
        while n + 480 < self.click.len() {
            // Above the resampler's ringing before an onset.
            if self.click[n].abs() > 0.05 {
                let turns = self.click[n..n + 480].windows(2).filter(|w| (w[0] < 0.0) != (w[1] < 0.0)).count();
                all.push((self.from.unwrap_or(0) + n as u64, turns > 29));
                n += 7000;
            }
            n += 1;
        }
        all
    }
}

impl Recorded {
    /// The clicks of the last `seconds`, by the transport's frames.
    fn on_the_transport(&self, seconds: f64) -> Vec<Strike> {
        let end = self.from.unwrap_or(0) + self.click.len() as u64;
        let block = |at: u64| self.transport.iter().rfind(|b| b.0 <= at).copied().unwrap_or_default();
        let near = self.strikes().into_iter().filter(|s| (end - s.0) as f64 <= seconds * RATE);
        near.map(|(at, first)| (block(at).1 + at - block(at).0, first)).collect()
    }
}

/// Ticks of a tempo from a frame on, with up to `ms` of jitter either way. Once the tempo is known, every `drop`th one is lost.
fn ticks(from: f64, n: usize, bpm: f64, ms: f64, drop: usize) -> Vec<(u64, Vec<u8>)> {
    let mut x = 7u64;
    let mut noise = move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let all = (0..n).map(|k| (k, from + (k as f64 * 60.0 / bpm / 24.0 + noise() * ms / 1e3) * RATE));
    let kept = all.filter(|(k, _)| drop == 0 || *k <= 24 || k % drop != 0);
    let mut plan: Vec<(u64, Vec<u8>)> = kept.map(|(_, at)| (at.max(0.0) as u64, vec![0xf8])).collect();
    plan.sort();
    plan
}

/// The distance of clicks from the beats of a grid, ms: mean (above 0 is late) and worst; and whether the bar lines are the same.
fn beside(strikes: &[Strike], beat0: f64, bpm: f64) -> (f64, f64, bool) {
    let (mut sum, mut worst, mut bars) = (0.0, 0.0f64, true);
    for (at, first) in strikes {
        let beats = (*at as f64 - beat0) / RATE * bpm / 60.0;
        let ms = (beats - beats.round()) * 60e3 / bpm;
        sum += ms;
        worst = worst.max(ms.abs());
        bars &= *first == (beats.round().rem_euclid(4.0) == 0.0);
    }
    (sum / strikes.len().max(1) as f64, worst, bars)
}

fn config(clock: Clock, playing: bool) -> SessionConfig {
    SessionConfig { clock, playing, bar1: 0, click: true, ..stage::config(25) }
}

#[test]
fn midi_clock_with_jitter_and_gaps_is_followed_also_after_a_restart() {
    let test = "io_midi::midi_clock_with_jitter_and_gaps_is_followed_also_after_a_restart";
    let _turn = turn();
    let _deadline = deadline(500);
    if !jackd(test) {
        return;
    }
    undisturbed(test, || {
        let mut on_time = true;
        let _server = Server::start(256);
        let jam = Jam::start("sideman-clock", config(Clock::Midi, false), midi::default_map(&["bass", "drums", "other"]), None);
        let bpm = 100.0;
        let tick = 60.0 / bpm / 24.0 * RATE;
        // It ticks before it starts, as most clocks do. Start is sent just before the first tick of the song.
        let from = jam.now() as f64 + 0.5 * RATE;
        let mut plan = ticks(from, 24 * 24, bpm, 5.0, 31);
        let beat0 = from + 48.0 * tick;
        plan.push(((beat0 - 0.4 * tick) as u64, vec![0xfa]));
        plan.sort();
        jam.plan.send(plan).unwrap();
        let all = jam.record(15.5);
        // Two bars to start, and for the loop to settle.
        let settled: Vec<Strike> = all.strikes().into_iter().filter(|s| s.0 as f64 > beat0 + 5.0 * RATE).collect();
        let (mean, worst, bars) = beside(&settled, beat0, bpm);
        let tempo = jam.control.snapshot().tempo;
        eprintln!(
            "clock of {bpm} a minute with 5 ms of jitter, every 31st tick lost: {} clicks {mean:+.1} ms beside the beat, {worst:.1} at worst; tempo {tempo:.2}",
            settled.len()
        );
        let late = jam.control.snapshot().health.late;
        assert!(settled.len() >= 12 && (tempo / bpm - 1.0).abs() < 0.05, "{} clicks at {tempo}", settled.len());
        on_time &= late == 0;
        assert!(!on_time || worst < 30.0 && bars, "the band is {worst} ms beside the clock; its bars are the clock's: {bars}");

        // Stop, song position at bar 5, continue: at another time, and faster.
        let bpm = 126.0;
        let from = jam.now() as f64 + 0.6 * RATE;
        let mut plan = ticks(from, 24 * 30, bpm, 5.0, 0);
        plan.push(((from - 0.4 * RATE) as u64, vec![0xfc]));
        plan.push(((from - 0.3 * RATE) as u64, vec![0xf2, 64, 0]));
        plan.push(((from - 0.01 * RATE) as u64, vec![0xfb]));
        plan.sort();
        jam.plan.send(plan).unwrap();
        let all = jam.record(14.0);
        let settled: Vec<Strike> = all.strikes().into_iter().filter(|s| s.0 as f64 > from + 6.0 * RATE).collect();
        let (mean, worst, bars) = beside(&settled, from, bpm);
        let (snapshot, late) = (jam.control.snapshot(), jam.control.snapshot().health.late - late);
        eprintln!(
            "continued at bar 5 with {bpm}: {} clicks {mean:+.1} ms beside the beat, {worst:.1} at worst; tempo {:.2}",
            settled.len(),
            snapshot.tempo
        );
        assert!(settled.len() >= 12 && snapshot.playing && (snapshot.tempo / bpm - 1.0).abs() < 0.05);
        on_time &= late == 0;
        assert!(!on_time || worst < 30.0 && bars, "the band is {worst} ms beside the clock; its bars are the clock's: {bars}");
        on_time
    });
}

/// A program that is ended with its test.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_clock_of_jack_midi_clock_is_followed() {
    let test = "io_midi::the_clock_of_jack_midi_clock_is_followed";
    let _turn = turn();
    let _deadline = deadline(500);
    if !jackd(test) {
        return;
    }
    if without(test, &[Need::Program("jack_midi_clock", "jack-midi-clock")]) {
        return;
    }
    undisturbed(test, || {
        let mut on_time = true;
        let _server = Server::start(256);
        let jam = Jam::start("sideman-mclk", config(Clock::Midi, false), Map::default(), None);
        let run = |name: &str, args: &[&str]| {
            Program::new(name).args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let sender = Other(run("jack_midi_clock", &["-b", "108", "-J", "5"]).unwrap());
        let client = jam.rig.as_client();
        jam.wait("jack_midi_clock's port", |_| client.port_by_name("jack_midi_clock:mclk_out").is_some());
        // The port exists before it can be connected.
        jam.wait("jack_midi_clock", |_| client.connect_ports_by_name("jack_midi_clock:mclk_out", "sideman-mclk:midi_in").is_ok());
        client.connect_ports_by_name("jack_midi_clock:mclk_out", "rig:other").unwrap();
        client.transport().start().unwrap();
        let all = jam.record(14.0);
        client.transport().stop().unwrap();
        // The grid is a straight line through the sender's ticks after its start.
        let start = all.other.iter().position(|m| m.1 == [0xfa] || m.1 == [0xfb]).expect("jack_midi_clock starts");
        let ticks: Vec<f64> = all.other[start..].iter().filter(|m| m.1 == [0xf8]).map(|m| m.0 as f64).collect();
        let n = ticks.len() as f64;
        let (mx, my) = ((n - 1.0) / 2.0, ticks.iter().sum::<f64>() / n);
        let slope = ticks.iter().enumerate().map(|(k, t)| (k as f64 - mx) * (t - my)).sum::<f64>() / (n * (n * n - 1.0) / 12.0);
        let (beat0, bpm) = (my - slope * mx, 60.0 * RATE / slope / 24.0);
        let settled: Vec<Strike> = all.strikes().into_iter().filter(|s| s.0 as f64 > beat0 + 5.0 * RATE).collect();
        let (mean, worst, bars) = beside(&settled, beat0, bpm);
        let snapshot = jam.control.snapshot();
        eprintln!(
            "jack_midi_clock at {bpm:.2} with its own jitter: {} clicks {mean:+.1} ms beside the beat, {worst:.1} at worst; tempo {:.2}; bars {bars}",
            settled.len(),
            snapshot.tempo
        );
        assert!(settled.len() >= 10 && (snapshot.tempo / bpm - 1.0).abs() < 0.05, "{} clicks, {}", settled.len(), snapshot.tempo);
        on_time &= snapshot.health.late == 0;
        assert!(!on_time || worst < 30.0, "the band is {worst} ms beside the clock");
        drop(sender);
        on_time
    });
}

#[test]
fn the_session_starts_stops_and_relocates_with_jack_transport() {
    let test = "io_midi::the_session_starts_stops_and_relocates_with_jack_transport";
    let _turn = turn();
    let _deadline = deadline(600);
    if !jackd(test) {
        return;
    }
    undisturbed(test, || {
        let mut on_time = true;
        let _server = Server::start(256);
        let jam = Jam::start("sideman-roll", config(Clock::Jack, false), Map::default(), None);
        jam.listen_only("sideman-roll");
        let transport = jam.rig.as_client().transport();
        let late = || jam.control.snapshot().health.late;
        let mut check = |what: &str, strikes: &[Strike], bpm: f64, most: f64, before: u64| {
            let (mean, worst, bars) = beside(strikes, 0.0, bpm);
            eprintln!(
                "{what}: {} clicks {mean:+.2} ms beside the transport's beat, {worst:.2} at worst; bars {bars}",
                strikes.len()
            );
            assert!(strikes.len() >= 6, "{what}: {strikes:?}");
            on_time &= late() == before;
            assert!(!on_time || worst < most && bars, "{what}: {worst} ms beside the transport's beat, bars {bars}");
        };
        jam.wait("the transport is known", |c| c.snapshot().lock == 1.0);
        jam.record(1.0);
        assert!(!jam.control.snapshot().playing, "it waits for the transport");

        // Without a timebase master: bars at the session's 120 BPM, from the transport's start. On a busy machine the server loses blocks, and
        // its transport loses them, too.
        transport.start().unwrap();
        check("rolling, no timebase master", &jam.record(9.0).on_the_transport(4.5), 120.0, 3.0, 0);
        transport.stop().unwrap();
        jam.wait("it stops with the transport", |c| !c.snapshot().playing);
        transport.locate(480_123 + 12_000).unwrap();
        transport.start().unwrap();
        let before = late();
        check("from the middle of bar 6", &jam.record(8.0).on_the_transport(3.5), 120.0, 3.0, before);

        // The internal clock and back while the transport rolls: the session continues, and its bar does not jump.
        let mut last: Option<(f64, f64)> = None;
        for clock in [Clock::Internal, Clock::Jack] {
            jam.send(Command::Clock(clock));
            jam.wait("the other clock", |c| c.snapshot().clock == clock);
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(2) {
                let s = jam.control.snapshot();
                let at = (s.time as f64 / 32_000.0, (s.bar - 1) as f64 * 4.0 + f64::from(s.beat) - 1.0 + f64::from(s.phase));
                let jump = last.replace(at).map_or(0.0, |(time, quarters)| at.1 - quarters - (at.0 - time) * s.tempo / 60.0);
                assert!(s.playing && jump.abs() < 0.05, "{clock:?}: it plays ({}), the bar jumps by {jump} quarters", s.playing);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        on_time
    });
}

#[test]
fn the_session_follows_a_timebase_master() {
    let _turn = turn();
    let _deadline = deadline(500);
    let test = "io_midi::the_session_follows_a_timebase_master";
    if !jackd(test) || without(test, &[Need::Program("jack_transport", "jackd2")]) {
        return;
    }
    undisturbed(test, || {
        let mut on_time = true;
        let _server = Server::start(256);
        let jam = Jam::start("sideman-bars", config(Clock::Jack, false), Map::default(), None);
        jam.listen_only("sideman-bars");
        let run = Program::new("jack_transport").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut master = Other(run.expect("jack_transport starts"));
        let mut words = master.0.stdin.take().unwrap();
        // Tempos at which a block is a whole number of the master's ticks. At others it drops the rest, and is not consistent with itself.
        words.write_all(b"master\ntempo 93.75\nlocate 0\nplay\n").unwrap();
        jam.wait("the master's tempo", |c| (c.snapshot().tempo - 93.75).abs() < 0.1);
        let mut check = |what: &str, bpm: f64, bars: bool, seconds: f64| {
            let late = jam.control.snapshot().health.late;
            let strikes = jam.record(seconds).on_the_transport(4.0);
            let (mean, worst, same) = beside(&strikes, 0.0, bpm);
            let late = jam.control.snapshot().health.late - late;
            eprintln!(
                "{what}: {} clicks {mean:+.2} ms beside the master's beat, {worst:.2} at worst; bars {same}",
                strikes.len()
            );
            assert!(strikes.len() >= 5, "{what}: {strikes:?}");
            on_time &= late == 0;
            assert!(!on_time || worst < 10.0 && (same || !bars), "{what}: {worst} ms beside the master's beat, bars {same}");
        };
        check("a master of 93.75", 93.75, true, 8.5);
        // The master restarts its bar count: the session's beat follows, by at most half a beat in 6 s, and its bars continue.
        words.write_all(b"tempo 117.1875\n").unwrap();
        check("the master goes to 117.19", 117.1875, false, 13.0);
        words.write_all(b"stop\n").unwrap();
        jam.wait("it stops with the master", |c| !c.snapshot().playing);
        // If it were killed, the server would wait for it.
        words.write_all(b"quit\n").unwrap();
        let _ = master.0.wait();
        on_time
    });
}

#[test]
fn midi_clock_out_matches_the_click_and_midi_controls_work() {
    let test = "io_midi::midi_clock_out_matches_the_click_and_midi_controls_work";
    let _turn = turn();
    let _deadline = deadline(500);
    if !jackd(test) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rig/midi.toml");
    undisturbed(test, || {
        let mut on_time = true;
        let _server = Server::start(256);
        let map = "chord_channel = 4\n[[control]]\ncontrol = \"cc 2 7\"\naddress = \"/jam/stem/drums/gain\"\nmode = \"absolute\"\nfrom = -40.0\n\
        to = 6.0\n[[control]]\ncontrol = \"note 10 36\"\naddress = \"/jam/stem/drums/mute 1\"\nmode = \"switch\"\nhold = \"/jam/stem/drums/mute 0\"\n";
        let config = SessionConfig { count_in: 1, bar1: 72_000, ..config(Clock::Internal, true) };
        let jam = Jam::start("sideman-hands", config, Map::parse(map).unwrap(), Some(file.clone()));
        let all = jam.record(12.0);
        let start = all.clock.iter().position(|m| m.1 == [0xfa]).expect("our clock starts");
        assert_eq!(all.clock[start + 1].1, [0xf8], "the tick after start is the beat");
        // Every 24th tick is at a click, every 96th at the first click of a bar, in the same frame or the next.
        let ticks: Vec<u64> = all.clock[start..].iter().filter(|m| m.1 == [0xf8]).map(|m| m.0).collect();
        let strikes: Vec<u64> = all.strikes().iter().map(|s| s.0).filter(|at| *at + 100 > ticks[0]).collect();
        let off: Vec<i64> = ticks.iter().step_by(24).zip(&strikes).map(|(tick, strike)| *strike as i64 - *tick as i64).collect();
        let gaps: Vec<f64> = ticks.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let sd = (gaps.iter().map(|g| (g - 1000.0).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        let most = gaps.iter().map(|g| (g - 1000.0).abs()).fold(0.0, f64::max);
        eprintln!(
            "our clock at 120 a minute, measured by a JACK client: {} ticks, {sd:.2} frames of jitter ({:.4} ms), {most} at worst; clicks {:?} frames from their ticks",
            ticks.len(),
            sd / 48.0,
            off.iter().map(|o| o.abs()).max()
        );
        on_time &= jam.control.snapshot().health.underrun == 0;
        // The onset of a click takes a few frames, and the resampler adds some.
        assert!(off.len() >= 8 && (!on_time || off.iter().all(|o| o.abs() < 48)), "{off:?}");
        assert!(!on_time || most <= 1.0, "ticks up to {most} frames beside the grid");
        // A fader, a footswitch, a chord, a learned button, panic.
        let play = |messages: &[&[u8]]| {
            let at = jam.now();
            jam.plan.send(messages.iter().enumerate().map(|(n, m)| (at + 4800 * n as u64, m.to_vec())).collect()).unwrap();
        };
        play(&[&[0xb1, 7, 127]]);
        jam.wait("the fader", |c| c.snapshot().stems[1].gain == 6.0);
        play(&[&[0x99, 36, 100], &[0x89, 36, 0]]);
        jam.wait("the switch", |c| c.snapshot().stems[1].mute);
        play(&[&[0x99, 36, 100]]);
        jam.wait("the held switch", |c| !c.snapshot().stems[1].mute);
        play(&[&[0x89, 36, 0], &[0x93, 57, 90], &[0x93, 60, 90], &[0x93, 64, 90]]);
        jam.wait("the chord", |c| c.snapshot().chord == "Am");
        jam.send(Command::Learn("/jam/stem/other/solo".into()));
        std::thread::sleep(Duration::from_millis(300));
        play(&[&[0xb4, 20, 127], &[0xb4, 20, 0]]);
        jam.wait("the map's file", |_| file.exists());
        let kept = Map::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert!(kept.get(midi::Control::Cc { channel: 5, number: 20 }).is_some_and(|e| e.address == "/jam/stem/other/solo"));
        assert_eq!(kept.chord_channel, Some(4), "what was there stays");
        play(&[&[0xb4, 20, 127]]);
        jam.wait("the learned button", |c| c.snapshot().stems[2].solo);
        jam.send(Command::Stem(Which::All, Action::Solo(false)));
        jam.plan.send(vec![(0, vec![0xb0, 123, 0])]).unwrap();
        jam.wait("panic", |c| !c.snapshot().playing);
        jam.now();
        let all = jam.record(1.0);
        assert!(all.clock.iter().any(|m| m.1 == [0xf8]), "the clock goes on after panic");
        on_time
    });
}
