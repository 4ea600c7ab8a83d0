//! A small fuzzer for whatever reads files that may come from anywhere: seeds are damaged by dice with a fixed seed, and what gives an
//! answer not seen before becomes a seed itself. It needs no nightly compiler. An execution fails by a panic, or by holding more memory
//! at once than the input's size times a small constant. The binary `fuzz` runs it for long, `tests/fuzz.rs` for seconds.

mod damage;
mod targets;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use peak_alloc::PeakAlloc;

pub use damage::{Dice, damage};
pub use targets::{NAMES, target};

/// The longest input.
const MAX_INPUT: usize = 1 << 16;
/// The most seeds that are kept.
const MAX_SEEDS: usize = 1000;

/// A reader of inputs.
pub type Read = Box<dyn FnMut(&[u8]) -> Result<(), String>>;

/// What is fuzzed.
pub struct Target {
    /// Inputs to begin with.
    pub seeds: Vec<Vec<u8>>,
    /// Bytes that mean something to the reader, put in now and then.
    pub words: Vec<Vec<u8>>,
    /// Bytes that may be held at once: `most.0` for each of the input's, and `most.1` besides.
    pub most: (usize, usize),
    /// Reads an input: what it made of it, in words.
    pub read: Read,
}

/// What a run has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Inputs that were read without complaint.
    pub fine: u64,
    /// Answers that differ in more than numbers and names.
    pub answers: usize,
    /// The most bytes held at once, and the input's length.
    pub peak: (usize, usize),
}

/// Runs a target so many times; `tick` is called with the number of each.
///
/// # Errors
/// The first failure: what it was, and the file where the input was left.
pub fn run(name: &str, executions: u64, tick: &mut dyn FnMut(u64, &Seen)) -> Result<Seen, String> {
    let Target { mut seeds, words, most, mut read } = target(name).ok_or_else(|| format!("no target {name}: {NAMES:?}"))?;
    let mut dice = Dice::new(4);
    let mut seen = Seen::default();
    let mut answers = HashSet::new();
    // The first reads may fill caches that stay.
    for seed in &seeds {
        let _ = read(seed);
    }
    for n in 0..executions {
        let input =
            if (n as usize) < seeds.len() { seeds[n as usize].clone() } else { damage(&mut dice, &seeds, &words, MAX_INPUT) };
        let before = PeakAlloc.current_usage();
        PeakAlloc.reset_peak_usage();
        let answer = catch_unwind(AssertUnwindSafe(|| read(&input)));
        let held = PeakAlloc.peak_usage().saturating_sub(before);
        let what = match answer {
            Err(_) => Some("a panic".to_owned()),
            Ok(_) if held > most.0 * input.len() + most.1 => Some(format!("{held} bytes held for an input of {}", input.len())),
            Ok(answer) => {
                seen.fine += u64::from(answer.is_ok());
                if answers.len() < MAX_SEEDS && answers.insert(shape(answer.err())) && !seeds.contains(&input) {
                    seeds.push(input.clone());
                }
                None
            }
        };
        if held > seen.peak.0 {
            seen.peak = (held, input.len());
        }
        if let Some(what) = what {
            let left = left(name);
            std::fs::write(&left, &input).map_err(|e| format!("{}: {e}", left.display()))?;
            return Err(format!("{name}, execution {n}: {what}; the input is in {}", left.display()));
        }
        seen.answers = answers.len();
        tick(n, &seen);
    }
    Ok(seen)
}

/// Where an input that failed is left.
fn left(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sideman-fuzz-{name}"))
}

/// An answer without what differs from input to input: numbers, and what stands in quotes.
fn shape(answer: Option<String>) -> String {
    let text = answer.unwrap_or_default();
    text.split(['`', '"', '\'']).step_by(2).flat_map(str::chars).filter(|c| c.is_ascii_alphabetic()).take(100).collect()
}
