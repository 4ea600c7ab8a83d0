//! A JACK server for a test, one at a time, and a time limit for tests that hang in libjack.

use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use sideman_io::device::DeviceConfig;
use sideman_skip::{Need, skip, without};

/// Ends the test program when a test takes longer than this: libjack can wait without end for a server that
/// is gone. Hold the result during the test.
pub fn deadline(seconds: u64) -> Sender<()> {
    let seconds = seconds + std::env::var("SIDEMAN_JAM_SECONDS").ok().and_then(|s| s.parse::<f64>().ok()).unwrap_or(0.0) as u64;
    let (kept, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(seconds)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("the test has not ended within {seconds} s");
            std::process::exit(101);
        }
    });
    kept
}

/// The device of a test: bass in, all stems out.
pub fn device_config(client: &str, period: u32) -> DeviceConfig {
    DeviceConfig {
        host: Some("jack".into()),
        input: None,
        output: None,
        midi: None,
        client: client.into(),
        period,
        extra_latency: 0,
        input_stem: "bass".into(),
        stems: ["bass", "drums", "other"].map(str::to_owned).to_vec(),
    }
}

/// A lock that allows one server at a time among all test processes: a machine runs few of them, and clients
/// of one process can't tell two apart.
pub fn turn() -> std::fs::File {
    let turn = std::fs::File::create(std::env::temp_dir().join("sideman-jack.lock")).unwrap();
    turn.lock().unwrap();
    turn
}

/// Whether a server can be started for `test`. Where it can't, the test is reported as skipped.
pub fn jackd(test: &str) -> bool {
    if without(test, &[Need::Program("jackd", "jackd2")]) {
        return false;
    }
    if sideman_io::device::jack::running() {
        skip(test, "a JACK server runs on this machine already, and may be in use");
        return false;
    }
    true
}

/// Runs a measurement until the machine has kept up during it, that is, until it returns true. If the machine is
/// too busy three times, `test` is reported as skipped: what was measured says nothing about Sideman. Checks that
/// need no clock have run all the same.
pub fn undisturbed(test: &str, mut measure: impl FnMut() -> bool) {
    if !(0..3).any(|_| measure()) {
        skip(&format!("busy::{test}"), "hops were late or frames were lost in each of three attempts");
    }
}

/// A running server. It is killed when this is dropped, or when the test program ends.
pub struct Server(Child);

impl Server {
    /// Starts one in synchronous mode, so that it skips no client's block, and waits until it accepts
    /// clients. Tries twice.
    pub fn start(period: u32) -> Server {
        Server::start_at(48_000, period)
    }

    /// The same at another rate.
    pub fn start_at(rate: u32, period: u32) -> Server {
        let server = (0..2).find_map(|_| Server::attempt(rate, period));
        server.expect("jackd starts and accepts clients (it needs 41 MB of /dev/shm)")
    }

    fn attempt(rate: u32, period: u32) -> Option<Server> {
        remove_stale_locks();
        let (rate, period) = (rate.to_string(), period.to_string());
        let args = ["-r", "-S", "-t", "2000", "-p", "128", "-d", "dummy", "-r", &rate, "-p", &period];
        // The shell kills it when this program ends, however it ends: the shell's stdin is closed then.
        let mut command = Program::new("sh");
        command.args(["-c", "jackd \"$@\" & read -r _; kill -9 $!; wait $!", "jackd"]).args(args);
        command.env("JACK_NO_AUDIO_RESERVATION", "1").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server(command.spawn().ok()?);
        let began = Instant::now();
        while !sideman_io::device::jack::running() {
            if began.elapsed() > Duration::from_secs(20) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }
}

/// Killed servers leave locks in a database that all servers of a user share, until it has none left and clients are
/// refused. This removes it where no server runs.
fn remove_stale_locks() {
    let entries = |folder: &str| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let server = |process: std::fs::DirEntry| {
        std::fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name.trim().starts_with("jackd"))
    };
    if entries("/proc").any(server) {
        return;
    }
    for entry in entries("/dev/shm") {
        if entry.file_name().to_string_lossy().starts_with("jack_db-") {
            // One of another user's can't be removed, and holds nothing up.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
