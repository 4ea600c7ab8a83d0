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
use sideman_io::event::RecordingEvent;
use sideman_io::run_mode::RunMode;
use sideman_io::runner::Runner;
use sideman_io::{rt, take};
use sideman_kernels::cpu::CpuBackend;

use crate::cli::Replay;
use crate::output_folder::OutputFolder;
use crate::{backend, interrupt, stdout};

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
    let output = OutputFolder::new("--out", &args.out, args.force).reads_folder("TAKE", &args.take);
    output.check(&take::file_names(&info.stems), 1)?;
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
    let mut cpu = CpuBackend::new(backend::threads(args.threads)).with_activations(info.activations);
    let model = Model::load(&mut cpu, &dir, info.precision)?;
    interrupt::watch()?;
    let files = output.begin()?;
    let (_control, controls) = Control::new();
    let mut runner = Runner::new(cpu, model, info, controls, PathBuf::new(), RunMode::Replay)?;
    runner.set_pages(!args.no_page);
    runner.record(Some(files.temporary().to_owned()), None)?;
    file::play(&mut runner, &input, file::Pace::Fast, events, |_| true);
    let events = runner.finish();
    if let Some(failure) = events.iter().find(|event| event.is_failure()) {
        return Err(anyhow!("{failure}"));
    }
    files.commit()?;
    // The take was recorded under a temporary name.
    let events: Vec<RecordingEvent> = events
        .into_iter()
        .map(|event| match event {
            RecordingEvent::Finished { seconds, .. } => RecordingEvent::Finished { dir: args.out.clone(), seconds },
            other => other,
        })
        .collect();
    if args.json {
        let events: Vec<String> = events.iter().map(ToString::to_string).collect();
        stdout::json(
            &json!({"out": args.out.display().to_string(), "seconds": input.len() as f64 / f64::from(RATE), "events": events}),
        );
    } else {
        events.iter().for_each(|event| stdout::line(event.to_string()));
    }
    Ok(ExitCode::SUCCESS)
}
