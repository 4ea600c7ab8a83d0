//! Every kernel against the CPU backend on random shapes: few, since the emulator is slow, and the same ones each time.
//! PROPTEST_CASES=200 runs more of them, PROPTEST_RNG_SEED=7 others.

use crate::cases::{Attention, Case, Embeddings, Product, Samples, Text, close};
use crate::codecs::{Codes, Copies, Depthwise, Elus, Inverse, Recurrence, Spectra};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use sideman_fakecuda::Fake;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Act, Activations, Backend, Format, Heads, Sampling};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Matrix products by format: of up to 2 rows, up to 63, and more.
const PRODUCTS: [(Format, [&str; 3]); 4] = [
    (Format::F32, ["linear_f32_2", "linear_f32_8", "linear_f32_many"]),
    (Format::Bf16, ["linear_bf16_2", "linear_bf16_8", "linear_bf16_many"]),
    (Format::Q8, ["linear_q8_2", "linear_q8_8", "linear_q8_many"]),
    (Format::Q4, ["linear_q4_2", "linear_q4_8", "linear_q4_many"]),
];
const COUNTS: [std::ops::Range<usize>; 3] = [1..3, 3..64, 64..90];
const TILES: [(Format, &str); 3] = [(Format::Bf16, "tiles_bf16"), (Format::Q8, "tiles_q8"), (Format::Q4, "tiles_q4")];
const ATTENTION: [(Format, &str); 2] = [(Format::F32, "attend_f32"), (Format::Bf16, "attend_bf16")];
/// Kernels of the other tests below, which assert that these were launched.
const OTHERS: [&[&str]; 12] = [
    &["split_rows"],
    &["advance"],
    &["set_text"],
    &["embed"],
    &["sample"],
    &["copy_rows"],
    &["elu", "depthwise"],
    &["lstm_gates", "add_rows"],
    &["magnitude"],
    &["polar", "overlap"],
    &["argmax_code", "lookup_codes"],
    &["white_noise", "find_peaks", "lock_phases", "locked_spectra"],
];

#[test]
fn every_kernel_has_a_test_of_any_shape() {
    let named = PRODUCTS.iter().flat_map(|p| p.1).chain(TILES.map(|t| t.1)).chain(ATTENTION.map(|a| a.1));
    let named: BTreeSet<String> = named.chain(OTHERS.concat()).map(String::from).collect();
    let mut shipped = BTreeSet::new();
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/cu/ptx")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        shipped.extend(text.split(".entry ").skip(1).map(|after| after.split('(').next().unwrap().to_owned()));
    }
    assert_eq!(named, shipped);
}

/// Runs a case on both backends, the CUDA one with the emulator options `words` and, with `tiles`, on tensor cores; gives the kernels
/// that were launched.
fn alike<C: Case>(case: &C, words: &str, tiles: bool, tolerance: f32) -> Vec<String> {
    let want = case.run(&mut CpuBackend::new(1).with_activations(Activations::F32));
    let fake = Fake::load(words).unwrap();
    let mut cuda = CudaBackend::new(0).unwrap();
    cuda.tiles(tiles);
    let got = case.run(&mut cuda);
    assert_eq!(cuda.failure(), None, "{:?}", fake.faults());
    drop(cuda);
    assert_eq!(fake.faults(), [""; 0]);
    close(words, &got, &want, tolerance);
    let counts: serde_json::Value = serde_json::from_str(&fake.counts_json()).unwrap();
    counts.as_array().unwrap().iter().map(|k| k["kernel"].as_str().unwrap().to_owned()).collect()
}

/// Devices and orders of blocks and warps; `least` is the oldest device.
fn words(least: u32) -> impl Strategy<Value = String> {
    let sm = select([75, 80, 89, 120].into_iter().filter(|sm| *sm >= least).collect::<Vec<u32>>());
    let order = select(vec!["forward", "reverse", "random"]);
    (sm, any::<bool>(), order, 1..100u32)
        .prop_map(|(sm, lazy, order, seed)| format!("sm={sm} {} order={order} seed={seed}", if lazy { "lazy" } else { "eager" }))
}

/// Runs `few` cases of random shape and asserts that they launched every one of `kernels`. A bit-exact operation has tolerance 0.
fn agree<C: Case>(kernels: &[&str], few: u32, shapes: impl Strategy<Value = C>, tolerance: f32) {
    agree_by(kernels, few, (shapes, words(75)), false, tolerance);
}

fn agree_by<C: Case>(kernels: &[&str], few: u32, shapes: impl Strategy<Value = (C, String)>, tiles: bool, tolerance: f32) {
    let set = |name| std::env::var(name).ok().and_then(|n| n.parse::<u32>().ok());
    let config = ProptestConfig {
        cases: set("PROPTEST_CASES").unwrap_or(few),
        rng_seed: RngSeed::Fixed(set("PROPTEST_RNG_SEED").unwrap_or(1).into()),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let launched = RefCell::new(BTreeSet::new());
    let played = TestRunner::new(config).run(&shapes, |(case, words)| {
        launched.borrow_mut().extend(alike(&case, &words, tiles, tolerance));
        Ok(())
    });
    played.unwrap_or_else(|e| panic!("{kernels:?}: {e}"));
    for kernel in kernels {
        assert!(launched.borrow().contains(*kernel), "no case launched {kernel}: {:?}", launched.borrow());
    }
}

fn acts() -> impl Strategy<Value = Act> {
    select(vec![Act::None, Act::Gelu, Act::Relu])
}

/// Columns of a matrix; q8 and q4 are blocks of 32 (anything else is kept as bf16).
fn columns(format: Format, most: usize) -> impl Strategy<Value = usize> {
    let blocks = matches!(format, Format::Q8 | Format::Q4);
    (1..=most).prop_map(move |cols| if blocks { cols.next_multiple_of(32) } else { cols })
}

fn products(format: Format, count: std::ops::Range<usize>) -> impl Strategy<Value = Product> {
    (1..90usize, columns(format, 320), count, any::<Option<bool>>(), acts(), any::<bool>(), 1..20usize).prop_map(
        move |(rows, cols, count, norm, act, add, part)| {
            // From rows that overlap nearly whole (a convolution's) to rows with a gap between them.
            let stride = (cols * part).div_ceil(15);
            Product { rows, cols, count, stride, format, norm, act, add }
        },
    )
}

#[test]
fn products_of_any_shape_agree_with_the_cpu() {
    for (format, kernels) in PRODUCTS {
        for (kernel, count) in kernels.into_iter().zip(COUNTS) {
            // A norm of one or two columns divides by a number near zero.
            agree(&[kernel], 3, products(format, count), 2e-4);
        }
    }
}

/// Without a norm, a sum of one segment of columns has the CPU's bits.
#[test]
fn products_of_one_segment_have_the_bits_of_the_cpu() {
    for (format, kernels) in PRODUCTS {
        for (kernel, count) in kernels.into_iter().zip(COUNTS) {
            let shapes = (products(format, count), columns(format, 128)).prop_map(move |(case, cols)| Product {
                cols,
                stride: cols,
                norm: None,
                ..case
            });
            agree(&[kernel], 2, shapes, 0.0);
        }
    }
}

#[test]
fn products_on_tensor_cores_of_any_shape_agree_with_the_cpu() {
    for (format, kernel) in TILES {
        agree_by(&[OTHERS[0], &[kernel]].concat(), 3, (products(format, 64..150), words(80)), true, 4e-4);
    }
}

#[test]
fn attention_of_any_shape_agrees_with_the_cpu() {
    for (format, kernel) in ATTENTION {
        let shapes =
            (1..4usize, 1..70usize, 1..150usize, 1..5usize, 0..200usize).prop_map(move |(heads, head_dim, first, n, room)| {
                Attention { heads: Heads { heads, head_dim }, format, steps: first + n + room, first, n }
            });
        // In bf16 the last bit of a sum may round a key the other way.
        agree(&[OTHERS[1], &[kernel]].concat(), 3, shapes, if format == Format::F32 { 2e-5 } else { 2e-2 });
    }
}

#[test]
fn texts_of_any_shape_agree_with_the_cpu() {
    for (format, kernel) in ATTENTION {
        let shape = (1..4usize, 1..70usize, 1..5usize, 1..4usize, 1..300usize);
        let shapes = shape.prop_flat_map(move |(heads, head_dim, lanes, n, room)| {
            vec((0..lanes, 0..=room), 1..4).prop_map(move |mut sets| {
                sets.push((0, room));
                Text { heads: Heads { heads, head_dim }, format, lanes, n, room, sets }
            })
        });
        agree(&[OTHERS[2], &[kernel]].concat(), 3, shapes, 2e-5);
    }
}

#[test]
fn embeddings_of_any_shape_have_the_bits_of_the_cpu() {
    let format = select(vec![Format::F32, Format::Bf16]);
    let sizes = (1..300usize, 1..4usize, 1..3usize, 1..20usize, 0..20usize);
    let shapes = (sizes, vec((1..90usize, format), 1..13), vec(1..30usize, 0..4), 1..6usize).prop_map(
        |((dim, songs, branches, room, pos), streams, controls, n)| Embeddings {
            dim,
            songs,
            branches,
            steps: pos + n + room,
            pos,
            n,
            streams,
            controls,
        },
    );
    agree(OTHERS[3], 6, shapes, 0.0);
}

#[test]
fn sampling_of_any_kind_gives_the_tokens_of_the_cpu() {
    let sampling = (0.0..2.0f32, 0..80u32, 0.0..1.0f32, 0.0..5.0f32, any::<bool>(), any::<u64>());
    let card = prop_oneof![4 => 1..300usize, 1 => 300..4033usize];
    let shapes = (sampling, 1..3usize, 1..3usize, vec((card, 0..6usize, 0.0..2.0f32), 1..5)).prop_map(
        |((temperature, top_k, top_p, cfg, nucleus, seed), songs, branches, mut streams)| {
            streams[0].1 = 0;
            let top_p = if nucleus { top_p } else { 0.0 };
            Samples {
                sampling: Sampling { temperature, top_k, top_p, cfg, seed, frame_base: seed as i64 },
                songs,
                branches,
                streams,
            }
        },
    );
    agree(OTHERS[4], 6, shapes, 0.0);
}

#[test]
fn copies_of_any_shape_have_the_bits_of_the_cpu() {
    let shapes = (1..80usize, 1..300usize, 0..400usize, 0..9usize).prop_map(|(count, width, stride, gap)| Copies {
        count,
        width,
        stride,
        gap,
    });
    agree(OTHERS[5], 6, shapes, 0.0);
}

#[test]
fn convolutions_of_any_shape_have_the_bits_of_the_cpu() {
    let shapes = (1..12usize, 1..300usize, 1..40usize, 0..9usize).prop_map(|(kernel, dim, count, at)| Depthwise {
        kernel,
        dim,
        count,
        at,
    });
    agree(&OTHERS[6][1..], 6, shapes, 0.0);
    agree(&OTHERS[6][..1], 6, (1..20_000usize).prop_map(Elus), 0.0);
}

/// Up to 128 values a layer's sums have one segment, so the bits are the CPU's.
#[test]
fn lstms_of_any_shape_have_the_bits_of_the_cpu() {
    let shapes = (1..100usize, 1..4usize, 1..70usize).prop_map(|(size, layers, count)| Recurrence {
        size,
        layers,
        count: count.min(600 / size + 1),
    });
    agree(OTHERS[7], 6, shapes, 0.0);
}

#[test]
fn spectra_of_any_shape_agree_with_the_cpu() {
    let shapes = (1..200usize, 1..200usize, 1..90usize, 1..20usize, 0..9usize)
        .prop_map(|(half, bins, hop, count, col)| Spectra { n_fft: 2 * half, bins: bins.min(half + 1), hop, count, col });
    agree(OTHERS[8], 6, shapes, 1e-4);
}

#[test]
fn inverse_transforms_of_any_shape_agree_with_the_cpu() {
    for (locked_from, kernels) in [(None, OTHERS[9]), (Some(0), OTHERS[11]), (Some(40), OTHERS[11])] {
        let shapes =
            (1..150usize, 1..150usize, 0.0..3.0f32, vec(1..9usize, 1..4)).prop_map(move |(half, hop, max_log, parts)| {
                // At least two windows over each sample, as in any codec: one alone is divided by a number near zero at its edge.
                Inverse { n_fft: 2 * half, hop: hop.min(half), max_log, locked_from, parts }
            });
        agree(kernels, 6, shapes, 1e-4);
    }
}

/// Up to one segment of 128 values scores have the CPU's bits, and so do codes.
#[test]
fn quantizers_of_any_shape_have_the_bits_of_the_cpu() {
    let shapes = (any::<bool>(), 1..129usize, 2..300usize, 1..20usize, 1..5usize, 1..40usize)
        .prop_map(|(factorised, dim, card, width, books, count)| Codes { factorised, dim, card, width, books, count });
    agree(OTHERS[10], 6, shapes, 0.0);
}
