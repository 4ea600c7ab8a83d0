//! The task [`Lagged`]: the stems that live play would generate for a recording. The input stems reach the
//! model `lag` frames late. For models that were trained for it (`live.strategy` is `lagged`;
//! docs/reference/model-format.md).

use sideman_kernels::{Backend, UNKNOWN};

use super::window::{Window, prefix, starts};
use super::{Progress, Report, Settings, Song};
use crate::error::{Error, Result};
use crate::lm::Pattern;
use crate::model::{FRAME, Model, Strategy};

/// Generates the missing stems from input stems that the model gets `lag` frames late.
#[derive(Debug, Clone)]
pub struct Lagged<'a> {
    /// Samples at 32 kHz of the input stems, in the model's order; none: the stem is generated.
    pub given: Vec<Option<&'a [f32]>>,
    /// Frames by which the input stems are delayed in the pattern.
    pub lag: usize,
    /// Parameters that all tasks have.
    pub settings: Settings,
}

impl Lagged<'_> {
    /// Generates the songs, one for each variation, as long as the longest input stem. Input stems are
    /// returned as given.
    ///
    /// # Errors
    /// The model was not trained for it, no stem or every stem is given, a setting is out of range, the
    /// backend's memory is full, or `report` returned `Break`.
    pub fn render<B: Backend>(&self, model: &mut Model<B>, backend: &mut B, report: Report) -> Result<Vec<Song>> {
        let len = model.check_given(&self.given)?;
        self.settings.check(len)?;
        let text = model.hidden(&self.settings)?;
        let config = model.config();
        let (Some(edit), Some(Strategy::Lagged)) = (&config.edit, config.live.as_ref().map(|l| l.strategy)) else {
            return Err(Error::Input(format!(
                "the model {} was not trained to play with lag (live.strategy lagged); use another model",
                config.name
            )));
        };
        // Two windows overlap by a fifth of a window (5 s): the history that the second one begins with.
        let overlap = edit.window / 5;
        if self.lag >= overlap {
            return Err(Error::Input(format!("lag {} frames: it should be less than {overlap}", self.lag)));
        }
        let input_stem: Vec<bool> = (config.streams.iter())
            .map(|s| config.stems.iter().zip(&self.given).any(|(stem, given)| *stem == s.stem && given.is_some()))
            .collect();
        if input_stem.iter().all(|&p| p) {
            return Err(Error::Input("every stem is given; leave out the stems that should be generated".into()));
        }
        let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
        let delays = Pattern::lagged(&delays, &input_stem, self.lag);
        let frames = len.div_ceil(FRAME);
        let mut songs = vec![model.encode_all(backend, &self.given, frames)?; self.settings.variations];
        for start in starts(frames, edit.window, edit.window - overlap) {
            let end = (start + edit.window).min(frames);
            // The future is not known. So the first window has an empty prefix, and a later one the history
            // that had arrived.
            let heard = if start == 0 { 0 } else { overlap - self.lag };
            let summary = |song| prefix(config, song, start, |_, t| t >= heard);
            let window = Window {
                input_stem: &input_stem,
                start,
                delays: &delays,
                prefix: songs.iter().map(summary).collect(),
                target: songs.iter().map(|song| song.iter().map(|row| row[start..end].to_vec()).collect()).collect(),
            };
            let total = frames;
            let made = window.sample(model, backend, &self.settings, text.as_ref(), &mut |done| {
                report(Progress { done: start + done, total })
            })?;
            for (song, made) in songs.iter_mut().zip(&made) {
                for (row, new) in song.iter_mut().zip(made) {
                    row[start..end].copy_from_slice(new);
                }
            }
        }
        debug_assert!(songs.iter().flatten().flatten().all(|&c| c != UNKNOWN));
        let kept = if self.settings.recode_given { vec![None; self.given.len()] } else { self.given.clone() };
        songs.into_iter().map(|codes| model.song(backend, codes, len, &kept)).collect()
    }
}
