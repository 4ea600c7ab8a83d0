//! `sideman-bench` measures the engine's speed. Each figure comes with the memory bandwidth measured in the same run.
//!
//! Compare only shares of the bandwidth, or ratios within one run: figures of different runs or machines are not comparable.

mod about;
mod checks;
mod codec;
mod gemv;
mod gpu;
mod listen;
mod live;
mod models;
mod stages;
mod step;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sideman_io::speed;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Activations, Format};

/// Measure the engine's speed.
#[derive(Parser)]
#[command(name = "sideman-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Time one step of the transformer, and a prefill, in milliseconds.
    #[command(
        after_help = "Example:\n  sideman-bench step --models small,medium --precision f32,bf16,q8,q4 --lanes 1,2 --context 250,1250"
    )]
    Step(step::Step),
    /// Time the codecs at full size, as a multiple of real time.
    #[command(after_help = "Example:\n  sideman-bench codec --seconds 10")]
    Codec(codec::Codecs),
    /// Time products of one matrix with a few rows, in bytes a second.
    #[command(after_help = "Example:\n  sideman-bench gemv --dims 1024,1536")]
    Gemv(gemv::Gemv),
    /// Time the listener of live play, in milliseconds a frame.
    #[command(after_help = "Example:\n  sideman-bench listen --seconds 20")]
    Listen(listen::Listen),
    /// Time whole hops of live play, in milliseconds, and show where the time goes.
    #[command(after_help = "Example:\n  sideman-bench live --lag 4,8 --hop 1,4 --stages")]
    Live(live::Live),
    /// Check and time an NVIDIA GPU in one run.
    #[command(after_help = "Example:\n  sideman-bench gpu --json > bench/results/NAME.json")]
    Gpu(gpu::Gpu),
}

/// Options of every benchmark.
#[derive(Args)]
struct Common {
    /// Threads to compute with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Print a JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// The machine at the time of a run.
struct Machine {
    threads: usize,
    /// Bytes a second that memory is read with.
    bandwidth: f64,
    cpu: CpuBackend,
}

impl Common {
    fn machine(&self) -> Machine {
        let threads =
            self.threads.map(usize::from).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let machine = Machine { threads, bandwidth: speed::memory_bandwidth(threads), cpu: CpuBackend::new(threads) };
        if !self.json {
            let isa = machine.cpu.isa().name();
            println!("{threads} threads, {isa}, memory {:.1} GB/s\n", machine.bandwidth / 1e9);
        }
        machine
    }
}

impl Machine {
    /// Another backend with the same threads, for other activations.
    fn cpu_with(&self, activations: Activations) -> CpuBackend {
        CpuBackend::new(self.threads).with_activations(activations)
    }

    fn document(&self, rows: Vec<serde_json::Value>) -> serde_json::Value {
        let mut document = about::document();
        document["threads"] = self.threads.into();
        document["isa"] = self.cpu.isa().name().into();
        document["bandwidth_bytes_per_second"] = self.bandwidth.into();
        document["rows"] = rows.into();
        document
    }
}

/// How q8 and q4 weights are multiplied.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Multiplied {
    /// By activations in f32
    F32,
    /// By activations in 8-bit integers
    Int8,
}

impl Multiplied {
    fn name(self) -> &'static str {
        match self {
            Multiplied::F32 => "f32",
            Multiplied::Int8 => "int8",
        }
    }

    /// Those of `all` that a precision has: weights of floats have one way.
    fn of(precision: Precision, all: &[Multiplied]) -> Vec<Multiplied> {
        match precision {
            Precision::F32 | Precision::Bf16 => vec![Multiplied::F32],
            Precision::Q8 | Precision::Q4 => all.to_vec(),
        }
    }
}

impl From<Multiplied> for Activations {
    fn from(multiplied: Multiplied) -> Self {
        match multiplied {
            Multiplied::F32 => Activations::F32,
            Multiplied::Int8 => Activations::Int8,
        }
    }
}

/// Precision of the weights.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    F32,
    Bf16,
    Q8,
    Q4,
}

impl Precision {
    fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Q8 => "q8",
            Precision::Q4 => "q4",
        }
    }
}

impl From<Precision> for Format {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Format::F32,
            Precision::Bf16 => Format::Bf16,
            Precision::Q8 => Format::Q8,
            Precision::Q4 => Format::Q4,
        }
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Step(args) => step::run(&args),
        Command::Codec(args) => codec::run(&args),
        Command::Gemv(args) => gemv::run(&args),
        Command::Listen(args) => {
            listen::run(&args);
            Ok(())
        }
        Command::Live(args) => live::run(&args),
        Command::Gpu(args) => gpu::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sideman-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
