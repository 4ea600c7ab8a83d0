//! [`SessionConfig`]: the settings that a live session starts with.
//!
//! One type serves the command line, the runner in `sideman-io` and `take.json`. `sideman replay` reads it
//! back and starts the same session. Settings that change during play are [`super::Command`]s.

use serde::{Deserialize, Serialize};

use super::Clock;
use super::window::Shape;
use crate::error::{Error, Result};
use crate::limits::{BAR1, COUNT_IN, ROOM, TEMPO};
use crate::model::{Config, SAMPLE_RATE};
use crate::task::by_ear;
use crate::task::{Chords, Meter};

/// The most stems of a model.
const STEMS_MAX: usize = 64;

/// The settings that a live session starts with.
///
/// [`SessionConfig::for_model`] gives the settings that suit a model; [`Default`] those for a model without
/// values of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionConfig {
    /// The stem that the musician plays, as an index into the model's stems. `None`: the model plays all
    /// stems.
    #[serde(alias = "player")]
    pub input_stem: Option<u8>,
    /// Frames by which the model hears the input stem late. For a model that anticipates: frames by which it
    /// decides ahead of what it has heard.
    pub lag: usize,
    /// Tempo in quarter notes a minute, 20 to 400.
    pub tempo: f64,
    /// Meter.
    pub meter: Meter,
    /// Song time at which bar 1 begins, in samples at 32 kHz; at most one hour before or after song time 0.
    pub bar1: i64,
    /// Chords from bar 1 on, repeated; `ear`: as they are heard. `None` or empty: the
    /// model is given no chords.
    pub chords: Option<String>,
    /// Bars of clicks before bar 1, 0 to 4.
    pub count_in: u32,
    /// Whether the band plays from bar 1 on. If not, it waits for [`super::Command::Play`].
    pub playing: bool,
    /// Whether the click goes on after the count-in.
    pub click: bool,
    /// Where the beat comes from. Only [`Clock::Free`] makes a difference to the session: the model is then
    /// given no beat.
    pub clock: Clock,
    /// Description of the music; empty: none.
    pub text: String,
    /// Tokens of text to reserve room for. Texts that are set later must fit ([`super::Session::set_text`]).
    pub text_room: usize,
    /// Whether to reserve memory for classifier-free guidance, which runs a second lane through the model.
    pub guided: bool,
    /// Sampling temperature; 0 or less takes the most probable token.
    pub temperature: f32,
    /// Sample from the `top_k` most probable tokens; 0: from all.
    pub top_k: u32,
    /// Sample from the most probable tokens that together hold this share of the probability, 0 to 1; 0: from
    /// all.
    pub top_p: f32,
    /// Guidance scale; 1: no guidance.
    #[serde(alias = "cfg")]
    pub cfg_scale: f32,
    /// Level of the room in the mix, 0 to 1; the stems' own channels stay dry. A take of a version without a room has
    /// none.
    #[serde(default)]
    pub room: f32,
    /// Seed of the random numbers.
    pub seed: u64,
    /// The most columns that are fed to the model in one pass, 1 or more. It changes the speed, not the
    /// music.
    pub block: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig {
            input_stem: Some(0),
            lag: 8,
            tempo: 120.0,
            meter: Meter::FourFour,
            bar1: 0,
            chords: None,
            count_in: 0,
            playing: true,
            click: false,
            clock: Clock::Internal,
            text: String::new(),
            text_room: 0,
            guided: false,
            temperature: 1.0,
            top_k: 0,
            top_p: 0.0,
            cfg_scale: 1.0,
            room: 0.0,
            seed: 0,
            block: 16,
        }
    }
}

impl SessionConfig {
    /// The default settings for a model: its own sampling parameters, and the lag nearest to 8 frames that it
    /// was trained for.
    pub fn for_model(config: &Config) -> Self {
        let s = &config.sampling;
        let default = SessionConfig::default();
        let [shortest, longest] = config.live.as_ref().and_then(|l| l.lags).unwrap_or([0, 1000]);
        SessionConfig {
            lag: default.lag.clamp(shortest, longest),
            text_room: if config.text.is_some() { 64 } else { 0 },
            temperature: s.temperature,
            top_k: s.top_k,
            top_p: s.top_p,
            cfg_scale: s.cfg,
            ..default
        }
    }

    /// Checks all settings against each other and against the model. [`super::Session::new`] calls it first.
    ///
    /// # Errors
    /// [`Error::Input`]: the first setting that is out of range, with its value and its range.
    pub fn validate(&self, model: &Config) -> Result<()> {
        let wrong =
            |field: &str, value: &dyn std::fmt::Display, right: String| Err(Error::Input(format!("{field} {value}: {right}")));
        let stems = model.stems.len();
        if stems > STEMS_MAX {
            return Err(Error::Input(format!("the model {} has {stems} stems: live play takes at most {STEMS_MAX}", model.name)));
        }
        match self.input_stem {
            Some(s) if usize::from(s) >= stems => {
                return wrong(
                    "input_stem",
                    &s,
                    format!("the model has {stems} stems, 0 to {}: {}", stems - 1, model.stems.join(", ")),
                );
            }
            Some(s) if stems == 1 => {
                return wrong(
                    "input_stem",
                    &s,
                    format!("the model {} has one stem, {}: the band has nothing left to play", model.name, model.stems[0]),
                );
            }
            _ => {}
        }
        let shape = Shape::new(model);
        let delay = model.streams.iter().map(|s| s.delay).max().unwrap_or(0);
        if self.lag + delay >= shape.history.max(1) || shape.frames < 2 * shape.history {
            return wrong(
                "lag",
                &self.lag,
                format!("must be less than {} frames for the model {}", shape.history.saturating_sub(delay), model.name),
            );
        }
        if !TEMPO.contains(self.tempo) {
            return wrong("tempo", &self.tempo, format!("must be {TEMPO}"));
        }
        if !BAR1.contains(self.bar1 as f64 / SAMPLE_RATE as f64) {
            return wrong("bar1", &self.bar1, format!("must be {BAR1}, in samples at {SAMPLE_RATE} Hz"));
        }
        self.parsed_chords()?;
        if !COUNT_IN.contains(f64::from(self.count_in)) {
            return wrong("count_in", &self.count_in, format!("must be {COUNT_IN}"));
        }
        if !ROOM.contains(f64::from(self.room)) {
            return wrong("room", &self.room, format!("must be {ROOM}"));
        }
        for (field, value) in [("temperature", self.temperature), ("top_p", self.top_p), ("cfg_scale", self.cfg_scale)] {
            if !value.is_finite() {
                return wrong(field, &value, "must be a finite number".into());
            }
        }
        if self.block == 0 {
            return wrong("block", &self.block, "must be 1 or more columns".into());
        }
        Ok(())
    }

    /// The chords, parsed; `None` where there are none, or where they are by ear.
    ///
    /// # Errors
    /// [`Error::Input`]: the chord that can't be read.
    pub(super) fn parsed_chords(&self) -> Result<Option<Chords>> {
        let parse = |chords: &String| chords.parse().map_err(|e: Error| Error::Input(format!("chords: {e}")));
        self.chords.as_ref().filter(|chords| !by_ear(chords) && !chords.trim().is_empty()).map(parse).transpose()
    }
}
