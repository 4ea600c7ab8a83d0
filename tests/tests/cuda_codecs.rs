//! Codecs on a GPU on paper that runs the shipped PTX and checks every access (tests/fakecuda): of any shape, fed in pieces, they
//! give what the processor gives; and a piece of the house codecs is one graph.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use sideman_engine::model::{Analysis, CodecConfig, IstftConfig, LookAhead, PadMode, QuantizerKind, SeanetConfig};
use sideman_fakecuda::Fake;
use sideman_kernels::Ops;
use sideman_kernels::cpu::Cpu;
use sideman_kernels::cuda::Cuda;
use sideman_tests::codecs::{Named, Noise, codec, decode_in, encode_in, istft, random_istft, random_seanet, signal};

/// Frames of the signals below.
const FRAMES: usize = 12;

/// Codes of a signal, and samples of random codes; with a seed in pieces of any length, without one in one piece.
fn play<O: Ops>(ops: &mut O, config: &CodecConfig, weights: &Named, pieces: Option<u64>) -> (Vec<u32>, Vec<f32>) {
    let codec = codec(ops, config, weights);
    let mut noise = Noise(pieces.unwrap_or(0));
    let mut length = |most: usize| if pieces.is_some() { 1 + noise.below(most) } else { usize::MAX / 64 };
    let heard = signal(FRAMES * codec.frame() - codec.frame() / 2, 3);
    let codes = encode_in(ops, &codec, &heard, || length(20 * codec.frame()));
    let mut noise = Noise(4);
    let drawn: Vec<u32> = (0..FRAMES * codec.books()).map(|_| noise.below(codec.card()) as u32).collect();
    let samples = decode_in(ops, &codec, &drawn, || length(20));
    (codes, samples)
}

/// Plays few codecs of random shape on both; the same ones each time (PROPTEST_CASES=100: more, PROPTEST_RNG_SEED=7: others).
fn held(shapes: impl Strategy<Value = CodecConfig>, weights: impl Fn(&CodecConfig) -> Named) {
    let set = |name| std::env::var(name).ok().and_then(|n| n.parse::<u32>().ok());
    let config = ProptestConfig {
        cases: set("PROPTEST_CASES").unwrap_or(3),
        rng_seed: RngSeed::Fixed(set("PROPTEST_RNG_SEED").unwrap_or(1).into()),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let words = (select(vec![75, 80]), select(vec!["eager", "lazy"]), select(vec!["reverse", "random"]));
    let played = TestRunner::new(config).run(&(shapes, words, any::<u64>()), |(config, (sm, when, order), seed)| {
        let weights = weights(&config);
        let (codes, samples) = play(&mut Cpu::new(1), &config, &weights, None);
        let fake = Fake::load(&format!("sm={sm} {when} order={order}")).unwrap();
        let mut cuda = Cuda::new(0).unwrap();
        let (on_gpu, near) = play(&mut cuda, &config, &weights, Some(seed));
        assert_eq!((cuda.fault(), fake.faults()), (None, vec![]));
        drop(cuda);
        assert_eq!(on_gpu, codes);
        assert_eq!(near.len(), samples.len());
        let off = near.iter().zip(&samples).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f32::max);
        assert!(off <= 1e-4, "samples {off:e} apart");
        Ok(())
    });
    played.unwrap_or_else(|e| panic!("{e}"));
}

/// Convolutions causal or centred, with zeros or mirrored, transposed ones, residual blocks, LSTMs, both quantizers.
#[test]
fn seanets_of_any_shape() {
    let sizes = (1..40usize, 2..7usize, vec(1..5usize, 1..4), 1..9usize, 1..9usize, 1..5usize);
    let rest = (any::<bool>(), any::<bool>(), 1..3usize, 1..4usize, 1..4usize, 2..90usize, proptest::option::of(1..9usize));
    let shapes = (sizes, rest).prop_map(
        |(
            (dim, half, ratios, kernel, last_kernel, residual_kernel),
            (causal, mirrored, compress, lstm, books, card, code_dim),
        )| {
            CodecConfig::Seanet(SeanetConfig {
                causal,
                pad_mode: if mirrored { PadMode::Reflect } else { PadMode::Constant },
                channels: 1,
                dim,
                filters: 2 * half,
                ratios,
                kernel,
                last_kernel,
                residual_kernel,
                compress,
                lstm,
                quantizer: if code_dim.is_some() { QuantizerKind::Factorised } else { QuantizerKind::Euclidean },
                books,
                card,
                code_dim,
            })
        },
    );
    held(shapes, |config| {
        let CodecConfig::Seanet(config) = config else { unreachable!("made above") };
        random_seanet(config, 5)
    });
}

/// ConvNeXt blocks between log spectra and an inverse STFT.
#[test]
fn istfts_of_any_shape() {
    let blocks = (0..3usize, 0..3usize, 0..3usize, 0..3usize);
    let sizes = (8..40usize, 1..30usize, 1..60usize, 1..9usize, 1..9usize, 1..4usize, 2..90usize);
    let shapes = (sizes, blocks, (1..20usize, 0..40usize, 0..90usize), vec((1..60usize, 1..60usize), 1..4)).prop_map(
        |((dim, latent, ffn, kernel, code_dim, books, card), blocks, (hop, more, analysis_ahead), analysis)| {
            let (hop, n_fft) = (2 * hop, 4 * hop + 2 * more);
            let analysis =
                analysis.into_iter().map(|(half, bins)| Analysis { n_fft: 2 * half, bins: bins.min(half + 1) }).collect();
            let look_ahead = LookAhead {
                encode: analysis_ahead.div_ceil(2 * hop),
                decode: (n_fft / 2).saturating_sub(hop / 2).div_ceil(hop).div_ceil(2),
            };
            CodecConfig::Istft(IstftConfig {
                causal: true,
                dim,
                latent,
                ffn,
                kernel,
                eps: 1e-3,
                encoder_blocks: blocks.0,
                encoder_blocks50: blocks.1,
                decoder_blocks50: blocks.2,
                decoder_blocks: blocks.3,
                analysis,
                analysis_ahead,
                n_fft,
                hop,
                max_log: 2.0,
                quantizer: QuantizerKind::Factorised,
                code_dim,
                books,
                card,
                look_ahead,
            })
        },
    );
    held(shapes, |config| {
        let CodecConfig::Istft(config) = config else { unreachable!("made above") };
        random_istft(config, 5)
    });
}

/// A hop of four frames is decoded by one graph, any other by one for each piece of 4 and 1: bit for bit what kernel after kernel gives.
/// As many layers as the trained model's `other`, of small sizes.
#[test]
fn a_decoded_hop_is_one_graph() {
    let small = IstftConfig {
        decoder_blocks50: 2,
        decoder_blocks: 6,
        books: 4,
        analysis: vec![Analysis { n_fft: 64, bins: 20 }],
        analysis_ahead: 64,
        n_fft: 128,
        hop: 32,
        ..istft()
    };
    let (weights, config) = (random_istft(&small, 5), CodecConfig::Istft(small));
    let fake = Fake::load("sm=80 lazy").unwrap();
    let mut cuda = Cuda::new(0).unwrap();
    let on_gpu = codec(&mut cuda, &config, &weights);
    let mut noise = Noise(4);
    let codes: Vec<u32> = (0..43 * on_gpu.books()).map(|_| noise.below(on_gpu.card()) as u32).collect();
    let mut play = |rehearsed: bool| {
        let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
        if rehearsed {
            decoder.rehearse(&on_gpu, &mut cuda);
        }
        let (mut samples, mut rest, mut launches) = (Vec::new(), &codes[..], Vec::new());
        for hop in [4, 4, 4, 4, 1, 5, 21] {
            let (hop, after) = rest.split_at(hop * on_gpu.books());
            let before = cuda.launches();
            decoder.push(&on_gpu, &mut cuda, hop, &mut samples).unwrap();
            launches.push(cuda.launches() - before);
            rest = after;
        }
        assert!(rest.is_empty());
        decoder.finish(&on_gpu, &mut cuda, &mut samples);
        (samples, launches)
    };
    let (samples, launches) = play(false);
    // In the open, recorded, replayed; one frame in the open; four replayed and one recorded; all replayed.
    assert_eq!(launches, [42, 42, 0, 0, 42, 42, 0]);
    let (rehearsed, launches) = play(true);
    assert_eq!(launches, [0; 7]);
    assert_eq!(rehearsed, samples);
    assert_eq!((cuda.fault(), fake.faults()), (None, vec![]));
    let cpu = &mut Cpu::new(1);
    let want = codec(cpu, &config, &weights).decode(cpu, &codes).unwrap();
    let off = samples.iter().zip(&want).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f32::max);
    assert!(samples.len() == want.len() && off <= 1e-4, "samples {off:e} apart");
}
