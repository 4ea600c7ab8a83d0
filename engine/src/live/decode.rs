//! From tokens to samples: who sounds, at what level, what is decoded, the click, and what a hop gives.

use sideman_kernels::Backend;

use super::Session;
use super::timeline::Boundary;
use crate::codec::CHUNK;
use crate::error::Result;
use crate::model::FRAME;
use crate::model::Model;

/// Silent frames after which a decoder rests: what it holds back is out by then, and what comes is silence.
pub(super) const RING_OUT: usize = 25;
/// Stands for a code of a frame that isn't decoded.
const REST: u32 = u32::MAX;

impl<B: Backend> Session<B> {
    /// From frame `f` on, the stems that the model makes sound, and no others.
    pub(super) fn voices(&mut self, f: i64) {
        let input_stem = self.role().input_stem;
        for (s, stem) in self.stems.stem.iter_mut().enumerate() {
            let sounds = stem.voice.1 == i64::MAX && stem.voice.0 < i64::MAX;
            if input_stem == Some(s) && sounds {
                stem.voice.1 = f;
            } else if input_stem != Some(s) && !sounds {
                stem.voice = (f, i64::MAX);
            }
        }
    }

    /// Levels and click of the samples from `at` on, `n` of them.
    pub(super) fn sound(&mut self, at: i64, n: i64) {
        self.faders(at + n);
        let frame = FRAME as i64;
        let solo = self.stems.solo();
        // Open a frame before the band begins, so that its first note is whole; shut within the frame in which it ends.
        let open = at + n + frame > self.stems.from.saturating_mul(frame) && at < self.stems.to.saturating_mul(frame);
        for (s, stem) in self.stems.stem.iter_mut().enumerate() {
            let own = at + n + frame > stem.voice.0.saturating_mul(frame) && at < stem.voice.1.saturating_mul(frame);
            stem.level = stem.target(open && own && (!solo || stem.solo), self.dim);
            self.levels[s].push(stem.level);
        }
        let mut from = at;
        while from < at + n {
            let beat = self.timeline.next(from, Boundary::Beat);
            let to = beat.clamp(from, at + n);
            let old = self.clicks.len();
            self.clicks.resize(old + (to - from) as usize, 0.0);
            self.click.fill(&mut self.clicks[old..]);
            if beat < at + n {
                let (count_in, bar1) = self.counted;
                // Before a count-in it would count wrongly.
                if self.click_on && (beat >= count_in || count_in == bar1) || (count_in..bar1).contains(&beat) {
                    self.click.strike(self.timeline.place(beat).beat == 1);
                }
                // The struck sample itself, so that the next search begins after it.
                let old = self.clicks.len();
                self.clicks.resize(old + 1, 0.0);
                self.click.fill(&mut self.clicks[old..]);
            }
            from = to + i64::from(beat < at + n);
        }
    }

    /// Notes which frames of each stem are whole now.
    pub(super) fn gather(&mut self) {
        for (s, codes) in self.to_decode.iter_mut().enumerate() {
            let streams = &self.history.streams[s];
            let delay = streams.iter().map(|&k| self.history.delays[k]).max().unwrap_or(0) as i64;
            while self.decoded[s] < self.front - delay {
                let t = self.decoded[s];
                let (from, to) = self.stems.stem[s].voice;
                let sounds = (from..to).contains(&t);
                self.quiet[s] = if sounds && self.stems.plays(t) { 0 } else { self.quiet[s] + 1 };
                for &k in streams {
                    let token =
                        if sounds && t < self.history.made_to[k] { self.history.made(k, t) } else { self.history.silence[k] };
                    codes.push(if self.quiet[s] > RING_OUT { REST } else { token as u32 });
                }
                self.decoded[s] += 1;
            }
        }
        let whole = self.history.whole();
        while self.tokens_from < whole - (self.tokens.len() / self.history.delays.len()) as i64 {
            let t = self.tokens_from + (self.tokens.len() / self.history.delays.len()) as i64;
            for k in 0..self.history.delays.len() {
                self.tokens.push(self.history.made(k, t));
            }
        }
    }

    pub(super) fn decode(&mut self, backend: &mut B) -> Result<()> {
        for (s, codes) in self.to_decode.iter_mut().enumerate() {
            let books = self.history.streams[s].len();
            for run in codes.chunk_by(|a, b| (*a == REST) == (*b == REST)) {
                if run[0] == REST {
                    let old = self.fifo[s].len();
                    self.fifo[s].resize(old + run.len() / books * FRAME, 0.0);
                } else {
                    self.decoders[s].push(backend, run, &mut self.fifo[s])?;
                }
            }
            codes.clear();
        }
        Ok(())
    }

    /// Moves `len` samples of each stem out.
    pub(super) fn give(&mut self, len: usize) {
        for (fifo, out) in self.fifo.iter_mut().zip(&mut self.out) {
            let there = len.min(fifo.len());
            out.clear();
            out.extend_from_slice(&fifo[..there]);
            out.resize(len, 0.0);
            fifo.copy_within(there.., 0);
            fifo.truncate(fifo.len() - there);
        }
    }
}

/// What each codec makes of silence: a noise floor of −70 dBFS for 2 s, and its code in the middle, as in training.
pub(super) fn silence<B: Backend>(backend: &mut B, model: &Model<B>) -> Result<Vec<i32>> {
    let config = model.config();
    let mut random = 1u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    // Twelve uniform numbers add up to a normal one.
    let quiet: Vec<f32> = (0..100 * FRAME).map(|_| 3e-4 * (0..12).map(|_| noise()).sum::<f32>()).collect();
    let mut tokens = vec![0; config.streams.len()];
    for (s, stem) in config.stems.iter().enumerate() {
        let codes = model.encode(backend, s, &quiet)?;
        for (&k, row) in config.streams_of(stem).iter().zip(&codes) {
            tokens[k] = row[50];
        }
        // The decoder's scratch grows to its largest here, not in a hop.
        let codes: Vec<u32> = (0..2 * CHUNK).flat_map(|_| codes.iter().map(|row| row[50] as u32)).collect();
        model.codecs[s].decode(backend, &codes)?;
    }
    Ok(tokens)
}
