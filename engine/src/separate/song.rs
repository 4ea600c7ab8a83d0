//! Separates a song at its own sample rate and with its own channels. The last stem is the song minus the others,
//! so that all stems add up to it.

use sideman_kernels::SeparatorBackend;

use super::choice::Choice;
use super::chunks::Chunks;
use super::htdemucs::CHANNELS;
use super::separator::{Running, Separator, SeparatorState};
use crate::audio::Resampler;
use crate::error::Result;

/// Gets the samples of each stem, interleaved; all stems have the same number.
pub type Sink<'a> = &'a mut dyn FnMut(&[Vec<f32>]) -> Result<()>;

/// A song that is being separated. Channels are separated in pairs (1 and 2, 3 and 4, …); a channel without a
/// partner is both channels of the network, whose estimates are averaged.
pub struct SongSeparation<B: SeparatorBackend> {
    channels: usize,
    state: SeparatorState<B>,
    pairs: Vec<Pair>,
    stems: usize,
    /// Samples of the song that no stem has yet, interleaved.
    song: Vec<f32>,
}

/// One or two channels of the song.
struct Pair {
    /// The first channel, and how many there are.
    first: usize,
    count: usize,
    chunks: Chunks,
    to_network: Vec<Resampler>,
    /// For each estimate and channel.
    to_song: Vec<Resampler>,
    /// Input at the network's rate.
    x: [Vec<f32>; CHANNELS],
    /// Estimates at the network's rate [wanted · 2], and at the song's [wanted · count].
    estimates: Vec<Vec<f32>>,
    ready: Vec<Vec<f32>>,
}

impl<B: SeparatorBackend> SongSeparation<B> {
    /// For a song of `rate` Hz and `channels` channels.
    ///
    /// # Errors
    /// The backend's memory is full, or the rate is 0.
    pub fn new(backend: &mut B, separator: &Separator<B>, choice: &Choice, rate: u32, channels: usize) -> Result<Self> {
        let network = separator.config().sample_rate as u32;
        let wanted = choice.estimated.len();
        let mut pairs = Vec::new();
        for first in (0..channels).step_by(CHANNELS) {
            let count = CHANNELS.min(channels - first);
            let resamplers = |n: usize, from: u32, to: u32| (0..n).map(|_| Resampler::new(from, to)).collect::<Result<Vec<_>>>();
            pairs.push(Pair {
                first,
                count,
                chunks: Chunks::new(separator, &choice.estimated),
                to_network: resamplers(count, rate, network)?,
                to_song: resamplers(wanted * count, network, rate)?,
                x: [Vec::new(), Vec::new()],
                estimates: vec![Vec::new(); wanted * CHANNELS],
                ready: vec![Vec::new(); wanted * count],
            });
        }
        Ok(SongSeparation { channels, state: separator.state(backend)?, pairs, stems: wanted + 1, song: Vec::new() })
    }

    /// Takes interleaved samples of the song; gives `sink` the samples of the stems that are final.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn push(&mut self, backend: &mut B, separator: &Separator<B>, song: &[f32], sink: Sink<'_>) -> Result<()> {
        self.song.extend_from_slice(song);
        let mut running = Running { backend, separator, state: &mut self.state };
        let mut channel = Vec::new();
        for pair in &mut self.pairs {
            for (c, resampler) in pair.to_network.iter_mut().enumerate() {
                channel.clear();
                channel.extend(song.iter().skip(pair.first + c).step_by(self.channels));
                resampler.push(&channel, &mut pair.x[c]);
            }
            pair.separate(&mut running, false);
        }
        self.give(sink)
    }

    /// Gives `sink` the rest: each stem then has as many samples as the song.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn finish(mut self, backend: &mut B, separator: &Separator<B>, sink: Sink<'_>) -> Result<()> {
        let frames = self.song.len() / self.channels;
        let mut running = Running { backend, separator, state: &mut self.state };
        for pair in &mut self.pairs {
            for (resampler, x) in std::mem::take(&mut pair.to_network).into_iter().zip(&mut pair.x) {
                resampler.finish(x);
            }
            pair.separate(&mut running, true);
            for (resampler, ready) in std::mem::take(&mut pair.to_song).into_iter().zip(&mut pair.ready) {
                resampler.finish(ready);
                // Rounded twice, the length can be off by a sample.
                ready.resize(frames, 0.0);
            }
        }
        self.give(sink)
    }

    /// Gives away the samples that all pairs have ready.
    fn give(&mut self, sink: Sink<'_>) -> Result<()> {
        let frames = self.pairs.iter().flat_map(|p| &p.ready).map(Vec::len).min().unwrap_or(0);
        let frames = frames.min(self.song.len() / self.channels);
        if frames == 0 {
            return Ok(());
        }
        let len = frames * self.channels;
        let mut stems = vec![vec![0.0; len]; self.stems];
        let (estimated, rest) = stems.split_at_mut(self.stems - 1);
        rest[0].copy_from_slice(&self.song[..len]);
        for pair in &mut self.pairs {
            for (i, ready) in pair.ready.iter_mut().enumerate() {
                let (stem, channel) = (i / pair.count, pair.first + i % pair.count);
                let to = estimated[stem].iter_mut().zip(&mut rest[0]).skip(channel).step_by(self.channels);
                for ((to, rest), x) in to.zip(ready.drain(..frames)) {
                    *to = x;
                    *rest -= x;
                }
            }
        }
        self.song.drain(..len);
        sink(&stems)
    }
}

impl Pair {
    /// Separates the samples in `x`, at the `end` of the song all that is left.
    fn separate<B: SeparatorBackend>(&mut self, running: &mut Running<B>, end: bool) {
        let [left, right] = &mut self.x;
        let both = [&*left, if self.count == 1 { &*left } else { &*right }];
        self.chunks.push(running, both.map(|x| &x[..]), &mut self.estimates);
        if end {
            self.chunks.finish(running, &mut self.estimates);
        }
        left.clear();
        right.clear();
        for (stem, estimates) in self.estimates.chunks_exact_mut(CHANNELS).enumerate() {
            let [left, right] = estimates else { unreachable!("pairs") };
            if self.count == 1 {
                left.iter_mut().zip(&*right).for_each(|(left, right)| *left = (*left + right) / 2.0);
            }
            for (c, x) in [left, right].into_iter().enumerate() {
                if c < self.count {
                    let at = stem * self.count + c;
                    self.to_song[at].push(x, &mut self.ready[at]);
                }
                x.clear();
            }
        }
    }
}
