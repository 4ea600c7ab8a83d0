//! One stem's codec: samples to codes and back, 50 frames a second.
//!
//! Streaming and offline are one path: a push of any length gives what is final by then, and all pushes together give, bit for
//! bit, what one push of everything gives. Weights stay in [`Codec`]; [`Encoder`] and [`Decoder`] are the state of one signal,
//! allocated once. A push is worked off at most [`CHUNK`] frames at a time, so that memory does not grow with its length.

mod istft;
pub mod quantizer;
mod seanet;
mod stream;

use sideman_kernels::{Book, Ops, Rows};

use crate::error::{Error, Result};
use crate::model::{CodecConfig, ModelDir, QuantizerConfig, Tensors};
use istft::Istft;
use seanet::Seanet;
use stream::ChainState;

/// The most frames that are worked off at a time.
pub const CHUNK: usize = 16;

/// A player that records work ([`Ops::replay`]) decodes kind `istft` in pieces of so many frames: each is one graph.
const PIECES: [usize; 2] = [4, 1];

/// Samples are clipped here (+40 dB over full scale), so that no input can make a recurrent state infinite.
const CEILING: f32 = 100.0;

/// Weights of one stem's codec.
pub struct Codec<O: Ops> {
    net: Net<O>,
    books: Vec<Book<O>>,
    quantizer: QuantizerConfig,
    frame: usize,
}

/// The two kinds.
enum Net<O: Ops> {
    Seanet(Seanet<O>),
    Istft(Box<Istft<O>>),
}

/// State of one signal on its way to codes.
pub struct Encoder<O: Ops> {
    net: EncoderNet<O>,
    /// Samples since the start.
    fed: usize,
    /// Samples of one chunk, cleaned.
    clean: Vec<f32>,
    /// Codes of one chunk [books, frames], in the player's memory and here.
    codes: O::Ints,
    host: Vec<i32>,
}

enum EncoderNet<O: Ops> {
    Seanet(ChainState<O>),
    Istft(Box<istft::EncoderState<O>>),
}

/// State of one signal on its way back to samples.
pub struct Decoder<O: Ops> {
    net: DecoderNet<O>,
    /// Codes of one chunk [books, frames], in the player's memory and here.
    codes: O::Ints,
    host: Vec<i32>,
    /// Of each of [`PIECES`], for kind `istft`: what one launches is the same each time. (A `seanet`'s queues move.)
    graphs: [O::Graph; PIECES.len()],
}

enum DecoderNet<O: Ops> {
    Seanet(ChainState<O>),
    Istft(Box<istft::DecoderState<O>>),
}

impl<O: Ops> Codec<O> {
    /// Loads the codec of `stem`, `codec.STEM.safetensors`, in f32.
    ///
    /// # Errors
    /// The model has no such stem; the file can't be read or does not fit the configuration; the player's memory is full.
    pub fn load(ops: &mut O, dir: &ModelDir, stem: &str) -> Result<Codec<O>> {
        let Some(config) = dir.config.codecs.get(stem) else {
            return Err(Error::Input(format!("the model {} has no stem {stem}; it has {:?}", dir.config.name, dir.config.stems)));
        };
        Codec::read(ops, config, dir.tensors(&format!("codec.{stem}.safetensors"))?)
    }

    /// Loads a codec from its part of the configuration and its file, all of whose tensors must be its own.
    ///
    /// # Errors
    /// As [`Codec::load`].
    pub fn read(ops: &mut O, config: &CodecConfig, mut tensors: Tensors) -> Result<Codec<O>> {
        let path = tensors.path().to_owned();
        config.validate().map_err(|(key, what)| Error::Key { path, key, what })?;
        let net = match config {
            CodecConfig::Seanet(c) => Net::Seanet(Seanet::load(ops, c, &mut tensors)?),
            CodecConfig::Istft(c) => Net::Istft(Box::new(Istft::load(ops, c, &mut tensors)?)),
        };
        let quantizer = config.quantizer();
        let books = quantizer::load(ops, &quantizer, &mut tensors)?;
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

    /// Frames that an [`Encoder`] has given after `samples` samples, before its end (musicgen-stem.md 3.9).
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
    pub fn encoder(&self, ops: &mut O) -> Result<Encoder<O>> {
        let (net, most) = match &self.net {
            Net::Seanet(net) => {
                let state = net.encoder.state(ops, CHUNK * self.frame)?;
                let most = state.room();
                (EncoderNet::Seanet(state), most)
            }
            Net::Istft(net) => (EncoderNet::Istft(Box::new(istft::EncoderState::new(ops, net, CHUNK)?)), CHUNK),
        };
        let len = self.books() * most;
        let clean = Vec::with_capacity(CHUNK * self.frame);
        Ok(Encoder { net, fed: 0, clean, codes: ops.ints(len)?, host: vec![0; len] })
    }

    /// A decoder at the start of a signal.
    ///
    /// # Errors
    /// The player's memory is full.
    pub fn decoder(&self, ops: &mut O) -> Result<Decoder<O>> {
        let net = match &self.net {
            Net::Seanet(net) => DecoderNet::Seanet(net.decoder.state(ops, CHUNK)?),
            Net::Istft(net) => DecoderNet::Istft(Box::new(istft::DecoderState::new(ops, net, CHUNK)?)),
        };
        let len = self.books() * CHUNK;
        Ok(Decoder { net, codes: ops.ints(len)?, host: vec![0; len], graphs: Default::default() })
    }

    /// Codes of a whole signal, frame-major: `books` values for each of ceil(samples / frame) frames.
    ///
    /// # Errors
    /// The player's memory is full.
    pub fn encode(&self, ops: &mut O, samples: &[f32]) -> Result<Vec<u32>> {
        let mut encoder = self.encoder(ops)?;
        let mut codes = Vec::with_capacity(samples.len().div_ceil(self.frame) * self.books());
        encoder.push(self, ops, samples, &mut codes);
        encoder.finish(self, ops, &mut codes);
        Ok(codes)
    }

    /// Samples of a whole signal's codes, `frame` for each frame.
    ///
    /// # Errors
    /// As [`Decoder::push`]; the player's memory is full.
    pub fn decode(&self, ops: &mut O, codes: &[u32]) -> Result<Vec<f32>> {
        let mut decoder = self.decoder(ops)?;
        let mut samples = Vec::with_capacity(codes.len() / self.books() * self.frame);
        decoder.push(self, ops, codes, &mut samples)?;
        decoder.finish(self, ops, &mut samples);
        Ok(samples)
    }
}

impl<O: Ops> Encoder<O> {
    /// Takes samples and appends the codes of the frames that are final now, frame-major. NaN and infinite samples count as 0,
    /// those beyond ±100 as ±100.
    pub fn push(&mut self, codec: &Codec<O>, ops: &mut O, samples: &[f32], codes: &mut Vec<u32>) {
        for chunk in samples.chunks(CHUNK * codec.frame) {
            let tame = |x: &f32| if x.is_finite() { x.clamp(-CEILING, CEILING) } else { 0.0 };
            self.clean.clear();
            self.clean.extend(chunk.iter().map(tame));
            self.run(codec, ops, codes);
        }
    }

    /// Ends the signal: appends the remaining codes, up to ceil(samples / frame) frames in all. The encoder is at the start of a
    /// new signal after.
    pub fn finish(&mut self, codec: &Codec<O>, ops: &mut O, codes: &mut Vec<u32>) {
        let fed = std::mem::take(&mut self.fed);
        let frames = match (&mut self.net, &codec.net) {
            (EncoderNet::Seanet(state), Net::Seanet(net)) => net.encoder.run(ops, state, 0, true),
            (EncoderNet::Istft(_), Net::Istft(net)) => {
                let whole = fed.next_multiple_of(codec.frame);
                let mut zeros = if fed > 0 { whole - fed + net.config.analysis_ahead } else { 0 };
                while zeros > 0 {
                    let n = zeros.min(CHUNK * codec.frame);
                    zeros -= n;
                    self.clean.clear();
                    self.clean.resize(n, 0.0);
                    self.run(codec, ops, codes);
                }
                0
            }
            _ => unreachable!("an encoder of another codec"),
        };
        self.emit(codec, ops, frames, codes);
        match (&mut self.net, &codec.net) {
            (EncoderNet::Seanet(state), Net::Seanet(net)) => net.encoder.reset(ops, state),
            (EncoderNet::Istft(state), Net::Istft(net)) => state.reset(ops, net),
            _ => unreachable!("an encoder of another codec"),
        }
        self.fed = 0;
    }

    fn run(&mut self, codec: &Codec<O>, ops: &mut O, codes: &mut Vec<u32>) {
        self.fed += self.clean.len();
        let frames = match (&mut self.net, &codec.net) {
            (EncoderNet::Seanet(state), Net::Seanet(net)) => {
                let (x, at) = state.input(1);
                ops.write(x, at, &self.clean);
                net.encoder.run(ops, state, self.clean.len(), false)
            }
            (EncoderNet::Istft(state), Net::Istft(net)) => state.run(ops, net, &self.clean),
            _ => unreachable!("an encoder of another codec"),
        };
        self.emit(codec, ops, frames, codes);
    }

    /// Quantizes the `frames` latents that the net has put out.
    fn emit(&mut self, codec: &Codec<O>, ops: &mut O, frames: usize, codes: &mut Vec<u32>) {
        if frames == 0 {
            return;
        }
        let latents = match &mut self.net {
            EncoderNet::Seanet(state) => state.output(),
            EncoderNet::Istft(state) => state.latents(),
        };
        let dim = codec.quantizer.dim;
        ops.quantize(&codec.books, dim, latents, Rows::packed(frames, dim), &mut self.codes, frames, 0);
        let host = &mut self.host[..codec.books() * frames];
        ops.read_ints(&self.codes, 0, host);
        for f in 0..frames {
            codes.extend(host.iter().skip(f).step_by(frames).map(|c| c.cast_unsigned()));
        }
    }
}

impl<O: Ops> Decoder<O> {
    /// Takes codes, frame-major, and appends the samples that are final now.
    ///
    /// # Errors
    /// The codes are no whole number of frames, or one is out of its book's range; nothing has been taken then.
    pub fn push(&mut self, codec: &Codec<O>, ops: &mut O, codes: &[u32], samples: &mut Vec<f32>) -> Result<()> {
        let books = codec.books();
        if !codes.len().is_multiple_of(books) {
            return Err(Error::Input(format!("{} codes are no whole number of frames of {books}", codes.len())));
        }
        if let Some(at) = codes.iter().position(|c| *c as usize >= codec.card()) {
            let (frame, book) = (at / books, at % books);
            let what = format!("code {} of frame {frame}, book {book}: it should be below {}", codes[at], codec.card());
            return Err(Error::Input(what));
        }
        let records = O::RECORDS && matches!(self.net, DecoderNet::Istft(_));
        let mut rest = codes;
        while !rest.is_empty() {
            let frames = rest.len() / books;
            let piece = PIECES.into_iter().find(|n| records && *n <= frames).unwrap_or(frames.min(CHUNK));
            let (piece, after) = rest.split_at(piece * books);
            self.run(codec, ops, piece, samples);
            rest = after;
        }
        Ok(())
    }

    /// Decodes a few frames and forgets them, so that a player that records work has recorded every piece, and none later needs memory.
    /// Before anything is decoded.
    pub fn rehearse(&mut self, codec: &Codec<O>, ops: &mut O) {
        if !O::RECORDS || matches!(codec.net, Net::Seanet(_)) {
            return;
        }
        let mut samples = Vec::new();
        for n in PIECES {
            // The first lets scratch grow, the second is recorded.
            for _ in 0..2 {
                self.run(codec, ops, &vec![0; n * codec.books()], &mut samples);
            }
        }
        self.finish(codec, ops, &mut samples);
    }

    /// Ends the signal: appends the remaining samples, up to `frame` for each frame in all. The decoder is at the start of a new
    /// signal after.
    pub fn finish(&mut self, codec: &Codec<O>, ops: &mut O, samples: &mut Vec<f32>) {
        match (&mut self.net, &codec.net) {
            (DecoderNet::Seanet(state), Net::Seanet(net)) => {
                let n = net.decoder.run(ops, state, 0, true);
                append(ops, state.output(), n, samples);
                net.decoder.reset(ops, state);
            }
            (DecoderNet::Istft(state), Net::Istft(net)) => {
                state.finish(ops, net, samples);
                state.reset(ops, net);
            }
            _ => unreachable!("a decoder of another codec"),
        }
    }

    fn run(&mut self, codec: &Codec<O>, ops: &mut O, new: &[u32], samples: &mut Vec<f32>) {
        let (books, dim) = (codec.books(), codec.quantizer.dim);
        let frames = new.len() / books;
        let Decoder { net, codes, host, graphs } = self;
        let host = &mut host[..new.len()];
        for (i, c) in new.iter().enumerate() {
            host[i % books * frames + i / books] = c.cast_signed();
        }
        ops.write_ints(codes, 0, host);
        match (net, &codec.net) {
            (DecoderNet::Seanet(state), Net::Seanet(net)) => {
                let (z, at) = state.input(dim);
                let to = Rows { count: frames, at, stride: dim };
                ops.dequantize(&codec.books, dim, codes, frames, 0, z, to);
                let n = net.decoder.run(ops, state, frames, false);
                append(ops, state.output(), n, samples);
            }
            (DecoderNet::Istft(state), Net::Istft(net)) => {
                let mut work = |ops: &mut O| {
                    ops.dequantize(&codec.books, dim, codes, frames, 0, state.latents(), Rows::packed(frames, dim));
                    state.run(ops, net, frames);
                };
                match PIECES.iter().position(|n| *n == frames) {
                    Some(piece) => ops.replay(&mut graphs[piece], &mut work),
                    None => work(ops),
                }
                state.give(ops, net, 2 * frames, samples);
            }
            _ => unreachable!("a decoder of another codec"),
        }
    }
}

/// Appends the first `n` values of a buffer.
fn append<O: Ops>(ops: &mut O, x: &O::Buf, n: usize, samples: &mut Vec<f32>) {
    let old = samples.len();
    samples.resize(old + n, 0.0);
    if n > 0 {
        ops.read(x, 0, &mut samples[old..]);
    }
}
