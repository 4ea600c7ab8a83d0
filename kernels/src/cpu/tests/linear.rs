//! Matrix products against sums in f64, and with equal bits on every backend and any division into rows.

use super::*;

#[test]
fn linear_over_overlapping_rows_is_a_convolution() {
    for format in [Format::F32, Format::Bf16, Format::Q8, Format::Q4] {
        for (rows, cols, count, stride) in [(5, 64, 1, 64), (37, 96, 3, 32), (64, 32, 40, 8), (16, 160, 250, 160), (3, 33, 9, 33)]
        {
            let mut backend = CpuBackend::new(1).with_activations(Activations::F32);
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
fn layer_norm_and_rms_norm_come_before_the_product() {
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

proptest! {
    #![proptest_config(config())]

    #[test]
    fn linear_has_the_same_bits_on_every_backend(
        rows in 1usize..200, cols in 1usize..150, count in 1usize..40, overlap in 0usize..3,
        format in formats(),
        act in prop_oneof![Just(Act::None), Just(Act::Gelu), Just(Act::Relu)],
        biased: bool, norm in 0usize..3, add: bool, wide: bool, activations in both_activations(),
    ) {
        let cols = columns(format, cols);
        // Some cases have enough rows for threads to divide the rows.
        let (rows, count) = if wide { (rows.min(40), count + 290) } else { (rows, count) };
        let stride = (cols >> overlap).max(1);
        let (data, x) = (noise(1, rows * cols), noise(3, (count - 1) * stride + cols));
        same_everywhere("linear", |backend| {
            backend.activations = activations;
            let norm = (norm > 0).then(|| Norm { weight: buf(backend, &noise(4, cols)), bias: (norm == 2).then(|| buf(backend, &noise(5, cols))), eps: 1e-5 });
            let (weight, bias) = (backend.mat(rows, cols, &data, format).unwrap(), biased.then(|| buf(backend, &noise(2, rows))));
            let (x, mut y) = (buf(backend, &x), buf(backend, &noise(6, count * rows)));
            backend.linear(&Linear { weight, bias, norm, act, add }, &x, Rows { count, at: 0, stride }, &mut y, Rows::packed(count, rows));
            y.to_vec()
        });
    }

    #[test]
    fn dequantized_weights_have_the_bits_of_their_f32_values(
        rows in 1usize..90, blocks in 1usize..9, count in 1usize..40, wide: bool, norm: bool,
    ) {
        let (cols, count) = (32 * blocks, if wide { count + 290 } else { count });
        let ints: Vec<i8> = noise(1, rows * cols).iter().map(|x| (x * 128.0) as i8).collect();
        let scales = noise(2, rows * blocks);
        let values: Vec<f32> = ints.chunks(32).zip(&scales).flat_map(|(ints, s)| ints.iter().map(move |i| s * f32::from(*i))).collect();
        let x = noise(3, count * cols);
        let mut first = None;
        for mut backend in backends() {
            let (small, large) = (backend.mat_dequantized(rows, cols, &ints, &scales).unwrap(), backend.mat(rows, cols, &values, Format::F32).unwrap());
            prop_assert_eq!((unpacked(&small), small.format()), (values.clone(), Format::F32));
            prop_assert!(small.bytes() < large.bytes() / 3);
            for weight in [small, large] {
                let norm = norm.then(|| Norm { weight: buf(&mut backend, &noise(4, cols)), bias: None, eps: 1e-5 });
                let linear = Linear::<CpuBackend> { weight, bias: None, norm, act: Act::Gelu, add: false };
                let (x, mut y) = (buf(&mut backend, &x), backend.buf(count * rows).unwrap());
                backend.linear(&linear, &x, Rows::packed(count, cols), &mut y, Rows::packed(count, rows));
                prop_assert_eq!(first.get_or_insert_with(|| bits(&y)), &bits(&y), "{}", backend.isa().name());
            }
        }
    }

    /// The order of sums is the same in q4 and q8, so equal integers and scales give equal bits.
    #[test]
    fn q4_and_q8_of_the_same_integers_have_the_same_bits(rows in 1usize..90, blocks in 1usize..5, count in 1usize..30, seed in any::<u8>(), activations in both_activations()) {
        let cols = 32 * blocks;
        let nibbles: Vec<u8> = noise(1, rows * cols / 2).iter().map(|x| (x * 127.0) as i8 as u8 ^ seed).collect();
        let (ints, scales) = (crate::quant::ints_of(&nibbles).collect::<Vec<_>>(), noise(2, rows * blocks));
        let x = noise(3, count * cols);
        let mut first = None;
        for mut backend in backends() {
            backend.activations = activations;
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
    fn rows_one_by_one_have_the_bits_of_rows_together(
        rows in 1usize..90, cols in 1usize..130, count in 2usize..30,
        format in formats(), activations in both_activations(),
    ) {
        let cols = columns(format, cols);
        for isa in simd() {
            let mut backend = CpuBackend::with_isa(2, isa).with_activations(activations);
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
}
