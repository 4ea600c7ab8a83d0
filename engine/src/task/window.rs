//! One window of a song: a run of the language model over the grid \[prefix ‖ transition ‖ target\], or over
//! the target alone (docs/explanation/musicgen-stem.md sections 7 and 8).

use std::ops::ControlFlow;

use sideman_kernels::{Backend, UNKNOWN};

use super::{Codes, Settings};
use crate::error::{Error, Result};
use crate::lm::RunSpec;
use crate::model::Model;
use crate::model::{Config, EditConfig};
use crate::text::Hidden;

/// The input of a window's run.
pub(super) struct Window<'a> {
    /// First frame of the target in the song.
    pub start: usize,
    /// For each stream, whether it belongs to an input stem, which the model gets late; empty: none does.
    pub input_stem: &'a [bool],
    /// Delay of each stream, lag included.
    pub delays: &'a [usize],
    /// For each song, streams × prefix frames with the transition ([`prefix`]); empty: no prefix.
    pub prefix: Vec<Codes>,
    /// For each song, streams × target frames: given tokens, and UNKNOWN where a token is to be sampled.
    pub target: Vec<Codes>,
}

/// Prefix and transition of a window that begins at `start`: every `decimation`-th frame of `codes`, then one
/// frame of special ids (section 8.1). Tokens are special ids where `mask(stream, window frame)` is true,
/// where they are unknown and past the end.
pub(super) fn prefix(config: &Config, codes: &Codes, start: usize, mask: impl Fn(usize, usize) -> bool) -> Codes {
    let specials: Vec<i32> = config.streams.iter().map(|s| s.card as i32).collect();
    let edit = config.edit.clone().unwrap_or(EditConfig { window: 0, decimation: 1 });
    summary(&specials, &edit, codes, start, mask)
}

fn summary(specials: &[i32], edit: &EditConfig, codes: &Codes, start: usize, mask: impl Fn(usize, usize) -> bool) -> Codes {
    let row = |(k, row): (usize, &Vec<i32>)| {
        let frame = |t: usize| row.get(start + t).copied().filter(|&c| c != UNKNOWN && !mask(k, t)).unwrap_or(specials[k]);
        (0..edit.window).step_by(edit.decimation).map(frame).chain([specials[k]]).collect()
    };
    codes.iter().enumerate().map(row).collect()
}

/// First frames of the windows of a song of `frames` frames: every `hop` frames until a window reaches the
/// end.
pub(super) fn starts(frames: usize, window: usize, hop: usize) -> Vec<usize> {
    (0..).map(|w| w * hop).take_while(|&start| start == 0 || start + window < frames + hop).collect()
}

impl Window<'_> {
    /// Samples the window's unknown tokens. Returns the target: for each song, streams × frames. `report`
    /// gets the number of the target's frames that are done.
    ///
    /// # Errors
    /// The backend's memory is full, the model's logits are not finite, or `report` returned `Break`.
    pub fn sample<B: Backend>(
        &self,
        model: &Model<B>,
        backend: &mut B,
        settings: &Settings,
        text: Option<&Hidden>,
        report: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Codes>> {
        let config = model.config();
        let prefix = self.prefix.first().map_or(0, |song| song[0].len());
        let frames = self.target[0][0].len();
        let songs = self.target.len();
        let spec = RunSpec {
            songs,
            guided: settings.guided(config, text.is_some(), !self.input_stem.is_empty()),
            delays: self.delays,
            frames: prefix + frames,
            texts: &vec![text; songs],
            text_room: 0,
            kv: model.lm.cache(),
            block: settings.block,
            sampling: settings.sampling(self.start as i64 - prefix as i64),
        };
        let mut run = model.lm.run(backend, &spec)?;
        if config.live.as_ref().is_some_and(|live| live.guides) {
            run.mask_null_lane(backend, |k| self.input_stem.get(k) == Some(&true));
        }
        for (song, target) in self.target.iter().enumerate() {
            for (k, row) in target.iter().enumerate() {
                if let Some(song_prefix) = self.prefix.get(song) {
                    run.put(backend, song, k, 0, &song_prefix[k])?;
                }
                run.put(backend, song, k, prefix, row)?;
            }
        }
        if let Some(chart) = &settings.chart {
            let decimation = config.edit.as_ref().map_or(1, |e| e.decimation);
            for (c, control) in config.controls.iter().enumerate() {
                let value = |frame: usize| chart.control(&control.name, (self.start + frame) as i64).unwrap_or(UNKNOWN);
                let before = prefix.saturating_sub(1);
                let values: Vec<i32> = (0..before).map(|i| value(i * decimation)).collect();
                run.control(backend, &model.lm, c, 0, &values);
                let values: Vec<i32> = (0..frames).map(value).collect();
                run.control(backend, &model.lm, c, prefix, &values);
            }
        }

        let needed = run.needed();
        while run.next(backend, &model.lm, needed) > 0 {
            let done = run.at().saturating_sub(prefix).min(frames);
            if report(done).is_break() {
                return Err(Error::Cancelled);
            }
        }
        match run.nonfinite_samples(backend) {
            0 => {}
            n => {
                return Err(Error::Input(format!(
                    "the model {} is damaged: {n} of its predictions have no finite logit",
                    config.name
                )));
            }
        }
        let mut codes = vec![vec![vec![UNKNOWN; frames]; config.streams.len()]; songs];
        for (song, rows) in codes.iter_mut().enumerate() {
            for (k, row) in rows.iter_mut().enumerate() {
                run.codes(backend, song, k, prefix, row);
            }
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_whole_song() {
        assert_eq!(starts(1, 1250, 1000), [0]);
        assert_eq!(starts(1250, 1250, 1000), [0]);
        assert_eq!(starts(1251, 1250, 1000), [0, 1000]);
        assert_eq!(starts(2250, 1250, 1000), [0, 1000]);
        assert_eq!(starts(2251, 1250, 1000), [0, 1000, 2000]);
        // Pieces of songs over 30 s (7.1): 31, 48, 60 and 75.5 s.
        let pieces = [(1550, vec![0, 900]), (2400, vec![0, 900]), (3000, vec![0, 900, 1800]), (3775, vec![0, 900, 1800, 2700])];
        for (frames, expected) in pieces {
            assert_eq!(starts(frames, 1500, 900), expected);
        }
    }

    #[test]
    fn a_prefix_holds_every_nth_frame_and_masks_unknown_ones() {
        // Section 6: 10 source frames, decimation 5, bass masked.
        let codes: Codes = (0..6).map(|k| (0..10).map(|t| 100 * k + t).collect()).collect();
        let edit = EditConfig { window: 10, decimation: 5 };
        let all = summary(&[2048; 6], &edit, &codes, 0, |k, _| k == 0);
        assert_eq!(all[0], [2048, 2048, 2048]);
        assert_eq!((&all[1][..], &all[5][..]), (&[100, 105, 2048][..], &[500, 505, 2048][..]));
        // Later in the song: a stream known up to frame 6 of the window, one unknown, one that has ended.
        let codes: Codes = vec![(0..20).collect(), vec![UNKNOWN; 20], (0..8).collect()];
        let part = summary(&[9, 8, 7], &EditConfig { window: 12, decimation: 4 }, &codes, 3, |_, t| t >= 6);
        assert_eq!(part, [[3, 7, 9, 9], [8, 8, 8, 8], [3, 7, 7, 7]]);
    }
}
