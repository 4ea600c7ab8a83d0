//! Keeps two clocks together: a proportional-integral controller of the input's resampling ratio.

use crate::resample::STEER_MAX;

/// Seconds over which the target offset is averaged and later measurements are smoothed, because callbacks
/// jitter.
const SETTLE: f64 = 2.0;
/// Gains of the error and of its integral.
const PROPORTIONAL: f64 = 0.1;
const INTEGRAL: f64 = 0.0025;

/// Keeps the offset between two clocks at its mean over the first seconds.
#[derive(Debug, Default)]
pub struct DriftController {
    target: f64,
    /// Seconds so far.
    seconds: f64,
    smoothed: f64,
    integral: f64,
    /// Seconds by which steering has moved the input so far.
    moved: f64,
    speed: f64,
}

impl DriftController {
    /// One step of `dt` seconds. `ahead`: seconds by which the input's clock is ahead. Returns the relative
    /// speed at which the input has to be read: 0.001 is a thousandth faster.
    pub fn step(&mut self, ahead: f64, dt: f64) -> f64 {
        self.seconds += dt;
        self.moved += self.speed * dt;
        let share = (dt / self.seconds.min(SETTLE)).min(1.0);
        self.smoothed += (ahead - self.moved - self.smoothed) * share;
        if self.seconds < SETTLE {
            self.target = self.smoothed;
            return 0.0;
        }
        let error = self.smoothed - self.target;
        self.integral = (self.integral + error * dt).clamp(-1.0, 1.0);
        self.speed = (PROPORTIONAL * error + INTEGRAL * self.integral).clamp(-STEER_MAX, STEER_MAX);
        self.speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clocks_stay_together_for_ten_minutes() {
        // An input that runs 300 millionths too fast, measured through callbacks of 256 and 480 frames.
        let (fast, dt) = (1.0003, 0.0813);
        let mut drift = DriftController::default();
        let (mut used, mut worst, mut mean) = (0.0, 0.0f64, 0.0);
        let mut speed = 0.0;
        for n in 0..7500 {
            let t = f64::from(n) * dt;
            let came = (t * fast * 48_000.0 / 256.0).floor() * 256.0 / 48_000.0;
            let played = (t * 48_000.0 / 480.0).floor() * 480.0 / 48_000.0;
            used += speed * dt;
            speed = drift.step(came - played, dt);
            if n >= 5000 {
                worst = worst.max((t * fast - t - used).abs());
                mean += speed / 2500.0;
            }
        }
        assert!((mean - 0.0003).abs() < 3e-5, "{mean}");
        assert!(worst < 0.008, "{worst} s apart");
    }
}
