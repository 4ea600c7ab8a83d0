//! Which stems a separation gives: some are estimated, the last one is what is left.

use super::config::SeparatorConfig;
use crate::error::{Error, Result};

/// Name of what is left of a song without the chosen stems.
pub const REMAINDER: &str = "remainder";

/// The stems of a separation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Indices of the sources that are estimated.
    pub estimated: Vec<usize>,
    /// Name of the last stem: the song minus all estimated ones, so that the stems add up to the song.
    pub rest: String,
}

impl Choice {
    /// The stems `wanted`; all where it is empty.
    ///
    /// With all sources, `other` is the song minus the rest (the last source where there is no `other`). With
    /// fewer, [`REMAINDER`] is.
    ///
    /// # Errors
    /// The separator doesn't have a stem, or one is given twice.
    pub fn new(config: &SeparatorConfig, wanted: &[String]) -> Result<Choice> {
        let sources = &config.sources;
        let mut estimated = Vec::new();
        for name in wanted {
            let Some(at) = sources.iter().position(|s| s == name) else {
                let what = format!("{name}: {} has the stems {}", config.name, sources.join(", "));
                return Err(Error::Input(what));
            };
            if estimated.contains(&at) {
                return Err(Error::Input(format!("{name} is given twice")));
            }
            estimated.push(at);
        }
        if !estimated.is_empty() && estimated.len() < sources.len() {
            return Ok(Choice { estimated, rest: REMAINDER.into() });
        }
        let last = sources.iter().position(|s| s == "other").unwrap_or(sources.len() - 1);
        Ok(Choice { estimated: (0..sources.len()).filter(|s| *s != last).collect(), rest: sources[last].clone() })
    }

    /// Names of all stems: the estimated ones, then the rest.
    pub fn names(&self, config: &SeparatorConfig) -> Vec<String> {
        self.estimated.iter().map(|s| config.sources[*s].clone()).chain([self.rest.clone()]).collect()
    }
}
