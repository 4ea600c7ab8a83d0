//! The program under test.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rosc::{OscMessage, OscPacket, OscType};

use super::rig::{CLIENT, PATIENCE, PEDAL, Rig};
use super::{Place, model};

/// Seconds after which a session has all the memory that it needs.
const WARM_UP: f64 = 15.0;
/// Bytes by which it may still grow, whatever its length: the buffers of a device that is opened again, three times.
const GROWTH: f64 = 42e6;

/// A measurement of a process: seconds since its start, bytes in memory, threads, open files.
#[derive(Debug, Clone, Copy)]
struct Usage {
    at: f64,
    rss: f64,
    threads: usize,
    files: usize,
}

/// `sideman live` under JACK.
pub struct Program {
    child: Child,
    osc: UdpSocket,
    address: SocketAddr,
    /// What it printed.
    said: Arc<Mutex<Vec<String>>>,
    began: Instant,
    usage: Vec<Usage>,
}

impl Program {
    pub fn start(place: &Place) -> Program {
        // A file that may not grow is an error, as a full disk is, and no signal.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sideman")]);
        command.args(["live", "--headless", "--host", "jack", "--client", CLIENT, "--midi", &format!("{PEDAL}:")]);
        command.args(["--period", "1024", "--tempo", "120", "--chords", "Em7 Em7 Am7 B7", "--click", "--seed", "7"]);
        command.args(["--osc", "127.0.0.1:0", "--no-announce", "--threads", "2", "--model"]).arg(model());
        command.arg("--record").arg(place.takes()).arg("--roll").arg(place.roll());
        command.current_dir(&place.cwd).env("HOME", &place.home).env("TMPDIR", &place.tmp).env("NO_COLOR", "1");
        for name in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
            command.env_remove(name);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut first = Vec::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ends at its start:\n{}", first.join("\n")));
            if let Some(address) = line.strip_prefix("OSC: ") {
                break address.parse().expect("an address");
            }
            first.push(line);
        };
        let said = Arc::new(Mutex::new(first));
        let lines_of = said.clone();
        std::thread::spawn(move || lines.for_each(|line| lines_of.lock().unwrap().push(line)));
        let osc = UdpSocket::bind("127.0.0.1:0").unwrap();
        osc.connect(address).unwrap();
        osc.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Program { child, osc, address, said, began: Instant::now(), usage: Vec::new() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn osc(&self) -> SocketAddr {
        self.address
    }

    pub fn send(&self, addr: &str, args: &[i32]) {
        let packet = OscPacket::Message(OscMessage { addr: addr.into(), args: args.iter().map(|n| OscType::Int(*n)).collect() });
        let _ = self.osc.send(&rosc::encoder::encode(&packet).unwrap());
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap().success());
    }

    /// Checks that the band plays, and that it can be controlled.
    pub fn answers(&mut self, rig: &mut Rig) {
        rig.hears_clicks();
        let (began, mut bytes) = (Instant::now(), [0; 4096]);
        loop {
            self.send("/jam/ping", &[]);
            match self.osc.recv(&mut bytes) {
                Ok(len) if bytes[..len].starts_with(b"/jam/pong") => return,
                // Another answer, or none in time.
                Ok(_) | Err(_) => {}
            }
            assert!(began.elapsed() < PATIENCE, "it does not answer:\n{}", self.end_of_text());
        }
    }

    fn end_of_text(&self) -> String {
        let said = self.said.lock().unwrap();
        said[said.len().saturating_sub(40)..].join("\n")
    }

    /// Measures memory, threads and files.
    pub fn measure(&mut self) {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", self.id())).map_or(0, Iterator::count);
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        let at = self.began.elapsed().as_secs_f64();
        self.usage.extend(rss.map(|rss| Usage { at, rss: rss * 1024.0, threads: count("task"), files: count("fd") }));
    }

    /// Checks that memory, threads and open files don't grow.
    pub fn check_memory(&self) {
        let warm: Vec<Usage> = self.usage.iter().copied().filter(|usage| usage.at > WARM_UP).collect();
        let ([first, .., last], Some(most)) = (&warm[..], warm.iter().map(|u| u.rss).max_by(f64::total_cmp)) else { return };
        let n = warm.len() as f64;
        let (at, rss) = (warm.iter().map(|u| u.at).sum::<f64>() / n, warm.iter().map(|u| u.rss).sum::<f64>() / n);
        let slope =
            warm.iter().map(|u| (u.at - at) * (u.rss - rss)).sum::<f64>() / warm.iter().map(|u| (u.at - at).powi(2)).sum::<f64>();
        let all: Vec<String> = warm.iter().map(|usage| format!("{:.0}", usage.rss / 1e6)).collect();
        eprintln!("  memory in MB: {}", all.join(" "));
        eprintln!(
            "  memory {:.1} MB after {:.0} s, {:.1} MB at most, slope {:+.2} MB a minute; threads {} to {}, files {} to {}",
            first.rss / 1e6,
            first.at,
            most / 1e6,
            slope * 60.0 / 1e6,
            first.threads,
            last.threads,
            first.files,
            last.files
        );
        assert!(most - first.rss < GROWTH, "{} bytes more than after {WARM_UP} s", most - first.rss);
        let fitted = slope * (last.at - first.at);
        assert!(fitted < GROWTH, "memory grows by {fitted} bytes in {} s", last.at - first.at);
        assert!(last.threads <= first.threads + 1, "{} threads, then {}", first.threads, last.threads);
        assert!(last.files <= first.files + 4, "{} open files, then {}", first.files, last.files);
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it by SIGTERM. It ends by itself, with 0, or with 1 where the disk was full.
    pub fn end(mut self, disk_was_full: bool) {
        self.signal("TERM");
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.end_of_text());
            std::thread::sleep(Duration::from_millis(10));
        };
        eprintln!("  it ends {:.1} s after SIGTERM", began.elapsed().as_secs_f32());
        let text = self.end_of_text();
        assert_eq!(status.code(), Some(i32::from(disk_was_full)), "{text}");
        assert!(
            !self.said.lock().unwrap().iter().any(|line| line.contains("panicked") || line.contains("left behind")),
            "{text}"
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It still runs if the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
