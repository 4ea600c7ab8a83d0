//! Tokens of the last minutes: what every stem played, what the player was heard to play, and the bars that are repeated.

use crate::live::stem::Stems;
use crate::model::{Config, FRAME};

/// Frames that are remembered: 2 min 44 s.
pub const RING: i64 = 8192;
/// The most frames of a loop: 2 min.
pub const LONGEST: i64 = 6000;

/// Tokens by stream and frame. Frames before the song, and those that are not known, are silence.
pub(super) struct TokenHistory {
    /// Delay of each stream in the pattern.
    pub delays: Vec<usize>,
    /// Stem of each stream.
    pub stem_of: Vec<usize>,
    /// Streams of each stem, by level.
    pub streams: Vec<Vec<usize>>,
    /// What each stream holds where its stem is silent: the code of a recording's noise floor, as the model knows silence.
    pub silence: Vec<i32>,
    /// The song: what was played, by player and band [streams, RING].
    made: Vec<i32>,
    /// Frames of the song that are decided, of each stream.
    pub made_to: Vec<i64>,
    /// What was heard, by stem that the player played it as [streams, RING].
    heard: Vec<i32>,
}

impl TokenHistory {
    pub fn new(config: &Config, silence: Vec<i32>) -> Self {
        let stem = |name: &str| config.stems.iter().position(|s| s == name).unwrap_or(0);
        let row = |&token: &i32| std::iter::repeat_n(token, RING as usize);
        let tokens: Vec<i32> = silence.iter().flat_map(row).collect();
        TokenHistory {
            delays: config.streams.iter().map(|s| s.delay).collect(),
            stem_of: config.streams.iter().map(|s| stem(&s.stem)).collect(),
            streams: config.stems.iter().map(|s| config.streams_of(s)).collect(),
            made: tokens.clone(),
            made_to: vec![0; silence.len()],
            heard: tokens,
            silence,
        }
    }

    fn at(k: usize, t: i64) -> usize {
        k * RING as usize + t.rem_euclid(RING) as usize
    }

    /// Token of frame `t` of stream `k`, which is decided and not forgotten, or before the song.
    pub fn made(&self, k: usize, t: i64) -> i32 {
        if t < 0 { self.silence[k] } else { self.made[Self::at(k, t)] }
    }

    /// Decides the next frame of a stream.
    pub fn make(&mut self, k: usize, token: i32) {
        self.made[Self::at(k, self.made_to[k])] = token;
        self.made_to[k] += 1;
    }

    /// Makes a decided frame silence.
    pub fn unmake(&mut self, k: usize, t: i64) {
        self.made[Self::at(k, t)] = self.silence[k];
    }

    /// What was heard in frame `t` as stream `k`.
    pub fn heard(&self, k: usize, t: i64) -> i32 {
        if t < 0 { self.silence[k] } else { self.heard[Self::at(k, t)] }
    }

    /// Notes what was heard.
    pub fn hear(&mut self, k: usize, t: i64, token: i32) {
        if t >= 0 {
            self.heard[Self::at(k, t)] = token;
        }
    }

    /// Forgets what was heard as a stem.
    pub fn forget(&mut self, stem: usize) {
        for &k in &self.streams[stem] {
            let at = Self::at(k, 0);
            self.heard[at..at + RING as usize].fill(self.silence[k]);
        }
    }

    /// Frames that are decided on every stream.
    pub fn whole(&self) -> i64 {
        self.made_to.iter().copied().min().unwrap_or(0)
    }
}

/// Bars that are repeated, by stem: tokens of `frames` frames that end where the repetition begins.
#[derive(Debug, Clone)]
pub(super) struct Loop {
    /// Frame past the last one that is kept.
    pub from: i64,
    /// Frame at which a pass began, and the bar that began there.
    pub anchor: (i64, i64),
    /// Length in samples, exact: a fraction.
    pub len: (i128, i128),
    /// Frames that are kept.
    pub frames: i64,
    /// Bars.
    pub bars: u32,
    /// [levels, frames], room for the longest.
    tokens: Vec<i32>,
}

impl Loop {
    pub fn new(levels: usize) -> Self {
        Loop { from: 0, anchor: (0, 0), len: (1, 1), frames: 0, bars: 0, tokens: vec![0; levels * LONGEST as usize] }
    }

    /// Takes `bars` bars of length `len` samples before frame `from` of a stem; 1 to [`LONGEST`] frames. Delayed streams may still
    /// lack the last frames: [`Loop::add`].
    pub fn take(&mut self, history: &TokenHistory, stem: usize, from: i64, bars: u32, len: (i128, i128)) {
        (self.from, self.len, self.bars) = (from, len, bars);
        self.frames = pass(1, len).clamp(1, LONGEST);
        for (level, &k) in history.streams[stem].iter().enumerate() {
            for t in from - self.frames..from.min(history.made_to[k]) {
                self.add(level, t, history.made(k, t));
            }
        }
    }

    /// Notes a token if its frame is one of the loop's.
    pub fn add(&mut self, level: usize, t: i64, token: i32) {
        let place = t - (self.from - self.frames);
        if (0..self.frames).contains(&place) {
            self.tokens[level * LONGEST as usize + place as usize] = token;
        }
    }

    /// Token of frame `t`: pass n begins round(n · length) frames after the anchor, so that it is never more than half a frame out of
    /// phase.
    pub fn token(&self, level: usize, t: i64) -> i32 {
        let passed = t - self.anchor.0;
        let frame = FRAME as i128 * self.len.1;
        // The pass, or the one before it.
        let mut n = (i128::from(passed) * frame).div_euclid(self.len.0) as i64 + 1;
        while pass(n, self.len) > passed {
            n -= 1;
        }
        let place = (passed - pass(n, self.len)).clamp(0, self.frames - 1);
        self.tokens[level * LONGEST as usize + place as usize]
    }
}

/// Frames of `n` passes of a loop, rounded.
pub(super) fn pass(n: i64, len: (i128, i128)) -> i64 {
    let frame = FRAME as i128 * len.1;
    ((2 * i128::from(n) * len.0 + frame).div_euclid(2 * frame)) as i64
}

/// What a frame of a stream is to hold besides what the model draws.
pub(super) fn forced(history: &TokenHistory, stems: &Stems, k: usize, t: i64) -> Option<i32> {
    let stem = history.stem_of[k];
    if t < history.made_to[k] {
        return Some(history.made(k, t));
    }
    if !stems.plays(t) {
        return Some(history.silence[k]);
    }
    let level = history.streams[stem].iter().position(|&s| s == k).unwrap_or(0);
    stems.stem[stem].repeats(t).map(|l| l.token(level, t))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_stay_in_phase_for_hours() {
        // 4 bars at 97: 4 · 4 · 60 / 97 s · 50 frames.
        let len = (4 * 4 * 60 * 32000 * 1_000_000, 97_000_000);
        for n in 0..800 {
            let exact = n as f64 * 4.0 * 4.0 * 60.0 / 97.0 * 50.0;
            assert!((pass(n, len) as f64 - exact).abs() <= 0.5 + 1e-6);
        }
        let mut l = Loop::new(1);
        (l.from, l.anchor, l.len, l.frames) = (1000, (1000, 1), len, pass(1, len));
        (1000 - l.frames..1000).for_each(|t| l.add(0, t, (t - (1000 - l.frames)) as i32));
        let mut n = 0;
        for t in 1000..400_000 {
            if t - 1000 == pass(n + 1, len) {
                n += 1;
            }
            let place = t - 1000 - pass(n, len);
            assert_eq!(l.token(0, t), place.min(l.frames - 1) as i32, "frame {t}");
        }
    }
}
