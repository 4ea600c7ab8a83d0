//! Prints a command's results on stdout. If the reader closes the pipe early (`| head`), the program ends
//! without an error.

use std::io::Write;

/// Prints a line.
pub fn line(text: impl AsRef<str>) {
    if writeln!(std::io::stdout().lock(), "{}", text.as_ref()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a JSON document.
pub fn json(value: &serde_json::Value) {
    line(format!("{value:#}"));
}
