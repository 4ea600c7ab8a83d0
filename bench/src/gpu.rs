//! Checks and speed of an NVIDIA GPU. Tokens, codes and samples are compared with the CPU's; then steps, codecs, whole hops and
//! matrices are timed, each with the bandwidth of a device-to-device copy in the same run.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use sideman_engine::codec::Codec;
use sideman_engine::live::{Session, SessionConfig};
use sideman_engine::lm::Lm;
use sideman_engine::model::FRAME;
use sideman_engine::model::Model;
use sideman_io::speed::{self, StepCase, Times};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Act, Backend, Linear, Rows};

use crate::{Precision, checks, models};

/// Frames of a hop.
const HOP: usize = 4;
/// Least total bytes of all copies of a matrix: more than any cache holds.
const SPREAD: usize = 512 << 20;

#[derive(Args)]
pub struct Gpu {
    /// Shapes with random weights (house, small, medium), or model directories
    #[arg(long, value_delimiter = ',', default_value = "models/house,small,medium")]
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
    let mut cuda = CudaBackend::new(0)?;
    let about = cuda.about()?;
    let say = |line: String| {
        if !args.json {
            println!("{line}");
        }
    };
    let copied = copy(&mut cuda)?;
    let (major, minor) = about.capability;
    say(format!("{} (sm_{major}{minor}), copies {:.0} GB/s", about.name, copied / 1e9));
    let (mut steps, mut verdicts, mut codecs, mut hops) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in &args.models {
        let dir = models::open(name)?;
        for precision in &args.precision {
            let format = (*precision).into();
            let (equal, tiles) = checks::model(&mut cuda, &dir, format, args.check)?;
            let lm = Lm::load(&mut cuda, &dir, format)?;
            let launches = checks::launches(&mut cuda, &lm)?;
            let (steps_checked, said) = (args.check, |equal| if equal { "equal" } else { "DIFFER" });
            say(format!(
                "{name} {}: {launches} kernels a step; {steps_checked} steps, tokens {}, by tensor cores {}",
                precision.name(),
                said(equal),
                said(tiles)
            ));
            verdicts.push(json!({
                "model": name, "precision": precision.name(), "launches": launches, "steps": steps_checked, "equal": equal,
                "tensor_cores_equal": tiles,
            }));
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
            let (Ok(on_gpu), Ok(on_cpu)) = (Codec::load(&mut cuda, &dir, stem), Codec::load(&mut CpuBackend::new(0), &dir, stem))
            else {
                continue;
            };
            codecs.push(codec(&mut cuda, &format!("{name} {stem}"), &on_gpu, &on_cpu, &say)?);
        }
        for precision in &args.precision {
            // Live play needs codecs, which a model with random weights lacks.
            let Ok(model) = Model::load(&mut cuda, &dir, (*precision).into()) else { continue };
            let times = live(&mut cuda, &model)?;
            let (p50, p99, p999) = (times.ms(0.5), times.ms(0.99), times.ms(0.999));
            say(format!("{name} {}: a hop of {HOP} frames p50 {p50:.2} ms, p99 {p99:.2}, p99.9 {p999:.2}", precision.name()));
            hops.push(json!({
                "model": name, "precision": precision.name(), "frames": HOP, "p50_ms": p50, "p99_ms": p99, "p99_9_ms": p999,
            }));
            fine(&cuda)?;
        }
    }
    for (name, books, factorised) in [("seanet x 1, factorised", 1, true), ("seanet x 4, euclidean", 4, false)] {
        let on_gpu = models::read_seanet(&mut cuda, books, factorised)?;
        let on_cpu = models::read_seanet(&mut CpuBackend::new(0), books, factorised)?;
        codecs.push(codec(&mut cuda, name, &on_gpu, &on_cpu, &say)?);
    }
    let matrices = matrices(&mut cuda, &args.precision, copied, &say)?;
    fine(&cuda)?;
    if args.json {
        let document = json!({
            "gpu": about.name, "capability": [major, minor], "copy_bytes_per_second": copied, "checks": verdicts, "steps": steps,
            "codecs": codecs, "hops": hops, "matrices": matrices,
        });
        println!("{document:#}");
    }
    match verdicts.iter().all(|c| c["equal"] == true) {
        true => Ok(()),
        false => bail!("the GPU's tokens are not the CPU's"),
    }
}

fn fine(cuda: &CudaBackend) -> Result<()> {
    cuda.failure().map_or(Ok(()), |why| bail!("{why}"))
}

/// Bytes a second, read and written, of a device-to-device copy: the best of five.
fn copy(cuda: &mut CudaBackend) -> Result<f64> {
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

/// Compares a codec with the CPU's and times it, as a multiple of real time.
fn codec(
    cuda: &mut CudaBackend,
    name: &str,
    on_gpu: &Codec<CudaBackend>,
    on_cpu: &Codec<CpuBackend>,
    say: &impl Fn(String),
) -> Result<Value> {
    let check = checks::codec(cuda, on_gpu, on_cpu)?;
    let (encode, decode) = speed::codec(cuda, on_gpu, 4)?;
    let (same, apart) = (&check["same_codes"], &check["samples_apart"]);
    say(format!(
        "codec {name}: encodes at {encode:.0} x real time, decodes at {decode:.0} x; same codes {same}, samples {apart} apart"
    ));
    fine(cuda)?;
    Ok(json!({"codec": name, "encode": encode, "decode": decode, "check": check}))
}

/// Times of the hops of ten seconds of guided live play: encoding, sampling, decoding and reading back.
fn live(cuda: &mut CudaBackend, model: &Model<CudaBackend>) -> Result<Times> {
    let config = SessionConfig { guided: true, ..SessionConfig::for_model(model.config()) };
    let mut session = Session::new(cuda, model, &config, None)?;
    let hop = |n: usize| (n * HOP * FRAME..(n + 1) * HOP * FRAME).map(|i| (i as f32 * 0.02).sin() * 0.4).collect::<Vec<f32>>();
    let mut times = Vec::new();
    for n in 0..10 * 50 / HOP {
        let heard = hop(n);
        let began = Instant::now();
        session.hop(cuda, model, &heard)?;
        times.push(began.elapsed());
    }
    Ok(Times::new(times))
}

/// Bytes a second of the matrices of a step; many copies of each are used in turn.
fn matrices(cuda: &mut CudaBackend, precisions: &[Precision], copied: f64, say: &impl Fn(String)) -> Result<Vec<Value>> {
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
                .map(|weight| Linear::<CudaBackend> { weight, bias: None, norm: None, act: Act::None, add: false })
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
