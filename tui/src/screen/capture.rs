//! What is written to stderr while the screen is up: by the log, by us, and by C libraries of devices that ask nobody. It goes through a
//! pipe to the screen's messages, so that no line smears the picture, and comes out on the terminal when the screen has gone.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// Lines that wait for the screen, and that are said again at the end.
const LINES: usize = 200;

/// The real stderr, while it is captured.
static REAL: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// A capture that runs.
pub struct Capture {
    /// Lines as they come; those that find no room are still said at the end.
    pub lines: Receiver<String>,
    reader: JoinHandle<VecDeque<String>>,
}

/// Begins: stderr is a pipe from now on. Where it was a file it still gets every line.
///
/// # Errors
/// The system gives no pipe.
pub fn begin() -> std::io::Result<Capture> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let real = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3)?;
    let mut file = (!real.is_terminal()).then(|| real.try_clone().map(File::from)).transpose()?;
    let (give, lines) = sync_channel(LINES);
    let reader = std::thread::Builder::new().name("stderr".into()).spawn(move || {
        let (mut read, mut line, mut kept) = (BufReader::new(File::from(read)), vec![], VecDeque::new());
        while read.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if let Some(file) = &mut file {
                let _ = file.write_all(&line);
            }
            let text = plain(&String::from_utf8_lossy(&line));
            line.clear();
            let _ = give.try_send(text.clone());
            if file.is_none() {
                kept.push_back(text);
                kept.drain(..kept.len().saturating_sub(LINES));
            }
        }
        kept
    })?;
    rustix::stdio::dup2_stderr(&write)?;
    *REAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(real);
    Ok(Capture { lines, reader })
}

/// Gives stderr back; false: it was not captured.
pub fn end() -> bool {
    let real = REAL.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Our end of the pipe was stderr itself: with it the reader ends.
    real.is_some_and(|real| rustix::stdio::dup2_stderr(&real).is_ok())
}

impl Capture {
    /// Gives stderr back and says there what was captured.
    pub fn finish(self) {
        if end()
            && let Ok(kept) = self.reader.join()
        {
            let mut out = std::io::stderr();
            kept.iter().for_each(|line| drop(writeln!(out, "{line}")));
        }
    }
}

/// Without colours and ends of lines.
fn plain(line: &str) -> String {
    let mut chars = line.trim_end().chars();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            // ESC [ numbers letter.
            '\x1b' => drop(chars.by_ref().skip(1).find(|c| c.is_ascii_alphabetic())),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_plain() {
        assert_eq!(super::plain("\x1b[33m WARN\x1b[0m a\tb\r\n"), " WARN a b");
    }
}
