//! [`SilenceGate`]: makes an estimate exactly zero where its stem is silent, so that the song minus it is the song there,
//! bit for bit.

/// Blocks of the song are a fiftieth of a second, 20 ms.
const BLOCKS_PER_SECOND: usize = 50;
/// Blocks that are silent in a row before the gate closes: half a second.
const SILENT: usize = 25;
/// Power of an estimate over that of the song below which it counts as silent: -60 dB.
const RATIO: f64 = 1e-6;

/// Lets an estimate pass, except where it lies 60 dB below the song for half a second or longer. It fades out in the first
/// 20 ms of such a place and in again in the last.
pub struct SilenceGate {
    /// Samples of a block, all channels.
    block: usize,
    channels: usize,
    /// Samples that fill no block yet.
    estimate: Vec<f32>,
    song: Vec<f32>,
    /// Silent blocks whose fate is open: fewer than [`SILENT`], or, while it is closed, the last one.
    silent: Vec<f32>,
    closed: bool,
}

impl SilenceGate {
    /// A gate for interleaved samples of `channels` channels at `rate` Hz.
    pub fn new(rate: u32, channels: usize) -> Self {
        let block = (rate as usize / BLOCKS_PER_SECOND).max(1) * channels;
        SilenceGate { block, channels, estimate: Vec::new(), song: Vec::new(), silent: Vec::new(), closed: true }
    }

    /// Takes the same samples of an estimate and of the song, interleaved. Appends the samples of the estimate that are
    /// decided to `out`.
    pub fn push(&mut self, estimate: &[f32], song: &[f32], out: &mut Vec<f32>) {
        debug_assert_eq!(estimate.len(), song.len());
        self.estimate.extend_from_slice(estimate);
        self.song.extend_from_slice(song);
        let whole = self.estimate.len() / self.block * self.block;
        let (estimate, song): (Vec<f32>, Vec<f32>) = (self.estimate.drain(..whole).collect(), self.song.drain(..whole).collect());
        for (estimate, song) in estimate.chunks_exact(self.block).zip(song.chunks_exact(self.block)) {
            self.take(estimate, is_silent(estimate, song), out);
        }
    }

    /// Appends the rest.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        let rest = std::mem::take(&mut self.estimate);
        let silent = is_silent(&rest, &self.song);
        if self.closed && silent {
            out.resize(out.len() + self.silent.len() + rest.len(), 0.0);
        } else {
            self.open(out);
            out.extend(rest);
        }
    }

    fn take(&mut self, estimate: &[f32], silent: bool, out: &mut Vec<f32>) {
        if !silent {
            self.open(out);
            out.extend_from_slice(estimate);
            return;
        }
        self.silent.extend_from_slice(estimate);
        let decided = self.silent.len() - self.block;
        if self.closed {
            out.resize(out.len() + decided, 0.0);
        } else if self.silent.len() == SILENT * self.block {
            fade(&mut self.silent[..self.block], self.channels, |part| 1.0 - part);
            out.extend_from_slice(&self.silent[..self.block]);
            out.resize(out.len() + decided - self.block, 0.0);
            self.closed = true;
        } else {
            return;
        }
        self.silent.drain(..decided);
    }

    /// Gives out the silent blocks, if it is closed with a fade.
    fn open(&mut self, out: &mut Vec<f32>) {
        if self.closed {
            fade(&mut self.silent, self.channels, |part| part);
        }
        out.append(&mut self.silent);
        self.closed = false;
    }
}

/// Whether an estimate is silent beside the song.
fn is_silent(estimate: &[f32], song: &[f32]) -> bool {
    let power = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    // 1e-12 a sample is -120 dB of full scale: nobody hears it, whatever the song does.
    power(estimate) <= (RATIO * power(song)).max(1e-12 * estimate.len() as f64)
}

/// Multiplies the samples by `gain` of the part that has passed, from 0 to 1.
fn fade(samples: &mut [f32], channels: usize, gain: impl Fn(f32) -> f32) {
    let frames = samples.len() / channels;
    for (t, frame) in samples.chunks_exact_mut(channels).enumerate() {
        frame.iter_mut().for_each(|x| *x *= gain((t as f32 + 0.5) / frames as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gated estimate, in pieces of `piece` samples.
    fn gated(estimate: &[f32], song: &[f32], piece: usize) -> Vec<f32> {
        let mut gate = SilenceGate::new(1000, 2);
        let mut out = Vec::new();
        for (estimate, song) in estimate.chunks(piece).zip(song.chunks(piece)) {
            gate.push(estimate, song, &mut out);
        }
        gate.finish(&mut out);
        out
    }

    #[test]
    fn long_silences_are_zero_and_all_else_stays() {
        // Seconds at 1000 Hz, two channels: a sound, a short silence, a sound, a long silence, a sound, a long silence.
        let loud = |frame: usize| matches!(frame, 0..500 | 900..1500 | 2500..2600);
        let frames = 4007;
        let estimate: Vec<f32> = (0..2 * frames).map(|i| if loud(i / 2) { 0.5 } else { 1e-5 }).collect();
        let song = vec![0.5; 2 * frames];
        let out = gated(&estimate, &song, 2 * frames);
        assert_eq!(out.len(), estimate.len());
        let same = |from: usize, to: usize| out[2 * from..2 * to] == estimate[2 * from..2 * to];
        let zero = |from: usize, to: usize| out[2 * from..2 * to].iter().all(|x| *x == 0.0);
        assert!(same(0, 1500) && zero(1520, 2480) && same(2500, 2600) && zero(2620, frames));
        assert!(out[2 * 1500] > 0.9e-5 && out[2 * 1519] < 0.1e-5 && out[2 * 2480] < 0.1e-5 && out[2 * 2499] > 0.9e-5);
        for piece in [2, 6, 142, 1000] {
            assert_eq!(gated(&estimate, &song, piece), out, "pieces of {piece}");
        }
    }

    #[test]
    fn a_stem_that_never_plays_is_zero_from_the_first_sample() {
        assert!(gated(&[1e-7; 300], &[0.1; 300], 20).iter().all(|x| *x == 0.0));
        assert_eq!(gated(&[0.1; 30], &[0.1; 30], 7), [0.1; 30]);
        assert!(gated(&[], &[], 1).is_empty());
    }
}
