//! Live play on sound devices.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use sideman_io::control::Control;
use sideman_io::device::DeviceConfig;
use sideman_io::event::RecordingEvent;
use sideman_io::join::{join, join_within};
use sideman_io::live::EngineThread;
use sideman_io::runner::Runner;
use sideman_io::supervisor;
use sideman_io::take::TakePlace;
use sideman_kernels::Backend;

use super::heard::Heard;
use super::report::{self, StatusLine};
use super::signals::Signals;
use super::{OpenScreen, memory};
use crate::cli::Live;
use crate::control_surfaces::ControlSurfaces;
use crate::folders;

/// How often the main thread checks whether the session has ended.
const POLL: Duration = Duration::from_millis(20);
/// The longest time to close a take.
const CLOSING: Duration = Duration::from_secs(60);
/// A thread that can't be joined.
const LOST: &str = "panicked or hangs; please report this, with the messages above";

/// Starts the engine's thread and the devices' thread, and waits for the end of the session.
///
/// # Errors
/// A device can't be opened, or a thread panics.
pub fn run<B: Backend + Send + 'static>(
    args: &Live,
    mut runner: Runner<B>,
    control: &Control,
    device: &DeviceConfig,
    mut surfaces: ControlSurfaces,
    open_screen: OpenScreen,
) -> Result<ExitCode> {
    let signals = Signals::new()?;
    if let Err(e) = memory::lock() {
        tracing::info!("{e}");
    }
    // Before anything sounds: a lead that is too short for this computer is said now, and not when it stutters.
    let too_slow = runner.rehearse(device.expected_latency()).unwrap_or_else(|e| {
        tracing::info!("how long a hop takes is not known before the first one: {e}");
        None
    });
    let take = args.record.as_ref().map(|dir| TakePlace::named(dir, "").create().map_err(|e| anyhow!("--record {e}")));
    let recent = (!args.no_roll).then(|| args.roll.clone().unwrap_or_else(folders::cache));
    runner.set_pages(!args.run.no_page);
    runner.record(take.transpose()?, recent)?;
    let info = runner.info().clone();
    let screen = open_screen(signals.hangup)?;
    supervisor::print_events(control, |message| report::print(&message));
    if let Some(event) = too_slow {
        runner.emit(event);
    }
    let (mut engine, handle) = EngineThread::new(runner);
    engine.midi = surfaces.midi.take();
    engine.midi_ports = surfaces.ports.take();
    #[cfg(feature = "link")]
    let _link = {
        let (link, opened) = sideman_io::clock::link::Server::start(control.clone())?;
        engine.playback_clocks.push(opened);
        link
    };
    let began = Instant::now();
    let engine = std::thread::Builder::new().name("engine".into()).spawn(move || engine.run())?;
    let (watched, device) = (control.clone(), device.clone());
    let devices = std::thread::Builder::new().name("devices".into()).spawn(move || {
        let result = supervisor::watch(&watched, &device, &handle);
        watched.end();
        result
    })?;
    let status = screen.is_none().then(|| StatusLine::start(control)).transpose()?;
    while !control.ended() && !engine.is_finished() {
        std::thread::sleep(POLL);
        let over = args.seconds.is_some_and(|s| began.elapsed().as_secs_f64() >= s);
        if over || signals.stop.load(Ordering::Relaxed) {
            control.end();
        }
    }
    control.end();
    drop((screen, status));
    // The engine's thread closes the take. A sound server that hangs must not keep the program.
    let events = join_within(engine, CLOSING).ok_or_else(|| anyhow!("the engine's thread {LOST}"))?;
    join(devices).ok_or_else(|| anyhow!("the devices' thread {LOST}"))?.map_err(|e| anyhow!("{e}"))?;
    report::finish(args, &info, control, began.elapsed(), &events, Heard::default());
    // What failed was printed when it did.
    let failed = events.iter().any(RecordingEvent::is_failure);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
