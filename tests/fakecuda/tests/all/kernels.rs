//! The test kernels in CUDA C++, compiled by NVRTC for four architectures, each against a reference in f64.

use super::common::{Bench, Random, arg, options, ptx};
use half::{bf16, f16};
use sideman_fakecuda::machine::Order;

const ARCHS: [u32; 4] = [75, 80, 90, 120];
const ORDERS: [Order; 3] = [Order::Forward, Order::Reverse, Order::Random];

/// Runs a test on every architecture and in every order. Any fault is a panic.
fn everywhere(file: &str, test: impl Fn(&mut Bench, u32)) {
    for sm in ARCHS {
        for order in ORDERS {
            test(&mut Bench::new(&ptx(file, sm), sm, options(order)), sm);
        }
    }
}

fn ok(r: Result<(), sideman_fakecuda::machine::Fault>) {
    r.unwrap_or_else(|f| panic!("{f}"));
}

/// Every element within `bound` of the reference, relative to the largest.
fn close(name: &str, got: &[f32], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(1e-30, |m: f64, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((*g as f64 - w).abs() <= bound * scale, "{name}[{i}]: {g} against {w}");
    }
}

#[test]
fn gemv_bf16() {
    let (rows, cols) = (37, 264);
    let mut r = Random(1);
    let w: Vec<u16> = r.units(rows * cols).iter().map(|v| bf16::from_f32(*v).to_bits()).collect();
    let x = r.units(cols);
    let want: Vec<f64> =
        (0..rows).map(|i| (0..cols).map(|k| bf16::from_bits(w[i * cols + k]).to_f64() * x[k] as f64).sum()).collect();
    everywhere("gemv", |b, _| {
        let (y, wd, xd) = (b.alloc(4 * rows), b.put(&w), b.put(&x));
        let args = [arg(y), arg(wd), arg(xd), arg(rows as i32), arg(cols as i32)];
        ok(b.launch("gemv_bf16", [10, 1, 1], [128, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        close("y", &b.get(y, rows), &want, 1e-5);
    });
}

#[test]
fn gemv_int8() {
    let (rows, cols) = (24, 560);
    let mut r = Random(2);
    let w: Vec<i8> = (0..rows * cols).map(|_| r.next() as i8).collect();
    let x: Vec<i8> = (0..cols).map(|_| r.next() as i8).collect();
    let scale = r.units(rows);
    let want: Vec<f64> = (0..rows)
        .map(|i| (0..cols).map(|k| w[i * cols + k] as f64 * x[k] as f64).sum::<f64>() * scale[i] as f64 * 0.01f32 as f64)
        .collect();
    everywhere("gemv", |b, _| {
        let (y, wd, sd, xd) = (b.alloc(4 * rows), b.put(&w), b.put(&scale), b.put(&x));
        let args = [arg(y), arg(wd), arg(sd), arg(xd), arg(0.01f32), arg(rows as i32), arg(cols as i32)];
        ok(b.launch("gemv_i8", [6, 1, 1], [128, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        close("y", &b.get(y, rows), &want, 1e-6);
    });
}

fn erf(x: f64) -> f64 {
    // Series: enough for |x| < 4.
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn layer_norm_and_gelu_match_f64() {
    let (rows, cols) = (5, 200);
    let mut r = Random(3);
    let (x, gain, bias) = (r.units(rows * cols), r.units(cols), r.units(cols));
    for gelu in [0, 1] {
        let mut want = Vec::new();
        for row in x.chunks(cols) {
            let mean = row.iter().map(|v| *v as f64).sum::<f64>() / cols as f64;
            let var = row.iter().map(|v| (*v as f64 - mean).powi(2)).sum::<f64>() / cols as f64;
            for (c, v) in row.iter().enumerate() {
                let v = (*v as f64 - mean) / (var + 1e-5).sqrt() * gain[c] as f64 + bias[c] as f64;
                want.push(if gelu == 1 { 0.5 * v * (1.0 + erf(v / 2f64.sqrt())) } else { v });
            }
        }
        everywhere("norm", |b, _| {
            let (y, xd, g, bi) = (b.alloc(4 * rows * cols), b.put(&x), b.put(&gain), b.put(&bias));
            let args = [arg(y), arg(xd), arg(g), arg(bi), arg(1e-5f32), arg(cols as i32), arg(gelu)];
            ok(b.launch("layer_norm", [rows as u32, 1, 1], [96, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
            close("y", &b.get(y, rows * cols), &want, 2e-6);
        });
    }
}

#[test]
fn sines_through_local_memory_match_f64() {
    let mut r = Random(4);
    let mut x: Vec<f32> = (0..60).map(|_| r.unit() * 300.0).collect();
    x.extend([0.0, 1e6, -3e7, 1e30, 105615.0, 3.4e38]);
    let want: Vec<f64> = x.iter().flat_map(|v| [(*v as f64).sin(), (*v as f64).cos()]).collect();
    everywhere("norm", |b, _| {
        let (y, xd) = (b.alloc(8 * x.len()), b.put(&x));
        let args = [arg(y), arg(xd), arg(x.len() as i32)];
        ok(b.launch("sine_table", [3, 1, 1], [32, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        close("y", &b.get(y, 2 * x.len()), &want, 2e-7);
    });
}

#[test]
fn axpy_on_pairs_of_f16() {
    let mut r = Random(5);
    let half = |r: &mut Random| f16::from_f32(r.unit() * 8.0);
    let (x, y): (Vec<f16>, Vec<f16>) = (0..128).map(|_| (half(&mut r), half(&mut r))).unzip();
    let a = f16::from_f32(1.7);
    let pack = |v: &[f16]| v.chunks(2).map(|c| c[0].to_bits() as u32 | (c[1].to_bits() as u32) << 16).collect::<Vec<_>>();
    let want: Vec<u16> = x.iter().zip(&y).map(|(x, y)| f16::from_f64(a.to_f64() * x.to_f64() + y.to_f64()).to_bits()).collect();
    everywhere("norm", |b, _| {
        let (yd, xd) = (b.put(&pack(&y)), b.put(&pack(&x)));
        let args = [arg(yd), arg(xd), arg(pack(&[a, a])[0]), arg(64i32)];
        ok(b.launch("axpy_f16x2", [1, 1, 1], [64, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        for (g, w) in b.get::<u16>(yd, 128).iter().zip(&want) {
            // The f64 sum is exact here or off by less than half a step: at most one unit.
            assert!(g.abs_diff(*w) <= 1, "{g:#x} against {w:#x}");
        }
    });
}

#[test]
fn softmax_attention_matches_f64() {
    let (heads, len) = (3, 77);
    let mut r = Random(6);
    let (q, k, v) = (r.units(heads * 64), r.units(heads * len * 64), r.units(heads * len * 64));
    let mut want = Vec::new();
    for h in 0..heads {
        let at = |p: usize, d: usize| (h * len + p) * 64 + d;
        let score: Vec<f64> =
            (0..len).map(|p| (0..64).map(|d| q[h * 64 + d] as f64 * k[at(p, d)] as f64).sum::<f64>() / 8.0).collect();
        let top = score.iter().cloned().fold(f64::MIN, f64::max);
        let e: Vec<f64> = score.iter().map(|s| (s - top).exp()).collect();
        let sum: f64 = e.iter().sum();
        want.extend((0..64).map(|d| (0..len).map(|p| e[p] * v[at(p, d)] as f64).sum::<f64>() / sum));
    }
    everywhere("attention", |b, _| {
        let (o, qd, kd, vd) = (b.alloc(heads * 256), b.put(&q), b.put(&k), b.put(&v));
        let args = [arg(o), arg(qd), arg(kd), arg(vd), arg(len as i32)];
        ok(b.launch("attention", [heads as u32, 1, 1], [128, 1, 1], 4 * len as u32, &args.each_ref().map(|a| &a[..])));
        close("out", &b.get(o, heads * 64), &want, 3e-6);
    });
}

#[test]
fn gemm_by_mma_tiles_matches_f64() {
    let (m, n, k) = (64, 96, 160);
    let mut r = Random(8);
    let (af, bf) = (r.units(m * k), r.units(n * k));
    let bits = |v: &[f32]| v.iter().map(|x| bf16::from_f32(*x).to_bits()).collect::<Vec<u16>>();
    let (a, b16) = (bits(&af), bits(&bf));
    let value = |x: u16| bf16::from_bits(x).to_f64();
    let want: Vec<f64> = (0..m * n).map(|i| (0..k).map(|t| value(a[i / n * k + t]) * value(b16[i % n * k + t])).sum()).collect();
    everywhere("gemm", |b, sm| {
        let (c, ad, bd) = (b.alloc(4 * m * n), b.put(&a), b.put(&b16));
        let args = [arg(c), arg(ad), arg(bd), arg(m as i32), arg(n as i32), arg(k as i32)];
        let result = b.launch("gemm_bf16", [n as u32 / 32, m as u32 / 32, 1], [128, 1, 1], 0, &args.each_ref().map(|a| &a[..]));
        if sm == 75 {
            // sm_75 has no bf16 tiles: the kernel traps, and the emulator reports it.
            assert_eq!(result.unwrap_err().kind, sideman_fakecuda::machine::FaultKind::Trap);
            return;
        }
        ok(result);
        close("c", &b.get(c, m * n), &want, 1e-6);
    });
}

#[test]
fn gemm_in_f16_with_a_transposed_load() {
    let (m, n, k) = (32, 24, 48);
    let mut r = Random(9);
    let bits = |v: Vec<f32>| v.iter().map(|x| f16::from_f32(*x).to_bits()).collect::<Vec<u16>>();
    let (a, b16) = (bits(r.units(m * k)), bits(r.units(k * n)));
    let value = |x: u16| f16::from_bits(x).to_f64();
    let want: Vec<f64> = (0..m * n).map(|i| (0..k).map(|t| value(a[i / n * k + t]) * value(b16[t * n + i % n])).sum()).collect();
    everywhere("gemm", |b, _| {
        let (c, ad, bd) = (b.alloc(4 * m * n), b.put(&a), b.put(&b16));
        let args = [arg(c), arg(ad), arg(bd), arg(m as i32), arg(n as i32), arg(k as i32)];
        ok(b.launch("gemm_f16_k8", [n as u32 / 8, m as u32 / 16, 1], [32, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        close("c", &b.get(c, m * n), &want, 1e-6);
    });
}

#[test]
fn gemm_in_s8_is_exact() {
    let (m, n, k) = (32, 16, 96);
    let mut r = Random(10);
    let a: Vec<i8> = (0..m * k).map(|_| r.next() as i8).collect();
    let b8: Vec<i8> = (0..n * k).map(|_| r.next() as i8).collect();
    let want: Vec<i32> = (0..m * n).map(|i| (0..k).map(|t| a[i / n * k + t] as i32 * b8[i % n * k + t] as i32).sum()).collect();
    everywhere("gemm", |b, _| {
        let (c, ad, bd) = (b.alloc(4 * m * n), b.put(&a), b.put(&b8));
        let args = [arg(c), arg(ad), arg(bd), arg(m as i32), arg(n as i32), arg(k as i32)];
        ok(b.launch("gemm_s8", [n as u32 / 8, m as u32 / 16, 1], [32, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        assert_eq!(b.get::<i32>(c, m * n), want);
    });
}

#[test]
fn a_prefix_scan_over_waiting_blocks_is_exact() {
    let n = 2500;
    let mut r = Random(11);
    let x: Vec<i32> = (0..n).map(|_| (r.next() % 2001) as i32 - 1000).collect();
    let want: Vec<i32> = x
        .iter()
        .scan(0i32, |s, v| {
            *s += v;
            Some(*s)
        })
        .collect();
    everywhere("scan", |b, _| {
        let (y, xd, state, ticket) = (b.alloc(4 * n), b.put(&x), b.put(&[0u64; 10]), b.put(&[0u32]));
        let args = [arg(y), arg(xd), arg(state), arg(ticket), arg(n as i32)];
        ok(b.launch("scan", [10, 1, 1], [256, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        assert_eq!(b.get::<i32>(y, n), want);
    });
}

#[test]
fn the_last_block_sums_all_parts() {
    let mut r = Random(12);
    let x = r.units(5000);
    let want = [x.iter().map(|v| *v as f64).sum::<f64>()];
    everywhere("scan", |b, _| {
        let (out, parts, done, xd) = (b.alloc(4), b.alloc(4 * 20), b.put(&[0u32]), b.put(&x));
        let args = [arg(out), arg(parts), arg(done), arg(xd), arg(5000i32)];
        ok(b.launch("sum_last_block", [20, 1, 1], [64, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        close("sum", &b.get(out, 1), &want, 1e-4);
    });
}

#[test]
fn a_histogram_by_atomics_is_exact() {
    let mut r = Random(13);
    let x: Vec<u8> = (0..4000).map(|_| (r.next() % 97) as u8).collect();
    let mut want = vec![0u32; 256];
    x.iter().for_each(|v| want[*v as usize] += 1);
    everywhere("scan", |b, _| {
        let (bins, xd) = (b.put(&[0u32; 256]), b.put(&x));
        let args = [arg(bins), arg(xd), arg(4000i32)];
        ok(b.launch("histogram", [5, 1, 1], [96, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        assert_eq!(b.get::<u32>(bins, 256), want);
    });
}

#[test]
fn top_k_is_sorted_with_ties_to_the_lower_index() {
    let (n, k) = (700, 12);
    let mut r = Random(14);
    let mut x = r.units(n);
    x[500] = x[20];
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| x[*b].total_cmp(&x[*a]).then(a.cmp(b)));
    everywhere("topk", |b, _| {
        let (value, place, xd) = (b.alloc(4 * k), b.alloc(4 * k), b.put(&x));
        let args = [arg(value), arg(place), arg(xd), arg(n as i32), arg(k as i32)];
        ok(b.launch("top_k", [1, 1, 1], [256, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        let want: Vec<i32> = order[..k].iter().map(|i| *i as i32).collect();
        assert_eq!(b.get::<i32>(place, k), want);
        assert_eq!(b.get::<f32>(value, k), order[..k].iter().map(|i| x[*i]).collect::<Vec<_>>());
    });
}

#[test]
fn votes_and_matches_find_the_largest() {
    let mut r = Random(15);
    let x: Vec<u32> = (0..32).map(|_| (r.next() % 7) as u32 + 1).collect();
    let top = *x.iter().max().unwrap();
    everywhere("topk", |b, _| {
        let (out, xd) = (b.alloc(4 * 35), b.put(&x));
        let args = [arg(out), arg(xd)];
        ok(b.launch("warp_argmax", [1, 1, 1], [32, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        let got = b.get::<u32>(out, 35);
        assert_eq!(got[..3], [top, x.iter().position(|v| *v == top).unwrap() as u32, 0]);
        let same: Vec<u32> = x.iter().map(|v| x.iter().filter(|w| *w == v).count() as u32).collect();
        assert_eq!(got[3..], same);
    });
}

#[test]
fn a_cooperative_barrier_orders_all_blocks() {
    let (n, steps) = (500, 7);
    let mut r = Random(16);
    let x = r.units(n);
    let mut want: Vec<f64> = x.iter().map(|v| *v as f64).collect();
    for _ in 0..steps {
        want = (0..n).map(|i| (want[(i + n - 1) % n] + want[i] + want[(i + 1) % n]) / 3.0).collect();
    }
    everywhere("grid", |b, _| {
        let (a, c, barrier) = (b.put(&x), b.alloc(4 * n), b.put(&[0u32; 2]));
        let args = [arg(a), arg(c), arg(barrier), arg(n as i32), arg(steps)];
        let args = args.each_ref().map(|a| &a[..]);
        ok(b.start("smooth", [8, 1, 1], [64, 1, 1], 0, &args, true));
        close("y", &b.get(c, n), &want, 1e-6);
    });
}

#[test]
fn named_barriers_pass_values_between_warps() {
    let rounds = 9;
    everywhere("grid", |b, _| {
        let out = b.alloc(4 * 33);
        let args = [arg(out), arg(rounds)];
        ok(b.launch("relay", [1, 1, 1], [128, 1, 1], 0, &args.each_ref().map(|a| &a[..])));
        let sum = |t: i32| (0..rounds).map(|r| (3 * t + 32 + 64 + 96) * r).sum::<i32>();
        let mut want: Vec<i32> = (0..32).map(sum).collect();
        want.push(64);
        assert_eq!(b.get::<i32>(out, 33), want);
    });
}

#[test]
fn an_lstm_layer_matches_f64() {
    let (steps, inputs) = (6, 20);
    let mut r = Random(17);
    let scale = |v: Vec<f32>| v.iter().map(|x| x * 0.3).collect::<Vec<_>>();
    let (x, w, u, bias) = (r.units(steps * inputs), scale(r.units(256 * inputs)), scale(r.units(256 * 64)), r.units(256));
    let (mut h, mut c, mut want) = (vec![0f64; 64], vec![0f64; 64], Vec::new());
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    for s in 0..steps {
        let gate: Vec<f64> = (0..256)
            .map(|g| {
                bias[g] as f64
                    + (0..inputs).map(|i| w[g * inputs + i] as f64 * x[s * inputs + i] as f64).sum::<f64>()
                    + (0..64).map(|i| u[g * 64 + i] as f64 * h[i]).sum::<f64>()
            })
            .collect();
        for i in 0..64 {
            c[i] = sigmoid(gate[64 + i]) * c[i] + sigmoid(gate[i]) * gate[128 + i].tanh();
            h[i] = sigmoid(gate[192 + i]) * c[i].tanh();
        }
        want.extend(&h);
    }
    everywhere("lstm", |b, _| {
        let (y, xd, wd, ud, bd) = (b.alloc(4 * steps * 64), b.put(&x), b.put(&w), b.put(&u), b.put(&bias));
        let args = [arg(y), arg(xd), arg(wd), arg(ud), arg(bd), arg(steps as i32), arg(inputs as i32)];
        ok(b.launch("lstm", [1, 1, 1], [256, 1, 1], 4 * inputs as u32, &args.each_ref().map(|a| &a[..])));
        close("y", &b.get(y, steps * 64), &want, 2e-6);
    });
}
