//! The operations of source separators.

use super::*;
use crate::{GroupNorm, Groups, SeparatorBackend};

fn group_norm(backend: &mut CpuBackend, width: usize) -> GroupNorm<CpuBackend> {
    GroupNorm { weight: buf(backend, &noise(1, width)), bias: buf(backend, &noise(2, width)), eps: 1e-5 }
}

/// Group normalisation in f64.
fn normed(at: Groups, x: &[f32]) -> Vec<f64> {
    let Groups { groups, rows, width } = at;
    let (weight, bias) = (noise(1, width), noise(2, width));
    let mut y = vec![0.0; at.len()];
    for g in 0..groups {
        let index = move |r: usize, c: usize| (r * groups + g) * width + c;
        let all: Vec<f64> = (0..rows).flat_map(|r| (0..width).map(move |c| f64::from(x[index(r, c)]))).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64;
        for (r, c) in (0..rows).flat_map(|r| (0..width).map(move |c| (r, c))) {
            let unit = (f64::from(x[index(r, c)]) - mean) / (variance + 1e-5).sqrt();
            y[index(r, c)] = unit * f64::from(weight[c]) + f64::from(bias[c]);
        }
    }
    y
}

fn shapes() -> impl Strategy<Value = Groups> {
    (1usize..20, 1usize..60, 1usize..20).prop_map(|(groups, rows, half)| Groups { groups, rows, width: 2 * half })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn group_normalisation_equals_its_definition(at in shapes(), seed: u64, offset in -3.0f32..3.0) {
        let x: Vec<f32> = noise(seed, at.len()).iter().map(|x| x + offset).collect();
        let mut cpu = CpuBackend::new(2);
        let w = group_norm(&mut cpu, at.width);
        let mut y = buf(&mut cpu, &x);
        cpu.group_norm(&w, at, false, &mut y);
        close("group_norm", &y, &normed(at, &x), 2e-4);
    }

    #[test]
    fn a_bias_is_added_to_each_row_before_gelu(rows in 1usize..40, width in 1usize..70, seed: u64, gelu: bool) {
        let x = noise(seed, rows * width);
        let run = |backend: &mut CpuBackend| {
            let (bias, mut y) = (buf(backend, &noise(5, width)), buf(backend, &x));
            backend.add_bias(&bias, gelu, &mut y, rows);
            y.to_vec()
        };
        same_everywhere("add_bias", run);
        let bias = noise(5, width);
        let want: Vec<f64> = (0..rows * width).map(|i| {
            let v = f64::from(x[i]) + f64::from(bias[i % width]);
            // The error function by its series is exact enough for |v| of a few.
            let erf = |z: f64| (0..80).fold((0.0, z), |(sum, term), n| (sum + term / f64::from(2 * n + 1), -term * z * z / f64::from(n + 1))).0 * 2.0 / std::f64::consts::PI.sqrt();
            if gelu { 0.5 * v * (1.0 + erf(v / std::f64::consts::SQRT_2)) } else { v }
        }).collect();
        close("add_bias", &run(&mut CpuBackend::new(1)), &want, 1e-5);
    }

    #[test]
    fn group_normalisation_has_the_same_bits_on_every_backend(at in shapes(), seed: u64, gelu: bool) {
        let x = noise(seed, at.len());
        same_everywhere("group_norm", |backend| {
            let w = group_norm(backend, at.width);
            let mut y = buf(backend, &x);
            backend.group_norm(&w, at, gelu, &mut y);
            y.to_vec()
        });
        same_everywhere("group_norm_glu", |backend| {
            let w = group_norm(backend, at.width);
            let (x, scale, mut y) = (buf(backend, &x), buf(backend, &noise(3, at.width / 2)), buf(backend, &noise(4, at.len() / 2)));
            backend.group_norm_glu(&w, at, &x, &scale, &mut y);
            y.to_vec()
        });
    }
}

#[test]
fn groups_of_many_rows_are_divided_without_a_change_of_bits() {
    for at in [Groups { groups: 1, rows: 9001, width: 12 }, Groups { groups: 512, rows: 40, width: 6 }] {
        let x = noise(5, at.len());
        same_everywhere("group_norm", |backend| {
            let w = group_norm(backend, at.width);
            let mut y = buf(backend, &x);
            backend.group_norm(&w, at, true, &mut y);
            y.to_vec()
        });
    }
}

#[test]
fn gated_values_are_scaled_and_added() {
    let at = Groups { groups: 3, rows: 50, width: 36 };
    let (x, y, scale) = (noise(6, at.len()), noise(7, at.len() / 2), noise(8, 18));
    let normed = normed(at, &x);
    let mut want = Vec::new();
    for (row, y) in normed.chunks_exact(36).zip(y.chunks_exact(18)) {
        want.extend((0..18).map(|c| f64::from(y[c]) + f64::from(scale[c]) * row[c] / (1.0 + (-row[18 + c]).exp())));
    }
    let mut cpu = CpuBackend::new(2);
    let w = group_norm(&mut cpu, at.width);
    let (x, scale, mut y) = (buf(&mut cpu, &x), buf(&mut cpu, &scale), buf(&mut cpu, &y));
    cpu.group_norm_glu(&w, at, &x, &scale, &mut y);
    close("group_norm_glu", &y, &want, 1e-4);
}

#[test]
fn gates_rows_and_sums_equal_their_definitions_on_every_backend() {
    let (rows, width) = (700, 37);
    let x = noise(9, rows * 2 * width);
    let mut want = Vec::new();
    for row in x.chunks_exact(2 * width) {
        want.extend((0..width).map(|c| f64::from(row[c]) / (1.0 + (-f64::from(row[width + c])).exp())));
    }
    same_everywhere("glu", |backend| {
        let (x, mut y) = (buf(backend, &x), buf(backend, &vec![0.0; rows * width]));
        backend.glu(&x, rows, width, &mut y);
        close("glu", &y, &want, 1e-5);
        y.to_vec()
    });
    same_everywhere("norm_rows", |backend| {
        let norm = Norm { weight: buf(backend, &noise(1, width)), bias: Some(buf(backend, &noise(2, width))), eps: 1e-5 };
        let (x, mut y) = (buf(backend, &x), buf(backend, &vec![0.0; rows * width]));
        backend.norm_rows(&norm, &x, rows, width, &mut y);
        let at = Groups { groups: rows, rows: 1, width };
        close("norm_rows", &y, &normed(at, &x), 2e-4);
        y.to_vec()
    });
    same_everywhere("add", |backend| {
        let (x, mut y) = (buf(backend, &x), buf(backend, &noise(10, 100)));
        backend.add(&x, 3, &mut y, 40, 50);
        let old = noise(10, 100);
        let sums: Vec<f32> =
            (0..100).map(|i| if (40..90).contains(&i) { old[i] + self::noise(9, 53)[i - 37] } else { old[i] }).collect();
        assert_eq!(bits(&y), bits(&sums));
        y.to_vec()
    });
}
