//! What both players are given to do, each case written once over [`Ops`]: operations of the model's step, and the helpers of all.

use sideman_kernels::{Act, Format, Grid, Heads, Linear, Norm, Ops, Rows, Sampling, UNKNOWN};

/// Numbers in −1..1 that look random, the same for a seed.
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

pub fn buf<O: Ops>(ops: &mut O, data: &[f32]) -> O::Buf {
    let mut b = ops.buf(data.len()).unwrap();
    ops.write(&mut b, 0, data);
    b
}

pub fn ints<O: Ops>(ops: &mut O, data: &[i32]) -> O::Ints {
    let mut b = ops.ints(data.len()).unwrap();
    ops.write_ints(&mut b, 0, data);
    b
}

pub fn all<O: Ops>(ops: &mut O, b: &O::Buf, len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    ops.read(b, 0, &mut out);
    out
}

pub fn close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{name}[{i}]: {g}, the CPU has {w}");
    }
}

/// A case, written once.
pub trait Case: std::fmt::Debug {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32>;
}

/// A matrix product with all that can stand around it.
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
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let Product { rows, cols, count, stride, .. } = *self;
        let scale = 1.0 / (cols as f32).sqrt();
        let w: Vec<f32> = noise(1, rows * cols).iter().map(|w| w * scale).collect();
        let weight = ops.mat(rows, cols, &w, self.format).unwrap();
        let norm = self.norm.map(|layer| {
            let (weight, bias) = (buf(ops, &noise(5, cols)), buf(ops, &noise(6, cols)));
            Norm { weight, bias: layer.then_some(bias), eps: 1e-3 }
        });
        let bias = Some(buf(ops, &noise(2, rows)));
        let linear = Linear::<O> { weight, bias, norm, act: self.act, add: self.add };
        let x = buf(ops, &noise(3, 7 + (count - 1) * stride + cols));
        let len = 11 + count * (rows + 2);
        let mut y = buf(ops, &noise(4, len));
        ops.linear(&linear, &x, Rows { count, at: 7, stride }, &mut y, Rows { count, at: 11, stride: rows + 2 });
        all(ops, &y, len)
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
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (dim, lanes, layer) = (self.heads.heads * self.heads.head_dim, 2, 1);
        // Queries and keys of size 1, as in a model: of wide noise the scores run to a hundred, and rounding alone tells players apart.
        let weight: Vec<f32> = noise(1, 3 * dim * dim).iter().map(|w| w * 3.0 / (dim as f32).sqrt()).collect();
        let weight = ops.mat(3 * dim, dim, &weight, Format::F32).unwrap();
        let linear = Linear::<O> { weight, bias: None, norm: None, act: Act::None, add: false };
        let mut kv = ops.kv(2, lanes, self.steps, self.heads, self.format).unwrap();
        let mut pos = ints(ops, &[0]);
        let most = lanes * self.first.max(self.n);
        let (mut q, mut out) = (ops.buf(most * dim).unwrap(), ops.buf(lanes * self.n * dim).unwrap());
        let x = buf(ops, &noise(2, lanes * self.first * dim));
        ops.qkv(&linear, &x, lanes, self.first, layer, &pos, &mut q, &mut kv);
        ops.advance(self.first, &mut pos);
        let x = buf(ops, &noise(3, lanes * self.n * dim));
        ops.qkv(&linear, &x, lanes, self.n, layer, &pos, &mut q, &mut kv);
        ops.attend(&q, lanes, self.n, layer, &pos, &kv, &mut out);
        all(ops, &out, lanes * self.n * dim)
    }
}

/// Texts that come and go, and attention to them.
#[derive(Debug, Clone)]
pub struct Text {
    pub heads: Heads,
    pub format: Format,
    pub lanes: usize,
    pub n: usize,
    /// Tokens that a text may have.
    pub room: usize,
    /// Lanes that get a text of so many tokens (0: the null one), one after another.
    pub sets: Vec<(usize, usize)>,
}

impl Case for Text {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let Text { heads, format, lanes, n, room, .. } = *self;
        let (dim, mut out) = (heads.heads * heads.head_dim, Vec::new());
        let mut text = ops.kv(2, lanes, room, heads, format).unwrap();
        let (q, mut y) = (buf(ops, &noise(1, lanes * n * dim)), buf(ops, &noise(2, lanes * n * dim)));
        for (i, (lane, len)) in self.sets.iter().enumerate() {
            let (k, v) = (buf(ops, &noise(30 + i as u64, room * dim)), buf(ops, &noise(90 + i as u64, room * dim)));
            ops.set_text(&mut text, 1, *lane, *len, &k, &v);
            ops.attend_text(&q, lanes, n, 1, &text, &mut y);
            out.extend(all(ops, &y, lanes * n * dim));
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
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let Embeddings { dim, songs, branches, steps, pos, n, .. } = *self;
        let cards: Vec<usize> = self.streams.iter().map(|s| s.0).collect();
        let grid = Grid { songs, branches, delays: vec![0; cards.len()], lean: vec![1.0; cards.len()], cards, steps };
        let mut table = |seed: usize, rows: usize, format| {
            let values = noise(seed as u64 + 1, rows * dim);
            ops.mat(rows, dim, &values, format).unwrap()
        };
        let tables: Vec<O::Mat> = self.streams.iter().enumerate().map(|(k, (card, f))| table(k, card + 1, *f)).collect();
        let controls: Vec<O::Mat> =
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
        let deaf: Vec<i32> = (0..branches * self.streams.len()).map(|i| i32::from(i % 4 == 3)).collect();
        let (seq, ctl) = (ints(ops, &tokens), ints(ops, if values.is_empty() { &[0] } else { &values }));
        let (deaf, pos) = (ints(ops, &deaf), ints(ops, &[pos as i32]));
        let mut x = ops.buf(songs * branches * n * dim).unwrap();
        ops.embed(&grid, &tables, &controls, &seq, &ctl, &deaf, &pos, n, &mut x);
        all(ops, &x, songs * branches * n * dim)
    }
}

/// Draws of eight steps, one of them forced, one without a finite logit, the last ones past the sequence's end.
#[derive(Debug, Clone)]
pub struct Draws {
    pub sampling: Sampling,
    pub songs: usize,
    pub branches: usize,
    /// Codes, delay and share of the guidance of each stream; the first has no delay.
    pub streams: Vec<(usize, usize, f32)>,
}

impl Draws {
    /// Two songs with guidance, three streams.
    pub fn of(sampling: Sampling) -> Draws {
        Draws { sampling, songs: 2, branches: 2, streams: vec![(70, 0, 1.0), (300, 1, 0.4), (9, 4, 0.0)] }
    }
}

impl Case for Draws {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (steps, lanes) = (8, self.songs * self.branches);
        let cards: Vec<usize> = self.streams.iter().map(|s| s.0).collect();
        let (delays, lean) = self.streams.iter().map(|s| (s.1, s.2)).unzip();
        let (width, first) = (cards.iter().sum::<usize>(), cards[0]);
        let grid = Grid { songs: self.songs, branches: self.branches, cards, delays, lean, steps };
        let mut picker = ops.picker(&grid).unwrap();
        ops.set_sampling(&mut picker, &self.sampling);
        let mut tokens = vec![UNKNOWN; self.songs * self.streams.len() * steps];
        tokens[3] = 7.min(first as i32);
        let (mut seq, mut pos) = (ints(ops, &tokens), ints(ops, &[0]));
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
            let logits = buf(ops, &logits);
            ops.pick(&mut picker, &logits, if step == 0 { 2 } else { 1 }, &mut pos, &mut seq);
        }
        ops.read_ints(&seq, 0, &mut tokens);
        let mut at = [0];
        ops.read_ints(&pos, 0, &mut at);
        let faults = ops.faults(&picker);
        assert!(faults > 0);
        tokens.extend([at[0], faults as i32]);
        tokens.iter().map(|t| *t as f32).collect()
    }
}
