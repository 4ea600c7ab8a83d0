//! A loaded model and its backend, for tests of sessions.

use sideman_engine::model::Model;
use sideman_engine::model::ModelDir;
use sideman_kernels::Format;
use sideman_kernels::cpu::CpuBackend;

use crate::fixture::Fixture;

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
