//! [`TokenHistory`]: tokens of the last minutes, as the band played and as the musician was heard; and
//! [`Loop`]: bars that are repeated.

use super::stem::Stems;
use crate::model::{Config, FRAME};
use crate::touched::filled;

/// Frames that are kept: 2 min 44 s.
pub(super) const HISTORY_FRAMES: i64 = 8192;
/// The most frames of a loop: 2 min.
pub(super) const LOOP_MAX_FRAMES: i64 = 6000;

/// Tokens by stream and frame. Frames before the song, and those that are not known, are silence.
pub(super) struct TokenHistory {
    /// Delay of each stream in the pattern, in frames.
    pub delays: Vec<usize>,
    /// Stem of each stream.
    pub stem_of: Vec<usize>,
    /// Streams of each stem, by level.
    pub streams: Vec<Vec<usize>>,
    /// The token of each stream where its stem is silent: the code of a recording's noise floor, as the model
    /// learned it.
    pub silence: Vec<i32>,
    /// Frames of the song that are decided, by stream.
    pub decided_to: Vec<i64>,
    /// What was played, by musician and band [streams, HISTORY_FRAMES].
    decided: Vec<i32>,
    /// What was heard, encoded as each stem [streams, HISTORY_FRAMES].
    heard: Vec<i32>,
}

impl TokenHistory {
    pub fn new(config: &Config, silence: Vec<i32>) -> Self {
        let stem = |name: &str| config.stems.iter().position(|s| s == name).unwrap_or(0);
        let row = |&token: &i32| std::iter::repeat_n(token, HISTORY_FRAMES as usize);
        let tokens: Vec<i32> = silence.iter().flat_map(row).collect();
        TokenHistory {
            delays: config.streams.iter().map(|s| s.delay).collect(),
            stem_of: config.streams.iter().map(|s| stem(&s.stem)).collect(),
            streams: config.stems.iter().map(|s| config.streams_of(s)).collect(),
            decided: tokens.clone(),
            decided_to: vec![0; silence.len()],
            heard: tokens,
            silence,
        }
    }

    fn index(k: usize, t: i64) -> usize {
        k * HISTORY_FRAMES as usize + t.rem_euclid(HISTORY_FRAMES) as usize
    }

    /// Level of stream `k` in its stem.
    pub fn level_of(&self, k: usize) -> usize {
        self.streams[self.stem_of[k]].iter().position(|&s| s == k).unwrap_or(0)
    }

    /// Token of frame `t` of stream `k`. The frame is decided and still kept, or before the song.
    pub fn token(&self, k: usize, t: i64) -> i32 {
        if t < 0 { self.silence[k] } else { self.decided[Self::index(k, t)] }
    }

    /// Decides the next frame of a stream.
    pub fn push(&mut self, k: usize, token: i32) {
        self.decided[Self::index(k, self.decided_to[k])] = token;
        self.decided_to[k] += 1;
    }

    /// Replaces a decided frame by silence.
    pub fn silence_frame(&mut self, k: usize, t: i64) {
        self.decided[Self::index(k, t)] = self.silence[k];
    }

    /// Token of what was heard in frame `t`, as stream `k`.
    pub fn heard(&self, k: usize, t: i64) -> i32 {
        if t < 0 { self.silence[k] } else { self.heard[Self::index(k, t)] }
    }

    /// Stores the token of what was heard in frame `t`, as stream `k`.
    pub fn set_heard(&mut self, k: usize, t: i64, token: i32) {
        if t >= 0 {
            self.heard[Self::index(k, t)] = token;
        }
    }

    /// Replaces all that was heard as a stem by silence.
    pub fn clear_heard(&mut self, stem: usize) {
        for &k in &self.streams[stem] {
            let at = Self::index(k, 0);
            self.heard[at..at + HISTORY_FRAMES as usize].fill(self.silence[k]);
        }
    }

    /// Frames that are decided on every stream.
    pub fn complete_to(&self) -> i64 {
        self.decided_to.iter().copied().min().unwrap_or(0)
    }
}

/// Bars of one stem that are repeated: the tokens of `frames` frames before frame `end`.
#[derive(Debug, Clone)]
pub(super) struct Loop {
    /// Frame past the last one that is kept.
    pub end: i64,
    /// Frame at which a pass started, and the bar that started there.
    pub anchor: (i64, i64),
    /// Length in samples, exact: a fraction.
    pub len: (i128, i128),
    /// Frames that are kept.
    pub frames: i64,
    /// Bars.
    pub bars: u32,
    /// [levels, frames], room for the longest loop.
    tokens: Vec<i32>,
}

impl Loop {
    pub fn new(levels: usize) -> Self {
        Loop { end: 0, anchor: (0, 0), len: (1, 1), frames: 0, bars: 0, tokens: filled(levels * LOOP_MAX_FRAMES as usize, 0) }
    }

    /// Keeps `bars` bars of `len` samples before frame `end` of a stem: 1 to [`LOOP_MAX_FRAMES`] frames. The
    /// last frames of delayed streams are not decided yet: [`Loop::store`] adds them.
    pub fn capture(&mut self, history: &TokenHistory, stem: usize, end: i64, bars: u32, len: (i128, i128)) {
        (self.end, self.len, self.bars) = (end, len, bars);
        self.frames = loop_frames(1, len).clamp(1, LOOP_MAX_FRAMES);
        for (level, &k) in history.streams[stem].iter().enumerate() {
            for t in end - self.frames..end.min(history.decided_to[k]) {
                self.store(level, t, history.token(k, t));
            }
        }
    }

    /// Keeps a token, if frame `t` is one of the loop's.
    pub fn store(&mut self, level: usize, t: i64, token: i32) {
        let i = t - (self.end - self.frames);
        if (0..self.frames).contains(&i) {
            self.tokens[level * LOOP_MAX_FRAMES as usize + i as usize] = token;
        }
    }

    /// Token of frame `t`. Pass n starts round(n · length) frames after the anchor, so it is never more than
    /// half a frame out of phase.
    pub fn token(&self, level: usize, t: i64) -> i32 {
        let passed = t - self.anchor.0;
        let frame = FRAME as i128 * self.len.1;
        // The pass, or the one before it.
        let mut n = (i128::from(passed) * frame).div_euclid(self.len.0) as i64 + 1;
        while loop_frames(n, self.len) > passed {
            n -= 1;
        }
        let i = (passed - loop_frames(n, self.len)).clamp(0, self.frames - 1);
        self.tokens[level * LOOP_MAX_FRAMES as usize + i as usize]
    }
}

/// Frames of `n` passes of a loop of `len` samples, rounded.
pub(super) fn loop_frames(n: i64, len: (i128, i128)) -> i64 {
    let frame = FRAME as i128 * len.1;
    ((2 * i128::from(n) * len.0 + frame).div_euclid(2 * frame)) as i64
}

/// The token that a frame of a stream must have, if the model is not to sample it: it is decided, silent, or
/// a loop's.
pub(super) fn forced_token(history: &TokenHistory, stems: &Stems, k: usize, t: i64) -> Option<i32> {
    if t < history.decided_to[k] {
        return Some(history.token(k, t));
    }
    if !stems.plays(t) {
        return Some(history.silence[k]);
    }
    let stem = &stems.stem[history.stem_of[k]];
    stem.loop_at(t).map(|l| l.token(history.level_of(k), t))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_stay_in_phase_for_hours() {
        // 4 bars at 97: 4 · 4 · 60 / 97 s · 50 frames.
        let len = (4 * 4 * 60 * 32000 * 1_000_000, 97_000_000);
        for n in 0..800 {
            let exact = n as f64 * 4.0 * 4.0 * 60.0 / 97.0 * 50.0;
            assert!((loop_frames(n, len) as f64 - exact).abs() <= 0.5 + 1e-6);
        }
        let mut l = Loop::new(1);
        (l.end, l.anchor, l.len, l.frames) = (1000, (1000, 1), len, loop_frames(1, len));
        (1000 - l.frames..1000).for_each(|t| l.store(0, t, (t - (1000 - l.frames)) as i32));
        let mut n = 0;
        for t in 1000..400_000 {
            if t - 1000 == loop_frames(n + 1, len) {
                n += 1;
            }
            let place = t - 1000 - loop_frames(n, len);
            assert_eq!(l.token(0, t), place.min(l.frames - 1) as i32, "frame {t}");
        }
    }
}
