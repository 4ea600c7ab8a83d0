//! `sideman keys`: prints the keys of the screen.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Keys;
use crate::screen::Keymap;
use crate::stdout;

/// `keys`.
///
/// # Errors
/// The file of keys is not valid.
pub fn run(args: &Keys) -> Result<ExitCode> {
    Keymap::find(args.keys.as_deref())?.lines().iter().for_each(|line| stdout::line(line.trim_end()));
    Ok(ExitCode::SUCCESS)
}
