//! Self-attention and attention to text against softmax in f64, and with equal bits on every backend.

use super::*;

#[test]
fn attention_is_the_softmax_of_scaled_scores_times_values() {
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
    backend.qkv(&linear, &head, LayerRows { layer: 1, lanes, n: first }, &pos, &mut q, &mut kv);
    backend.advance(first, &mut pos);
    let at = LayerRows { layer: 1, lanes, n };
    backend.qkv(&linear, &rest, at, &pos, &mut q, &mut kv);
    backend.attend(&q, at, &pos, &kv, &mut out);
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

#[test]
fn text_is_attended_to_up_to_its_length_and_no_text_gives_zeros() {
    let heads = Heads { heads: 2, head_dim: 6 };
    let (dim, len, lanes, n) = (12, 5, 2, 3);
    let mut backend = CpuBackend::new(1);
    let (q, k, v) = (noise(1, lanes * n * dim), noise(2, len * dim), noise(3, len * dim));
    let mut text = backend.kv(2, lanes, 9, heads, Format::F32).unwrap();
    let (qb, kb, vb, mut out) =
        (buf(&mut backend, &q), buf(&mut backend, &k), buf(&mut backend, &v), buf(&mut backend, &noise(4, lanes * n * dim)));
    backend.set_text(&mut text, LaneText { layer: 1, lane: 0, len }, &kb, &vb);
    backend.attend_text(&qb, LayerRows { layer: 1, lanes, n }, &text, &mut out);
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

proptest! {
    #![proptest_config(config())]

    #[test]
    fn attention_has_the_same_bits_on_every_backend(
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
            backend.attend(&q, LayerRows { layer: 0, lanes, n }, &pos, &kv, &mut out);
            out.to_vec()
        });
    }

    #[test]
    fn a_prefill_has_the_bits_of_its_steps_and_a_batch_those_of_its_lanes(
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
                let at = LayerRows { layer: 0, lanes: lanes.len(), n: m };
                backend.qkv(&w, &rows, at, &pos, &mut q, &mut kv);
                backend.attend(&q, at, &pos, &kv, &mut out);
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
}
