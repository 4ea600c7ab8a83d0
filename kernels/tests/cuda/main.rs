//! The CUDA backend against the CPU backend, operation by operation, in the PTX emulator (tests/fakecuda), which runs the shipped
//! PTX and checks every access. Each case is written once over [`Backend`] and runs on both.

mod bytes;
mod cases;
mod codecs;
mod shapes;

use cases::{Attention, Case, Embeddings, Product, Samples, Text, all, buf, close, ints, noise};
use codecs::{Codes, Copies, Depthwise, Elus, Inverse, Moves, Recurrence, Spectra};
use sideman_fakecuda::Fake;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::{CudaBackend, CudaError};
use sideman_kernels::{Act, Activations, Backend, BackendError, Format, Grid, Heads, Linear, Norm, Rows, Sampling, UNKNOWN};

/// Runs a case on both backends, on several devices and with several orders of blocks and warps. Tolerance 0 means equal bits.
fn agree<C: Case>(name: &str, case: &C, tolerance: f32) {
    // The CUDA backend multiplies by activations in f32.
    let want = case.run(&mut CpuBackend::new(1).with_activations(Activations::F32));
    let mut first: Option<Vec<f32>> = None;
    for words in ["sm=75", "sm=80 lazy order=reverse", "sm=90 lazy order=random seed=3"] {
        let fake = Fake::load(words).unwrap();
        let mut cuda = CudaBackend::new(0).unwrap_or_else(|e| panic!("{e}"));
        let got = case.run(&mut cuda);
        assert_eq!(cuda.failure(), None, "{name} {words}: {:?}", fake.faults());
        drop(cuda);
        assert_eq!(fake.faults(), [""; 0], "{name} {words}");
        close(&format!("{name} {words}"), &got, &want, tolerance);
        assert_eq!(*first.get_or_insert_with(|| got.clone()), got, "{name}: the result depends on the order of blocks");
    }
}

#[test]
fn products_agree_with_the_cpu() {
    for format in [Format::F32, Format::Bf16, Format::Q8, Format::Q4] {
        // One segment of a sum has the CPU's order: equal bits.
        for (rows, cols, count, stride, tolerance) in [
            (37, 96, 1, 96, 0.0),
            (5, 33, 9, 20, 0.0),
            (40, 416, 2, 416, 2e-6),
            (70, 1312, 3, 1312, 2e-6),
            (33, 288, 70, 64, 2e-6),
        ] {
            let case = Product { rows, cols, count, stride, format, norm: None, act: Act::Relu, add: count != 3 };
            agree(&format!("{format:?} {rows}x{cols} on {count} rows"), &case, tolerance);
        }
    }
    for (norm, count, act) in [(Some(true), 2, Act::Gelu), (Some(false), 5, Act::None), (Some(true), 65, Act::Gelu)] {
        let case = Product { rows: 34, cols: 200, count, stride: 210, format: Format::F32, norm, act, add: false };
        agree(&format!("norm {norm:?} on {count} rows"), &case, 3e-6);
    }
}

/// The same product on any number of rows has the same bits.
#[test]
fn rows_of_a_product_have_the_same_bits_in_any_division() {
    let _fake = Fake::load("sm=80").unwrap();
    let mut backend = CudaBackend::new(0).unwrap();
    for format in [Format::F32, Format::Bf16, Format::Q8, Format::Q4] {
        let (rows, cols, count) = (40, 1184, 66);
        let weight = backend.mat(rows, cols, &noise(1, rows * cols), format).unwrap();
        let norm = Norm { weight: buf(&mut backend, &noise(5, cols)), bias: Some(buf(&mut backend, &noise(6, cols))), eps: 1e-5 };
        let linear = Linear::<CudaBackend> { weight, bias: None, norm: Some(norm), act: Act::None, add: false };
        let x = buf(&mut backend, &noise(3, count * cols));
        let mut y = backend.buf(count * rows).unwrap();
        let mut by = |parts: &[usize]| {
            let mut first = 0;
            for n in parts {
                let from = Rows { count: *n, at: first * cols, stride: cols };
                backend.linear(&linear, &x, from, &mut y, Rows { count: *n, at: first * rows, stride: rows });
                first += n;
            }
            all(&mut backend, &y, count * rows)
        };
        let whole = by(&[66]);
        assert_eq!(by(&[1, 2, 5, 30, 28]), whole, "{format:?}");
    }
}

/// Products on tensor cores are close to the others, on any shape. On devices without them, or where `tiles` is off, bits are equal.
#[test]
fn products_on_tensor_cores_are_close_to_the_others() {
    for (format, rows, cols, count, norm, add) in [
        (Format::Bf16, 70, 1312, 129, Some(true), true),
        (Format::Bf16, 33, 33, 70, None, false),
        (Format::Bf16, 128, 200, 64, Some(false), true),
        (Format::Q8, 97, 416, 65, Some(true), true),
        (Format::Q8, 64, 32, 200, None, false),
        (Format::Q4, 97, 416, 65, Some(true), true),
        (Format::Q4, 64, 32, 200, None, false),
        (Format::F32, 40, 96, 64, None, false),
    ] {
        let act = if add { Act::None } else { Act::Gelu };
        let case = Product { rows, cols, count, stride: cols + 3, format, norm, act, add };
        let run = |words: &str, tiles| {
            let fake = Fake::load(words).unwrap();
            let mut cuda = CudaBackend::new(0).unwrap();
            cuda.tiles(tiles);
            let got = case.run(&mut cuda);
            let launches = cuda.launches();
            assert_eq!((cuda.failure(), fake.faults()), (None, vec![]), "{words}");
            (got, launches)
        };
        let name = format!("{format:?} {rows}x{cols} on {count} rows");
        let in_order = run("sm=75", false);
        assert_eq!(run("sm=75", true), in_order, "{name}: sm_75 has none");
        for words in ["sm=80 lazy order=random", "sm=90 order=reverse", "sm=120"] {
            let (near, launches) = run(words, true);
            // Split, then multiplied.
            assert_eq!(launches, if format == Format::F32 { 1 } else { 2 }, "{name}");
            close(&name, &near, &in_order.0, 2e-5);
            assert_eq!(run(words, false), in_order, "{name}");
        }
    }
}

#[test]
fn attention_agrees_with_the_cpu_over_short_and_long_contexts() {
    for (heads, head_dim, format, steps, first, n) in [
        (3, 20, Format::F32, 40, 15, 4),
        (2, 64, Format::Bf16, 100, 60, 1),
        (2, 6, Format::Bf16, 40, 3, 2),
        (2, 16, Format::F32, 400, 126, 5),
        (1, 32, Format::Bf16, 600, 300, 1),
    ] {
        let case = Attention { heads: Heads { heads, head_dim }, format, steps, first, n };
        // In bf16 the last bit of a sum may round a key the other way.
        let tolerance = if format == Format::F32 { 1e-5 } else { 2e-2 };
        agree(&format!("{heads} heads of {head_dim}, {format:?}, {first} + {n} of {steps}"), &case, tolerance);
    }
}

#[test]
fn attention_to_text_agrees_with_the_cpu_and_no_text_gives_zeros() {
    // Long, none, short; then none where there was one.
    let sets = vec![(0, 135), (1, 0), (2, 5), (0, 0)];
    let heads = Heads { heads: 2, head_dim: 12 };
    agree("text", &Text { heads, format: Format::F32, lanes: 3, n: 2, room: 140, sets }, 1e-5);
}

#[test]
fn embeddings_have_the_bits_of_the_cpu() {
    let streams = vec![(5, Format::F32), (40, Format::Bf16)];
    let case = Embeddings { dim: 44, songs: 2, branches: 2, steps: 9, pos: 4, n: 3, streams, controls: vec![3] };
    agree("embed", &case, 0.0);
}

#[test]
fn equal_logits_give_equal_tokens() {
    let plain = Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 3.0, seed: 7 << 40 | 11, frame_base: -3 };
    for s in [
        plain,
        Sampling { temperature: 0.0, ..plain },
        Sampling { temperature: 0.7, top_k: 5, ..plain },
        Sampling { top_k: 250, seed: 9, ..plain },
        Sampling { temperature: 1.3, top_p: 0.6, cfg: 1.0, ..plain },
        Sampling { temperature: 1e-30, ..plain },
    ] {
        agree(&format!("{s:?}"), &Samples::of(s), 0.0);
    }
}

#[test]
fn moves_elu_and_convolutions_have_the_bits_of_the_cpu() {
    agree("moves", &Moves, 0.0);
    agree("copies", &Copies { count: 9, width: 44, stride: 50, gap: 17 }, 0.0);
    agree("elu", &Elus(650), 0.0);
    agree("depthwise", &Depthwise { kernel: 7, dim: 21, count: 12, at: 4 }, 0.0);
}

#[test]
fn an_lstm_of_one_segment_has_the_bits_of_the_cpu() {
    agree("lstm", &Recurrence { size: 24, layers: 2, count: 67 }, 0.0);
}

#[test]
fn spectra_and_inverse_transforms_agree_with_the_cpu() {
    agree("spectra", &Spectra { n_fft: 48, bins: 20, hop: 10, count: 9, col: 7 }, 1e-5);
    for locked_from in [None, Some(0), Some(6)] {
        agree("inverse", &Inverse { n_fft: 40, hop: 10, max_log: 2.0, locked_from, parts: vec![4, 5] }, 1e-5);
    }
}

#[test]
fn quantizers_have_the_bits_of_the_cpu() {
    for factorised in [false, true] {
        agree("quantizer", &Codes { factorised, dim: 12, card: 140, width: 5, books: 3, count: 30 }, 0.0);
    }
}

#[test]
fn a_replayed_graph_does_the_work_and_keeps_its_memory() {
    let fake = Fake::load("sm=80 lazy").unwrap();
    let mut backend = CudaBackend::new(0).unwrap();
    let (mut pos, mut graphs) = (ints(&mut backend, &[0]), <CudaBackend as Backend>::Graphs::default());
    let mut host = [0];
    for times in 1..=5 {
        backend.run_recorded(&mut graphs, &[7, 1], &mut |backend| {
            backend.advance(2, &mut pos);
            backend.advance(1, &mut pos);
        });
        backend.read_ints(&pos, 0, &mut host);
        assert_eq!(host[0], 3 * times);
    }
    // Two kernels in the first run and two in the recorded one; the rest are replayed.
    assert_eq!(backend.launches(), 4);
    // Another key is other work.
    for _ in 0..2 {
        backend.run_recorded(&mut graphs, &[7, 2], &mut |backend| backend.advance(5, &mut pos));
    }
    backend.read_ints(&pos, 0, &mut host);
    assert_eq!(host[0], 15 + 10);
    drop(pos);
    backend.run_recorded(&mut graphs, &[7, 1], &mut |_| panic!("recorded already"));
    backend.wait();
    assert_eq!((backend.failure(), fake.faults()), (None, vec![]));
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let _fake = Fake::load("").unwrap();
    let mut backend = CudaBackend::new(0).unwrap();
    let heads = Heads { heads: 2, head_dim: 8 };
    assert!(matches!(backend.buf(usize::MAX / 2), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.buf(1 << 44), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.ints(usize::MAX / 2), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.kv(1 << 30, 1 << 30, 1 << 30, heads, Format::F32), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.kv(0, 1, 1, heads, Format::F32), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.mat(3, 4, &[0.0; 11], Format::F32), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.mat_q8(2, 64, &[0; 128], &[0.0; 3]), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.mat_q4(2, 64, &[0; 64], &[0.0; 3]), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.mat_q4(2, 40, &[0; 40], &[0.0; 2]), Err(BackendError::Shape { .. })));
    let grid = Grid { songs: 1, branches: 1, cards: vec![5000], delays: vec![0], cfg_scale: vec![1.0], steps: 4 };
    assert!(matches!(backend.sampler(&grid), Err(BackendError::Shape { .. })));
    assert_eq!(backend.failure(), None);
}

#[test]
fn a_lost_gpu_reports_its_failure_and_reads_give_zeros() {
    let fake = Fake::load("lazy").unwrap();
    let mut backend = CudaBackend::new(0).unwrap();
    let b = buf(&mut backend, &[1.0, 2.0]);
    assert_eq!(all(&mut backend, &b, 2), [1.0, 2.0]);
    // An impossible position: the kernel reads far outside its memory.
    let grid = Grid { songs: 1, branches: 1, cards: vec![4], delays: vec![0], cfg_scale: vec![1.0], steps: 4 };
    let mut sampler = backend.sampler(&grid).unwrap();
    let (logits, mut pos, mut seq) =
        (buf(&mut backend, &[0.0; 4]), ints(&mut backend, &[-1 << 24]), ints(&mut backend, &[UNKNOWN; 4]));
    backend.sample(&mut sampler, &logits, 1, &mut pos, &mut seq);
    assert_eq!(all(&mut backend, &b, 2), [0.0, 0.0]);
    assert!(backend.failure().is_some_and(|why| why.starts_with("the GPU is lost: CUDA_ERROR_")), "{:?}", backend.failure());
    assert_eq!(fake.faults().len(), 1);
    // Later calls do nothing.
    let launches = backend.launches();
    backend.advance(1, &mut pos);
    assert!(matches!(backend.buf(5), Err(BackendError::Lost(_))));
    assert_eq!((backend.launches(), all(&mut backend, &b, 2)), (launches, vec![0.0, 0.0]));
}

#[test]
fn a_missing_or_unusable_gpu_is_an_error() {
    let sentence = |words: &str| {
        let _fake = Fake::load(words).unwrap();
        CudaBackend::new(0).err().map(|e| e.to_string())
    };
    assert_eq!(sentence("devices=0").unwrap(), CudaError::NoDevice.to_string());
    assert_eq!(sentence("ptx=74").unwrap(), CudaError::OldPtx.to_string());
    assert_eq!(sentence("sm=120"), None);
    let _fake = Fake::load("").unwrap();
    let mut backend = CudaBackend::new(0).unwrap();
    let about = backend.about().unwrap();
    assert!(about.name.contains("sm_80") && about.capability == (8, 0) && about.memory.0 <= about.memory.1);
    fn sendable<T: Send>(_: &T) {}
    sendable(&backend);
}
