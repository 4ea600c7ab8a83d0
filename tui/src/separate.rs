//! `sideman separate`: takes a song apart into stems, at its own sample rate and with its own channels.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use sideman_engine::audio::wav::WavFile;
use sideman_engine::audio::{SongReader, level};
use sideman_engine::model::Tensors;
use sideman_engine::separate::{Choice, Separator, SeparatorDir, SongSeparation};
use sideman_kernels::cpu::CpuBackend;

use crate::cli::Separate;
use crate::output_folder::OutputFolder;
use crate::progress::Progress;
use crate::{backend, interrupt, model_path, stdout, usage};

/// Name of the report in the folder.
const REPORT: &str = "separation.json";
/// Frames of [`Progress`] in a second.
const PROGRESS_RATE: u64 = 50;

/// Runs the command.
///
/// # Errors
/// The error names the file or flag.
pub fn run(args: &Separate) -> Result<ExitCode> {
    let dir = open(args.separator.as_deref())?;
    let choice = Choice::new(&dir.config, &args.stems).map_err(|e| usage(format!("--stems {e}")))?;
    let names = choice.names(&dir.config);
    let files: Vec<String> = names.iter().map(|name| format!("{name}.wav")).collect();
    let output = OutputFolder::new("--out", &args.out, args.force).reads("SONG", &args.song);
    output.check(&[&files[..], &[REPORT.to_owned()]].concat(), 1)?;
    let mut song = SongReader::open(&args.song)?;
    let (rate, channels) = (song.rate(), song.channels());
    interrupt::watch()?;
    let folder = output.begin()?;

    let mut cpu = CpuBackend::new(backend::threads(args.threads));
    let separator = Separator::load(&mut cpu, &dir, &choice.estimated)?;
    let mut separation = SongSeparation::new(&mut cpu, &separator, &choice, rate, channels)?;
    let mut wavs = Vec::new();
    for file in &files {
        let (temporary, path) = (folder.temporary().join(file), args.out.join(file));
        wavs.push(Written { file: WavFile::create(&temporary, &path, channels, rate)?, peak: 0.0, squares: 0.0 });
    }
    let mut progress = Progress::new("separating", args.json);
    let shown = |frames: u64| (frames * PROGRESS_RATE / u64::from(rate)) as usize;
    let mut written = 0;
    let mut block = Vec::new();
    let mut sink = |stems: &[Vec<f32>]| -> sideman_engine::Result<()> {
        written += (stems[0].len() / channels) as u64;
        wavs.iter_mut().zip(stems).try_for_each(|(wav, stem)| wav.write(stem))
    };
    while song.next(&mut block)? {
        separation.push(&mut cpu, &separator, &block, &mut sink)?;
        let frames = song.frames();
        progress.update(shown(frames), shown(song.promised().unwrap_or(frames).max(frames)));
    }
    separation.finish(&mut cpu, &separator, &mut sink)?;
    let frames = song.frames();
    debug_assert_eq!(written, frames, "every stem has the length of the song");
    progress.update(shown(frames), shown(frames));
    let (took, speed) = progress.finish();
    for warning in song.warnings() {
        tracing::warn!("{warning}");
    }

    let mut stems = Vec::new();
    for ((name, file), wav) in names.iter().zip(&files).zip(wavs) {
        let Written { file: wav, peak, squares } = wav;
        wav.finish()?;
        let rms = (squares / (frames.max(1) * channels as u64) as f64).sqrt() as f32;
        stems.push(json!({
            "name": name, "file": file, "estimated": *name != choice.rest, "peak_db": db(peak), "rms_db": db(rms),
        }));
    }
    let report = json!({
        "format": 1,
        "song": args.song.file_name().map(|n| n.to_string_lossy()),
        "sample_rate": rate,
        "channels": channels,
        "frames": frames,
        "stems": stems,
        "separator": {"name": dir.config.name, "licence": dir.config.licence, "provenance": dir.config.provenance},
        "version": env!("CARGO_PKG_VERSION"),
    });
    let path = folder.temporary().join(REPORT);
    std::fs::write(&path, format!("{report:#}\n")).with_context(|| format!("--out {}: {REPORT}", args.out.display()))?;
    folder.commit()?;
    print(args, &report, took.as_secs_f64(), speed);
    Ok(ExitCode::SUCCESS)
}

/// `model info` of a directory that holds a separator alone.
///
/// # Errors
/// It is not a separator, or its tensor file is damaged.
pub fn info(path: &Path, json: bool) -> Result<ExitCode> {
    let dir = SeparatorDir::open(path)?;
    let (config, tensors) = (&dir.config, dir.tensors()?);
    let weights: usize = tensors.names().iter().filter_map(|n| tensors.shape(n)).map(|s| s.iter().product::<usize>()).sum();
    if json {
        stdout::json(&json!({"dir": dir.path.display().to_string(), "separator": config, "weights": weights}));
        return Ok(ExitCode::SUCCESS);
    }
    let seconds = config.network.segment() as f64 / config.sample_rate as f64;
    stdout::line(format!("{}: {}", config.name, dir.path.display()));
    stdout::line(format!("A separator: {}", config.sources.join(", ")));
    stdout::line(format!(
        "Networks: {}, {:.1} million weights, {:.1} MB",
        config.bag.len(),
        weights as f64 / 1e6,
        size(&tensors)
    ));
    stdout::line(format!("Segments of {seconds:.1} s at {} Hz", config.sample_rate));
    stdout::line(format!("Licence: {}", config.licence));
    stdout::line(format!("Origin: {}", config.provenance));
    Ok(ExitCode::SUCCESS)
}

/// Megabytes of a tensor file.
fn size(tensors: &Tensors) -> f64 {
    std::fs::metadata(tensors.path()).map_or(0.0, |m| m.len() as f64 / 1e6)
}

/// A stem's file, with the level of what is in it.
struct Written {
    file: WavFile,
    peak: f32,
    squares: f64,
}

impl Written {
    fn write(&mut self, samples: &[f32]) -> sideman_engine::Result<()> {
        self.peak = self.peak.max(level::peak(samples));
        self.squares += samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        self.file.write(samples)
    }
}

/// A level in dBFS; none for silence, which JSON has no number for.
fn db(level: f32) -> Option<f32> {
    (level > 0.0).then(|| (level::db(level) * 10.0).round() / 10.0)
}

/// Opens the separator that `--separator` names, or the house model's.
///
/// # Errors
/// There is none, or it is damaged.
pub fn open(flag: Option<&Path>) -> Result<SeparatorDir> {
    let path = match flag {
        Some(path) => path.to_owned(),
        None => model_path::house_separator().ok_or_else(|| {
            anyhow!(
                "no separator found: separator.json of the house model is neither in this program's repository nor in your data \
                folder; give a separator with --separator DIR"
            )
        })?,
    };
    Ok(SeparatorDir::open(path)?)
}

/// Prints the report: a line for each stem, or JSON.
fn print(args: &Separate, report: &Value, took: f64, speed: f64) {
    if args.json {
        let mut report = report.clone();
        report["out"] = json!(args.out.display().to_string());
        report["took_seconds"] = json!(took);
        report["times_real_time"] = json!(speed);
        stdout::json(&report);
        return;
    }
    for stem in report["stems"].as_array().into_iter().flatten() {
        let level = stem["rms_db"].as_f64().map_or("silent".into(), |db| format!("{db:.1} dB RMS"));
        let file = args.out.join(stem["file"].as_str().unwrap_or_default());
        stdout::line(format!("{}: {level}", file.display()));
    }
    stdout::line(format!("{took:.1} s, {speed:.1} x real time; the stems add up to the song"));
    stdout::line(format!("Licence of {}: {}", text(&report["separator"]["name"]), text(&report["separator"]["licence"])));
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
