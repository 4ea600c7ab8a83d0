//! `sideman keys`: the keys of the screen, as they are bound.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Keys;
use crate::screen::Keymap;
use crate::stdout;

/// `keys`.
///
/// # Errors
/// What is wrong with the file of keys.
pub fn run(args: &Keys) -> Result<ExitCode> {
    Keymap::find(args.keys.as_deref())?.lines().iter().for_each(|line| stdout::line(line.trim_end()));
    Ok(ExitCode::SUCCESS)
}
