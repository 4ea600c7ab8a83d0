//! The metronome: a click on each beat, exact to the sample.

use crate::model::SAMPLE_RATE;
use crate::touched::empty;

/// Samples of a click: 40 ms.
const LEN: usize = SAMPLE_RATE / 25;

/// The metronome of a song.
pub(super) struct Metronome {
    /// Whether it clicks outside of a count-in.
    pub on: bool,
    /// Samples of the current hop.
    pub samples: Vec<f32>,
    /// Sounds of the first beat of a bar and of the others.
    sounds: [Vec<f32>; 2],
    /// The sound that is playing, and its next sample.
    playing: Option<(usize, usize)>,
}

impl Metronome {
    /// A silent metronome with room for the samples of one hop.
    pub fn new(on: bool, room: usize) -> Self {
        let sound = |hz: f32| {
            let sample = |i: usize| {
                let t = i as f32 / SAMPLE_RATE as f32;
                0.5 * (-t / 0.006).exp() * (std::f32::consts::TAU * hz * t).cos()
            };
            (0..LEN).map(sample).collect()
        };
        Metronome { on, samples: empty(room), sounds: [sound(1760.0), sound(1175.0)], playing: None }
    }

    /// Starts a click with the next sample.
    pub fn strike(&mut self, first_beat: bool) {
        self.playing = Some((usize::from(!first_beat), 0));
    }

    /// Renders the next `n` samples.
    pub fn render(&mut self, n: usize) {
        let old = self.samples.len();
        self.samples.resize(old + n, 0.0);
        if let Some((sound, from)) = self.playing {
            let rest = &self.sounds[sound][from..];
            let n = rest.len().min(n);
            self.samples[old..old + n].copy_from_slice(&rest[..n]);
            self.playing = (n < rest.len()).then_some((sound, from + n));
        }
    }
}
