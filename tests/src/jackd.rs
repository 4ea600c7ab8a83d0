//! A JACK server of a test's own, one at a time, and a hard end for tests that hang in it.

use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use sideman_io::device::DeviceConfig;
use sideman_skip::{Need, skip, without};

/// Ends the whole test program where a test takes longer than this: libjack can wait for ever for a server that is gone. Kept while it runs.
pub fn deadline(seconds: u64) -> Sender<()> {
    let seconds = seconds + std::env::var("SIDEMAN_JAM_SECONDS").ok().and_then(|s| s.parse::<f64>().ok()).unwrap_or(0.0) as u64;
    let (kept, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(seconds)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("the test hangs: {seconds} s are over");
            std::process::exit(101);
        }
    });
    kept
}

/// What a test's band asks of JACK: bass in, all stems out.
pub fn asked(client: &str, period: u32) -> DeviceConfig {
    DeviceConfig {
        host: Some("jack".into()),
        input: None,
        output: None,
        midi: None,
        client: client.into(),
        period,
        beyond: 0,
        input_stem: "bass".into(),
        stems: ["bass", "drums", "other"].map(str::to_owned).to_vec(),
    }
}

/// One server at a time, in all test processes: a machine takes few of them, and clients of one process can't tell two apart.
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

/// A running server; it is killed when this is dropped or its test dies.
pub struct Server(Child);

impl Server {
    /// Starts one in sync mode, so that no client's block is ever passed over, and waits until it takes clients. A server that doesn't
    /// come up is tried once more.
    pub fn start(period: u32) -> Server {
        (0..2).find_map(|_| Server::attempt(period)).expect("jackd starts and takes clients (it needs 41 MB of /dev/shm)")
    }

    fn attempt(period: u32) -> Option<Server> {
        let period = period.to_string();
        let args = ["-r", "-S", "-t", "2000", "-p", "128", "-d", "dummy", "-r", "48000", "-p", &period];
        // The shell ends it when we do, however we end: our end of its stdin is closed then.
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

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
