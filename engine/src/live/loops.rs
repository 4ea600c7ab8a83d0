//! Freeze, undo, regenerate and the loop mode: what they do to the stems of a song.

use super::notice::Notice;
use super::song::{Song, sample};
use super::stem::Playback;
use super::timeline::Boundary;
use super::token_history::{HISTORY_FRAMES, LOOP_MAX_FRAMES, loop_frames};
use super::{Mode, Which};
use crate::model::FRAME;

impl Song {
    /// How many of the bars before frame `f` can be repeated, `bars` at most, and their length in samples, a
    /// fraction.
    fn repeatable(&self, f: i64, bars: u32) -> Option<(u32, (i128, i128))> {
        let (num, den) = self.timeline.bar_len(sample(f));
        let played = (f - self.stems.from.max(0)).min(LOOP_MAX_FRAMES - 1).min(HISTORY_FRAMES - 64);
        // Rounding may take half a frame.
        let whole = ((2 * i128::from(played) + 1) * FRAME as i128 * den / (2 * num)).min(i128::from(bars));
        (whole > 0).then_some((whole as u32, (whole * num, den)))
    }

    /// Whether a command for `which` applies to stem `s`: not to the input stem.
    fn applies(&self, which: Which, s: usize) -> bool {
        (which == Which::One(s as u8) || which == Which::All) && self.window_input().stem != Some(s)
    }

    /// Repeats the last bars of stems from frame `f` on. 0 bars: they play freely again.
    pub(super) fn freeze(&mut self, which: Which, bars: u32, f: i64) {
        for s in 0..self.stems.stem.len() {
            if !self.applies(which, s) {
                continue;
            }
            if bars == 0 {
                let stem = &mut self.stems.stem[s];
                let before = stem.playback();
                if before != Playback::Free {
                    stem.change(f, before, Playback::Free);
                }
                continue;
            }
            let Some((repeated, len)) = self.repeatable(f, bars).filter(|_| self.stems.plays(f)) else {
                self.notify(Notice::NoBarToRepeat);
                continue;
            };
            let stem = &mut self.stems.stem[s];
            let (before, captured) = (stem.playback(), stem.capture(&self.history, s, f, repeated, len));
            stem.change(f, before, captured);
            if repeated < bars {
                self.notify(Notice::FewerBars { asked: bars, repeated });
            }
        }
    }

    /// Undoes the last step of stems.
    pub(super) fn undo(&mut self, which: Which, f: i64) {
        for s in 0..self.stems.stem.len() {
            if self.applies(which, s) && !self.stems.stem[s].undo(f) && which != Which::All {
                self.notify(Notice::NothingToUndo);
            }
        }
    }

    /// Redoes the last step of stems that was undone.
    pub(super) fn redo(&mut self, which: Which, f: i64) {
        for s in 0..self.stems.stem.len() {
            if self.applies(which, s) && !self.stems.stem[s].redo(f) && which != Which::All {
                self.notify(Notice::NothingToRedo);
            }
        }
    }

    /// Stems are regenerated from frame `f` on. Undo brings back what they played before.
    pub(super) fn regenerate(&mut self, which: Which, f: i64) {
        for s in 0..self.stems.stem.len() {
            if !self.applies(which, s) {
                continue;
            }
            let repeatable = self.repeatable(f, self.arrangement.loop_bars);
            let stem = &mut self.stems.stem[s];
            let before = match (stem.playback(), repeatable) {
                (Playback::Free, Some((bars, len))) => stem.capture(&self.history, s, f, bars, len),
                (playback, _) => playback,
            };
            stem.change(f, before, Playback::Free);
        }
    }

    /// Changes the mode from frame `f` on.
    pub(super) fn set_mode(&mut self, mode: Mode, f: i64) {
        if mode == self.arrangement.mode {
            return;
        }
        if self.arrangement.mode == Mode::Loop {
            self.stems.stem.iter_mut().for_each(|stem| stem.end_mode_loop(f));
        }
        if mode == Mode::Loop {
            let Some((bars, len)) = self.repeatable(f, self.arrangement.loop_bars).filter(|_| self.stems.plays(f)) else {
                return self.notify(Notice::NoBarToRepeat);
            };
            let input_stem = self.window_input().stem;
            for (s, stem) in self.stems.stem.iter_mut().enumerate() {
                if input_stem != Some(s) && stem.playback() == Playback::Free {
                    let captured = stem.capture(&self.history, s, f, bars, len);
                    stem.start_mode_loop(f, captured);
                }
            }
        }
        self.arrangement.mode = mode;
    }

    /// Loops that start with frame `f` are in phase with the bar that starts there.
    pub(super) fn anchor_loops(&mut self, f: i64) {
        let bar = self.timeline.position(sample(f + 1) - 1).bar;
        self.stems.stem.iter_mut().for_each(|stem| stem.anchor(f, bar));
    }

    /// After tempo or meter has changed at frame `f`: brings all loops in phase, or ends those that no longer
    /// fit.
    pub(super) fn fit_loops(&mut self, f: i64) {
        let mut released = false;
        for s in 0..self.stems.stem.len() {
            released |= !self.fit_loop(s, f);
        }
        if released {
            if self.arrangement.mode == Mode::Loop {
                self.arrangement.mode = Mode::Follow;
            }
            self.notify(Notice::LoopReleased);
        }
    }

    /// Brings the loop of a stem in phase from its next pass on, if its bars are within 1 % of their former
    /// length (a clock that is followed is never quite steady). If not, the stem plays freely and the result
    /// is false.
    fn fit_loop(&mut self, s: usize, f: i64) -> bool {
        let (num, den) = self.timeline.bar_len(sample(f + 1) - 1);
        let Some(bars) = self.stems.stem[s].playing_loop() else { return true };
        let count = i64::from(bars.bars.max(1));
        let len = (num * i128::from(count), den);
        if (loop_frames(1, len) - bars.frames).abs() > bars.frames / 100 + 1 {
            self.stems.stem[s].release(f);
            return false;
        }
        let now = self.timeline.position(sample(f)).bar;
        let first = bars.anchor.1 + ((now - bars.anchor.1).div_euclid(count) + 1) * count;
        let mut at = self.timeline.next(sample(f), Boundary::Bar);
        while self.timeline.position(at).bar < first {
            at = self.timeline.next(at + 1, Boundary::Bar);
        }
        bars.len = len;
        bars.anchor = (super::song::frame(at) - loop_frames(1, len), first - count);
        true
    }
}
