//! Operations of the codecs' networks: LSTM, depthwise convolution, ELU, Fourier transforms.

use super::*;

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
    let weights = Depthwise { taps: buf(&mut backend, &w), bias: buf(&mut backend, &bias), kernel, dim };
    let (xb, mut y) = (buf(&mut backend, &x), backend.buf(count * dim).unwrap());
    backend.depthwise(&weights, &xb, at, count, &mut y);
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
fn spectra_are_log_magnitudes_of_windows() {
    let (n_fft, bins, hop, count, first_end) = (48, 20, 10, 4, 53);
    let x = noise(1, first_end + 3 * hop);
    let mut backend = CpuBackend::new(1);
    let (xb, mut y) = (buf(&mut backend, &x), backend.buf(3 + count * 30).unwrap());
    backend.spectrum(Stft { n_fft, hop, bins }, &xb, first_end, &mut y, Rows { count, at: 3 + 7, stride: 30 });
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
fn istft_is_windowed_overlap_add_divided_by_the_steady_envelope() {
    let (n_fft, hop, count, half) = (40, 10, 9, 21);
    let x: Vec<f32> = noise(1, count * 2 * half).iter().map(|x| x * 3.0).collect();
    let mut backend = CpuBackend::new(1);
    let (xb, mut tail, mut y) = (buf(&mut backend, &x), backend.buf(n_fft).unwrap(), backend.buf(2 + count * hop).unwrap());
    // Two calls: the tail is carried over.
    let stft = InverseStft { n_fft, hop };
    let mut spectra = backend.buf(x.len()).unwrap();
    backend.polar_spectra(half, 2.0, &xb, Rows::packed(count, 2 * half), &mut spectra, Rows::packed(count, 2 * half));
    backend.istft(stft, &spectra, Rows::packed(4, 2 * half), &mut tail, &mut y, 2);
    backend.istft(stft, &spectra, Rows { count: 5, at: 4 * 2 * half, stride: 2 * half }, &mut tail, &mut y, 2 + 4 * hop);
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

/// The reference in f64, a frame at a time, with a search for the peak of each bin.
#[test]
fn locked_spectra_follow_their_equations() {
    let (n_fft, hop, count, half) = (64usize, 20, 12, 33);
    let x: Vec<f32> = noise(3, count * 2 * half).iter().map(|x| x * 3.0).collect();
    let mut backend = CpuBackend::new(1);
    let (xb, mut state, mut y) = (buf(&mut backend, &x), backend.ints(half + 1).unwrap(), backend.buf(x.len()).unwrap());
    let from = 6;
    let spec = LockedSpectra { stft: InverseStft { n_fft, hop }, max_log: 1.5, locked_from: from, noise_seed: 3 };
    // Two calls: phases and the number of rows are carried over.
    for rows in [Rows::packed(5, 2 * half), Rows { count: 7, at: 5 * 2 * half, stride: 2 * half }] {
        backend.locked_spectra(spec, &xb, rows, &mut state, &mut y, rows);
    }
    let tau = std::f64::consts::TAU;
    let mut turns = vec![0.0; half];
    let mut want = Vec::new();
    for t in 0..count {
        let row: Vec<f64> = x[t * 2 * half..][..2 * half].iter().map(|x| f64::from(*x)).collect();
        let (l, u) = row.split_at(half);
        let peak = |mut k: usize| {
            loop {
                let near = [k.saturating_sub(1), k, (k + 1).min(half - 1)];
                let best = *near.iter().max_by(|a, b| l[**a].total_cmp(&l[**b])).expect("three");
                if best == k {
                    return k;
                }
                k = best;
            }
        };
        let advanced = |p: usize| {
            let offset = match (p, l.get(p + 1)) {
                (0, _) | (_, None) => 0.0,
                (_, Some(c)) => 0.5 * (l[p - 1] - c) / (l[p - 1] - 2.0 * l[p] + c),
            };
            turns[p] + (p as f64 + offset) * hop as f64 / n_fft as f64
        };
        turns = (0..half).map(|k| advanced(peak(k))).collect();
        let sample = |i: usize| f64::from(locked::white_noise((t * hop + i) as u32, 3));
        let parts = (0..half).map(|k| {
            let (mut re, mut im) = (0.0, 0.0);
            for i in 0..n_fft {
                let v = sample(i) * (0.5 - 0.5 * (tau * i as f64 / n_fft as f64).cos()) / (0.375 * n_fft as f64).sqrt();
                let angle = tau * ((k * i) % n_fft) as f64 / n_fft as f64;
                (re, im) = (re + v * angle.cos(), im - v * angle.sin());
            }
            let (magnitude, share) = (l[k].min(1.5).exp(), 1.0 / (1.0 + (-u[k]).exp()));
            let noise = magnitude * (share / std::f64::consts::LN_2).sqrt();
            let tone = magnitude * (1.0 - share).sqrt() * if k % 2 == 0 { 1.0 } else { -1.0 };
            let angle = tau * turns[k];
            if k < from {
                let magnitude = l[k].min(1.5).exp();
                return (magnitude * u[k].cos(), if k == 0 { 0.0 } else { magnitude * u[k].sin() });
            }
            (noise * re + tone * angle.cos(), if k == 0 || k == half - 1 { 0.0 } else { noise * im + tone * angle.sin() })
        });
        let (re, im): (Vec<f64>, Vec<f64>) = parts.unzip();
        want.extend([re, im].concat());
    }
    close("locked", &y, &want, 2e-5);
}

#[test]
fn locked_spectra_have_the_same_bits_on_every_instruction_set() {
    let (n_fft, half, count) = (512usize, 257, 9);
    let mut x: Vec<f32> = noise(5, count * 2 * half).iter().map(|x| x * 40.0).collect();
    x[3] = f32::NAN;
    x[half + 7] = f32::INFINITY;
    x[2 * half + 5] = f32::NEG_INFINITY;
    same_everywhere("locked spectra", |backend| {
        let (xb, mut state, mut y) = (buf(backend, &x), backend.ints(half + 1).unwrap(), backend.buf(x.len()).unwrap());
        let spec = LockedSpectra { stft: InverseStft { n_fft, hop: 160 }, max_log: 7.0, locked_from: 20, noise_seed: 1 };
        let rows = Rows::packed(count, 2 * half);
        backend.locked_spectra(spec, &xb, rows, &mut state, &mut y, rows);
        // NaN has many bit patterns.
        y.iter()
            .map(|y| if y.is_nan() { -1.0 } else { *y })
            .chain(state.iter().map(|s| f32::from_bits(*s as u32 & 0x3fff_ffff)))
            .collect()
    });
}

#[test]
fn spectra_and_signals_have_the_same_bits_on_every_backend_and_in_parts() {
    let (n_fft, half, hop, count) = (128usize, 65, 32, 11);
    let mut x: Vec<f32> = noise(7, count * 2 * half).iter().map(|x| x * 20.0).collect();
    (x[0], x[1], x[2], x[half]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30);
    let bits_of = |x: &[f32]| x.iter().map(|x| if x.is_nan() { -1.0 } else { *x }).collect::<Vec<f32>>();
    let mut whole: Option<Vec<f32>> = None;
    for cut in [count, 4, 1] {
        same_everywhere("Fourier transforms", |backend| {
            let (xb, mut tail) = (buf(backend, &x), backend.buf(n_fft).unwrap());
            let (mut spectra, mut signal) = (backend.buf(x.len()).unwrap(), backend.buf(count * hop).unwrap());
            let mut features = backend.buf(count * 50).unwrap();
            for from in (0..count).step_by(cut) {
                let rows = Rows { count: cut.min(count - from), at: from * 2 * half, stride: 2 * half };
                backend.polar_spectra(half, 5.0, &xb, rows, &mut spectra, rows);
                // The first row is not finite.
                backend.zero(&mut spectra, 0, 2 * half);
                backend.istft(InverseStft { n_fft, hop }, &spectra, rows, &mut tail, &mut signal, from * hop);
                let rows = Rows { count: rows.count, at: from * 50, stride: 50 };
                backend.spectrum(Stft { n_fft, hop, bins: 50 }, &xb, n_fft + 2 * half + from * hop, &mut features, rows);
            }
            let out = bits_of(&[&spectra[..], &signal[..], &features[..]].concat());
            assert_eq!(bits(whole.get_or_insert_with(|| out.clone())), bits(&out), "in parts of {cut}");
            out
        });
    }
}

#[test]
fn white_noise_has_variance_one_and_no_memory() {
    let x: Vec<f64> = (0..100_000).map(|i| f64::from(locked::white_noise(i, 9))).collect();
    let mean = |f: &dyn Fn(usize) -> f64| (0..x.len() - 8).map(f).sum::<f64>() / (x.len() - 8) as f64;
    assert!(mean(&|i| x[i]).abs() < 0.02);
    assert!((mean(&|i| x[i] * x[i]) - 1.0).abs() < 0.02);
    for lag in [1, 2, 7] {
        assert!(mean(&|i| x[i] * x[i + lag]).abs() < 0.02, "lag {lag}");
    }
    assert!(mean(&|i| x[i] * f64::from(locked::white_noise(i as u32, 10))).abs() < 0.02, "another seed");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn lstm_has_the_same_bits_on_every_backend_and_in_parts(size in 1usize..60, layers in 1usize..3, count in 1usize..80, cut in 1usize..79) {
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
    fn elu_and_depthwise_have_the_same_bits_on_every_backend(dim in 1usize..70, kernel in 1usize..9, count in 1usize..60, at in 0usize..9) {
        let (w, bias, x) = (noise(1, kernel * dim), noise(2, dim), noise(3, at + (count + kernel - 1) * dim));
        same_everywhere("depthwise", |backend| {
            let w = Depthwise { taps: buf(backend, &w), bias: buf(backend, &bias), kernel, dim };
            let (x, mut y) = (buf(backend, &x), backend.buf(count * dim).unwrap());
            backend.depthwise(&w, &x, at, count, &mut y);
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
