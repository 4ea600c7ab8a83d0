//! Memory traffic of one step on a GPU, counted in the PTX emulator (tests/fakecuda), against the least possible: every weight
//! once, and every key and value that is attended to, once a lane. Shapes of the medium model (48 layers of 1536, 24 heads), two
//! lanes.
//!
//! `moved` counts distinct sectors of a launch, which device memory must deliver. `asked` counts the sectors of all requests to the
//! caches: one for each block that reads the same activations.
//!
//! `cargo test -p sideman-kernels --test cuda bytes -- --nocapture` prints the tables of docs/measurements/gpu.md.

use sideman_fakecuda::Fake;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{
    Act, Backend, EmbedInput, Format, Grid, Heads, LaneText, LayerRows, Linear, Norm, Rows, Sampling, UNKNOWN,
};

const DIM: usize = 1536;
const FFN: usize = 4 * DIM;
const HEADS: Heads = Heads { heads: 24, head_dim: 64 };
const LANES: usize = 2;
/// Steps in the cache before the one that is counted, and steps that there is room for.
const CONTEXT: usize = 250;
const STEPS: usize = 1500;
const TEXT: usize = 16;
const CARDS: [usize; 4] = [2048; 4];

/// What one launch moves.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    launches: u64,
    /// Bytes from and to memory.
    moved: u64,
    /// Sectors of all requests, and the fewest for as many distinct bytes a request.
    sectors: u64,
    ideal: u64,
    /// Passes through shared memory, and those without a bank conflict.
    waves: u64,
    ideal_waves: u64,
}

/// One kernel of a step.
struct Part {
    what: &'static str,
    kernel: String,
    /// Weights, keys and values, in bytes: the least that it reads.
    least: usize,
    moved: Moved,
}

/// What has been counted so far, by kernel.
fn counts(fake: &Fake) -> Vec<(String, Moved)> {
    let all: serde_json::Value = serde_json::from_str(&fake.counts_json()).unwrap();
    let one = |k: &serde_json::Value| {
        let n = |name: &str| k[name].as_u64().unwrap();
        let moved = Moved {
            launches: n("launches"),
            moved: 32 * (n("read_sectors") + n("written_sectors")),
            sectors: n("sectors"),
            ideal: n("ideal_sectors"),
            waves: n("shared_wavefronts"),
            ideal_waves: n("ideal_shared_wavefronts"),
        };
        (k["kernel"].as_str().unwrap().to_owned(), moved)
    };
    all.as_array().unwrap().iter().map(one).collect()
}

/// Runs `work`, which makes one launch, and returns what it moved.
fn part(fake: &Fake, backend: &mut CudaBackend, what: &'static str, least: usize, work: impl FnOnce(&mut CudaBackend)) -> Part {
    backend.wait();
    let before = counts(fake);
    work(backend);
    backend.wait();
    let mut found = None;
    for (kernel, now) in counts(fake) {
        let then = before.iter().find(|b| b.0 == kernel).map_or(Moved::default(), |b| b.1);
        if now.launches > then.launches {
            let moved = Moved {
                launches: now.launches - then.launches,
                moved: now.moved - then.moved,
                sectors: now.sectors - then.sectors,
                ideal: now.ideal - then.ideal,
                waves: now.waves - then.waves,
                ideal_waves: now.ideal_waves - then.ideal_waves,
            };
            assert!(found.is_none() && moved.launches == 1, "{what}: {kernel}: more than one launch");
            found = Some(Part { what, kernel, least, moved });
        }
    }
    found.unwrap_or_else(|| panic!("{what} launched nothing"))
}

/// Every kernel of one step of one layer, then embeddings, heads and sampling.
fn step(format: Format) -> Vec<Part> {
    let fake = Fake::load("sm=80 races=0 touched").unwrap();
    let backend = &mut CudaBackend::new(0).unwrap();
    let mut parts = Vec::new();
    let each = |rows: usize, cols: usize| match format {
        Format::F32 => 4 * rows * cols,
        Format::Bf16 => 2 * rows * cols,
        Format::Q8 => rows * cols * 9 / 8,
        Format::Q4 => rows * cols * 5 / 8,
    };
    let norm = |backend: &mut CudaBackend| Norm::<CudaBackend> {
        weight: backend.buf(DIM).unwrap(),
        bias: Some(backend.buf(DIM).unwrap()),
        eps: 1e-5,
    };
    let linear = |backend: &mut CudaBackend, rows: usize, cols: usize, normed: bool, add: bool| Linear::<CudaBackend> {
        weight: backend.mat(rows, cols, &vec![0.5; rows * cols], format).unwrap(),
        bias: None,
        norm: normed.then(|| norm(backend)),
        act: if rows == FFN { Act::Gelu } else { Act::None },
        add,
    };
    let (mut x, mut q, mut att) =
        (backend.buf(LANES * DIM).unwrap(), backend.buf(LANES * DIM).unwrap(), backend.buf(LANES * DIM).unwrap());
    let mut hidden = backend.buf(LANES * FFN).unwrap();
    let (wide, inner) = (Rows::packed(LANES, DIM), Rows::packed(LANES, FFN));
    let mut pos = backend.ints(1).unwrap();
    backend.write_ints(&mut pos, 0, &[CONTEXT as i32]);

    let grid = Grid {
        songs: 1,
        branches: LANES,
        cards: CARDS.to_vec(),
        delays: vec![0, 1, 2, 3],
        cfg_scale: vec![1.0; 4],
        steps: STEPS,
    };
    let tables: Vec<_> =
        CARDS.iter().map(|c| backend.mat(c + 1, DIM, &vec![0.5; (c + 1) * DIM], Format::Bf16).unwrap()).collect();
    let mut seq = backend.ints(CARDS.len() * STEPS).unwrap();
    backend.write_ints(&mut seq, 0, &[UNKNOWN; CARDS.len() * STEPS]);
    let (ctl, masked) = (backend.ints(1).unwrap(), backend.ints(LANES * CARDS.len()).unwrap());
    let rows = LANES * CARDS.len() * DIM * 2;
    parts.push(part(&fake, backend, "embeddings", rows, |backend| {
        let input = EmbedInput { grid: &grid, tables: &tables, controls: &[], seq: &seq, ctl: &ctl, masked: &masked };
        backend.embed(&input, &pos, 1, &mut x)
    }));
    drop(tables);

    let at = LayerRows { layer: 0, lanes: LANES, n: 1 };
    let mut kv = backend.kv(1, LANES, STEPS, HEADS, Format::Bf16).unwrap();
    let w = linear(backend, 3 * DIM, DIM, true, false);
    parts.push(part(&fake, backend, "norm, qkv, append", each(3 * DIM, DIM), |backend| {
        backend.qkv(&w, &x, at, &pos, &mut q, &mut kv);
    }));
    let seen = LANES * (CONTEXT + 1) * DIM * 2 * 2;
    parts.push(part(&fake, backend, "self-attention", seen, |backend| backend.attend(&q, at, &pos, &kv, &mut att)));
    let w = linear(backend, DIM, DIM, false, true);
    parts.push(part(&fake, backend, "out, residual", each(DIM, DIM), |backend| backend.linear(&w, &att, wide, &mut x, wide)));
    let w = linear(backend, DIM, DIM, true, false);
    parts.push(part(&fake, backend, "norm, text's q", each(DIM, DIM), |backend| backend.linear(&w, &x, wide, &mut q, wide)));
    let mut text = backend.kv(1, LANES, TEXT, HEADS, Format::F32).unwrap();
    let (k, v) = (backend.buf(TEXT * DIM).unwrap(), backend.buf(TEXT * DIM).unwrap());
    backend.set_text(&mut text, LaneText { layer: 0, lane: 0, len: TEXT }, &k, &v);
    parts.push(part(&fake, backend, "text's attention", TEXT * DIM * 2 * 4, |backend| {
        backend.attend_text(&q, at, &text, &mut att);
    }));
    let w = linear(backend, DIM, DIM, false, true);
    parts.push(part(&fake, backend, "text's out, residual", each(DIM, DIM), |backend| {
        backend.linear(&w, &att, wide, &mut x, wide)
    }));
    let w = linear(backend, FFN, DIM, true, false);
    parts
        .push(part(&fake, backend, "norm, up, GELU", each(FFN, DIM), |backend| backend.linear(&w, &x, wide, &mut hidden, inner)));
    let w = linear(backend, DIM, FFN, false, true);
    parts
        .push(part(&fake, backend, "down, residual", each(DIM, FFN), |backend| backend.linear(&w, &hidden, inner, &mut x, wide)));

    let width: usize = CARDS.iter().sum();
    let w = linear(backend, width, DIM, true, false);
    let mut logits = backend.buf(LANES * width).unwrap();
    parts.push(part(&fake, backend, "norm, heads", each(width, DIM), |backend| {
        backend.linear(&w, &x, wide, &mut logits, Rows::packed(LANES, width));
    }));
    let mut sampler = backend.sampler(&grid).unwrap();
    let sampling = Sampling { temperature: 1.0, top_k: 250, top_p: 0.0, cfg: 3.0, seed: 1, frame_base: 0 };
    backend.set_sampling(&mut sampler, &sampling);
    parts.push(part(&fake, backend, "draw", LANES * width * 4, |backend| {
        backend.sample(&mut sampler, &logits, 1, &mut pos, &mut seq)
    }));
    assert_eq!((backend.failure(), fake.faults()), (None, vec![]));
    parts
}

fn over(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

/// Moved and least of the whole medium model: a layer 48 times, the ends once.
fn whole(parts: &[Part]) -> (u64, u64) {
    let times = |p: &Part| if ["embeddings", "norm, heads", "draw"].contains(&p.what) { 1 } else { 48 };
    parts.iter().fold((0, 0), |(a, b), p| (a + times(p) * p.moved.moved, b + times(p) * p.least as u64))
}

#[test]
fn a_step_moves_little_more_than_its_weights_and_cache() {
    for (format, asked, most) in [(Format::Bf16, 1.3, OVER), (Format::Q8, 1.5, OVER), (Format::Q4, 1.9, OVER_Q4)] {
        let parts = step(format);
        println!("\n| kernel of a step, {format:?} | must read | moved | asked | sectors / ideal | passes / ideal |");
        for p in &parts {
            let m = p.moved;
            let least = p.least as u64;
            let (moved, requests) = (over(m.moved, least), over(32 * m.sectors, least));
            let (sectors, passes) = (over(m.sectors, m.ideal), over(m.waves, m.ideal_waves));
            println!("| {} (`{}`) | {least} | {moved:.3} | {requests:.2} | {sectors:.2} | {passes:.2} |", p.what, p.kernel);
            // Embeddings gather a row of each table: 16 bytes of every 512. It is 50 KB a step, and in the sum below.
            if p.what != "embeddings" {
                let small = p.what == "text's attention";
                assert!(moved <= if small { 1.1 } else { 1.05 }, "{} moves {moved:.3} of what it must", p.what);
                assert!(sectors <= 1.1, "{}: sectors {sectors:.3} of the ideal", p.what);
                assert!(requests <= asked, "{}: asks the caches for {requests:.2} of what it must read", p.what);
                assert!(m.waves <= m.ideal_waves, "{}: {} passes, {} without conflicts", p.what, m.waves, m.ideal_waves);
            }
        }
        let (moved, least) = whole(&parts);
        println!("whole step of 48 layers: {moved} of {least}: {:.4}", over(moved, least));
        assert!(over(moved, least) <= most, "a step moves {:.4} of what it must", over(moved, least));
    }
}

/// The largest ratio of the bytes that a step moves to the least possible. The test above asserts it, the
/// table below is computed from it.
const OVER: f64 = 1.011;
/// The same for q4: the weights are fewer bytes, so the activations are a larger share.
const OVER_Q4: f64 = 1.018;

/// Microseconds from one kernel of a graph to the next, as others have measured on an H100 (docs/measurements/gpu.md).
const LAUNCH: f64 = 1.3;

/// The roofline table in docs/measurements/gpu.md follows from these counts and the bandwidths that NVIDIA
/// publishes.
#[test]
fn the_roofline_of_the_guide_is_calculated_from_the_counts() {
    let guide = include_str!("../../../docs/measurements/gpu.md");
    // Width, layers, codes of all streams.
    for (model, d, layers, codes) in [("house", 256, 6, 8 * 1024), ("small", 1024, 24, 8192), ("medium", 1536, 48, 8192)] {
        let weights = layers * (4 + 8 + 2) * d * d + codes * d;
        let launches = 8 * layers + 3;
        for (format, bits, over) in [("bf16", 16, OVER), ("q8", 9, OVER), ("q4", 5, OVER_Q4)] {
            for context in [250, 1500] {
                let kv = LANES * layers * context * d * 2 * 2;
                let bytes = (weights * bits / 8 + kv) as f64 * over;
                let mut row = format!("| {model} | {format} | {context} | {:.0} | {launches} |", bytes / 1e6);
                for gigabytes in [3350.0, 1008.0, 360.0, 300.0] {
                    let ms = bytes / gigabytes / 1e6;
                    row += &format!(" {ms:.2} / {:.2} |", ms + launches as f64 * LAUNCH / 1e3);
                }
                println!("{row}");
                assert!(guide.contains(&row), "docs/measurements/gpu.md lacks the line\n{row}");
            }
        }
    }
}
