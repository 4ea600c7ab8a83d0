//! `sideman doctor`: shows the machine and its devices, times each model, and says whether it is fast enough
//! for live play.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use sideman_engine::audio::RATE;
use sideman_engine::codec::Codec;
use sideman_engine::lm::Lm;
use sideman_engine::model::{FRAME, ModelDir};
use sideman_io::calibrate::{self, RoundTrip};
use sideman_io::device::{DeviceConfig, cpal, jack};
use sideman_io::midi;
use sideman_io::rt;
use sideman_io::speed::{self, StepCase};
use sideman_kernels::Format;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;

use crate::cli::Doctor;
use crate::{backend, model_path, stdout};

/// Duration of a frame, ms: in live play a step must take less.
const FRAME_MS: f64 = 1e3 * FRAME as f64 / RATE as f64;

/// Steps that are timed for each precision.
const STEPS: usize = 200;

/// Runs the command.
///
/// # Errors
/// The model of `--model` can't be loaded. An installed model that can't be loaded is reported, and the next
/// one is timed.
pub fn run(args: &Doctor) -> Result<ExitCode> {
    if args.calibrate {
        return calibrate(args);
    }
    let threads = backend::threads(args.threads);
    let cpu = CpuBackend::new(threads);
    let bandwidth = speed::memory_bandwidth(threads);
    let say = |text: String| {
        if !args.json {
            stdout::line(text);
        }
    };
    say(format!("sideman {}", env!("CARGO_PKG_VERSION")));
    say(format!("processor  {}", processor()));
    say(format!("features   {}; kernels use {}", features().join(" "), cpu.isa().name()));
    say(format!("threads    {threads}"));
    let priority = rt::Priorities::find().to_string();
    say(format!("priority   {priority}"));
    say(format!("memory     {:.1} GB/s, read by {threads} threads", bandwidth / 1e9));
    drop(cpu);
    let gpu = gpu();
    say(format!("gpu        {}", gpu.as_ref().map_or_else(|why| format!("not used: {why}"), |about| about.clone())));
    let devices = devices(&say);

    let paths = match &args.model {
        Some(path) => vec![path.clone()],
        None => model_path::installed(),
    };
    if paths.is_empty() {
        say("models     none installed; give one with --model DIR".to_owned());
    }
    let mut models = Vec::new();
    for path in paths {
        match model(&path, threads, bandwidth, &say) {
            Ok(document) => models.push(document),
            Err(error) if args.model.is_none() => {
                say(format!("{}: {error}", path.display()));
                models.push(json!({"dir": path.display().to_string(), "error": error.to_string()}));
            }
            Err(error) => return Err(error),
        }
    }
    if args.json {
        stdout::json(&json!({
            "version": env!("CARGO_PKG_VERSION"), "processor": processor(), "features": features(), "threads": threads, "priority": priority,
            "bandwidth_bytes_per_second": bandwidth, "gpu": gpu.as_ref().ok(), "no_gpu": gpu.as_ref().err(), "devices": devices, "models": models,
        }));
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures the round-trip latency by sound.
fn calibrate(args: &Doctor) -> Result<ExitCode> {
    let device = DeviceConfig {
        host: args.host.clone(),
        input: args.input.clone(),
        output: args.output.clone(),
        midi: None,
        client: "sideman".to_owned(),
        period: args.period,
        extra_latency: 0,
        input_stem: "bass".to_owned(),
        stems: vec!["bass".to_owned()],
    };
    let trip = calibrate::measure(&device).map_err(|e| anyhow!("--calibrate: {e}"))?;
    if args.json {
        stdout::json(
            &json!({"reported_ms": trip.reported, "extra_ms": trip.extra, "correlation": trip.correlation, "spread_ms": trip.spread}),
        );
        return Ok(ExitCode::SUCCESS);
    }
    let RoundTrip { reported, extra, correlation, spread } = trip;
    stdout::line(format!(
        "round trip {:.2} ms: the device reports {reported:.2} ms and adds {extra:.2} ms that it does not report",
        reported + extra
    ));
    stdout::line(format!(
        "chirps found with a correlation of {correlation:.2}, measurements within {spread:.2} ms of each other"
    ));
    stdout::line(format!("play with  sideman live --latency {extra:.2}"));
    Ok(ExitCode::SUCCESS)
}

/// The GPU that can be used, or why there is none.
fn gpu() -> std::result::Result<String, String> {
    let about = CudaBackend::new(0).and_then(|mut cuda| cuda.about()).map_err(|why| why.to_string())?;
    let gigabytes = |bytes: usize| bytes as f64 / 1e9;
    let (major, minor) = about.capability;
    let (free, all) = (gigabytes(about.memory.0), gigabytes(about.memory.1));
    Ok(format!("{}, compute capability {major}.{minor}, {free:.1} of {all:.1} GB free", about.name))
}

/// Lists audio and MIDI devices.
fn devices(say: &impl Fn(String)) -> Vec<Value> {
    let mut all = Vec::new();
    say(format!("JACK       {}", if jack::running() { "a server is running: --host jack" } else { "no server is running" }));
    for cpal::DeviceInfo { system, name, inputs, outputs, rate } in cpal::list() {
        say(format!("device     {name}: {inputs} in, {outputs} out, {rate} Hz ({system})"));
        all.push(json!({"host": system, "name": name, "inputs": inputs, "outputs": outputs, "rate": rate}));
    }
    if all.is_empty() {
        say("device     none; sideman live can use files (--from, --to) or JACK".to_owned());
    }
    match midi::ports::list() {
        Ok((ins, outs)) if ins.is_empty() && outs.is_empty() => say("MIDI       no ports".to_owned()),
        Ok((ins, outs)) => say(format!("MIDI       in: {}; out: {}", ins.join(", "), outs.join(", "))),
        Err(why) => say(format!("MIDI       {why}")),
    }
    all
}

/// Times a model in every precision.
fn model(path: &std::path::Path, threads: usize, bandwidth: f64, say: &impl Fn(String)) -> Result<Value> {
    let dir = ModelDir::open(path)?;
    let config = &dir.config;
    let mut cpu = CpuBackend::new(threads);
    say(format!("\n{}: {}{}", config.name, path.display(), if config.fixture { " (random: generates noise)" } else { "" }));

    // The codecs' time for a frame of live play: one stem is encoded, the others are decoded.
    let mut codecs = Vec::new();
    let mut codec_ms = 0.0;
    for (n, stem) in config.stems.iter().enumerate() {
        let codec = Codec::load(&mut cpu, &dir, stem)?;
        let (encode, decode) = speed::codec(&mut cpu, &codec, 4)?;
        say(format!("  codec {stem:8} encodes at {encode:.0} x real time, decodes at {decode:.0} x"));
        codec_ms += FRAME_MS / if n == 0 { encode } else { decode };
        codecs.push(json!({"stem": stem, "encode": encode, "decode": decode}));
    }
    let context = config.max_frames.saturating_sub(STEPS).clamp(1, 1250);
    let case = StepCase { songs: 1, guided: config.text.is_some(), context, steps: STEPS };
    let (mut steps, mut best) = (Vec::new(), (f64::INFINITY, ""));
    for (name, format) in [("f32", Format::F32), ("bf16", Format::Bf16), ("q8", Format::Q8), ("q4", Format::Q4)] {
        let lm = Lm::load(&mut cpu, &dir, format)?;
        let (_, times) = speed::step(&mut cpu, &lm, case)?;
        let (p50, p99) = (times.ms(0.5), times.ms(0.99));
        let share = speed::step_bytes(config, format, case) / (p50 * 1e-3) / bandwidth;
        let lanes = if case.guided { 2 } else { 1 };
        let rate = match share {
            s if s > 1.0 => "in the processor's caches".to_owned(),
            s => format!("{:.0} % of the memory bandwidth", s * 100.0),
        };
        say(format!("  step  {name:8} p50 {p50:.2} ms, p99 {p99:.2} ms ({lanes} lanes, context {context}, {rate})"));
        steps.push(json!({"precision": name, "p50_ms": p50, "p99_ms": p99, "context": context, "lanes": lanes, "bandwidth_share": share}));
        if p99 < best.0 {
            best = (p99, name);
        }
    }
    let (ms, fastest) = (best.0 + codec_ms, best.1);
    let share = ms / FRAME_MS;
    let verdict = Verdict::of(share);
    say(format!(
        "  with --precision {fastest}, 99 of 100 frames take at most {ms:.1} ms of {FRAME_MS:.0} ms: {}",
        verdict.text()
    ));
    Ok(json!({
        "dir": path, "name": config.name, "fixture": config.fixture, "codecs": codecs, "steps": steps,
        "fastest": fastest, "frame_share": share, "verdict": verdict.text(),
    }))
}

/// Whether a model is fast enough for live play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fast,
    Tight,
    Marginal,
    TooSlow,
}

impl Verdict {
    /// The verdict on a frame that takes this share of its duration.
    fn of(share: f64) -> Verdict {
        match share {
            s if s < 0.5 => Verdict::Fast,
            s if s < 0.8 => Verdict::Tight,
            s if s < 1.0 => Verdict::Marginal,
            _ => Verdict::TooSlow,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Verdict::Fast => "fast enough for live play",
            Verdict::Tight => "fast enough for live play if other programs use little of the processor",
            Verdict::Marginal => "fast enough for live play only on an otherwise idle machine",
            Verdict::TooSlow => "too slow for live play; render, edit and continue work",
        }
    }
}

/// The processor's name, or its architecture if the system has no name for it.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The processor's instruction sets that the kernels can use.
fn features() -> Vec<&'static str> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    for (name, has) in [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ] {
        if has {
            all.push(name);
        }
    }
    if all.is_empty() {
        all.push("none that the kernels know");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_depends_on_the_share_of_a_frame() {
        let verdicts = [0.15, 0.6, 0.95, 2.0, f64::INFINITY].map(Verdict::of);
        assert_eq!(verdicts, [Verdict::Fast, Verdict::Tight, Verdict::Marginal, Verdict::TooSlow, Verdict::TooSlow]);
    }
}
