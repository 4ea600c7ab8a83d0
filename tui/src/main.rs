//! The program `sideman`: the command line, the terminal screen, and what they print.
//!
//! Each command has a file of its name (`continue` is in extend.rs); cli/ holds the flags, screen/ the
//! terminal screen of live play.

mod backend;
mod beats_file;
mod cli;
mod control_surfaces;
mod doctor;
mod edit;
mod escapes;
mod extend;
mod folders;
mod form;
mod hearing;
mod import;
mod interrupt;
mod keys;
mod listen;
mod listen_midi;
mod listen_picture;
mod live;
mod model;
mod model_path;
mod offline_task;
mod osc;
mod output_folder;
mod progress;
mod recordings;
mod render;
mod render_job;
mod render_report;
mod replace;
mod replay;
mod sampling;
mod screen;
mod separate;
#[cfg(test)]
mod sidecar_fuzz;
mod song_file;
mod song_folder;
mod song_info;
mod song_page;
mod stdout;

use std::process::ExitCode;

/// Counts allocations in callbacks and hops, which the report of a live session shows. Only where debug assertions
/// are on, as in the program that the tests run.
#[cfg(debug_assertions)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;

use clap::Parser;

use cli::{Cli, Command, ModelCommand};

/// A wrong command line: the exit status is 2, and 1 for every other error.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A usage error with this message.
fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    init_logging(cli.verbose);
    #[cfg(unix)]
    survive_file_size_limit();
    let default_command;
    let command = match (&cli.command, cli.demo) {
        (Some(command), false) => command,
        (Some(_), true) => return failed(&usage("--demo takes no command: run sideman --demo")),
        (None, demo) => {
            default_command = match live::without_command(demo) {
                Ok(live) => Command::Live(live),
                Err(error) => return failed(&error),
            };
            &default_command
        }
    };
    let result = match command {
        Command::Render(args) => render::run(args),
        Command::Edit(args) => edit::run(args),
        Command::Continue(args) => extend::run(args),
        Command::Separate(args) => separate::run(args),
        Command::Listen(args) => listen::run(args),
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
    match result {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

/// A file that reaches the limit of a file's size (`ulimit -f`) is an error of that file, and not the end of the program.
#[cfg(unix)]
fn survive_file_size_limit() {
    // Where it can't be registered, the signal ends the program.
    let _ = signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), std::sync::Arc::default());
}

/// Prints an error and returns its exit status.
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("sideman: {error}");
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

/// Logs warnings to stderr; also information with `-v`, debugging with `-vv`.
fn init_logging(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let ansi = escapes::on_stderr() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .without_time()
        .with_target(false)
        // They would go to the stderr that has just failed. A closed terminal must not stop the music.
        .log_internal_errors(false)
        .init();
}
