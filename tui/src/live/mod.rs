//! `sideman live`: plays live on sound devices, or from a file into files.

mod config;
mod devices;
mod files;
mod heard;
mod memory;
mod report;
mod signals;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, anyhow};
use clap::Parser;
use sideman_engine::live::Clock;
use sideman_engine::model::{Model, ModelDir};
use sideman_io::control::Control;
use sideman_io::device;
use sideman_io::event::Refusal;
use sideman_io::failover::Slot;
use sideman_io::run_mode::RunMode;
use sideman_io::runner::Runner;
use sideman_io::{midi, rt};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Activations, Backend};

use crate::backend::{self, gpu};
use crate::cli::{BackendChoice, Cli, ClockSource, Live, Pace};
use crate::screen::{self, About, Keymap, Screen};
use crate::song_folder::Stem;
use crate::song_info::SongInfo;
use crate::{control_surfaces, form, hearing, model_path, usage};

/// Folder of the takes without `--record`.
const DEFAULT_TAKES: &str = "takes";

/// Opens the screen, if there is to be one. Its argument is set when the terminal closes.
type OpenScreen<'a> = Box<dyn FnOnce(Arc<AtomicBool>) -> Result<Option<Screen>> + 'a>;

/// Runs the command.
///
/// # Errors
/// The error names the file, flag or device.
pub fn run(args: &Live) -> Result<ExitCode> {
    args.sampling.check()?;
    let keys = Keymap::find(args.keys.as_deref())?;
    check_surfaces(args)?;
    // Worker threads inherit the setting, so it comes before the first backend.
    rt::flush_denormals();
    let chosen = form::choose_for_live(args)?;
    let args = chosen.as_ref().unwrap_or(args);
    let mut song = SongInfo::from_flags_and_file(&args.chart, args.from.as_deref())?;
    let dir = model_path::open(args.run.model.as_deref())?;
    if let (Some(from), Some(to)) = (&args.from, &args.to) {
        files::output(args, from, to).check(&files::names(&dir.config.stems), 1)?;
    }
    // Before the model is loaded, so that an unreadable recording fails at once.
    let mut recording = args.from.as_ref().map(|from| files::read(args, from)).transpose()?;
    match (&mut recording, args.input_stem(), args.surfaces.clock) {
        (Some(samples), Some(stem), None) => {
            let given = [Stem { name: stem.to_owned(), samples: std::mem::take(samples), kept: true }];
            hearing::fill(&mut song, &given, args.named_instrument(), &args.chart, &dir.config)?;
            let [heard] = given;
            *samples = heard.samples;
            if song.beats.take().is_some() {
                tracing::warn!(
                    "the tempo changes, and live play keeps {:.2} BPM; --clock ear follows",
                    song.bpm.unwrap_or_default()
                );
            }
        }
        // A count gives the tempo.
        _ if config::clock(args, &song) == Clock::Ear => {}
        _ => song.check_tempo(&args.chart)?,
    }
    if dir.config.fixture {
        tracing::warn!("{} is a random model for tests: it generates noise", dir.path.display());
    }
    let activations = args.run.activations.into();
    let mut cpu = rt::with_raised_priority(|| CpuBackend::new(backend::threads(args.run.threads)).with_activations(activations));
    // Live play has not run on a real GPU yet: a GPU is used only if it is requested, with the processor as
    // standby.
    match args.run.backend {
        BackendChoice::Cuda => match gpu(BackendChoice::Cuda)? {
            Some(cuda) => {
                let model = Model::load(&mut cpu, &dir, args.run.precision.into())?;
                // The CUDA backend multiplies in f32.
                run_on(args, keys, &song, &dir, recording, (cuda, Activations::F32), Some((cpu, model)))
            }
            None => run_on(args, keys, &song, &dir, recording, (cpu, activations), None),
        },
        BackendChoice::Auto | BackendChoice::Cpu => run_on(args, keys, &song, &dir, recording, (cpu, activations), None),
    }
}

/// Checks the flags of control surfaces before the model is loaded.
fn check_surfaces(args: &Live) -> Result<()> {
    if let Some(name) = &args.surfaces.midi {
        if args.from.is_some() {
            return Err(usage("--midi needs sound devices: leave out --from and --to, or --midi"));
        }
        if !args.uses_jack() {
            midi::ports::find(name).map_err(|e| anyhow!("--midi {name}: {e}"))?;
        }
    }
    match args.surfaces.clock {
        Some(ClockSource::Jack) if !args.uses_jack() => Err(usage("--clock jack follows the JACK transport: add --host jack")),
        Some(ClockSource::Link) if args.from.is_some() || cfg!(not(feature = "link")) => {
            Err(usage(format!("--clock link: {}", Refusal::NoLink)))
        }
        _ => Ok(()),
    }
}

/// Runs the session on a backend, which multiplies q8 and q4 weights by such activations. `recording`: the samples of `--from`. `standby` takes over when a GPU is lost.
fn run_on<B: Backend + Send + 'static>(
    args: &Live,
    keys: Keymap,
    song: &SongInfo,
    dir: &ModelDir,
    recording: Option<Vec<f32>>,
    (mut backend, activations): (B, Activations),
    standby: Option<(CpuBackend, Model<CpuBackend>)>,
) -> Result<ExitCode> {
    let mut model = Model::load(&mut backend, dir, args.run.precision.into())?;
    if let Some(failure) = backend.failure() {
        return Err(anyhow!("--backend cuda: {failure}"));
    }
    let device = config::device_config(args, dir)?;
    let info = config::take_info(args, song, dir, &model, &device, activations)?;
    let hop = config::hop(args, &model, info.config.lag)?;
    // A text that can't be encoded fails here, before anything sounds.
    if let (false, Some(encoder)) = (info.config.text.is_empty(), &mut model.text) {
        encoder.encode(&info.config.text)?;
    }
    let (control, controls) = Control::new();
    let takes = args.record.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_TAKES));
    let mode = if args.from.is_some() { RunMode::Files } else { RunMode::Devices };
    let in_real_time = mode == RunMode::Devices || args.pace == Pace::Real;
    let with_screen = in_real_time && !args.headless && !args.run.json && screen::has_terminal();
    let about = About { model: &dir.config.name, stems: &dir.config.stems };
    let open_screen: OpenScreen =
        Box::new(|hangup| with_screen.then(|| Screen::open(&control, &about, keys, hangup)).transpose());
    let standby = standby.map(|(cpu, model)| Slot::standby(cpu, model, &info.config)).transpose()?;
    let mut runner = Runner::new(backend, model, info, controls, takes, mode)?;
    if let Some(standby) = standby {
        runner.set_standby(standby);
    }
    runner.request(config::hop_request(hop));
    let surfaces = control_surfaces::start(&args.surfaces, args.uses_jack(), &control, &dir.config.name, runner.info())?;
    match (&args.from, &args.to, recording) {
        (Some(from), Some(to), Some(samples)) => files::run(args, song, runner, &control, (from, samples), to, open_screen),
        _ => devices::run(args, runner, &control, &device, surfaces, open_screen),
    }
}

/// The arguments of `sideman` without a command: live play on JACK if a server runs, else on the default
/// devices. With `demo`, a recording in examples/ is the input.
///
/// # Errors
/// There is no device, or no recording.
pub fn without_command(demo: bool) -> Result<Box<Live>> {
    let parse = |words: &[&str]| match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(Some(crate::cli::Command::Live(live))) => Ok(live),
        _ => Err(anyhow!("these arguments are no live command: {}", words.join(" "))),
    };
    if demo {
        let bass = model_path::repository_file("examples/funk.flac")
            .ok_or_else(|| anyhow!("--demo: examples/funk.flac is not in the repository of this program"))?;
        let to = (1..).map(|n| if n == 1 { "demo".to_owned() } else { format!("demo-{n}") });
        let to = to.into_iter().find(|name| !Path::new(name).exists()).unwrap_or_default();
        return parse(&["sideman", "live", "--from", &bass.to_string_lossy(), "--to", &to, "--pace", "real"]);
    }
    if device::jack::running() {
        return parse(&["sideman", "live", "--host", "jack"]);
    }
    if device::cpal::default_output().is_none() {
        return Err(anyhow!(
            "no sound device was found: `sideman --demo` shows the band without one, `sideman render --bass FILE --out DIR` plays to a \
             recording, `sideman doctor` lists the devices"
        ));
    }
    parse(&["sideman", "live"])
}
