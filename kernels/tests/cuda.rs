//! The CUDA player beside the CPU player, operation by operation, on a GPU on paper that runs the shipped PTX and checks every
//! access (tests/fakecuda). Each case is written once over [`Ops`] and played by both.

use proptest::prelude::*;
use sideman_fakecuda::Fake;
use sideman_kernels::cpu::Cpu;
use sideman_kernels::cuda::{Cuda, CudaError};
use sideman_kernels::{Act, Book, Format, Grid, Heads, Linear, Lstm, Norm, Ops, OpsError, Rows, Sampling, UNKNOWN};

/// Numbers in −1..1 that look random, the same for a seed.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn buf<O: Ops>(ops: &mut O, data: &[f32]) -> O::Buf {
    let mut b = ops.buf(data.len()).unwrap();
    ops.write(&mut b, 0, data);
    b
}

fn ints<O: Ops>(ops: &mut O, data: &[i32]) -> O::Ints {
    let mut b = ops.ints(data.len()).unwrap();
    ops.write_ints(&mut b, 0, data);
    b
}

fn all<O: Ops>(ops: &mut O, b: &O::Buf, len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    ops.read(b, 0, &mut out);
    out
}

fn close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{name}[{i}]: {g}, the CPU has {w}");
    }
}

/// A case, written once.
trait Case {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32>;
}

/// Plays a case on both, in several orders of blocks and warps and as several devices; 0 is bit for bit.
fn held<C: Case>(name: &str, case: &C, tolerance: f32) {
    let want = case.play(&mut Cpu::new(1));
    let mut first: Option<Vec<f32>> = None;
    for words in ["sm=75", "sm=80 lazy order=reverse", "sm=90 lazy order=random seed=3"] {
        let fake = Fake::load(words).unwrap();
        let mut cuda = Cuda::new(0).unwrap_or_else(|e| panic!("{e}"));
        let got = case.play(&mut cuda);
        assert_eq!(cuda.fault(), None, "{name} {words}: {:?}", fake.faults());
        drop(cuda);
        assert_eq!(fake.faults(), [""; 0], "{name} {words}");
        close(&format!("{name} {words}"), &got, &want, tolerance);
        assert_eq!(*first.get_or_insert_with(|| got.clone()), got, "{name}: the order of blocks shows");
    }
}

struct Product {
    rows: usize,
    cols: usize,
    count: usize,
    stride: usize,
    format: Format,
    norm: Option<bool>,
    act: Act,
    add: bool,
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

#[test]
fn products() {
    for format in [Format::F32, Format::Bf16, Format::Q8] {
        // One segment of a sum has the CPU's order: equal bits.
        for (rows, cols, count, stride, tolerance) in [
            (37, 96, 1, 96, 0.0),
            (5, 33, 9, 20, 0.0),
            (40, 416, 2, 416, 2e-6),
            (70, 1312, 3, 1312, 2e-6),
            (33, 288, 70, 64, 2e-6),
        ] {
            let case = Product { rows, cols, count, stride, format, norm: None, act: Act::Relu, add: count != 3 };
            held(&format!("{format:?} {rows}x{cols} on {count} rows"), &case, tolerance);
        }
    }
    for (norm, count, act) in [(Some(true), 2, Act::Gelu), (Some(false), 5, Act::None), (Some(true), 65, Act::Gelu)] {
        let case = Product { rows: 34, cols: 200, count, stride: 210, format: Format::F32, norm, act, add: false };
        held(&format!("norm {norm:?} on {count} rows"), &case, 3e-6);
    }
}

/// The same product on any number of rows has the same bits.
#[test]
fn rows_of_a_product_do_not_know_each_other() {
    let _fake = Fake::load("sm=80").unwrap();
    let mut ops = Cuda::new(0).unwrap();
    for format in [Format::F32, Format::Bf16, Format::Q8] {
        let (rows, cols, count) = (40, 1184, 66);
        let weight = ops.mat(rows, cols, &noise(1, rows * cols), format).unwrap();
        let norm = Norm { weight: buf(&mut ops, &noise(5, cols)), bias: Some(buf(&mut ops, &noise(6, cols))), eps: 1e-5 };
        let linear = Linear::<Cuda> { weight, bias: None, norm: Some(norm), act: Act::None, add: false };
        let x = buf(&mut ops, &noise(3, count * cols));
        let mut y = ops.buf(count * rows).unwrap();
        let mut by = |parts: &[usize]| {
            let mut first = 0;
            for n in parts {
                let from = Rows { count: *n, at: first * cols, stride: cols };
                ops.linear(&linear, &x, from, &mut y, Rows { count: *n, at: first * rows, stride: rows });
                first += n;
            }
            all(&mut ops, &y, count * rows)
        };
        let whole = by(&[66]);
        assert_eq!(by(&[1, 2, 5, 30, 28]), whole, "{format:?}");
    }
}

/// Tensor cores: near the sums in order, on any shape; without them, or where they aren't asked for, the very same.
#[test]
fn products_by_tensor_cores_are_near_those_in_order() {
    for (format, rows, cols, count, norm, add) in [
        (Format::Bf16, 70, 1312, 129, Some(true), true),
        (Format::Bf16, 33, 33, 70, None, false),
        (Format::Bf16, 128, 200, 64, Some(false), true),
        (Format::Q8, 97, 416, 65, Some(true), true),
        (Format::Q8, 64, 32, 200, None, false),
        (Format::F32, 40, 96, 64, None, false),
    ] {
        let act = if add { Act::None } else { Act::Gelu };
        let case = Product { rows, cols, count, stride: cols + 3, format, norm, act, add };
        let play = |words: &str, tiles| {
            let fake = Fake::load(words).unwrap();
            let mut cuda = Cuda::new(0).unwrap();
            cuda.tiles(tiles);
            let got = case.play(&mut cuda);
            let launches = cuda.launches();
            assert_eq!((cuda.fault(), fake.faults()), (None, vec![]), "{words}");
            (got, launches)
        };
        let name = format!("{format:?} {rows}x{cols} on {count} rows");
        let in_order = play("sm=75", false);
        assert_eq!(play("sm=75", true), in_order, "{name}: sm_75 has none");
        for words in ["sm=80 lazy order=random", "sm=90 order=reverse", "sm=120"] {
            let (near, launches) = play(words, true);
            // Split, then multiplied.
            assert_eq!(launches, if format == Format::F32 { 1 } else { 2 }, "{name}");
            close(&name, &near, &in_order.0, 2e-5);
            assert_eq!(play(words, false), in_order, "{name}");
        }
    }
}

struct Attention {
    heads: Heads,
    format: Format,
    steps: usize,
    /// Steps fed before, in one block, and then.
    first: usize,
    n: usize,
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

#[test]
fn attention_over_short_and_long_contexts() {
    for (heads, head_dim, format, steps, first, n) in [
        (3, 20, Format::F32, 40, 15, 4),
        (2, 64, Format::Bf16, 100, 60, 1),
        (2, 6, Format::Bf16, 40, 3, 2),
        (2, 16, Format::F32, 400, 126, 5),
        (1, 32, Format::Bf16, 600, 300, 1),
    ] {
        let case = Attention { heads: Heads { heads, head_dim }, format, steps, first, n };
        // In bf16 the last bit of a sum may round a key the other way.
        let tolerance = if format == Format::F32 { 1e-5 } else { 2e-2 };
        held(&format!("{heads} heads of {head_dim}, {format:?}, {first} + {n} of {steps}"), &case, tolerance);
    }
}

struct Text;

impl Case for Text {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (heads, lanes, n, mut out) = (Heads { heads: 2, head_dim: 12 }, 3, 2, Vec::new());
        let mut text = ops.kv(2, lanes, 140, heads, Format::F32).unwrap();
        let (q, mut y) = (buf(ops, &noise(1, lanes * n * 24)), buf(ops, &noise(2, lanes * n * 24)));
        // Long, none, short; then none where there was one.
        for (lane, len) in [(0, 135), (1, 0), (2, 5), (0, 0)] {
            let (k, v) = (buf(ops, &noise(3 + lane as u64, 140 * 24)), buf(ops, &noise(9 + lane as u64, 140 * 24)));
            ops.set_text(&mut text, 1, lane, len, &k, &v);
            ops.attend_text(&q, lanes, n, 1, &text, &mut y);
            out.extend(all(ops, &y, lanes * n * 24));
        }
        out
    }
}

#[test]
fn text_is_attended_to_and_none_is_zeros() {
    held("text", &Text, 1e-5);
}

struct Embeddings;

impl Case for Embeddings {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (dim, steps, n) = (44, 9, 3);
        let grid = Grid { songs: 2, branches: 2, cards: vec![5, 40], delays: vec![0, 1], steps };
        let tables = [
            ops.mat(6, dim, &noise(1, 6 * dim), Format::F32).unwrap(),
            ops.mat(41, dim, &noise(2, 41 * dim), Format::Bf16).unwrap(),
        ];
        let controls = [ops.mat(4, dim, &noise(3, 4 * dim), Format::F32).unwrap()];
        let tokens: Vec<i32> = (0..2 * 2 * steps as i32).map(|i| if i % 11 == 5 { UNKNOWN } else { i % 5 }).collect();
        let (seq, ctl) = (ints(ops, &tokens), ints(ops, &(0..2 * steps as i32).map(|i| i % 4).collect::<Vec<_>>()));
        let (deaf, pos) = (ints(ops, &[0, 0, 0, 1]), ints(ops, &[4]));
        let mut x = ops.buf(4 * n * dim).unwrap();
        ops.embed(&grid, &tables, &controls, &seq, &ctl, &deaf, &pos, n, &mut x);
        all(ops, &x, 4 * n * dim)
    }
}

#[test]
fn embeddings_have_the_same_bits() {
    held("embed", &Embeddings, 0.0);
}

struct Draws(Sampling);

impl Case for Draws {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (steps, cards) = (8, vec![70, 300, 9]);
        let width: usize = cards.iter().sum();
        let grid = Grid { songs: 2, branches: 2, cards, delays: vec![0, 1, 4], steps };
        let mut picker = ops.picker(&grid).unwrap();
        ops.set_sampling(&mut picker, &self.0);
        let mut tokens = vec![UNKNOWN; 2 * 3 * steps];
        tokens[3] = 7;
        let (mut seq, mut pos) = (ints(ops, &tokens), ints(ops, &[0]));
        // A block of 2, then steps to past the end.
        for step in 0..7u64 {
            let mut logits: Vec<f32> = noise(step + 1, 4 * width).iter().map(|l| (l * 20.0).round() * 0.3).collect();
            logits[width..2 * width].copy_from_slice(&noise(step + 50, width));
            if step == 2 {
                (logits[5], logits[6]) = (f32::NAN, f32::INFINITY);
            }
            if step == 3 {
                logits[..70].fill(f32::NAN);
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

#[test]
fn draws_of_equal_logits_are_equal() {
    let plain = Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 3.0, seed: 7 << 40 | 11, frame_base: -3 };
    for s in [
        plain,
        Sampling { temperature: 0.0, ..plain },
        Sampling { temperature: 0.7, top_k: 5, ..plain },
        Sampling { top_k: 250, seed: 9, ..plain },
        Sampling { temperature: 1.3, top_p: 0.6, cfg: 1.0, ..plain },
        Sampling { temperature: 1e-30, ..plain },
    ] {
        held(&format!("{s:?}"), &Draws(s), 0.0);
    }
}

struct Moves;

impl Case for Moves {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (mut a, mut b) = (buf(ops, &noise(1, 5000)), buf(ops, &noise(2, 700)));
        ops.shift(&mut a, 7, 0, 4000);
        ops.shift(&mut a, 0, 100, 4000);
        ops.zero(&mut a, 33, 17);
        ops.copy(&a, Rows { count: 9, at: 3, stride: 50 }, &mut b, Rows { count: 9, at: 5, stride: 61 }, 44);
        let mut y = ops.buf(700).unwrap();
        ops.elu(&b, &mut y, 650);
        let (w, bias) = (buf(ops, &noise(3, 7 * 21)), buf(ops, &noise(4, 21)));
        let mut z = ops.buf(21 * 12).unwrap();
        ops.depthwise(&w, &bias, 7, 21, &a, 4, 12, &mut z);
        [all(ops, &a, 5000), all(ops, &b, 700), all(ops, &y, 700), all(ops, &z, 21 * 12)].concat()
    }
}

#[test]
fn moves_and_convolutions_have_the_same_bits() {
    held("moves", &Moves, 0.0);
}

struct Recurrence(usize);

impl Case for Recurrence {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (size, layers, count) = (self.0, 2, 67);
        let mut w = Lstm::<O> { input: Vec::new(), hidden: Vec::new(), size };
        for l in 0..layers {
            let small: Vec<f32> = noise(20 + l, 4 * size * size).iter().map(|w| w * 0.3).collect();
            let weight = ops.mat(4 * size, size, &small, Format::F32).unwrap();
            let bias = Some(buf(ops, &noise(30 + l, 4 * size)));
            w.input.push(Linear { weight, bias, norm: None, act: Act::None, add: false });
            w.hidden.push(ops.mat(4 * size, size, &small, Format::F32).unwrap());
        }
        let x = buf(ops, &noise(3, 4 + count * (size + 3)));
        let mut state = buf(ops, &noise(4, layers as usize * 2 * size));
        let mut y = ops.buf(count * size).unwrap();
        ops.lstm(&w, &x, Rows { count, at: 4, stride: size + 3 }, &mut state, &mut y, Rows::packed(count, size));
        [all(ops, &y, count * size), all(ops, &state, 4 * size)].concat()
    }
}

#[test]
fn lstm_has_the_same_bits_where_one_segment_does() {
    held("lstm", &Recurrence(24), 0.0);
}

struct Transforms;

impl Case for Transforms {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (n_fft, bins, hop, count, end) = (48, 20, 10, 9, 53);
        let x = buf(ops, &noise(1, end + 8 * hop));
        let mut y = buf(ops, &noise(2, 3 + count * 30));
        ops.spectrum(n_fft, bins, &x, end, hop, count, &mut y, Rows { count, at: 3, stride: 30 }, 7);
        let half = 21;
        let spectra: Vec<f32> = noise(3, count * 2 * half).iter().map(|x| x * 3.0).collect();
        let (x, mut tail, mut wave) = (buf(ops, &spectra), ops.buf(40).unwrap(), ops.buf(2 + count * hop).unwrap());
        ops.istft(40, hop, 2.0, &x, Rows::packed(4, 2 * half), &mut tail, &mut wave, 2);
        let rest = Rows { count: 5, at: 4 * 2 * half, stride: 2 * half };
        ops.istft(40, hop, 2.0, &x, rest, &mut tail, &mut wave, 2 + 4 * hop);
        [all(ops, &y, 3 + count * 30), all(ops, &wave, 2 + count * hop), all(ops, &tail, 40)].concat()
    }
}

#[test]
fn spectra_and_back() {
    held("transforms", &Transforms, 1e-5);
}

struct Codes(bool);

impl Case for Codes {
    fn play<O: Ops>(&self, ops: &mut O) -> Vec<f32> {
        let (dim, card, width, count) = (12, 140, 5, 30);
        let mut books = Vec::new();
        for q in 0..3u64 {
            let mut codes = noise(10 + q, card * dim);
            // Two alike: the first wins.
            codes.copy_within(3 * dim..4 * dim, 130 * dim);
            let norms: Vec<f32> = codes.chunks(dim).map(|c| c.iter().map(|x| x * x).sum()).collect();
            let codes = ops.mat(card, dim, &codes, Format::F32).unwrap();
            books.push(if self.0 {
                let weight = ops.mat(width, dim, &noise(20 + q, width * dim), Format::F32).unwrap();
                let bias = Some(buf(ops, &noise(30 + q, width)));
                let project_in = Linear { weight, bias, norm: None, act: Act::None, add: false };
                let unit = ops.mat(card, width, &noise(40 + q, card * width), Format::F32).unwrap();
                Book::<O>::Factorised { project_in, unit, codes }
            } else {
                Book::Euclidean { codes, norms: buf(ops, &norms) }
            });
        }
        let zr = Rows { count, at: 5, stride: dim + 1 };
        let len = 5 + count * (dim + 1);
        let (mut z, mut out) = (buf(ops, &noise(1, len)), ints(ops, &[-7; 3 * 35]));
        ops.quantize(&books, dim, &mut z, zr, &mut out, 35, 4);
        let mut host = vec![0; 3 * 35];
        ops.read_ints(&out, 0, &mut host);
        let mut back = buf(ops, &noise(2, len));
        ops.dequantize(&books, dim, &out, 35, 4, &mut back, zr);
        [host.iter().map(|c| *c as f32).collect(), all(ops, &z, len), all(ops, &back, len)].concat()
    }
}

#[test]
fn quantizers_have_the_same_bits() {
    held("euclidean", &Codes(false), 0.0);
    held("factorised", &Codes(true), 0.0);
}

/// A case of random shape on both, in one order.
fn alike<C: Case>(name: &str, case: &C, words: &str, tolerance: f32) {
    let want = case.play(&mut Cpu::new(1));
    let fake = Fake::load(words).unwrap();
    let mut cuda = Cuda::new(0).unwrap();
    let got = case.play(&mut cuda);
    assert_eq!(cuda.fault(), None, "{name}: {:?}", fake.faults());
    drop(cuda);
    assert_eq!(fake.faults(), [""; 0], "{name}");
    close(name, &got, &want, tolerance);
}

fn words() -> impl Strategy<Value = String> {
    let sm = prop::sample::select(vec![75, 80, 89, 120]);
    let order = prop::sample::select(vec!["forward", "reverse", "random"]);
    (sm, any::<bool>(), order, 1..100u32)
        .prop_map(|(sm, lazy, order, seed)| format!("sm={sm} {} order={order} seed={seed}", if lazy { "lazy" } else { "eager" }))
}

fn formats() -> impl Strategy<Value = Format> {
    prop::sample::select(vec![Format::F32, Format::Bf16, Format::Q8])
}

// Any shape: few cases, since each is run by an interpreter. PROPTEST_CASES=200 runs more.
proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(6)) })]

    #[test]
    fn products_of_any_shape(
        (rows, cols, count, gap) in (1..90usize, 1..320usize, 1..75usize, 0..9usize),
        format in formats(), norm in any::<Option<bool>>(), act in 0..3usize, add: bool, words in words(),
    ) {
        let act = [Act::None, Act::Gelu, Act::Relu][act];
        let case = Product { rows, cols, count, stride: cols + gap, format, norm, act, add };
        // A norm of one or two columns divides by next to nothing.
        let tolerance = if norm.is_some() { 2e-4 } else { 1e-5 };
        alike(&format!("{format:?} {rows}x{cols} on {count} rows, norm {norm:?}, {words}"), &case, &words, tolerance);
    }

    #[test]
    fn attention_of_any_shape(
        (heads, head_dim, first, n, room) in (1..4usize, 1..70usize, 1..150usize, 1..5usize, 0..200usize),
        bf16: bool, words in words(),
    ) {
        let format = if bf16 { Format::Bf16 } else { Format::F32 };
        let case = Attention { heads: Heads { heads, head_dim }, format, steps: first + n + room, first, n };
        let tolerance = if bf16 { 2e-2 } else { 2e-5 };
        alike(&format!("{heads} heads of {head_dim}, {format:?}, {first} + {n} + {room}, {words}"), &case, &words, tolerance);
    }

    #[test]
    fn draws_of_any_kind(
        (temperature, top_k, top_p, cfg) in (0.0..2.0f32, 0..80u32, 0.0..1.0f32, 0.0..5.0f32), nucleus: bool, seed: u64, words in words(),
    ) {
        let s = Sampling { temperature, top_k, top_p: if nucleus { top_p } else { 0.0 }, cfg, seed, frame_base: seed as i64 };
        alike(&format!("{s:?}, {words}"), &Draws(s), &words, 0.0);
    }

    #[test]
    fn recurrences_of_any_size(size in 1..60usize, words in words()) {
        alike(&format!("lstm of {size}, {words}"), &Recurrence(size), &words, 0.0);
    }
}

#[test]
fn replayed_work_is_the_work_and_keeps_its_memory() {
    let fake = Fake::load("sm=80 lazy").unwrap();
    let mut ops = Cuda::new(0).unwrap();
    let (mut pos, mut graph) = (ints(&mut ops, &[0]), <Cuda as Ops>::Graph::default());
    let mut host = [0];
    for times in 1..=5 {
        ops.replay(&mut graph, &mut |ops| {
            ops.advance(2, &mut pos);
            ops.advance(1, &mut pos);
        });
        ops.read_ints(&pos, 0, &mut host);
        assert_eq!(host[0], 3 * times);
    }
    // Two runs in the open (the second is recorded), the rest by replay.
    assert_eq!(ops.launches(), 4);
    drop(pos);
    ops.replay(&mut graph, &mut |_| panic!("recorded already"));
    ops.wait();
    assert_eq!((ops.fault(), fake.faults()), (None, vec![]));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let _fake = Fake::load("").unwrap();
    let mut ops = Cuda::new(0).unwrap();
    let heads = Heads { heads: 2, head_dim: 8 };
    assert!(matches!(ops.buf(usize::MAX / 2), Err(OpsError::Memory { .. })));
    assert!(matches!(ops.buf(1 << 44), Err(OpsError::Memory { .. })));
    assert!(matches!(ops.ints(usize::MAX / 2), Err(OpsError::Memory { .. })));
    assert!(matches!(ops.kv(1 << 30, 1 << 30, 1 << 30, heads, Format::F32), Err(OpsError::Memory { .. })));
    assert!(matches!(ops.kv(0, 1, 1, heads, Format::F32), Err(OpsError::Shape { .. })));
    assert!(matches!(ops.mat(3, 4, &[0.0; 11], Format::F32), Err(OpsError::Shape { .. })));
    assert!(matches!(ops.mat_q8(2, 64, &[0; 128], &[0.0; 3]), Err(OpsError::Shape { .. })));
    let grid = Grid { songs: 1, branches: 1, cards: vec![5000], delays: vec![0], steps: 4 };
    assert!(matches!(ops.picker(&grid), Err(OpsError::Shape { .. })));
    assert_eq!(ops.fault(), None);
}

#[test]
fn a_lost_gpu_says_so_and_gives_zeros() {
    let fake = Fake::load("lazy").unwrap();
    let mut ops = Cuda::new(0).unwrap();
    let b = buf(&mut ops, &[1.0, 2.0]);
    assert_eq!(all(&mut ops, &b, 2), [1.0, 2.0]);
    // A position that can't be: the draw reads far outside its memory.
    let grid = Grid { songs: 1, branches: 1, cards: vec![4], delays: vec![0], steps: 4 };
    let mut picker = ops.picker(&grid).unwrap();
    let (logits, mut pos, mut seq) = (buf(&mut ops, &[0.0; 4]), ints(&mut ops, &[-1 << 24]), ints(&mut ops, &[UNKNOWN; 4]));
    ops.pick(&mut picker, &logits, 1, &mut pos, &mut seq);
    assert_eq!(all(&mut ops, &b, 2), [0.0, 0.0]);
    assert!(ops.fault().is_some_and(|why| why.starts_with("the GPU is lost: CUDA_ERROR_")), "{:?}", ops.fault());
    assert_eq!(fake.faults().len(), 1);
    // All goes on, and does nothing.
    let launches = ops.launches();
    ops.advance(1, &mut pos);
    assert!(matches!(ops.buf(5), Err(OpsError::Lost(_))));
    assert_eq!((ops.launches(), all(&mut ops, &b, 2)), (launches, vec![0.0, 0.0]));
}

#[test]
fn a_machine_that_cannot_play_says_why() {
    let sentence = |words: &str| {
        let _fake = Fake::load(words).unwrap();
        Cuda::new(0).err().map(|e| e.to_string())
    };
    assert_eq!(sentence("devices=0").unwrap(), CudaError::NoDevice.to_string());
    assert_eq!(sentence("ptx=74").unwrap(), CudaError::OldPtx.to_string());
    assert_eq!(sentence("sm=120"), None);
    let _fake = Fake::load("").unwrap();
    let mut ops = Cuda::new(0).unwrap();
    let about = ops.about().unwrap();
    assert!(about.name.contains("sm_80") && about.capability == (8, 0) && about.memory.0 <= about.memory.1);
    fn sendable<T: Send>(_: &T) {}
    sendable(&ops);
}
