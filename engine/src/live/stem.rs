//! What each stem does: level, place, silence, and which bars it repeats, with what can be undone.

use super::StemState;
use super::token_history::{Loop, TokenHistory};

/// Steps that can be undone.
const DEPTH: usize = 8;
/// Bars kept at once by one stem: those of all steps, of what plays now, and of the mode.
const SLOTS: usize = 2 * DEPTH + 4;

/// Where a stem's frames come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Source {
    /// The model.
    #[default]
    Free,
    /// Bars, by slot.
    Bars(usize),
}

/// A change that can be undone.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    before: Source,
    after: Source,
}

/// One stem.
pub(super) struct Stem {
    /// dB.
    pub gain: f32,
    /// −1 to 1.
    pub pan: f32,
    pub mute: bool,
    pub solo: bool,
    /// Source from a frame on, and the one before it, which delayed streams still need.
    source: (i64, Source),
    former: (i64, Source),
    /// The mode repeats the stem, no one asked for it.
    by_mode: bool,
    undo: Vec<Step>,
    redo: Vec<Step>,
    slots: Vec<Loop>,
    /// Frames in which the model's tokens sound, from and to: not those of the player's own stem.
    pub voice: (i64, i64),
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
            source: (0, Source::Free),
            former: (0, Source::Free),
            by_mode: false,
            undo: Vec::with_capacity(DEPTH),
            redo: Vec::with_capacity(DEPTH),
            slots: (0..SLOTS).map(|_| Loop::new(levels)).collect(),
            voice: (i64::MAX, i64::MAX),
            level: [0.0; 2],
        }
    }

    /// The bars that frame `t` repeats.
    pub fn repeats(&self, t: i64) -> Option<&Loop> {
        match if t >= self.source.0 { self.source.1 } else { self.former.1 } {
            Source::Bars(slot) => Some(&self.slots[slot]),
            Source::Free => None,
        }
    }

    /// Bars whose repetition began with frame `f`, which begins bar `bar`, are in phase with it.
    pub fn anchor(&mut self, f: i64, bar: i64) {
        if let (from, Source::Bars(slot)) = self.source
            && from == f
        {
            self.slots[slot].anchor = (f, bar);
        }
    }

    /// The bars that are repeated now.
    pub fn bars(&mut self) -> Option<&mut Loop> {
        match self.source.1 {
            Source::Bars(slot) => Some(&mut self.slots[slot]),
            Source::Free => None,
        }
    }

    /// Whether the model plays it at present.
    pub fn free(&self) -> bool {
        self.source.1 == Source::Free
    }

    fn turn(&mut self, from: i64, source: Source) {
        self.former = self.source;
        self.source = (from, source);
    }

    /// A slot that nothing needs.
    fn spare(&self) -> usize {
        let used = |slot| {
            let needs = |s: &Source| *s == Source::Bars(slot);
            let steps = self.undo.iter().chain(&self.redo);
            needs(&self.source.1) || needs(&self.former.1) || steps.into_iter().any(|s| needs(&s.before) || needs(&s.after))
        };
        (0..SLOTS).find(|&slot| !used(slot)).unwrap_or(0)
    }

    /// Keeps the bars before frame `from`.
    pub fn keep(&mut self, history: &TokenHistory, stem: usize, from: i64, bars: u32, len: (i128, i128)) -> Source {
        let slot = self.spare();
        self.slots[slot].take(history, stem, from, bars, len);
        Source::Bars(slot)
    }

    /// Does something that can be undone: `before` is what undoing brings back.
    pub fn act(&mut self, from: i64, before: Source, after: Source) {
        if self.undo.len() == DEPTH {
            self.undo.remove(0);
        }
        self.redo.clear();
        self.undo.push(Step { before, after });
        self.by_mode = false;
        self.turn(from, after);
    }

    /// What the stem does now.
    pub fn now(&self) -> Source {
        self.source.1
    }

    /// Undoes; false: nothing to undo.
    pub fn undo(&mut self, from: i64) -> bool {
        let Some(step) = self.undo.pop() else { return false };
        self.redo.push(step);
        self.by_mode = false;
        self.turn(from, step.before);
        true
    }

    /// Redoes; false: nothing to redo.
    pub fn redo(&mut self, from: i64) -> bool {
        let Some(step) = self.redo.pop() else { return false };
        self.undo.push(step);
        self.by_mode = false;
        self.turn(from, step.after);
        true
    }

    /// Repeats by order of the mode.
    pub fn repeat_by_mode(&mut self, from: i64, bars: Source) {
        self.by_mode = true;
        self.turn(from, bars);
    }

    /// Ends what the mode ordered.
    pub fn release_mode(&mut self, from: i64) {
        if std::mem::take(&mut self.by_mode) {
            self.turn(from, Source::Free);
        }
    }

    /// Plays freely, whatever it did.
    pub fn release(&mut self, from: i64) {
        self.by_mode = false;
        if !self.free() {
            self.turn(from, Source::Free);
        }
    }

    /// Nothing to undo any more.
    pub fn forget(&mut self) {
        self.undo.clear();
        self.redo.clear();
    }

    /// Tells the slots what a stream of this stem was given.
    pub fn made(&mut self, level: usize, t: i64, token: i32) {
        self.slots.iter_mut().filter(|l| t < l.from).for_each(|l| l.add(level, t, token));
    }

    /// Fills in what the screen shows.
    pub fn state(&self, out: &mut StemState) {
        out.gain = self.gain;
        out.pan = self.pan;
        out.mute = self.mute;
        out.solo = self.solo;
        out.frozen = match self.source.1 {
            Source::Free => 0,
            Source::Bars(slot) => self.slots[slot].bars,
        };
        out.undo = self.undo.len() as u32;
        out.redo = self.redo.len() as u32;
    }

    /// Left and right gain that it should have: pan of equal power, both 1 in the middle.
    pub fn target(&self, audible: bool, dim: f32) -> [f32; 2] {
        if !audible || self.mute || self.gain <= -60.0 {
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
    /// In the model's order.
    pub stem: Vec<Stem>,
    /// The band plays from this frame on, up to the other one.
    pub from: i64,
    /// See `from`.
    pub to: i64,
}

impl Stems {
    pub fn new(history: &TokenHistory) -> Self {
        let stem = history.streams.iter().map(|s| Stem::new(s.len())).collect();
        Stems { stem, from: i64::MAX, to: i64::MAX }
    }

    /// Whether the band plays in frame `t`.
    pub fn plays(&self, t: i64) -> bool {
        (self.from..self.to).contains(&t)
    }

    /// Whether any stem is alone.
    pub fn solo(&self) -> bool {
        self.stem.iter().any(|s| s.solo)
    }
}
