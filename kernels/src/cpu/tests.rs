//! Every operation against an independent reference in f64, and the same work cut another way bit for bit.

use super::*;
use crate::{Act, Norm};
use proptest::prelude::*;

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

fn buf(backend: &mut CpuBackend, data: &[f32]) -> Store<f32> {
    let mut b = backend.buf(data.len()).unwrap();
    backend.write(&mut b, 0, data);
    b
}

fn close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() <= tolerance * w.abs().max(1.0), "{name}[{i}]: {g}, not {w}");
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// What a matrix stands for after packing, row-major.
fn unpacked(mat: &Mat) -> Vec<f32> {
    let mut out = vec![0.0; mat.rows * mat.cols];
    (0..mat.rows).for_each(|r| mat.row(r, |k, w| out[r * mat.cols + k] = w));
    out
}

#[test]
fn linear_over_overlapping_rows_is_a_convolution() {
    for format in [Format::F32, Format::Bf16, Format::Q8, Format::Q4] {
        for (rows, cols, count, stride) in [(5, 64, 1, 64), (37, 96, 3, 32), (64, 32, 40, 8), (16, 160, 250, 160), (3, 33, 9, 33)]
        {
            let mut backend = CpuBackend::new(1);
            let weight = backend.mat(rows, cols, &noise(1, rows * cols), format).unwrap();
            let w = unpacked(&weight);
            let (bias, x, old) = (noise(2, rows), noise(3, 7 + (count - 1) * stride + cols), noise(4, 11 + count * (rows + 2)));
            let bias_buf = buf(&mut backend, &bias);
            let linear = Linear::<CpuBackend> { weight, bias: Some(bias_buf), norm: None, act: Act::Relu, add: true };
            let (x_buf, mut y) = (buf(&mut backend, &x), buf(&mut backend, &old));
            let (xr, yr) = (Rows { count, at: 7, stride }, Rows { count, at: 11, stride: rows + 2 });
            backend.linear(&linear, &x_buf, xr, &mut y, yr);
            let mut want: Vec<f64> = old.iter().map(|x| f64::from(*x)).collect();
            for t in 0..count {
                for r in 0..rows {
                    let sum = dot(&w[r * cols..][..cols], &x[7 + t * stride..]) + f64::from(bias[r]);
                    want[11 + t * (rows + 2) + r] += sum.max(0.0);
                }
            }
            close("linear", &y, &want, 1e-5);
        }
    }
}

#[test]
fn norms_before_a_product() {
    let (rows, cols, count) = (9, 83, 5);
    let mut backend = CpuBackend::new(1);
    for layer_norm in [true, false] {
        let (w, x, scale, shift) = (noise(1, rows * cols), noise(2, count * cols), noise(3, cols), noise(4, cols));
        let norm = Norm { weight: buf(&mut backend, &scale), bias: layer_norm.then(|| buf(&mut backend, &shift)), eps: 1e-3 };
        let weight = backend.mat(rows, cols, &w, Format::F32).unwrap();
        let linear = Linear::<CpuBackend> { weight, bias: None, norm: Some(norm), act: Act::None, add: false };
        let (x_buf, mut y) = (buf(&mut backend, &x), backend.buf(count * rows).unwrap());
        backend.linear(&linear, &x_buf, Rows::packed(count, cols), &mut y, Rows::packed(count, rows));
        let mut want = Vec::new();
        for x in x.chunks(cols) {
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            let mean = if layer_norm { x.iter().sum::<f64>() / cols as f64 } else { 0.0 };
            let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / cols as f64;
            let normed = |k: usize| {
                (x[k] - mean) / (var + f64::from(1e-3f32)).sqrt() * f64::from(scale[k])
                    + if layer_norm { f64::from(shift[k]) } else { 0.0 }
            };
            want.extend((0..rows).map(|r| (0..cols).map(|k| normed(k) * f64::from(w[r * cols + k])).sum::<f64>()));
        }
        close("norm", &y, &want, 1e-5);
    }
}

#[test]
fn attention_is_softmax_of_scores() {
    let heads = Heads { heads: 3, head_dim: 20 };
    let (dim, lanes, n, first) = (60, 2, 4, 15);
    let mut backend = CpuBackend::new(1);
    let (w, x) = (noise(1, 3 * dim * dim), noise(2, lanes * (first + n) * dim));
    let weight = backend.mat(3 * dim, dim, &w, Format::F32).unwrap();
    let linear = Linear::<CpuBackend> { weight, bias: None, norm: None, act: Act::None, add: false };
    let mut kv = backend.kv(2, lanes, 40, heads, Format::F32).unwrap();
    let (mut q, mut out) = (backend.buf(lanes * first * dim).unwrap(), backend.buf(lanes * n * dim).unwrap());
    let mut pos = backend.ints(1).unwrap();
    // Rows of steps from..to of both lanes.
    let cut = |from: usize, to: usize| -> Vec<f32> {
        (0..lanes).flat_map(|l| x[(l * (first + n) + from) * dim..(l * (first + n) + to) * dim].to_vec()).collect()
    };
    let (head, rest) = (buf(&mut backend, &cut(0, first)), buf(&mut backend, &cut(first, first + n)));
    backend.qkv(&linear, &head, lanes, first, 1, &pos, &mut q, &mut kv);
    backend.advance(first, &mut pos);
    backend.qkv(&linear, &rest, lanes, n, 1, &pos, &mut q, &mut kv);
    backend.attend(&q, lanes, n, 1, &pos, &kv, &mut out);
    let row = |part: usize, l: usize, s: usize| -> Vec<f64> {
        (0..dim).map(|r| dot(&w[(part * dim + r) * dim..][..dim], &x[(l * (first + n) + s) * dim..][..dim])).collect()
    };
    let mut want = Vec::new();
    for l in 0..lanes {
        for i in 0..n {
            let q = row(0, l, first + i);
            for h in 0..3 {
                let part = |v: &[f64]| v[h * 20..][..20].to_vec();
                let score = |s: usize| part(&q).iter().zip(part(&row(1, l, s))).map(|(a, b)| a * b).sum::<f64>() / 20f64.sqrt();
                let e: Vec<f64> = (0..=first + i).map(|s| score(s).exp()).collect();
                let total: f64 = e.iter().sum();
                want.extend((0..20).map(|d| (0..=first + i).map(|s| e[s] / total * part(&row(2, l, s))[d]).sum::<f64>()));
            }
        }
    }
    close("attention", &out, &want, 1e-5);
}

/// The instruction sets beside scalar that this machine has. Each one that it lacks is reported as skipped.
fn simd() -> Vec<Isa> {
    let sets = [("avx2", Isa::avx2()), ("avx512", Isa::avx512())];
    for (name, _) in sets.iter().filter(|set| set.1.is_none()) {
        sideman_skip::skip(&format!("cpu::{name}"), "this machine lacks the instructions");
    }
    sets.iter().filter_map(|s| s.1).collect()
}

/// Every way of playing that must give the same bits: instruction sets × threads.
fn players() -> Vec<CpuBackend> {
    let mut players = vec![CpuBackend::with_isa(1, Isa::SCALAR)];
    for isa in simd() {
        players.extend([1, 2, 3].map(|threads| CpuBackend::with_isa(threads, isa)));
    }
    players
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Runs `f` on every player and checks that all give the bits of the first, the scalar one.
fn same_everywhere(name: &str, mut f: impl FnMut(&mut CpuBackend) -> Vec<f32>) {
    let mut want = None;
    for mut backend in players() {
        let got = f(&mut backend);
        let want = want.get_or_insert_with(|| got.clone());
        for (i, (g, w)) in got.iter().zip(&*want).enumerate() {
            assert_eq!(
                g.to_bits(),
                w.to_bits(),
                "{name} on {} with {} threads: [{i}] is {g}, not {w}",
                backend.isa().name(),
                backend.work.pool.threads()
            );
        }
        assert_eq!(got.len(), want.len());
    }
}

fn formats() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::F32), Just(Format::Bf16), Just(Format::Q8), Just(Format::Q4)]
}

/// Columns of a matrix: those of q8 and q4 are blocks of 32.
fn columns(format: Format, cols: usize) -> usize {
    if matches!(format, Format::Q8 | Format::Q4) { cols.next_multiple_of(32) } else { cols }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn linear_is_the_same_everywhere(
        rows in 1usize..200, cols in 1usize..150, count in 1usize..40, overlap in 0usize..3,
        format in formats(),
        act in prop_oneof![Just(Act::None), Just(Act::Gelu), Just(Act::Relu)],
        biased: bool, norm in 0usize..3, add: bool, wide: bool,
    ) {
        let cols = columns(format, cols);
        // Some with enough rows to deal rows out.
        let (rows, count) = if wide { (rows.min(40), count + 290) } else { (rows, count) };
        let stride = (cols >> overlap).max(1);
        let (data, x) = (noise(1, rows * cols), noise(3, (count - 1) * stride + cols));
        same_everywhere("linear", |backend| {
            let norm = (norm > 0).then(|| Norm { weight: buf(backend, &noise(4, cols)), bias: (norm == 2).then(|| buf(backend, &noise(5, cols))), eps: 1e-5 });
            let (weight, bias) = (backend.mat(rows, cols, &data, format).unwrap(), biased.then(|| buf(backend, &noise(2, rows))));
            let (x, mut y) = (buf(backend, &x), buf(backend, &noise(6, count * rows)));
            backend.linear(&Linear { weight, bias, norm, act, add }, &x, Rows { count, at: 0, stride }, &mut y, Rows::packed(count, rows));
            y.to_vec()
        });
    }

    /// Whole numbers of four bits in q4 and the same ones in q8 have the same products, bit for bit: the order of sums is one.
    #[test]
    fn q4_is_q8_of_the_same_numbers(rows in 1usize..90, blocks in 1usize..5, count in 1usize..30, seed in any::<u8>()) {
        let cols = 32 * blocks;
        let nibbles: Vec<u8> = noise(1, rows * cols / 2).iter().map(|x| (x * 127.0) as i8 as u8 ^ seed).collect();
        let (ints, scales) = (crate::quant::ints_of(&nibbles).collect::<Vec<_>>(), noise(2, rows * blocks));
        let x = noise(3, count * cols);
        let mut first = None;
        for mut backend in players() {
            let (q4, q8) = (backend.mat_q4(rows, cols, &nibbles, &scales).unwrap(), backend.mat_q8(rows, cols, &ints, &scales).unwrap());
            prop_assert_eq!(unpacked(&q4), unpacked(&q8));
            for weight in [q4, q8] {
                let linear = Linear::<CpuBackend> { weight, bias: None, norm: None, act: Act::None, add: false };
                let (x, mut y) = (buf(&mut backend, &x), backend.buf(count * rows).unwrap());
                backend.linear(&linear, &x, Rows::packed(count, cols), &mut y, Rows::packed(count, rows));
                prop_assert_eq!(first.get_or_insert_with(|| bits(&y)), &bits(&y));
            }
        }
    }

    #[test]
    fn rows_alone_equal_rows_together(
        rows in 1usize..90, cols in 1usize..130, count in 2usize..30,
        format in formats(),
    ) {
        let cols = columns(format, cols);
        for isa in simd() {
            let mut backend = CpuBackend::with_isa(2, isa);
            let norm = Norm { weight: buf(&mut backend, &noise(4, cols)), bias: Some(buf(&mut backend, &noise(5, cols))), eps: 1e-5 };
            let weight = backend.mat(rows, cols, &noise(1, rows * cols), format).unwrap();
            let linear = Linear::<CpuBackend> { weight, bias: None, norm: Some(norm), act: Act::Gelu, add: false };
            let x = buf(&mut backend, &noise(2, count * cols));
            let (mut all, mut one) = (backend.buf(count * rows).unwrap(), backend.buf(count * rows).unwrap());
            backend.linear(&linear, &x, Rows::packed(count, cols), &mut all, Rows::packed(count, rows));
            for r in 0..count {
                let (xr, yr) = (Rows { count: 1, at: r * cols, stride: cols }, Rows { count: 1, at: r * rows, stride: rows });
                backend.linear(&linear, &x, xr, &mut one, yr);
            }
            prop_assert_eq!(bits(&all), bits(&one));
        }
    }

    #[test]
    fn attention_is_the_same_everywhere(
        heads in 1usize..5, head_dim in 1usize..70, lanes in 1usize..4, first in 0usize..300, n in 1usize..30,
        format in prop_oneof![Just(Format::F32), Just(Format::Bf16)],
    ) {
        let heads = Heads { heads, head_dim };
        let dim = heads.heads * head_dim;
        let (q, k, v) = (noise(1, lanes * n * dim), noise(2, lanes * (first + n) * dim), noise(3, lanes * (first + n) * dim));
        same_everywhere("attend", |backend| {
            let mut kv = backend.kv(1, lanes, first + n + 3, heads, format).unwrap();
            for row in 0..lanes * (first + n) {
                let at = row * dim..(row + 1) * dim;
                kv.put(0, row / (first + n), row % (first + n), &k[at.clone()], &v[at]);
            }
            let (q, mut out, mut pos) = (buf(backend, &q), backend.buf(lanes * n * dim).unwrap(), backend.ints(1).unwrap());
            backend.write_ints(&mut pos, 0, &[first as i32]);
            backend.attend(&q, lanes, n, 0, &pos, &kv, &mut out);
            out.to_vec()
        });
    }

    #[test]
    fn a_prefill_equals_its_steps_and_lanes_equal_themselves_alone(
        heads in 1usize..4, head_dim in 1usize..40, n in 2usize..40,
        format in prop_oneof![Just(Format::F32), Just(Format::Bf16)],
    ) {
        let heads = Heads { heads, head_dim };
        let dim = heads.heads * head_dim;
        let mut backend = CpuBackend::new(2);
        let weight = backend.mat(3 * dim, dim, &noise(1, 3 * dim * dim), Format::F32).unwrap();
        let w = Linear::<CpuBackend> { weight, bias: None, norm: None, act: Act::None, add: false };
        let x = noise(2, 2 * n * dim);
        // Attention outputs of both lanes, fed `chunk` steps at a time; `only` keeps one lane.
        let mut run = |lanes: &[usize], chunk: usize| -> Vec<Vec<u32>> {
            let mut kv = backend.kv(1, lanes.len(), n, heads, format).unwrap();
            let mut pos = backend.ints(1).unwrap();
            let mut outs = vec![Vec::new(); lanes.len()];
            for first in (0..n).step_by(chunk) {
                let m = chunk.min(n - first);
                let rows: Vec<f32> = lanes.iter().flat_map(|l| x[(l * n + first) * dim..(l * n + first + m) * dim].to_vec()).collect();
                let rows = buf(&mut backend, &rows);
                let (mut q, mut out) = (backend.buf(lanes.len() * m * dim).unwrap(), backend.buf(lanes.len() * m * dim).unwrap());
                backend.qkv(&w, &rows, lanes.len(), m, 0, &pos, &mut q, &mut kv);
                backend.attend(&q, lanes.len(), m, 0, &pos, &kv, &mut out);
                backend.advance(m, &mut pos);
                outs.iter_mut().zip(out.chunks(m * dim)).for_each(|(o, out)| o.extend(bits(out)));
            }
            outs
        };
        let whole = run(&[0, 1], n);
        for chunk in [1, 7] {
            prop_assert_eq!(&run(&[0, 1], chunk), &whole);
        }
        prop_assert_eq!(&run(&[1], n)[0], &whole[1]);
    }

    #[test]
    fn lstm_is_the_same_everywhere_and_however_it_is_cut(size in 1usize..60, layers in 1usize..3, count in 1usize..80, cut in 1usize..79) {
        let (x, state) = (noise(1, count * size), noise(2, layers * 2 * size));
        let mut whole = None;
        for cut in [0, cut.min(count)] {
            same_everywhere("lstm", |backend| {
                let lstm = random_lstm(backend, size, layers);
                let (x, mut state, mut y) = (buf(backend, &x), buf(backend, &state), backend.buf(count * size).unwrap());
                for (at, count) in [(0, cut), (cut, count - cut)] {
                    let rows = Rows { count, at: at * size, stride: size };
                    backend.lstm(&lstm, &x, rows, &mut state, &mut y, rows);
                }
                let out = [&y[..], &state[..]].concat();
                assert_eq!(bits(whole.get_or_insert_with(|| out.clone())), bits(&out));
                out
            });
        }
    }

    #[test]
    fn elu_and_depthwise_are_the_same_everywhere(dim in 1usize..70, kernel in 1usize..9, count in 1usize..60, at in 0usize..9) {
        let (w, bias, x) = (noise(1, kernel * dim), noise(2, dim), noise(3, at + (count + kernel - 1) * dim));
        same_everywhere("depthwise", |backend| {
            let (w, bias, x, mut y) = (buf(backend, &w), buf(backend, &bias), buf(backend, &x), backend.buf(count * dim).unwrap());
            backend.depthwise(&w, &bias, kernel, dim, &x, at, count, &mut y);
            y.to_vec()
        });
        same_everywhere("elu", |backend| {
            let loud: Vec<f32> = x.iter().map(|x| x * 40.0).collect();
            let (loud, mut y) = (buf(backend, &loud), backend.buf(x.len()).unwrap());
            backend.elu(&loud, &mut y, x.len());
            y.to_vec()
        });
    }
}

/// LSTM of random weights small enough not to saturate.
fn random_lstm(backend: &mut CpuBackend, size: usize, layers: usize) -> Lstm<CpuBackend> {
    let scaled =
        |seed: usize, len: usize| -> Vec<f32> { noise(seed as u64, len).iter().map(|w| w / (size as f32).sqrt()).collect() };
    let mut lstm = Lstm { input: Vec::new(), hidden: Vec::new(), size };
    for layer in 0..layers {
        let weight = backend.mat(4 * size, size, &scaled(10 + layer, 4 * size * size), Format::F32).unwrap();
        let bias = Some(buf(backend, &scaled(20 + layer, 4 * size)));
        lstm.input.push(Linear { weight, bias, norm: None, act: Act::None, add: false });
        lstm.hidden.push(backend.mat(4 * size, size, &scaled(30 + layer, 4 * size * size), Format::F32).unwrap());
    }
    lstm
}

#[test]
fn extreme_values_are_the_same_everywhere() {
    let specials =
        [0.0, -0.0, 1e-40, -1e-40, 1e-30, 86.9, -86.9, 88.0, 88.1, -87.0, -87.1, 1e4, -1e4, 3e38, -3e38, f32::INFINITY];
    let x: Vec<f32> = specials.iter().copied().cycle().take(specials.len() * 3 + 5).collect();
    for act in [Act::None, Act::Gelu, Act::Relu] {
        same_everywhere("act", |backend| {
            let mut y = vec![0.5; x.len()];
            kernel::finish(backend.isa(), &x, None, act, true, &mut y);
            y
        });
    }
    same_everywhere("elu", |backend| {
        let mut y = vec![0.0; x.len()];
        kernel::elu(backend.isa(), &x, &mut y);
        y
    });
    same_everywhere("softmax", |backend| {
        let mut scores: Vec<f32> = x.iter().filter(|x| x.is_finite()).copied().collect();
        let sum = kernel::softmax(backend.isa(), &mut scores, 0.125);
        scores.push(sum);
        scores
    });
    same_everywhere("gates", |backend| {
        let (mut c, mut h) = (noise(1, 13), vec![0.0; 13]);
        kernel::lstm_gates(backend.isa(), &x[..52], &noise(2, 52), &mut c, &mut h);
        [c, h].concat()
    });
}

#[test]
fn lstm_follows_its_equations() {
    let (size, layers, count) = (11, 2, 9);
    let mut backend = CpuBackend::new(1);
    let lstm = random_lstm(&mut backend, size, layers);
    let (x, start) = (noise(1, count * size), noise(2, layers * 2 * size));
    let (x_buf, mut state, mut y) = (buf(&mut backend, &x), buf(&mut backend, &start), backend.buf(count * size).unwrap());
    backend.lstm(&lstm, &x_buf, Rows::packed(count, size), &mut state, &mut y, Rows::packed(count, size));
    let mut rows: Vec<Vec<f64>> = x.chunks(size).map(|r| r.iter().map(|x| f64::from(*x)).collect()).collect();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut end = Vec::new();
    for layer in 0..layers {
        let (input, hidden) = (unpacked(&lstm.input[layer].weight), unpacked(&lstm.hidden[layer]));
        let bias = lstm.input[layer].bias.as_ref().unwrap();
        let part = |i: usize| -> Vec<f64> { start[(layer * 2 + i) * size..][..size].iter().map(|x| f64::from(*x)).collect() };
        let (mut h, mut c) = (part(0), part(1));
        for row in &mut rows {
            let times = |w: &[f32], g: usize, v: &[f64]| -> f64 {
                w[g * size..][..size].iter().zip(v).map(|(w, v)| f64::from(*w) * v).sum()
            };
            let gate: Vec<f64> =
                (0..4 * size).map(|g| times(&input, g, row) + times(&hidden, g, &h) + f64::from(bias[g])).collect();
            for j in 0..size {
                c[j] = sigmoid(gate[size + j]) * c[j] + sigmoid(gate[j]) * gate[2 * size + j].tanh();
                h[j] = sigmoid(gate[3 * size + j]) * c[j].tanh();
            }
            row.clone_from(&h);
        }
        end.extend([h, c].concat());
    }
    let want: Vec<f64> = rows.concat().iter().zip(&x).map(|(y, x)| y + f64::from(*x)).collect();
    close("lstm", &y, &want, 2e-6);
    close("lstm state", &state, &end, 2e-6);
}

#[test]
fn depthwise_and_elu_follow_their_equations() {
    let (dim, kernel, count, at) = (21, 7, 12, 4);
    let (w, bias, x) = (noise(1, kernel * dim), noise(2, dim), noise(3, at + (count + kernel - 1) * dim));
    let mut backend = CpuBackend::new(1);
    let (wb, bb, xb, mut y) =
        (buf(&mut backend, &w), buf(&mut backend, &bias), buf(&mut backend, &x), backend.buf(count * dim).unwrap());
    backend.depthwise(&wb, &bb, kernel, dim, &xb, at, count, &mut y);
    let mut want = Vec::new();
    for t in 0..count {
        for c in 0..dim {
            let taps = (0..kernel).map(|i| f64::from(w[i * dim + c]) * f64::from(x[at + (t + i) * dim + c]));
            want.push(f64::from(bias[c]) + taps.sum::<f64>());
        }
    }
    close("depthwise", &y, &want, 1e-6);
    backend.elu(&xb, &mut y, 100);
    let elu = |x: &f32| if *x > 0.0 { f64::from(*x) } else { f64::from(*x).exp_m1() };
    close("elu", &y[..100], &x[..100].iter().map(elu).collect::<Vec<_>>(), 2e-7);
}

#[test]
fn embeddings_add_up_over_the_sinusoid() {
    let (dim, steps, n, first) = (12, 9, 3, 4);
    let grid = Grid { songs: 2, branches: 2, cards: vec![5, 7], delays: vec![0, 1], cfg_scale: vec![1.0; 2], steps };
    let mut backend = CpuBackend::new(1);
    let (a, b, c) = (noise(1, 6 * dim), noise(2, 8 * dim), noise(3, 4 * dim));
    let tables = [backend.mat(6, dim, &a, Format::F32).unwrap(), backend.mat(8, dim, &b, Format::F32).unwrap()];
    let controls = [backend.mat(4, dim, &c, Format::F32).unwrap()];
    let tokens: Vec<i32> = (0..2 * 2 * steps as i32).map(|i| if i % 11 == 5 { UNKNOWN } else { i % 5 }).collect();
    // The second branch is told other controls and doesn't hear the first stream.
    let values: Vec<i32> = (0..2 * steps as i32).map(|i| i % 4).collect();
    let [mut seq, mut ctl, mut masked, mut pos] = [tokens.len(), 2 * steps, 4, 1].map(|n| backend.ints(n).unwrap());
    backend.write_ints(&mut masked, 0, &[0, 0, 1, 0]);
    backend.write_ints(&mut seq, 0, &tokens);
    backend.write_ints(&mut ctl, 0, &values);
    backend.write_ints(&mut pos, 0, &[first]);
    let mut x = buf(&mut backend, &noise(9, 4 * n * dim));
    backend.embed(&grid, &tables, &controls, &seq, &ctl, &masked, &pos, n, &mut x);
    let mut want = Vec::new();
    for lane in 0..4 {
        for s in first as usize..first as usize + n {
            for j in 0..dim {
                let token = |k: usize| match tokens[(lane / 2 * 2 + k) * steps + s] {
                    UNKNOWN => grid.cards[k],
                    _ if lane % 2 == 1 && k == 0 => grid.cards[0],
                    token => token as usize,
                };
                let phase = s as f64 / 10_000f64.powf((j % 6) as f64 / 5.0);
                let place = if j < 6 { phase.cos() } else { phase.sin() };
                let table = |t: &[f32], r: usize| f64::from(t[r * dim + j]);
                want.push(place + table(&a, token(0)) + table(&b, token(1)) + table(&c, values[lane % 2 * steps + s] as usize));
            }
        }
    }
    close("embed", &x, &want, 1e-6);
}

#[test]
fn the_sinusoid_has_the_published_values() {
    let dim = 1536;
    let mut backend = CpuBackend::new(1);
    let table = [backend.mat(2, dim, &vec![0.0; 2 * dim], Format::F32).unwrap()];
    let grid = Grid { songs: 1, branches: 1, cards: vec![1], delays: vec![0], cfg_scale: vec![1.0], steps: 300 };
    let [seq, ctl, masked, mut pos] = [300, 300, 1, 1].map(|n| backend.ints(n).unwrap());
    let mut x = backend.buf(dim).unwrap();
    for (s, i, cos, sin) in [(1, 1, 0.550_307_757_465_196_6, 0.834_961_898_575_992_7), (251, 100, 0.990_347_404_774_645, 0.0)] {
        backend.write_ints(&mut pos, 0, &[s]);
        backend.embed(&grid, &table, &[], &seq, &ctl, &masked, &pos, 1, &mut x);
        assert!((f64::from(x[i]) - cos).abs() < 1e-7, "cos {s} {i}");
        assert!(sin == 0.0 || (f64::from(x[dim / 2 + i]) - sin).abs() < 1e-7, "sin {s} {i}");
    }
}

#[test]
fn text_is_attended_to_up_to_its_length_and_none_is_zeros() {
    let heads = Heads { heads: 2, head_dim: 6 };
    let (dim, len, lanes, n) = (12, 5, 2, 3);
    let mut backend = CpuBackend::new(1);
    let (q, k, v) = (noise(1, lanes * n * dim), noise(2, len * dim), noise(3, len * dim));
    let mut text = backend.kv(2, lanes, 9, heads, Format::F32).unwrap();
    let (qb, kb, vb, mut out) =
        (buf(&mut backend, &q), buf(&mut backend, &k), buf(&mut backend, &v), buf(&mut backend, &noise(4, lanes * n * dim)));
    backend.set_text(&mut text, 1, 0, len, &kb, &vb);
    backend.attend_text(&qb, lanes, n, 1, &text, &mut out);
    let mut want = Vec::new();
    for i in 0..n {
        for h in 0..2 {
            let cut = |m: &[f32], r: usize| m[r * dim + h * 6..][..6].to_vec();
            let e: Vec<f64> = (0..len).map(|s| (dot(&cut(&q, i), &cut(&k, s)) / 6f64.sqrt()).exp()).collect();
            let total: f64 = e.iter().sum();
            want.extend((0..6).map(|d| (0..len).map(|s| e[s] / total * f64::from(cut(&v, s)[d])).sum::<f64>()));
        }
    }
    want.extend(vec![0.0; n * dim]);
    close("text", &out, &want, 1e-6);
}

#[test]
fn spectra_are_log_magnitudes_of_windows() {
    let (n_fft, bins, hop, count, first_end) = (48, 20, 10, 4, 53);
    let x = noise(1, first_end + 3 * hop);
    let mut backend = CpuBackend::new(1);
    let (xb, mut y) = (buf(&mut backend, &x), backend.buf(3 + count * 30).unwrap());
    backend.spectrum(n_fft, bins, &xb, first_end, hop, count, &mut y, Rows { count, at: 3, stride: 30 }, 7);
    let tau = std::f64::consts::TAU;
    for t in 0..count {
        let mut want = vec![0.0; 30];
        for (k, want) in want[7..27].iter_mut().enumerate() {
            let (mut re, mut im) = (0.0, 0.0);
            for u in 0..n_fft {
                let v = f64::from(x[first_end + t * hop - n_fft + u]) * (0.5 - 0.5 * (tau * u as f64 / n_fft as f64).cos());
                let angle = tau * (k * u) as f64 / n_fft as f64;
                (re, im) = (re + v * angle.cos(), im - v * angle.sin());
            }
            *want = ((re.hypot(im) * 4.0 / n_fft as f64 + 1e-5).ln() + 6.0) / 3.0;
        }
        close("spectrum", &y[3 + t * 30..][..30.min(y.len() - 3 - t * 30)], &want, 2e-5);
    }
}

#[test]
fn istft_is_windowed_overlap_add_over_the_steady_envelope() {
    let (n_fft, hop, count, half) = (40, 10, 9, 21);
    let x: Vec<f32> = noise(1, count * 2 * half).iter().map(|x| x * 3.0).collect();
    let mut backend = CpuBackend::new(1);
    let (xb, mut tail, mut y) = (buf(&mut backend, &x), backend.buf(n_fft).unwrap(), backend.buf(2 + count * hop).unwrap());
    // In two calls: the tail carries over.
    backend.istft(n_fft, hop, 2.0, &xb, Rows::packed(4, 2 * half), &mut tail, &mut y, 2);
    backend.istft(n_fft, hop, 2.0, &xb, Rows { count: 5, at: 4 * 2 * half, stride: 2 * half }, &mut tail, &mut y, 2 + 4 * hop);
    let tau = std::f64::consts::TAU;
    let hann = |u: usize| 0.5 - 0.5 * (tau * u as f64 / n_fft as f64).cos();
    let mut sum = vec![0.0; (count + 4) * hop];
    for t in 0..count {
        for u in 0..n_fft {
            let mut v = 0.0;
            for k in 0..half {
                let magnitude = f64::from(x[t * 2 * half + k]).min(2.0).exp();
                let phase = f64::from(x[t * 2 * half + half + k]);
                let angle = tau * (k * u) as f64 / n_fft as f64;
                v += if k == 0 || k == half - 1 {
                    magnitude * phase.cos() * angle.cos()
                } else {
                    2.0 * magnitude * (phase + angle).cos()
                };
            }
            sum[t * hop + u] += v / n_fft as f64 * hann(u);
        }
    }
    let envelope = |n: usize| (0..4).map(|i| hann(n % hop + i * hop).powi(2)).sum::<f64>();
    let want: Vec<f64> = (0..count * hop).map(|n| sum[n] / envelope(n)).collect();
    close("istft", &y[2..], &want, 1e-5);
}

#[test]
fn quantizers_choose_the_nearest_code_of_each_book() {
    let (dim, card, width, count) = (12, 40, 5, 60);
    let z = noise(1, count * dim);
    for factorised in [false, true] {
        let mut first: Option<Vec<i32>> = None;
        for mut backend in players() {
            let mut codes_of = Vec::new();
            let mut books = Vec::new();
            for q in 0..3u64 {
                let codes = noise(10 + q, card * dim);
                let mat = backend.mat(card, dim, &codes, Format::F32).unwrap();
                if factorised {
                    let weight = backend.mat(width, dim, &noise(20 + q, width * dim), Format::F32).unwrap();
                    let bias = Some(buf(&mut backend, &noise(30 + q, width)));
                    let mut unit = noise(40 + q, card * width);
                    for c in unit.chunks_mut(width) {
                        let norm = dot(c, c).sqrt() as f32;
                        c.iter_mut().for_each(|c| *c /= norm);
                    }
                    let unit = backend.mat(card, width, &unit, Format::F32).unwrap();
                    let project_in = Linear { weight, bias, norm: None, act: Act::None, add: false };
                    books.push(Book::<CpuBackend>::Factorised { project_in, unit, codes: mat });
                } else {
                    let norms: Vec<f32> = codes.chunks(dim).map(|c| dot(c, c) as f32).collect();
                    let norms = buf(&mut backend, &norms);
                    books.push(Book::<CpuBackend>::Euclidean { codes: mat, norms });
                }
                codes_of.push(codes);
            }
            let (mut zb, mut codes) = (buf(&mut backend, &z), backend.ints(3 * 70).unwrap());
            backend.quantize(&books, dim, &mut zb, Rows::packed(count, dim), &mut codes, 70, 4);
            let mut back = backend.buf(count * dim).unwrap();
            backend.dequantize(&books, dim, &codes, 70, 4, &mut back, Rows::packed(count, dim));
            for row in 0..count {
                let mut r: Vec<f64> = z[row * dim..][..dim].iter().map(|x| f64::from(*x)).collect();
                for (q, book) in books.iter().enumerate() {
                    let score = |c: usize| -> f64 {
                        match book {
                            Book::Euclidean { .. } => {
                                -r.iter().zip(&codes_of[q][c * dim..]).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>()
                            }
                            Book::Factorised { project_in, unit, .. } => {
                                let (w, unit) = (unpacked(&project_in.weight), unpacked(unit));
                                let e = |i: usize| -> f64 {
                                    let bias = f64::from(project_in.bias.as_ref().unwrap()[i]);
                                    r.iter().zip(&w[i * dim..]).map(|(a, b)| a * f64::from(*b)).sum::<f64>() + bias
                                };
                                (0..width).map(|i| e(i) * f64::from(unit[c * width + i])).sum()
                            }
                        }
                    };
                    let code = codes[q * 70 + 4 + row] as usize;
                    let best = (0..card).map(score).fold(f64::NEG_INFINITY, f64::max);
                    assert!(score(code) > best - 1e-5, "row {row}, book {q}: code {code} scores {} of {best}", score(code));
                    r.iter_mut().zip(&codes_of[q][code * dim..]).for_each(|(r, e)| *r -= f64::from(*e));
                }
                close("residual", &zb[row * dim..][..dim], &r, 1e-5);
                let sum: Vec<f64> = r.iter().zip(&z[row * dim..]).map(|(r, z)| f64::from(*z) - r).collect();
                close("dequantized", &back[row * dim..][..dim], &sum, 1e-5);
            }
            assert_eq!(&**first.get_or_insert_with(|| codes.to_vec()), &codes[..], "{}", backend.isa().name());
        }
    }
}

#[test]
fn of_equal_codes_the_first_wins() {
    let mut backend = CpuBackend::new(1);
    let codes = backend.mat(4, 2, &[5.0, 5.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0], Format::F32).unwrap();
    let norms = buf(&mut backend, &[50.0, 1.0, 1.0, 1.0]);
    let (mut z, mut out) = (buf(&mut backend, &[0.9, 0.1]), backend.ints(1).unwrap());
    backend.quantize(&[Book::Euclidean { codes, norms }], 2, &mut z, Rows::packed(1, 2), &mut out, 1, 0);
    assert_eq!(out[0], 1);
}

#[test]
fn memory_operations_move_what_they_say() {
    let mut backend = CpuBackend::new(1);
    let mut b = buf(&mut backend, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    backend.shift(&mut b, 2, 0, 4);
    backend.zero(&mut b, 5, 1);
    assert_eq!(b[..], [2.0, 3.0, 4.0, 5.0, 4.0, 0.0]);
    let mut to = backend.buf(7).unwrap();
    backend.copy(&b, Rows { count: 2, at: 1, stride: 2 }, &mut to, Rows { count: 2, at: 0, stride: 4 }, 2);
    assert_eq!(to[..], [3.0, 4.0, 0.0, 0.0, 5.0, 4.0, 0.0]);
    let mut out = [0.0; 2];
    backend.read(&to, 4, &mut out);
    assert_eq!(out, [5.0, 4.0]);
}

#[test]
fn constructors_refuse_what_cannot_be() {
    let mut backend = CpuBackend::new(1);
    let heads = Heads { heads: 2, head_dim: 8 };
    assert!(matches!(backend.buf(usize::MAX / 2), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.ints(usize::MAX / 2), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.kv(1 << 30, 1 << 30, 1 << 30, heads, Format::F32), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.kv(0, 1, 1, heads, Format::F32), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.kv(1, 1, 1, heads, Format::Q8), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.kv(1, 1, 1, heads, Format::Q4), Err(BackendError::Shape { .. })));
    let grid = Grid { songs: 1, branches: 3, cards: vec![4], delays: vec![0], cfg_scale: vec![1.0], steps: 4 };
    assert!(matches!(backend.picker(&grid), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.picker(&Grid { branches: 1, delays: vec![], ..grid.clone() }), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.picker(&Grid { branches: 1, cfg_scale: vec![], ..grid }), Err(BackendError::Shape { .. })));
}

#[test]
fn a_player_may_move_to_another_thread() {
    fn sendable<T: Send>(_: &T) {}
    sendable(&CpuBackend::new(1));
}
