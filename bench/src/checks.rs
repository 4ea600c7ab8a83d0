//! Checks of a GPU: its tokens, codes and samples against the CPU's. Each case is written once and runs on both backends.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use sideman_engine::codec::Codec;
use sideman_engine::lm::{Lm, Run, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_engine::text::Hidden;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Activations, Backend, Format, Sampling, UNKNOWN};

/// Known frames before the first sampled one: with two lanes, enough rows for the tensor cores.
const KNOWN: usize = 40;
/// Columns fed at once.
const BLOCK: usize = 64;

/// A guided run with text, of [`KNOWN`] known frames and `frames` sampled ones.
fn begin<B: Backend>(backend: &mut B, lm: &Lm<B>, frames: usize) -> Result<Run<B>> {
    let config = lm.config();
    let delays: Vec<usize> = config.streams.iter().map(|s| s.delay).collect();
    let hidden = config.text.as_ref().map(|t| Hidden { len: 16, data: vec![0.1; 16 * t.dim] });
    let spec = RunSpec {
        songs: 1,
        guided: true,
        delays: &delays,
        frames: KNOWN + frames,
        texts: &[hidden.as_ref()],
        text_room: 0,
        kv: Format::F32,
        block: BLOCK,
        sampling: Sampling { temperature: 1.0, top_k: 250, top_p: 0.0, cfg: 3.0, seed: 1, frame_base: 0 },
    };
    let mut run = lm.run(backend, &spec)?;
    for (k, stream) in config.streams.iter().enumerate() {
        let known: Vec<i32> = (0..KNOWN).map(|t| ((t + k) * 7 % stream.card) as i32).collect();
        run.put(backend, 0, k, 0, &known)?;
    }
    Ok(run)
}

/// Tokens of each stream.
fn tokens<B: Backend>(backend: &mut B, dir: &ModelDir, format: Format, frames: usize) -> Result<Vec<Vec<i32>>> {
    let lm = Lm::load(backend, dir, format)?;
    let mut run = begin(backend, &lm, frames)?;
    while run.next(backend, &lm, usize::MAX) > 0 {}
    let row = |backend: &mut B, k| {
        let mut row = vec![UNKNOWN; KNOWN + frames];
        run.codes(backend, 0, k, 0, &mut row);
        row
    };
    Ok((0..lm.config().streams.len()).map(|k| row(backend, k)).collect())
}

/// Whether a model's tokens equal the CPU's: with the known frames fed exactly, and on tensor cores (where a token may differ if
/// two are equally likely).
pub fn model(cuda: &mut CudaBackend, dir: &ModelDir, format: Format, frames: usize) -> Result<(bool, bool)> {
    // The CUDA backend multiplies by activations in f32.
    let want = tokens(&mut CpuBackend::new(0).with_activations(Activations::F32), dir, format, frames)?;
    let exact = tokens(cuda, dir, format, frames)? == want;
    cuda.tiles(true);
    let tiles = tokens(cuda, dir, format, frames);
    cuda.tiles(false);
    Ok((exact, tiles? == want))
}

/// Number of kernels of a step.
pub fn launches(cuda: &mut CudaBackend, lm: &Lm<CudaBackend>) -> Result<u64> {
    let mut run = begin(cuda, lm, 4)?;
    while run.at() < KNOWN - 1 && run.next(cuda, lm, KNOWN - 1) > 0 {}
    let before = cuda.launches();
    if !run.step(cuda, lm) {
        bail!("no step to count");
    }
    Ok(cuda.launches() - before)
}

/// Share of codes that equal the CPU's, and the largest difference of samples, for half a second of sound.
pub fn codec(cuda: &mut CudaBackend, on_gpu: &Codec<CudaBackend>, on_cpu: &Codec<CpuBackend>) -> Result<Value> {
    let cpu = &mut CpuBackend::new(0);
    let heard: Vec<f32> =
        (0..25 * on_cpu.frame()).map(|i| (i as f32 * 0.02).sin() * 0.4 + (i as f32 * 0.31).sin() * 0.1).collect();
    let codes = on_cpu.encode(cpu, &heard)?;
    let same = on_gpu.encode(cuda, &heard)?.iter().zip(&codes).filter(|(g, c)| g == c).count();
    let (near, want) = (on_gpu.decode(cuda, &codes)?, on_cpu.decode(cpu, &codes)?);
    let apart = near.iter().zip(&want).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f32::max);
    Ok(json!({"same_codes": same as f64 / codes.len() as f64, "samples_apart": apart}))
}
