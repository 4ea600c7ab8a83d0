//! Where the time of a hop goes: an observer of the CPU backend that adds up the time of each operation, by the part of the hop
//! that it belongs to.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use sideman_kernels::cpu::Operation;

/// Parts of a hop, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The musician's samples to codes.
    Encode,
    /// A pass of the language model that ends with sampled tokens.
    Step,
    /// A pass that feeds known columns to the next window.
    Prime,
    /// Codes to samples.
    Decode,
}

/// All of them, with their names.
pub const PARTS: [(Part, &str); 4] =
    [(Part::Encode, "encode"), (Part::Step, "steps"), (Part::Prime, "priming"), (Part::Decode, "decode")];

/// What is timed in each part, with names; the last row is what lies between operations.
pub const STAGES: [(Option<Operation>, &str); 14] = [
    (Some(Operation::Embed), "embeddings"),
    (Some(Operation::Product), "products"),
    (Some(Operation::Attend), "attention"),
    (Some(Operation::Sample), "sampler"),
    (Some(Operation::Advance), "position"),
    (Some(Operation::Convolve), "convolutions"),
    (Some(Operation::Lstm), "LSTM"),
    (Some(Operation::Spectrum), "log spectra"),
    (Some(Operation::Polar), "polar spectra"),
    (Some(Operation::Istft), "inverse FFT"),
    (Some(Operation::Quantize), "quantizer"),
    (Some(Operation::Dequantize), "code vectors"),
    (Some(Operation::Copy), "copies"),
    (None, "session and listener"),
];

/// The time of each stage of one part.
type Times = [Duration; STAGES.len()];

/// Times that have been added up since [`start`].
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// By part and stage, in the order of [`PARTS`] and [`STAGES`].
    pub times: [Times; PARTS.len()],
    /// The last event.
    last: Option<Instant>,
    /// Codes have been looked up: what follows is the decoder.
    decoding: bool,
    /// The pass of the language model that runs: whether it samples is known at its end.
    pass: Option<Times>,
}

thread_local! {
    static STAGES_OF_THREAD: RefCell<Stages> = RefCell::default();
}

/// Starts a hop.
pub fn start() {
    STAGES_OF_THREAD.with_borrow_mut(|stages| {
        stages.last = Some(Instant::now());
        stages.decoding = false;
    });
}

/// Ends a hop; gives all times since the last [`take`].
pub fn end() {
    STAGES_OF_THREAD.with_borrow_mut(|stages| stages.event(None, true));
}

/// The times so far; the next ones start at 0.
pub fn take() -> Stages {
    STAGES_OF_THREAD.take()
}

/// The observer.
pub fn observe(operation: Operation, starts: bool) {
    STAGES_OF_THREAD.with_borrow_mut(|stages| stages.event(Some(operation), starts));
}

impl Stages {
    /// Counts the time since the last event: what lies before the start of an operation is the session's.
    fn event(&mut self, operation: Option<Operation>, starts: bool) {
        let now = Instant::now();
        let took = self.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        let stage = STAGES.iter().position(|s| s.0 == operation.filter(|_| !starts)).expect("every operation has a stage");
        match (operation, starts) {
            (Some(Operation::Embed), true) => {
                self.add(stage, took);
                self.pass = Some(Times::default());
            }
            (Some(Operation::Dequantize), true) => {
                self.add(stage, took);
                self.decoding = true;
            }
            (Some(ends @ (Operation::Sample | Operation::Advance)), false) => {
                self.add(stage, took);
                let part = if ends == Operation::Sample { Part::Step } else { Part::Prime };
                let pass = self.pass.take().unwrap_or_default();
                self.times[part as usize].iter_mut().zip(pass).for_each(|(sum, time)| *sum += time);
            }
            _ => self.add(stage, took),
        }
    }

    fn add(&mut self, stage: usize, took: Duration) {
        let part = if self.decoding { Part::Decode } else { Part::Encode };
        let times = self.pass.as_mut().unwrap_or(&mut self.times[part as usize]);
        times[stage] += took;
    }

    /// Whether any pass fed known columns.
    pub fn primed(&self) -> bool {
        self.times[Part::Prime as usize].iter().any(|time| !time.is_zero())
    }

    /// The time of all stages.
    pub fn total(&self) -> Duration {
        self.times.iter().flatten().sum()
    }

    /// Adds the times of another hop.
    pub fn sum(&mut self, other: &Stages) {
        self.times.iter_mut().flatten().zip(other.times.iter().flatten()).for_each(|(sum, time)| *sum += *time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_belong_to_the_part_in_which_they_run() {
        let run = |operations: &[Operation]| {
            start();
            for operation in operations {
                observe(*operation, true);
                std::thread::sleep(Duration::from_millis(2));
                observe(*operation, false);
            }
            end();
            take()
        };
        use Operation::{Advance, Dequantize, Embed, Product, Sample};
        let stages = run(&[Product, Embed, Product, Sample, Embed, Product, Product, Advance, Dequantize, Product]);
        let product = STAGES.iter().position(|s| s.0 == Some(Product)).unwrap();
        for (part, _) in PARTS {
            assert!(stages.times[part as usize][product] >= Duration::from_millis(2), "{part:?}");
        }
        assert!(stages.times[Part::Prime as usize][product] >= Duration::from_millis(4));
        assert!(stages.primed() && stages.total() >= Duration::from_millis(20));
        assert!(!run(&[Product, Embed, Sample]).primed());
    }
}
