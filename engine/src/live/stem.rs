//! Each stem of a song: its mix, what it plays (the model or a loop), and what can be undone.

use super::token_history::{Loop, TokenHistory};
use super::{Action, StemState};
use crate::limits::GAIN;

/// Steps that can be undone.
const UNDO_DEPTH: usize = 8;
/// Loops that one stem keeps: two for each step, and those that play now.
const LOOPS: usize = 2 * UNDO_DEPTH + 4;

/// What a stem plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Playback {
    /// What the model samples.
    #[default]
    Free,
    /// A loop, by its index.
    Loop(usize),
}

/// A change that can be undone.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    before: Playback,
    after: Playback,
}

/// One stem.
pub(super) struct Stem {
    /// Gain in dB.
    gain: f32,
    /// Pan, −1 (left) to 1 (right).
    pan: f32,
    mute: bool,
    /// Solo.
    pub solo: bool,
    /// What it plays from a frame on.
    current: (i64, Playback),
    /// What it played before that frame: the delayed streams still need it.
    former: (i64, Playback),
    /// The loop mode repeats it, not a freeze.
    looped_by_mode: bool,
    undo: Vec<Step>,
    redo: Vec<Step>,
    loops: Vec<Loop>,
    /// Frames in which the model's tokens are audible, from and to. Those of the input stem are not.
    pub audible: (i64, i64),
    /// Left and right gain at the end of the last frame.
    pub level: [f32; 2],
}

impl Stem {
    pub fn new(levels: usize) -> Self {
        Stem {
            gain: 0.0,
            pan: 0.0,
            mute: false,
            solo: false,
            current: (0, Playback::Free),
            former: (0, Playback::Free),
            looped_by_mode: false,
            undo: Vec::with_capacity(UNDO_DEPTH),
            redo: Vec::with_capacity(UNDO_DEPTH),
            loops: (0..LOOPS).map(|_| Loop::new(levels)).collect(),
            audible: (i64::MAX, i64::MAX),
            level: [0.0; 2],
        }
    }

    /// Sets gain, pan, mute or solo.
    pub fn set_mix(&mut self, action: Action) {
        match action {
            Action::Gain(db) => self.gain = db,
            Action::Pan(pan) => self.pan = pan,
            Action::Mute(mute) => self.mute = mute,
            Action::Solo(solo) => self.solo = solo,
            Action::Regen | Action::Freeze(_) | Action::Undo | Action::Redo => {}
        }
    }

    /// The loop that plays in frame `t`.
    pub fn loop_at(&self, t: i64) -> Option<&Loop> {
        match if t >= self.current.0 { self.current.1 } else { self.former.1 } {
            Playback::Loop(i) => Some(&self.loops[i]),
            Playback::Free => None,
        }
    }

    /// If a loop starts to play at frame `f`, in which bar `bar` starts: aligns it with the bar.
    pub fn anchor(&mut self, f: i64, bar: i64) {
        if let (from, Playback::Loop(i)) = self.current
            && from == f
        {
            self.loops[i].anchor = (f, bar);
        }
    }

    /// The loop that plays now.
    pub fn playing_loop(&mut self) -> Option<&mut Loop> {
        match self.current.1 {
            Playback::Loop(i) => Some(&mut self.loops[i]),
            Playback::Free => None,
        }
    }

    /// What it plays now.
    pub fn playback(&self) -> Playback {
        self.current.1
    }

    fn set_playback(&mut self, from: i64, playback: Playback) {
        self.former = self.current;
        self.current = (from, playback);
    }

    /// Index of a loop that neither playback nor an undo or redo step uses.
    fn unused_loop(&self) -> usize {
        let used = |i| {
            let needs = |p: &Playback| *p == Playback::Loop(i);
            let steps = self.undo.iter().chain(&self.redo);
            needs(&self.current.1) || needs(&self.former.1) || steps.into_iter().any(|s| needs(&s.before) || needs(&s.after))
        };
        (0..LOOPS).find(|&i| !used(i)).unwrap_or(0)
    }

    /// Captures the bars before frame `end` as a loop ([`Loop::capture`]).
    pub fn capture(&mut self, history: &TokenHistory, stem: usize, end: i64, bars: u32, len: (i128, i128)) -> Playback {
        let i = self.unused_loop();
        self.loops[i].capture(history, stem, end, bars, len);
        Playback::Loop(i)
    }

    /// Plays `after` from a frame on. Undo brings `before` back.
    pub fn change(&mut self, from: i64, before: Playback, after: Playback) {
        if self.undo.len() == UNDO_DEPTH {
            self.undo.remove(0);
        }
        self.redo.clear();
        self.undo.push(Step { before, after });
        self.looped_by_mode = false;
        self.set_playback(from, after);
    }

    /// Undoes a step. False: there is none.
    pub fn undo(&mut self, from: i64) -> bool {
        let Some(step) = self.undo.pop() else { return false };
        self.redo.push(step);
        self.looped_by_mode = false;
        self.set_playback(from, step.before);
        true
    }

    /// Redoes a step. False: there is none.
    pub fn redo(&mut self, from: i64) -> bool {
        let Some(step) = self.redo.pop() else { return false };
        self.undo.push(step);
        self.looped_by_mode = false;
        self.set_playback(from, step.after);
        true
    }

    /// Plays a loop for the loop mode. There is no step to undo.
    pub fn start_mode_loop(&mut self, from: i64, captured: Playback) {
        self.looped_by_mode = true;
        self.set_playback(from, captured);
    }

    /// Ends the loop of the loop mode.
    pub fn end_mode_loop(&mut self, from: i64) {
        if std::mem::take(&mut self.looped_by_mode) {
            self.set_playback(from, Playback::Free);
        }
    }

    /// Ends any loop.
    pub fn release(&mut self, from: i64) {
        self.looped_by_mode = false;
        if self.playback() != Playback::Free {
            self.set_playback(from, Playback::Free);
        }
    }

    /// Drops all steps to undo and redo.
    pub fn clear_undo(&mut self) {
        self.undo.clear();
        self.redo.clear();
    }

    /// Stores a decided token in the loops that contain its frame.
    pub fn store_in_loops(&mut self, level: usize, t: i64, token: i32) {
        self.loops.iter_mut().filter(|l| t < l.end).for_each(|l| l.store(level, t, token));
    }

    /// Writes mix, loop and undo to a snapshot.
    pub fn show(&self, out: &mut StemState) {
        out.gain = self.gain;
        out.pan = self.pan;
        out.mute = self.mute;
        out.solo = self.solo;
        out.frozen = match self.current.1 {
            Playback::Free => 0,
            Playback::Loop(i) => self.loops[i].bars,
        };
        out.undo = self.undo.len() as u32;
        out.redo = self.redo.len() as u32;
    }

    /// Left and right gain from gain, pan, mute and `dim` (in dB). Pan has equal power; the middle is 1 and
    /// 1.
    pub fn target(&self, audible: bool, dim: f32) -> [f32; 2] {
        if !audible || self.mute || f64::from(self.gain) <= GAIN.min {
            return [0.0; 2];
        }
        let gain = 10f32.powf((self.gain + dim) / 20.0);
        if self.pan == 0.0 {
            return [gain; 2];
        }
        let (right, left) = ((self.pan + 1.0) * std::f32::consts::FRAC_PI_4).sin_cos();
        [left, right].map(|side| gain * std::f32::consts::SQRT_2 * side.max(0.0))
    }
}

/// All stems, and when the band plays.
pub(super) struct Stems {
    /// The stems, in the model's order.
    pub stem: Vec<Stem>,
    /// The band plays from this frame on.
    pub from: i64,
    /// The band plays up to this frame.
    pub to: i64,
    /// Attenuation of everything but the input stem, as a gain in dB: 0 or less.
    pub dim: f32,
    /// Level of the room in the mix, 0 to 1.
    pub room: f32,
}

impl Stems {
    pub fn new(history: &TokenHistory) -> Self {
        let stem = history.streams.iter().map(|s| Stem::new(s.len())).collect();
        Stems { stem, from: i64::MAX, to: i64::MAX, dim: 0.0, room: 0.0 }
    }

    /// Whether the band plays in frame `t`.
    pub fn plays(&self, t: i64) -> bool {
        (self.from..self.to).contains(&t)
    }

    /// Whether any stem is solo.
    pub fn solo(&self) -> bool {
        self.stem.iter().any(|s| s.solo)
    }
}
