//! Codecs of kind `istft` against a direct f64 implementation of docs/reference/model-format.md.

use std::f64::consts::PI;

use sideman_engine::codec::Codec;
use sideman_engine::model::{Analysis, CodecConfig, IstftConfig, LookAhead};
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::codecs::{Named, codec, decode_in_pieces, encode_in_pieces, istft, random_istft, signal};

type Rows = Vec<Vec<f64>>;

/// The codec of the page, for whole signals.
struct Reference<'a> {
    c: &'a IstftConfig,
    w: &'a Named,
}

impl Reference<'_> {
    fn get(&self, name: &str) -> Vec<f64> {
        self.w[name].1.iter().map(|v| f64::from(*v)).collect()
    }

    fn linear(&self, name: &str, x: &Rows) -> Rows {
        let (w, b) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let row = |x: &Vec<f64>| (0..b.len()).map(|o| b[o] + dot(&w[o * x.len()..][..x.len()], x)).collect();
        x.iter().map(row).collect()
    }

    fn norm(&self, name: &str, x: &Rows) -> Rows {
        let (w, b) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let row = |x: &Vec<f64>| {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let s = (var + f64::from(self.c.eps)).sqrt();
            x.iter().enumerate().map(|(i, v)| (v - mean) / s * w[i] + b[i]).collect()
        };
        x.iter().map(row).collect()
    }

    fn blocks(&self, name: &str, count: usize, mut x: Rows) -> Rows {
        let k = self.c.kernel;
        for i in 0..count {
            let b = format!("{name}.{i}");
            let (w, bias) = (self.get(&format!("{b}.dw.weight")), self.get(&format!("{b}.dw.bias")));
            let at = |t: usize, c: usize| -> f64 {
                let taps = (0..k).filter(|i| t + 1 + i >= k).map(|i| w[c * k + i] * x[t + 1 + i - k][c]);
                bias[c] + taps.sum::<f64>()
            };
            let y: Rows = (0..x.len()).map(|t| (0..self.c.dim).map(|c| at(t, c)).collect()).collect();
            let mut y = self.linear(&format!("{b}.pw1"), &self.norm(&format!("{b}.norm"), &y));
            y.iter_mut().flatten().for_each(|v| *v = gelu(*v));
            for (x, y) in x.iter_mut().zip(self.linear(&format!("{b}.pw2"), &y)) {
                x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
            }
        }
        x
    }

    fn latents(&self, samples: &[f32]) -> Rows {
        let c = self.c;
        let sample = |n: i64| usize::try_from(n).ok().and_then(|n| samples.get(n)).map_or(0.0, |v| f64::from(*v));
        let features = |j: usize| {
            let end = (c.hop * (j + 1) + c.analysis_ahead) as i64;
            let one = |a: &Analysis| {
                let n = a.n_fft;
                let x: Vec<f64> = (0..n).map(|i| sample(end - n as i64 + i as i64) * hann(i, n)).collect();
                let turn: Vec<(f64, f64)> = (0..n).map(|i| (2.0 * PI * i as f64 / n as f64).sin_cos()).collect();
                let bin = |k: usize| {
                    let (im, re) = x.iter().enumerate().fold((0.0, 0.0), |(im, re), (i, x)| {
                        let (s, c) = turn[k * i % n];
                        (im - x * s, re + x * c)
                    });
                    (((im * im + re * re).sqrt() * 4.0 / n as f64 + 1e-5).ln() + 6.0) / 3.0
                };
                (0..a.bins).map(bin).collect::<Vec<_>>()
            };
            c.analysis.iter().flat_map(one).collect()
        };
        let frames = samples.len().div_ceil(2 * c.hop);
        let fine: Rows = (0..2 * frames).map(features).collect();
        let fine = self.blocks("encoder.blocks", c.encoder_blocks, self.linear("encoder.in", &fine));
        let pairs: Rows = fine.chunks(2).map(<[Vec<f64>]>::concat).collect();
        let x = self.blocks("encoder.blocks50", c.encoder_blocks50, self.linear("encoder.down", &pairs));
        self.linear("encoder.out", &self.norm("encoder.norm", &x))
    }

    /// The latent of each code of codebook `q`.
    fn code_latents(&self, q: usize) -> Rows {
        let codes = self.get(&format!("quantizer.vq.quantizers.{q}.codebook.weight"));
        let codes: Rows = codes.chunks(self.c.code_dim).map(<[f64]>::to_vec).collect();
        self.linear(&format!("quantizer.vq.quantizers.{q}.out_proj"), &codes)
    }

    /// The codes of a frame's latent, up to the first codebook whose two best scores are too close to tell.
    fn codes(&self, latent: &[f64]) -> Vec<u32> {
        let (mut r, mut out) = (latent.to_vec(), Vec::new());
        for q in 0..self.c.books {
            let p = format!("quantizer.vq.quantizers.{q}");
            let e = &self.linear(&format!("{p}.in_proj"), &vec![r.clone()])[0];
            let cosine = |c: &[f64]| dot(e, c) / dot(e, e).sqrt() / dot(c, c).sqrt();
            let scores: Vec<f64> = self.get(&format!("{p}.codebook.weight")).chunks(self.c.code_dim).map(cosine).collect();
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            if scores[order[0]] - scores[order[1]] < 1e-4 {
                break;
            }
            out.push(order[0] as u32);
            r.iter_mut().zip(&self.code_latents(q)[order[0]]).for_each(|(r, m)| *r -= m);
        }
        out
    }

    fn decode(&self, codes: &[u32]) -> Vec<f64> {
        let c = self.c;
        let books: Vec<Rows> = (0..c.books).map(|q| self.code_latents(q)).collect();
        let latent = |codes: &[u32]| {
            let sum = |i| codes.iter().zip(&books).map(|(k, b)| b[*k as usize][i]).sum();
            (0..c.latent).map(sum).collect::<Vec<f64>>()
        };
        let z: Rows = codes.chunks(c.books).map(latent).collect();
        let x = self.blocks("decoder.blocks50", c.decoder_blocks50, self.linear("decoder.in", &z));
        let fine: Rows = self.linear("decoder.up", &x).iter().flat_map(|r| r.chunks(c.dim).map(<[f64]>::to_vec)).collect();
        let fine = self.blocks("decoder.blocks", c.decoder_blocks, fine);
        let head = self.linear("decoder.head", &self.norm("decoder.norm", &fine));

        let (n, half) = (c.n_fft, c.n_fft / 2);
        let mut out = vec![0.0; z.len() * 2 * c.hop];
        let turn: Vec<(f64, f64)> = (0..n).map(|i| (2.0 * PI * i as f64 / n as f64).sin_cos()).collect();
        for (j, row) in head.iter().enumerate() {
            let size = |k: usize| row[k].min(f64::from(c.max_log)).exp();
            let (re, im): (Vec<f64>, Vec<f64>) =
                (0..=half).map(|k| (size(k) * row[half + 1 + k].cos(), size(k) * row[half + 1 + k].sin())).unzip();
            for i in 0..n {
                let edges = re[0] + re[half] * if i % 2 == 0 { 1.0 } else { -1.0 };
                let inner = (1..half).map(|k| re[k] * turn[k * i % n].1 - im[k] * turn[k * i % n].0).sum::<f64>();
                let at = (c.hop * j + c.hop / 2 + i) as i64 - half as i64;
                if let Some(out) = usize::try_from(at).ok().and_then(|at| out.get_mut(at)) {
                    *out += (edges + 2.0 * inner) / n as f64 * hann(i, n);
                }
            }
        }
        let envelope = |r: usize| {
            // Every window over an endless stream that holds sample r.
            let first = (r + half + n * c.hop - c.hop / 2) % c.hop;
            (first..n).step_by(c.hop).map(|i| hann(i, n).powi(2)).sum::<f64>()
        };
        out.iter().enumerate().map(|(i, v)| v / envelope(i % c.hop)).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn hann(i: usize, n: usize) -> f64 {
    0.5 - 0.5 * (2.0 * PI * i as f64 / n as f64).cos()
}

/// x/2 · (1 + erf(x/√2)), erf by its series, or by its continued fraction where that is long.
fn gelu(x: f64) -> f64 {
    let z = x.abs() / 2f64.sqrt();
    let erf = if z < 3.0 {
        let (mut term, mut sum) = (z, z);
        for n in 1..200 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / PI.sqrt()
    } else {
        let tail = (1..60).rev().fold(0.0, |f, n| f64::from(n) / 2.0 / (z + f));
        1.0 - (-z * z).exp() / PI.sqrt() / (z + tail)
    };
    x / 2.0 * (1.0 + erf.copysign(x))
}

/// The real windows, and the corners: no block, no look-ahead, one that fits no frame, a short window, a kernel of 1.
fn configs() -> Vec<IstftConfig> {
    let bare = IstftConfig {
        encoder_blocks: 0,
        encoder_blocks50: 0,
        decoder_blocks50: 0,
        decoder_blocks: 0,
        analysis: vec![Analysis { n_fft: 512, bins: 40 }],
        analysis_ahead: 0,
        n_fft: 640,
        // Low enough to clip many magnitudes.
        max_log: 0.1,
        books: 1,
        look_ahead: LookAhead { encode: 0, decode: 1 },
        ..istft()
    };
    let odd = IstftConfig {
        kernel: 1,
        encoder_blocks50: 0,
        decoder_blocks: 1,
        analysis: vec![Analysis { n_fft: 1000, bins: 30 }, Analysis { n_fft: 64, bins: 33 }],
        analysis_ahead: 777,
        n_fft: 1760,
        look_ahead: LookAhead { encode: 2, decode: 2 },
        ..istft()
    };
    vec![istft(), bare, odd]
}

#[test]
fn the_codec_agrees_with_its_specification() {
    let backend = &mut CpuBackend::new(1);
    for (i, c) in configs().iter().enumerate() {
        let weights = random_istft(c, 40 + i as u64);
        let codec: Codec<CpuBackend> = codec(backend, &CodecConfig::Istft(c.clone()), &weights);
        let reference = Reference { c, w: &weights };
        let audio = signal(11 * 640 + 77, 12);
        let codes = codec.encode(backend, &audio).unwrap();
        let want: Vec<Vec<u32>> = reference.latents(&audio).iter().map(|z| reference.codes(z)).collect();
        assert_eq!(codes.len(), want.len() * c.books);
        for (f, (got, want)) in codes.chunks(c.books).zip(&want).enumerate() {
            assert_eq!(&got[..want.len()], want, "config {i}, frame {f}");
        }
        let clear: usize = want.iter().map(Vec::len).sum();
        assert!(clear * 10 >= codes.len() * 9, "config {i}: only {clear} of {} codes can be compared", codes.len());
        assert!(codes.chunks(c.books).any(|f| f != &codes[..c.books]), "config {i}: the codes never change");

        let (got, want) = (codec.decode(backend, &codes).unwrap(), reference.decode(&codes));
        assert_eq!(got.len(), want.len());
        let size = want.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let worst = got.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(size > 1e-3 && worst <= 1e-5 * size.max(1.0), "config {i}: the largest error is {worst}, the peak is {size}");

        for frames in [1, 5] {
            assert_eq!(encode_in_pieces(backend, &codec, &audio, || frames * 640 + 3), codes, "config {i}");
            assert_eq!(decode_in_pieces(backend, &codec, &codes, || frames), got, "config {i}");
        }
    }
}

#[test]
fn the_references_gelu_is_accurate() {
    for (x, y) in [(0.0, 0.0), (1.0, 0.841_344_746_068_542_9), (-1.0, -0.158_655_253_931_457_05), (-5.0, -1.433_257_859_6e-6)] {
        assert!((gelu(x) - y).abs() < 1e-12, "gelu({x}) = {}", gelu(x));
    }
    assert!((gelu(4.242) - gelu(4.243) + 0.001).abs() < 1e-6, "gelu has a step where its two formulas meet");
}
