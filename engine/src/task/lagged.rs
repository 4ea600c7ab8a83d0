//! What live play would make of a recording, offline: the player's stems reach the model `lag` frames late, and nothing of the
//! future is known. For models trained so (`live.strategy` is `lagged`; docs/reference/model-format.md).

use sideman_kernels::{Backend, UNKNOWN};

use super::window::{Window, prefix, starts};
use super::{Progress, Report, Settings, Song};
use crate::error::{Error, Result};
use crate::lm::Pattern;
use crate::model::Model;
use crate::model::{FRAME, Strategy};

/// The band's stems to the player's, heard `lag` frames late.
#[derive(Debug, Clone)]
pub struct Lagged<'a> {
    /// Samples at 32 kHz of the player's stems, in the model's order; none: the band's.
    pub given: Vec<Option<&'a [f32]>>,
    /// Frames by which the player's stems are delayed in the pattern.
    pub lag: usize,
    /// The rest.
    pub settings: Settings,
}

impl Lagged<'_> {
    /// Makes the songs, one a variation, each as long as what is given. The player's stems come back as they were given.
    ///
    /// # Errors
    /// The model isn't trained for it, nothing is given or nothing is left to make, a setting can't be, the player's memory is full, or
    /// `report` said stop.
    pub fn render<B: Backend>(&self, model: &mut Model<B>, backend: &mut B, report: Report) -> Result<Vec<Song>> {
        let len = model.check_given(&self.given)?;
        self.settings.check(len)?;
        let text = model.hidden(&self.settings)?;
        let config = model.config();
        let (Some(edit), Some(Strategy::Lagged)) = (&config.edit, config.live.as_ref().map(|l| l.strategy)) else {
            return Err(Error::Input(format!("the model {} can't play to a lagged stem: it was not trained to", config.name)));
        };
        // The overlap of two windows, and so the history that the second one begins with, is a fifth of a window (5 s).
        let overlap = edit.window / 5;
        if self.lag >= overlap {
            return Err(Error::Input(format!("a lag of {} frames is too long: less than {overlap}", self.lag)));
        }
        let input_stem: Vec<bool> = (config.streams.iter())
            .map(|s| config.stems.iter().zip(&self.given).any(|(stem, given)| *stem == s.stem && given.is_some()))
            .collect();
        if input_stem.iter().all(|&p| p) {
            return Err(Error::Input("every stem is given: there is nothing left to play".into()));
        }
        let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
        let delays = Pattern::lagged(&delays, &input_stem, self.lag);
        let frames = len.div_ceil(FRAME);
        let mut songs = vec![model.encode_all(backend, &self.given, frames)?; self.settings.variations];
        for start in starts(frames, edit.window, edit.window - overlap) {
            let end = (start + edit.window).min(frames);
            // Nothing is known ahead: the first window has no summary at all, a later one that of its history as far as heard.
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
            let made = window.play(model, backend, &self.settings, text.as_ref(), &mut |done| {
                report(Progress { done: start + done, total })
            })?;
            for (song, made) in songs.iter_mut().zip(&made) {
                for (row, new) in song.iter_mut().zip(made) {
                    row[start..end].copy_from_slice(new);
                }
            }
        }
        debug_assert!(songs.iter().flatten().flatten().all(|&c| c != UNKNOWN));
        let kept = if self.settings.coded { vec![None; self.given.len()] } else { self.given.clone() };
        songs.into_iter().map(|codes| model.song(backend, codes, len, &kept)).collect()
    }
}
