//! A live session behind an audio callback of your own. The callback is simulated by a loop over blocks of a
//! recorded bass; the session generates drums and other, and the stereo result is written as two WAV files.
//!
//! ```sh
//! cargo run --release -p sideman-engine --example live_callback -- BASS OUT_FOLDER [BPM]
//! cargo run --release -p sideman-engine --example live_callback -- examples/funk.flac out/live 100
//! ```
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // The engine prints nothing and reads no clock; a program does.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use sideman_engine::audio::{self, wav};
use sideman_engine::live::{Session, SessionConfig};
use sideman_engine::model::{FRAME, Model, ModelDir};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Backend, Format};

/// Samples per callback.
const BLOCK: usize = 256;
/// Samples per hop, a whole number of frames.
const HOP: usize = 5 * FRAME;

/// Mixes what the last hop generated into `out`. `gains` are the left and right gains of each stem so far.
fn mix<B: Backend>(session: &Session<B>, gains: &mut [[f32; 2]], out: &mut VecDeque<[f32; 2]>) {
    let mut mixed: Vec<[f32; 2]> = session.click().iter().map(|x| [*x; 2]).collect();
    for (stem, gain) in gains.iter_mut().enumerate() {
        // A gain for the end of each frame, reached in a straight line.
        for ((samples, target), mixed) in session.stem(stem).chunks(FRAME).zip(session.levels(stem)).zip(mixed.chunks_mut(FRAME))
        {
            let n = samples.len() as f32;
            for (i, (x, y)) in samples.iter().zip(mixed).enumerate() {
                let at = (i + 1) as f32 / n;
                for side in 0..2 {
                    y[side] += x * (gain[side] + (target[side] - gain[side]) * at);
                }
            }
            *gain = *target;
        }
    }
    out.extend(mixed);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bass, out, bpm @ ..] = &args[..] else { return Err("usage: live_callback BASS OUT_FOLDER [BPM]".into()) };
    let recording = audio::read(Path::new(bass))?;
    let dir = ModelDir::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/house"))?;
    let mut backend = CpuBackend::new(std::thread::available_parallelism()?.get());
    let model = Model::load(&mut backend, &dir, Format::Q8)?;

    // The lead is the time from a sample of the input to the decision about the output that sounds with it.
    // It must cover a hop and a block, and in a real program also the time that a hop computes and the
    // latency of the devices.
    let lag = Session::lag_for(&model, (2 * HOP + BLOCK) as i64).ok_or("the model has no lag that leaves enough time")?;
    let tempo = bpm.first().map_or(Ok(100.0), |bpm| bpm.parse())?;
    let input_stem = dir.config.stems.iter().position(|stem| stem == "bass").map(|stem| stem as u8);
    let config = SessionConfig { input_stem, lag, tempo, guided: true, seed: 7, ..SessionConfig::for_model(&dir.config) };
    let mut session = Session::new(&mut backend, &model, &config, None)?;

    // A new session has already generated the first `lead` samples of the song.
    let mut gains = vec![[0.0; 2]; dir.config.stems.len()];
    let (mut input, mut output) = (Vec::with_capacity(HOP), VecDeque::new());
    mix(&session, &mut gains, &mut output);

    let (mut left, mut right, mut slowest) = (Vec::new(), Vec::new(), 0.0f64);
    for block in recording.samples.chunks_exact(BLOCK) {
        // The callback's part: store the input, play the output. In a real program both are lock-free ring
        // buffers.
        input.extend_from_slice(block);
        for x in block {
            let [l, r] = output.pop_front().unwrap_or_default();
            left.push(x + l);
            right.push(x + r);
        }
        // The engine's part. In a real program this is another thread: a hop takes milliseconds, a callback
        // must not wait for it.
        while input.len() >= HOP {
            let start = Instant::now();
            session.hop(&mut backend, &model, &input[..HOP])?;
            slowest = slowest.max(start.elapsed().as_secs_f64());
            input.drain(..HOP);
            mix(&session, &mut gains, &mut output);
        }
    }
    std::fs::create_dir_all(out)?;
    let files = ["left.wav", "right.wav"].map(|name| Path::new(out).join(name));
    wav::write_all(&[(files[0].clone(), wav::Audio::mono(&left)), (files[1].clone(), wav::Audio::mono(&right))], audio::RATE)?;
    println!("{}, {}", files[0].display(), files[1].display());
    let available = HOP as f64 / f64::from(audio::RATE);
    println!("lag {lag} frames; the slowest hop took {:.0} of {:.0} ms", slowest * 1e3, available * 1e3);
    Ok(())
}
