//! Whether a terminal understands escape sequences: colours, bars, the screen. A terminal that doesn't, as a serial console or an
//! editor's shell, says so with `TERM=dumb` or has no `TERM`.

use std::ffi::OsStr;
use std::io::IsTerminal;

/// Whether the terminal understands them. It may still be that a stream is no terminal.
pub fn are_understood() -> bool {
    // Windows sets no TERM, and its console understands them.
    cfg!(windows) || understood_by(std::env::var_os("TERM").as_deref())
}

fn understood_by(term: Option<&OsStr>) -> bool {
    term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether stderr is a terminal that understands them.
pub fn on_stderr() -> bool {
    std::io::stderr().is_terminal() && are_understood()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_says_it_is_dumb_or_says_nothing_gets_no_escapes() {
        for (term, understood) in [(None, false), (Some(""), false), (Some("dumb"), false), (Some("xterm"), true)] {
            assert_eq!(understood_by(term.map(OsStr::new)), understood, "{term:?}");
        }
    }
}
