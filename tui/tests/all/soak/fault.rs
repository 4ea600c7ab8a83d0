//! The faults of the run.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sideman_tests::rng::Rng;

use super::Place;
use super::program::Program;
use super::rig::Rig;

/// Packets of a flood, in a short and in a long run.
const FLOOD: [usize; 2] = [20_000, 100_000];
/// Packets of a millisecond. More would be lost before the program reads them.
const BURST: usize = 20;

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The JACK server is killed and comes back.
    Server,
    /// Packets, a third of them malformed.
    Flood,
    /// The pedal is pulled and comes back.
    Pedal,
    /// Other programs use all processors.
    Load,
    /// The program stands still.
    Stop,
    /// The server changes its block size.
    Period,
    /// The disk is full for a time.
    FullDisk,
}

/// Programs that do nothing else than compute. They end with this.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start() -> Hogs {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let hog = || {
            let mut command = Command::new("nice");
            // A higher priority than the program's, where the user may have one.
            command.args(["-n", "-5", "sh", "-c", "while :; do :; done"]).stderr(Stdio::null()).stdin(Stdio::null());
            command.spawn().expect("sh")
        };
        Hogs((0..2 * cores).map(|_| hog()).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

impl Fault {
    pub const ALL: [Fault; 7] =
        [Fault::Server, Fault::Flood, Fault::Pedal, Fault::Load, Fault::Stop, Fault::Period, Fault::FullDisk];

    /// Lets it happen, and lets it end.
    pub fn happens(self, place: &mut Place, rig: &mut Rig, program: &mut Program, rng: &mut Rng, short: bool) {
        // Most are short, and few have the length of a breath.
        let seconds = 0.1 + if short { 1.4 } else { 4.9 } * rng.uniform().powi(2);
        let pause = || std::thread::sleep(Duration::from_secs_f32(seconds));
        let began = Instant::now();
        match self {
            Fault::Server => {
                rig.kill_server();
                pause();
                rig.restart_server();
                rig.plug_pedal();
            }
            Fault::Flood => flood(program, rng, FLOOD[usize::from(!short)]),
            Fault::Pedal => {
                rig.pull_pedal();
                pause();
                rig.plug_pedal();
            }
            Fault::Load => {
                let _hogs = Hogs::start();
                pause();
            }
            Fault::Stop => {
                program.signal("STOP");
                pause();
                program.signal("CONT");
            }
            Fault::Period => rig.set_period(*rng.pick(&[256, 512, 1024, 2048])),
            Fault::FullDisk => {
                place.disk.fill(program.id());
                pause();
                place.disk.clear(program.id());
                program.send("/jam/rec", &[0]);
                program.send("/jam/rec", &[1]);
            }
        }
        eprintln!("  {self:?}: {:.1} s", began.elapsed().as_secs_f32());
    }
}

/// Sends packets from three sockets, as fast as they go. None of them changes the tempo or stops the band.
fn flood(program: &Program, rng: &mut Rng, packets: usize) {
    let peers: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    let padded = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize((bytes.len() / 4 + 1) * 4, 0);
        bytes
    };
    let message = |addr: &str, tags: &str, args: &[u8]| [padded(addr), padded(tags), args.to_vec()].concat();
    let bundle = |element: &[u8], times: usize| {
        let one = [&(element.len() as u32).to_be_bytes()[..], element].concat();
        [b"#bundle\0\0\0\0\0\0\0\0\x01".to_vec(), one.repeat(times)].concat()
    };
    let gain = (-6.0f32).to_be_bytes();
    let good = [
        message("/jam/ping", ",", &[]),
        message("/jam/stem/drums/gain", ",f", &gain),
        message("/jam/stem/*/pan", ",f", &0.0f32.to_be_bytes()),
        message("/jam/subscribe", ",i", &60i32.to_be_bytes()),
        message("/jam/subscribe", ",sii", &[padded("192.0.2.1"), vec![0, 0, 0x23, 0x28, 0, 0, 0, 60]].concat()),
        message("/jam/tempo", ",", &[]),
        message(&format!("/jam/{}!", "{,,,}".repeat(24)), ",", &[]),
        message(&format!("/jam/stem/{}!", "*{,}".repeat(28)), ",f", &gain),
        message(&format!("/jam/{}", "*".repeat(200)), ",", &[]),
        message("/accxyz", ",fff", &[gain, gain, gain].concat()),
        message("/jam/text", ",s", &padded(&"slow ".repeat(200))),
        bundle(&message("/jam/sync", ",", &[]), 500),
        bundle(&bundle(&bundle(&message("/jam/ping", ",", &[]), 2), 2), 2),
        bundle(&message("/jam/stem/bass/gain", ",f", &gain), 2000),
    ];
    for n in 0..packets {
        let mut packet = rng.pick(&good).clone();
        if n % 3 == 0 {
            // Malformed: cut, changed, or noise.
            match rng.below(3) {
                0 => packet.truncate(rng.below(packet.len())),
                1 => (0..4).for_each(|_| {
                    // Behind the address, or another command would be sent.
                    let from = packet.iter().position(|b| *b == 0).unwrap_or(0);
                    let at = from + rng.below(packet.len() - from);
                    packet[at] = rng.bits() as u8;
                }),
                _ => packet = (0..rng.below(400)).map(|_| rng.bits() as u8).collect(),
            }
        }
        // A full buffer of the socket is the flood's own loss.
        let _ = peers[n % 3].send_to(&packet, program.osc());
        if n % BURST == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
