//! The JACK server of the run, a client that plays to the program and finds its clicks, and a pedal.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use sideman_tests::jackd::Server;
use sideman_tests::stage;

use super::clicks::{Grid, Strike};

/// Name of the program as a client.
pub const CLIENT: &str = "sideman-soak";
/// Name of the pedal as a client.
pub const PEDAL: &str = "soak-pedal";
/// The server's sample rate.
const RATE: u32 = 48_000;
/// Below this the click is silent.
const THRESHOLD: f32 = 0.05;
/// Frames between two clicks, less than a beat of 120 BPM.
const APART: u64 = 12_000;
/// How long the program and the server may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Plays the bass and finds clicks.
struct Player {
    click: jack::Port<jack::AudioIn>,
    output: jack::Port<jack::AudioOut>,
    bass: Vec<f32>,
    at: usize,
    /// Frame time of the last block, made of 64 bits.
    time: u64,
    last: Option<u64>,
    strikes: Sender<Strike>,
}

impl jack::ProcessHandler for Player {
    fn process(&mut self, _: &jack::Client, scope: &jack::ProcessScope) -> jack::Control {
        let passed = scope.last_frame_time().wrapping_sub(self.time as u32);
        self.time += u64::from(passed);
        for (n, x) in (0u64..).zip(self.click.as_slice(scope)) {
            let now = self.time + n;
            if x.abs() > THRESHOLD && self.last.is_none_or(|last| now - last > APART) {
                self.last = Some(now);
                let _ = self.strikes.send(Strike { at: now, period: scope.n_frames() });
            }
        }
        for x in self.output.as_mut_slice(scope) {
            *x = self.bass[self.at % self.bass.len()];
            self.at += 1;
        }
        jack::Control::Continue
    }
}

/// Moves a fader, block by block, and sends clock ticks.
struct Pedal(jack::Port<jack::MidiOut>, u8);

impl jack::ProcessHandler for Pedal {
    fn process(&mut self, _: &jack::Client, scope: &jack::ProcessScope) -> jack::Control {
        let mut out = self.0.writer(scope);
        self.1 = (self.1 + 1) % 100;
        let _ = out.write(&jack::RawMidi { time: 0, bytes: &[0xb1, 7, self.1] });
        let _ = out.write(&jack::RawMidi { time: 0, bytes: &[0xf8] });
        jack::Control::Continue
    }
}

/// The server and its clients.
pub struct Rig {
    server: Option<Server>,
    player: Option<(jack::AsyncClient<(), Player>, Receiver<Strike>)>,
    pedal: Option<jack::AsyncClient<(), Pedal>>,
    grid: Grid,
}

/// A client. A server may refuse one while it starts or closes another.
fn client(name: &str) -> jack::Client {
    let began = Instant::now();
    loop {
        match jack::Client::new(name, jack::ClientOptions::NO_START_SERVER) {
            Ok((client, _)) => return client,
            Err(e) => assert!(began.elapsed() < PATIENCE, "{e}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Rig {
    pub fn start() -> Rig {
        Rig { server: Some(Server::start(1024)), player: None, pedal: None, grid: Grid::default() }
    }

    /// Connects a player to the program, once that has its ports.
    pub fn connect(&mut self) {
        self.disconnect();
        let me = client("soak-player");
        let began = Instant::now();
        let wait = |what: &str| {
            assert!(began.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        };
        while me.port_by_name(&format!("{CLIENT}:mix_out_2")).is_none() {
            wait("the program has no ports");
        }
        let click = me.register_port("click", jack::AudioIn::default()).unwrap();
        let output = me.register_port("bass", jack::AudioOut::default()).unwrap();
        let names = [click.name().unwrap(), output.name().unwrap()];
        let (strikes, found) = channel();
        let bass = stage::bass(RATE as usize * 8, RATE);
        let me = me.activate_async((), Player { click, output, bass, at: 0, time: 0, last: None, strikes }).unwrap();
        for (from, to) in [(format!("{CLIENT}:click_out"), &names[0]), (names[1].clone(), &format!("{CLIENT}:bass_in"))] {
            // A client has ports before it is active, but until then the server connects nothing to it. After a restart
            // of the server the program may have connected its ports itself.
            while !matches!(me.as_client().connect_ports_by_name(&from, to), Ok(()) | Err(jack::Error::PortAlreadyConnected(..)))
            {
                wait("the program can't be connected");
            }
        }
        self.player = Some((me, found));
    }

    /// Leaves the server, which begins a new stretch of clicks.
    fn disconnect(&mut self) {
        self.read_clicks();
        self.grid.cut();
        self.player = None;
    }

    fn read_clicks(&mut self) {
        if let Some((_, strikes)) = &self.player {
            strikes.try_iter().for_each(|strike| self.grid.add(strike));
        }
    }

    /// Waits for a click after now.
    pub fn hears_clicks(&mut self) {
        self.read_clicks();
        let (heard, began) = (self.grid.strikes(), Instant::now());
        // Two: the first can be one that was played before.
        while self.grid.strikes() < heard + 2 {
            assert!(began.elapsed() < PATIENCE, "the band is silent");
            std::thread::sleep(Duration::from_millis(20));
            self.read_clicks();
        }
    }

    /// All clicks since the last call.
    pub fn clicks(&mut self) -> Grid {
        self.read_clicks();
        self.grid.cut();
        std::mem::take(&mut self.grid)
    }

    /// Connects the pedal, if it isn't.
    pub fn plug_pedal(&mut self) {
        if self.pedal.is_none() {
            let me = client(PEDAL);
            let out = me.register_port("out", jack::MidiOut::default()).unwrap();
            self.pedal = Some(me.activate_async((), Pedal(out, 0)).unwrap());
        }
    }

    /// Pulls it.
    pub fn pull_pedal(&mut self) {
        self.pedal = None;
    }

    /// Changes the server's block size.
    pub fn set_period(&mut self, frames: u32) {
        let (me, _) = self.player.as_ref().expect("a player");
        me.as_client().set_buffer_size(frames).expect("another block size");
    }

    /// Kills the server. A client that is in this program would hang, so they leave before.
    pub fn kill_server(&mut self) {
        self.disconnect();
        self.pedal = None;
        self.server = None;
    }

    /// Starts it again.
    pub fn restart_server(&mut self) {
        self.server = Some(Server::start(1024));
        self.connect();
    }

    pub fn end(mut self) {
        self.kill_server();
    }
}
