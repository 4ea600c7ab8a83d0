//! The commands `sideman model list`, `info` and `verify`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use sideman_engine::model::verify::{self, Agreement, Part};
use sideman_engine::model::{CodecConfig, Model, ModelDir, Tensors};
use sideman_kernels::Format;
use sideman_kernels::cpu::CpuBackend;

use crate::cli::{ModelInfo, ModelList, Verify};
use crate::{backend, model_path, separate, stdout};

/// `model list`.
///
/// # Errors
/// None so far: a damaged model is listed with its error.
pub fn list(args: &ModelList) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for path in model_path::installed() {
        let row = match ModelDir::open(&path) {
            Ok(dir) => {
                json!({"dir": path.display().to_string(), "name": dir.config.name, "stems": dir.config.stems, "bytes": bytes(&path), "fixture": dir.config.fixture})
            }
            Err(error) => json!({"dir": path.display().to_string(), "error": error.to_string()}),
        };
        rows.push(row);
    }
    if args.json {
        stdout::json(&Value::Array(rows));
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        stdout::line("No model is installed. Give a model directory with --model DIR or in $SIDEMAN_MODEL.");
    }
    for row in &rows {
        let dir = row["dir"].as_str().unwrap_or_default();
        match row["error"].as_str() {
            Some(error) => stdout::line(format!("{dir}: {error}")),
            None => {
                let stems: Vec<_> = row["stems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let megabytes = row["bytes"].as_u64().unwrap_or(0) as f64 / 1e6;
                let noise = if row["fixture"] == true { ", random model: generates noise" } else { "" };
                stdout::line(format!(
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
/// The directory is not a model, or a tensor file is damaged.
pub fn info(args: &ModelInfo) -> Result<ExitCode> {
    if let Some(dir) = &args.dir
        && dir.join("separator.json").exists()
        && !dir.join("config.json").exists()
    {
        return separate::info(dir, args.json);
    }
    let dir = model_path::open(args.dir.as_deref())?;
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
        stdout::json(&json!({"dir": dir.path.display().to_string(), "config": config, "files": files}));
        return Ok(ExitCode::SUCCESS);
    }
    let lm = &config.lm;
    stdout::line(format!("{}: {}", config.name, dir.path.display()));
    if config.fixture {
        stdout::line("A random model for tests: it generates noise.");
    }
    stdout::line(format!("licence     {}", config.licence));
    stdout::line(format!("provenance  {}", config.provenance));
    stdout::line(format!("stems       {}", config.stems.join(" ")));
    let streams: Vec<_> = config.streams.iter().map(|s| format!("{}.{} +{}", s.stem, s.level, s.delay)).collect();
    stdout::line(format!("streams     {} (stem.level +delay)", streams.join(", ")));
    stdout::line(format!("transformer {} layers of width {}, {} heads, feed-forward {}", lm.layers, lm.dim, lm.heads, lm.ffn));
    match &config.text {
        Some(text) => stdout::line(format!("text        T5 with {} layers of width {}", text.layers, text.dim)),
        None => stdout::line("text        none"),
    }
    let controls: Vec<_> = config.controls.iter().map(|c| c.name.clone()).collect();
    stdout::line(format!("controls    {}", if controls.is_empty() { "none".to_owned() } else { controls.join(", ") }));
    for (stem, codec) in &config.codecs {
        let (kind, causal) = match codec {
            CodecConfig::Seanet(c) => ("seanet", c.causal),
            CodecConfig::Istft(c) => ("istft", c.causal),
        };
        let q = codec.quantizer();
        let causal = if causal { "causal" } else { "not causal" };
        stdout::line(format!("codec       {stem}: {kind}, {causal}, {} x {} codes per frame", q.books, q.card));
    }
    match (&config.edit, &config.live) {
        (Some(edit), _) => stdout::line(format!("editing     in windows of {} s", edit.window as f64 / 50.0)),
        (None, _) => stdout::line("editing     none"),
    }
    if let Some(live) = &config.live {
        let lags = live.lags.map_or(String::new(), |[from, to]| format!(", lags of {from} to {to} frames"));
        stdout::line(format!("live play   {:?}{lags}", live.strategy).to_lowercase());
    }
    for (name, weights, bytes) in &files {
        stdout::line(format!("{name}: {:.2} M weights, {:.1} MB", *weights as f64 / 1e6, *bytes as f64 / 1e6));
    }
    Ok(ExitCode::SUCCESS)
}

/// Size of the files in a directory, in bytes.
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

/// Number of weights in a file. Scales don't count; a quantized matrix has 32 weights for each of its scales.
fn weights(tensors: &Tensors) -> u64 {
    let count = |shape: &[usize]| shape.iter().map(|n| *n as u64).product::<u64>();
    let of = |name: &String| match tensors.shape(&format!("{name}.scale")) {
        Some(scales) => count(scales) * 32,
        None => tensors.shape(name).map_or(0, count),
    };
    tensors.names().iter().filter(|name| !name.ends_with(".scale")).map(of).sum()
}

/// `model verify`.
///
/// # Errors
/// A file is damaged, the golden file does not fit the model, or the backend failed.
pub fn verify(args: &Verify) -> Result<ExitCode> {
    let dir = model_path::open(Some(&args.dir))?;
    let parts = match backend::gpu(args.backend)? {
        Some(mut cuda) => verify::verify(&mut Model::load(&mut cuda, &dir, Format::F32)?, &mut cuda, &args.golden)?,
        None => {
            let mut cpu = CpuBackend::new(backend::threads(args.threads));
            verify::verify(&mut Model::load(&mut cpu, &dir, Format::F32)?, &mut cpu, &args.golden)?
        }
    };
    let passed = parts.iter().all(Part::passes);
    if args.json {
        let parts: Vec<_> = parts.iter().map(document).collect();
        stdout::json(
            &json!({"dir": dir.path.display().to_string(), "golden": args.golden.display().to_string(), "passes": passed, "parts": parts}),
        );
    } else {
        for part in &parts {
            let verdict = if part.passes() { "" } else { "  FAILS" };
            let agreement = match part.agreement {
                Agreement::Values { relative, largest } => format!("relative error {relative:.2e}, largest {largest:.2e}"),
                Agreement::Codes { equal } => format!("{:.2} % of the codes are equal", equal * 100.0),
            };
            stdout::line(format!("{:24} {agreement}{verdict}", part.name));
        }
        stdout::line(if passed {
            "The model agrees with its reference."
        } else {
            "The model does not agree with its reference."
        });
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A part in the JSON document: an error or a share of equal codes, the other one null.
fn document(part: &Part) -> Value {
    let (relative, absolute, equal) = match part.agreement {
        Agreement::Values { relative, largest } => (Some(relative), Some(largest), None),
        Agreement::Codes { equal } => (None, None, Some(equal)),
    };
    json!({"part": part.name, "relative": relative, "absolute": absolute, "equal": equal, "passes": part.passes()})
}
