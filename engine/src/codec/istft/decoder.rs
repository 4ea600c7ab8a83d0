//! The decoder of kind `istft`: latents to samples.

use sideman_kernels::{Backend, InverseStft, LockedSpectra, Rows};

use super::Istft;
use super::stack::{Scratch, Stack};
use crate::codec::quantizer::Codes;
use crate::error::Result;
use crate::model::Phase;

/// State of a decoder for one signal.
pub struct IstftDecoder<B: Backend> {
    /// [frames, latent].
    latents: B::Buf,
    coarse: Stack<B>,
    fine: Stack<B>,
    scratch: Scratch<B>,
    /// What the network says: (log magnitude, phase or noise share) [2·frames, n_fft + 2].
    head: B::Buf,
    /// (real, imaginary parts) [2·frames, n_fft + 2].
    spectra: B::Buf,
    /// Phases and number of rows so far [n_fft/2 + 2]; not used where the network predicts the phases.
    locked: B::Ints,
    /// Zeros for `locked`.
    start: Vec<i32>,
    /// Overlap [n_fft].
    tail: B::Buf,
    /// [2·frames·hop].
    wave: B::Buf,
    /// Samples before sample 0, still to be dropped.
    skip: usize,
    /// What the backend has recorded, by the number of frames.
    graphs: B::Graphs,
}

impl<B: Backend> IstftDecoder<B> {
    /// State for at most `frames` frames at a time.
    pub fn new(backend: &mut B, net: &Istft<B>, frames: usize) -> Result<Self> {
        let c = &net.config;
        let mut state = IstftDecoder {
            latents: backend.buf(frames * c.latent)?,
            coarse: Stack::new(backend, c, c.decoder_blocks50, frames)?,
            fine: Stack::new(backend, c, c.decoder_blocks, 2 * frames)?,
            scratch: Scratch::new(backend, c, 2 * frames)?,
            head: backend.buf(2 * frames * (c.n_fft + 2))?,
            spectra: backend.buf(2 * frames * (c.n_fft + 2))?,
            locked: backend.ints(c.n_fft / 2 + 2)?,
            start: vec![0; c.n_fft / 2 + 2],
            tail: backend.buf(c.n_fft)?,
            wave: backend.buf(2 * frames * c.hop)?,
            skip: 0,
            graphs: B::Graphs::default(),
        };
        state.reset(backend, net);
        Ok(state)
    }

    /// Decodes `n` frames of codes. [`IstftDecoder::append_to`] gives what is final.
    pub fn decode(&mut self, backend: &mut B, net: &Istft<B>, n: usize, codes: &Codes<B>) {
        let mut graphs = std::mem::take(&mut self.graphs);
        backend.run_recorded(&mut graphs, &[n], &mut |backend| {
            codes.dequantize(backend, n, &mut self.latents, 0);
            self.run(backend, net, n);
        });
        self.graphs = graphs;
    }

    /// Samples of the first `n` latents: the same launches on the same memory for the same `n`.
    fn run(&mut self, backend: &mut B, net: &Istft<B>, n: usize) {
        let c = &net.config;
        let (x, at) = self.coarse.input();
        let to = Rows { count: n, at, stride: c.dim };
        backend.linear(&net.decoder_in, &self.latents, Rows::packed(n, c.latent), x, to);
        let coarse = self.coarse.run(backend, c, &net.decoder_blocks50, &mut self.scratch, n);
        let (x, at) = self.fine.input();
        backend.linear(&net.up, coarse, Rows::packed(n, c.dim), x, Rows { count: n, at, stride: 2 * c.dim });
        let fine = self.fine.run(backend, c, &net.decoder_blocks, &mut self.scratch, 2 * n);
        let rows = Rows::packed(2 * n, c.n_fft + 2);
        backend.linear(&net.head, fine, Rows::packed(2 * n, c.dim), &mut self.head, rows);
        match c.phase {
            Phase::Predicted => backend.polar_spectra(c.n_fft / 2 + 1, c.max_log, &self.head, rows, &mut self.spectra, rows),
            Phase::Locked => {
                let stft = InverseStft { n_fft: c.n_fft, hop: c.hop };
                let spec =
                    LockedSpectra { stft, max_log: c.max_log, locked_from: c.locked_from, noise_seed: c.noise_seed.unwrap_or(0) };
                backend.locked_spectra(spec, &self.head, rows, &mut self.locked, &mut self.spectra, rows);
            }
        }
        self.synthesise(backend, net, 2 * n);
    }

    /// Appends the last `net.held()` samples: the overlap, moved out by spectra of silence.
    pub fn finish(&mut self, backend: &mut B, net: &Istft<B>, samples: &mut Vec<f32>) {
        let end = samples.len() + net.held() - self.skip.min(net.held());
        backend.zero(&mut self.spectra, 0, net.config.n_fft + 2);
        while samples.len() < end {
            self.synthesise(backend, net, 1);
            self.append_to(backend, net, 1, samples);
        }
        samples.truncate(end);
    }

    fn synthesise(&mut self, backend: &mut B, net: &Istft<B>, rows: usize) {
        let c = &net.config;
        let stft = InverseStft { n_fft: c.n_fft, hop: c.hop };
        let spectra = Rows::packed(rows, c.n_fft + 2);
        backend.istft(stft, &self.spectra, spectra, &mut self.tail, &mut self.wave, 0);
    }

    /// Appends what the last `rows` fine frames made final.
    pub fn append_to(&mut self, backend: &mut B, net: &Istft<B>, rows: usize, samples: &mut Vec<f32>) {
        let c = &net.config;
        let skip = self.skip.min(rows * c.hop);
        self.skip -= skip;
        let old = samples.len();
        samples.resize(old + rows * c.hop - skip, 0.0);
        backend.read(&self.wave, skip, &mut samples[old..]);
    }

    /// Makes the state ready for another signal.
    pub fn reset(&mut self, backend: &mut B, net: &Istft<B>) {
        backend.zero(&mut self.tail, 0, net.config.n_fft);
        backend.write_ints(&mut self.locked, 0, &self.start);
        self.skip = net.held();
        self.coarse.reset(backend);
        self.fine.reset(backend);
    }
}
