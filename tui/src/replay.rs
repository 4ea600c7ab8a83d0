//! `sideman replay`: a take's playing and requests through a session again. The same files come out, sample for sample.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::json;
use sideman_engine::audio::RATE;
use sideman_engine::model::Model;
use sideman_engine::model::ModelDir;
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
/// The take can't be read, doesn't begin with its session, or was played by another model.
pub fn run(args: &Replay) -> Result<ExitCode> {
    rt::flush_denormals();
    let take::Take { info, input, events } = take::read(&args.take)?;
    if info.from != 0 {
        return Err(anyhow!(
            "{}: it begins {:.1} s into its session, and what the band had heard before is not in it: it can be edited, not replayed",
            args.take.display(),
            info.from as f64 / f64::from(RATE)
        ));
    }
    if args.out.exists() && std::fs::canonicalize(&args.out).ok() == std::fs::canonicalize(&args.take).ok() {
        return Err(usage("--out is the take itself: give another folder"));
    }
    let dir = ModelDir::open(args.model.as_ref().unwrap_or(&info.model))?;
    let hash = take::model_hash(&dir.path)?;
    if hash != info.model_sha256 {
        return Err(anyhow!(
            "{} is not the model that played {}: SHA-256 {} instead of {}; give that one with --model DIR",
            dir.path.display(),
            args.take.display(),
            &hash[..12],
            info.model_sha256.get(..12).unwrap_or_default()
        ));
    }
    let mut cpu = CpuBackend::new(backend::threads(args.threads));
    let band = Model::load(&mut cpu, &dir, info.precision)?;
    song_folder::create(&args.out, "--out")?;
    let (_control, controls) = Control::new();
    let mut runner = Runner::new(cpu, band, info, controls, PathBuf::new(), RunMode::Replay)?;
    runner.record(Some(args.out.clone()), false)?;
    file::play(&mut runner, &input, file::Pace::Fast, events, |_| true);
    let events = runner.finish();
    if let Some(failure) = events.iter().find(|event| event.is_failure()) {
        return Err(anyhow!("{failure}"));
    }
    if args.json {
        stdout::json(
            &json!({"out": args.out, "seconds": input.len() as f64 / f64::from(RATE), "events": events.iter().map(ToString::to_string).collect::<Vec<_>>()}),
        );
    } else {
        events.iter().for_each(|event| stdout::line(event.to_string()));
    }
    Ok(ExitCode::SUCCESS)
}
