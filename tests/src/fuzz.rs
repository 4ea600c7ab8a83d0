//! A small fuzzer for the readers of files and messages that may come from anywhere. It needs no nightly compiler.
//!
//! It mutates seed inputs with a random seed that is given. An input whose outcome is new becomes a seed itself. An execution fails if the reader
//! panics, or if it allocates more memory at once than its target allows. `tests/memory.rs` runs each target for seconds, the binary
//! `fuzz` for as long as you like.

mod live;
mod mutate;
mod targets;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use peak_alloc::PeakAlloc;

pub use targets::{NAMES, target};

use crate::rng::Rng;
use mutate::mutate;

/// The longest input, in bytes.
const MAX_INPUT: usize = 1 << 16;
/// The most seeds.
const MAX_SEEDS: usize = 1000;

/// A function that reads one input.
pub type Read = Box<dyn FnMut(&[u8]) -> Result<(), String>>;

/// A reader to fuzz.
pub struct Target {
    /// Inputs to begin with.
    pub seeds: Vec<Vec<u8>>,
    /// Byte strings of the file format, inserted at times.
    pub tokens: Vec<Vec<u8>>,
    /// How much the reader may allocate at once.
    pub memory: MemoryLimit,
    /// Reads an input; the error is the reader's message.
    pub read: Read,
}

/// Bytes that may be allocated at once.
pub struct MemoryLimit {
    /// For each byte of the input.
    pub per_byte: usize,
    /// Besides.
    pub constant: usize,
}

/// Counts of a run.
#[derive(Debug, Default)]
pub struct Stats {
    /// Inputs that were read without an error.
    pub accepted: u64,
    /// Messages that differ in more than numbers and quoted names.
    pub outcomes: usize,
    /// The most bytes that were allocated at once, and the length of that input.
    pub peak: (usize, usize),
}

/// The random seed of the tests.
pub const SEED: u64 = 4;

/// Runs the target of a name `executions` times with a random seed. `progress` is called after each with its number.
///
/// # Errors
/// The first failure: what happened, and the file that holds the input.
pub fn run(name: &str, executions: u64, seed: u64, progress: &mut dyn FnMut(u64, &Stats)) -> Result<Stats, String> {
    let target = target(name).ok_or_else(|| format!("no target {name}; the targets are {}", NAMES.join(", ")))?;
    run_target(name, target, executions, seed, progress)
}

/// The same for a target of another crate. Memory is counted only in programs whose allocator is [`PeakAlloc`].
///
/// # Errors
/// Those of [`run`].
pub fn run_target(
    name: &str,
    target: Target,
    executions: u64,
    seed: u64,
    progress: &mut dyn FnMut(u64, &Stats),
) -> Result<Stats, String> {
    let Target { mut seeds, tokens, memory, mut read } = target;
    let mut rng = Rng(seed);
    let mut stats = Stats::default();
    let mut outcomes = HashSet::new();
    // The first reads may fill caches that are never freed.
    for seed in &seeds {
        let _ = read(seed);
    }
    for n in 0..executions {
        let input =
            if (n as usize) < seeds.len() { seeds[n as usize].clone() } else { mutate(&mut rng, &seeds, &tokens, MAX_INPUT) };
        let before = PeakAlloc.current_usage();
        PeakAlloc.reset_peak_usage();
        let result = catch_unwind(AssertUnwindSafe(|| read(&input)));
        let allocated = PeakAlloc.peak_usage().saturating_sub(before);
        let failure = match result {
            Err(_) => Some("a panic".to_owned()),
            Ok(_) if allocated > memory.per_byte * input.len() + memory.constant => {
                Some(format!("{allocated} bytes allocated for an input of {} bytes", input.len()))
            }
            Ok(result) => {
                stats.accepted += u64::from(result.is_ok());
                if outcomes.len() < MAX_SEEDS && outcomes.insert(outcome(result.err())) && !seeds.contains(&input) {
                    seeds.push(input.clone());
                }
                None
            }
        };
        if allocated > stats.peak.0 {
            stats.peak = (allocated, input.len());
        }
        if let Some(failure) = failure {
            let path = failed_input(name);
            std::fs::write(&path, &input).map_err(|e| format!("{}: {e}", path.display()))?;
            return Err(format!("{name}, execution {n}: {failure}; the input is in {}", path.display()));
        }
        stats.outcomes = outcomes.len();
        progress(n, &stats);
    }
    Ok(stats)
}

/// The file for an input that failed.
fn failed_input(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sideman-fuzz-{name}"))
}

/// A message without numbers and quoted text, which differ from input to input.
fn outcome(message: Option<String>) -> String {
    let text = message.unwrap_or_default();
    text.split(['`', '"', '\'']).step_by(2).flat_map(str::chars).filter(|c| c.is_ascii_alphabetic()).take(100).collect()
}
