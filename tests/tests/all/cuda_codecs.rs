//! Codecs on a GPU on paper that runs the shipped PTX and checks every access (tests/fakecuda): of any shape, fed in pieces, they
//! give what the processor gives; and a piece of the house codecs is one graph.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use sideman_engine::codec::{Codec, Decoder, Encoder};
use sideman_engine::model::{Analysis, CodecConfig, IstftConfig, LookAhead, PadMode, QuantizerKind, SeanetConfig};
use sideman_fakecuda::Fake;
use sideman_kernels::Backend;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_tests::codecs::{Named, Noise, codec, decode_in, encode_in, istft, random_istft, random_seanet, signal};

/// Frames of the signals below.
const FRAMES: usize = 12;

/// Codes of a signal, and samples of random codes; with a seed in pieces of any length, without one in one piece.
fn play<B: Backend>(backend: &mut B, config: &CodecConfig, weights: &Named, pieces: Option<u64>) -> (Vec<u32>, Vec<f32>) {
    let codec = codec(backend, config, weights);
    let mut noise = Noise(pieces.unwrap_or(0));
    let mut length = |most: usize| if pieces.is_some() { 1 + noise.below(most) } else { usize::MAX / 64 };
    let heard = signal(FRAMES * codec.frame() - codec.frame() / 2, 3);
    let codes = encode_in(backend, &codec, &heard, || length(20 * codec.frame()));
    let mut noise = Noise(4);
    let drawn: Vec<u32> = (0..FRAMES * codec.books()).map(|_| noise.below(codec.card()) as u32).collect();
    let samples = decode_in(backend, &codec, &drawn, || length(20));
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
        let (codes, samples) = play(&mut CpuBackend::new(1), &config, &weights, None);
        let fake = Fake::load(&format!("sm={sm} {when} order={order}")).unwrap();
        let mut cuda = CudaBackend::new(0).unwrap();
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

/// Frames of hops that are no multiples of a graph's.
const HOPS: [usize; 7] = [4, 4, 4, 4, 1, 5, 21];

/// As many layers as the trained model's `other`, of small sizes.
fn small() -> IstftConfig {
    IstftConfig {
        encoder_blocks: 4,
        encoder_blocks50: 2,
        decoder_blocks50: 2,
        decoder_blocks: 6,
        books: 4,
        analysis: [(128, 20), (64, 24), (16, 9)].map(|(n_fft, bins)| Analysis { n_fft, bins }).to_vec(),
        analysis_ahead: 64,
        n_fft: 128,
        hop: 32,
        ..istft()
    }
}

/// A small codec of kind `seanet`.
fn seanet(causal: bool, pad_mode: PadMode) -> SeanetConfig {
    SeanetConfig {
        causal,
        pad_mode,
        channels: 1,
        dim: 12,
        filters: 4,
        ratios: vec![3, 2],
        kernel: 7,
        last_kernel: 7,
        residual_kernel: 3,
        compress: 2,
        lstm: 2,
        quantizer: QuantizerKind::Euclidean,
        books: 2,
        card: 40,
        code_dim: None,
    }
}

/// Codes of a signal in such pieces, and the kernels launched for each of them, those of graphs not counted.
fn encoded(
    cuda: &mut CudaBackend,
    codec: &Codec<CudaBackend>,
    encoder: &mut Encoder<CudaBackend>,
    heard: &[f32],
    mut pieces: impl FnMut() -> usize,
) -> (Vec<u32>, Vec<u64>) {
    let (mut codes, mut rest, mut launches) = (Vec::new(), heard, Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces().min(rest.len()));
        let before = cuda.launches();
        encoder.push(codec, cuda, piece, &mut codes);
        launches.push(cuda.launches() - before);
        rest = after;
    }
    encoder.finish(codec, cuda, &mut codes);
    (codes, launches)
}

/// Samples of codes in [`HOPS`], and the kernels launched for each.
fn decoded(
    cuda: &mut CudaBackend,
    codec: &Codec<CudaBackend>,
    decoder: &mut Decoder<CudaBackend>,
    codes: &[u32],
) -> (Vec<f32>, Vec<u64>) {
    let (mut samples, mut rest) = (Vec::new(), codes);
    let launches = HOPS.map(|hop| {
        let (hop, after) = rest.split_at(hop * codec.books());
        rest = after;
        let before = cuda.launches();
        decoder.push(codec, cuda, hop, &mut samples).unwrap();
        cuda.launches() - before
    });
    assert!(rest.is_empty());
    decoder.finish(codec, cuda, &mut samples);
    (samples, launches.to_vec())
}

/// Codes as random as they are many.
fn drawn<B: Backend>(codec: &Codec<B>) -> Vec<u32> {
    let mut noise = Noise(4);
    (0..HOPS.iter().sum::<usize>() * codec.books()).map(|_| noise.below(codec.card()) as u32).collect()
}

/// What the processor makes of a signal of [`HOPS`] and of codes: the signal, its codes, samples.
fn on_cpu(config: &CodecConfig, weights: &Named) -> (Vec<f32>, Vec<u32>, Vec<f32>) {
    let cpu = &mut CpuBackend::new(1);
    let codec = codec(cpu, config, weights);
    let heard = signal(HOPS.iter().sum::<usize>() * codec.frame(), 3);
    let codes = codec.encode(cpu, &heard).unwrap();
    assert!(codes.chunks(codec.books()).any(|frame| frame != &codes[..codec.books()]), "one code all along: nothing is compared");
    let samples = codec.decode(cpu, &drawn(&codec)).unwrap();
    (heard, codes, samples)
}

fn near(got: &[f32], want: &[f32]) {
    let off = got.iter().zip(want).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f32::max);
    assert!(got.len() == want.len() && off <= 1e-4, "samples {off:e} apart");
}

/// A hop of four frames is one graph, encoded and decoded, any other one for each piece of 4 and 1: the processor's codes, and bit for bit
/// the samples that kernel after kernel gives, whatever came before and (of samples heard) in pieces of any length.
#[test]
fn a_hop_is_one_graph() {
    let (weights, config) = (random_istft(&small(), 5), CodecConfig::Istft(small()));
    let (heard, codes, samples) = on_cpu(&config, &weights);
    let fake = Fake::load("sm=80 lazy").unwrap();
    let mut cuda = CudaBackend::new(0).unwrap();
    let on_gpu = codec(&mut cuda, &config, &weights);
    let hops = || {
        let mut hops = HOPS.into_iter().map(|frames| frames * on_gpu.frame());
        move || hops.next().unwrap()
    };

    let mut encoder = on_gpu.encoder(&mut cuda).unwrap();
    // The first hop, less the look-ahead: one frame in the open, one recorded, one replayed; then four in the open, recorded, replayed.
    let want = (codes, vec![90, 45, 45, 0, 0, 0, 0]);
    assert_eq!(encoded(&mut cuda, &on_gpu, &mut encoder, &heard, hops()), want);
    // The next signal finds the graphs of the one before.
    let want = (want.0, vec![0; HOPS.len()]);
    assert_eq!(encoded(&mut cuda, &on_gpu, &mut encoder, &heard, hops()), want);
    let mut encoder = on_gpu.encoder(&mut cuda).unwrap();
    encoder.rehearse(&on_gpu, &mut cuda);
    let mut noise = Noise(8);
    let odd = || 1 + noise.below(6 * on_gpu.frame());
    let (codes, launches) = encoded(&mut cuda, &on_gpu, &mut encoder, &heard, odd);
    assert_eq!(codes, want.0);
    assert!(launches.len() > 5 && launches.iter().all(|n| *n == 0), "{launches:?}");

    let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
    let (open, launches) = decoded(&mut cuda, &on_gpu, &mut decoder, &drawn(&on_gpu));
    // In the open, recorded, replayed; one frame in the open; four replayed and one recorded; all replayed.
    assert_eq!(launches, [42, 42, 0, 0, 42, 42, 0]);
    near(&open, &samples);
    let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
    decoder.rehearse(&on_gpu, &mut cuda);
    assert_eq!(decoded(&mut cuda, &on_gpu, &mut decoder, &drawn(&on_gpu)), (open, vec![0; HOPS.len()]));
    assert_eq!((cuda.fault(), fake.faults()), (None, vec![]));
}

/// So is a hop of a `seanet` once its layers have read what their mirrors need, as long as whole frames come; other pieces are launched in
/// the open, as are a signal's first frames.
#[test]
fn a_hop_of_a_seanet_is_one_graph_once_it_has_begun() {
    for (causal, pad_mode) in [(false, PadMode::Reflect), (true, PadMode::Constant), (true, PadMode::Reflect)] {
        let small = seanet(causal, pad_mode);
        let (weights, config) = (random_seanet(&small, 5), CodecConfig::Seanet(small));
        let (heard, codes, samples) = on_cpu(&config, &weights);
        let fake = Fake::load("sm=80 lazy").unwrap();
        let mut cuda = CudaBackend::new(0).unwrap();
        let on_gpu = codec(&mut cuda, &config, &weights);
        let begun = |launches: &[u64]| {
            println!("{causal} {pad_mode:?}: launches of hops of {HOPS:?} frames {launches:?}");
            launches[0] > 0 && launches[2..].iter().all(|n| *n == 0)
        };

        let mut encoder = on_gpu.encoder(&mut cuda).unwrap();
        encoder.rehearse(&on_gpu, &mut cuda);
        let mut hops = HOPS.into_iter().map(|frames| frames * on_gpu.frame());
        let (got, launches) = encoded(&mut cuda, &on_gpu, &mut encoder, &heard, || hops.next().unwrap());
        assert!(got == codes && begun(&launches), "{launches:?}");
        let mut noise = Noise(8);
        let odd = || 1 + noise.below(6 * on_gpu.frame());
        assert_eq!(encoded(&mut cuda, &on_gpu, &mut encoder, &heard, odd).0, codes);
        // Whole frames and ends of frames by turns, each of which moves the queues.
        let mut turn = 0;
        let mixed = || {
            turn += 1;
            [4 * on_gpu.frame(), 4 * on_gpu.frame(), on_gpu.frame() / 2][turn % 3]
        };
        assert_eq!(encoded(&mut cuda, &on_gpu, &mut encoder, &heard, mixed).0, codes);

        let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
        decoder.rehearse(&on_gpu, &mut cuda);
        let (got, launches) = decoded(&mut cuda, &on_gpu, &mut decoder, &drawn(&on_gpu));
        assert!(begun(&launches), "{launches:?}");
        near(&got, &samples);
        let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
        assert_eq!(decoded(&mut cuda, &on_gpu, &mut decoder, &drawn(&on_gpu)).0, got);
        assert_eq!((cuda.fault(), fake.faults()), (None, vec![]));
    }
}
