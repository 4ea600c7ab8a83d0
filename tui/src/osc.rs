//! `sideman osc`: the whole OSC namespace, from the table that the server reads.

use std::process::ExitCode;

use crate::report;

/// `osc`.
pub fn run() -> ExitCode {
    report::line(sideman_io::osc::namespace().trim_end());
    ExitCode::SUCCESS
}
