//! Runs the program in a pseudo-terminal: sends keys and reads the screen.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// How long a test waits on a busy machine before it fails.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A program in a terminal.
pub struct Pty {
    /// The program.
    pub child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    keys: Option<Box<dyn Write + Send>>,
    screen: Arc<Mutex<vt100::Parser>>,
    gone: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Pty {
    fn drop(&mut self) {
        // The program still runs if the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(dead_code)] // examples/picture.rs uses only a part of it.
impl Pty {
    /// Starts a program with `env` added to the test's environment.
    pub fn start(program: &Path, args: &[&str], size: (u16, u16), env: &[(&str, &str)]) -> Pty {
        Pty::start_with(program, args, size, env, true)
    }

    /// The same. If the terminal is not the program's controlling terminal (`controls`), no signal reports
    /// that it closes.
    pub fn start_with(program: &Path, args: &[&str], (cols, rows): (u16, u16), env: &[(&str, &str)], controls: bool) -> Pty {
        let pair = native_pty_system().openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        // The default would be the home folder.
        command.cwd(std::env::current_dir().unwrap());
        command.set_controlling_tty(controls);
        command.env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color");
        command.env("SIDEMAN_MODEL", model());
        // The configuration of the user who runs the tests must have no effect.
        command.env("XDG_CONFIG_HOME", "/nonexistent");
        env.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        let (mut reader, keys) = (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let size = |n: u16| n.try_into().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(cols), 0)));
        let (shown, gone) = (screen.clone(), Arc::new(AtomicBool::new(false)));
        let over = gone.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !over.load(Ordering::Relaxed)
                && let Ok(n) = reader.read(&mut bytes)
                && n > 0
            {
                shown.lock().unwrap().process(&bytes[..n]);
            }
        });
        Pty { child, master: Some(pair.master), keys: Some(keys), screen, gone, reader: Some(reader) }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        let out = self.keys.as_mut().unwrap();
        out.write_all(keys.as_bytes()).and_then(|()| out.flush()).unwrap();
    }

    /// The text on the screen.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Reads the screen itself.
    pub fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.screen.lock().unwrap().screen())
    }

    /// Waits until the screen's text fulfils a condition, and returns it.
    pub fn until(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let text = self.text();
            if is(&text) {
                return text;
            }
            assert!(began.elapsed() < TIMEOUT, "{what} is not shown:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a text.
    pub fn shows(&self, words: &str) -> String {
        self.until(words, |text| text.contains(words))
    }

    /// Waits for a row that begins with `begins` and contains `has`.
    pub fn row(&self, begins: &str, has: &str) {
        self.until(&format!("{begins} … {has}"), |text| row(text, begins).contains(has));
    }

    /// Waits until the row that begins with `begins` does not contain `has`.
    pub fn row_without(&self, begins: &str, has: &str) {
        self.until(&format!("{begins} without {has}"), |text| !row(text, begins).contains(has));
    }

    /// Changes the terminal's size.
    pub fn resize(&self, cols: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(rows.try_into().unwrap(), cols.try_into().unwrap());
        self.master.as_ref().unwrap().resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    /// Closes the terminal, as when a connection breaks. The reader thread also holds it and ends at the
    /// program's next output.
    pub fn hang_up(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        self.keys = None;
        self.master = None;
        self.reader.take().unwrap().join().unwrap();
    }

    /// Whether echo and line editing are on, as a shell has them.
    pub fn is_sane(&self) -> bool {
        let said = self.stty("-a");
        let words: Vec<&str> = said.split_whitespace().collect();
        words.contains(&"echo") && words.contains(&"icanon")
    }

    /// Runs stty on the terminal, as a shell could.
    pub fn stty(&self, argument: &str) -> String {
        let tty = self.master.as_ref().unwrap().tty_name().unwrap();
        let out = std::process::Command::new("stty").arg(argument).arg("-F").arg(tty).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Sends a signal, TSTP or CONT for example, and waits until the program is stopped, or is not.
    pub fn signal(&self, signal: &str, stopped: bool) {
        let pid = self.child.process_id().unwrap();
        let sent = std::process::Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
        assert!(sent.success());
        self.until(&format!("stopped: {stopped}"), |_| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T') == stopped
        });
    }

    /// Waits for the end of the program. Whether it was successful.
    pub fn ends(&mut self) -> bool {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(began.elapsed() < TIMEOUT, "it does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The row that begins with this text, after blanks and the sign of the selected stem.
pub fn row<'a>(text: &'a str, begins: &str) -> &'a str {
    text.lines().find(|line| line.trim_start_matches([' ', '▸']).starts_with(begins)).unwrap_or_default()
}

/// The random model of tests/golden.
pub fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/house")
}
