//! `sideman live`: a band that plays with devices, or with a file in their place.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use clap::Parser;
use serde_json::json;
use sideman_engine::atomic;
use sideman_engine::audio::{self, RATE};
use sideman_engine::live::{Clock, Command, LoadShedding, Request, Session, SessionConfig, Snapshot};
use sideman_engine::model::Model;
use sideman_engine::model::{FRAME, ModelDir};
use sideman_engine::task::Meter;
use sideman_io::control::Control;
use sideman_io::device::{self, DeviceConfig, file};
use sideman_io::event::{RecordingEvent, Refusal, shedding};
use sideman_io::failover::Slot;
use sideman_io::live::EngineThread;
use sideman_io::run_mode::RunMode;
use sideman_io::runner::{Runner, take_name};
use sideman_io::take::{self, TakeInfo};
use sideman_io::{midi, rt, supervisor};
use sideman_kernels::Backend;
use sideman_kernels::cpu::CpuBackend;

use crate::backend::gpu;
use crate::cli::{BackendChoice, Cli, Live, Pace};
use crate::screen::{self, About, Keymap, Screen};
use crate::song_info::{self, SongInfo};
use crate::{backend, control_surfaces, model_path, song_folder, stdout, usage};

/// Where takes go that are asked for without `--record`.
const TAKES: &str = "takes";
/// Seconds of a hop, beside its own length, that computing and resampling are given before the next one must sound.
const COMPUTE: f64 = 0.04;

/// Runs the command.
///
/// # Errors
/// A sentence with the file, flag or device at fault.
pub fn run(args: &Live) -> Result<ExitCode> {
    args.sampling.check()?;
    let keys = Keymap::find(args.keys.as_deref())?;
    let jack = args.host.as_deref() == Some("jack") && args.from.is_none();
    if let Some(name) = &args.hands.midi {
        if args.from.is_some() {
            return Err(usage("--midi: pedals play along with devices, not with a file: leave out --from and --to"));
        }
        // Told before the model is read.
        if !jack {
            midi::ports::find(name).map_err(|e| anyhow!("--midi {name}: {e}"))?;
        }
    }
    if args.hands.clock.as_deref() == Some("jack") && !jack {
        return Err(usage("--clock jack: that is the JACK server's transport: add --host jack"));
    }
    if args.hands.clock.as_deref() == Some("link") && (args.from.is_some() || cfg!(not(feature = "link"))) {
        return Err(usage(format!("--clock link: {}", Refusal::NoLink)));
    }
    // Before the first worker is made: all of them compute alike.
    rt::flush_denormals();
    let song = SongInfo::from_flags_and_file(&args.chart, args.from.as_deref())?;
    let dir = model_path::open(args.run.model.as_deref())?;
    if dir.config.fixture {
        tracing::warn!("{} is a random model for tests: what it plays is noise", dir.path.display());
    }
    let mut cpu = rt::with_raised_priority(|| CpuBackend::new(backend::threads(args.run.threads)));
    // No GPU has played on a stage yet: one plays where it is asked for by name, and the processor waits to take over.
    match args.run.backend {
        BackendChoice::Cuda => match gpu(BackendChoice::Cuda)? {
            Some(cuda) => {
                let band = Model::load(&mut cpu, &dir, args.run.precision.into())?;
                play(args, keys, jack, &song, &dir, cuda, Some((cpu, band)))
            }
            None => play(args, keys, jack, &song, &dir, cpu, None),
        },
        BackendChoice::Auto | BackendChoice::Cpu => play(args, keys, jack, &song, &dir, cpu, None),
    }
}

/// Plays on `backend`; `standby` takes over where that is lost.
fn play<B: Backend + Send + 'static>(
    args: &Live,
    keys: Keymap,
    jack: bool,
    song: &SongInfo,
    dir: &ModelDir,
    mut backend: B,
    standby: Option<(CpuBackend, Model<CpuBackend>)>,
) -> Result<ExitCode> {
    let mut band = Model::load(&mut backend, dir, args.run.precision.into())?;
    if let Some(why) = backend.failure() {
        return Err(anyhow!("{why}"));
    }
    let asked = asked(args, dir)?;
    let info = TakeInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: std::path::absolute(&dir.path).unwrap_or_else(|_| dir.path.clone()),
        model_sha256: take::model_hash(&dir.path)?,
        precision: args.run.precision.into(),
        stems: dir.config.stems.clone(),
        // The runner fills it in.
        lead: 0,
        devices: match &args.from {
            Some(from) => from.display().to_string(),
            None => args.host.clone().unwrap_or_else(|| "default".into()),
        },
        latency_in: 0.0,
        latency_out: 0.0,
        from: 0,
        samples: 0,
        config: session_config(args, song, &band, &asked)?,
    };
    // A text that can't be is told before anything sounds.
    if let (false, Some(text)) = (info.config.text.is_empty(), &mut band.text) {
        text.encode(&info.config.text)?;
    }
    let (control, controls) = Control::new();
    let takes = args.record.clone().unwrap_or_else(|| PathBuf::from(TAKES));
    let mode = if args.from.is_some() { RunMode::Files } else { RunMode::Devices };
    // Nobody plays along at the fast pace.
    let shown = !args.headless && !args.run.json && screen::possible() && (mode == RunMode::Devices || args.pace == Pace::Real);
    let about = About { model: &dir.config.name, stems: &dir.config.stems };
    let show: Show = Box::new(|hangup| shown.then(|| Screen::open(&control, &about, keys, hangup)).transpose());
    let standby = standby.map(|(cpu, band)| Slot::standby(cpu, band, &info.config)).transpose()?;
    let mut runner = Runner::new(backend, band, info, controls, takes, mode)?;
    if let Some(standby) = standby {
        runner.set_standby(standby);
    }
    let mut hands = control_surfaces::start(&args.hands, jack, &control, &dir.config.name, runner.info())?;
    match (&args.from, &args.to) {
        (Some(from), Some(to)) => between_files(args, song, runner, &control, from, to, show),
        _ => with_devices(args, runner, &control, &asked, &mut hands, show),
    }
}

/// What `sideman` alone means: the default devices; as a demo, the bassist of `examples` in their place.
///
/// # Errors
/// There is nothing to play on, or no example beside the program.
pub fn without_command(demo: bool) -> Result<Box<Live>> {
    let typed = |words: &[&str]| match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(Some(crate::cli::Command::Live(live))) => Ok(live),
        _ => Err(anyhow!("sideman live takes no such words: {words:?}")),
    };
    if demo {
        let bass = model_path::repository_file("examples/funk.flac")
            .ok_or_else(|| anyhow!("--demo: there is no examples/funk.flac beside the program"))?;
        return typed(&["sideman", "live", "--from", &bass.to_string_lossy(), "--to", "demo", "--pace", "real"]);
    }
    if device::jack::running() {
        return typed(&["sideman", "live", "--host", "jack"]);
    }
    if device::cpal::list().is_empty() {
        return Err(anyhow!("this machine has no sound device; sideman --demo plays without one"));
    }
    typed(&["sideman", "live"])
}

/// What to play on.
fn asked(args: &Live, dir: &ModelDir) -> Result<DeviceConfig> {
    let stems = dir.config.stems.clone();
    if args.play != "none" && !stems.contains(&args.play) {
        return Err(usage(format!(
            "--instrument {}: the model has the stems {}; use one of them, or none to generate all stems",
            args.play,
            stems.join(", ")
        )));
    }
    let input_stem = if args.play == "none" { stems[0].clone() } else { args.play.clone() };
    Ok(DeviceConfig {
        host: args.host.clone(),
        input: args.input.clone(),
        output: args.output.clone(),
        midi: args.hands.midi.clone().filter(|name| name != "none"),
        client: args.client.clone(),
        period: args.period,
        extra_latency: (args.latency.clamp(-1000.0, 1000.0) * 1e3) as i32,
        input_stem,
        stems,
    })
}

/// The settings that the session starts with, from the flags, the song's JSON file and the model's defaults.
///
/// # Errors
/// A value that is out of range.
fn session_config<B: Backend>(args: &Live, song: &SongInfo, band: &Model<B>, asked: &DeviceConfig) -> Result<SessionConfig> {
    let config = band.config();
    let default = SessionConfig::for_model(config);
    let text = song.text.clone().filter(|_| config.text.is_some()).unwrap_or_default();
    if song.text.is_some() && config.text.is_none() {
        tracing::warn!("the model {} takes no text", config.name);
    }
    let devices = args.from.is_none();
    let hop = f64::from(args.hop) * FRAME as f64 / f64::from(RATE);
    let needed = hop + if devices { asked.expected_latency() + hop / 2.0 + COMPUTE } else { 0.0 };
    let needed = (needed * f64::from(RATE)) as i64;
    let lag = match args.lag {
        Some(lag) => {
            let lead = Session::lead_of(band, usize::from(lag));
            if lead < needed {
                tracing::warn!(
                    "--lag {lag} is too short: it leaves {:.0} ms, and hop and devices take {:.0}; the band will come late",
                    lead as f64 / 32.0,
                    needed as f64 / 32.0
                );
            }
            usize::from(lag)
        }
        None => Session::lag_for(band, needed).unwrap_or_else(|| {
            let longest = config.live.as_ref().and_then(|l| l.lags).map_or(default.lag, |l| l[1]);
            tracing::warn!("hop and devices take {} ms, more than the model's longest lag leaves", needed / 32);
            longest
        }),
    };
    if let Some([from, to]) = config.live.as_ref().and_then(|l| l.lags)
        && !(from..=to).contains(&lag)
    {
        tracing::warn!("--lag {lag}: the model was trained for {from} to {to}");
    }
    let [n, d] = song.meter.unwrap_or([4, 4]);
    let meter: Meter = format!("{n}/{d}").parse().map_err(|e: sideman_engine::Error| usage(e.to_string()))?;
    let tempo = song.bpm.unwrap_or(default.tempo);
    let count_in = u32::from(args.count_in.unwrap_or(u8::from(devices)));
    let bar = 60.0 / tempo * meter.quarters() as f64;
    let bar1 = match song.bar1 {
        Some(bar1) => bar1,
        None if devices => f64::from(count_in) * bar + 0.5,
        None => 0.0,
    };
    let settings = SessionConfig {
        input_stem: config.stems.iter().position(|s| *s == args.play).map(|p| p as u8),
        lag,
        tempo,
        meter,
        bar1: (bar1 * f64::from(RATE)).round() as i64,
        chords: song.chords.clone(),
        count_in,
        playing: !matches!(args.hands.clock.as_deref(), Some("midi" | "jack" | "link")),
        click: args.click,
        clock: match args.hands.clock.as_deref() {
            Some("midi") => Clock::Midi,
            Some("jack") => Clock::Jack,
            Some("link") => Clock::Link,
            Some("free") => Clock::Free,
            None if song.bpm.is_none() && !devices => Clock::Free,
            _ => Clock::Internal,
        },
        // Room for it; a session uses it where it has something to lean on.
        guided: config.text.is_some() || config.controls.iter().any(|c| c.guides),
        text,
        text_room: default.text_room,
        temperature: args.sampling.temperature.unwrap_or(default.temperature),
        top_k: args.sampling.top_k.unwrap_or(if args.sampling.top_p.is_some() { 0 } else { default.top_k }),
        top_p: args.sampling.top_p.unwrap_or(if args.sampling.top_k.is_some() { 0.0 } else { default.top_p }),
        cfg_scale: args.sampling.cfg.unwrap_or(default.cfg_scale),
        seed: args.sampling.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (now.as_nanos() / 1_000 % 1_000_000) as u64
        }),
        block: default.block,
    };
    settings.validate(config).map_err(|e| usage(e.to_string()))?;
    Ok(settings)
}

/// What puts the screen up, where there is to be one; it is handed what [`signals`] sets when the terminal goes.
type Show<'a> = Box<dyn FnOnce(Arc<AtomicBool>) -> Result<Option<Screen>> + 'a>;

/// Set by Ctrl-C or a polite kill; and by a hangup: a terminal that goes away stops no music.
fn signals() -> Result<(Arc<AtomicBool>, Arc<AtomicBool>)> {
    let (stop, hangup) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, hangup.clone())?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends the program at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok((stop, hangup))
}

/// A line on stderr, which may have gone with its terminal.
fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// One line on stderr.
fn status(s: &Snapshot) -> String {
    let h = &s.health;
    let shed = if h.shedding > LoadShedding::None { format!("  {}", shedding(h.shedding)) } else { String::new() };
    format!(
        "bar {}.{}  {:.1} bpm  load {:.0} %  hop p50 {:.1} p99 {:.1} ms  late {}  underrun {}  overrun {}  xruns {}{shed}",
        s.bar,
        s.beat,
        s.tempo,
        h.load * 100.0,
        h.p50,
        h.p99,
        h.late,
        h.underrun,
        h.overrun,
        h.xruns
    )
}

/// The hop that was asked for.
fn hop(args: &Live) -> Request {
    Request { command: Command::Hop(u32::from(args.hop)), when: None, from: 0 }
}

/// What a script reads at the end.
fn document(info: &TakeInfo, s: &Snapshot, took: Duration, events: &[RecordingEvent]) -> serde_json::Value {
    let h = &s.health;
    json!({
        "seed": info.config.seed, "model": info.model, "lag": info.config.lag, "lead_ms": info.lead as f64 / 32.0, "seconds": s.time.saturating_sub(info.lead) as f64 / f64::from(RATE),
        "took_seconds": took.as_secs_f64(), "hop_ms_p50": h.p50, "hop_ms_p99": h.p99, "load": h.load, "late": h.late,
        "underrun": h.underrun, "overrun": h.overrun, "xruns": h.xruns, "faults": h.faults, "load_shedding": h.shedding as u8,
        "latency_in_ms": h.latency_in, "latency_out_ms": h.latency_out, "events": events.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn between_files<B: Backend>(
    args: &Live,
    song: &SongInfo,
    mut runner: Runner<B>,
    control: &Control,
    from: &Path,
    to: &Path,
    show: Show,
) -> Result<ExitCode> {
    let recording = audio::read_up_to(from, audio::MAX_SET_MINUTES)?;
    recording.warnings().iter().for_each(|w| tracing::warn!("{w}"));
    let mut samples = recording.samples;
    if let Some(seconds) = args.seconds {
        samples.truncate((seconds * f64::from(RATE)).max(0.0) as usize);
    }
    song_folder::create(to, "--to")?;
    let (stop, hangup) = signals()?;
    runner.request(hop(args));
    runner.record(Some(to.to_owned()), false)?;
    if args.hands.wait && !runner.wait_for_play(|| stop.load(Ordering::Relaxed)) {
        samples.clear();
    }
    let screen = show(hangup)?;
    if screen.is_some() {
        supervisor::print_events(control, |message| tell(&message));
    }
    let began = Instant::now();
    let mut shown = Instant::now();
    let pace = if args.pace == Pace::Real { file::Pace::Real } else { file::Pace::Fast };
    file::play(&mut runner, &samples, pace, std::collections::VecDeque::new(), |_| {
        if shown.elapsed() >= Duration::from_secs(1) && !args.run.json && screen.is_none() {
            shown = Instant::now();
            tell(&status(&control.snapshot()));
        }
        !stop.load(Ordering::Relaxed)
    });
    drop(screen);
    let (took, info) = (began.elapsed(), runner.info().clone());
    let events = runner.finish();
    if let Some(failure) = events.iter().find(|event| event.is_failure()) {
        return Err(anyhow!("{failure}"));
    }
    // For `edit` and `continue`.
    let about = serde_json::to_value(song)?;
    atomic::write(&to.join(song_info::FILE), format!("{about:#}\n").as_bytes())?;
    finish(args, &info, control, took, &events)
}

fn with_devices<B: Backend + Send + 'static>(
    args: &Live,
    mut runner: Runner<B>,
    control: &Control,
    asked: &DeviceConfig,
    hands: &mut control_surfaces::ControlSurfaces,
    show: Show,
) -> Result<ExitCode> {
    let (stop, hangup) = signals()?;
    runner.request(hop(args));
    let first = args.record.as_ref().map(|dir| dir.join(take_name()));
    if let Some(dir) = &first {
        song_folder::create(dir, "--record")?;
    }
    runner.record(first, true)?;
    let info = runner.info().clone();
    let screen = show(hangup)?;
    supervisor::print_events(control, |message| tell(&message));
    let (mut engine, handle) = EngineThread::new(runner);
    engine.midi = hands.midi.take();
    engine.midi_ports = hands.ports.take();
    #[cfg(feature = "link")]
    let _link = {
        let (link, opened) = sideman_io::clock::link::Server::start(control.clone())?;
        engine.playback_clocks.push(opened);
        link
    };
    let began = Instant::now();
    let engine = std::thread::Builder::new().name("engine".into()).spawn(move || engine.run())?;
    let (watched, asked) = (control.clone(), asked.clone());
    let watch = std::thread::Builder::new().name("devices".into()).spawn(move || {
        let done = supervisor::watch(&watched, &asked, &handle);
        watched.end();
        done
    })?;
    let mut shown = Instant::now();
    while !control.ended() && !engine.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
        let over = args.seconds.is_some_and(|s| began.elapsed().as_secs_f64() >= s);
        if over || stop.load(Ordering::Relaxed) {
            control.end();
        }
        if shown.elapsed() >= Duration::from_secs(1) && screen.is_none() {
            shown = Instant::now();
            tell(&status(&control.snapshot()));
        }
    }
    control.end();
    drop(screen);
    let broken = |_| anyhow!("a thread of the session has died: please report what it printed above");
    let events = engine.join().map_err(broken)?;
    watch.join().map_err(broken)?.map_err(|e| anyhow!("{e}"))?;
    finish(args, &info, control, began.elapsed(), &events)
}

/// What is said at the end.
fn finish(args: &Live, info: &TakeInfo, control: &Control, took: Duration, events: &[RecordingEvent]) -> Result<ExitCode> {
    let last = control.snapshot();
    if args.run.json {
        stdout::json(&document(info, &last, took, events));
        return Ok(ExitCode::SUCCESS);
    }
    events.iter().for_each(|event| stdout::line(event.to_string()));
    let seconds = last.time.saturating_sub(info.lead) as f64 / f64::from(RATE);
    stdout::line(format!(
        "seed {}, lag {} ({:.0} ms ahead), {seconds:.1} s of music in {:.1} s; {}",
        info.config.seed,
        info.config.lag,
        info.lead as f64 / 32.0,
        took.as_secs_f64(),
        status(&last)
    ));
    Ok(ExitCode::SUCCESS)
}
