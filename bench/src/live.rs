//! `sideman-bench live`: whole hops of live play between buffers, and where their time goes.
//!
//! A hop encodes what the musician played, runs a step for each frame (two lanes: guidance), feeds the next window while one is
//! prepared, and decodes the band. With `--pace real` the thread sleeps between hops as it does in front of a sound card, so that
//! other programs use the caches meanwhile and the workers are parked when the hop starts.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use sideman_engine::live::{Session, SessionConfig};
use sideman_engine::model::{FRAME, Model};
use sideman_io::rt;
use sideman_io::speed::Times;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Backend, Depthwise};

use crate::stages::{self, PARTS, STAGES, Stages};
use crate::{Common, Machine, Precision, models};

/// Hops that are played before the first one that counts.
const WARM: usize = 3;

/// FNV-1a's hash of nothing.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// When a hop starts.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pace {
    /// When the one before it is done.
    Max,
    /// When its samples would have been played.
    Real,
}

#[derive(Args)]
pub struct Live {
    /// Model directory, or a shape with random weights (house, small, medium)
    #[arg(long, default_value = "models/house")]
    model: String,
    /// Precision of the weights
    #[arg(long, value_enum, default_value = "q8")]
    precision: Precision,
    /// Lags in frames: how late the model hears the musician
    #[arg(long, value_delimiter = ',', default_value = "8")]
    lag: Vec<usize>,
    /// Frames of a hop
    #[arg(long, value_delimiter = ',', default_value = "1,4", value_parser = clap::value_parser!(u8).range(1..=25))]
    hop: Vec<u8>,
    /// Seconds of music for each lag and hop
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// When a hop starts: when the last one is done, or at its time in the music
    #[arg(long, value_enum, default_value = "max")]
    pace: Pace,
    /// Play everything a second time, to show where the time goes
    #[arg(long)]
    stages: bool,
    #[command(flatten)]
    common: Common,
}

/// One lag and hop.
#[derive(Clone, Copy)]
struct Case {
    lag: usize,
    /// Frames.
    hop: usize,
    seconds: usize,
    pace: Pace,
}

/// What was measured of a case.
struct Played {
    /// The time of each hop, in their order.
    times: Vec<Duration>,
    /// Where the time of each hop went, where an observer was asked for.
    stages: Vec<Stages>,
    /// Operations divided among the threads, and threads woken for them, in all hops.
    fork_joins: (u64, u64),
    /// Hash of all samples that were given: equal where two programs play the same.
    samples: u64,
}

pub fn run(args: &Live) -> Result<()> {
    // As the engine's thread has them in live play. Before the backend's threads are made, which inherit both.
    rt::flush_denormals();
    if let Err(error) = rt::raise_priority() {
        eprintln!("{error}");
    }
    let mut machine = args.common.machine();
    let dir = models::open(&args.model)?;
    let model = Model::load(&mut machine.cpu, &dir, args.precision.into())?;
    let empty = fork_join(&mut machine.cpu);
    if !args.common.json {
        println!("{} in {}, two lanes; an empty fork-join {:.1} us\n", dir.config.name, args.precision.name(), empty * 1e6);
        println!(
            "{:>4} {:>4} {:>6} {:>8} {:>8} {:>8} {:>8}  {:>11} {:>6}  {:16}",
            "lag", "hop", "hops", "mean ms", "p50", "p99", "p99.9", "fork-joins", "wakes", "samples"
        );
    }
    let mut rows = Vec::new();
    for &lag in &args.lag {
        for &hop in &args.hop {
            let case = Case { lag, hop: usize::from(hop), seconds: usize::from(args.seconds), pace: args.pace };
            let played = play(&mut machine.cpu, &model, case, false)?;
            let mut row = summary(case, &played);
            row["fork_join_us"] = json!(empty * 1e6);
            if !args.common.json {
                let n = played.times.len() as f64;
                let figure = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
                println!(
                    "{lag:>4} {hop:>4} {n:>6} {:>8.2} {:>8.2} {:>8.2} {:>8.2}  {:>11.0} {:>6.1}  {:016x}",
                    figure("mean_ms"),
                    figure("p50_ms"),
                    figure("p99_ms"),
                    figure("p999_ms"),
                    figure("fork_joins"),
                    figure("wakes"),
                    played.samples
                );
            }
            if args.stages {
                let observed = play(&mut machine.cpu, &model, case, true)?;
                row["stages"] = table(&observed, figure_ms(&played.times), args.common.json);
            }
            rows.push(row);
        }
    }
    if args.common.json {
        println!("{:#}", document(&machine, args, rows));
    }
    Ok(())
}

fn document(machine: &Machine, args: &Live, rows: Vec<Value>) -> Value {
    let mut document = machine.document(rows);
    document["model"] = json!(args.model);
    document["precision"] = json!(args.precision.name());
    document["pace"] = json!(if args.pace == Pace::Real { "real" } else { "max" });
    document
}

/// Plays one case from its first frame on.
fn play(cpu: &mut CpuBackend, model: &Model<CpuBackend>, case: Case, observed: bool) -> Result<Played> {
    let settings = SessionConfig {
        lag: case.lag,
        chords: Some("Am F C G".to_owned()),
        guided: true,
        seed: 1,
        ..SessionConfig::for_model(model.config())
    };
    let mut session = Session::new(cpu, model, &settings, None)?;
    let samples = case.hop * FRAME;
    // A saw of 55 Hz that begins again twice a second.
    let sample = |i: usize| ((i * 55 % 32_000) as f32 / 32_000.0 - 0.5) * (1.0 - (i % 16_000) as f32 / 16_000.0);
    let hops = (case.seconds * 50).div_ceil(case.hop);
    let mut played =
        Played { times: Vec::with_capacity(hops), stages: Vec::with_capacity(hops), fork_joins: (0, 0), samples: FNV };
    let (mut heard, mut before) = (vec![0.0; samples], (0, 0));
    let began = Instant::now();
    for n in 0..WARM + hops {
        if case.pace == Pace::Real {
            let due = began + Duration::from_millis(20 * (n * case.hop) as u64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        heard.iter_mut().enumerate().for_each(|(i, heard)| *heard = sample(n * samples + i));
        if n == WARM {
            before = cpu.fork_joins();
            cpu.observe(observed.then_some(stages::observe));
        }
        let began = Instant::now();
        stages::start();
        session.hop(cpu, model, &heard)?;
        stages::end();
        let took = began.elapsed();
        let stages = stages::take();
        for stem in 0..model.config().stems.len() {
            let bytes = session.stem(stem).iter().flat_map(|x| x.to_bits().to_le_bytes());
            played.samples = bytes.fold(played.samples, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        }
        if n >= WARM {
            played.times.push(took);
            played.stages.push(stages);
        }
    }
    cpu.observe(None);
    let after = cpu.fork_joins();
    played.fork_joins = (after.0 - before.0, after.1 - before.1);
    Ok(played)
}

fn figure_ms(times: &[Duration]) -> f64 {
    times.iter().sum::<Duration>().as_secs_f64() * 1e3 / times.len() as f64
}

fn summary(case: Case, played: &Played) -> Value {
    let (times, hops) = (Times::new(played.times.clone()), played.times.len() as f64);
    json!({
        "lag": case.lag, "hop": case.hop, "hops": hops,
        "mean_ms": figure_ms(&played.times), "p50_ms": times.ms(0.5), "p99_ms": times.ms(0.99), "p999_ms": times.ms(0.999),
        "samples": format!("{:016x}", played.samples), "fork_joins": played.fork_joins.0 as f64 / hops, "wakes": played.fork_joins.1 as f64 / hops,
    })
}

/// The stages of the mean hop, in ms, and how they add up to `mean`, the hop without an observer.
fn table(observed: &Played, mean: f64, json: bool) -> Value {
    let hops = observed.times.len() as f64;
    let mut all = Stages::default();
    observed.stages.iter().for_each(|stages| all.sum(stages));
    let ms = |time: Duration| time.as_secs_f64() * 1e3 / hops;
    let (mut rows, total) = (Vec::new(), ms(all.total()));
    for (part, name) in PARTS {
        let times = &all.times[part as usize];
        rows.push((name.to_owned(), ms(times.iter().sum())));
        let mut stages: Vec<_> = STAGES.iter().zip(times).map(|((_, stage), time)| (format!("  {stage}"), ms(*time))).collect();
        stages.retain(|(_, ms)| *ms > 1e-3 * total);
        stages.sort_by(|a, b| b.1.total_cmp(&a.1));
        rows.extend(stages);
    }
    let of = |primed: bool| {
        let times = observed.times.iter().zip(&observed.stages).filter(|(_, s)| s.primed() == primed).map(|(time, _)| *time);
        let times: Vec<_> = times.collect();
        (times.len(), Times::new(times).ms(0.5))
    };
    let ((plain, plain_ms), (primed, primed_ms)) = (of(false), of(true));
    if !json {
        println!("\n    ms a hop   share");
        for (name, ms) in &rows {
            println!("    {ms:>8.3} {:>6.1} %  {name}", 100.0 * ms / total);
        }
        println!("    {total:>8.3}           all stages; {:.1} % of the hop without clocks", 100.0 * total / mean);
        println!("    hops that feed the next window: {primed}, p50 {primed_ms:.2} ms; others: {plain}, p50 {plain_ms:.2} ms\n");
    }
    let (mut stages, mut part) = (serde_json::Map::new(), "");
    for (name, ms) in &rows {
        match name.strip_prefix("  ") {
            Some(stage) => stages.insert(format!("{part}, {stage}"), json!(ms)),
            None => {
                part = name;
                stages.insert(name.clone(), json!(ms))
            }
        };
    }
    json!({
        "ms": stages, "total_ms": total, "share_of_hop": total / mean,
        "primed_hops": primed, "primed_p50_ms": primed_ms, "other_p50_ms": plain_ms,
    })
}

/// Seconds of an operation whose two items do nothing worth the name: the median of many.
fn fork_join(cpu: &mut CpuBackend) -> f64 {
    let (rows, mut times) = (17, Vec::new());
    let (Ok(taps), Ok(bias), Ok(x), Ok(mut y)) = (cpu.buf(1), cpu.buf(1), cpu.buf(rows), cpu.buf(rows)) else { return f64::NAN };
    let depthwise = Depthwise { taps, bias, kernel: 1, dim: 1 };
    for _ in 0..2000 {
        let began = Instant::now();
        cpu.depthwise(&depthwise, &x, 0, rows, &mut y);
        times.push(began.elapsed());
    }
    Times::new(times).ms(0.5) * 1e-3
}
