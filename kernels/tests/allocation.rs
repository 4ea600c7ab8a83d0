//! No operation allocates after its first call with the largest size. Allocations of all threads are counted,
//! except those of the process's first thread: the test harness waits there, and on a busy machine it may
//! allocate while the test runs.

use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{
    Act, Backend, Book, Depthwise, EmbedInput, Format, Grid, Heads, InverseStft, LaneText, LayerRows, Linear, LockedSpectra,
    Lstm, Norm, Rows, Sampling, Stft, UNKNOWN,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Address of the first thread's [`HERE`], which identifies this thread; 0 before its first allocation.
static FIRST: AtomicUsize = AtomicUsize::new(0);
thread_local!(static HERE: u8 = const { 0 });

/// Counts an allocation of this thread.
fn count() {
    let here = HERE.with(|here| std::ptr::from_ref(here) as usize);
    // The first thread sets it by its first allocation.
    if FIRST.compare_exchange(0, here, SeqCst, SeqCst).is_err_and(|first| first != here) {
        COUNT.fetch_add(1, SeqCst);
    }
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is System's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn linear(backend: &mut CpuBackend, rows: usize, cols: usize, format: Format) -> Linear<CpuBackend> {
    let data: Vec<f32> = (0..rows * cols).map(|i| ((i * 37) % 101) as f32 * 0.01 - 0.5).collect();
    let norm = Norm { weight: backend.buf(cols).unwrap(), bias: Some(backend.buf(cols).unwrap()), eps: 1e-5 };
    let (weight, bias) = (backend.mat(rows, cols, &data, format).unwrap(), Some(backend.buf(rows).unwrap()));
    Linear { weight, bias, norm: Some(norm), act: Act::Gelu, add: true }
}

#[test]
fn nothing_is_allocated_after_the_first_round() {
    let backend = &mut CpuBackend::new(2);
    let (dim, lanes, steps) = (64, 2, 48);
    let heads = Heads { heads: 4, head_dim: 16 };
    let grid = Grid { songs: 1, branches: 2, cards: vec![40, 50], delays: vec![0, 1], cfg_scale: vec![1.0; 2], steps };
    let plain = |l: Linear<CpuBackend>| Linear { norm: None, bias: None, act: Act::None, add: false, ..l };
    let (w, w_qkv) = (linear(backend, 90, dim, Format::Bf16), plain(linear(backend, 3 * dim, dim, Format::Q8)));
    let w_q4 = linear(backend, 90, dim, Format::Q4);
    let tables = [linear(backend, 41, dim, Format::F32).weight, linear(backend, 51, dim, Format::F32).weight];
    let controls = [linear(backend, 5, dim, Format::F32).weight];
    let books = [
        Book::Euclidean { codes: linear(backend, 40, dim, Format::F32).weight, norms: backend.buf(40).unwrap() },
        Book::Factorised {
            project_in: plain(linear(backend, 8, dim, Format::F32)),
            unit: linear(backend, 40, 8, Format::F32).weight,
            codes: linear(backend, 40, dim, Format::F32).weight,
        },
    ];
    let input = plain(linear(backend, 4 * dim, dim, Format::F32));
    let lstm = Lstm { input: vec![input], hidden: vec![linear(backend, 4 * dim, dim, Format::F32).weight], size: dim };
    let depthwise = Depthwise { taps: backend.buf(7 * dim).unwrap(), bias: backend.buf(dim).unwrap(), kernel: 7, dim };
    let mut kv = backend.kv(1, lanes, steps, heads, Format::Bf16).unwrap();
    let mut sampler = backend.sampler(&grid).unwrap();
    let [mut x, mut q, mut y, mut state, mut tail] =
        [700 * dim, 700 * dim, 700 * 90, 2 * dim, 64].map(|n| backend.buf(n).unwrap());
    let [mut seq, ctl, masked, mut pos, mut codes, mut locked] =
        [2 * steps, 2 * steps, 4, 1, 2 * 700, 34].map(|n| backend.ints(n).unwrap());
    let mut round = |backend: &mut CpuBackend, n: usize, rows: usize| {
        backend.write_ints(&mut pos, 0, &[0]);
        seq.fill(UNKNOWN);
        let input = EmbedInput { grid: &grid, tables: &tables, controls: &controls, seq: &seq, ctl: &ctl, masked: &masked };
        backend.embed(&input, &pos, n, &mut x);
        let at = LayerRows { layer: 0, lanes, n };
        backend.qkv(&w_qkv, &x, at, &pos, &mut q, &mut kv);
        backend.attend(&q, at, &pos, &kv, &mut x);
        backend.set_text(&mut kv, LaneText { layer: 0, lane: 0, len: n }, &q, &x);
        backend.attend_text(&q, at, &kv, &mut x);
        backend.linear(&w, &x, Rows::packed(rows, dim), &mut y, Rows::packed(rows, 90));
        backend.linear(&w_q4, &x, Rows::packed(rows, dim), &mut y, Rows::packed(rows, 90));
        for (top_k, top_p) in [(7, 0.0), (0, 0.8), (0, 0.0)] {
            backend.set_sampling(&mut sampler, &Sampling { temperature: 1.0, top_k, top_p, cfg: 3.0, seed: 1, frame_base: 0 });
            backend.sample(&mut sampler, &y, 1, &mut pos, &mut seq);
        }
        backend.advance(1, &mut pos);
        backend.elu(&y, &mut q, rows * dim);
        backend.depthwise(&depthwise, &y, 3, rows, &mut x);
        backend.lstm(&lstm, &x, Rows::packed(rows, dim), &mut state, &mut y, Rows::packed(rows, dim));
        backend.spectrum(Stft { n_fft: 64, hop: 16, bins: 33 }, &x, 64, &mut y, Rows { count: 20, at: 3, stride: 40 });
        let stft = InverseStft { n_fft: 64, hop: 16 };
        backend.polar_spectra(33, 7.0, &x, Rows::packed(20, 66), &mut y, Rows::packed(20, 66));
        let spec = LockedSpectra { stft, max_log: 7.0, locked_from: 8, noise_seed: 1 };
        backend.locked_spectra(spec, &x, Rows::packed(20, 66), &mut locked, &mut y, Rows::packed(20, 66));
        backend.istft(stft, &y, Rows::packed(20, 66), &mut tail, &mut x, 0);
        backend.quantize(&books, &mut x, Rows::packed(rows, dim), &mut codes, Rows::packed(2, 700));
        backend.dequantize(&books, &codes, Rows::packed(2, 700), &mut x, Rows::packed(rows, dim));
    };
    round(backend, 20, 600);
    let before = COUNT.load(SeqCst);
    for (n, rows) in [(1, 1), (20, 600), (3, 100), (1, 2), (7, 300)] {
        round(backend, n, rows);
    }
    let after = COUNT.load(SeqCst);
    assert_eq!(after - before, 0, "allocations after the first round");
    // The counter counts.
    drop(std::hint::black_box(Box::new(7)));
    assert!(COUNT.load(SeqCst) > after);
}
