//! From stems to slots: faders, pan, limiter, at 32 kHz. A slot is `stem 1 … stem n, click, left, right`. A stem's own channel is after
//! its fader and before its pan, so that a mute is heard on its port; left and right are the band without click and player, limited.

use sideman_engine::audio::RATE;
use sideman_engine::model::FRAME;

/// Highest sample of the mix: −0.3 dBFS.
const CEILING: f32 = 0.966;
/// Time in which the limiter lets go by 63 %, in seconds.
const RELEASE: f32 = 0.2;

/// Holds a pair of channels below the ceiling: at once, and lets go slowly.
pub struct Limiter {
    /// What it takes away: 0 to 1. (1 minus it would stop short of 1 in 32 bits.)
    held: f32,
    /// Factor of that from sample to sample.
    release: f32,
}

impl Limiter {
    /// The next pair. What is not limited is not touched.
    pub fn hold(&mut self, pair: [f32; 2]) -> [f32; 2] {
        let peak = pair[0].abs().max(pair[1].abs());
        self.held *= self.release;
        // Exactly 0 again.
        if self.held < 1e-4 {
            self.held = 0.0;
        }
        if peak * (1.0 - self.held) > CEILING {
            self.held = 1.0 - CEILING / peak;
        }
        pair.map(|x| x * (1.0 - self.held))
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter { held: 0.0, release: (-1.0 / (RELEASE * RATE as f32)).exp() }
    }
}

/// Mixes hop after hop.
pub struct Mixer {
    /// Left and right gain of each stem at the end of the last frame.
    levels: Vec<[f32; 2]>,
    limiter: Limiter,
    slots: Vec<f32>,
}

/// Channels of a slot of so many stems.
pub fn channels(stems: usize) -> usize {
    stems + 3
}

impl Mixer {
    /// Of a band of so many stems; has room for `frames` frames of 640 samples.
    pub fn new(stems: usize, frames: usize) -> Self {
        Mixer {
            levels: vec![[0.0; 2]; stems],
            limiter: Limiter::default(),
            slots: Vec::with_capacity(frames * FRAME * channels(stems)),
        }
    }

    /// Begins a new block of slots.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// Adds slots: `stem(s)` gives the samples of a stem and its gains at the end of each frame of 640 (the last may be shorter). Returns
    /// how many.
    pub fn add<'a>(&mut self, stem: impl Fn(usize) -> (&'a [f32], &'a [[f32; 2]]), click: &[f32]) -> usize {
        let (stems, c) = (self.levels.len(), channels(self.levels.len()));
        let from = self.slots.len();
        self.slots.resize(from + click.len() * c, 0.0);
        let slots = &mut self.slots[from..];
        for s in 0..stems {
            let (samples, levels) = stem(s);
            for (frame, samples) in samples.chunks(FRAME).enumerate() {
                let start = self.levels[s];
                let end = levels.get(frame).copied().unwrap_or(start);
                let step = [0, 1].map(|side| (end[side] - start[side]) / samples.len() as f32);
                for (i, x) in samples.iter().enumerate() {
                    let at = (frame * FRAME + i) * c;
                    let gain =
                        [0, 1].map(|side| if step[side] == 0.0 { end[side] } else { start[side] + step[side] * (i + 1) as f32 });
                    let Some(slot) = slots.get_mut(at..at + c) else { break };
                    slot[s] = x * gain[0].max(gain[1]);
                    slot[stems + 1] += x * gain[0];
                    slot[stems + 2] += x * gain[1];
                }
                self.levels[s] = end;
            }
        }
        for (slot, click) in slots.chunks_mut(c).zip(click) {
            slot[stems] = *click;
            [slot[stems + 1], slot[stems + 2]] = self.limiter.hold([slot[stems + 1], slot[stems + 2]]);
        }
        click.len()
    }

    /// The slots since [`Mixer::clear`], interleaved.
    pub fn slots(&self) -> &[f32] {
        &self.slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_reached_in_a_straight_line_and_the_mix_is_their_sum() {
        let mut mixer = Mixer::new(2, 4);
        let (a, b) = (vec![0.25; 2 * FRAME], vec![-0.125; 2 * FRAME]);
        let (left, both) = ([[1.0, 0.0]; 2], [[1.0, 1.0], [0.5, 0.5]]);
        let click: Vec<f32> = (0..2 * FRAME).map(|n| n as f32).collect();
        let stem = |s: usize| if s == 0 { (&a[..], &left[..]) } else { (&b[..], &both[..]) };
        assert_eq!(mixer.add(stem, &click), 2 * FRAME);
        let slot = |n: usize| &mixer.slots()[n * 5..n * 5 + 5];
        assert_eq!(slot(FRAME - 1), [0.25, -0.125, 639.0, 0.125, -0.125]);
        assert_eq!(slot(FRAME / 2 - 1), [0.125, -0.0625, 319.0, 0.0625, -0.0625]);
        assert_eq!(slot(2 * FRAME - 1), [0.25, -0.0625, 1279.0, 0.1875, -0.0625]);
    }

    #[test]
    fn the_limiter_holds_the_ceiling_and_lets_go() {
        let mut mixer = Mixer::new(1, 150);
        let mut loud = vec![0.5f32; 150 * FRAME];
        (0..1000).for_each(|n| loud[n] = 3.0);
        let levels = vec![[1.0; 2]; 150];
        mixer.add(|_| (&loud, &levels), &vec![0.0; loud.len()]);
        let left: Vec<f32> = mixer.slots().chunks(4).map(|s| s[2]).collect();
        assert!(left.iter().all(|x| *x <= CEILING + 1e-6));
        assert!(left[1001] < 0.2, "still held: {}", left[1001]);
        assert_eq!(left.last(), Some(&0.5), "what is not limited is untouched");
        assert!(mixer.slots()[0] > 0.0 && mixer.slots()[4 * 999] == 3.0, "a stem's own channel is not limited");
    }
}
