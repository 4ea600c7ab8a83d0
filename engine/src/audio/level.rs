//! Levels, and the one gain that a mix needs.

/// Largest magnitude; 0 for no samples.
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

/// Level in dB of full scale; −∞ for 0.
pub fn db(level: f32) -> f32 {
    20.0 * level.log10()
}

/// Where a mix is brought down to when it would clip: −0.3 dBFS, so that a lossy encoder after it has room.
pub const CEILING: f32 = 0.966;

/// The plain sum of stems of equal length, and the gain it took: 1 where the sum stays within full scale, else what brings its
/// peak to [`CEILING`]. One gain for the whole song (a limiter would pump); the stems themselves are never touched.
pub fn mix(stems: &[&[f32]]) -> (Vec<f32>, f32) {
    let len = stems.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut sum = vec![0.0f32; len];
    for stem in stems {
        for (total, x) in sum.iter_mut().zip(*stem) {
            *total += x;
        }
    }
    let most = peak(&sum);
    let gain = if most > 1.0 { CEILING / most } else { 1.0 };
    if gain < 1.0 {
        sum.iter_mut().for_each(|x| *x *= gain);
    }
    (sum, gain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_mix_is_the_sum() {
        let (sum, gain) = mix(&[&[0.1, 0.2], &[0.3, -0.5]]);
        assert_eq!((sum, gain), (vec![0.1 + 0.3, 0.2 - 0.5], 1.0));
    }

    #[test]
    fn a_loud_mix_comes_down_and_does_not_clip() {
        let (sum, gain) = mix(&[&[0.9, 0.1], &[0.9, 0.1]]);
        assert!(gain < 1.0 && (peak(&sum) - CEILING).abs() < 1e-6);
        assert!((sum[1] / sum[0] - 0.2 / 1.8).abs() < 1e-6, "one gain for all");
    }

    #[test]
    fn levels() {
        assert_eq!(peak(&[]), 0.0);
        assert_eq!(rms(&[]), 0.0);
        assert_eq!(rms(&[1.0, -1.0]), 1.0);
        assert_eq!(db(1.0), 0.0);
    }
}
