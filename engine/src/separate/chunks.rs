//! Cuts a stereo signal into overlapping segments, and fades their estimates into each other, as the package
//! `demucs` does without random shifts. Takes a signal of any length piece by piece and holds two segments of it.

use sideman_kernels::SeparatorBackend;

use super::htdemucs::CHANNELS;
use super::separator::{Running, Separator};

/// Overlapping segments of one stereo signal.
pub struct Chunks {
    /// Sources that are estimated.
    wanted: Vec<usize>,
    segment: usize,
    /// Samples from one segment to the next.
    stride: usize,
    /// Samples of the signal from `base` on, of each channel.
    x: [Vec<f32>; CHANNELS],
    base: usize,
    /// Start of the next segment.
    next: usize,
    /// Weighted sums of the estimates from sample `next` on [wanted · 2][segment], and the sum of the weights.
    sums: Vec<Vec<f32>>,
    weights: Vec<f32>,
    /// Weight of each sample of a segment: a triangle.
    fade: Vec<f32>,
    /// The input and the estimates of a segment.
    mix: [Vec<f32>; CHANNELS],
    estimates: Vec<f32>,
}

impl Chunks {
    /// For a separator and the sources `wanted`.
    pub fn new<B: SeparatorBackend>(separator: &Separator<B>, wanted: &[usize]) -> Self {
        let segment = separator.segment();
        let most = segment - segment / 2;
        let fade = (1..=segment / 2).chain((1..=most).rev()).map(|w| w as f32 / most as f32).collect();
        Chunks {
            wanted: wanted.to_vec(),
            segment,
            stride: segment * 3 / 4,
            x: [Vec::new(), Vec::new()],
            base: 0,
            next: 0,
            sums: vec![vec![0.0; segment]; wanted.len() * CHANNELS],
            weights: vec![0.0; segment],
            fade,
            mix: [vec![0.0; segment], vec![0.0; segment]],
            estimates: vec![0.0; wanted.len() * CHANNELS * segment],
        }
    }

    /// Takes samples of both channels. Appends the estimates that are final to `out` [wanted · 2].
    pub fn push<B: SeparatorBackend>(&mut self, running: &mut Running<B>, x: [&[f32]; CHANNELS], out: &mut [Vec<f32>]) {
        self.x.iter_mut().zip(x).for_each(|(to, x)| to.extend_from_slice(x));
        while self.base + self.x[0].len() >= self.next + self.segment {
            self.step(running, self.segment, out);
        }
    }

    /// Appends the estimates of the rest of the signal.
    pub fn finish<B: SeparatorBackend>(&mut self, running: &mut Running<B>, out: &mut [Vec<f32>]) {
        let end = self.base + self.x[0].len();
        while self.next < end {
            self.step(running, self.segment.min(end - self.next), out);
        }
    }

    /// Estimates `len` samples from `next` on. Fewer than a segment are the middle of one, with the song's own
    /// samples around them, and zeros beyond its ends.
    fn step<B: SeparatorBackend>(&mut self, running: &mut Running<B>, len: usize, out: &mut [Vec<f32>]) {
        let before = (self.segment - len) / 2;
        for (mix, x) in self.mix.iter_mut().zip(&self.x) {
            for (i, mix) in mix.iter_mut().enumerate() {
                let at = (self.next + i).checked_sub(before + self.base);
                *mix = at.and_then(|at| x.get(at)).copied().unwrap_or(0.0);
            }
        }
        let [left, right] = &self.mix;
        running.estimate([left, right], &self.wanted, &mut self.estimates);
        for (sum, x) in self.sums.iter_mut().zip(self.estimates.chunks_exact(self.segment)) {
            for ((sum, x), w) in sum.iter_mut().zip(&x[before..before + len]).zip(&self.fade) {
                *sum += w * x;
            }
        }
        self.weights.iter_mut().zip(&self.fade[..len]).for_each(|(sum, w)| *sum += w);
        // The next segment begins a stride later: what comes before it is final.
        let done = len.min(self.stride);
        for (sum, out) in self.sums.iter_mut().zip(out) {
            out.extend(sum[..done].iter().zip(&self.weights).map(|(x, w)| x / w));
            sum.copy_within(done.., 0);
            sum[self.segment - done..].fill(0.0);
        }
        self.weights.copy_within(done.., 0);
        self.weights[self.segment - done..].fill(0.0);
        self.next += self.stride;
        // A short segment at the end begins at most half a segment earlier.
        let drop = (self.next.saturating_sub(self.segment / 2 + 1)).saturating_sub(self.base).min(self.x[0].len());
        self.x.iter_mut().for_each(|x| {
            x.drain(..drop);
        });
        self.base += drop;
    }
}
