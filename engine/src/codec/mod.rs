//! One stem's audio codec: samples to codes and back, 50 frames a second.
//!
//! [`Codec`] holds the weights. [`Encoder`] and [`Decoder`] hold the state of one signal; all their memory is
//! allocated when they are made. Streaming and offline use are one path: a push of any length gives what is
//! final by then, and all pushes together give, bit for bit, what one push of everything gives. A push is
//! worked off in chunks of at most [`CHUNK`] frames, so that memory does not grow with its length.
//!
//! There are two kinds of network, `seanet` (EnCodec) and `istft` (the house codecs).

mod chain;
mod conv;
mod decoder;
mod encoder;
mod istft;
pub mod quantizer;
mod seanet;

pub use decoder::Decoder;
pub use encoder::Encoder;

use std::sync::Arc;

use sideman_kernels::Backend;

use crate::error::{Error, Result};
use crate::model::{CodecConfig, ModelDir, Tensors};
use istft::Istft;
use quantizer::Quantizer;
use seanet::Seanet;

/// The most frames that are worked off at a time.
pub const CHUNK: usize = 16;

/// Weights of one stem's codec.
///
/// ```
/// use sideman_engine::codec::Codec;
/// use sideman_engine::model::{FRAME, ModelDir};
/// use sideman_kernels::cpu::CpuBackend;
///
/// let dir = ModelDir::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/six"))?;
/// let mut cpu = CpuBackend::new(1);
/// let codec = Codec::load(&mut cpu, &dir, "other")?;
/// let samples: Vec<f32> = (0..10 * FRAME).map(|n| (n as f32 * 0.05).sin()).collect();
/// let codes = codec.encode(&mut cpu, &samples)?;
/// assert_eq!(codes.len(), 10 * codec.books());
/// assert_eq!(codec.decode(&mut cpu, &codes)?.len(), samples.len());
///
/// // The same codes, with the samples in pieces.
/// let (mut encoder, mut streamed) = (codec.encoder(&mut cpu)?, Vec::new());
/// for piece in samples.chunks(100) {
///     encoder.push(&mut cpu, piece, &mut streamed);
/// }
/// encoder.finish(&mut cpu, &mut streamed);
/// assert_eq!(streamed, codes);
/// # Ok::<(), sideman_engine::Error>(())
/// ```
pub struct Codec<B: Backend> {
    net: Net<B>,
    quantizer: Arc<Quantizer<B>>,
    /// Samples of one frame.
    frame: usize,
}

/// The network of either kind. Encoders and decoders share it.
enum Net<B: Backend> {
    Seanet(Arc<Seanet<B>>),
    Istft(Arc<Istft<B>>),
}

impl<B: Backend> Codec<B> {
    /// Loads the codec of `stem`, `codec.STEM.safetensors`, in f32.
    ///
    /// # Errors
    /// The model has no such stem; the file can't be read or does not fit the configuration; the backend's
    /// memory is full.
    pub fn load(backend: &mut B, dir: &ModelDir, stem: &str) -> Result<Codec<B>> {
        let Some(config) = dir.config.codecs.get(stem) else {
            return Err(Error::Input(format!("the model {} has no stem {stem}; it has {:?}", dir.config.name, dir.config.stems)));
        };
        Codec::read(backend, config, dir.tensors(&format!("codec.{stem}.safetensors"))?)
    }

    /// Loads a codec from its part of the configuration and its file. Every tensor of the file must belong to
    /// it.
    ///
    /// # Errors
    /// As [`Codec::load`].
    pub fn read(backend: &mut B, config: &CodecConfig, mut tensors: Tensors) -> Result<Codec<B>> {
        let path = tensors.path().to_owned();
        config.validate().map_err(|(key, what)| Error::Key { path, key, what })?;
        let net = match config {
            CodecConfig::Seanet(c) => Net::Seanet(Arc::new(Seanet::load(backend, c, &mut tensors)?)),
            CodecConfig::Istft(c) => Net::Istft(Arc::new(Istft::load(backend, c, &mut tensors)?)),
        };
        let books = quantizer::load(backend, &config.quantizer(), &mut tensors)?;
        tensors.finish()?;
        Ok(Codec { net, quantizer: Arc::new(Quantizer { config: config.quantizer(), books }), frame: config.frame() })
    }

    /// Codes of one frame.
    pub fn books(&self) -> usize {
        self.quantizer.books.len()
    }

    /// Codes of each book.
    pub fn card(&self) -> usize {
        self.quantizer.config.card
    }

    /// Samples of one frame.
    pub fn frame(&self) -> usize {
        self.frame
    }

    /// Frames that an [`Encoder`] has given after `samples` samples, before the end of the signal
    /// (docs/explanation/musicgen-stem.md 3.9).
    pub fn known_frames(&self, samples: usize) -> usize {
        match &self.net {
            Net::Seanet(net) => net.encoder.known(samples),
            Net::Istft(net) => net.known_frames(samples),
        }
    }

    /// Samples that a [`Decoder`] has given after `frames` frames, before the end of the signal.
    pub fn known_samples(&self, frames: usize) -> usize {
        match &self.net {
            Net::Seanet(net) => net.decoder.known(frames),
            Net::Istft(net) => (frames * self.frame).saturating_sub(net.held()),
        }
    }

    /// An encoder at the start of a signal.
    ///
    /// # Errors
    /// The backend's memory is full.
    pub fn encoder(&self, backend: &mut B) -> Result<Encoder<B>> {
        Encoder::new(backend, self)
    }

    /// A decoder at the start of a signal.
    ///
    /// # Errors
    /// The backend's memory is full.
    pub fn decoder(&self, backend: &mut B) -> Result<Decoder<B>> {
        Decoder::new(backend, self)
    }

    /// Codes of a whole signal, frame-major: `books` values for each of ceil(samples / frame) frames.
    ///
    /// # Errors
    /// The backend's memory is full.
    pub fn encode(&self, backend: &mut B, samples: &[f32]) -> Result<Vec<u32>> {
        let mut encoder = self.encoder(backend)?;
        let mut codes = Vec::with_capacity(samples.len().div_ceil(self.frame) * self.books());
        encoder.push(backend, samples, &mut codes);
        encoder.finish(backend, &mut codes);
        Ok(codes)
    }

    /// Samples of a whole signal's codes, one frame of samples for each frame of codes.
    ///
    /// # Errors
    /// As [`Decoder::push`]; the backend's memory is full.
    pub fn decode(&self, backend: &mut B, codes: &[u32]) -> Result<Vec<f32>> {
        let mut decoder = self.decoder(backend)?;
        let mut samples = Vec::with_capacity(codes.len() / self.books() * self.frame);
        decoder.push(backend, codes, &mut samples)?;
        decoder.finish(backend, &mut samples);
        Ok(samples)
    }
}

/// Frames to work off next, of `frames`: on a backend that records graphs one of its sizes.
fn piece<B: Backend>(frames: usize) -> usize {
    B::GRAPH_SIZES.iter().copied().find(|n| *n <= frames).unwrap_or(frames.min(CHUNK))
}

/// Calls `work` until it has returned true (its run was steady) three times: in the first steady run scratch
/// memory grows, the second is recorded, the third replayed. A signal is steady after a few frames; the number
/// of calls is bounded in any case.
fn warm_up(mut work: impl FnMut() -> bool) {
    let mut steady = 0;
    for _ in 0..4 * CHUNK {
        steady += usize::from(work());
        if steady == 3 {
            return;
        }
    }
}
