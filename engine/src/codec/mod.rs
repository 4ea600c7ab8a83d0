//! One stem's codec: samples to codes and back, 50 frames a second.
//!
//! Streaming and offline are one path: a push of any length gives what is final by then, and all pushes together give, bit for
//! bit, what one push of everything gives. Weights stay in [`Codec`]; [`Encoder`] and [`Decoder`] are the state of one signal,
//! allocated once. A push is worked off at most [`CHUNK`] frames at a time, so that memory does not grow with its length.

mod istft;
pub mod quantizer;
mod seanet;
mod stream;

use sideman_kernels::{Backend, Book, Rows};

use crate::error::{Error, Result};
use crate::model::{CodecConfig, ModelDir, QuantizerConfig, Tensors};
use istft::Istft;
use seanet::Seanet;
use stream::{ChainState, Lap};

/// The most frames that are worked off at a time.
pub const CHUNK: usize = 16;

/// A player that records work ([`Backend::replay`]) encodes and decodes in pieces of so many frames: each is one graph.
const PIECES: [usize; 2] = [4, 1];

/// The frames to work off next, of `frames`.
fn piece<B: Backend>(frames: usize) -> usize {
    PIECES.into_iter().find(|n| B::RECORDS && *n <= frames).unwrap_or(frames.min(CHUNK))
}

/// What a player recorded of each of [`PIECES`]; none: the number of frames is no such piece.
fn of_piece<T>(each: &mut [T; PIECES.len()], frames: usize) -> Option<&mut T> {
    PIECES.iter().position(|n| *n == frames).map(|piece| &mut each[piece])
}

/// Does `work` until it has been the same launches three times, as it says by then: the first may only show that it is, the next lets
/// scratch grow, the last is recorded. What isn't the same soon never is.
fn rehearse(mut work: impl FnMut() -> bool) {
    let mut same = 0;
    for _ in 0..4 * CHUNK {
        same += usize::from(work());
        if same == 3 {
            return;
        }
    }
}

/// Samples are clipped here (+40 dB over full scale), so that no input can make a recurrent state infinite.
const CEILING: f32 = 100.0;

/// Weights of one stem's codec.
pub struct Codec<B: Backend> {
    net: Net<B>,
    books: Vec<Book<B>>,
    quantizer: QuantizerConfig,
    frame: usize,
}

/// The two kinds.
enum Net<B: Backend> {
    Seanet(Seanet<B>),
    Istft(Box<Istft<B>>),
}

/// State of one signal on its way to codes.
pub struct Encoder<B: Backend> {
    net: EncoderNet<B>,
    /// Samples since the start.
    fed: usize,
    /// Samples of one chunk, cleaned.
    clean: Vec<f32>,
    /// Codes of one chunk [books, frames], in the player's memory and here.
    codes: B::Ints,
    host: Vec<i32>,
}

/// With what is recorded of each of [`PIECES`].
enum EncoderNet<B: Backend> {
    Seanet(ChainState<B>, [Lap<B>; PIECES.len()]),
    Istft(Box<istft::EncoderState<B>>, [B::Graph; PIECES.len()]),
}

/// State of one signal on its way back to samples.
pub struct Decoder<B: Backend> {
    net: DecoderNet<B>,
    /// Codes of one chunk [books, frames], in the player's memory and here.
    codes: B::Ints,
    host: Vec<i32>,
}

/// With what is recorded of each of [`PIECES`].
enum DecoderNet<B: Backend> {
    Seanet(ChainState<B>, [Lap<B>; PIECES.len()]),
    Istft(Box<istft::DecoderState<B>>, [B::Graph; PIECES.len()]),
}

impl<B: Backend> Codec<B> {
    /// Loads the codec of `stem`, `codec.STEM.safetensors`, in f32.
    ///
    /// # Errors
    /// The model has no such stem; the file can't be read or does not fit the configuration; the player's memory is full.
    pub fn load(backend: &mut B, dir: &ModelDir, stem: &str) -> Result<Codec<B>> {
        let Some(config) = dir.config.codecs.get(stem) else {
            return Err(Error::Input(format!("the model {} has no stem {stem}; it has {:?}", dir.config.name, dir.config.stems)));
        };
        Codec::read(backend, config, dir.tensors(&format!("codec.{stem}.safetensors"))?)
    }

    /// Loads a codec from its part of the configuration and its file, all of whose tensors must be its own.
    ///
    /// # Errors
    /// As [`Codec::load`].
    pub fn read(backend: &mut B, config: &CodecConfig, mut tensors: Tensors) -> Result<Codec<B>> {
        let path = tensors.path().to_owned();
        config.validate().map_err(|(key, what)| Error::Key { path, key, what })?;
        let net = match config {
            CodecConfig::Seanet(c) => Net::Seanet(Seanet::load(backend, c, &mut tensors)?),
            CodecConfig::Istft(c) => Net::Istft(Box::new(Istft::load(backend, c, &mut tensors)?)),
        };
        let quantizer = config.quantizer();
        let books = quantizer::load(backend, &quantizer, &mut tensors)?;
        tensors.finish()?;
        Ok(Codec { net, books, quantizer, frame: config.frame() })
    }

    /// Codes of one frame.
    pub fn books(&self) -> usize {
        self.books.len()
    }

    /// Codes of each book.
    pub fn card(&self) -> usize {
        self.quantizer.card
    }

    /// Samples of one frame.
    pub fn frame(&self) -> usize {
        self.frame
    }

    /// Frames that an [`Encoder`] has given after `samples` samples, before its end (docs/explanation/musicgen-stem.md 3.9).
    pub fn known_frames(&self, samples: usize) -> usize {
        match &self.net {
            Net::Seanet(net) => net.encoder.known(samples),
            Net::Istft(net) => samples.saturating_sub(net.config.analysis_ahead) / self.frame,
        }
    }

    /// Samples that a [`Decoder`] has given after `frames` frames, before its end.
    pub fn known_samples(&self, frames: usize) -> usize {
        match &self.net {
            Net::Seanet(net) => net.decoder.known(frames),
            Net::Istft(net) => (frames * self.frame).saturating_sub(net.held()),
        }
    }

    /// An encoder at the start of a signal.
    ///
    /// # Errors
    /// The player's memory is full.
    pub fn encoder(&self, backend: &mut B) -> Result<Encoder<B>> {
        let (net, most) = match &self.net {
            Net::Seanet(net) => {
                let state = net.encoder.state(backend, CHUNK * self.frame)?;
                let most = state.room();
                (EncoderNet::Seanet(state, PIECES.map(|_| net.encoder.lap())), most)
            }
            Net::Istft(net) => {
                let state = istft::EncoderState::new(backend, net, CHUNK)?;
                (EncoderNet::Istft(Box::new(state), Default::default()), CHUNK)
            }
        };
        let len = self.books() * most;
        let clean = Vec::with_capacity(CHUNK * self.frame);
        Ok(Encoder { net, fed: 0, clean, codes: backend.ints(len)?, host: vec![0; len] })
    }

    /// A decoder at the start of a signal.
    ///
    /// # Errors
    /// The player's memory is full.
    pub fn decoder(&self, backend: &mut B) -> Result<Decoder<B>> {
        let net = match &self.net {
            Net::Seanet(net) => DecoderNet::Seanet(net.decoder.state(backend, CHUNK)?, PIECES.map(|_| net.decoder.lap())),
            Net::Istft(net) => DecoderNet::Istft(Box::new(istft::DecoderState::new(backend, net, CHUNK)?), Default::default()),
        };
        let len = self.books() * CHUNK;
        Ok(Decoder { net, codes: backend.ints(len)?, host: vec![0; len] })
    }

    /// Codes of a whole signal, frame-major: `books` values for each of ceil(samples / frame) frames.
    ///
    /// # Errors
    /// The player's memory is full.
    pub fn encode(&self, backend: &mut B, samples: &[f32]) -> Result<Vec<u32>> {
        let mut encoder = self.encoder(backend)?;
        let mut codes = Vec::with_capacity(samples.len().div_ceil(self.frame) * self.books());
        encoder.push(self, backend, samples, &mut codes);
        encoder.finish(self, backend, &mut codes);
        Ok(codes)
    }

    /// Codes of the first `frames` latents, [books, frames].
    fn quantize(&self, backend: &mut B, latents: &mut B::Buf, frames: usize, codes: &mut B::Ints) {
        if frames > 0 {
            let dim = self.quantizer.dim;
            backend.quantize(&self.books, dim, latents, Rows::packed(frames, dim), codes, frames, 0);
        }
    }

    /// Appends codes [books, frames] frame-major, by way of `host`.
    fn give(&self, backend: &mut B, from: &B::Ints, host: &mut [i32], frames: usize, codes: &mut Vec<u32>) {
        if frames > 0 {
            let host = &mut host[..self.books() * frames];
            backend.read_ints(from, 0, host);
            for f in 0..frames {
                codes.extend(host.iter().skip(f).step_by(frames).map(|c| c.cast_unsigned()));
            }
        }
    }

    /// Samples of a whole signal's codes, `frame` for each frame.
    ///
    /// # Errors
    /// As [`Decoder::push`]; the player's memory is full.
    pub fn decode(&self, backend: &mut B, codes: &[u32]) -> Result<Vec<f32>> {
        let mut decoder = self.decoder(backend)?;
        let mut samples = Vec::with_capacity(codes.len() / self.books() * self.frame);
        decoder.push(self, backend, codes, &mut samples)?;
        decoder.finish(self, backend, &mut samples);
        Ok(samples)
    }
}

impl<B: Backend> Encoder<B> {
    /// Takes samples and appends the codes of the frames that are final now, frame-major. NaN and infinite samples count as 0,
    /// those beyond ±100 as ±100.
    pub fn push(&mut self, codec: &Codec<B>, backend: &mut B, samples: &[f32], codes: &mut Vec<u32>) {
        let mut rest = samples;
        while !rest.is_empty() {
            let frames = match self.net {
                EncoderNet::Seanet(..) if B::RECORDS => piece::<B>(rest.len() / codec.frame).max(1),
                _ => CHUNK,
            };
            let (chunk, after) = rest.split_at(rest.len().min(frames * codec.frame));
            rest = after;
            let tame = |x: &f32| if x.is_finite() { x.clamp(-CEILING, CEILING) } else { 0.0 };
            self.clean.clear();
            self.clean.extend(chunk.iter().map(tame));
            self.run(codec, backend, codes);
        }
    }

    /// Encodes silence and forgets it, so that a player that records work has recorded every piece, and none later needs memory. Before
    /// anything is encoded.
    pub fn rehearse(&mut self, codec: &Codec<B>, backend: &mut B) {
        if !B::RECORDS {
            return;
        }
        let (mut codes, frame) = (Vec::new(), codec.frame);
        let first = (1..).find(|n| codec.known_frames(n * frame) > 0).unwrap_or(1);
        self.push(codec, backend, &vec![0.0; (first - 1) * frame], &mut codes);
        for (i, n) in PIECES.into_iter().enumerate() {
            let silence = vec![0.0; n * frame];
            rehearse(|| {
                self.push(codec, backend, &silence, &mut codes);
                !matches!(&self.net, EncoderNet::Seanet(_, laps) if !laps[i].found())
            });
        }
        self.finish(codec, backend, &mut codes);
    }

    /// Ends the signal: appends the remaining codes, up to ceil(samples / frame) frames in all. The encoder is at the start of a
    /// new signal after.
    pub fn finish(&mut self, codec: &Codec<B>, backend: &mut B, codes: &mut Vec<u32>) {
        match (&mut self.net, &codec.net) {
            (EncoderNet::Seanet(state, _), Net::Seanet(net)) => {
                let frames = net.encoder.run(backend, state, 0, true);
                codec.quantize(backend, state.output(), frames, &mut self.codes);
                net.encoder.reset(backend, state);
                codec.give(backend, &self.codes, &mut self.host, frames, codes);
            }
            (EncoderNet::Istft(..), Net::Istft(net)) => {
                let whole = self.fed.next_multiple_of(codec.frame);
                let mut zeros = if self.fed > 0 { whole - self.fed + net.config.analysis_ahead } else { 0 };
                while zeros > 0 {
                    let n = zeros.min(CHUNK * codec.frame);
                    zeros -= n;
                    self.clean.clear();
                    self.clean.resize(n, 0.0);
                    self.run(codec, backend, codes);
                }
                if let EncoderNet::Istft(state, _) = &mut self.net {
                    state.reset(backend, net);
                }
            }
            _ => unreachable!("an encoder of another codec"),
        }
        self.fed = 0;
    }

    fn run(&mut self, codec: &Codec<B>, backend: &mut B, codes: &mut Vec<u32>) {
        self.fed += self.clean.len();
        let Encoder { net, clean, codes: chosen, host, .. } = self;
        match (net, &codec.net) {
            (EncoderNet::Seanet(state, laps), Net::Seanet(net)) => {
                let (x, at) = state.input(1);
                backend.write(x, at, clean);
                let mut work = |backend: &mut B, state: &mut ChainState<B>| {
                    let n = net.encoder.run(backend, state, clean.len(), false);
                    codec.quantize(backend, state.output(), n, chosen);
                    n
                };
                let whole = clean.len().is_multiple_of(codec.frame);
                let lap = of_piece(laps, clean.len() / codec.frame).filter(|_| whole);
                let n = match lap {
                    Some(lap) => net.encoder.replay(backend, state, lap, &mut work),
                    None => work(backend, state),
                };
                codec.give(backend, chosen, host, n, codes);
            }
            (EncoderNet::Istft(state, graphs), Net::Istft(net)) => {
                let mut frames = state.take(backend, net, clean);
                while frames > 0 {
                    let n = piece::<B>(frames);
                    let mut work = |backend: &mut B| {
                        state.run(backend, net, n);
                        codec.quantize(backend, state.latents(), n, chosen);
                    };
                    match of_piece(graphs, n) {
                        Some(graph) => backend.replay(graph, &mut work),
                        None => work(backend),
                    }
                    state.pass(net, n);
                    codec.give(backend, chosen, host, n, codes);
                    frames -= n;
                }
            }
            _ => unreachable!("an encoder of another codec"),
        }
    }
}

impl<B: Backend> Decoder<B> {
    /// Takes codes, frame-major, and appends the samples that are final now.
    ///
    /// # Errors
    /// The codes are no whole number of frames, or one is out of its book's range; nothing has been taken then.
    pub fn push(&mut self, codec: &Codec<B>, backend: &mut B, codes: &[u32], samples: &mut Vec<f32>) -> Result<()> {
        let books = codec.books();
        if !codes.len().is_multiple_of(books) {
            return Err(Error::Input(format!("{} codes are no whole number of frames of {books}", codes.len())));
        }
        if let Some(at) = codes.iter().position(|c| *c as usize >= codec.card()) {
            let (frame, book) = (at / books, at % books);
            let what = format!("code {} of frame {frame}, book {book}: it should be below {}", codes[at], codec.card());
            return Err(Error::Input(what));
        }
        let mut rest = codes;
        while !rest.is_empty() {
            let frames = rest.len() / books;
            let (new, after) = rest.split_at(piece::<B>(frames) * books);
            self.run(codec, backend, new, samples);
            rest = after;
        }
        Ok(())
    }

    /// Decodes something and forgets it, so that a player that records work has recorded every piece, and none later needs memory. Before
    /// anything is decoded.
    pub fn rehearse(&mut self, codec: &Codec<B>, backend: &mut B) {
        if !B::RECORDS {
            return;
        }
        let mut samples = Vec::new();
        for (i, n) in PIECES.into_iter().enumerate() {
            let codes = vec![0; n * codec.books()];
            rehearse(|| {
                self.run(codec, backend, &codes, &mut samples);
                !matches!(&self.net, DecoderNet::Seanet(_, laps) if !laps[i].found())
            });
        }
        self.finish(codec, backend, &mut samples);
    }

    /// Ends the signal: appends the remaining samples, up to `frame` for each frame in all. The decoder is at the start of a new
    /// signal after.
    pub fn finish(&mut self, codec: &Codec<B>, backend: &mut B, samples: &mut Vec<f32>) {
        match (&mut self.net, &codec.net) {
            (DecoderNet::Seanet(state, _), Net::Seanet(net)) => {
                let n = net.decoder.run(backend, state, 0, true);
                append(backend, state.output(), n, samples);
                net.decoder.reset(backend, state);
            }
            (DecoderNet::Istft(state, _), Net::Istft(net)) => {
                state.finish(backend, net, samples);
                state.reset(backend, net);
            }
            _ => unreachable!("a decoder of another codec"),
        }
    }

    fn run(&mut self, codec: &Codec<B>, backend: &mut B, new: &[u32], samples: &mut Vec<f32>) {
        let (books, dim) = (codec.books(), codec.quantizer.dim);
        let frames = new.len() / books;
        let Decoder { net, codes, host } = self;
        let host = &mut host[..new.len()];
        for (i, c) in new.iter().enumerate() {
            host[i % books * frames + i / books] = c.cast_signed();
        }
        backend.write_ints(codes, 0, host);
        match (net, &codec.net) {
            (DecoderNet::Seanet(state, laps), Net::Seanet(net)) => {
                let mut work = |backend: &mut B, state: &mut ChainState<B>| {
                    let (z, at) = state.input(dim);
                    backend.dequantize(&codec.books, dim, codes, frames, 0, z, Rows { count: frames, at, stride: dim });
                    net.decoder.run(backend, state, frames, false)
                };
                let n = match of_piece(laps, frames) {
                    Some(lap) => net.decoder.replay(backend, state, lap, &mut work),
                    None => work(backend, state),
                };
                append(backend, state.output(), n, samples);
            }
            (DecoderNet::Istft(state, graphs), Net::Istft(net)) => {
                let mut work = |backend: &mut B| {
                    backend.dequantize(&codec.books, dim, codes, frames, 0, state.latents(), Rows::packed(frames, dim));
                    state.run(backend, net, frames);
                };
                match of_piece(graphs, frames) {
                    Some(graph) => backend.replay(graph, &mut work),
                    None => work(backend),
                }
                state.give(backend, net, 2 * frames, samples);
            }
            _ => unreachable!("a decoder of another codec"),
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
