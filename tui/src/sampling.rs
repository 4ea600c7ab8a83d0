//! The sampling settings of the command line: what can't be combined, and what is used when a flag is
//! missing.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use sideman_engine::task::Settings;

use crate::cli::SamplingArgs;
use crate::usage;

impl SamplingArgs {
    /// Checks the combination of the flags; clap has checked the ranges.
    ///
    /// # Errors
    /// A usage error that names the flags.
    pub fn check(&self) -> Result<()> {
        if self.top_k.is_some_and(|k| k > 0) && self.top_p.is_some_and(|p| p > 0.0) {
            return Err(usage("--top-k and --top-p exclude each other: use one of them"));
        }
        Ok(())
    }

    /// The seed of `--seed`, or a new one that is short enough to be typed.
    pub fn seed_or_new(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (now.as_nanos() / 1_000 % 1_000_000) as u64
        })
    }

    /// Top-k and top-p: one that is given turns the other one off; if none is given, the model's own.
    pub fn top_k_and_p(&self, model: (u32, f32)) -> (u32, f32) {
        match (self.top_k, self.top_p) {
            (None, None) => model,
            (k, p) => (k.unwrap_or(0), p.unwrap_or(0.0)),
        }
    }

    /// Changes the model's settings of an offline task to those of the flags.
    pub fn apply(&self, settings: &mut Settings) {
        settings.seed = self.seed_or_new();
        settings.temperature = self.temperature.unwrap_or(settings.temperature);
        settings.cfg = self.cfg_scale.unwrap_or(settings.cfg);
        (settings.top_k, settings.top_p) = self.top_k_and_p((settings.top_k, settings.top_p));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(top_k: Option<u32>, top_p: Option<f32>) -> SamplingArgs {
        SamplingArgs { seed: None, cfg_scale: None, temperature: None, top_k, top_p }
    }

    #[test]
    fn a_given_top_k_or_top_p_turns_the_models_other_one_off() {
        let model = (100, 0.5);
        for (top_k, top_p, result) in [
            (None, None, model),
            (Some(5), None, (5, 0.0)),
            (None, Some(0.9), (0, 0.9)),
            (Some(0), Some(0.9), (0, 0.9)),
            (Some(5), Some(0.0), (5, 0.0)),
        ] {
            assert_eq!(args(top_k, top_p).top_k_and_p(model), result);
            assert!(args(top_k, top_p).check().is_ok());
        }
        assert!(args(Some(5), Some(0.5)).check().is_err());
    }
}
