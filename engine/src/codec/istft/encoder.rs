//! The encoder of kind `istft`: samples to latents.

use sideman_kernels::{Backend, Rows, Stft};

use super::Istft;
use super::stack::{Scratch, Stack};
use crate::codec::quantizer::Codes;
use crate::error::Result;

/// State of an encoder for one signal. What it works on always lies at the same place, so that the same
/// number of frames makes the same launches each time.
pub struct IstftEncoder<B: Backend> {
    /// Samples still needed, [room]: zeros before the start, past samples, new ones. The window of the next
    /// fine frame ends at `span`.
    x: B::Buf,
    room: usize,
    /// Samples in `x`; what lies behind them is left over from before.
    have: usize,
    /// The longest window, or what comes before the end of the first one.
    span: usize,
    /// [2·frames, features].
    features: B::Buf,
    fine: Stack<B>,
    coarse: Stack<B>,
    scratch: Scratch<B>,
    /// [frames, latent].
    latents: B::Buf,
    /// What the backend has recorded, by the number of frames.
    graphs: B::Graphs,
}

impl<B: Backend> IstftEncoder<B> {
    /// State for at most `frames` frames of new samples at a time.
    pub fn new(backend: &mut B, net: &Istft<B>, frames: usize) -> Result<Self> {
        let c = &net.config;
        let span = c.analysis.iter().map(|a| a.n_fft).max().unwrap_or(0).max(c.hop + c.analysis_ahead);
        let features: usize = c.analysis.iter().map(|a| a.bins).sum();
        let room = span + c.hop + 2 * c.hop * frames;
        let mut state = IstftEncoder {
            x: backend.buf(room)?,
            room,
            have: 0,
            span,
            features: backend.buf(2 * frames * features)?,
            fine: Stack::new(backend, c, c.encoder_blocks, 2 * frames)?,
            coarse: Stack::new(backend, c, c.encoder_blocks50, frames)?,
            scratch: Scratch::new(backend, c, 2 * frames)?,
            latents: backend.buf(frames * c.latent)?,
            graphs: B::Graphs::default(),
        };
        state.reset(backend, net);
        Ok(state)
    }

    /// Takes samples; gives the number of frames that can be encoded now.
    pub fn take(&mut self, backend: &mut B, net: &Istft<B>, samples: &[f32]) -> usize {
        backend.write(&mut self.x, self.have, samples);
        self.have += samples.len();
        // A token frame needs the windows of two fine frames, the second a hop later.
        let hop = net.config.hop;
        self.have.checked_sub(self.span + hop).map_or(0, |past| past / (2 * hop) + 1)
    }

    /// Encodes the next `n` frames and quantizes them. `n` is at most what [`IstftEncoder::take`] gave.
    pub fn encode(&mut self, backend: &mut B, net: &Istft<B>, n: usize, codes: &mut Codes<B>) {
        let mut graphs = std::mem::take(&mut self.graphs);
        backend.run_recorded(&mut graphs, &[n], &mut |backend| {
            self.run(backend, net, n);
            codes.quantize(backend, &mut self.latents, n);
        });
        self.graphs = graphs;
        self.have -= 2 * n * net.config.hop;
    }

    /// Latents of the next `n` frames; moves the samples up. The same launches on the same memory for the
    /// same `n`.
    fn run(&mut self, backend: &mut B, net: &Istft<B>, n: usize) {
        let c = &net.config;
        let width = c.analysis.iter().map(|a| a.bins).sum();
        let mut col = 0;
        for a in &c.analysis {
            let stft = Stft { n_fft: a.n_fft, hop: c.hop, bins: a.bins };
            let rows = Rows { count: 2 * n, at: col, stride: width };
            backend.spectrum(stft, &self.x, self.span, &mut self.features, rows);
            col += a.bins;
        }
        // All that follows, new samples or old ones left over: how many are new differs from run to run.
        let read = 2 * n * c.hop;
        backend.shift(&mut self.x, read, 0, self.room - read);

        let (x, at) = self.fine.input();
        let to = Rows { count: 2 * n, at, stride: c.dim };
        backend.linear(&net.encoder_in, &self.features, Rows::packed(2 * n, width), x, to);
        let fine = self.fine.run(backend, c, &net.encoder_blocks, &mut self.scratch, 2 * n);
        let (x, at) = self.coarse.input();
        backend.linear(&net.down, fine, Rows::packed(n, 2 * c.dim), x, Rows { count: n, at, stride: c.dim });
        let coarse = self.coarse.run(backend, c, &net.encoder_blocks50, &mut self.scratch, n);
        backend.linear(&net.encoder_out, coarse, Rows::packed(n, c.dim), &mut self.latents, Rows::packed(n, c.latent));
    }

    /// Makes the state ready for another signal.
    pub fn reset(&mut self, backend: &mut B, net: &Istft<B>) {
        self.have = self.span - net.config.hop - net.config.analysis_ahead;
        backend.zero(&mut self.x, 0, self.have);
        self.fine.reset(backend);
        self.coarse.reset(backend);
    }
}
