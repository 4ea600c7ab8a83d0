//! An NVIDIA GPU, in one command for a machine that has one: the CPU's tokens first, then matrices, steps and codecs, each beside
//! the rate at which the GPU copies its own memory in the same run.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use sideman_engine::lm::{Lm, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_engine::text::Hidden;
use sideman_io::speed::{self, StepCase};
use sideman_kernels::cpu::Cpu;
use sideman_kernels::cuda::Cuda;
use sideman_kernels::{Act, Format, Linear, Ops, Rows, Sampling, UNKNOWN};

use crate::{Precision, models};

/// Bytes that all copies of a matrix take together at least: beyond every cache.
const SPREAD: usize = 512 << 20;

#[derive(Args)]
pub struct Gpu {
    /// Shapes with random weights (house, small, medium), or model directories
    #[arg(long, value_delimiter = ',', default_value = "house,small,medium")]
    models: Vec<String>,
    /// Precisions of the weights
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bf16,q8,q4")]
    precision: Vec<Precision>,
    /// Lanes: 1, or an even number (songs with guidance)
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    lanes: Vec<u8>,
    /// Steps in the cache before the first one that is timed
    #[arg(long, value_delimiter = ',', default_value = "250,1400")]
    context: Vec<usize>,
    /// Steps that are timed
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Steps whose tokens are compared with the CPU's
    #[arg(long, default_value_t = 20)]
    check: usize,
    /// Print a JSON document instead of lines
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Gpu) -> Result<()> {
    let mut cuda = Cuda::new(0)?;
    let about = cuda.about()?;
    let say = |line: String| {
        if !args.json {
            println!("{line}");
        }
    };
    let copied = copy(&mut cuda)?;
    let (major, minor) = about.capability;
    say(format!("{} (sm_{major}{minor}), copies {:.0} GB/s", about.name, copied / 1e9));
    let (mut steps, mut checks, mut codecs) = (Vec::new(), Vec::new(), Vec::new());
    for name in &args.models {
        let dir = models::open(name)?;
        for precision in &args.precision {
            let format = (*precision).into();
            let equal = tokens(&mut cuda, &dir, format, args.check)? == tokens(&mut Cpu::new(0), &dir, format, args.check)?;
            say(format!("{name} {}: {} steps, tokens {}", precision.name(), args.check, if equal { "equal" } else { "DIFFER" }));
            checks.push(json!({"model": name, "precision": precision.name(), "steps": args.check, "equal": equal}));
            let lm = Lm::load(&mut cuda, &dir, format)?;
            for (&lanes, &context) in args.lanes.iter().flat_map(|l| args.context.iter().map(move |c| (l, c))) {
                let case = StepCase { songs: usize::from(lanes).div_ceil(2), guided: lanes > 1, context, steps: args.steps };
                let (prefill, times) = speed::step(&mut cuda, &lm, case)?;
                let (p50, p99, p999) = (times.ms(0.5), times.ms(0.99), times.ms(0.999));
                let bytes = speed::step_bytes(&dir.config, format, case);
                let share = bytes / (p50 * 1e-3) / copied;
                let prefill = prefill.as_secs_f64() * 1e3;
                say(format!(
                    "{name} {} {lanes} lanes, context {context}: p50 {p50:.3} ms, p99 {p99:.3}, prefill {prefill:.1} ms, {:.0} % of copies",
                    precision.name(),
                    share * 100.0
                ));
                steps.push(json!({
                    "model": name, "precision": precision.name(), "lanes": lanes, "context": context, "p50_ms": p50, "p99_ms": p99,
                    "p99_9_ms": p999, "prefill_ms": prefill, "bytes": bytes, "copy_share": share,
                }));
                fine(&cuda)?;
            }
        }
        for stem in &dir.config.stems {
            let Ok(codec) = sideman_engine::codec::Codec::load(&mut cuda, &dir, stem) else { continue };
            let (encode, decode) = speed::codec(&mut cuda, &codec, 4)?;
            say(format!("{name} codec {stem}: encodes at {encode:.0} x real time, decodes at {decode:.0} x"));
            codecs.push(json!({"model": name, "stem": stem, "encode": encode, "decode": decode}));
        }
    }
    let matrices = matrices(&mut cuda, &args.precision, copied, &say)?;
    fine(&cuda)?;
    if args.json {
        let document = json!({
            "gpu": about.name, "capability": [major, minor], "copy_bytes_per_second": copied, "checks": checks, "steps": steps,
            "codecs": codecs, "matrices": matrices,
        });
        println!("{document:#}");
    }
    match checks.iter().all(|c| c["equal"] == true) {
        true => Ok(()),
        false => bail!("the GPU's tokens are not the CPU's"),
    }
}

fn fine(cuda: &Cuda) -> Result<()> {
    cuda.fault().map_or(Ok(()), |why| bail!("{why}"))
}

/// Bytes a second, read and written, of a copy from the GPU's memory to itself: the best of five.
fn copy(cuda: &mut Cuda) -> Result<f64> {
    let len = (SPREAD / 4).next_multiple_of(1024);
    let (a, mut b) = (cuda.buf(len)?, cuda.buf(len)?);
    let rows = Rows::packed(len / 1024, 1024);
    let mut best: f64 = 0.0;
    for _ in 0..5 {
        cuda.wait();
        let began = Instant::now();
        cuda.copy(&a, rows, &mut b, rows, 1024);
        cuda.wait();
        best = best.max(8.0 * len as f64 / began.elapsed().as_secs_f64());
    }
    fine(cuda)?;
    Ok(best)
}

/// Tokens of a guided run.
fn tokens<O: Ops>(ops: &mut O, dir: &ModelDir, format: Format, frames: usize) -> Result<Vec<Vec<i32>>> {
    let lm = Lm::load(ops, dir, format)?;
    let config = lm.config();
    let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
    let hidden = config.text.as_ref().map(|t| Hidden { len: 16, data: vec![0.1; 16 * t.dim] });
    let spec = RunSpec {
        songs: 1,
        guided: true,
        delays: &delays,
        frames,
        texts: &[hidden.as_ref()],
        text_room: 0,
        kv: Format::F32,
        block: 16,
        sampling: Sampling { temperature: 1.0, top_k: 250, top_p: 0.0, cfg: 3.0, seed: 1, frame_base: 0 },
    };
    let mut run = lm.run(ops, &spec)?;
    while run.next(ops, &lm, usize::MAX) > 0 {}
    let row = |ops: &mut O, k| {
        let mut row = vec![UNKNOWN; frames];
        run.codes(ops, 0, k, 0, &mut row);
        row
    };
    Ok((0..config.streams.len()).map(|k| row(ops, k)).collect())
}

/// Bytes a second of the matrices of a step, many copies of each gone through in turn.
fn matrices(cuda: &mut Cuda, precisions: &[Precision], copied: f64, say: &impl Fn(String)) -> Result<Vec<Value>> {
    let mut out = Vec::new();
    for (rows, cols) in [384, 1536].into_iter().flat_map(|d| [(3 * d, d), (d, d), (4 * d, d), (d, 4 * d)]) {
        let values: Vec<f32> = (0..rows * cols).map(|i| (i % 61) as f32 / 61.0 - 0.5).collect();
        for precision in precisions {
            let weight = cuda.mat(rows, cols, &values, (*precision).into())?;
            let bytes = weight.bytes();
            let mut copies = vec![weight];
            while copies.len() < SPREAD.div_ceil(bytes) {
                copies.push(cuda.mat(rows, cols, &values, (*precision).into())?);
            }
            let linears: Vec<_> = (copies.into_iter())
                .map(|weight| Linear::<Cuda> { weight, bias: None, norm: None, act: Act::None, add: false })
                .collect();
            for lanes in [1, 2, 8] {
                let (x, mut y) = (cuda.buf(lanes * cols)?, cuda.buf(lanes * rows)?);
                let mut sweep = || {
                    cuda.wait();
                    let began = Instant::now();
                    for linear in &linears {
                        cuda.linear(linear, &x, Rows::packed(lanes, cols), &mut y, Rows::packed(lanes, rows));
                    }
                    cuda.wait();
                    began.elapsed().as_secs_f64() / linears.len() as f64
                };
                let took = (0..3).map(|_| sweep()).fold(f64::INFINITY, f64::min);
                let rate = bytes as f64 / took;
                say(format!(
                    "{rows} x {cols} {} on {lanes} rows: {:.1} us, {:.0} GB/s, {:.0} % of copies",
                    precision.name(),
                    took * 1e6,
                    rate / 1e9,
                    rate / copied * 100.0
                ));
                out.push(json!({
                    "rows": rows, "cols": cols, "precision": precision.name(), "lanes": lanes, "us": took * 1e6,
                    "bytes_per_second": rate, "copy_share": rate / copied,
                }));
            }
        }
    }
    Ok(out)
}
