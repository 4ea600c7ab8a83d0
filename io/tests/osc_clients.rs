//! OSC with the clients of another implementation: liblo's `oscsend` and `oscdump` (Debian: liblo-tools).

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sideman_engine::live::{Action, Command, Snapshot, StemState, Which};
use sideman_io::control::{Control, ControlReceiver};
use sideman_io::event::Event;
use sideman_io::osc::{Addresses, Server};

/// A session that applies each command at once to its snapshot.
fn play(controls: &mut ControlReceiver, stop: &AtomicBool) {
    let mut state = Snapshot { tempo: 112.0, bar: 1, beat: 1, stems: vec![StemState::default(); 3], ..Snapshot::default() };
    while !stop.load(Ordering::Acquire) {
        while let Some(sent) = controls.take() {
            apply(&mut state, &sent.request.command);
            controls.tell(Event::Applied { at: 0, request: sent.request });
        }
        controls.publish(&state);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn apply(s: &mut Snapshot, command: &Command) {
    match command {
        Command::Tempo(bpm) => s.tempo = *bpm,
        Command::Meter(m) => s.meter = *m,
        Command::Clock(c) => s.clock = *c,
        Command::Mode(m) => s.mode = *m,
        Command::InputStem(p) => s.input_stem = *p,
        Command::Text { part: 0, text, .. } => s.text = text.clone(),
        Command::Lag(n) => s.lag = *n,
        Command::Hop(n) => s.hop = *n,
        Command::Chords(chords) => chords.text().clone_into(&mut s.chords),
        Command::Section(name) => s.section.clone_from(name),
        Command::Key(key) => s.key.clone_from(key),
        Command::Dim(db) => s.dim = *db,
        Command::Click(on) => s.click = *on,
        Command::Record(on) => s.recording = *on,
        Command::Play => s.playing = true,
        Command::Stem(which, action) => {
            let hit = |n: usize| *which == Which::All || *which == Which::One(n as u8);
            for (_, stem) in s.stems.iter_mut().enumerate().filter(|(n, _)| hit(*n)) {
                match action {
                    Action::Gain(db) => stem.gain = *db,
                    Action::Pan(x) => stem.pan = *x,
                    Action::Mute(on) => stem.mute = *on,
                    Action::Solo(on) => stem.solo = *on,
                    Action::Freeze(bars) => stem.frozen = *bars,
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// An `oscdump` on a free port, and the lines it prints.
struct Dump(Child, u16, Receiver<String>);

impl Dump {
    fn new() -> Dump {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Process::new("oscdump")
            .args(["-L", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("oscdump of liblo-tools; scripts/setup.sh installs it");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tx, rx) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tx.send(line)));
        Dump(child, port, rx)
    }

    /// Waits for a line with a text.
    fn wait(&self, text: &str) -> String {
        loop {
            let line = self.2.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("no {text} at {}", self.1));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The lines that are left.
    fn rest(&self) -> Vec<String> {
        std::thread::sleep(Duration::from_millis(200));
        self.2.try_iter().collect()
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(to: SocketAddr, args: &[&str]) {
    let done = Process::new("oscsend").arg("127.0.0.1").arg(to.port().to_string()).args(args).status();
    assert!(done.expect("oscsend of liblo-tools; scripts/setup.sh installs it").success());
}

#[test]
fn liblo_sets_every_value_and_two_subscribers_get_it() {
    let (control, mut controls) = Control::new();
    let stop = Arc::new(AtomicBool::new(false));
    let model = std::thread::spawn({
        let stop = stop.clone();
        move || play(&mut controls, &stop)
    });
    let server =
        Server::start(control, Addresses::new("house", &["bass", "drums", "other"]), vec![], vec![], ([127, 0, 0, 1], 0).into())
            .unwrap();
    let (a, b) = (Dump::new(), Dump::new());
    for dump in [&a, &b] {
        // The subscription is repeated until oscdump's socket is open and gets a value.
        loop {
            send(server.address(), &["/jam/subscribe", "sii", "127.0.0.1", &dump.1.to_string(), "100"]);
            if dump.2.recv_timeout(Duration::from_millis(500)).is_ok() {
                break;
            }
            send(server.address(), &["/jam/stem/bass/pan", "f", "0.25"]);
        }
    }
    let text = |n: u8| format!("/jam/text/{n} sf \"dub\" 0.500000");
    let mut values: Vec<(Vec<&str>, String)> = vec![
        (vec!["/jam/tempo", "i", "97"], "/jam/tempo f 97.000000".into()),
        (vec!["/jam/meter", "ii", "6", "8"], "/jam/meter ii 6 8".into()),
        (vec!["/jam/clock", "s", "midi"], "/jam/clock s \"midi\"".into()),
        (vec!["/jam/text", "s", "slow dub"], "/jam/text s \"slow dub\"".into()),
        (vec!["/jam/text/2", "sf", "dub", "0.5"], text(2)),
        (vec!["/jam/chords", "s", "Am F C G"], "/jam/chords s \"Am F C G\"".into()),
        (vec!["/jam/key", "s", "F#m"], "/jam/key s \"F#m\"".into()),
        (vec!["/jam/instrument", "s", "bass"], "/jam/instrument s \"bass\"".into()),
        (vec!["/jam/play", "s", "drums"], "/jam/instrument s \"drums\"".into()),
        (vec!["/jam/mode", "s", "loop"], "/jam/mode s \"loop\"".into()),
        (vec!["/jam/loop", "f", "4"], "/jam/loop i 4".into()),
        (vec!["/jam/lag", "i", "10"], "/jam/lag i 10".into()),
        (vec!["/jam/hop", "d", "5"], "/jam/hop i 5".into()),
        (vec!["/jam/sample/temperature", "f", "0.75"], "/jam/sample/temperature f 0.750000".into()),
        (vec!["/jam/sample/top_k", "i", "99"], "/jam/sample/top_k i 99".into()),
        (vec!["/jam/sample/top_p", "f", "0.5"], "/jam/sample/top_p f 0.500000".into()),
        (vec!["/jam/sample/cfg", "f", "2.5"], "/jam/sample/cfg f 2.500000".into()),
        (vec!["/jam/sample/seed", "h", "77"], "/jam/sample/seed h 77".into()),
        (vec!["/jam/section/goto", "s", "B"], "/jam/section/goto s \"B\"".into()),
        (vec!["/jam/dim", "f", "12"], "/jam/dim f 12.000000".into()),
        (vec!["/jam/dip", "f", "6"], "/jam/dim f 6.000000".into()),
        (vec!["/jam/click", "T"], "/jam/click i 1".into()),
        (vec!["/jam/rec", "i", "1"], "/jam/rec i 1".into()),
        (vec!["/jam/transport/count_in", "i", "2"], "/jam/transport/count_in i 2".into()),
        (vec!["/jam/stem/*/solo", "f", "1"], "/jam/stem/other/solo i 1".into()),
        (vec!["/jam/stem/drums/gain", "fs", "-7.5", "bar"], "/jam/stem/drums/gain f -7.500000".into()),
        (vec!["/jam/stem/drums/mute", "T"], "/jam/stem/drums/mute i 1".into()),
        (vec!["/jam/stem/all/freeze", "i", "4"], "/jam/stem/bass/freeze i 4".into()),
        (vec!["/jam/stem/other/pan", "f", "-1"], "/jam/stem/other/pan f -1.000000".into()),
        (vec!["/jam/transport/play"], "/jam/state ss \"playing\"".into()),
    ];
    for (message, echo) in values.drain(..) {
        send(server.address(), &message);
        a.wait(&echo);
        b.wait(&echo);
    }
    assert!(a.rest().len() < 110);
    send(server.address(), &["/jam/ping"]);
    send(server.address(), &["/jam/unsubscribe"]);
    drop(server);
    stop.store(true, Ordering::Release);
    model.join().unwrap();
}
