//! Live play in the PTX emulator (tests/fakecuda): it gives the samples of the CPU, and when the GPU is lost
//! in mid-song the CPU takes over (live_failover.rs tests at which bar line, and with what).

use std::path::Path;
use std::time::Instant;

use sideman_engine::live::SessionConfig;
use sideman_engine::model::Model;
use sideman_engine::model::ModelDir;
use sideman_fakecuda::Fake;
use sideman_io::control::Control;
use sideman_io::event::{EngineEvent, Event};
use sideman_io::failover::Slot;
use sideman_io::rt;
use sideman_io::run_mode::RunMode;
use sideman_io::runner::Runner;
use sideman_io::slot_layout::SlotLayout;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Backend, Format};
use sideman_tests::fixture::Fixture;
use sideman_tests::stage::{bass, config, take_info};

/// Samples of a hop.
const HOP: usize = 4 * 640;
/// Channels of a slot.
const LAYOUT: SlotLayout = SlotLayout::new(3);
const SLOT: usize = LAYOUT.channels();

fn model<B: Backend>(backend: &mut B, dir: &Path) -> Model<B> {
    Model::load(backend, &ModelDir::open(dir).unwrap(), Format::F32).unwrap()
}

fn runner<B: Backend>(mut backend: B, dir: &Path, config: &SessionConfig) -> (Runner<B>, Control) {
    rt::flush_denormals();
    let model = model(&mut backend, dir);
    let (control, controls) = Control::new();
    (
        Runner::new(backend, model, take_info(dir, config.clone()), controls, std::env::temp_dir(), RunMode::Files).unwrap(),
        control,
    )
}

/// Slots of a session of `hops` hops, with those before the first hop. `before` is called before each hop.
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

/// A model with short windows, so that a few seconds use several of them.
fn scene(dir: &Path) -> SessionConfig {
    Fixture::short().write(dir).unwrap();
    SessionConfig { guided: true, cfg_scale: 2.0, tempo: 240.0, text: "funk drums".into(), ..config(6) }
}

/// Plays five seconds on the CPU and in the emulator as `words` configure it, and compares all samples of all
/// channels.
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
        assert!((g - w).abs() <= 1e-3, "slot {} channel {}: {g}, the CPU has {w}", i / SLOT, i % SLOT);
    }
    assert!(loudest(&channel(&want, 1)) > 0.01, "the drums are silent: the comparison says nothing");
}

#[test]
fn five_seconds_on_a_gpu_are_those_of_the_cpu() {
    five_seconds("sm=80 lazy races=0");
}

#[test]
#[ignore = "takes minutes on an interpreter: docs/explanation/cuda.md has the command"]
fn five_seconds_in_other_orders_of_execution_are_those_of_the_cpu() {
    five_seconds("sm=80 lazy order=random seed=5");
    five_seconds("sm=75 order=reverse");
}

#[test]
fn the_cpu_takes_over_when_the_gpu_is_lost_in_mid_song() {
    let dir = tempfile::tempdir().unwrap();
    let config = scene(dir.path());
    let (hops, lost) = (30, 8);
    let (want, lead) = play(runner(CpuBackend::new(1), dir.path(), &config).0, hops, |_| ());
    let words = "sm=80 lazy races=0";
    let fake = Fake::load(words).unwrap();
    let (mut on_gpu, control) = runner(CudaBackend::new(0).unwrap(), dir.path(), &config);
    let mut cpu = CpuBackend::new(1);
    let model = model(&mut cpu, dir.path());
    on_gpu.set_standby(Slot::standby(cpu, model, &config).unwrap());
    let events = control.events();
    let (got, _) = play(on_gpu, hops, |i| {
        if i == lost {
            fake.lose();
        }
    });
    assert_eq!(fake.faults(), [""; 0]);
    let events: Vec<Event> = events.try_iter().collect();
    assert!(matches!(&events[..], [Event::Engine(EngineEvent::Failover { .. })]), "{events:?}");

    // Song time goes on: every click is on its sample.
    assert_eq!(got.len(), want.len());
    assert_eq!(channel(&got, LAYOUT.click()), channel(&want, LAYOUT.click()), "the click");
    // Before the hop in which the GPU is lost the drums are the same; at the end they sound.
    let (drums, before) = (channel(&got, 1), channel(&want, 1));
    let until = lead as usize + lost * HOP;
    assert!((0..until).all(|i| (drums[i] - before[i]).abs() <= 1e-3), "{words}: other drums before");
    assert!(got.iter().all(|x| x.is_finite()) && loudest(&drums[drums.len() - HOP..]) > 0.01, "{words}: silent at the end");
}
