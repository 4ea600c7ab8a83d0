//! The command `sideman model import`: converts a published checkpoint to a model directory.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use sideman_engine::model::import::{Plan, Progress, Quant, SeparatorPlan};

use crate::cli::{ModelImport, StoredAs};
use crate::{escapes, stdout, usage};

/// `model import`.
///
/// # Errors
/// Not a checkpoint that the engine can run, a damaged one, or the directory can't be written.
pub fn run(args: &ModelImport) -> Result<ExitCode> {
    if SeparatorPlan::is_separator(&args.src) {
        return separator(args);
    }
    let quant = match args.quant {
        None => Quant::AsItIs,
        Some(StoredAs::Bf16) => Quant::Bf16,
        Some(StoredAs::Q8) => Quant::Q8,
        Some(StoredAs::Q4) => Quant::Q4,
    };
    let plan = Plan::open(&args.src, args.t5.as_deref())?;
    let mut bar = Bar::new(args.json);
    let found = plan.write(&args.to, quant, &mut |p| {
        bar.at(p);
        ControlFlow::Continue(())
    })?;
    bar.finish();
    if args.json {
        stdout::json(
            &json!({"dir": args.to.display().to_string(), "config": found.config, "notes": found.notes, "doubts": found.doubts}),
        );
        return Ok(ExitCode::SUCCESS);
    }
    for note in &found.notes {
        stdout::line(note);
    }
    for doubt in &found.doubts {
        stdout::line(format!("Not certain: {doubt}"));
    }
    stdout::line(format!("Licence {}: not for commercial use", found.config.licence));
    stdout::line(format!("Written to {}", args.to.display()));
    Ok(ExitCode::SUCCESS)
}

/// Imports a separator.
fn separator(args: &ModelImport) -> Result<ExitCode> {
    for (flag, given) in [("--t5", args.t5.is_some()), ("--quant", args.quant.is_some())] {
        if given {
            return Err(usage(format!("{flag} is for language models; SRC is a separator")));
        }
    }
    let plan = SeparatorPlan::open(&args.src)?;
    let mut bar = Bar::new(args.json);
    let found = plan.write(&args.to, &mut |p| {
        bar.at(p);
        ControlFlow::Continue(())
    })?;
    bar.finish();
    if args.json {
        let doubts: [&str; 0] = [];
        stdout::json(
            &json!({"dir": args.to.display().to_string(), "config": found.config, "notes": found.notes, "doubts": doubts}),
        );
        return Ok(ExitCode::SUCCESS);
    }
    found.notes.iter().for_each(stdout::line);
    stdout::line(format!("Licence: {}", found.config.licence));
    stdout::line(format!("Written to {}; use it with `sideman separate SONG --separator {0} --out DIR`", args.to.display()));
    Ok(ExitCode::SUCCESS)
}

/// Progress in bytes on stderr: a bar on a terminal, a line per second elsewhere.
struct Bar {
    bar: Option<ProgressBar>,
    last: Instant,
    quiet: bool,
}

impl Bar {
    fn new(quiet: bool) -> Self {
        let bar = (!quiet && escapes::on_stderr()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("importing {bar:30} {bytes}/{total_bytes}, {eta} left");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, last: Instant::now(), quiet }
    }

    fn at(&mut self, p: Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length(p.total);
            bar.set_position(p.done);
        } else if !self.quiet && self.last.elapsed() >= Duration::from_secs(1) {
            self.last = Instant::now();
            eprintln!("importing: {} of {} MB", p.done / 1_000_000, p.total / 1_000_000);
        }
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
