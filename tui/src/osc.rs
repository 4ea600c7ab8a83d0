//! `sideman osc`: prints every OSC address.

use std::process::ExitCode;

use crate::stdout;

/// `osc`.
pub fn run() -> ExitCode {
    stdout::line(sideman_io::osc::namespace().trim_end());
    ExitCode::SUCCESS
}
