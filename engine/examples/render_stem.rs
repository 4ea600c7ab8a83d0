//! Generates drums and other for a recorded bass, and writes a WAV file for each stem and for the mix.
//!
//! ```sh
//! cargo run --release -p sideman-engine --example render_stem -- BASS OUT_FOLDER [BPM]
//! cargo run --release -p sideman-engine --example render_stem -- examples/funk.flac out/funk 100
//! ```

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // The engine prints nothing; a program does.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sideman_engine::audio::{self, level, wav};
use sideman_engine::model::{Model, ModelDir};
use sideman_engine::task::{Chart, Edit, Meter};
use sideman_kernels::Format;
use sideman_kernels::cpu::CpuBackend;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bass, out, bpm @ ..] = &args[..] else { return Err("usage: render_stem BASS OUT_FOLDER [BPM]".into()) };
    let out = Path::new(out);
    std::fs::create_dir_all(out)?;

    // Any WAV, FLAC, MP3 or OGG file: it is converted to mono at 32 kHz.
    let recording = audio::read(Path::new(bass))?;
    recording.warnings().iter().for_each(|warning| eprintln!("{warning}"));

    // A model directory, loaded on the CPU with a thread per core. CudaBackend is the other backend.
    let dir = ModelDir::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/house"))?;
    let mut backend = CpuBackend::new(std::thread::available_parallelism()?.get());
    let mut model = Model::load(&mut backend, &dir, Format::Bf16)?;

    // The given stems in the model's order; None is a stem to generate.
    let stems = &dir.config.stems;
    let given = stems.iter().map(|stem| (stem == "bass").then_some(&recording.samples[..])).collect();
    let mut edit = Edit::new(&dir.config, given);
    edit.settings.seed = 7;
    if let [bpm, ..] = bpm {
        // Bar 1 begins at the first sample.
        edit.settings.chart = Some(Chart::new(bpm.parse()?, 0.0, Meter::FourFour)?);
    }
    let songs = edit.render(&mut model, &mut backend, &mut |progress| {
        if progress.done % 50 == 0 {
            eprint!("\r{} of {} frames", progress.done, progress.total);
        }
        ControlFlow::Continue(())
    })?;
    eprintln!();

    // One song, because settings.variations is 1. All files appear, or none.
    let tracks: Vec<&[f32]> = songs[0].stems.iter().map(Vec::as_slice).collect();
    let (mix, _) = level::mix(&tracks);
    let mut files: Vec<(PathBuf, wav::Audio)> =
        stems.iter().map(|stem| out.join(format!("{stem}.wav"))).zip(tracks.into_iter().map(wav::Audio::mono)).collect();
    files.push((out.join("mix.wav"), wav::Audio::mono(&mix)));
    wav::write_all(&files, audio::RATE)?;
    for (path, audio) in &files {
        println!("{}: peak {:.1} dBFS", path.display(), level::db(level::peak(audio.samples)));
    }
    Ok(())
}
