//! Ableton Link under a real JACK server: Sideman and a second peer in one Link session. A JACK client records the click, with Link's time of
//! every block. Only with `--features link` (GPL: see docs/guides/playing-live.md). Timing is printed, and asserted if no hop was late.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusty_link::{AblLink, SessionState};
use sideman_engine::live::{Clock, Command, Request, SessionConfig};
use sideman_io::clock::link;
use sideman_io::control::Control;
use sideman_io::event::RecordingEvent;
use sideman_io::live::EngineThread;
use sideman_io::run_mode::RunMode;
use sideman_io::supervisor;
use sideman_tests::jackd::{Server, deadline, device_config, jackd, turn, undisturbed};
use sideman_tests::stage;

const RATE: f64 = 48_000.0;

/// Records the click: Link's time of each block, and its frames.
struct Rig {
    click: jack::Port<jack::AudioIn>,
    link: Arc<AblLink>,
    blocks: Sender<(u32, i64, Vec<f32>)>,
}

impl jack::ProcessHandler for Rig {
    fn process(&mut self, _: &jack::Client, scope: &jack::ProcessScope) -> jack::Control {
        let _ = self.blocks.send((scope.last_frame_time(), self.link.clock_micros(), self.click.as_slice(scope).to_vec()));
        jack::Control::Continue
    }
}

/// The second peer.
struct Other(Arc<AblLink>);

impl Other {
    fn state(&self) -> SessionState {
        let mut state = SessionState::new();
        self.0.capture_app_session_state(&mut state);
        state
    }

    fn play(&self, playing: bool) {
        let mut state = self.state();
        state.set_is_playing(playing, self.0.clock_micros());
        self.0.commit_app_session_state(&state);
    }

    fn tempo(&self, bpm: f64) {
        let mut state = self.state();
        state.set_tempo(bpm, self.0.clock_micros());
        self.0.commit_app_session_state(&state);
    }
}

/// Sideman, its device and the second peer.
struct Jam {
    control: Control,
    engine: Option<JoinHandle<Vec<RecordingEvent>>>,
    devices: Option<JoinHandle<Result<(), String>>>,
    _link: link::Server,
    rig: Option<jack::AsyncClient<(), Rig>>,
    blocks: Receiver<(u32, i64, Vec<f32>)>,
    other: Other,
}

impl Jam {
    fn start(config: SessionConfig, bpm: f64) -> Jam {
        let other = Arc::new(AblLink::new(bpm));
        other.enable_start_stop_sync(true);
        other.enable(true);
        // The first peer's tempo counts; and it takes a while until peers have found each other.
        std::thread::sleep(Duration::from_millis(800));
        let (runner, control) = stage::runner(config, RunMode::Devices);
        let (mut engine, handle) = EngineThread::new(runner);
        let (server, opened) = link::Server::start(control.clone()).unwrap();
        engine.playback_clocks.push(opened);
        let engine = std::thread::spawn(move || engine.run());
        let asked = device_config("sideman-link", 1024);
        supervisor::print_events(&control, |message| eprintln!("  {message}"));
        let watched = control.clone();
        let devices = std::thread::spawn(move || supervisor::watch(&watched, &asked, &handle));
        let (me, _) = jack::Client::new("rig", jack::ClientOptions::NO_START_SERVER).unwrap();
        let click = me.register_port("click", jack::AudioIn::default()).unwrap();
        let (tx, blocks) = channel();
        let rig = me.activate_async((), Rig { click, link: other.clone(), blocks: tx }).unwrap();
        let began = Instant::now();
        while rig.as_client().connect_ports_by_name("sideman-link:click_out", "rig:click").is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "our client has no ports");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (engine, devices) = (Some(engine), Some(devices));
        Jam { control, engine, devices, _link: server, rig: Some(rig), blocks, other: Other(other) }
    }

    fn send(&self, command: Command) {
        self.control.send(Request { command, when: None, from: 99 }).unwrap();
    }

    fn wait(&self, what: &str, there: impl Fn(&Jam) -> bool) {
        let began = Instant::now();
        while !there(self) {
            let s = self.control.snapshot();
            let (known, other) = ((s.clock, s.playing, s.tempo), self.other.state());
            let theirs = (self.other.0.num_peers(), other.is_playing(), other.tempo());
            assert!(began.elapsed() < Duration::from_secs(30), "not yet: {what}; the band {known:?}, the other {theirs:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The clicks of the next seconds: Link's time of each (µs), and whether it is the first of a bar.
    fn clicks(&self, seconds: f64) -> Vec<(i64, bool)> {
        while self.blocks.try_recv().is_ok() {}
        let (mut click, mut first, mut calls) = (Vec::new(), None, Vec::new());
        while (click.len() as f64) < seconds * RATE {
            let (at, micros, block) = self.blocks.recv_timeout(Duration::from_secs(30)).expect("the server calls us");
            let passed = at.wrapping_sub(*first.get_or_insert(at)) as usize;
            calls.push((passed, micros as f64 - passed as f64 / RATE * 1e6));
            // Silence for frames that the server lost.
            click.resize(passed, 0.0);
            click.extend(block);
        }
        // Of the calls around a frame, the earliest one is the least late.
        let offset =
            |n: usize| calls.iter().filter(|c| c.0.abs_diff(n) < RATE as usize / 2).map(|c| c.1).fold(f64::INFINITY, f64::min);
        let (mut all, mut n) = (Vec::new(), 0);
        while n + 480 < click.len() {
            if click[n].abs() > 0.05 {
                let turns = click[n..n + 480].windows(2).filter(|w| (w[0] < 0.0) != (w[1] < 0.0)).count();
                all.push(((offset(n) + n as f64 / RATE * 1e6) as i64, turns > 29));
                n += 7000;
            }
            n += 1;
        }
        all
    }

    /// Compares the clicks with the second peer's beats: the largest distance, ms. With `bars` the bar lines have to be the same, too.
    /// Whether no hop was late; only then are the clicks checked.
    fn beside(&self, what: &str, seconds: f64, bars: bool) -> bool {
        let late = self.control.snapshot().health.late;
        let (clicks, state) = (self.clicks(seconds), self.other.state());
        let (mut all, mut same) = (Vec::new(), true);
        for (at, first) in &clicks {
            let beat = state.beat_at_time(*at, 4.0);
            all.push((beat - beat.round()) * 60e3 / state.tempo());
            let on = *first == (beat.round().rem_euclid(4.0) == 0.0);
            same &= on;
        }
        let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
        let worst = all.iter().map(|ms| ms.abs()).fold(0.0, f64::max);
        let late = self.control.snapshot().health.late - late;
        eprintln!("{what}: {} clicks, {mean:+.2} ms beside the session's beat, {worst:.2} at worst; {late} late hops", all.len());
        assert!(all.len() >= 3, "{what}: {all:?}");
        if late == 0 {
            assert!(worst < 30.0, "{what}: {all:?}");
            assert!(!bars || same, "{what}: its bars are not the session's");
        }
        late == 0
    }
}

impl Drop for Jam {
    fn drop(&mut self) {
        let h = self.control.snapshot().health;
        eprintln!("  load {:.0} %, late hops {}, frames filled in {}, xruns {}", h.load * 100.0, h.late, h.underrun, h.xruns);
        drop(self.rig.take());
        self.control.end();
        let _ = self.engine.take().map(JoinHandle::join);
        let _ = self.devices.take().map(JoinHandle::join);
    }
}

#[test]
fn tempo_beat_start_and_stop_are_shared_in_both_directions() {
    let test = "io_link::tempo_beat_start_and_stop_are_shared_in_both_directions";
    let _turn = turn();
    let _deadline = deadline(600);
    if !jackd(test) {
        return;
    }
    undisturbed(test, || {
        let mut on_time = true;
        let _server = Server::start(1024);
        let config = SessionConfig { clock: Clock::Link, playing: false, bar1: 0, click: true, ..stage::config(25) };
        let jam = Jam::start(config, 97.0);
        jam.wait("they meet, and the band has the tempo of who was there first", |jam| {
            jam.other.0.num_peers() == 1 && (jam.control.snapshot().tempo - 97.0).abs() < 0.1
        });
        assert!(!jam.control.snapshot().playing, "it waits for a start");
        jam.other.play(true);
        jam.wait("the band comes in", |jam| jam.control.snapshot().playing);
        std::thread::sleep(Duration::from_secs(2));
        on_time &= jam.beside("started by the other at 97", 4.0, true);

        // Each peer sets a tempo.
        jam.other.tempo(120.0);
        jam.wait("the other's tempo", |jam| (jam.control.snapshot().tempo - 120.0).abs() < 5.0);
        std::thread::sleep(Duration::from_secs(2));
        on_time &= jam.beside("the other goes to 120", 3.0, true);
        jam.send(Command::Tempo(108.0));
        jam.wait("the band's tempo", |jam| (jam.other.state().tempo() - 108.0).abs() < 0.01);
        std::thread::sleep(Duration::from_secs(3));
        on_time &= jam.beside("the band goes to 108", 3.0, true);

        // Another source of the beat and back: the bar continues.
        let mut last: Option<(f64, f64)> = None;
        for clock in [Clock::Internal, Clock::Link] {
            jam.send(Command::Clock(clock));
            jam.wait("the other clock", |jam| jam.control.snapshot().clock == clock);
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(2) {
                let s = jam.control.snapshot();
                let at = (s.time as f64 / 32_000.0, (s.bar - 1) as f64 * 4.0 + f64::from(s.beat) - 1.0 + f64::from(s.phase));
                let jump = last.replace(at).map_or(0.0, |(time, quarters)| at.1 - quarters - (at.0 - time) * s.tempo / 60.0);
                assert!(s.playing && jump.abs() < 0.05, "{clock:?}: it plays ({}), the bar jumps by {jump} quarters", s.playing);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        jam.wait("they meet again", |jam| jam.other.0.num_peers() == 1);

        // Each peer stops and starts.
        jam.send(Command::Stop);
        jam.wait("the band stops the other", |jam| !jam.control.snapshot().playing && !jam.other.state().is_playing());
        jam.send(Command::Play);
        jam.wait("the band starts the other", |jam| jam.control.snapshot().playing && jam.other.state().is_playing());
        std::thread::sleep(Duration::from_secs(1));
        on_time &= jam.beside("started by the band", 4.0, true);
        jam.other.play(false);
        jam.wait("the other stops the band", |jam| !jam.control.snapshot().playing);
        jam.other.play(true);
        std::thread::sleep(Duration::from_millis(300));
        jam.other.play(false);
        std::thread::sleep(Duration::from_secs(5));
        assert!(!jam.control.snapshot().playing, "stopped before it came in, it comes in");
        on_time
    });
}

#[test]
fn without_other_peers_the_beat_is_the_session_s_own() {
    let test = "io_link::without_other_peers_the_beat_is_the_session_s_own";
    let _turn = turn();
    let _deadline = deadline(400);
    if !jackd(test) {
        return;
    }
    undisturbed(test, || {
        let mut on_time = true;
        let _server = Server::start(1024);
        let config =
            SessionConfig { clock: Clock::Link, playing: true, bar1: 24_000, click: true, tempo: 111.0, ..stage::config(25) };
        let jam = Jam::start(config, 90.0);
        jam.other.0.enable(false);
        jam.wait("it is alone and plays", |jam| jam.control.snapshot().bar > 1);
        jam.send(Command::Tempo(126.0));
        jam.wait("its own tempo", |jam| jam.control.snapshot().tempo == 126.0);
        std::thread::sleep(Duration::from_secs(1));
        jam.other.0.enable(true);
        jam.wait("who comes later has its tempo", |jam| {
            jam.other.0.num_peers() == 1 && (jam.other.state().tempo() - 126.0).abs() < 0.1
        });
        on_time &= jam.beside("joined by another", 4.0, true);
        assert!(jam.control.snapshot().playing && (jam.control.snapshot().tempo - 126.0).abs() < 126.0 * 0.02);
        on_time
    });
}
