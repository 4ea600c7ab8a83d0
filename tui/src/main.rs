//! `sideman`: the band that listens. One file per command; `cli.rs` holds what may be typed, and the rest is shared.

mod backend;
mod cli;
mod continue_;
mod control_surfaces;
mod doctor;
mod edit;
mod find;
mod folders;
mod import;
mod keys;
mod live;
mod model;
mod model_run;
mod osc;
mod output;
mod progress;
mod render;
mod replay;
mod report;
mod screen;
mod song;
mod stems;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, ModelCommand};

/// What was typed can't be meant: exit status 2, where every other failure is 1.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A usage error with this text, as `anyhow` carries it.
fn usage(what: impl Into<String>) -> anyhow::Error {
    Usage(what.into()).into()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    logs(cli.verbose);
    let jam;
    let command = match (&cli.command, cli.demo) {
        (Some(command), false) => command,
        (Some(_), true) => return failed(&usage("--demo stands alone: sideman --demo")),
        (None, demo) => {
            jam = match live::jam(demo) {
                Ok(jam) => Command::Live(jam),
                Err(error) => return failed(&error),
            };
            &jam
        }
    };
    let done = match command {
        Command::Render(args) => render::run(args),
        Command::Edit(args) => edit::run(args),
        Command::Continue(args) => continue_::run(args),
        Command::Live(args) => live::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Model(ModelCommand::List(args)) => model::list(args),
        Command::Model(ModelCommand::Info(args)) => model::info(args),
        Command::Model(ModelCommand::Import(args)) => import::run(args),
        Command::Model(ModelCommand::Verify(args)) => model::verify(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Osc => Ok(osc::run()),
        Command::Keys(args) => keys::run(args),
    };
    match done {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

/// Tells what went wrong.
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("sideman: {error}");
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

/// Logs to stderr: warnings, and more with `-v`, `-vv`.
fn logs(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .without_time()
        .with_target(false)
        // They would be said on a stderr that has just failed, and a terminal that is gone must stop no music.
        .log_internal_errors(false)
        .init();
}
