//! The task [`Continue`]: more of a given song (docs/explanation/musicgen-stem.md 7.1).

use sideman_kernels::{Backend, UNKNOWN};

use super::generate::{extend, samples};
use super::{Report, Settings, Song};
use crate::error::{Error, Result};
use crate::model::{FRAME, Model};

/// Continues a song.
#[derive(Debug, Clone)]
pub struct Continue<'a> {
    /// Samples of every stem at 32 kHz, in the model's order.
    pub given: Vec<Option<&'a [f32]>>,
    /// Seconds to add.
    pub seconds: f64,
    /// Parameters that all tasks have.
    pub settings: Settings,
}

impl Continue<'_> {
    /// Generates the songs, one for each variation, with the given part at the start. The continuation begins
    /// at the last whole frame; the frame before (20 ms) is a crossfade.
    ///
    /// # Errors
    /// A stem is missing, less than a frame is given, a setting is out of range, the backend's memory is
    /// full, or `report` returned `Break`.
    pub fn render<B: Backend>(&self, model: &mut Model<B>, backend: &mut B, report: Report) -> Result<Vec<Song>> {
        let given_len = model.check_given(&self.given)?;
        let missing = model.config().stems.iter().zip(&self.given).find(|(_, given)| given.is_none());
        if let Some((stem, _)) = missing {
            return Err(Error::Input(format!(
                "the stem {stem} is missing: continuing a song needs every stem; generate it first"
            )));
        }
        let known = given_len / FRAME;
        if known == 0 {
            return Err(Error::Input(format!(
                "{given_len} samples are given; continuing a song needs at least one frame, {FRAME} samples"
            )));
        }
        let len = given_len + samples(self.seconds)?;
        self.settings.check(len)?;
        let cut: Vec<Option<&[f32]>> = self.given.iter().map(|g| g.map(|s| &s[..s.len().min(known * FRAME)])).collect();
        let mut song = model.encode_all(backend, &cut, known)?;
        song.iter_mut().for_each(|row| row.resize(len.div_ceil(FRAME), UNKNOWN));
        let songs = extend(model, backend, &self.settings, vec![song; self.settings.variations], known, report)?;
        let none = vec![None; cut.len()];
        let mut out = Vec::with_capacity(songs.len());
        for codes in songs {
            let mut song = model.song(backend, codes, len, &none)?;
            if !self.settings.recode_given {
                for (stem, given) in song.stems.iter_mut().zip(&cut) {
                    splice(stem, given.unwrap_or_default(), known * FRAME);
                }
                song.kept.fill(true);
            }
            out.push(song);
        }
        Ok(out)
    }
}

/// Replaces the first `end` samples of `stem` by `given` (silence past its end), with a crossfade over the
/// last frame of them.
fn splice(stem: &mut [f32], given: &[f32], end: usize) {
    for (i, sample) in stem[..end].iter_mut().enumerate() {
        let fade = (i + FRAME).saturating_sub(end) as f32 / FRAME as f32;
        let old = given.get(i).copied().unwrap_or(0.0);
        *sample = old + (*sample - old) * fade;
    }
}
