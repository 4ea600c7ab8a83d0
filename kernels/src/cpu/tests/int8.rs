//! Products of q8 and q4 weights with 8-bit activations against the rule, written here once more over row-major integers: equal bits
//! on every backend, for any shape and any values.

use super::*;
use crate::quant::{BLOCK, ints_of, to_int8};

/// The rule for one output: exact sums of blocks, then one accumulator over the blocks.
fn rule(ints: &[i8], scales: &[f32], x: &[f32]) -> f32 {
    let blocks = ints.as_chunks::<BLOCK>().0.iter().zip(x.as_chunks::<BLOCK>().0).zip(scales);
    blocks.fold(0.0, |acc, ((w, x), scale)| {
        let (x, x_scale) = to_int8(x);
        let sum: i64 = w.iter().zip(x).map(|(w, x)| i64::from(*w) * i64::from(x)).sum();
        assert!(sum.abs() < 1 << 24, "a sum that is exact in f32");
        (scale * x_scale).mul_add(sum as f32, acc)
    })
}

/// Values of every size: of ordinary noise, in turns with zeros, denormals, huge ones, and with `wild` such that are not finite.
fn values(seed: u64, len: usize, wild: bool) -> Vec<f32> {
    let extremes = [0.0, -0.0, 1e-40, -1e-45, f32::MIN_POSITIVE, 3e-36, -3e38, f32::MAX, 1e-20, 0.5];
    let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let kind = noise(seed + 1, len.div_ceil(BLOCK));
    noise(seed, len)
        .into_iter()
        .enumerate()
        .map(|(i, x)| match ((kind[i / BLOCK].abs() * 5.0) as usize, i % 7) {
            (0 | 1, _) => x,
            (2, _) => extremes[(x.abs() * 10.0) as usize % 10],
            (3, _) => x * 1e-38,
            (_, 0) if wild => strange[i % 3],
            _ => x.signum() * 7.0,
        })
        .collect()
}

/// Integers of weights: noise, or all at the ends of their range.
fn integers(seed: u64, len: usize, four: bool) -> Vec<i8> {
    let (low, high) = if four { (-8, 7) } else { (-128, 127) };
    noise(seed, len)
        .iter()
        .map(|x| {
            if *x < -0.7 {
                low
            } else if *x > 0.7 {
                high
            } else {
                (x * f32::from(high)) as i8
            }
        })
        .collect()
}

/// The product of weights [rows, cols] with rows of x on a backend.
fn run(backend: &mut CpuBackend, weight: Mat, x: &[f32]) -> Vec<f32> {
    let (rows, cols) = (weight.rows, weight.cols);
    let count = x.len() / cols;
    let linear = Linear::<CpuBackend> { weight, bias: None, norm: None, act: Act::None, add: false };
    let (x, mut y) = (buf(backend, x), backend.buf(count * rows).unwrap());
    backend.linear(&linear, &x, Rows::packed(count, cols), &mut y, Rows::packed(count, rows));
    y.to_vec()
}

/// Packs integers from -8 to 7 as a q4 file stores them.
fn nibbles(ints: &[i8]) -> Vec<u8> {
    ints.as_chunks::<2>().0.iter().map(|[low, high]| (low + 8) as u8 | ((high + 8) as u8) << 4).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn products_have_the_bits_of_the_rule_on_every_backend(
        rows in 1usize..150, blocks in 1usize..7, count in 1usize..30, four: bool, wild: bool, wide: bool, seed in 1u64..1000,
    ) {
        let cols = blocks * BLOCK;
        let (rows, count) = if wide { (rows.min(20), count + 290) } else { (rows, count) };
        let ints = integers(seed, rows * cols, four);
        let (scales, x) = (noise(seed + 7, rows * blocks), values(seed + 20, count * cols, wild));
        let mut want = Vec::new();
        for x in x.chunks(cols) {
            for (r, ints) in ints.chunks(cols).enumerate() {
                want.push(rule(ints, &scales[r * blocks..][..blocks], x));
            }
        }
        for mut backend in backends() {
            let weight = if four { backend.mat_q4(rows, cols, &nibbles(&ints), &scales) } else { backend.mat_q8(rows, cols, &ints, &scales) };
            let got = run(&mut backend, weight.unwrap(), &x);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                prop_assert_eq!(got.to_bits(), want.to_bits(), "{}: [{}] is {}, not {}", backend.isa().name(), i, got, want);
            }
        }
    }

    #[test]
    fn rows_are_quantized_as_the_specification_says_on_every_backend(blocks in 1usize..9, rows in 1usize..13, seed in 1u64..1000) {
        let x = values(seed, rows * blocks * BLOCK, true);
        let mut first: Option<Vec<i32>> = None;
        for backend in backends() {
            let mut tile = vec![0; rows * activations::row_len(blocks * BLOCK)];
            for (row, x) in x.chunks(blocks * BLOCK).enumerate() {
                crate::cpu::int8::quantize(backend.isa(), x, 128, &mut tile, row, rows);
            }
            prop_assert_eq!(first.get_or_insert_with(|| tile.clone()), &tile, "{}", backend.isa().name());
        }
    }
}

#[test]
fn the_largest_sums_do_not_overflow_on_any_backend() {
    for (four, w, x) in
        [(false, -128, 3.0), (false, -128, -3.0), (false, 127, 3.0), (true, -8, -3.0), (true, -8, 3.0), (true, 7, 3.0)]
    {
        let (ints, scales) = (vec![w; 20 * 64], vec![0.5; 20 * 2]);
        let want = rule(&ints[..64], &scales[..2], &[x; 64]);
        for mut backend in backends() {
            let weight =
                if four { backend.mat_q4(20, 64, &nibbles(&ints), &scales) } else { backend.mat_q8(20, 64, &ints, &scales) };
            let got = run(&mut backend, weight.unwrap(), &[x; 128]);
            assert_eq!(got, vec![want; 40], "{w} by {x} on {}", backend.isa().name());
        }
    }
}

#[test]
fn a_row_with_a_value_that_is_not_finite_gives_nan_and_other_rows_their_own_results() {
    let (rows, cols) = (40, 96);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for mut backend in backends() {
            for format in [Format::Q8, Format::Q4] {
                let mut x = noise(3, 3 * cols);
                let mat = |backend: &mut CpuBackend| backend.mat(rows, cols, &noise(1, rows * cols), format).unwrap();
                let weight = mat(&mut backend);
                let clean = run(&mut backend, weight, &x);
                x[cols + 50] = bad;
                let weight = mat(&mut backend);
                let got = run(&mut backend, weight, &x);
                assert!(got[rows..2 * rows].iter().all(|y| y.is_nan()));
                assert_eq!((&got[..rows], &got[2 * rows..]), (&clean[..rows], &clean[2 * rows..]));
            }
        }
    }
}

#[test]
fn products_are_close_to_those_with_f32_activations() {
    let (rows, cols, count) = (70, 256, 5);
    for (format, error) in [(Format::Q8, 0.01), (Format::Q4, 0.01)] {
        let x = noise(3, count * cols);
        let [ints, floats] = [Activations::Int8, Activations::F32].map(|activations| {
            let mut backend = CpuBackend::new(2).with_activations(activations);
            let weight = backend.mat(rows, cols, &noise(1, rows * cols), format).unwrap();
            run(&mut backend, weight, &x)
        });
        let square = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        let apart = square(&mut ints.iter().zip(&floats).map(|(a, b)| a - b)) / square(&mut floats.iter().copied());
        assert!(apart > 1e-4 && apart < error, "{format:?}: {apart}");
    }
}

#[test]
fn weights_of_floats_are_multiplied_the_same_with_either_activations() {
    for format in [Format::F32, Format::Bf16] {
        let [a, b] = [Activations::Int8, Activations::F32].map(|activations| {
            let mut backend = CpuBackend::new(2).with_activations(activations);
            let weight = backend.mat(37, 96, &noise(1, 37 * 96), format).unwrap();
            bits(&run(&mut backend, weight, &values(5, 3 * 96, true)))
        });
        assert_eq!(a, b);
    }
}

#[test]
fn the_integers_of_nibbles_are_those_that_were_packed() {
    let ints = integers(1, 64, true);
    assert_eq!(ints_of(&nibbles(&ints)).collect::<Vec<_>>(), ints);
}
