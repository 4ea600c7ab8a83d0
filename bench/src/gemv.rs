//! Speed of one matrix times one or two rows (a step) or many rows (a prefill). Many copies of the matrix are used in turn, so
//! that each is read from memory and not from a cache.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use sideman_io::speed::Times;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Act, Backend, Format, Linear, Rows};

use crate::{Common, Multiplied, Precision};

/// Least total bytes of all copies of a matrix.
const SPREAD: usize = 512 << 20;

#[derive(Args)]
pub struct Gemv {
    /// Widths of the model: its matrices are [3d, d], [d, d], [4d, d] and [d, 4d]
    #[arg(long, value_delimiter = ',', default_value = "384,1024,1536", value_parser = clap::value_parser!(u16).range(32..=8192))]
    dims: Vec<u16>,
    /// Precisions of the weights
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32,bf16,q8,q4")]
    precision: Vec<Precision>,
    /// Activations that q8 and q4 are multiplied by; with several, they are timed in turns
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32,int8")]
    activations: Vec<Multiplied>,
    /// Rows of x: one for each lane in a step; 64, 128 or more in a prefill
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u16).range(1..=4096))]
    rows: Vec<u16>,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: &Gemv) -> Result<()> {
    let mut machine = args.common.machine();
    if !args.common.json {
        println!(
            "{:>12} {:>5} {:>5} {:>5} {:>10} {:>10} {:>8} {:>7} {:>8} {:>9}",
            "matrix", "prec", "acts", "rows", "p50 us", "p99 us", "GB/s", "memory", "Gop/s", "per core"
        );
    }
    let mut out = Vec::new();
    for d in args.dims.iter().map(|d| usize::from(*d)) {
        for (rows, cols) in [(3 * d, d), (d, d), (4 * d, d), (d, 4 * d)] {
            for precision in &args.precision {
                let bytes = match (*precision).into() {
                    Format::F32 => rows * cols * 4,
                    Format::Bf16 => rows * cols * 2,
                    Format::Q8 => rows * cols / 32 * 36,
                    Format::Q4 => rows * cols / 32 * 20,
                };
                let cases = Multiplied::of(*precision, &args.activations)
                    .into_iter()
                    .map(|activations| {
                        let mut cpu = machine.cpu_with(activations.into());
                        Ok((activations, copies(&mut cpu, rows, cols, *precision, bytes)?))
                    })
                    .collect::<Result<Vec<_>>>()?;
                // One backend for all: the threads of another would spin beside it.
                let cpu = &mut machine.cpu;
                for lanes in args.rows.iter().map(|r| usize::from(*r)) {
                    let mut times = vec![Vec::new(); cases.len()];
                    let (x, mut y) = (cpu.buf(lanes * cols)?, cpu.buf(lanes * rows)?);
                    for n in (0..SPREAD.div_ceil(bytes)).chain(0..SPREAD.div_ceil(bytes)) {
                        for ((_, copies), times) in cases.iter().zip(&mut times) {
                            let began = Instant::now();
                            cpu.linear(&copies[n], &x, Rows::packed(lanes, cols), &mut y, Rows::packed(lanes, rows));
                            times.push(began.elapsed());
                        }
                    }
                    for ((activations, ..), times) in cases.iter().zip(times) {
                        let times = Times::new(times);
                        let (p50, p99) = (times.ms(0.5), times.ms(0.99));
                        let rate = bytes as f64 / (p50 * 1e-3);
                        let share = rate / machine.bandwidth;
                        let ops = (2 * rows * cols * lanes) as f64 / (p50 * 1e-3);
                        if !args.common.json {
                            println!(
                                "{:>12} {:>5} {:>5} {lanes:>5} {:>10.1} {:>10.1} {:>8.1} {:>5.0} % {:>8.1} {:>9.1}",
                                format!("{rows} x {cols}"),
                                precision.name(),
                                activations.name(),
                                p50 * 1e3,
                                p99 * 1e3,
                                rate / 1e9,
                                share * 100.0,
                                ops / 1e9,
                                ops / 1e9 / machine.threads as f64
                            );
                        }
                        out.push(json!({
                            "rows": rows, "cols": cols, "precision": precision.name(), "activations": activations.name(), "x_rows": lanes,
                            "p50_us": p50 * 1e3, "p99_us": p99 * 1e3, "bytes": bytes, "bytes_per_second": rate, "bandwidth_share": share,
                            "operations_per_second": ops,
                        }));
                    }
                }
            }
        }
    }
    if args.common.json {
        println!("{:#}", machine.document(out));
    }
    Ok(())
}

/// As many copies of a matrix as have [`SPREAD`] bytes together.
fn copies(cpu: &mut CpuBackend, rows: usize, cols: usize, precision: Precision, bytes: usize) -> Result<Vec<Linear<CpuBackend>>> {
    let values: Vec<f32> = (0..rows * cols).map(|i| (i % 61) as f32 / 61.0 - 0.5).collect();
    (0..SPREAD.div_ceil(bytes))
        .map(|_| {
            let weight = cpu.mat(rows, cols, &values, precision.into())?;
            Ok(Linear { weight, bias: None, norm: None, act: Act::None, add: false })
        })
        .collect()
}
