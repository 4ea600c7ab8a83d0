//! Captures stderr while the screen is shown: the log, our own messages, and those of the audio systems' C
//! libraries. Lines go through a pipe to the screen's messages instead of over the picture, and are printed
//! on the terminal when the screen closes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// Lines that are queued for the screen, and lines that are kept to be printed at the end.
const MAX_LINES: usize = 200;

/// The real stderr, while it is captured.
static REAL: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// A running capture.
pub struct Capture {
    /// The lines. A line that finds the queue full is still printed at the end.
    pub lines: Receiver<String>,
    reader: JoinHandle<VecDeque<String>>,
}

/// Replaces stderr by a pipe. If stderr is a file and not a terminal, the file still gets every line.
///
/// # Errors
/// The system has no pipe or thread for it.
pub fn begin() -> std::io::Result<Capture> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let real = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3)?;
    let mut file = (!real.is_terminal()).then(|| real.try_clone().map(File::from)).transpose()?;
    let (give, lines) = sync_channel(MAX_LINES);
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
                kept.drain(..kept.len().saturating_sub(MAX_LINES));
            }
        }
        kept
    })?;
    rustix::stdio::dup2_stderr(&write)?;
    *REAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(real);
    Ok(Capture { lines, reader })
}

/// Restores stderr. `false`: it was not captured.
pub fn end() -> bool {
    let real = REAL.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Stderr was the only writer of the pipe: the reader thread ends.
    real.is_some_and(|real| rustix::stdio::dup2_stderr(&real).is_ok())
}

impl Capture {
    /// Restores stderr and prints the captured lines there.
    pub fn finish(self) {
        if end()
            && let Ok(kept) = self.reader.join()
        {
            let mut out = std::io::stderr();
            kept.iter().for_each(|line| drop(writeln!(out, "{line}")));
        }
    }
}

/// The line without colour codes, line ending and control characters.
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
    fn a_captured_line_has_no_colour_codes() {
        assert_eq!(super::plain("\x1b[33m WARN\x1b[0m a\tb\r\n"), " WARN a b");
    }
}
