//! Live play from a file into files.

use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, anyhow};
use sideman_engine::atomic;
use sideman_engine::audio::{self, RATE};
use sideman_engine::live::by_ear;
use sideman_io::control::Control;
use sideman_io::device::file;
use sideman_io::runner::Runner;
use sideman_io::{supervisor, take};
use sideman_kernels::Backend;

use super::OpenScreen;
use super::heard::Heard;
use super::report::{self, StatusLine};
use super::signals::Signals;
use crate::cli::{Live, Pace};
use crate::output_folder::OutputFolder;
use crate::song_folder;
use crate::song_info::{self, SongInfo};

/// The folder of `--to`.
pub fn output<'a>(args: &Live, from: &Path, to: &'a Path) -> OutputFolder<'a> {
    OutputFolder::new("--to", to, args.force).reads("--from", from)
}

/// Names of the files in it.
pub fn names(stems: &[String]) -> Vec<String> {
    take::file_names(stems).into_iter().chain([song_info::FILE.to_owned()]).collect()
}

/// The samples of the recording of `--from`.
///
/// # Errors
/// The recording can't be read.
pub fn read(args: &Live, from: &Path) -> Result<Vec<f32>> {
    let recording = audio::read_up_to(from, audio::MAX_SET_MINUTES)?;
    recording.warnings().iter().for_each(|w| tracing::warn!("{w}"));
    let mut samples = recording.samples;
    if let Some(seconds) = args.seconds {
        samples.truncate((seconds * f64::from(RATE)).max(0.0) as usize);
    }
    Ok(samples)
}

/// Plays `samples`, the recording `from`, to the session and records into the folder `to`.
///
/// # Errors
/// The take can't be written.
pub fn run<B: Backend>(
    args: &Live,
    song: &SongInfo,
    mut runner: Runner<B>,
    control: &Control,
    (from, mut samples): (&Path, Vec<f32>),
    to: &Path,
    open_screen: OpenScreen,
) -> Result<ExitCode> {
    song_folder::create(to, "--to")?;
    output(args, from, to).clear(&names(&runner.info().stems))?;
    let signals = Signals::new()?;
    runner.set_pages(!args.run.no_page);
    runner.record(Some(to.to_owned()), None)?;
    if args.surfaces.wait && !runner.wait_for_play(|| signals.stop.load(Ordering::Relaxed)) {
        samples.clear();
    }
    let screen = open_screen(signals.hangup)?;
    if screen.is_some() {
        supervisor::print_events(control, |message| report::print(&message));
    }
    let began = Instant::now();
    let status = (screen.is_none() && !args.run.json).then(|| StatusLine::start(control)).transpose()?;
    let pace = if args.pace == Pace::Real { file::Pace::Real } else { file::Pace::Fast };
    let mut heard = Heard::default();
    file::play(&mut runner, &samples, pace, VecDeque::new(), |_| {
        heard.update(&control.snapshot());
        !signals.stop.load(Ordering::Relaxed)
    });
    drop((screen, status));
    let (took, info) = (began.elapsed(), runner.info().clone());
    let events = runner.finish();
    if let Some(failure) = events.iter().find(|event| event.is_failure()) {
        return Err(anyhow!("{failure}"));
    }
    // `edit` and `continue` read it. Chords by ear are no chart.
    let song = SongInfo { chords: song.chords.clone().filter(|chords| !by_ear(chords)), ..song.clone() };
    let document = serde_json::to_value(song)?;
    atomic::write(&to.join(song_info::FILE), format!("{document:#}\n").as_bytes())?;
    report::finish(args, &info, control, took, &events, heard);
    Ok(ExitCode::SUCCESS)
}
