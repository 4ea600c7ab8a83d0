//! The decoder of one signal: codes in pushes of any number of frames to samples.

use std::sync::Arc;

use sideman_kernels::Backend;

use super::chain::ChainState;
use super::istft::{Istft, IstftDecoder};
use super::quantizer::Codes;
use super::seanet::Seanet;
use super::{CHUNK, Codec, Net, piece};
use crate::error::Result;

/// State of one signal that is being decoded. [`Codec::decoder`] makes it.
pub struct Decoder<B: Backend> {
    net: DecoderNet<B>,
    codes: Codes<B>,
}

/// The network of either kind, with its state for this signal.
enum DecoderNet<B: Backend> {
    Seanet(Arc<Seanet<B>>, ChainState<B>),
    Istft(Arc<Istft<B>>, Box<IstftDecoder<B>>),
}

impl<B: Backend> Decoder<B> {
    /// A decoder at the start of a signal.
    ///
    /// # Errors
    /// The backend's memory is full.
    pub(super) fn new(backend: &mut B, codec: &Codec<B>) -> Result<Self> {
        let net = match &codec.net {
            Net::Seanet(net) => DecoderNet::Seanet(net.clone(), net.decoder.state(backend, CHUNK)?),
            Net::Istft(net) => DecoderNet::Istft(net.clone(), Box::new(IstftDecoder::new(backend, net, CHUNK)?)),
        };
        Ok(Decoder { net, codes: Codes::new(backend, &codec.quantizer, CHUNK)? })
    }

    /// Takes codes, frame-major, and appends the samples that are final now.
    ///
    /// # Errors
    /// The codes are not whole frames, or one is not in its book. Nothing has been taken then.
    pub fn push(&mut self, backend: &mut B, codes: &[u32], samples: &mut Vec<f32>) -> Result<()> {
        self.codes.check(codes)?;
        let (books, mut rest) = (self.codes.books(), codes);
        while !rest.is_empty() {
            let (new, after) = rest.split_at(piece::<B>(rest.len() / books) * books);
            self.run(backend, new, samples);
            rest = after;
        }
        Ok(())
    }

    /// Ends the signal: appends the remaining samples, up to one frame of samples for each frame of codes in
    /// all. Afterwards the decoder is at the start of a new signal.
    pub fn finish(&mut self, backend: &mut B, samples: &mut Vec<f32>) {
        match &mut self.net {
            DecoderNet::Seanet(net, state) => {
                let n = net.decoder.run(backend, state, 0, true);
                append(backend, state.output(), n, samples);
                net.decoder.reset(backend, state);
            }
            DecoderNet::Istft(net, state) => {
                state.finish(backend, net, samples);
                state.reset(backend, net);
            }
        }
    }

    /// Decodes zeros and drops the result, so that a backend that records graphs has recorded every size of
    /// piece, and no later push allocates. Call it before the first push. Does nothing on other backends.
    pub fn warm_up(&mut self, backend: &mut B) {
        if B::GRAPH_SIZES.is_empty() {
            return;
        }
        let mut samples = Vec::new();
        for n in B::GRAPH_SIZES {
            let codes = vec![0; n * self.codes.books()];
            super::warm_up(|| {
                let steady = match &self.net {
                    DecoderNet::Seanet(net, state) => net.decoder.steady(state, *n).is_some(),
                    DecoderNet::Istft(..) => true,
                };
                self.run(backend, &codes, &mut samples);
                steady
            });
        }
        self.finish(backend, &mut samples);
    }

    fn run(&mut self, backend: &mut B, new: &[u32], samples: &mut Vec<f32>) {
        let Decoder { net, codes } = self;
        let frames = codes.write(backend, new);
        match net {
            DecoderNet::Seanet(net, state) => {
                let mut work = |backend: &mut B, state: &mut ChainState<B>| {
                    let (z, at) = state.input(codes.dim());
                    codes.dequantize(backend, frames, z, at);
                    net.decoder.run(backend, state, frames, false)
                };
                let n = match B::GRAPH_SIZES.contains(&frames) {
                    true => net.decoder.run_recorded(backend, state, frames, &mut work),
                    false => work(backend, state),
                };
                append(backend, state.output(), n, samples);
            }
            DecoderNet::Istft(net, state) => {
                state.decode(backend, net, frames, codes);
                state.append_to(backend, net, 2 * frames, samples);
            }
        }
    }
}

/// Appends the first `n` values of a buffer.
fn append<B: Backend>(backend: &mut B, x: &B::Buf, n: usize, samples: &mut Vec<f32>) {
    let old = samples.len();
    samples.resize(old + n, 0.0);
    if n > 0 {
        backend.read(x, 0, &mut samples[old..]);
    }
}
