//! Cases that run on both backends, each written once over [`Backend`]: operations of the model's step. Also the helpers of all cases.

use sideman_kernels::{
    Act, Backend, EmbedInput, Format, Grid, Heads, LaneText, LayerRows, Linear, Norm, Rows, Sampling, UNKNOWN,
};

/// Pseudo-random numbers in −1..1, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

pub fn buf<B: Backend>(backend: &mut B, data: &[f32]) -> B::Buf {
    let mut b = backend.buf(data.len()).unwrap();
    backend.write(&mut b, 0, data);
    b
}

pub fn ints<B: Backend>(backend: &mut B, data: &[i32]) -> B::Ints {
    let mut b = backend.ints(data.len()).unwrap();
    backend.write_ints(&mut b, 0, data);
    b
}

pub fn all<B: Backend>(backend: &mut B, b: &B::Buf, len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    backend.read(b, 0, &mut out);
    out
}

pub fn close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{name}[{i}]: {g}, the CPU has {w}");
    }
}

/// One operation with its sizes; gives the values that it computes.
pub trait Case: std::fmt::Debug {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32>;
}

/// A matrix product with norm, bias, activation and residual.
#[derive(Debug, Clone)]
pub struct Product {
    pub rows: usize,
    pub cols: usize,
    pub count: usize,
    /// From one row of x to the next: below `cols`, rows overlap, as a convolution's do.
    pub stride: usize,
    pub format: Format,
    /// LayerNorm, RMSNorm or none.
    pub norm: Option<bool>,
    pub act: Act,
    pub add: bool,
}

impl Case for Product {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Product { rows, cols, count, stride, .. } = *self;
        let scale = 1.0 / (cols as f32).sqrt();
        let w: Vec<f32> = noise(1, rows * cols).iter().map(|w| w * scale).collect();
        let weight = backend.mat(rows, cols, &w, self.format).unwrap();
        let norm = self.norm.map(|layer| {
            let (weight, bias) = (buf(backend, &noise(5, cols)), buf(backend, &noise(6, cols)));
            Norm { weight, bias: layer.then_some(bias), eps: 1e-3 }
        });
        let bias = Some(buf(backend, &noise(2, rows)));
        let linear = Linear::<B> { weight, bias, norm, act: self.act, add: self.add };
        let x = buf(backend, &noise(3, 7 + (count - 1) * stride + cols));
        let len = 11 + count * (rows + 2);
        let mut y = buf(backend, &noise(4, len));
        backend.linear(&linear, &x, Rows { count, at: 7, stride }, &mut y, Rows { count, at: 11, stride: rows + 2 });
        all(backend, &y, len)
    }
}

/// Steps appended to a cache, and attention to it.
#[derive(Debug, Clone)]
pub struct Attention {
    pub heads: Heads,
    pub format: Format,
    pub steps: usize,
    /// Steps fed before, in one block, and then.
    pub first: usize,
    pub n: usize,
}

impl Case for Attention {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let (dim, lanes, layer) = (self.heads.heads * self.heads.head_dim, 2, 1);
        // Queries and keys of size 1, as in a model. With larger ones scores reach a hundred, and rounding alone makes backends differ.
        let weight: Vec<f32> = noise(1, 3 * dim * dim).iter().map(|w| w * 3.0 / (dim as f32).sqrt()).collect();
        let weight = backend.mat(3 * dim, dim, &weight, Format::F32).unwrap();
        let linear = Linear::<B> { weight, bias: None, norm: None, act: Act::None, add: false };
        let mut kv = backend.kv(2, lanes, self.steps, self.heads, self.format).unwrap();
        let mut pos = ints(backend, &[0]);
        let most = lanes * self.first.max(self.n);
        let (mut q, mut out) = (backend.buf(most * dim).unwrap(), backend.buf(lanes * self.n * dim).unwrap());
        let x = buf(backend, &noise(2, lanes * self.first * dim));
        backend.qkv(&linear, &x, LayerRows { layer, lanes, n: self.first }, &pos, &mut q, &mut kv);
        backend.advance(self.first, &mut pos);
        let x = buf(backend, &noise(3, lanes * self.n * dim));
        let at = LayerRows { layer, lanes, n: self.n };
        backend.qkv(&linear, &x, at, &pos, &mut q, &mut kv);
        backend.attend(&q, at, &pos, &kv, &mut out);
        all(backend, &out, lanes * self.n * dim)
    }
}

/// Texts that are set and removed, and attention to them.
#[derive(Debug, Clone)]
pub struct Text {
    pub heads: Heads,
    pub format: Format,
    pub lanes: usize,
    pub n: usize,
    /// The most tokens of a text.
    pub room: usize,
    /// (lane, tokens): each lane gets a text of this many tokens (0: the null condition), one after another.
    pub sets: Vec<(usize, usize)>,
}

impl Case for Text {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Text { heads, format, lanes, n, room, .. } = *self;
        let (dim, mut out) = (heads.heads * heads.head_dim, Vec::new());
        let mut text = backend.kv(2, lanes, room, heads, format).unwrap();
        let (q, mut y) = (buf(backend, &noise(1, lanes * n * dim)), buf(backend, &noise(2, lanes * n * dim)));
        for (i, (lane, len)) in self.sets.iter().enumerate() {
            let (k, v) = (buf(backend, &noise(30 + i as u64, room * dim)), buf(backend, &noise(90 + i as u64, room * dim)));
            backend.set_text(&mut text, LaneText { layer: 1, lane: *lane, len: *len }, &k, &v);
            backend.attend_text(&q, LayerRows { layer: 1, lanes, n }, &text, &mut y);
            out.extend(all(backend, &y, lanes * n * dim));
        }
        out
    }
}

/// Embedding sums of `n` steps from `pos` on.
#[derive(Debug, Clone)]
pub struct Embeddings {
    pub dim: usize,
    pub songs: usize,
    pub branches: usize,
    pub steps: usize,
    pub pos: usize,
    pub n: usize,
    /// Codes of each stream and format of its table.
    pub streams: Vec<(usize, Format)>,
    /// Values of each control, null not counted.
    pub controls: Vec<usize>,
}

impl Case for Embeddings {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Embeddings { dim, songs, branches, steps, pos, n, .. } = *self;
        let cards: Vec<usize> = self.streams.iter().map(|s| s.0).collect();
        let grid = Grid { songs, branches, delays: vec![0; cards.len()], cfg_scale: vec![1.0; cards.len()], cards, steps };
        let mut table = |seed: usize, rows: usize, format| {
            let values = noise(seed as u64 + 1, rows * dim);
            backend.mat(rows, dim, &values, format).unwrap()
        };
        let tables: Vec<B::Mat> = self.streams.iter().enumerate().map(|(k, (card, f))| table(k, card + 1, *f)).collect();
        let controls: Vec<B::Mat> =
            self.controls.iter().enumerate().map(|(c, card)| table(50 + c, card + 1, Format::F32)).collect();
        // Tokens and values all over their ranges, special ones and unknown ones among them.
        let any = |i: usize, rows: usize| ((i * 7919 + i / 3) % rows) as i32;
        let mut tokens = Vec::new();
        for row in 0..songs * self.streams.len() {
            let card = self.streams[row % self.streams.len()].0;
            tokens.extend((0..steps).map(|s| if (row + s) % 5 == 3 { UNKNOWN } else { any(row * steps + s, card + 1) }));
        }
        let mut values = Vec::new();
        for row in 0..branches * self.controls.len() {
            let card = self.controls[row % self.controls.len()];
            values.extend((0..steps).map(|s| any(row * steps + s, card + 1)));
        }
        let masked: Vec<i32> = (0..branches * self.streams.len()).map(|i| i32::from(i % 4 == 3)).collect();
        let (seq, ctl) = (ints(backend, &tokens), ints(backend, if values.is_empty() { &[0] } else { &values }));
        let (masked, pos) = (ints(backend, &masked), ints(backend, &[pos as i32]));
        let mut x = backend.buf(songs * branches * n * dim).unwrap();
        let input = EmbedInput { grid: &grid, tables: &tables, controls: &controls, seq: &seq, ctl: &ctl, masked: &masked };
        backend.embed(&input, &pos, n, &mut x);
        all(backend, &x, songs * branches * n * dim)
    }
}

/// Sampling of eight steps: one token is forced, one step has no finite logit, the last ones are past the sequence's end.
#[derive(Debug, Clone)]
pub struct Samples {
    pub sampling: Sampling,
    pub songs: usize,
    pub branches: usize,
    /// Codes, delay and share of the guidance of each stream; the first has no delay.
    pub streams: Vec<(usize, usize, f32)>,
}

impl Samples {
    /// Two songs with guidance, three streams.
    pub fn of(sampling: Sampling) -> Samples {
        Samples { sampling, songs: 2, branches: 2, streams: vec![(70, 0, 1.0), (300, 1, 0.4), (9, 4, 0.0)] }
    }
}

impl Case for Samples {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let (steps, lanes) = (8, self.songs * self.branches);
        let cards: Vec<usize> = self.streams.iter().map(|s| s.0).collect();
        let (delays, cfg_scale) = self.streams.iter().map(|s| (s.1, s.2)).unzip();
        let (width, first) = (cards.iter().sum::<usize>(), cards[0]);
        let grid = Grid { songs: self.songs, branches: self.branches, cards, delays, cfg_scale, steps };
        let mut sampler = backend.sampler(&grid).unwrap();
        backend.set_sampling(&mut sampler, &self.sampling);
        let mut tokens = vec![UNKNOWN; self.songs * self.streams.len() * steps];
        tokens[3] = 7.min(first as i32);
        let (mut seq, mut pos) = (ints(backend, &tokens), ints(backend, &[0]));
        // A block of 2, then steps to past the end.
        for step in 0..7u64 {
            let mut logits: Vec<f32> = noise(step + 1, lanes * width).iter().map(|l| (l * 20.0).round() * 0.3).collect();
            if lanes > 1 {
                logits[width..2 * width].copy_from_slice(&noise(step + 50, width));
            }
            if step == 2 {
                (logits[5 % first], logits[6 % first]) = (f32::NAN, f32::INFINITY);
            }
            if step == 3 {
                logits[..first].fill(f32::NAN);
            }
            let logits = buf(backend, &logits);
            backend.sample(&mut sampler, &logits, if step == 0 { 2 } else { 1 }, &mut pos, &mut seq);
        }
        backend.read_ints(&seq, 0, &mut tokens);
        let mut at = [0];
        backend.read_ints(&pos, 0, &mut at);
        let nonfinite = backend.nonfinite_samples(&sampler);
        assert!(nonfinite > 0);
        tokens.extend([at[0], nonfinite as i32]);
        tokens.iter().map(|t| *t as f32).collect()
    }
}
