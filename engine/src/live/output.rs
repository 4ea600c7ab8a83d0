//! The output of a session: decodes tokens to samples, computes which stems sound at what level, and holds what
//! a hop gives.

use sideman_kernels::Backend;

use super::Session;
use super::song::{Setup, Song};
use super::timeline::Boundary;
use crate::codec::CHUNK;
use crate::error::Result;
use crate::model::FRAME;
use crate::model::Model;
use crate::touched::empty;

/// Silent frames after which a stem is no longer decoded. The decoder has given everything that it held back
/// by then.
pub(super) const DECODER_TAIL: usize = 25;
/// A value in place of a code: the frame is not decoded.
const NOT_DECODED: u32 = u32::MAX;

/// Codes, samples and tokens on their way out.
pub(super) struct Output {
    /// Frames whose codes have been collected, by stem.
    collected: Vec<i64>,
    /// How many of the last of them are silent, by stem.
    silent: Vec<usize>,
    /// Codes to decode in this hop, by stem, frame-major.
    codes: Vec<Vec<u32>>,
    /// Samples that are decoded and not yet given, by stem.
    decoded: Vec<Vec<f32>>,
    /// Samples that the hop gives, by stem.
    pub samples: Vec<Vec<f32>>,
    /// Left and right gain at the end of each frame of the hop, by stem.
    pub levels: Vec<Vec<[f32; 2]>>,
    /// Level of the room at each frame of the hop.
    pub room: Vec<f32>,
    /// Tokens that the hop gives, frame-major.
    pub tokens: Vec<i32>,
    /// The frame that `tokens` starts with.
    pub tokens_from: i64,
}

impl Output {
    /// Reserves room for hops of `room` frames.
    pub fn new(setup: &Setup, room: usize) -> Self {
        let stems = setup.config.stems.len();
        let samples = |len: usize| (0..stems).map(|_| empty(len)).collect::<Vec<Vec<f32>>>();
        Output {
            collected: vec![0; stems],
            silent: vec![0; stems],
            codes: (0..stems).map(|_| empty(16 * room)).collect(),
            decoded: samples(room * FRAME + setup.lead.unsigned_abs() as usize),
            samples: samples(room * FRAME),
            levels: (0..stems).map(|_| empty(room)).collect(),
            room: empty(room),
            tokens: empty(setup.config.streams.len() * room),
            tokens_from: 0,
        }
    }

    /// Puts `n` samples of silence before what is decoded.
    pub fn delay(&mut self, n: usize) {
        for decoded in &mut self.decoded {
            let old = decoded.len();
            decoded.resize(old + n, 0.0);
            decoded.copy_within(0..old, n);
            decoded[..n].fill(0.0);
        }
    }

    /// Gives `len` samples of each stem; silence where fewer are decoded.
    pub fn give(&mut self, len: usize) {
        for (decoded, samples) in self.decoded.iter_mut().zip(&mut self.samples) {
            let there = len.min(decoded.len());
            samples.clear();
            samples.extend_from_slice(&decoded[..there]);
            samples.resize(len, 0.0);
            decoded.copy_within(there.., 0);
            decoded.truncate(decoded.len() - there);
        }
    }

    /// Drops codes that a backend that was lost has not decoded.
    pub fn discard_codes(&mut self) {
        self.codes.iter_mut().for_each(Vec::clear);
    }
}

impl Song {
    /// Removes what the last hop gave.
    pub(super) fn clear_output(&mut self) {
        let Output { levels, room, tokens, tokens_from, .. } = &mut self.output;
        levels.iter_mut().for_each(Vec::clear);
        room.clear();
        *tokens_from += (tokens.len() / self.history.delays.len()) as i64;
        tokens.clear();
        self.metronome.samples.clear();
    }

    /// From frame `f` on, the stems that the model plays are audible, and no others.
    pub(super) fn update_audible(&mut self, f: i64) {
        let input_stem = self.window_input().stem;
        for (s, stem) in self.stems.stem.iter_mut().enumerate() {
            let audible = stem.audible.1 == i64::MAX && stem.audible.0 < i64::MAX;
            if input_stem == Some(s) && audible {
                stem.audible.1 = f;
            } else if input_stem != Some(s) && !audible {
                stem.audible = (f, i64::MAX);
            }
        }
    }

    /// Collects the frames of each stem that are decided on all of its streams, to be decoded, and the tokens
    /// that the hop gives.
    pub(super) fn collect_frames(&mut self) {
        let Song { output, history, stems, front, .. } = self;
        for (s, codes) in output.codes.iter_mut().enumerate() {
            let streams = &history.streams[s];
            let delay = streams.iter().map(|&k| history.delays[k]).max().unwrap_or(0) as i64;
            while output.collected[s] < *front - delay {
                let t = output.collected[s];
                let (from, to) = stems.stem[s].audible;
                let audible = (from..to).contains(&t);
                output.silent[s] = if audible && stems.plays(t) { 0 } else { output.silent[s] + 1 };
                for &k in streams {
                    let token = if audible && t < history.decided_to[k] { history.token(k, t) } else { history.silence[k] };
                    codes.push(if output.silent[s] > DECODER_TAIL { NOT_DECODED } else { token as u32 });
                }
                output.collected[s] += 1;
            }
        }
        let streams = history.delays.len();
        let complete = history.complete_to();
        while output.tokens_from + ((output.tokens.len() / streams) as i64) < complete {
            let t = output.tokens_from + (output.tokens.len() / streams) as i64;
            output.tokens.extend((0..streams).map(|k| history.token(k, t)));
        }
    }
}

impl<B: Backend> Session<B> {
    /// Computes levels and click of the `n` samples from `at` on.
    pub(super) fn render_controls(&mut self, at: i64, n: i64) {
        self.apply_immediate(at + n);
        let Song { stems, output, metronome, timeline, transport, .. } = &mut self.song;
        let frame = FRAME as i64;
        let solo = stems.solo();
        // Audible from one frame before `from` on, so that the first note is not cut; silent at the end of the
        // frame that contains `to`.
        let overlaps = |(from, to): (i64, i64)| at + n + frame > from.saturating_mul(frame) && at < to.saturating_mul(frame);
        let open = overlaps((stems.from, stems.to));
        let dim = stems.dim;
        output.room.push(stems.room);
        for (stem, levels) in stems.stem.iter_mut().zip(&mut output.levels) {
            stem.level = stem.target(open && overlaps(stem.audible) && (!solo || stem.solo), dim);
            levels.push(stem.level);
        }
        let mut from = at;
        while from < at + n {
            let beat = timeline.next(from, Boundary::Beat);
            let to = beat.clamp(from, at + n);
            metronome.render((to - from) as usize);
            if beat < at + n {
                let (count_in, bar1) = transport.count_in_span;
                // Not before a count-in: the musician would count those clicks, too.
                if metronome.on && (beat >= count_in || count_in == bar1) || (count_in..bar1).contains(&beat) {
                    metronome.strike(timeline.position(beat).beat == 1);
                }
                // The first sample of the click, so that the next search starts after it.
                metronome.render(1);
            }
            from = to + i64::from(beat < at + n);
        }
    }

    /// Decodes the codes that were collected.
    pub(super) fn decode(&mut self, backend: &mut B) -> Result<()> {
        let Song { output, history, .. } = &mut self.song;
        for (s, codes) in output.codes.iter_mut().enumerate() {
            let books = history.streams[s].len();
            let decoded = &mut output.decoded[s];
            for run in codes.chunk_by(|a, b| (*a == NOT_DECODED) == (*b == NOT_DECODED)) {
                if run[0] == NOT_DECODED {
                    decoded.resize(decoded.len() + run.len() / books * FRAME, 0.0);
                } else {
                    self.model_state.decoders[s].push(backend, run, decoded)?;
                }
            }
            codes.clear();
        }
        Ok(())
    }
}

/// The token of each stream where its stem is silent: the code in the middle of 2 s of noise at −70 dBFS, as
/// in training.
pub(super) fn silence<B: Backend>(backend: &mut B, model: &Model<B>) -> Result<Vec<i32>> {
    let config = model.config();
    let mut random = 1u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    // The sum of twelve uniform numbers is nearly normal.
    let quiet: Vec<f32> = (0..100 * FRAME).map(|_| 3e-4 * (0..12).map(|_| noise()).sum::<f32>()).collect();
    let mut tokens = vec![0; config.streams.len()];
    for (s, stem) in config.stems.iter().enumerate() {
        let codes = model.encode(backend, s, &quiet)?;
        for (&k, row) in config.streams_of(stem).iter().zip(&codes) {
            tokens[k] = row[50];
        }
        // Here the decoder's scratch memory grows to its largest size, so that it doesn't in a hop.
        let codes: Vec<u32> = (0..2 * CHUNK).flat_map(|_| codes.iter().map(|row| row[50] as u32)).collect();
        model.codecs[s].decode(backend, &codes)?;
    }
    Ok(tokens)
}
