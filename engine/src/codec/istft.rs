//! Kind `istft`, the house codecs (docs/reference/model-format.md): ConvNeXt blocks between log spectra and an inverse STFT. Everything is
//! causal, so streaming needs no more than the rows before the new ones; what the encoder looks ahead is a delay.

use sideman_kernels::{Act, Backend, Format, Linear, Norm, Rows};

use crate::error::Result;
use crate::model::{IstftConfig, Tensors, upload};

/// Weights of both halves.
pub struct Istft<B: Backend> {
    /// What `config.json` says.
    pub config: IstftConfig,
    /// [dim, features].
    encoder_in: Linear<B>,
    encoder_blocks: Vec<Block<B>>,
    /// [dim, 2·dim]: two fine frames to a token frame.
    down: Linear<B>,
    encoder_blocks50: Vec<Block<B>>,
    /// LayerNorm, [latent, dim].
    encoder_out: Linear<B>,
    /// [dim, latent].
    decoder_in: Linear<B>,
    decoder_blocks50: Vec<Block<B>>,
    /// [2·dim, dim]: a token frame to two fine frames.
    up: Linear<B>,
    decoder_blocks: Vec<Block<B>>,
    /// LayerNorm, [n_fft + 2, dim].
    head: Linear<B>,
}

/// ConvNeXt block.
struct Block<B: Backend> {
    /// Depthwise taps [kernel, dim].
    taps: B::Buf,
    /// [dim].
    bias: B::Buf,
    /// LayerNorm, [ffn, dim], GELU.
    wide: Linear<B>,
    /// [dim, ffn], added to the block's input.
    narrow: Linear<B>,
}

/// Reads layers by name.
struct Loader<'a, B: Backend> {
    backend: &'a mut B,
    tensors: &'a mut Tensors,
    config: &'a IstftConfig,
}

impl<B: Backend> Istft<B> {
    /// Reads `encoder.*` and `decoder.*`.
    pub fn load(backend: &mut B, config: &IstftConfig, tensors: &mut Tensors) -> Result<Self> {
        let c = config.clone();
        let features = c.analysis.iter().map(|a| a.bins).sum();
        let mut l = Loader { backend, tensors, config };
        Ok(Istft {
            encoder_in: l.linear("encoder.in", c.dim, features, None)?,
            encoder_blocks: l.blocks("encoder.blocks", c.encoder_blocks)?,
            down: l.linear("encoder.down", c.dim, 2 * c.dim, None)?,
            encoder_blocks50: l.blocks("encoder.blocks50", c.encoder_blocks50)?,
            encoder_out: l.linear("encoder.out", c.latent, c.dim, Some("encoder.norm"))?,
            decoder_in: l.linear("decoder.in", c.dim, c.latent, None)?,
            decoder_blocks50: l.blocks("decoder.blocks50", c.decoder_blocks50)?,
            up: l.linear("decoder.up", 2 * c.dim, c.dim, None)?,
            decoder_blocks: l.blocks("decoder.blocks", c.decoder_blocks)?,
            head: l.linear("decoder.head", c.n_fft + 2, c.dim, Some("decoder.norm"))?,
            config: c,
        })
    }

    /// Samples of overlap before sample 0 of the first fine frame: what the decoder holds back.
    pub fn held(&self) -> usize {
        self.config.n_fft / 2 - self.config.hop / 2
    }
}

impl<B: Backend> Loader<'_, B> {
    fn linear(&mut self, name: &str, rows: usize, cols: usize, norm: Option<&str>) -> Result<Linear<B>> {
        let weight = self.tensors.mat(self.backend, &format!("{name}.weight"), rows, cols, Format::F32)?;
        let bias = Some(self.tensors.buf(self.backend, &format!("{name}.bias"), rows)?);
        let norm = match norm {
            Some(norm) => Some(Norm {
                weight: self.tensors.buf(self.backend, &format!("{norm}.weight"), cols)?,
                bias: Some(self.tensors.buf(self.backend, &format!("{norm}.bias"), cols)?),
                eps: self.config.eps,
            }),
            None => None,
        };
        Ok(Linear { weight, bias, norm, act: Act::None, add: false })
    }

    fn blocks(&mut self, name: &str, count: usize) -> Result<Vec<Block<B>>> {
        (0..count).map(|i| self.block(&format!("{name}.{i}"))).collect()
    }

    fn block(&mut self, name: &str) -> Result<Block<B>> {
        let (dim, ffn, kernel) = (self.config.dim, self.config.ffn, self.config.kernel);
        let file = self.tensors.get(&format!("{name}.dw.weight"), &[dim, kernel])?;
        let taps: Vec<f32> = (0..kernel).flat_map(|i| file.iter().skip(i).step_by(kernel).copied()).collect();
        let wide = self.linear(&format!("{name}.pw1"), ffn, dim, Some(&format!("{name}.norm")))?;
        let narrow = self.linear(&format!("{name}.pw2"), dim, ffn, None)?;
        Ok(Block {
            taps: upload(self.backend, &taps)?,
            bias: self.tensors.buf(self.backend, &format!("{name}.dw.bias"), dim)?,
            wide: Linear { act: Act::Gelu, ..wide },
            narrow: Linear { add: true, ..narrow },
        })
    }
}

/// State of a stack of blocks.
struct Stack<B: Backend> {
    /// Input of each block, after its history: [kernel − 1 + rows, dim]; then the output [rows, dim].
    x: Vec<B::Buf>,
    /// Values of history: (kernel − 1) · dim.
    history: usize,
}

/// Buffers that all blocks share.
struct Scratch<B: Backend> {
    /// [rows, dim].
    mixed: B::Buf,
    /// [rows, ffn].
    wide: B::Buf,
}

impl<B: Backend> Scratch<B> {
    fn new(backend: &mut B, c: &IstftConfig, rows: usize) -> Result<Self> {
        Ok(Scratch { mixed: backend.buf(rows * c.dim)?, wide: backend.buf(rows * c.ffn)? })
    }
}

impl<B: Backend> Stack<B> {
    fn new(backend: &mut B, c: &IstftConfig, blocks: usize, rows: usize) -> Result<Self> {
        let history = (c.kernel - 1) * c.dim;
        let mut x = (0..blocks).map(|_| backend.buf(history + rows * c.dim)).collect::<Result<Vec<_>, _>>()?;
        x.push(backend.buf(rows * c.dim)?);
        Ok(Stack { x, history })
    }

    /// Where new rows go, and from which index on.
    fn input(&mut self) -> (&mut B::Buf, usize) {
        let at = if self.x.len() > 1 { self.history } else { 0 };
        (&mut self.x[0], at)
    }

    /// Runs `n` new rows through the blocks; they are at the start of the last buffer after.
    fn run(&mut self, backend: &mut B, c: &IstftConfig, blocks: &[Block<B>], s: &mut Scratch<B>, n: usize) -> &B::Buf {
        for (i, b) in blocks.iter().enumerate() {
            let at = if i + 1 < blocks.len() { self.history } else { 0 };
            let (before, after) = self.x.split_at_mut(i + 1);
            let (x, y) = (&mut before[i], &mut after[0]);
            let to = Rows { count: n, at, stride: c.dim };
            backend.depthwise(&b.taps, &b.bias, c.kernel, c.dim, x, 0, n, &mut s.mixed);
            backend.linear(&b.wide, &s.mixed, Rows::packed(n, c.dim), &mut s.wide, Rows::packed(n, c.ffn));
            backend.copy(x, Rows { count: n, at: self.history, stride: c.dim }, y, to, c.dim);
            backend.linear(&b.narrow, &s.wide, Rows::packed(n, c.ffn), y, to);
            backend.shift(x, n * c.dim, 0, self.history);
        }
        &self.x[blocks.len()]
    }

    fn reset(&mut self, backend: &mut B) {
        let (history, blocks) = (self.history, self.x.len() - 1);
        self.x[..blocks].iter_mut().for_each(|x| backend.zero(x, 0, history));
    }
}

/// State of an encoder. What it works on always lies at the same place, so that it is the same launches each time.
pub struct EncoderState<B: Backend> {
    /// Samples still needed, [room]: zeros before the start, past samples, new ones. The window of the next fine frame ends at `span`.
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
}

impl<B: Backend> EncoderState<B> {
    /// State for at most `frames` frames of new samples at a time.
    pub fn new(backend: &mut B, net: &Istft<B>, frames: usize) -> Result<Self> {
        let c = &net.config;
        let span = c.analysis.iter().map(|a| a.n_fft).max().unwrap_or(0).max(c.hop + c.analysis_ahead);
        let features: usize = c.analysis.iter().map(|a| a.bins).sum();
        let room = span + c.hop + 2 * c.hop * frames;
        let mut state = EncoderState {
            x: backend.buf(room)?,
            room,
            have: 0,
            span,
            features: backend.buf(2 * frames * features)?,
            fine: Stack::new(backend, c, c.encoder_blocks, 2 * frames)?,
            coarse: Stack::new(backend, c, c.encoder_blocks50, frames)?,
            scratch: Scratch::new(backend, c, 2 * frames)?,
            latents: backend.buf(frames * c.latent)?,
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

    /// Encodes the next `n` frames, whose latents are then at the start of [`EncoderState::latents`], and moves the samples up: the
    /// same launches on the same memory for the same `n`. [`EncoderState::pass`] has to follow.
    pub fn run(&mut self, backend: &mut B, net: &Istft<B>, n: usize) {
        let c = &net.config;
        let width = c.analysis.iter().map(|a| a.bins).sum();
        let mut col = 0;
        for a in &c.analysis {
            let rows = Rows::packed(2 * n, width);
            backend.spectrum(a.n_fft, a.bins, &self.x, self.span, c.hop, 2 * n, &mut self.features, rows, col);
            col += a.bins;
        }
        // All that follows, whether it is samples or left over: how many samples there are differs from time to time.
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

    /// Counts the samples that [`EncoderState::run`] has moved away.
    pub fn pass(&mut self, net: &Istft<B>, n: usize) {
        self.have -= 2 * n * net.config.hop;
    }

    /// Latents of the last run, [frames, latent].
    pub fn latents(&mut self) -> &mut B::Buf {
        &mut self.latents
    }

    /// Makes the state ready for another signal.
    pub fn reset(&mut self, backend: &mut B, net: &Istft<B>) {
        self.have = self.span - net.config.hop - net.config.analysis_ahead;
        backend.zero(&mut self.x, 0, self.have);
        self.fine.reset(backend);
        self.coarse.reset(backend);
    }
}

/// State of a decoder.
pub struct DecoderState<B: Backend> {
    /// [frames, latent].
    latents: B::Buf,
    coarse: Stack<B>,
    fine: Stack<B>,
    scratch: Scratch<B>,
    /// (log magnitude, phase) [2·frames, n_fft + 2].
    spectra: B::Buf,
    /// A spectrum of nothing, to move the overlap out at the end.
    silence: Vec<f32>,
    /// Overlap [n_fft].
    tail: B::Buf,
    /// [2·frames·hop].
    wave: B::Buf,
    /// Samples before sample 0, still to be dropped.
    skip: usize,
}

impl<B: Backend> DecoderState<B> {
    /// State for at most `frames` frames at a time.
    pub fn new(backend: &mut B, net: &Istft<B>, frames: usize) -> Result<Self> {
        let c = &net.config;
        // exp(−1000) is 0.
        let silence = [vec![-1000.0; c.n_fft / 2 + 1], vec![0.0; c.n_fft / 2 + 1]].concat();
        let mut state = DecoderState {
            latents: backend.buf(frames * c.latent)?,
            coarse: Stack::new(backend, c, c.decoder_blocks50, frames)?,
            fine: Stack::new(backend, c, c.decoder_blocks, 2 * frames)?,
            scratch: Scratch::new(backend, c, 2 * frames)?,
            spectra: backend.buf(2 * frames * (c.n_fft + 2))?,
            silence,
            tail: backend.buf(c.n_fft)?,
            wave: backend.buf(2 * frames * c.hop)?,
            skip: 0,
        };
        state.reset(backend, net);
        Ok(state)
    }

    /// Where latents go, [frames, latent] from index 0.
    pub fn latents(&mut self) -> &mut B::Buf {
        &mut self.latents
    }

    /// Decodes the first `n` latents: the same launches on the same memory for the same `n`. [`DecoderState::give`] gives what is final.
    pub fn run(&mut self, backend: &mut B, net: &Istft<B>, n: usize) {
        let c = &net.config;
        let (x, at) = self.coarse.input();
        let to = Rows { count: n, at, stride: c.dim };
        backend.linear(&net.decoder_in, &self.latents, Rows::packed(n, c.latent), x, to);
        let coarse = self.coarse.run(backend, c, &net.decoder_blocks50, &mut self.scratch, n);
        let (x, at) = self.fine.input();
        backend.linear(&net.up, coarse, Rows::packed(n, c.dim), x, Rows { count: n, at, stride: 2 * c.dim });
        let fine = self.fine.run(backend, c, &net.decoder_blocks, &mut self.scratch, 2 * n);
        let spectra = Rows::packed(2 * n, c.n_fft + 2);
        backend.linear(&net.head, fine, Rows::packed(2 * n, c.dim), &mut self.spectra, spectra);
        self.synthesise(backend, net, 2 * n);
    }

    /// Appends the rest, `net.held()` samples: the overlap, moved out by silence.
    pub fn finish(&mut self, backend: &mut B, net: &Istft<B>, samples: &mut Vec<f32>) {
        let end = samples.len() + net.held() - self.skip.min(net.held());
        backend.write(&mut self.spectra, 0, &self.silence);
        while samples.len() < end {
            self.synthesise(backend, net, 1);
            self.give(backend, net, 1, samples);
        }
        samples.truncate(end);
    }

    fn synthesise(&mut self, backend: &mut B, net: &Istft<B>, rows: usize) {
        let c = &net.config;
        let spectra = Rows::packed(rows, c.n_fft + 2);
        backend.istft(c.n_fft, c.hop, c.max_log, &self.spectra, spectra, &mut self.tail, &mut self.wave, 0);
    }

    /// Appends what the last `rows` fine frames made final.
    pub fn give(&mut self, backend: &mut B, net: &Istft<B>, rows: usize, samples: &mut Vec<f32>) {
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
        self.skip = net.held();
        self.coarse.reset(backend);
        self.fine.reset(backend);
    }
}
