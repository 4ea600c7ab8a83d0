//! Live play on a GPU on paper (tests/fakecuda): what the processor plays; and where the GPU is lost in mid-song, the processor takes
//! over (live_relief.rs: at which bar line, and with what).

use std::path::Path;
use std::time::Instant;

use sideman_engine::live::SessionConfig;
use sideman_engine::model::Model;
use sideman_engine::model::ModelDir;
use sideman_fakecuda::Fake;
use sideman_io::control::{Control, Event};
use sideman_io::failover::Slot;
use sideman_io::rt;
use sideman_io::runner::Runner;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Backend, Format};
use sideman_tests::fixture::Fixture;
use sideman_tests::stage::{bass, config, take_info};

/// Samples of a hop.
const HOP: usize = 4 * 640;
/// Channels of a slot: three stems, click, left, right.
const SLOT: usize = 6;

fn model<B: Backend>(backend: &mut B, dir: &Path) -> Model<B> {
    Model::load(backend, &ModelDir::open(dir).unwrap(), Format::F32).unwrap()
}

fn runner<B: Backend>(mut backend: B, dir: &Path, config: &SessionConfig) -> (Runner<B>, Control) {
    rt::quiet_denormals();
    let model = model(&mut backend, dir);
    let (control, controls) = Control::new();
    (Runner::new(backend, model, take_info(dir, config.clone()), controls, std::env::temp_dir(), true).unwrap(), control)
}

/// Slots of a session of `hops` hops, those before the first one included; `before` is called before each.
fn play<B: Backend>(mut runner: Runner<B>, hops: usize, mut before: impl FnMut(usize)) -> (Vec<f32>, i64) {
    let input_stem = bass(hops * HOP, 32000);
    let mut slots = runner.slots().to_vec();
    for (i, heard) in input_stem.chunks(HOP).enumerate() {
        before(i);
        runner.hop(heard);
        assert_eq!(runner.slots().len(), HOP * SLOT, "hop {i}");
        slots.extend_from_slice(runner.slots());
    }
    (slots, runner.time().1)
}

fn channel(slots: &[f32], n: usize) -> Vec<f32> {
    slots.chunks_exact(SLOT).map(|slot| slot[n]).collect()
}

fn loudest(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |a, b| a.max(b.abs()))
}

/// A model of short windows, so that several play in a few seconds, and a session in 3 seconds a bar.
fn scene(dir: &Path) -> SessionConfig {
    Fixture::short().write(dir).unwrap();
    SessionConfig { guided: true, cfg_scale: 2.0, tempo: 240.0, text: "funk drums".into(), ..config(6) }
}

/// Plays five seconds on the processor and on a GPU as `words` say, and holds all samples of all channels to be near.
fn five_seconds(words: &str) {
    let hops = 63;
    let dir = tempfile::tempdir().unwrap();
    let config = scene(dir.path());
    let (want, _) = play(runner(CpuBackend::new(1), dir.path(), &config).0, hops, |_| ());
    let begun = Instant::now();
    let fake = Fake::load(words).unwrap();
    let (got, _) = play(runner(CudaBackend::new(0).unwrap(), dir.path(), &config).0, hops, |_| ());
    assert_eq!(fake.faults(), [""; 0]);
    println!("{words}: {hops} hops in {:.0} s", begun.elapsed().as_secs_f32());
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!((g - w).abs() <= 1e-3, "slot {} channel {}: {g}, the processor has {w}", i / SLOT, i % SLOT);
    }
    assert!(loudest(&channel(&want, 1)) > 0.01, "the drums are silent: nothing was compared");
}

#[test]
fn five_seconds_on_a_gpu_are_those_of_the_processor() {
    five_seconds("sm=80 lazy races=0");
}

#[test]
#[ignore = "takes minutes on an interpreter: docs/explanation/cuda.md has the command"]
fn five_seconds_with_races_looked_for_are_those_of_the_processor() {
    five_seconds("sm=80 lazy order=random seed=5");
    five_seconds("sm=75 order=reverse");
}

#[test]
fn a_gpu_lost_in_mid_song_gives_way_to_the_processor() {
    let dir = tempfile::tempdir().unwrap();
    let config = scene(dir.path());
    let (hops, lost) = (30, 8);
    let (want, lead) = play(runner(CpuBackend::new(1), dir.path(), &config).0, hops, |_| ());
    let words = "sm=80 lazy races=0";
    let fake = Fake::load(words).unwrap();
    let (mut on_gpu, control) = runner(CudaBackend::new(0).unwrap(), dir.path(), &config);
    let mut cpu = CpuBackend::new(1);
    let model = model(&mut cpu, dir.path());
    on_gpu.relieve_by(Slot::standby(cpu, model, &config).unwrap());
    let said = control.events();
    let (got, _) = play(on_gpu, hops, |i| {
        if i == lost {
            fake.lose();
        }
    });
    assert_eq!(fake.faults(), [""; 0]);
    let said: Vec<String> = said.try_iter().filter_map(|e| if let Event::Said(what) = e { Some(what) } else { None }).collect();
    assert!(said.len() == 1 && said[0].contains("the GPU is lost") && said[0].contains("the processor takes over"), "{said:?}");

    // The clock never stops: every click on its sample.
    assert_eq!(got.len(), want.len());
    assert_eq!(channel(&got, 3), channel(&want, 3), "the click");
    // Up to the hop in which it is lost, the band is the one that would have played; at the end it plays.
    let (drums, before) = (channel(&got, 1), channel(&want, 1));
    let until = lead as usize + lost * HOP;
    assert!((0..until).all(|i| (drums[i] - before[i]).abs() <= 1e-3), "{words}: other drums before");
    assert!(got.iter().all(|x| x.is_finite()) && loudest(&drums[drums.len() - HOP..]) > 0.01, "{words}: silent at the end");
}
