//! The encoder of one signal: samples in pushes of any length to codes.

use std::sync::Arc;

use sideman_kernels::Backend;

use super::chain::ChainState;
use super::istft::{Istft, IstftEncoder};
use super::quantizer::Codes;
use super::seanet::Seanet;
use super::{CHUNK, Codec, Net, piece};
use crate::error::Result;

/// Samples are clipped to ±this (+40 dB over full scale), so that no input can make a recurrent state
/// infinite.
const CEILING: f32 = 100.0;

/// State of one signal that is being encoded. [`Codec::encoder`] makes it.
pub struct Encoder<B: Backend> {
    net: EncoderNet<B>,
    codes: Codes<B>,
    /// Samples of one frame.
    frame: usize,
    /// Samples since the start of the signal.
    fed: usize,
    /// Samples of one chunk, clipped.
    clean: Vec<f32>,
}

/// The network of either kind, with its state for this signal.
enum EncoderNet<B: Backend> {
    Seanet(Arc<Seanet<B>>, ChainState<B>),
    Istft(Arc<Istft<B>>, Box<IstftEncoder<B>>),
}

impl<B: Backend> EncoderNet<B> {
    /// Frames that are final after `samples` samples.
    fn known_frames(&self, samples: usize) -> usize {
        match self {
            EncoderNet::Seanet(net, _) => net.encoder.known(samples),
            EncoderNet::Istft(net, _) => net.known_frames(samples),
        }
    }

    /// Takes samples and appends the codes of the frames that they complete.
    fn push(&mut self, backend: &mut B, samples: &[f32], frame: usize, codes: &mut Codes<B>, out: &mut Vec<u32>) {
        match self {
            EncoderNet::Seanet(net, state) => {
                let (x, at) = state.input(1);
                backend.write(x, at, samples);
                let mut work = |backend: &mut B, state: &mut ChainState<B>| {
                    let frames = net.encoder.run(backend, state, samples.len(), false);
                    codes.quantize(backend, state.output(), frames);
                    frames
                };
                let whole = samples.len().is_multiple_of(frame) && B::GRAPH_SIZES.contains(&(samples.len() / frame));
                let frames = match whole {
                    true => net.encoder.run_recorded(backend, state, samples.len(), &mut work),
                    false => work(backend, state),
                };
                codes.append_to(backend, frames, out);
            }
            EncoderNet::Istft(net, state) => {
                let mut frames = state.take(backend, net, samples);
                while frames > 0 {
                    let n = piece::<B>(frames);
                    state.encode(backend, net, n, codes);
                    codes.append_to(backend, n, out);
                    frames -= n;
                }
            }
        }
    }
}

impl<B: Backend> Encoder<B> {
    /// An encoder at the start of a signal.
    ///
    /// # Errors
    /// The backend's memory is full.
    pub(super) fn new(backend: &mut B, codec: &Codec<B>) -> Result<Self> {
        let (net, most) = match &codec.net {
            Net::Seanet(net) => {
                let state = net.encoder.state(backend, CHUNK * codec.frame)?;
                let most = state.room();
                (EncoderNet::Seanet(net.clone(), state), most)
            }
            Net::Istft(net) => {
                let state = IstftEncoder::new(backend, net, CHUNK)?;
                (EncoderNet::Istft(net.clone(), Box::new(state)), CHUNK)
            }
        };
        let clean = Vec::with_capacity(CHUNK * codec.frame);
        let codes = Codes::new(backend, &codec.quantizer, most)?;
        Ok(Encoder { net, codes, frame: codec.frame, fed: 0, clean })
    }

    /// Takes samples and appends the codes of the frames that are final now, frame-major. NaN and infinite
    /// samples count as 0, those beyond ±100 as ±100.
    pub fn push(&mut self, backend: &mut B, samples: &[f32], codes: &mut Vec<u32>) {
        let mut rest = samples;
        while !rest.is_empty() {
            let frames = match self.net {
                EncoderNet::Seanet(..) if !B::GRAPH_SIZES.is_empty() => piece::<B>(rest.len() / self.frame).max(1),
                _ => CHUNK,
            };
            let (chunk, after) = rest.split_at(rest.len().min(frames * self.frame));
            rest = after;
            let clip = |x: &f32| if x.is_finite() { x.clamp(-CEILING, CEILING) } else { 0.0 };
            self.clean.clear();
            self.clean.extend(chunk.iter().map(clip));
            self.run(backend, codes);
        }
    }

    /// Ends the signal: appends the remaining codes, up to ceil(samples / frame) frames in all. Afterwards
    /// the encoder is at the start of a new signal.
    pub fn finish(&mut self, backend: &mut B, codes: &mut Vec<u32>) {
        if let EncoderNet::Istft(net, _) = &self.net {
            let whole = self.fed.next_multiple_of(self.frame);
            let mut zeros = if self.fed > 0 { whole - self.fed + net.config.analysis_ahead } else { 0 };
            while zeros > 0 {
                let n = zeros.min(CHUNK * self.frame);
                zeros -= n;
                self.clean.clear();
                self.clean.resize(n, 0.0);
                self.run(backend, codes);
            }
        }
        match &mut self.net {
            EncoderNet::Seanet(net, state) => {
                let frames = net.encoder.run(backend, state, 0, true);
                self.codes.quantize(backend, state.output(), frames);
                net.encoder.reset(backend, state);
                self.codes.append_to(backend, frames, codes);
            }
            EncoderNet::Istft(net, state) => state.reset(backend, net),
        }
        self.fed = 0;
    }

    /// Encodes silence and drops the result, so that a backend that records graphs has recorded every size of
    /// piece, and no later push allocates. Call it before the first push. Does nothing on other backends.
    pub fn warm_up(&mut self, backend: &mut B) {
        if B::GRAPH_SIZES.is_empty() {
            return;
        }
        let (mut codes, frame) = (Vec::new(), self.frame);
        let first = (1..).find(|n| self.net.known_frames(n * frame) > 0).unwrap_or(1);
        self.push(backend, &vec![0.0; (first - 1) * frame], &mut codes);
        for n in B::GRAPH_SIZES {
            let silence = vec![0.0; n * frame];
            super::warm_up(|| {
                let steady = match &self.net {
                    EncoderNet::Seanet(net, state) => net.encoder.steady(state, n * frame).is_some(),
                    EncoderNet::Istft(..) => true,
                };
                self.push(backend, &silence, &mut codes);
                steady
            });
        }
        self.finish(backend, &mut codes);
    }

    fn run(&mut self, backend: &mut B, codes: &mut Vec<u32>) {
        self.fed += self.clean.len();
        self.net.push(backend, &self.clean, self.frame, &mut self.codes, codes);
    }
}
