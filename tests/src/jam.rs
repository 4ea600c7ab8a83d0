//! A loaded model and its backend, for tests of sessions.

use sideman_engine::model::Model;
use sideman_engine::model::ModelDir;
use sideman_kernels::Format;
use sideman_kernels::cpu::CpuBackend;

use crate::fixture::Fixture;

const RATE: f64 = 32_000.0;

/// A model on one thread.
pub struct Jam {
    /// The backend.
    pub cpu: CpuBackend,
    /// The model.
    pub model: Model<CpuBackend>,
}

impl Jam {
    /// Writes the fixture to a temporary folder and loads it.
    ///
    /// # Panics
    /// It can't be written or loaded.
    pub fn open(fixture: Fixture) -> Jam {
        let dir = tempfile::tempdir().expect("a folder for the fixture");
        fixture.write(dir.path()).expect("the fixture, written");
        Jam::at(dir.path())
    }

    /// Loads a model directory.
    ///
    /// # Panics
    /// It can't be loaded.
    pub fn at(dir: &std::path::Path) -> Jam {
        let mut cpu = CpuBackend::new(1);
        let model = Model::load(&mut cpu, &ModelDir::open(dir).expect("a model"), Format::F32).expect("a model that fits");
        Jam { cpu, model }
    }
}

/// `len` samples of a plucked bass line, two notes a second.
pub fn bass(len: usize) -> Vec<f32> {
    let pluck = |i: usize| {
        let t = i as f32 / 32000.0;
        let hz = [55.0, 55.0, 73.4, 82.4][(t * 2.0) as usize % 4];
        0.5 * (-4.0 * (t % 0.5)).exp() * (t * std::f32::consts::TAU * hz).sin()
    };
    (0..len).map(pluck).collect()
}

/// Adds a plucked note to `out` at second `at`.
pub fn pluck(out: &mut [f32], at: f64, midi: f64, seconds: f64) {
    let frequency = 440.0 * 2f64.powf((midi - 69.0) / 12.0);
    let start = (at * RATE).round() as usize;
    let length = (seconds * RATE) as usize;
    for (n, x) in out.iter_mut().skip(start).take(length).enumerate() {
        let t = n as f64 / RATE;
        let fade = ((seconds - t) / 0.02).min(1.0);
        let tone = |h: i32| {
            (std::f64::consts::TAU * frequency * f64::from(h) * t).sin() / f64::from(h) * (-3.0 * t * f64::from(h)).exp()
        };
        *x += (0.3 * fade * (1..=6).map(tone).sum::<f64>()) as f32;
    }
}

/// A count of four from second 1.5 on and a line of `beats` beats after it, two notes a beat. `at` gives the seconds
/// of a beat after the first one of the count, fractions included.
pub fn counted_line(beats: usize, note: f64, at: impl Fn(f64) -> f64) -> Vec<f32> {
    let seconds = 1.5 + at(beats as f64 + 4.0);
    let mut out = vec![0.0; ((seconds + 0.5) * 50.0) as usize * 640];
    for k in 0..4 {
        pluck(&mut out, 1.5 + at(f64::from(k)), 40.0, 0.15);
    }
    for half in 0..2 * beats {
        let place = 4.0 + half as f64 / 2.0;
        pluck(&mut out, 1.5 + at(place), note + [0.0, 7.0, 12.0, 7.0][half % 4], 0.2);
    }
    out
}
