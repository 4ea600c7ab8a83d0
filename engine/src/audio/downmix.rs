//! Mixes the channels of a file down to mono, and counts what is wrong with its samples.

/// How channels become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mix {
    /// Their mean.
    Mean,
    /// Half of the first minus the second: for two channels of which one is the other's inverse.
    Difference,
    /// This one alone.
    Only(usize),
}

/// Share of the channels' power that their mean keeps at least. Two that have nothing in common keep half, and
/// a wide stereo sound some tenths; below this they cancel each other out.
const LEAST_POWER: f64 = 0.01;

/// Mixes a file down to mono and counts its defects.
pub(super) struct Downmix {
    mix: Mix,
    pub(super) not_finite: u64,
    pub(super) clipped: u64,
    pub(super) peak: f32,
    /// Last sample of each channel.
    last: Vec<f32>,
    /// Sum of the squares of each channel, and of the result.
    power: Vec<f64>,
    mixed_power: f64,
}

impl Downmix {
    /// Nothing mixed yet.
    pub(super) fn new(mix: Mix) -> Downmix {
        Downmix { mix, not_finite: 0, clipped: 0, peak: 0.0, last: Vec::new(), power: Vec::new(), mixed_power: 0.0 }
    }

    /// Puts the mix of `channels` interleaved channels into `mono`.
    pub(super) fn run(&mut self, interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
        self.last.resize(channels, 0.0);
        self.power.resize(channels, 0.0);
        mono.clear();
        for frame in interleaved.chunks_exact(channels) {
            let (mut sum, mut difference, mut only) = (0.0, 0.0, 0.0);
            for (n, (x, last)) in frame.iter().zip(&mut self.last).enumerate() {
                let x = if x.is_finite() {
                    *x
                } else {
                    self.not_finite += 1;
                    0.0
                };
                // Full scale of 16-bit files is 32767/32768. Above 1 a float file is loud, and not clipped.
                let full = |x: f32| (0.9999..=1.0).contains(&x.abs());
                if full(x) && full(*last) && x.signum() == last.signum() {
                    self.clipped += 1;
                }
                self.peak = self.peak.max(x.abs());
                *last = x;
                sum += x;
                match n {
                    0 => difference = x,
                    1 => difference -= x,
                    _ => {}
                }
                if self.mix == Mix::Only(n) {
                    only = x;
                }
                self.power[n] += f64::from(x) * f64::from(x);
            }
            let mixed = match self.mix {
                Mix::Mean => sum / channels as f32,
                Mix::Difference => difference / 2.0,
                Mix::Only(_) => only,
            };
            self.mixed_power += f64::from(mixed) * f64::from(mixed);
            mono.push(mixed);
        }
    }

    /// A better mix of the whole file than the mean, where the channels cancel each other out.
    pub(super) fn better(&self) -> Option<Mix> {
        let channels = self.power.len();
        let mean = self.power.iter().sum::<f64>() / channels.max(1) as f64;
        if self.mix != Mix::Mean || channels < 2 || self.mixed_power >= LEAST_POWER * mean {
            return None;
        }
        let loudest = (0..channels).max_by(|a, b| self.power[*a].total_cmp(&self.power[*b])).unwrap_or(0);
        Some(if channels == 2 { Mix::Difference } else { Mix::Only(loudest) })
    }
}
