//! Codecs on the CUDA backend against the CPU backend, in the PTX emulator (tests/fakecuda), which runs the shipped PTX and checks every
//! memory access: codecs of random shapes, fed in pieces; and how many kernels a hop launches outside CUDA graphs.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use sideman_engine::codec::{Codec, Decoder, Encoder};
use sideman_engine::model::{Analysis, CodecConfig, IstftConfig, LookAhead, PadMode, Phase, QuantizerKind, SeanetConfig};
use sideman_fakecuda::Fake;
use sideman_kernels::Backend;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_tests::codecs::{Named, codec, decode_in_pieces, encode_in_pieces, istft, random_istft, random_seanet, signal};
use sideman_tests::rng::Rng;

/// Frames of the signal and the codes of the random codecs.
const FRAMES: usize = 12;

/// Encodes a signal and decodes random codes, in one piece, or in pieces of random lengths if `pieces` has a seed for them.
fn encode_and_decode<B: Backend>(
    backend: &mut B,
    config: &CodecConfig,
    weights: &Named,
    pieces: Option<u64>,
) -> (Vec<u32>, Vec<f32>) {
    let codec = codec(backend, config, weights);
    let mut rng = Rng(pieces.unwrap_or(0));
    let mut length = |max: usize| if pieces.is_some() { 1 + rng.below(max) } else { usize::MAX / 64 };
    let audio = signal(FRAMES * codec.frame() - codec.frame() / 2, 3);
    let codes = encode_in_pieces(backend, &codec, &audio, || length(20 * codec.frame()));
    let random = random_codes(&codec, FRAMES);
    let samples = decode_in_pieces(backend, &codec, &random, || length(20));
    (codes, samples)
}

/// Compares the backends on codecs of random shapes: the same three each time. PROPTEST_CASES=100 tests more, PROPTEST_RNG_SEED=7 others.
fn compare_backends(shapes: impl Strategy<Value = CodecConfig>, weights: impl Fn(&CodecConfig) -> Named) {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u32>().ok());
    let config = ProptestConfig {
        cases: number("PROPTEST_CASES").unwrap_or(3),
        rng_seed: RngSeed::Fixed(number("PROPTEST_RNG_SEED").unwrap_or(1).into()),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let driver = (select(vec![75, 80]), select(vec!["eager", "lazy"]), select(vec!["reverse", "random"]));
    let result = TestRunner::new(config).run(&(shapes, driver, any::<u64>()), |(config, (sm, when, order), seed)| {
        let weights = weights(&config);
        let (codes, samples) = encode_and_decode(&mut CpuBackend::new(1), &config, &weights, None);
        let fake = Fake::load(&format!("sm={sm} {when} order={order}")).unwrap();
        let mut cuda = CudaBackend::new(0).unwrap();
        let (gpu_codes, gpu_samples) = encode_and_decode(&mut cuda, &config, &weights, Some(seed));
        assert_eq!((cuda.failure(), fake.faults()), (None, vec![]));
        drop(cuda);
        assert_eq!(gpu_codes, codes);
        assert_close(&gpu_samples, &samples);
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}

/// Causal and centred convolutions, both paddings, transposed convolutions, residual blocks, LSTMs, both quantizers.
#[test]
fn seanet_codecs_of_random_shapes_agree_with_the_cpu() {
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
    compare_backends(shapes, |config| {
        let CodecConfig::Seanet(config) = config else { unreachable!("the strategy makes no other kind") };
        random_seanet(config, 5)
    });
}

/// ConvNeXt blocks between log spectra and an inverse STFT.
#[test]
fn istft_codecs_of_random_shapes_agree_with_the_cpu() {
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
                phase: Phase::Predicted,
                locked_from: 0,
                noise_seed: None,
                quantizer: QuantizerKind::Factorised,
                code_dim,
                books,
                card,
                look_ahead,
            })
        },
    );
    compare_backends(shapes, |config| {
        let CodecConfig::Istft(config) = config else { unreachable!("the strategy makes no other kind") };
        random_istft(config, 5)
    });
}

/// Hops in frames. A graph has four frames or one; 5 and 21 need several graphs.
const HOPS: [usize; 7] = [4, 4, 4, 4, 1, 5, 21];

/// A codec with as many layers as the house model's codec of `other`, of small sizes.
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

/// Encodes a signal in pieces. Also returns how many kernels each piece launched outside graphs.
fn encode_counting_launches(
    cuda: &mut CudaBackend,
    encoder: &mut Encoder<CudaBackend>,
    audio: &[f32],
    mut pieces: impl FnMut() -> usize,
) -> (Vec<u32>, Vec<u64>) {
    let (mut codes, mut rest, mut launches) = (Vec::new(), audio, Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces().min(rest.len()));
        let before = cuda.launches();
        encoder.push(cuda, piece, &mut codes);
        launches.push(cuda.launches() - before);
        rest = after;
    }
    encoder.finish(cuda, &mut codes);
    (codes, launches)
}

/// Decodes codes in [`HOPS`]. Also returns how many kernels each hop launched outside graphs.
fn decode_counting_launches(
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
        decoder.push(cuda, hop, &mut samples).unwrap();
        cuda.launches() - before
    });
    assert!(rest.is_empty());
    decoder.finish(cuda, &mut samples);
    (samples, launches.to_vec())
}

/// Random codes of `frames` frames.
fn random_codes<B: Backend>(codec: &Codec<B>, frames: usize) -> Vec<u32> {
    let mut rng = Rng(4);
    (0..frames * codec.books()).map(|_| rng.below(codec.card()) as u32).collect()
}

/// Frames of all [`HOPS`].
fn total_frames() -> usize {
    HOPS.iter().sum()
}

/// A signal as long as [`HOPS`], its codes on the CPU, and the CPU's samples for random codes.
fn on_cpu(config: &CodecConfig, weights: &Named) -> (Vec<f32>, Vec<u32>, Vec<f32>) {
    let cpu = &mut CpuBackend::new(1);
    let codec = codec(cpu, config, weights);
    let audio = signal(total_frames() * codec.frame(), 3);
    let codes = codec.encode(cpu, &audio).unwrap();
    assert!(codes.chunks(codec.books()).any(|frame| frame != &codes[..codec.books()]), "the codes never change");
    let samples = codec.decode(cpu, &random_codes(&codec, total_frames())).unwrap();
    (audio, codes, samples)
}

fn assert_close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    let error = got.iter().zip(want).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f32::max);
    assert!(error <= 1e-4, "samples differ by {error:e}");
}

/// A hop of four frames is one graph; other hops are several graphs, of four frames and of one. Codes are the CPU's. Samples have the same
/// bits as without graphs.
#[test]
fn a_hop_of_an_istft_codec_runs_in_graphs() {
    let (weights, config) = (random_istft(&small(), 5), CodecConfig::Istft(small()));
    let (audio, codes, samples) = on_cpu(&config, &weights);
    let fake = Fake::load("sm=80 lazy").unwrap();
    let mut cuda = CudaBackend::new(0).unwrap();
    let on_gpu = codec(&mut cuda, &config, &weights);
    let hops = || {
        let mut hops = HOPS.into_iter().map(|frames| frames * on_gpu.frame());
        move || hops.next().unwrap()
    };

    let mut encoder = on_gpu.encoder(&mut cuda).unwrap();
    // The first hop has three frames, because of the look-ahead: one launches kernels, one is recorded as a graph, one replays it. The next
    // hops have four frames: one launches kernels, one is recorded, the others replay.
    let want = (codes, vec![90, 45, 45, 0, 0, 0, 0]);
    assert_eq!(encode_counting_launches(&mut cuda, &mut encoder, &audio, hops()), want);
    // The next signal uses the graphs of the first.
    let want = (want.0, vec![0; HOPS.len()]);
    assert_eq!(encode_counting_launches(&mut cuda, &mut encoder, &audio, hops()), want);
    let mut encoder = on_gpu.encoder(&mut cuda).unwrap();
    encoder.warm_up(&mut cuda);
    let mut rng = Rng(8);
    let odd = || 1 + rng.below(6 * on_gpu.frame());
    let (codes, launches) = encode_counting_launches(&mut cuda, &mut encoder, &audio, odd);
    assert_eq!(codes, want.0);
    assert!(launches.len() > 5 && launches.iter().all(|n| *n == 0), "{launches:?}");

    let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
    let (launched, launches) = decode_counting_launches(&mut cuda, &on_gpu, &mut decoder, &random_codes(&on_gpu, total_frames()));
    // Four frames: launched, recorded, replayed, replayed. One frame: launched. Five: four replayed and one recorded. Then all are replayed.
    assert_eq!(launches, [42, 42, 0, 0, 42, 42, 0]);
    assert_close(&launched, &samples);
    let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
    decoder.warm_up(&mut cuda);
    assert_eq!(
        decode_counting_launches(&mut cuda, &on_gpu, &mut decoder, &random_codes(&on_gpu, total_frames())),
        (launched, vec![0; HOPS.len()])
    );
    assert_eq!((cuda.failure(), fake.faults()), (None, vec![]));
}

/// Spectra with locked phases are in the graphs too. Where two neighbouring magnitudes differ by less than the backends do, a bin belongs to
/// another peak from there on, so samples are compared with those of the same backend in other pieces, not with the CPU's.
#[test]
fn a_hop_with_locked_phases_runs_in_graphs() {
    let config = IstftConfig { phase: Phase::Locked, locked_from: 6, noise_seed: Some(3), ..small() };
    let (weights, config) = (random_istft(&config, 5), CodecConfig::Istft(config));
    let fake = Fake::load("sm=80 lazy").unwrap();
    let mut cuda = CudaBackend::new(0).unwrap();
    let on_gpu = codec(&mut cuda, &config, &weights);
    let codes = random_codes(&on_gpu, total_frames());
    let whole = on_gpu.decode(&mut cuda, &codes).unwrap();
    let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
    decoder.warm_up(&mut cuda);
    let (got, launches) = decode_counting_launches(&mut cuda, &on_gpu, &mut decoder, &codes);
    assert_eq!(launches, vec![0; HOPS.len()]);
    assert_eq!(got, whole);
    // The decoder begins the next signal with the phases and the noise of the first.
    assert_eq!(decode_counting_launches(&mut cuda, &on_gpu, &mut decoder, &codes).0, whole);
    assert_eq!((cuda.failure(), fake.faults()), (None, vec![]));
}

/// A hop of a `seanet` codec runs in graphs if it has whole frames. Other pieces launch kernels, as do the first frames of a signal, which
/// need the mirrored start.
#[test]
fn a_hop_of_a_seanet_codec_runs_in_graphs_after_the_first_frames() {
    for (causal, pad_mode) in [(false, PadMode::Reflect), (true, PadMode::Constant), (true, PadMode::Reflect)] {
        let small = seanet(causal, pad_mode);
        let (weights, config) = (random_seanet(&small, 5), CodecConfig::Seanet(small));
        let (audio, codes, samples) = on_cpu(&config, &weights);
        let fake = Fake::load("sm=80 lazy").unwrap();
        let mut cuda = CudaBackend::new(0).unwrap();
        let on_gpu = codec(&mut cuda, &config, &weights);
        let all_graphs_after_start = |launches: &[u64]| launches[0] > 0 && launches[2..].iter().all(|n| *n == 0);

        let mut encoder = on_gpu.encoder(&mut cuda).unwrap();
        encoder.warm_up(&mut cuda);
        let mut hops = HOPS.into_iter().map(|frames| frames * on_gpu.frame());
        let (got, launches) = encode_counting_launches(&mut cuda, &mut encoder, &audio, || hops.next().unwrap());
        assert_eq!(got, codes);
        assert!(all_graphs_after_start(&launches), "causal {causal}, {pad_mode:?}: {launches:?}");
        let mut rng = Rng(8);
        let odd = || 1 + rng.below(6 * on_gpu.frame());
        assert_eq!(encode_counting_launches(&mut cuda, &mut encoder, &audio, odd).0, codes);
        // Whole frames and half frames in turn.
        let mut n = 0;
        let mixed = || {
            n += 1;
            [4 * on_gpu.frame(), 4 * on_gpu.frame(), on_gpu.frame() / 2][n % 3]
        };
        assert_eq!(encode_counting_launches(&mut cuda, &mut encoder, &audio, mixed).0, codes);

        let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
        decoder.warm_up(&mut cuda);
        let (got, launches) = decode_counting_launches(&mut cuda, &on_gpu, &mut decoder, &random_codes(&on_gpu, total_frames()));
        assert!(all_graphs_after_start(&launches), "causal {causal}, {pad_mode:?}: {launches:?}");
        assert_close(&got, &samples);
        let mut decoder = on_gpu.decoder(&mut cuda).unwrap();
        assert_eq!(decode_counting_launches(&mut cuda, &on_gpu, &mut decoder, &random_codes(&on_gpu, total_frames())).0, got);
        assert_eq!((cuda.failure(), fake.faults()), (None, vec![]));
    }
}
