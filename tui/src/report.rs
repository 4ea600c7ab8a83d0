//! What a command says on stdout. A pipe that closes early (`| head`) ends the program quietly, as elsewhere on Unix.

use std::io::Write;

/// One line on stdout.
pub fn line(text: impl AsRef<str>) {
    if writeln!(std::io::stdout().lock(), "{}", text.as_ref()).is_err() {
        std::process::exit(0);
    }
}

/// A JSON document on stdout.
pub fn json(value: &serde_json::Value) {
    line(format!("{value:#}"));
}
