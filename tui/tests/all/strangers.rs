//! What someone on the same network can do (docs/guides/rig.md, "Strangers on the network"): each row of the table, sent
//! from this computer's address on the network, or from loopback where it has none.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rosc::{OscMessage, OscPacket, OscType};

struct Session {
    child: Child,
    port: u16,
}

impl Session {
    /// Starts a session without a device and waits until it plays; `osc`: the address to listen on.
    fn start(dir: &Path, osc: Option<&str>) -> Session {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
        command.args(["live", "--headless", "--host", "null", "--tempo", "120", "--threads", "1", "--roll", "roll"]);
        command.args(["--record", "takes"]).args(osc.iter().flat_map(|address| ["--osc", address]));
        command.env("SIDEMAN_MODEL", Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house")).env("NO_COLOR", "1");
        let mut child = command.current_dir(dir).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut port, mut lines) = (0, BufReader::new(child.stderr.take().unwrap()).lines());
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("OSC: ") {
                port = address.rsplit(':').next().unwrap().parse().unwrap();
            }
            if line.starts_with("bar ") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Session { child, port }
    }

    /// The addresses of its sockets of the network, in the kernel's notation.
    fn sockets(&self) -> Vec<String> {
        let process = format!("/proc/{}", self.child.id());
        let files =
            std::fs::read_dir(format!("{process}/fd")).unwrap().filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        let nodes: BTreeSet<String> =
            files.filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())).collect();
        let rows = ["udp", "udp6", "tcp", "tcp6"]
            .map(|kind| std::fs::read_to_string(format!("{process}/net/{kind}")).unwrap_or_default());
        let all = rows.iter().flat_map(|rows| rows.lines().skip(1)).map(|row| row.split_whitespace().collect::<Vec<_>>());
        all.filter(|row| nodes.contains(row[9])).map(|row| row[1].to_owned()).collect()
    }

    fn end(mut self) {
        assert!(Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// The address by which other computers reach this one. Connecting a UDP socket sends nothing.
fn own_address() -> IpAddr {
    let outward = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("192.0.2.1:9").map(|()| socket));
    outward.and_then(|socket| socket.local_addr()).map_or([127, 0, 0, 1].into(), |address| address.ip())
}

/// A stranger's socket, connected to the session.
struct Stranger(UdpSocket);

impl Stranger {
    fn new(session: &Session) -> Stranger {
        let socket = UdpSocket::bind((own_address(), 0)).unwrap();
        socket.connect(SocketAddr::from((own_address(), session.port))).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        Stranger(socket)
    }

    fn send(&self, addr: &str, args: &[OscType]) {
        let packet = OscPacket::Message(OscMessage { addr: addr.into(), args: args.to_vec() });
        self.0.send(&rosc::encoder::encode(&packet).unwrap()).unwrap();
    }

    /// Messages until none has come for half a second.
    fn answers(&self) -> Vec<OscMessage> {
        let (mut all, mut bytes) = (Vec::new(), [0; 8192]);
        while let Ok(n) = self.0.recv(&mut bytes) {
            if let Ok((_, OscPacket::Message(message))) = rosc::decoder::decode_udp(&bytes[..n]) {
                all.push(message);
            }
        }
        all
    }

    /// Asks for an address until the answer has a value.
    fn reads(&self, addr: &str, value: &OscType) {
        let began = Instant::now();
        while {
            self.send(addr, &[]);
            !self.answers().iter().any(|answer| answer.addr == addr && answer.args.first() == Some(value))
        } {
            assert!(began.elapsed() < Duration::from_secs(60), "{addr} is not {value:?}");
        }
    }
}

#[test]
fn by_default_no_socket_is_open_to_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let session = Session::start(dir.path(), None);
    assert_eq!(session.sockets(), [""; 0]);
    session.end();
    let dir = tempfile::tempdir().unwrap();
    let session = Session::start(dir.path(), Some("127.0.0.1:0"));
    assert_eq!(session.sockets(), [format!("0100007F:{:04X}", session.port)]);
    session.end();
}

#[test]
fn with_osc_on_all_addresses_a_stranger_can_do_what_the_guide_says_and_no_more() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("here");
    std::fs::create_dir(&dir).unwrap();
    let session = Session::start(&dir, Some("0.0.0.0:0"));
    let stranger = Stranger::new(&session);
    let text = |text: &str| OscType::String(text.into());

    // They change and read what is in the list.
    stranger.send("/jam/tempo", &[OscType::Float(96.0), text("now")]);
    stranger.reads("/jam/tempo", &OscType::Float(96.0));

    // They subscribe a port of their own computer, and of no other.
    let tablet = Stranger::new(&session);
    let port = i32::from(tablet.0.local_addr().unwrap().port());
    stranger.send("/jam/subscribe", &[text(&own_address().to_string()), OscType::Int(port), OscType::Int(5)]);
    assert!(!tablet.answers().is_empty(), "no values are sent to the subscriber");
    stranger.answers();
    stranger.send("/jam/subscribe", &[text("203.0.113.9"), OscType::Int(9), OscType::Int(5)]);
    assert!(stranger.answers().iter().any(|answer| answer.addr == "/jam/error"));

    // They get a limited number of answers: 800 at once, and 400 a second.
    std::thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    (0..400).for_each(|_| stranger.send("/jam/sync", &[]));
    let (answers, seconds) = (stranger.answers().len(), began.elapsed().as_secs_f64());
    assert!(answers > 0 && answers as f64 <= 800.0 + 400.0 * seconds, "{answers} answers in {seconds} s");

    // They start takes, in the takes' folder only.
    for name in ["../../out", "/tmp/out", ".."] {
        stranger.send("/jam/take/save", &[text(name)]);
    }
    stranger.send("/jam/rec", &[OscType::Int(0)]);
    // And packets that mean nothing.
    for n in 0..20_000u32 {
        let _ = stranger.0.send(&n.to_be_bytes().repeat(1 + n as usize % 64));
        if n % 20 == 0 {
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    // The session is there, and ends when its user says so.
    stranger.send("/jam/tempo", &[OscType::Float(111.0), text("now")]);
    stranger.reads("/jam/tempo", &OscType::Float(111.0));
    session.end();
    let names = |dir: &Path| -> BTreeSet<String> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(tmp.path()), BTreeSet::from(["here".to_owned()]));
    assert!(names(&dir).is_subset(&BTreeSet::from(["takes".to_owned(), "roll".to_owned()])), "{:?}", names(&dir));
}
