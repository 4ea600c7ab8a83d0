//! A room for the mix: early reflections of each stem, a short reverberation, and a gentle compressor, in stereo.
//!
//! Three dry mono stems sound like three wires. Here each gets reflections from other directions, and all share a
//! feedback delay network (Jot and Chaigne 1991) that dies away in about half a second, faster at high frequencies. Low
//! frequencies stay dry. One amount, 0 to 1, sets both the level of the room and the compression. At 0 the mix is
//! unchanged, bit for bit. It allocates only in [`Room::new`] and adds no latency.
//!
//! What it is sent is kept for seconds, so a sample that is no number, or far too loud, is not let in.

use super::RATE;

/// Length of a stem's line for early reflections, samples: a power of two.
const EARLY_LINE: usize = 2048;
/// Delays of the early reflections of the first stem in ms, left and right. Those of other stems differ by `STEM_MS`.
const EARLY_MS: [[f32; 4]; 2] = [[7.3, 13.1, 21.9, 31.7], [9.1, 15.7, 19.3, 34.9]];
/// See `EARLY_MS`; the sign differs by side, so the stems come from different directions.
const STEM_MS: f32 = 1.7;
/// Gain of an early reflection; the first is the loudest.
const EARLY_GAIN: [f32; 4] = [0.42, -0.36, 0.30, 0.25];
/// Lengths of the network's lines in samples, without a common divisor.
const LINES: [usize; 8] = [887, 1013, 1153, 1277, 1427, 1579, 1721, 1871];
/// Time in which the reverberation falls by 60 dB, seconds.
const DECAY: f32 = 0.55;
/// Share of the last output in a line's low-pass: how much sooner high frequencies die away.
const DAMPING: f32 = 0.35;
/// Only frequencies above this are sent to the room, Hz.
const SEND_FROM: f32 = 180.0;
/// Gain of early reflections and of the reverberation at amount 1.
const WET: [f32; 2] = [0.65, 0.36];
/// Time constant of the compressor's level, seconds.
const LEVEL_TIME: f32 = 0.06;
/// Power around which the compressor works: −14 dBFS.
const LEVEL: f32 = 0.04;
/// The loudest sample that is sent to the room, and the most power that the compressor counts.
const LOUDEST: f32 = 8.0;
/// Time constant of a change of the amount, seconds.
const RAMP: f32 = 0.03;

/// The room of a mix. See the module.
pub struct Room {
    amount: f32,
    /// Factors per sample of `RAMP`, `SEND_FROM` and `LEVEL_TIME`.
    ramp: f32,
    send: f32,
    level_step: f32,
    stems: Vec<Early>,
    at: usize,
    lines: [Line; 8],
    level: f32,
}

/// Early reflections of a stem.
struct Early {
    /// States of two low-passes; what they let through stays dry.
    low: [f32; 2],
    line: Vec<f32>,
    /// Delays in samples, left and right.
    delays: [[usize; 4]; 2],
}

/// A line of the network.
struct Line {
    samples: Vec<f32>,
    at: usize,
    /// Loss of a pass.
    gain: f32,
    low: f32,
}

impl Room {
    /// A silent room for a number of stems.
    pub fn new(stems: usize) -> Room {
        let rate = RATE as f32;
        let early = |stem: usize| {
            let delay = |side: usize, ms: f32| {
                let shift = STEM_MS * stem as f32 * if side == 0 { 1.0 } else { -1.0 };
                (((ms + shift).clamp(2.0, 60.0)) * rate / 1000.0) as usize
            };
            Early {
                low: [0.0; 2],
                line: vec![0.0; EARLY_LINE],
                delays: [0, 1].map(|side| EARLY_MS[side].map(|ms| delay(side, ms))),
            }
        };
        let line = |n: usize| Line { samples: vec![0.0; n], at: 0, gain: 10f32.powf(-3.0 * n as f32 / (DECAY * rate)), low: 0.0 };
        Room {
            amount: 0.0,
            ramp: 1.0 - (-1.0 / (RAMP * rate)).exp(),
            send: 1.0 - (-2.0 * std::f32::consts::PI * SEND_FROM / rate).exp(),
            level_step: 1.0 - (-1.0 / (LEVEL_TIME * rate)).exp(),
            stems: (0..stems).map(early).collect(),
            at: 0,
            lines: LINES.map(line),
            level: 0.0,
        }
    }

    /// Starts with an amount at once; without this, an amount is reached within a tenth of a second.
    pub fn start_at(&mut self, amount: f32) {
        self.amount = amount;
    }

    /// The next sample of left and right. `dry`: the mix without a room. `send`: the next sample of a stem, after its
    /// fader; stems beyond those of [`Room::new`] are dry. `amount`: 0 to 1.
    pub fn next(&mut self, amount: f32, send: impl Fn(usize) -> f32, dry: [f32; 2]) -> [f32; 2] {
        if self.amount == 0.0 && amount == 0.0 {
            return dry;
        }
        self.amount += (amount - self.amount) * self.ramp;
        if (amount - self.amount).abs() < 1e-4 {
            self.amount = amount;
            if amount == 0.0 {
                self.clear();
                return dry;
            }
        }
        let (mut early, mut sum) = ([0.0; 2], 0.0);
        for (n, stem) in self.stems.iter_mut().enumerate() {
            let mut high = Some(send(n)).filter(|x| x.is_finite()).unwrap_or(0.0).clamp(-LOUDEST, LOUDEST);
            for low in &mut stem.low {
                *low += (high - *low) * self.send;
                high -= *low;
            }
            stem.line[self.at] = high;
            sum += high;
            for (side, delays) in stem.delays.iter().enumerate() {
                for (delay, gain) in delays.iter().zip(EARLY_GAIN) {
                    early[side] += stem.line[(self.at + EARLY_LINE - delay) % EARLY_LINE] * gain;
                }
            }
        }
        self.at = (self.at + 1) % EARLY_LINE;
        let late = self.reverberate(sum);
        let mixed = [0, 1].map(|side| dry[side] + self.amount * (WET[0] * early[side] + WET[1] * late[side]));
        let power = 0.5 * (mixed[0] * mixed[0] + mixed[1] * mixed[1]);
        if power < LOUDEST {
            self.level += (power - self.level) * self.level_step;
        }
        let gain = (1.0 / (1.0 + self.amount * self.level / LEVEL)).sqrt();
        mixed.map(|x| x * gain)
    }

    /// Forgets what was sent: at amount 0 nothing is, and an old tail must not sound when the room comes back.
    fn clear(&mut self) {
        for stem in &mut self.stems {
            stem.low = [0.0; 2];
            stem.line.fill(0.0);
        }
        for line in &mut self.lines {
            line.low = 0.0;
            line.samples.fill(0.0);
        }
        self.level = 0.0;
    }

    /// The next sample of the feedback delay network, left and right.
    fn reverberate(&mut self, x: f32) -> [f32; 2] {
        let mut out = [0.0f32; 8];
        for (out, line) in out.iter_mut().zip(&mut self.lines) {
            line.low = line.samples[line.at] * (1.0 - DAMPING) + line.low * DAMPING;
            *out = line.low * line.gain;
        }
        // A Householder matrix: it keeps the energy and mixes each line with all others.
        let mean = out.iter().sum::<f32>() * 0.25;
        for (out, line) in out.iter().zip(&mut self.lines) {
            let next = x + out - mean;
            // No denormal numbers: they are slow where they aren't flushed.
            line.samples[line.at] = if next.abs() < 1e-20 { 0.0 } else { next };
            line.at = if line.at + 1 == line.samples.len() { 0 } else { line.at + 1 };
        }
        [out[0] - out[2] + out[4] - out[6], out[1] - out[3] + out[5] - out[7]]
    }
}

/// The mix of mono stems in a room: left and right interleaved, as long as the longest stem, and the gain that was
/// applied so that it does not clip, as in [`super::level::mix`].
pub fn mix(stems: &[&[f32]], amount: f32) -> (Vec<f32>, f32) {
    let len = stems.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut room = Room::new(stems.len());
    room.start_at(amount);
    let mut out = Vec::with_capacity(2 * len);
    for t in 0..len {
        let sample = |n: usize| stems[n].get(t).copied().unwrap_or(0.0);
        let sum = (0..stems.len()).map(sample).sum();
        out.extend(room.next(amount, sample, [sum; 2]));
    }
    let gain = super::level::attenuate(&mut out);
    (out, gain)
}

#[cfg(test)]
mod tests {
    use super::super::level::{peak, rms};
    use super::*;

    /// Noise without low frequencies.
    fn noise(n: usize) -> Vec<f32> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..n).map(|_| 0.2 * (next() - next())).collect()
    }

    #[test]
    fn without_an_amount_the_mix_is_dry_to_the_bit() {
        let (a, b) = (noise(5000), vec![0.1; 4000]);
        let (dry, _) = super::super::level::mix(&[&a, &b]);
        let (out, gain) = mix(&[&a, &b], 0.0);
        assert_eq!(gain, 1.0);
        assert!(out.chunks(2).zip(&dry).all(|(pair, x)| pair[0].to_bits() == x.to_bits() && pair[1].to_bits() == x.to_bits()));
    }

    #[test]
    fn the_room_dies_away_and_stays_bounded() {
        let rate = RATE as usize;
        let mut burst = noise(rate / 2);
        burst.resize(3 * rate, 0.0);
        let (out, _) = mix(&[&burst], 1.0);
        let second = |s: f32| rms(&out[(2.0 * s * rate as f32) as usize..][..rate / 5]);
        assert!(second(0.55) < second(0.2) * 0.7 && second(0.55) > 1e-4, "{} {}", second(0.2), second(0.55));
        assert!(second(2.0) < 1e-4 * second(0.2), "{}", second(2.0));
        assert!(peak(&out) <= 1.0);
    }

    #[test]
    fn the_direct_sound_stays_where_it_is_and_left_differs_from_right() {
        let mut click = vec![0.0; 8000];
        click[100] = 0.5;
        let (out, _) = mix(&[&click, &vec![0.0; 8000]], 0.3);
        assert!(out[..200].iter().all(|x| *x == 0.0), "nothing before the click");
        assert!(out[200] == out[201] && out[200] > 0.45 && peak(&out[202..]) < 0.2, "it is the loudest");
        assert!(out.chunks(2).skip(101).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn low_notes_stay_dry() {
        // So soft that the compressor does nothing.
        let tone = |hz: f32| -> Vec<f32> {
            (0..32_000).map(|n| 0.001 * (n as f32 * hz * std::f32::consts::TAU / RATE as f32).sin()).collect()
        };
        let wet = |hz: f32| {
            let x = tone(hz);
            let (out, _) = mix(&[&x], 0.3);
            rms(&out.chunks(2).zip(&x).skip(16_000).map(|(pair, x)| pair[0] - x).collect::<Vec<f32>>())
        };
        let mean = |tones: [f32; 5]| tones.map(wet).iter().sum::<f32>();
        let (low, high) = (mean([41.0, 43.7, 46.2, 49.0, 55.0]), mean([611.0, 750.0, 877.0, 1013.0, 1249.0]));
        assert!(low < 0.5 * high, "{low} {high}");
    }

    #[test]
    fn a_change_of_the_amount_makes_no_click() {
        let x: Vec<f32> = (0..16_000).map(|n| 0.3 * (n as f32 * 440.0 * std::f32::consts::TAU / RATE as f32).sin()).collect();
        let mut room = Room::new(1);
        let left: Vec<f32> =
            x.iter().enumerate().map(|(t, &x)| room.next(f32::from(t % 8000 > 4000), |_| x, [x; 2])[0]).collect();
        let steepest = left.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.06, "{steepest}");
    }

    #[test]
    fn a_sample_that_is_no_number_does_not_stay_in_the_room() {
        let x = noise(16_000);
        let mut room = Room::new(1);
        room.start_at(0.5);
        let mut out = Vec::new();
        for (t, x) in x.iter().enumerate() {
            let x = match t {
                1000 => f32::NAN,
                1001 => f32::INFINITY,
                1002 => 1e38,
                _ => *x,
            };
            out.push(room.next(0.5, |_| x, [x; 2]));
        }
        assert!(out[1003..].iter().flatten().all(|x| x.is_finite() && x.abs() < 4.0));
        let left: Vec<f32> = out[12_000..].iter().map(|pair| pair[0]).collect();
        assert!(rms(&left) > 0.3 * rms(&x), "the mix is as loud as before: {} {}", rms(&left), rms(&x));
    }

    #[test]
    fn a_room_that_comes_back_has_no_old_tail() {
        let x = noise(32_000);
        let mut room = Room::new(1);
        room.start_at(1.0);
        for x in x {
            room.next(1.0, |_| x, [x; 2]);
        }
        for _ in 0..32_000 {
            room.next(0.0, |_| 0.0, [0.0; 2]);
        }
        assert!((0..32_000).all(|_| room.next(1.0, |_| 0.0, [0.0; 2]) == [0.0; 2]));
    }
}
