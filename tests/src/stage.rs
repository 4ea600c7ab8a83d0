//! Fixtures of live play: a runner with the committed random model, a bass line as its input, and readers of
//! a take's files.

use std::path::{Path, PathBuf};

use sideman_engine::live::{Request, SessionConfig};
use sideman_engine::model::Model;
use sideman_engine::model::ModelDir;
use sideman_io::control::{Control, ControlReceiver};
use sideman_io::rt;
use sideman_io::run_mode::RunMode;
use sideman_io::runner::Runner;
use sideman_io::take::TakeInfo;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Activations, Format};

/// The committed model.
pub fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/house")
}

/// Settings of a session at 120 BPM with bar 1 at song time 0; the musician plays the bass.
pub fn config(lag: usize) -> SessionConfig {
    SessionConfig { lag, chords: Some("Em C".into()), click: true, text_room: 16, top_k: 20, seed: 5, ..SessionConfig::default() }
}

/// What `take.json` holds for a session of the model in `dir`.
pub fn take_info(dir: &Path, config: SessionConfig) -> TakeInfo {
    TakeInfo {
        version: "test".into(),
        model: dir.to_owned(),
        model_sha256: String::new(),
        precision: Format::F32,
        activations: Activations::F32,
        stems: ["bass", "drums", "other"].map(str::to_owned).to_vec(),
        lead: 0,
        devices: "test".into(),
        latency_in: 0.0,
        latency_out: 0.0,
        from: 0,
        samples: 0,
        ended: None,
        config,
    }
}

/// A runner of the model in `dir`.
pub fn runner_of(dir: &Path, config: SessionConfig, mode: RunMode) -> (Runner<CpuBackend>, Control) {
    rt::flush_denormals();
    let mut cpu = CpuBackend::new(1);
    let model = Model::load(&mut cpu, &ModelDir::open(dir).expect("a model"), Format::F32).expect("loads");
    let (control, controls): (Control, ControlReceiver) = Control::new();
    let info = take_info(dir, config);
    (Runner::new(cpu, model, info, controls, std::env::temp_dir(), mode).expect("a session"), control)
}

/// A runner of the committed model.
pub fn runner(config: SessionConfig, mode: RunMode) -> (Runner<CpuBackend>, Control) {
    runner_of(&model(), config, mode)
}

/// `n` samples, at `rate`, of eighth notes around E1.
pub fn bass(n: usize, rate: u32) -> Vec<f32> {
    let note = |t: f64| [41.2, 41.2, 61.7, 55.0][(t * 4.0) as usize % 4];
    (0..n)
        .map(|i| {
            let t = i as f64 / f64::from(rate);
            let decay = (-(t * 4.0).fract() * 3.0).exp();
            (0.5 * decay * (std::f64::consts::TAU * note(t) * t).sin()) as f32
        })
        .collect()
}

/// A request that takes effect at once.
pub fn now(command: sideman_engine::live::Command) -> Request {
    Request { command, when: None, from: 1 }
}

/// Names and bytes of a take's WAV files and tokens.
pub fn heard(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = std::fs::read_dir(dir)
        .expect("a take")
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "wav" || e == "safetensors"))
        .map(|p| (p.file_name().unwrap_or_default().to_string_lossy().into_owned(), std::fs::read(&p).expect("read")))
        .collect();
    all.sort();
    all
}

/// Samples of a WAV file of 32-bit floats.
pub fn wav(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a WAV");
    let at = bytes.windows(4).position(|w| w == b"data").expect("data") + 8;
    bytes[at..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
