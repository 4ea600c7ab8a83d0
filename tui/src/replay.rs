//! `sideman replay`: runs a session again with the recorded input and commands of a take. The new files are
//! the same, sample for sample.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::json;
use sideman_engine::audio::RATE;
use sideman_engine::model::{Model, ModelDir};
use sideman_io::control::Control;
use sideman_io::device::file;
use sideman_io::run_mode::RunMode;
use sideman_io::runner::Runner;
use sideman_io::{rt, take};
use sideman_kernels::cpu::CpuBackend;

use crate::cli::Replay;
use crate::{backend, song_folder, stdout, usage};

/// Runs the command.
///
/// # Errors
/// The take can't be read, does not start with its session, or was made with another model.
pub fn run(args: &Replay) -> Result<ExitCode> {
    rt::flush_denormals();
    let take::Take { info, input, events } = take::read(&args.take)?;
    if info.from != 0 {
        return Err(anyhow!(
            "{}: can't be replayed: it starts {:.1} s into its session, and the input before is not recorded; `sideman edit` works",
            args.take.display(),
            info.from as f64 / f64::from(RATE)
        ));
    }
    if args.out.exists() && std::fs::canonicalize(&args.out).ok() == std::fs::canonicalize(&args.take).ok() {
        return Err(usage(format!("--out {}: is the take itself; give another folder", args.out.display())));
    }
    let dir = ModelDir::open(args.model.as_ref().unwrap_or(&info.model))?;
    let hash = take::model_hash(&dir.path)?;
    if hash != info.model_sha256 {
        return Err(anyhow!(
            "{} is not the model of {}: its SHA-256 is {} and must be {}; give the right one with --model DIR",
            dir.path.display(),
            args.take.display(),
            &hash[..12],
            info.model_sha256.get(..12).unwrap_or_default()
        ));
    }
    let mut cpu = CpuBackend::new(backend::threads(args.threads));
    let model = Model::load(&mut cpu, &dir, info.precision)?;
    song_folder::create(&args.out, "--out")?;
    let (_control, controls) = Control::new();
    let mut runner = Runner::new(cpu, model, info, controls, PathBuf::new(), RunMode::Replay)?;
    runner.record(Some(args.out.clone()), false)?;
    file::play(&mut runner, &input, file::Pace::Fast, events, |_| true);
    let events = runner.finish();
    if let Some(failure) = events.iter().find(|event| event.is_failure()) {
        return Err(anyhow!("{failure}"));
    }
    if args.json {
        let events: Vec<String> = events.iter().map(ToString::to_string).collect();
        stdout::json(&json!({"out": args.out, "seconds": input.len() as f64 / f64::from(RATE), "events": events}));
    } else {
        events.iter().for_each(|event| stdout::line(event.to_string()));
    }
    Ok(ExitCode::SUCCESS)
}
