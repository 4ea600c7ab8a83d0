//! The mixer: faders, pan, room and limiter, from stems to slots ([`crate::slot_layout`]), at 32 kHz. A stem's own
//! channel is after its fader and before its pan and the room, so level and mute also apply to its port; left and right
//! are the band without click and musician, in the room, limited.

use sideman_engine::audio::RATE;
use sideman_engine::audio::room::Room;
use sideman_engine::model::FRAME;

use crate::slot_layout::SlotLayout;

/// Highest sample of the mix: −0.3 dBFS.
const CEILING: f32 = 0.966;
/// Time in which the limiter's gain reduction falls by 63 %, in seconds.
const RELEASE: f32 = 0.2;

/// Keeps a pair of channels below the ceiling: the gain falls at once and comes back slowly.
pub struct Limiter {
    /// Gain reduction, 0 to 1. (The gain itself would never quite return to 1 in 32 bits.)
    reduction: f32,
    /// Factor of the reduction from one sample to the next.
    release: f32,
}

impl Limiter {
    /// The next pair. Where nothing is reduced the samples are unchanged, bit for bit.
    pub fn limit(&mut self, pair: [f32; 2]) -> [f32; 2] {
        let peak = pair[0].abs().max(pair[1].abs());
        self.reduction *= self.release;
        // Exactly 0 again.
        if self.reduction < 1e-4 {
            self.reduction = 0.0;
        }
        if peak * (1.0 - self.reduction) > CEILING {
            self.reduction = 1.0 - CEILING / peak;
        }
        pair.map(|x| x * (1.0 - self.reduction))
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter { reduction: 0.0, release: (-1.0 / (RELEASE * RATE as f32)).exp() }
    }
}

/// Mixes hop after hop.
pub struct Mixer {
    layout: SlotLayout,
    /// Left and right gain of each stem at the end of the last frame.
    gains: Vec<[f32; 2]>,
    room: Room,
    /// Level of the room at the last frame.
    amount: f32,
    limiter: Limiter,
    slots: Vec<f32>,
}

impl Mixer {
    /// A mixer with room for `frames` frames of 640 samples.
    /// `amount`: level of the room at the start.
    pub fn new(layout: SlotLayout, frames: usize, amount: f32) -> Self {
        let mut room = Room::new(layout.stems());
        room.start_at(amount);
        Mixer {
            layout,
            gains: vec![[0.0; 2]; layout.stems()],
            room,
            amount,
            limiter: Limiter::default(),
            slots: Vec::with_capacity(frames * FRAME * layout.channels()),
        }
    }

    /// Begins a new block of slots.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// Adds slots: `stem(s)` gives the samples of a stem and its gains at the end of each frame of 640 (the
    /// last may be shorter); `room`: its level at each of these frames. Returns the number of slots.
    pub fn add<'a>(&mut self, stem: impl Fn(usize) -> (&'a [f32], &'a [[f32; 2]]), room: &[f32], click: &[f32]) -> usize {
        let (layout, channels) = (self.layout, self.layout.channels());
        let (left, right) = (layout.left(), layout.right());
        let from = self.slots.len();
        self.slots.resize(from + click.len() * channels, 0.0);
        let slots = &mut self.slots[from..];
        for s in 0..layout.stems() {
            let (samples, gains) = stem(s);
            for (frame, samples) in samples.chunks(FRAME).enumerate() {
                let start = self.gains[s];
                let end = gains.get(frame).copied().unwrap_or(start);
                let step = [0, 1].map(|side| (end[side] - start[side]) / samples.len() as f32);
                for (i, x) in samples.iter().enumerate() {
                    let at = (frame * FRAME + i) * channels;
                    let gain =
                        [0, 1].map(|side| if step[side] == 0.0 { end[side] } else { start[side] + step[side] * (i + 1) as f32 });
                    let Some(slot) = slots.get_mut(at..at + channels) else { break };
                    slot[s] = x * gain[0].max(gain[1]);
                    slot[left] += x * gain[0];
                    slot[right] += x * gain[1];
                }
                self.gains[s] = end;
            }
        }
        for (n, (slot, click)) in slots.chunks_mut(channels).zip(click).enumerate() {
            slot[layout.click()] = *click;
            self.amount = room.get(n / FRAME).copied().unwrap_or(self.amount);
            let pair = self.room.next(self.amount, |s| slot[s], [slot[left], slot[right]]);
            [slot[left], slot[right]] = self.limiter.limit(pair);
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
    fn gains_move_linearly_and_the_mix_is_the_sum_of_the_stems() {
        let mut mixer = Mixer::new(SlotLayout::new(2), 4, 0.0);
        let (a, b) = (vec![0.25; 2 * FRAME], vec![-0.125; 2 * FRAME]);
        let (left, both) = ([[1.0, 0.0]; 2], [[1.0, 1.0], [0.5, 0.5]]);
        let click: Vec<f32> = (0..2 * FRAME).map(|n| n as f32).collect();
        let stem = |s: usize| if s == 0 { (&a[..], &left[..]) } else { (&b[..], &both[..]) };
        assert_eq!(mixer.add(stem, &[], &click), 2 * FRAME);
        let slot = |n: usize| &mixer.slots()[n * 5..n * 5 + 5];
        assert_eq!(slot(FRAME - 1), [0.25, -0.125, 639.0, 0.125, -0.125]);
        assert_eq!(slot(FRAME / 2 - 1), [0.125, -0.0625, 319.0, 0.0625, -0.0625]);
        assert_eq!(slot(2 * FRAME - 1), [0.25, -0.0625, 1279.0, 0.1875, -0.0625]);
    }

    #[test]
    fn the_limiter_keeps_the_mix_below_its_ceiling_and_recovers() {
        let mut mixer = Mixer::new(SlotLayout::new(1), 150, 0.0);
        let mut loud = vec![0.5f32; 150 * FRAME];
        (0..1000).for_each(|n| loud[n] = 3.0);
        let levels = vec![[1.0; 2]; 150];
        mixer.add(|_| (&loud, &levels), &[], &vec![0.0; loud.len()]);
        let left: Vec<f32> = mixer.slots().chunks(4).map(|s| s[2]).collect();
        assert!(left.iter().all(|x| *x <= CEILING + 1e-6));
        assert!(left[1001] < 0.2, "still reduced: {}", left[1001]);
        assert_eq!(left.last(), Some(&0.5), "what is not limited is untouched");
        assert!(mixer.slots()[0] > 0.0 && mixer.slots()[4 * 999] == 3.0, "a stem's own channel is not limited");
    }

    #[test]
    fn in_a_room_the_mix_changes_and_the_stems_do_not() {
        let x: Vec<f32> = (0..8 * FRAME).map(|n| if n % 1600 == 0 { 0.5 } else { 0.0 }).collect();
        let (levels, click) = (vec![[1.0; 2]; 8], vec![0.0; x.len()]);
        let slots = |amount: f32, cuts: &[usize]| {
            let mut mixer = Mixer::new(SlotLayout::new(1), 8, amount);
            let mut from = 0;
            for &frames in cuts {
                let to = from + frames;
                let of = |_| (&x[from * FRAME..to * FRAME], &levels[from..to]);
                mixer.add(of, &vec![amount; frames], &click[from * FRAME..to * FRAME]);
                from = to;
            }
            mixer.slots().to_vec()
        };
        let (dry, wet) = (slots(0.0, &[8]), slots(0.5, &[8]));
        assert!(dry.chunks(4).zip(wet.chunks(4)).all(|(a, b)| a[0] == b[0]), "the stem's own channel is dry");
        assert!(dry.chunks(4).all(|slot| slot[0] == slot[2] && slot[0] == slot[3]));
        assert!(wet.chunks(4).any(|slot| slot[2] != slot[3]), "the room is wide");
        assert_eq!(wet, slots(0.5, &[1, 3, 4]), "hops of any length give the same samples");
    }
}
