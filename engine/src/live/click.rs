//! The metronome: a click on each beat, exact to the sample.

use crate::model::SAMPLE_RATE;

/// Samples of a click: 40 ms.
const LEN: usize = SAMPLE_RATE / 25;

/// Sounds of the metronome, and the one that sounds.
pub(super) struct Click {
    /// The first beat's, the others'.
    sounds: [Vec<f32>; 2],
    /// Which sounds, from which of its samples on.
    now: Option<(usize, usize)>,
}

impl Click {
    pub fn new() -> Self {
        let sound = |hz: f32| {
            let sample = |i: usize| {
                let t = i as f32 / SAMPLE_RATE as f32;
                0.5 * (-t / 0.006).exp() * (std::f32::consts::TAU * hz * t).cos()
            };
            (0..LEN).map(sample).collect()
        };
        Click { sounds: [sound(1760.0), sound(1175.0)], now: None }
    }

    /// A click begins with the next sample.
    pub fn strike(&mut self, first: bool) {
        self.now = Some((usize::from(!first), 0));
    }

    /// The next samples.
    pub fn fill(&mut self, out: &mut [f32]) {
        out.fill(0.0);
        if let Some((which, from)) = self.now {
            let rest = &self.sounds[which][from..];
            let n = rest.len().min(out.len());
            out[..n].copy_from_slice(&rest[..n]);
            self.now = (n < rest.len()).then_some((which, from + n));
        }
    }
}
