//! The task [`Generate`]: all stems from a text. Songs longer than the model's longest run are made in
//! overlapping chunks (docs/explanation/musicgen-stem.md 7.1).

use sideman_kernels::{Backend, UNKNOWN};

use super::window::{Window, starts};
use super::{Codes, Progress, Report, Settings, Song};
use crate::error::{Error, Result};
use crate::model::{FRAME, Model, SAMPLE_RATE};

/// Generates a song from a text, or without any input.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use sideman_engine::model::{Model, ModelDir};
/// use sideman_engine::task::{Generate, Settings};
/// use sideman_kernels::{Format, cpu::CpuBackend};
///
/// // A small random model: it generates noise.
/// let dir = ModelDir::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/six"))?;
/// let mut cpu = CpuBackend::new(1);
/// let mut model = Model::load(&mut cpu, &dir, Format::F32)?;
/// let settings = Settings { seed: 7, ..Settings::new(&dir.config) };
/// let songs = Generate { seconds: 0.2, settings }.render(&mut model, &mut cpu, &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!((songs.len(), songs[0].stems.len(), songs[0].stems[0].len()), (1, 3, 6400));
/// # Ok::<(), sideman_engine::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Generate {
    /// Length in seconds, up to 3600.
    pub seconds: f64,
    /// Parameters that all tasks have.
    pub settings: Settings,
}

impl Generate {
    /// Generates the songs, one for each variation.
    ///
    /// # Errors
    /// A setting is out of range, the backend's memory is full, or `report` returned `Break`.
    pub fn render<B: Backend>(&self, model: &mut Model<B>, backend: &mut B, report: Report) -> Result<Vec<Song>> {
        let len = samples(self.seconds)?;
        self.settings.check(len)?;
        let song = vec![vec![UNKNOWN; len.div_ceil(FRAME)]; model.config().streams.len()];
        let songs = vec![song; self.settings.variations];
        let songs = extend(model, backend, &self.settings, songs, 0, report)?;
        let none = vec![None; model.config().stems.len()];
        songs.into_iter().map(|codes| model.song(backend, codes, len, &none)).collect()
    }
}

/// The number of samples of `seconds`, checked.
pub(super) fn samples(seconds: f64) -> Result<usize> {
    match (seconds * SAMPLE_RATE as f64).round() {
        len if len >= 1.0 && seconds <= super::MAX_SECONDS => Ok(len as usize),
        _ => Err(Error::Input(format!("{seconds} s of music: it should be more than 0 and at most {} s", super::MAX_SECONDS))),
    }
}

/// Samples every token that is UNKNOWN after the first `known` frames of the songs (streams × frames each).
/// Chunks are as long as the model's longest run and begin three fifths of that apart (18 s of 30 s). The
/// overlap is given to the next chunk.
pub(super) fn extend<B: Backend>(
    model: &mut Model<B>,
    backend: &mut B,
    settings: &Settings,
    mut songs: Vec<Codes>,
    known: usize,
    report: Report,
) -> Result<Vec<Codes>> {
    let text = model.hidden(settings)?;
    let config = model.config();
    let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
    let (total, longest) = (songs[0][0].len(), config.max_frames);
    let hop = (longest * 3 / 5).max(1);
    // Where the known part fills a whole run, begin with the overlap that a later chunk would have.
    let first = if known < longest { 0 } else { known - (longest - hop) };
    for start in starts(total - first, longest, hop).into_iter().map(|start| first + start) {
        let end = (start + longest).min(total);
        let target = songs.iter().map(|song| song.iter().map(|row| row[start..end].to_vec()).collect()).collect();
        let window = Window { start, input_stem: &[], delays: &delays, prefix: vec![], target };
        let made =
            window.sample(model, backend, settings, text.as_ref(), &mut |done| report(Progress { done: start + done, total }))?;
        for (song, made) in songs.iter_mut().zip(&made) {
            for (row, new) in song.iter_mut().zip(made) {
                row[start..end].copy_from_slice(new);
            }
        }
    }
    Ok(songs)
}
