//! Going on from a song that is there (docs/explanation/musicgen-stem.md 7.1).

use sideman_kernels::{Backend, UNKNOWN};

use super::generate::{extend, samples};
use super::{Report, Settings, Song};
use crate::error::{Error, Result};
use crate::model::FRAME;
use crate::model::Model;

/// More of a song.
#[derive(Debug, Clone)]
pub struct Continue<'a> {
    /// Samples of every stem at 32 kHz, in the model's order.
    pub given: Vec<Option<&'a [f32]>>,
    /// Seconds to add.
    pub seconds: f64,
    /// The rest.
    pub settings: Settings,
}

impl Continue<'_> {
    /// Makes the songs, what was given included: the given samples, blended over the last frame (20 ms) into what follows, which begins
    /// at the last whole frame.
    ///
    /// # Errors
    /// A stem is missing or shorter than a frame, a setting can't be, the player's memory is full, or `report` said stop.
    pub fn render<B: Backend>(&self, model: &mut Model<B>, backend: &mut B, report: Report) -> Result<Vec<Song>> {
        let given_len = model.check_given(&self.given)?;
        let missing = model.config().stems.iter().zip(&self.given).find(|(_, given)| given.is_none());
        if let Some((stem, _)) = missing {
            return Err(Error::Input(format!("{stem} is missing: going on needs every stem; make it first")));
        }
        let known = given_len / FRAME;
        if known == 0 {
            return Err(Error::Input(format!("{given_len} samples are less than a frame ({FRAME}): nothing to go on from")));
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
            if !self.settings.coded {
                for (stem, given) in song.stems.iter_mut().zip(&cut) {
                    splice(stem, given.unwrap_or_default(), known * FRAME);
                }
            }
            out.push(song);
        }
        Ok(out)
    }
}

/// Puts `given` (silence past its end) in the place of the first `end` samples of `stem`, fading over within the last frame of them.
fn splice(stem: &mut [f32], given: &[f32], end: usize) {
    for (i, sample) in stem[..end].iter_mut().enumerate() {
        let fade = (i + FRAME).saturating_sub(end) as f32 / FRAME as f32;
        let old = given.get(i).copied().unwrap_or(0.0);
        *sample = old + (*sample - old) * fade;
    }
}
