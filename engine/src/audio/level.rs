//! Peak, RMS and dB of samples, and the mix of stems.

/// Largest absolute value; 0 for no samples.
pub fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// Root mean square; 0 for no samples.
pub fn rms(samples: &[f32]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    (samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / samples.len() as f64).sqrt() as f32
}

/// Root mean square of where it plays: of the blocks of 0.4 s within 20 dB of the loudest block. Rests don't make it
/// softer.
///
/// * `interleaved`: samples of `channels` channels at `rate` Hz.
pub fn playing_rms(interleaved: &[f32], channels: usize, rate: u32) -> f32 {
    let block = (rate as usize * 2 / 5).max(1) * channels;
    let levels: Vec<f32> = interleaved.chunks(block).map(rms).collect();
    let least = 0.1 * peak(&levels);
    let playing = levels.iter().filter(|level| **level >= least);
    let (sum, count) = playing.fold((0.0, 0), |(sum, count), level| (sum + f64::from(*level).powi(2), count + 1));
    (sum / f64::from(count.max(1))).sqrt() as f32
}

/// Level in dBFS; −∞ for 0.
pub fn db(level: f32) -> f32 {
    20.0 * level.log10()
}

/// Peak of a mix that would clip otherwise: −0.3 dBFS, which leaves room for a lossy encoder.
pub const CEILING: f32 = 0.966;

/// The sum of the stems, and the gain that was applied to it: 1 where the sum does not clip, else what brings
/// its peak to [`CEILING`]. The gain is constant over the whole song: a limiter would pump. The result is as
/// long as the longest stem.
pub fn mix(stems: &[&[f32]]) -> (Vec<f32>, f32) {
    let len = stems.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut sum = vec![0.0f32; len];
    for stem in stems {
        for (total, x) in sum.iter_mut().zip(*stem) {
            *total += x;
        }
    }
    let gain = attenuate(&mut sum);
    (sum, gain)
}

/// Brings the peak of samples that would clip to [`CEILING`]. Returns the gain: 1 where they don't clip.
pub fn attenuate(samples: &mut [f32]) -> f32 {
    let most = peak(samples);
    let gain = if most > 1.0 { CEILING / most } else { 1.0 };
    if gain < 1.0 {
        samples.iter_mut().for_each(|x| *x *= gain);
    }
    gain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_do_not_make_what_plays_softer() {
        let mut samples = vec![0.5; 4000];
        samples.extend(vec![0.001; 8000]);
        assert!((playing_rms(&samples, 2, 1000) - 0.5).abs() < 1e-3);
        assert_eq!(playing_rms(&[], 1, 1000), 0.0);
    }

    #[test]
    fn a_mix_that_does_not_clip_is_the_sum() {
        let (sum, gain) = mix(&[&[0.1, 0.2], &[0.3, -0.5]]);
        assert_eq!((sum, gain), (vec![0.1 + 0.3, 0.2 - 0.5], 1.0));
    }

    #[test]
    fn a_mix_that_would_clip_is_attenuated_by_one_gain() {
        let (sum, gain) = mix(&[&[0.9, 0.1], &[0.9, 0.1]]);
        assert!(gain < 1.0 && (peak(&sum) - CEILING).abs() < 1e-6);
        assert!((sum[1] / sum[0] - 0.2 / 1.8).abs() < 1e-6, "one gain for all");
    }

    #[test]
    fn levels_of_silence_and_full_scale() {
        assert_eq!(peak(&[]), 0.0);
        assert_eq!(rms(&[]), 0.0);
        assert_eq!(rms(&[1.0, -1.0]), 1.0);
        assert_eq!(db(1.0), 0.0);
    }
}
