//! Every operation against an independent reference in f64, and the same work cut another way bit for bit.

use super::*;
use crate::{Act, Norm};

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

fn buf(ops: &mut Cpu, data: &[f32]) -> Store<f32> {
    let mut b = ops.buf(data.len()).unwrap();
    ops.write(&mut b, 0, data);
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
    for format in [Format::F32, Format::Bf16, Format::Q8] {
        for (rows, cols, count, stride) in [(5, 64, 1, 64), (37, 96, 3, 32), (64, 32, 40, 8), (16, 160, 250, 160), (3, 33, 9, 33)]
        {
            let mut ops = Cpu::new(1);
            let weight = ops.mat(rows, cols, &noise(1, rows * cols), format).unwrap();
            let w = unpacked(&weight);
            let (bias, x, old) = (noise(2, rows), noise(3, 7 + (count - 1) * stride + cols), noise(4, 11 + count * (rows + 2)));
            let bias_buf = buf(&mut ops, &bias);
            let linear = Linear::<Cpu> { weight, bias: Some(bias_buf), norm: None, act: Act::Relu, add: true };
            let (x_buf, mut y) = (buf(&mut ops, &x), buf(&mut ops, &old));
            let (xr, yr) = (Rows { count, at: 7, stride }, Rows { count, at: 11, stride: rows + 2 });
            ops.linear(&linear, &x_buf, xr, &mut y, yr);
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
    let mut ops = Cpu::new(1);
    for layer_norm in [true, false] {
        let (w, x, scale, shift) = (noise(1, rows * cols), noise(2, count * cols), noise(3, cols), noise(4, cols));
        let norm = Norm { weight: buf(&mut ops, &scale), bias: layer_norm.then(|| buf(&mut ops, &shift)), eps: 1e-3 };
        let weight = ops.mat(rows, cols, &w, Format::F32).unwrap();
        let linear = Linear::<Cpu> { weight, bias: None, norm: Some(norm), act: Act::None, add: false };
        let (x_buf, mut y) = (buf(&mut ops, &x), ops.buf(count * rows).unwrap());
        ops.linear(&linear, &x_buf, Rows::packed(count, cols), &mut y, Rows::packed(count, rows));
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
    let mut ops = Cpu::new(1);
    let (w, x) = (noise(1, 3 * dim * dim), noise(2, lanes * (first + n) * dim));
    let weight = ops.mat(3 * dim, dim, &w, Format::F32).unwrap();
    let linear = Linear::<Cpu> { weight, bias: None, norm: None, act: Act::None, add: false };
    let mut kv = ops.kv(2, lanes, 40, heads, Format::F32).unwrap();
    let (mut q, mut out) = (ops.buf(lanes * first * dim).unwrap(), ops.buf(lanes * n * dim).unwrap());
    let mut pos = ops.ints(1).unwrap();
    // Rows of steps from..to of both lanes.
    let cut = |from: usize, to: usize| -> Vec<f32> {
        (0..lanes).flat_map(|l| x[(l * (first + n) + from) * dim..(l * (first + n) + to) * dim].to_vec()).collect()
    };
    let (head, rest) = (buf(&mut ops, &cut(0, first)), buf(&mut ops, &cut(first, first + n)));
    ops.qkv(&linear, &head, lanes, first, 1, &pos, &mut q, &mut kv);
    ops.advance(first, &mut pos);
    ops.qkv(&linear, &rest, lanes, n, 1, &pos, &mut q, &mut kv);
    ops.attend(&q, lanes, n, 1, &pos, &kv, &mut out);
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
