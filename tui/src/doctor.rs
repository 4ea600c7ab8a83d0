//! `sideman doctor`: shows the machine and its devices, times each model, and says whether it is fast enough
//! for live play.

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use sideman_engine::audio::RATE;
use sideman_engine::codec::Codec;
use sideman_engine::lm::Lm;
use sideman_engine::model::FRAME;
use sideman_io::calibrate::{self, RoundTrip};
use sideman_io::device::{DeviceConfig, cpal, jack};
use sideman_io::midi;
use sideman_io::rt;
use sideman_io::speed::{self, StepCase};
use sideman_kernels::Format;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;

use crate::cli::{DEFAULT_PRECISION, Doctor};
use crate::{backend, model_path, stdout};

/// Duration of a frame, ms: in live play a step must take less.
const FRAME_MS: f64 = 1e3 * FRAME as f64 / RATE as f64;

/// Steps that are timed for each precision.
const STEPS: usize = 200;

/// Runs the command. What to do comes first, the details after it.
///
/// # Errors
/// The model of `--model` can't be loaded. An installed model that can't be loaded is reported, and the next
/// one is timed.
pub fn run(args: &Doctor) -> Result<ExitCode> {
    if args.calibrate {
        return calibrate(args);
    }
    let paths = match &args.model {
        Some(path) => vec![path.clone()],
        None => model_path::installed(),
    };
    let threads = backend::threads(args.threads);
    let mut details = Vec::new();
    let mut say = |text: String| details.push(text);
    let cpu = CpuBackend::new(threads);
    let bandwidth = speed::memory_bandwidth(threads);
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
    let devices = devices(&mut say);

    let mut advice = vec![sound_advice(jack::running(), cpal::default_output())];
    if paths.is_empty() {
        advice.push(
            "No model is installed: give the folder of one with --model DIR; models/house of the repository is one.".to_owned(),
        );
    }
    let mut models = Vec::new();
    for path in paths {
        if !args.json && stderr().is_terminal() {
            eprintln!("timing {}", path.display());
        }
        match model(&path, threads, bandwidth, &mut say) {
            Ok((timed, document)) => {
                advice.push(timed.advice());
                models.push(document);
            }
            Err(error) if args.model.is_none() => {
                advice.push(format!("{} can't be used: {error}.", path.display()));
                models.push(json!({"dir": path.display().to_string(), "error": error.to_string()}));
            }
            Err(error) => return Err(error),
        }
    }
    if args.json {
        stdout::json(&json!({
            "version": env!("CARGO_PKG_VERSION"), "processor": processor(), "features": features(), "threads": threads, "priority": priority,
            "bandwidth_bytes_per_second": bandwidth, "gpu": gpu.as_ref().ok(), "no_gpu": gpu.as_ref().err(), "devices": devices,
            "models": models, "advice": advice,
        }));
    } else {
        advice.into_iter().chain([String::new()]).chain(details).for_each(stdout::line);
    }
    Ok(ExitCode::SUCCESS)
}

/// How to hear the band here.
fn sound_advice(jack: bool, default_output: Option<String>) -> String {
    match (jack, default_output) {
        (true, _) => "A JACK server is running: `sideman live --host jack` plays through it.".to_owned(),
        (false, Some(name)) => {
            format!("`sideman live` plays through {name}; --input and --output choose other devices of the list below.")
        }
        (false, None) => {
            "No sound device works as the default: choose one of the list below with --input and --output, hear the band \
                          without one by `sideman --demo`, or play to a recording by `sideman render --bass FILE --out DIR`."
                .to_owned()
        }
    }
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
fn devices(say: &mut impl FnMut(String)) -> Vec<Value> {
    let mut all = Vec::new();
    say(format!("JACK       {}", if jack::running() { "a server is running: --host jack" } else { "no server is running" }));
    let mut unusable = Vec::new();
    for cpal::DeviceInfo { system, name, inputs, outputs, rate } in cpal::list() {
        if inputs + outputs == 0 {
            unusable.push(name.clone());
        } else {
            say(format!("device     {name}: {inputs} in, {outputs} out, {rate} Hz ({system})"));
        }
        all.push(json!({"host": system, "name": name, "inputs": inputs, "outputs": outputs, "rate": rate}));
    }
    if !unusable.is_empty() {
        say(format!("unusable   {} (absent, or in use)", unusable.join(", ")));
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

/// How long a frame of live play takes with a model.
struct Timed {
    name: String,
    /// Precision and milliseconds in which 99 of 100 frames are done, in the order of the precisions.
    frames: Vec<(&'static str, f64)>,
}

impl Timed {
    /// The precision to play with: the default, or one that serves live play better, the coarser ones last.
    fn best(&self) -> (&'static str, f64) {
        let place = |name: &str| [DEFAULT_PRECISION, "q8", "q4"].iter().position(|n| *n == name).unwrap_or(3);
        let best = self.frames.iter().min_by_key(|&&(name, ms)| (Verdict::of(ms / FRAME_MS), place(name)));
        best.copied().unwrap_or((DEFAULT_PRECISION, f64::INFINITY))
    }

    /// Whether, and with which precision, the model plays live here, in a sentence.
    fn advice(&self) -> String {
        let ((precision, ms), name) = (self.best(), &self.name);
        let flag = if precision == DEFAULT_PRECISION { String::new() } else { format!(" with --precision {precision}") };
        let time = format!("99 of 100 frames take at most {ms:.1} of {FRAME_MS:.0} ms{flag}");
        format!("{name} is {}: {time}.", Verdict::of(ms / FRAME_MS).text())
    }
}

/// Times a model in every precision.
fn model(path: &std::path::Path, threads: usize, bandwidth: f64, say: &mut impl FnMut(String)) -> Result<(Timed, Value)> {
    let dir = model_path::open(Some(path))?;
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
    let (mut steps, mut frames) = (Vec::new(), Vec::new());
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
        frames.push((name, p99 + codec_ms));
    }
    let timed = Timed { name: config.name.clone(), frames };
    let (best, ms) = timed.best();
    let share = ms / FRAME_MS;
    let document = json!({
        "dir": path, "name": config.name, "fixture": config.fixture, "codecs": codecs, "steps": steps,
        "best_precision": best, "frame_share": share, "verdict": Verdict::of(share).text(),
    });
    Ok((timed, document))
}

/// Whether a model is fast enough for live play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    fn the_finest_precision_that_is_fast_enough_is_advised() {
        let best = |frames: [f64; 4]| {
            let frames = ["f32", "bf16", "q8", "q4"].into_iter().zip(frames).collect();
            Timed { name: "m".to_owned(), frames }.best().0
        };
        assert_eq!(best([1.0, 3.0, 2.0, 1.0]), "bf16");
        assert_eq!(best([40.0, 30.0, 9.0, 8.0]), "q8");
        assert_eq!(best([40.0, 30.0, 11.0, 8.0]), "q4");
        assert_eq!(best([90.0, 80.0, 60.0, 50.0]), "bf16");
    }

    #[test]
    fn the_verdict_depends_on_the_share_of_a_frame() {
        let verdicts = [0.15, 0.6, 0.95, 2.0, f64::INFINITY].map(Verdict::of);
        assert_eq!(verdicts, [Verdict::Fast, Verdict::Tight, Verdict::Marginal, Verdict::TooSlow, Verdict::TooSlow]);
    }
}
