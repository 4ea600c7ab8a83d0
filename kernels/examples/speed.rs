//! Speeds of the matrix products, and the memory bandwidth measured in the same run: `cargo run --release -p sideman-kernels --example speed`.
//! Options: THREADS (default 2) and ISA (scalar, avx2, avx512). With one thread the time is the thread's own processor time, which a
//! busy machine stretches less.

use sideman_kernels::cpu::{CpuBackend, Isa, Mat};
use sideman_kernels::{Act, Backend, Format, Heads, LayerRows, Linear, Rows};
use std::time::Instant;

/// Seconds: of this thread's processor time where `own`, else of the clock.
fn now(own: bool) -> f64 {
    thread_local!(static START: Instant = Instant::now());
    if !own {
        return START.with(|start| start.elapsed().as_secs_f64());
    }
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

/// Median and best seconds of `f` over `rounds`.
fn time(own: bool, rounds: usize, mut f: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = now(own);
            f();
            now(own) - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[rounds / 2], times[0])
}

fn linear(weight: Mat) -> Linear<CpuBackend> {
    Linear { weight, bias: None, norm: None, act: Act::None, add: false }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let threads: usize = std::env::var("THREADS").map_or(Ok(2), |t| t.parse())?;
    let isa = match std::env::var("ISA").as_deref() {
        Ok("scalar") => Some(Isa::SCALAR),
        Ok("avx2") => Isa::avx2(),
        Ok("avx512") => Isa::avx512(),
        _ => Some(Isa::best()),
    };
    let mut backend = CpuBackend::with_isa(threads, isa.ok_or("this machine has not got that")?);
    println!("{} on {threads} threads", backend.isa().name());
    let (rows, cols) = (6144, 1536);
    let weights: Vec<f32> = (0..rows * cols).map(|i| ((i * 7919) % 1009) as f32 / 1009.0 - 0.5).collect();
    let big = backend.buf(64 << 20)?;
    let own = threads == 1;
    let sum = |part: &[f32]| {
        let sum = part.chunks_exact(64).fold([0u32; 64], |mut sum, x| {
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum ^= x.to_bits());
            sum
        });
        std::hint::black_box(sum);
    };
    let read = |_: ()| {
        if own {
            return sum(&big);
        }
        std::thread::scope(|s| {
            for part in big.chunks(big.len() / threads) {
                s.spawn(move || sum(part));
            }
        });
    };
    for lanes in [1, 2, 4, 8] {
        let x = backend.buf(lanes * cols)?;
        let mut y = backend.buf(lanes * rows)?;
        for (format, copies) in [(Format::F32, 7), (Format::Bf16, 14), (Format::Q8, 24), (Format::Q4, 42)] {
            let mats = (0..copies).map(|_| Ok(linear(backend.mat(rows, cols, &weights, format)?)));
            let mats = mats.collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?;
            let bytes: usize = mats.iter().map(|m| m.weight.bytes()).sum();
            let (mut gemv, mut reads) = (Vec::new(), Vec::new());
            for _ in 0..7 {
                gemv.push(
                    time(own, 1, || {
                        mats.iter()
                            .for_each(|m| backend.linear(m, &x, Rows::packed(lanes, cols), &mut y, Rows::packed(lanes, rows)))
                    })
                    .0,
                );
                reads.push(time(own, 1, || read(())).0);
            }
            gemv.sort_by(f64::total_cmp);
            reads.sort_by(f64::total_cmp);
            let (g, r) = (bytes as f64 * 1e-9 / gemv[3], (big.len() * 4) as f64 * 1e-9 / reads[3]);
            let (gb, rb) = (bytes as f64 * 1e-9 / gemv[0], (big.len() * 4) as f64 * 1e-9 / reads[0]);
            println!(
                "gemv {lanes} rows {format:?}: {g:.1} GB/s median, {gb:.1} best; reading alone {r:.1}, {rb:.1}; ratio {:.2}, {:.2}",
                g / r,
                gb / rb
            );
        }
    }
    for (rows, cols, count) in [(6144, 1536, 256), (1536, 6144, 256), (1152, 384, 256), (128, 448, 4000), (64, 192, 32000)] {
        let x = backend.buf(count * cols)?;
        let mut y = backend.buf(count * rows)?;
        for format in [Format::F32, Format::Bf16, Format::Q8, Format::Q4] {
            let m = linear(backend.mat(rows, cols, &weights[..rows * cols], format)?);
            let (median, best) =
                time(own, 9, || backend.linear(&m, &x, Rows::packed(count, cols), &mut y, Rows::packed(count, rows)));
            let flops = (2 * rows * cols * count) as f64 * 1e-9;
            println!(
                "gemm [{rows}, {cols}] × {count} {format:?}: {:.0} GFLOP/s median, {:.0} best",
                flops / median,
                flops / best
            );
        }
    }
    // One step's attention of MusicGen medium's shape, two lanes, at a context of 1250.
    let (heads, steps) = (Heads { heads: 24, head_dim: 64 }, 1251);
    for format in [Format::F32, Format::Bf16] {
        let kv = backend.kv(1, 2, steps, heads, format)?;
        let (q, mut out, mut pos) = (backend.buf(2 * 1536)?, backend.buf(2 * 1536)?, backend.ints(1)?);
        backend.advance(1249, &mut pos);
        let at = LayerRows { layer: 0, lanes: 2, n: 1 };
        let (median, best) = time(own, 31, || backend.attend(&q, at, &pos, &kv, &mut out));
        let bytes = if format == Format::F32 { 4e-9 } else { 2e-9 } * (2 * 2 * 1250 * 1536) as f64;
        println!("attend to 1250 steps, 2 lanes, {format:?}: {:.0} µs median, {:.1} GB/s best", median * 1e6, bytes / best);
    }
    // Small operations, as in a step of the house model: what one costs where the weights lie in the cache.
    let (dim, ffn) = (384, 1536);
    let m = linear(backend.mat(ffn, dim, &weights[..ffn * dim], Format::F32)?);
    let (x, mut y) = (backend.buf(2 * dim)?, backend.buf(2 * ffn)?);
    let (median, best) = time(own, 301, || backend.linear(&m, &x, Rows::packed(2, dim), &mut y, Rows::packed(2, ffn)));
    println!("linear [{ffn}, {dim}] × 2, in the cache: {:.1} µs median, {:.1} best", median * 1e6, best * 1e6);
    Ok(())
}
