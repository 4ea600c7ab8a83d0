//! One step of the transformer, and the prefill before it, for shapes × precisions × lanes × contexts.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use sideman_engine::lm::Lm;
use sideman_io::speed::{self, StepCase, Times};

use crate::{Common, Multiplied, Precision, models};

#[derive(Args)]
pub struct Step {
    /// Shapes with random weights (house, small, medium), or model directories
    #[arg(long, value_delimiter = ',', default_value = "house,small")]
    models: Vec<String>,
    /// Precisions of the weights
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32,bf16,q8,q4")]
    precision: Vec<Precision>,
    /// Activations that q8 and q4 are multiplied by; with several, they are timed in turns
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32,int8")]
    activations: Vec<Multiplied>,
    /// Runs of each case
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Lanes: 1, or 2 (guidance)
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u8).range(1..=2))]
    lanes: Vec<u8>,
    /// Steps in the cache before the first one that is timed
    #[arg(long, value_delimiter = ',', default_value = "250,1250")]
    context: Vec<usize>,
    /// Steps that are timed
    #[arg(long, default_value_t = 100)]
    steps: usize,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: &Step) -> Result<()> {
    let mut machine = args.common.machine();
    if !args.common.json {
        println!(
            "{:10} {:>5} {:>5} {:>5} {:>7} {:>10} {:>10} {:>12} {:>9} {:>7}",
            "model", "prec", "acts", "lanes", "context", "p50 ms", "p99 ms", "prefill ms", "MB/step", "memory"
        );
    }
    let mut rows = Vec::new();
    for name in &args.models {
        let dir = models::open(name)?;
        for precision in &args.precision {
            let format = (*precision).into();
            let loaded = Multiplied::of(*precision, &args.activations)
                .into_iter()
                .map(|activations| {
                    let mut cpu = machine.cpu_with(activations.into());
                    let lm = Lm::load(&mut cpu, &dir, format)?;
                    Ok((activations, lm))
                })
                .collect::<Result<Vec<_>>>()?;
            for lanes in &args.lanes {
                for context in &args.context {
                    let case = StepCase { songs: 1, guided: *lanes == 2, context: *context, steps: args.steps };
                    let mut measured = vec![(Vec::new(), Vec::new()); loaded.len()];
                    for _ in 0..args.rounds {
                        for ((_, lm), (prefills, steps)) in loaded.iter().zip(&mut measured) {
                            let (prefill, times) = speed::step(&mut machine.cpu, lm, case)?;
                            prefills.push(prefill);
                            steps.push(times);
                        }
                    }
                    let bytes = speed::step_bytes(&dir.config, format, case);
                    // Measured here, not at the start: on a shared machine it changes with time.
                    let bandwidth = speed::memory_bandwidth(machine.threads);
                    for ((activations, ..), (prefills, steps)) in loaded.iter().zip(measured) {
                        let (prefill, times) = (Times::new(prefills).ms(0.5), Times::of(steps));
                        let (p50, p99) = (times.ms(0.5), times.ms(0.99));
                        let share = bytes / (p50 * 1e-3) / bandwidth;
                        if !args.common.json {
                            println!(
                                "{:10} {:>5} {:>5} {lanes:>5} {context:>7} {p50:>10.3} {p99:>10.3} {prefill:>12.1} {:>9.1} {:>5.0} %",
                                dir.config.name,
                                precision.name(),
                                activations.name(),
                                bytes / 1e6,
                                share * 100.0
                            );
                        }
                        rows.push(json!({
                            "model": dir.config.name, "precision": precision.name(), "activations": activations.name(), "lanes": lanes,
                            "context": context, "steps": args.steps, "rounds": args.rounds, "p50_ms": p50, "p99_ms": p99,
                            "prefill_ms": prefill, "bytes": bytes, "bandwidth_bytes_per_second": bandwidth, "bandwidth_share": share,
                        }));
                    }
                }
            }
        }
    }
    if args.common.json {
        println!("{:#}", machine.document(rows));
    }
    Ok(())
}
