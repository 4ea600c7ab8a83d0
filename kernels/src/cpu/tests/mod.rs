//! Every operation against an independent reference in f64, and with equal bits on every instruction set, any number of threads
//! and any division of the work. One module for each kind of operation; the helpers of all are here.

mod attention;
mod codec;
mod embed;
mod int8;
mod linear;
mod memory;
mod quantizer;
mod sampler;
mod separator;

use super::*;
use crate::{Act, Norm};
use proptest::prelude::*;

/// Pseudo-random numbers in −1..1, the same for the same seed.
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

/// The weights of a packed matrix, row-major.
fn unpacked(mat: &Mat) -> Vec<f32> {
    let mut out = vec![0.0; mat.rows * mat.cols];
    (0..mat.rows).for_each(|r| mat.row(r, |k, w| out[r * mat.cols + k] = w));
    out
}

/// The instruction sets besides scalar that this machine has. Each one that it lacks is reported as skipped.
fn simd() -> Vec<Isa> {
    let sets =
        [("avx2", Isa::avx2()), ("avxvnni", Isa::avx_vnni()), ("avx512", Isa::avx512()), ("avx512vnni", Isa::avx512_vnni())];
    for (name, _) in sets.iter().filter(|set| set.1.is_none()) {
        sideman_skip::skip(&format!("cpu::{name}"), "this machine lacks the instructions");
    }
    sets.iter().filter_map(|s| s.1).collect()
}

/// Backends that must give the same bits: each instruction set with 1, 2 and 3 threads; the scalar one first.
fn backends() -> Vec<CpuBackend> {
    let mut backends = vec![CpuBackend::with_isa(1, Isa::SCALAR)];
    for isa in simd() {
        backends.extend([1, 2, 3].map(|threads| CpuBackend::with_isa(threads, isa)));
    }
    backends
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Runs `f` on every backend and checks that all give the bits of the scalar one.
fn same_everywhere(name: &str, mut f: impl FnMut(&mut CpuBackend) -> Vec<f32>) {
    let mut want = None;
    for mut backend in backends() {
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

fn both_activations() -> impl Strategy<Value = Activations> {
    prop_oneof![Just(Activations::F32), Just(Activations::Int8)]
}

/// Columns of a matrix: those of q8 and q4 are blocks of 32.
fn columns(format: Format, cols: usize) -> usize {
    if matches!(format, Format::Q8 | Format::Q4) { cols.next_multiple_of(32) } else { cols }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

/// Outside of a function that is compiled for an instruction set, a fused multiply-add is a call, fifty times slower.
#[test]
fn fused_multiply_adds_are_compiled_for_each_instruction_set() {
    let mut open = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")];
    let (mut found, mut seen) = (Vec::new(), 0);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir()
                && !["target", "tests", "bench", "examples", "train"].contains(&name.as_str())
                && !name.starts_with('.')
            {
                open.push(path);
                continue;
            }
            // The specification, which runs only where a machine has none of the instruction sets.
            if !name.ends_with(".rs") || path.ends_with("cpu/scalar.rs") {
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let (mut inlined, mut attribute) = (false, false);
            for (n, line) in code.lines().enumerate() {
                let line = line.split("//").next().unwrap();
                attribute |= line.trim() == "#[inline(always)]";
                if line.contains("fn ") && line.contains('(') {
                    inlined = std::mem::take(&mut attribute);
                }
                // Split, so that the search doesn't find this line.
                if line.contains(concat!(".mul", "_add(")) {
                    seen += 1;
                    if !inlined {
                        found.push(format!("{}:{}", path.display(), n + 1));
                    }
                }
            }
        }
    }
    assert!(seen > 5, "the search finds what it looks for");
    assert!(found.is_empty(), "in functions that are not inlined into compiled ones (kernel.rs): {found:?}");
}

#[test]
fn extreme_values_have_the_same_bits_on_every_backend() {
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
