//! `sideman model`: what is installed, what a model is, and whether it computes what its reference computes.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use sideman_engine::codec::Codec;
use sideman_engine::lm::{Lm, RunSpec};
use sideman_engine::model::{CodecConfig, ModelDir, Tensors};
use sideman_engine::text::{Hidden, TextEncoder};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Backend, Format, Sampling};

use crate::cli::{ModelInfo, ModelList, Verify};
use crate::{backend, find, model_run, report};

/// Largest relative error that passes.
const TOLERANCE: f64 = 1e-4;

/// `model list`.
///
/// # Errors
/// None so far: a damaged model is listed with what is wrong with it.
pub fn list(args: &ModelList) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for path in find::installed() {
        let row = match ModelDir::open(&path) {
            Ok(dir) => {
                json!({"dir": path, "name": dir.config.name, "stems": dir.config.stems, "bytes": bytes(&path), "fixture": dir.config.fixture})
            }
            Err(error) => json!({"dir": path, "error": error.to_string()}),
        };
        rows.push(row);
    }
    if args.json {
        report::json(&Value::Array(rows));
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        report::line("No model is installed. A model directory can be named with --model DIR or $SIDEMAN_MODEL.");
    }
    for row in &rows {
        let dir = row["dir"].as_str().unwrap_or_default();
        match row["error"].as_str() {
            Some(error) => report::line(format!("{dir}: {error}")),
            None => {
                let stems: Vec<_> = row["stems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let megabytes = row["bytes"].as_u64().unwrap_or(0) as f64 / 1e6;
                let noise = if row["fixture"] == true { ", random: makes noise" } else { "" };
                report::line(format!(
                    "{}: {dir} ({}, {megabytes:.1} MB{noise})",
                    row["name"].as_str().unwrap_or_default(),
                    stems.join(" ")
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `model info`.
///
/// # Errors
/// The directory is no model, or a tensor file is damaged.
pub fn info(args: &ModelInfo) -> Result<ExitCode> {
    let dir = find::open(args.dir.as_deref())?;
    let config = &dir.config;
    let mut files = Vec::new();
    let mut names = vec!["lm.safetensors".to_owned()];
    names.extend(config.stems.iter().map(|stem| format!("codec.{stem}.safetensors")));
    names.extend(config.text.iter().map(|_| "text.safetensors".to_owned()));
    for name in names {
        let tensors = dir.tensors(&name)?;
        let size = std::fs::metadata(tensors.path()).map_or(0, |m| m.len());
        files.push((name, weights(&tensors), size));
    }
    if args.json {
        let files: Vec<_> =
            files.iter().map(|(name, weights, bytes)| json!({"file": name, "weights": weights, "bytes": bytes})).collect();
        report::json(&json!({"dir": dir.path, "config": config, "files": files}));
        return Ok(ExitCode::SUCCESS);
    }
    let lm = &config.lm;
    report::line(format!("{}: {}", config.name, dir.path.display()));
    if config.fixture {
        report::line("A random model for tests: what it plays is noise.");
    }
    report::line(format!("licence     {}", config.licence));
    report::line(format!("provenance  {}", config.provenance));
    report::line(format!("stems       {}", config.stems.join(" ")));
    let streams: Vec<_> = config.streams.iter().map(|s| format!("{}.{} +{}", s.stem, s.level, s.delay)).collect();
    report::line(format!("streams     {} (stem.level +delay)", streams.join(", ")));
    report::line(format!("transformer {} layers of {}, {} heads, feed-forward {}", lm.layers, lm.dim, lm.heads, lm.ffn));
    match &config.text {
        Some(text) => report::line(format!("text        T5 of {} layers of {}", text.layers, text.dim)),
        None => report::line("text        none"),
    }
    let controls: Vec<_> = config.controls.iter().map(|c| c.name.clone()).collect();
    report::line(format!("controls    {}", if controls.is_empty() { "none".to_owned() } else { controls.join(", ") }));
    for (stem, codec) in &config.codecs {
        let (kind, causal) = match codec {
            CodecConfig::Seanet(c) => ("seanet", c.causal),
            CodecConfig::Istft(c) => ("istft", c.causal),
        };
        let q = codec.quantizer();
        let causal = if causal { "causal" } else { "not causal" };
        report::line(format!("codec       {stem}: {kind}, {causal}, {} x {} codes a frame", q.books, q.card));
    }
    match (&config.edit, &config.live) {
        (Some(edit), _) => report::line(format!("stems from stems over {} s", edit.window as f64 / 50.0)),
        (None, _) => report::line("no stems from stems"),
    }
    if let Some(live) = &config.live {
        let lags = live.lags.map_or(String::new(), |[from, to]| format!(", lags of {from} to {to} frames"));
        report::line(format!("live play   {:?}{lags}", live.strategy).to_lowercase());
    }
    for (name, weights, bytes) in &files {
        report::line(format!("{name}: {:.2} M weights, {:.1} MB", *weights as f64 / 1e6, *bytes as f64 / 1e6));
    }
    Ok(ExitCode::SUCCESS)
}

/// Size of a directory's files.
fn bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.metadata().ok())
        .filter(|m| m.is_file())
        .map(|m| m.len())
        .sum()
}

/// Weights in a file: scales are none, and a matrix that has scales has 32 columns for each of theirs.
fn weights(tensors: &Tensors) -> u64 {
    let count = |shape: &[usize]| shape.iter().map(|n| *n as u64).product::<u64>();
    let of = |name: &String| match tensors.shape(&format!("{name}.scale")) {
        Some(scales) => count(scales) * 32,
        None => tensors.shape(name).map_or(0, count),
    };
    tensors.names().iter().filter(|name| !name.ends_with(".scale")).map(of).sum()
}

/// One line of `verify`.
struct Part {
    name: String,
    /// ‖a − b‖ / ‖b‖ and the largest |a − b|; none for codes.
    error: Option<(f64, f64)>,
    /// Equal codes, as a share of all; none for numbers.
    equal: Option<f64>,
}

impl Part {
    fn passes(&self) -> bool {
        self.error.is_none_or(|(relative, _)| relative <= TOLERANCE) && self.equal.is_none_or(|equal| equal == 1.0)
    }
}

/// `model verify`.
///
/// # Errors
/// A file is damaged, or the golden file doesn't fit the model.
pub fn verify(args: &Verify) -> Result<ExitCode> {
    let dir = find::open(Some(&args.dir))?;
    let mut golden = Tensors::open(&args.golden)?;
    let mut parts = Vec::new();
    text(&dir, &mut golden, &mut parts)?;
    match backend::gpu(args.backend)? {
        Some(mut cuda) => compute(&dir, &mut cuda, &mut golden, &mut parts)?,
        None => compute(&dir, &mut CpuBackend::new(model_run::threads(args.threads)), &mut golden, &mut parts)?,
    }
    if parts.is_empty() {
        return Err(anyhow!(
            "{}: nothing to hold a model to; it should have text.ids, lm.tokens or codec.STEM.audio",
            args.golden.display()
        ));
    }
    let passed = parts.iter().all(Part::passes);
    if args.json {
        let parts: Vec<_> = (parts.iter())
            .map(|p| json!({"part": p.name, "relative": p.error.map(|e| e.0), "absolute": p.error.map(|e| e.1), "equal": p.equal, "passes": p.passes()}))
            .collect();
        report::json(&json!({"dir": dir.path, "golden": args.golden, "passes": passed, "parts": parts}));
    } else {
        for p in &parts {
            let verdict = if p.passes() { "" } else { "  FAILS" };
            if let Some((relative, absolute)) = p.error {
                report::line(format!("{:24} relative {relative:.2e}, largest {absolute:.2e}{verdict}", p.name));
            }
            if let Some(equal) = p.equal {
                report::line(format!("{:24} equal {:.2} %{verdict}", p.name, equal * 100.0));
            }
        }
        report::line(if passed {
            "The model computes what its reference computes."
        } else {
            "The model does not compute what its reference computes."
        });
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The values of a tensor of numbers, whatever its shape, and the shape.
fn floats(golden: &mut Tensors, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
    let shape = golden.shape(name).ok_or_else(|| anyhow!("{}: tensor `{name}`: missing", golden.path().display()))?.to_vec();
    let values = golden.get(name, &shape)?;
    Ok((shape, values))
}

fn has(golden: &Tensors, name: &str) -> bool {
    golden.shape(name).is_some()
}

fn compare(name: impl Into<String>, ours: &[f32], theirs: &[f32]) -> Result<Part> {
    let name = name.into();
    if ours.len() != theirs.len() {
        return Err(anyhow!("{name}: {} values where the golden file has {}", ours.len(), theirs.len()));
    }
    let (mut off, mut norm, mut most) = (0.0f64, 0.0f64, 0.0f64);
    for (a, b) in ours.iter().zip(theirs) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        off += (a - b).powi(2);
        norm += b * b;
        // A NaN of ours must not pass: f64::max would drop it.
        most = if (a - b).abs() > most || a.is_nan() { (a - b).abs() } else { most };
    }
    let relative = (off / norm.max(f64::MIN_POSITIVE)).sqrt();
    Ok(Part { name, error: Some((if relative.is_nan() { f64::INFINITY } else { relative }, most)), equal: None })
}

fn text(dir: &ModelDir, golden: &mut Tensors, parts: &mut Vec<Part>) -> Result<()> {
    if !has(golden, "text.ids") {
        return Ok(());
    }
    let Some(mut encoder) = TextEncoder::load(dir)? else {
        return Err(anyhow!("the golden file has text.ids, but the model {} takes no text", dir.config.name));
    };
    let (_, ids) = golden.ints("text.ids")?;
    let ids: Vec<u32> = ids
        .into_iter()
        .map(u32::try_from)
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow!("text.ids: an id below 0 or far too large"))?;
    let (_, want) = floats(golden, "text.hidden")?;
    parts.push(compare("text.hidden", &encoder.hidden(&ids)?.data, &want)?);
    Ok(())
}

/// What a player computes; a GPU that is lost on the way is an error.
fn compute<B: Backend>(dir: &ModelDir, backend: &mut B, golden: &mut Tensors, parts: &mut Vec<Part>) -> Result<()> {
    transformer(dir, backend, golden, parts)?;
    for stem in &dir.config.stems {
        codec(dir, backend, stem, golden, parts)?;
    }
    backend.fault().map_or(Ok(()), |why| Err(anyhow!("{why}")))
}

fn transformer<B: Backend>(dir: &ModelDir, backend: &mut B, golden: &mut Tensors, parts: &mut Vec<Part>) -> Result<()> {
    if !has(golden, "lm.tokens") {
        return Ok(());
    }
    let config = &dir.config;
    let streams = config.streams.len();
    let (shape, tokens) = golden.ints("lm.tokens")?;
    let &[rows, steps] = &shape[..] else { return Err(anyhow!("lm.tokens: shape {shape:?}; it should be [streams, steps]")) };
    if rows != streams || steps < 2 {
        return Err(anyhow!("lm.tokens: shape {shape:?}; the model has {streams} streams, and at least 2 steps are needed"));
    }
    let hidden = if has(golden, "lm.hidden") {
        let (shape, data) = floats(golden, "lm.hidden")?;
        Some(Hidden { len: shape.first().copied().unwrap_or(0), data })
    } else {
        None
    };
    let (_, want) = floats(golden, "lm.logits")?;
    let lm = Lm::load(backend, dir, Format::F32)?;
    // The sequence is laid out already: with no delays column s is frame s − 1 of every stream, whatever it holds.
    let spec = RunSpec {
        songs: 1,
        guided: false,
        delays: &vec![0; streams],
        frames: steps,
        texts: &[hidden.as_ref()],
        text_room: 0,
        kv: Format::F32,
        block: 1,
        sampling: Sampling { temperature: 0.0, top_k: 0, top_p: 0.0, cfg: 1.0, seed: 0, frame_base: 0 },
    };
    let mut run = lm.run(backend, &spec)?;
    for (k, row) in tokens.chunks_exact(steps).enumerate() {
        if row[0] != config.streams[k].card as i64 {
            return Err(anyhow!(
                "lm.tokens: stream {k} begins with {}; the first step is special, {}",
                row[0],
                config.streams[k].card
            ));
        }
        let row: Vec<i32> = row[1..].iter().map(|t| i32::try_from(*t).unwrap_or(i32::MAX)).collect();
        run.put(backend, 0, k, 0, &row)?;
    }
    let cards: Vec<usize> = config.streams.iter().map(|s| s.card).collect();
    let width: usize = cards.iter().sum();
    // [S, K, card] like the reference, where all cards are the same.
    let mut ours = vec![0.0; steps * width];
    for step in ours.chunks_exact_mut(width) {
        run.step(backend, &lm);
        run.logits(backend, step);
    }
    parts.push(compare("lm.logits", &ours, &want)?);
    Ok(())
}

fn codec<B: Backend>(dir: &ModelDir, backend: &mut B, stem: &str, golden: &mut Tensors, parts: &mut Vec<Part>) -> Result<()> {
    let name = |part: &str| format!("codec.{stem}.{part}");
    if !has(golden, &name("codes")) {
        return Ok(());
    }
    let codec = Codec::load(backend, dir, stem)?;
    let (shape, codes) = golden.ints(&name("codes"))?;
    let (&[books, frames], true) = (&shape[..], codes.iter().all(|c| u32::try_from(*c).is_ok())) else {
        return Err(anyhow!("{}: shape {shape:?}; it should be [books, frames] of codes", name("codes")));
    };
    if books != codec.books() {
        return Err(anyhow!("{}: {books} books; the codec has {}", name("codes"), codec.books()));
    }
    // Frame after frame, as the engine has them.
    let theirs: Vec<u32> = (0..frames * books).map(|i| codes[i % books * frames + i / books] as u32).collect();
    if has(golden, &name("audio")) {
        let (_, audio) = floats(golden, &name("audio"))?;
        let ours = codec.encode(backend, &audio)?;
        if ours.len() != theirs.len() {
            return Err(anyhow!(
                "{}: {} frames of {} samples; the engine makes {}",
                name("codes"),
                frames,
                audio.len(),
                ours.len() / books
            ));
        }
        let equal = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
        parts.push(Part { name: name("codes"), error: None, equal: Some(equal as f64 / theirs.len().max(1) as f64) });
    }
    if has(golden, &name("decoded")) {
        let (_, want) = floats(golden, &name("decoded"))?;
        parts.push(compare(name("decoded"), &codec.decode(backend, &theirs)?, &want)?);
    }
    Ok(())
}
