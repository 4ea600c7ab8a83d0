//! `sideman osc`: the whole OSC namespace, from the table that the server reads.

use std::process::ExitCode;

use crate::stdout;

/// `osc`.
pub fn run() -> ExitCode {
    stdout::line(sideman_io::osc::namespace().trim_end());
    ExitCode::SUCCESS
}
