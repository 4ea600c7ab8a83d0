//! Prints a command's results on stdout. If the reader closes the pipe early (`| head`), the program ends
//! without an error; if the disk is full, with one. A terminal that has closed takes nothing more, and that is no
//! error either.

use std::io::Write;

/// Prints a line.
pub fn line(text: impl AsRef<str>) {
    match writeln!(std::io::stdout().lock(), "{}", text.as_ref()) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        // What a terminal gives after it has closed.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {}
        Err(e) => {
            // stderr may be the same full disk.
            let _ = writeln!(std::io::stderr(), "sideman: can't write to stdout: {e}");
            std::process::exit(1);
        }
    }
}

/// Prints a JSON document.
pub fn json(value: &serde_json::Value) {
    line(format!("{value:#}"));
}
