//! Codecs with random weights of any configuration, and functions that feed a codec in pieces.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use sideman_engine::codec::Codec;
use sideman_engine::model::{Analysis, CodecConfig, IstftConfig, LookAhead, Phase, QuantizerKind, SeanetConfig, Tensors};
use sideman_kernels::Backend;

use crate::rng::Rng;

/// Tensors by name, each with its shape and values.
pub type Named = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Writes a safetensors file of f32 tensors.
pub fn save(path: &Path, tensors: &Named) {
    let bytes: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(n, (s, v))| (n, (s, v.iter().flat_map(|x| x.to_le_bytes()).collect()))).collect();
    let views = bytes.iter().map(|(n, (s, b))| (n, TensorView::new(Dtype::F32, s.to_vec(), b).expect("sizes fit")));
    std::fs::write(path, safetensors::serialize(views, None).expect("serializes")).expect("written");
}

/// Writes the tensors to a temporary file and loads a codec from it.
pub fn codec<B: Backend>(backend: &mut B, config: &CodecConfig, tensors: &Named) -> Codec<B> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("codec.safetensors");
    save(&path, tensors);
    Codec::read(backend, config, Tensors::open(&path).expect("opens")).expect("loads")
}

/// A test signal at a usual level: a tone, a sweep and noise.
pub fn signal(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng(seed);
    let tone = |i: usize| {
        let t = i as f32 / 32_000.0;
        0.3 * (520.0 * t).sin() + 0.2 * ((900.0 + 5000.0 * t) * t).sin()
    };
    (0..len).map(|i| tone(i) + 0.1 * rng.value()).collect()
}

/// A small configuration of kind `istft` with the STFT sizes of the house model.
pub fn istft() -> IstftConfig {
    IstftConfig {
        causal: true,
        dim: 20,
        latent: 10,
        ffn: 36,
        kernel: 7,
        eps: 1e-6,
        encoder_blocks: 2,
        encoder_blocks50: 1,
        decoder_blocks50: 1,
        decoder_blocks: 2,
        analysis: vec![Analysis { n_fft: 512, bins: 257 }, Analysis { n_fft: 2048, bins: 512 }],
        analysis_ahead: 640,
        n_fft: 1280,
        hop: 320,
        max_log: 7.0,
        phase: Phase::Predicted,
        locked_from: 0,
        noise_seed: None,
        quantizer: QuantizerKind::Factorised,
        code_dim: 8,
        books: 2,
        card: 64,
        look_ahead: LookAhead { encode: 1, decode: 1 },
    }
}

/// Random weights of kind `istft` (docs/reference/model-format.md), scaled so that a signal neither vanishes nor explodes.
pub fn random_istft(c: &IstftConfig, seed: u64) -> Named {
    let (mut out, mut rng) = (Named::new(), Rng(seed));
    let mut put = |name: String, shape: &[usize], scale: f32, mean: f32| {
        let values = rng.values(shape.iter().product(), scale).iter().map(|v| v + mean).collect();
        out.insert(name, (shape.to_vec(), values));
    };
    let mut linear = |name: &str, rows: usize, cols: usize| {
        put(format!("{name}.weight"), &[rows, cols], 1.7 / (cols as f32).sqrt(), 0.0);
        put(format!("{name}.bias"), &[rows], 0.3, 0.0);
    };
    let features = c.analysis.iter().map(|a| a.bins).sum();
    linear("encoder.in", c.dim, features);
    linear("encoder.down", c.dim, 2 * c.dim);
    linear("encoder.out", c.latent, c.dim);
    linear("decoder.in", c.dim, c.latent);
    linear("decoder.up", 2 * c.dim, c.dim);
    linear("decoder.head", c.n_fft + 2, c.dim);
    let stacks = [
        ("encoder.blocks", c.encoder_blocks),
        ("encoder.blocks50", c.encoder_blocks50),
        ("decoder.blocks50", c.decoder_blocks50),
        ("decoder.blocks", c.decoder_blocks),
    ];
    let blocks: Vec<String> = stacks.iter().flat_map(|(s, n)| (0..*n).map(move |i| format!("{s}.{i}"))).collect();
    for b in &blocks {
        linear(&format!("{b}.pw1"), c.ffn, c.dim);
        linear(&format!("{b}.pw2"), c.dim, c.ffn);
    }
    for q in 0..c.books {
        linear(&format!("quantizer.vq.quantizers.{q}.in_proj"), c.code_dim, c.latent);
        linear(&format!("quantizer.vq.quantizers.{q}.out_proj"), c.latent, c.code_dim);
    }
    for q in 0..c.books {
        put(format!("quantizer.vq.quantizers.{q}.codebook.weight"), &[c.card, c.code_dim], 1.0, 0.0);
    }
    for b in &blocks {
        put(format!("{b}.dw.weight"), &[c.dim, c.kernel], 0.5, 0.0);
        put(format!("{b}.dw.bias"), &[c.dim], 0.1, 0.0);
    }
    let norms = blocks.iter().cloned().chain(["encoder".to_owned(), "decoder".to_owned()]);
    for n in norms.collect::<Vec<_>>() {
        put(format!("{n}.norm.weight"), &[c.dim], 0.3, 1.0);
        put(format!("{n}.norm.bias"), &[c.dim], 0.3, 0.0);
    }
    out
}

/// Random weights of kind `seanet` (docs/reference/model-format.md), scaled so that a signal neither vanishes nor explodes.
pub fn random_seanet(c: &SeanetConfig, seed: u64) -> Named {
    let (mut out, mut rng) = (Named::new(), Rng(seed));
    let mut put = |name: String, shape: &[usize], scale: f32| {
        out.insert(name, (shape.to_vec(), rng.values(shape.iter().product(), scale)));
    };
    let mut conv = |name: String, shape: [usize; 3], bias: usize| {
        // In a transposed convolution, two taps of each input channel reach a sample.
        let inputs = if name.ends_with("convtr") { 2 * shape[0] } else { shape[1] * shape[2] };
        put(format!("{name}.weight"), &shape, 1.7 / (inputs as f32).sqrt());
        put(format!("{name}.bias"), &[bias], 0.1);
    };
    let residual = |conv: &mut dyn FnMut(String, [usize; 3], usize), name: String, width: usize| {
        let hidden = width / c.compress;
        conv(format!("{name}.block.1.conv.conv"), [hidden, width, c.residual_kernel], hidden);
        conv(format!("{name}.block.3.conv.conv"), [width, hidden, 1], width);
    };
    let (mut width, mut n) = (c.filters, 1);
    conv("encoder.model.0.conv.conv".into(), [width, c.channels, c.kernel], width);
    for ratio in c.ratios.iter().rev() {
        residual(&mut conv, format!("encoder.model.{n}"), width);
        conv(format!("encoder.model.{}.conv.conv", n + 2), [2 * width, width, 2 * ratio], 2 * width);
        (width, n) = (2 * width, n + 3);
    }
    let (widest, lstm) = (width, n);
    conv(format!("encoder.model.{}.conv.conv", n + 2), [c.dim, width, c.last_kernel], c.dim);
    conv("decoder.model.0.conv.conv".into(), [width, c.dim, c.kernel], width);
    n = 3;
    for ratio in &c.ratios {
        conv(format!("decoder.model.{n}.convtr.convtr"), [width, width / 2, 2 * ratio], width / 2);
        residual(&mut conv, format!("decoder.model.{}", n + 1), width / 2);
        (width, n) = (width / 2, n + 3);
    }
    conv(format!("decoder.model.{n}.conv.conv"), [c.channels, width, c.last_kernel], c.channels);
    for name in [format!("encoder.model.{lstm}.lstm"), "decoder.model.1.lstm".into()] {
        for l in 0..c.lstm {
            for what in ["ih", "hh"] {
                put(format!("{name}.weight_{what}_l{l}"), &[4 * widest, widest], 1.0 / (widest as f32).sqrt());
                put(format!("{name}.bias_{what}_l{l}"), &[4 * widest], 0.1);
            }
        }
    }
    for q in 0..c.books {
        let Some(code) = c.code_dim else {
            put(format!("quantizer.vq.layers.{q}._codebook.embed"), &[c.card, c.dim], 0.5);
            continue;
        };
        let name = format!("quantizer.vq.quantizers.{q}");
        put(format!("{name}.in_proj.weight"), &[code, c.dim], 1.7 / (c.dim as f32).sqrt());
        put(format!("{name}.in_proj.bias"), &[code], 0.3);
        put(format!("{name}.out_proj.weight"), &[c.dim, code], 1.7 / (code as f32).sqrt());
        put(format!("{name}.out_proj.bias"), &[c.dim], 0.3);
        put(format!("{name}.codebook.weight"), &[c.card, code], 1.0);
    }
    out
}

/// Encodes a signal in pieces; `next` gives the length of each in samples.
pub fn encode_in_pieces<B: Backend>(
    backend: &mut B,
    codec: &Codec<B>,
    samples: &[f32],
    mut next: impl FnMut() -> usize,
) -> Vec<u32> {
    let mut encoder = codec.encoder(backend).expect("fits");
    let (mut codes, mut at) = (Vec::new(), 0);
    while at < samples.len() {
        let n = next().min(samples.len() - at);
        encoder.push(backend, &samples[at..at + n], &mut codes);
        at += n;
        assert_eq!(codes.len(), codec.books() * codec.known_frames(at), "frames after {at} samples");
    }
    encoder.finish(backend, &mut codes);
    codes
}

/// Decodes codes in pieces; `next` gives the length of each in frames.
pub fn decode_in_pieces<B: Backend>(
    backend: &mut B,
    codec: &Codec<B>,
    codes: &[u32],
    mut next: impl FnMut() -> usize,
) -> Vec<f32> {
    let mut decoder = codec.decoder(backend).expect("fits");
    let (mut samples, mut at, books) = (Vec::new(), 0, codec.books());
    while at < codes.len() {
        let n = (next() * books).min(codes.len() - at);
        decoder.push(backend, &codes[at..at + n], &mut samples).expect("codes in range");
        at += n;
        assert_eq!(samples.len(), codec.known_samples(at / books), "samples after {} frames", at / books);
    }
    decoder.finish(backend, &mut samples);
    samples
}
