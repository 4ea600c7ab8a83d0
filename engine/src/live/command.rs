//! Commands: everything that can be changed in a running session. Keys, OSC, MIDI, the command line and takes
//! (`events.jsonl`) use these types.
//!
//! [`super::commands`] is the table of all commands: when each takes effect, its range, who handles it, its
//! OSC address and its keys.

use serde::{Deserialize, Serialize};

use super::commands::CommandKind;
use crate::task::{Meter, WrittenChords};

/// Where a request comes from. A value is not echoed to the source that set it. 0 is the program itself.
pub type Origin = u64;

/// A command, and when it takes effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The command.
    pub command: Command,
    /// When it takes effect; `None`: at the command's own boundary ([`Command::when`]).
    pub when: Option<When>,
    /// Where it comes from.
    pub from: Origin,
}

/// The quantize boundary at which a command takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The next sample that is not yet decided.
    Now,
    /// The next beat.
    Beat,
    /// The next bar.
    Bar,
    /// The next section of the chart. A chart without section names has a section every 8 bars.
    Section,
    /// The start of a bar, by its number: a script can send a whole piece ahead. A bar that has already begun
    /// means now.
    AtBar(i64),
    /// A sample of song time, for a clock follower. A sample that is already decided means now.
    Sample(i64),
}

/// The stems that a command applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// One stem, by its index in the model's order.
    One(u8),
    /// All stems of the band.
    All,
}

/// What the band does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It listens to the input stem and accompanies it.
    #[default]
    Follow,
    /// It repeats its last bars.
    Loop,
    /// It plays all stems: the model also predicts the input stem, which then sounds, and does not hear the
    /// musician.
    Lead,
}

/// Where the beat comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The session's own tempo, set or tapped.
    #[default]
    Internal,
    /// MIDI clock.
    Midi,
    /// JACK transport.
    Jack,
    /// Ableton Link.
    Link,
    /// The musician's onsets, after a count.
    Ear,
    /// No clock: the model gets no beat and follows the input by ear.
    Free,
}

impl Mode {
    /// The modes with their names, for OSC and the command line.
    pub const NAMES: [(&str, Mode); 3] = [("follow", Mode::Follow), ("loop", Mode::Loop), ("lead", Mode::Lead)];

    /// The mode's name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Follow => "follow",
            Mode::Loop => "loop",
            Mode::Lead => "lead",
        }
    }
}

impl Clock {
    /// The clocks with their names, for OSC and the command line.
    pub const NAMES: [(&str, Clock); 6] = [
        ("internal", Clock::Internal),
        ("midi", Clock::Midi),
        ("jack", Clock::Jack),
        ("link", Clock::Link),
        ("ear", Clock::Ear),
        ("free", Clock::Free),
    ];

    /// The clock's name.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Internal => "internal",
            Clock::Midi => "midi",
            Clock::Jack => "jack",
            Clock::Link => "link",
            Clock::Ear => "ear",
            Clock::Free => "free",
        }
    }
}

/// A command to stems.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sets the level, in dB ([`crate::limits::GAIN`]).
    Gain(f32),
    /// Sets the pan, −1 (left) to 1 (right).
    Pan(f32),
    /// Mutes the stem. The model still hears it.
    Mute(bool),
    /// Solo: while any stem is solo, only solo stems sound.
    Solo(bool),
    /// Predicts the stem again, with other music, from the boundary on.
    Regen,
    /// Repeats this many of the stem's last bars; 0 ends the repetition.
    Freeze(u32),
    /// Goes back to what the stem played before the last `Regen` or `Freeze`.
    Undo,
    /// Reverts an `Undo`.
    Redo,
}

/// What a request does. The session clamps a value that is out of range and reports that in
/// [`super::Snapshot::notice`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Starts the band at bar 1, after a count-in if one is set.
    Play,
    /// Stops the band at the boundary. The clock keeps running.
    Stop,
    /// Sets the bars of clicks before bar 1, from the next [`Command::Play`] on.
    CountIn(u32),
    /// Sets the tempo, in quarter notes a minute ([`crate::limits::TEMPO`]).
    Tempo(f64),
    /// One tap of a tempo. The runner turns several taps into a [`Command::Tempo`].
    Tap,
    /// Halves the tempo: a beat is twice as long.
    Half,
    /// Doubles the tempo.
    Double,
    /// Begins a bar.
    One,
    /// Sets the meter.
    Meter(Meter),
    /// Sets the source of the beat.
    Clock(Clock),
    /// Sets the text that describes the music; empty: no text. Part 0 is the whole text, parts 1 to 4 are
    /// joined into one, the one with the largest weight first.
    Text {
        /// The part, 0 to 4.
        part: u8,
        /// The text.
        text: String,
        /// Weight of the part.
        weight: f32,
    },
    /// Sets the chords, in the chart's notation; they start at the boundary and repeat. Empty: unknown.
    Chords(WrittenChords),
    /// Sets the key, like `Em` or `Bb major`. Known chords are transposed from the old key to the new one.
    /// Empty: unknown.
    Key(String),
    /// Sets the input stem (the musician's), in the model's order. `None`: the band plays all stems.
    #[serde(alias = "player")]
    InputStem(Option<u8>),
    /// A command to stems.
    Stem(Which, Action),
    /// Sets the mode.
    Mode(Mode),
    /// Sets the bars that [`Mode::Loop`] repeats.
    LoopBars(u32),
    /// Sets the frames by which the model hears the input stem late, from the next window on.
    Lag(u32),
    /// Sets the frames that are decided at a time.
    Hop(u32),
    /// Sets the sampling temperature.
    Temperature(f32),
    /// Samples from the k likeliest tokens only; 0: from all.
    TopK(u32),
    /// Top-p (nucleus) sampling; 0: off.
    TopP(f32),
    /// Sets the guidance scale for text, beat, chords and input, as far as the model was trained for it; 1:
    /// no guidance.
    Cfg(f32),
    /// Sets the seed of the random numbers.
    Seed(u64),
    /// Goes to a section of the chart, by name, or by number from 1 where no section has that name. Empty:
    /// the next section. A chart without section names starts again.
    Section(String),
    /// A fill: a higher temperature until the next bar.
    Fill,
    /// Attenuates everything but the input stem, as a gain in dB; 0: no attenuation.
    #[serde(alias = "dip")]
    Dim(f32),
    /// Level of the room in the mix, 0 to 1. The stems' own channels stay dry.
    Room(f32),
    /// Turns the metronome's click on or off.
    Click(bool),
    /// Silences the band at once, cancels what is pending and ends a loop. The clock keeps running.
    Panic,
    /// Cancels pending commands: all of them, or those of one stem.
    Cancel(Option<u8>),
    /// Starts or ends a take.
    Record(bool),
    /// Saves the last ten minutes as a take of this name.
    Keep(String),
    /// Assigns the MIDI control that moves next to this OSC address.
    Learn(String),
    /// Turns guidance on or off. Only the program itself sends this, when the computer is too slow for
    /// guidance.
    Guided(bool),
    /// Lets the model rest, or play again from the next bar line on. Only the program itself sends this, when the music is so
    /// late that the computer can't catch up with it.
    Rest(bool),
}

impl Command {
    /// The boundary at which the command takes effect unless its request gives another one.
    pub fn when(&self) -> When {
        self.kind().spec().boundary
    }

    /// The command without its values.
    pub fn kind(&self) -> CommandKind {
        match self {
            Command::Play => CommandKind::Play,
            Command::Stop => CommandKind::Stop,
            Command::CountIn(_) => CommandKind::CountIn,
            Command::Tempo(_) => CommandKind::Tempo,
            Command::Tap => CommandKind::Tap,
            Command::Half => CommandKind::Half,
            Command::Double => CommandKind::Double,
            Command::One => CommandKind::One,
            Command::Meter(_) => CommandKind::Meter,
            Command::Clock(_) => CommandKind::Clock,
            Command::Text { part: 0, .. } => CommandKind::Text,
            Command::Text { .. } => CommandKind::TextPart,
            Command::Chords(_) => CommandKind::Chords,
            Command::Key(_) => CommandKind::Key,
            Command::InputStem(_) => CommandKind::InputStem,
            Command::Stem(_, Action::Gain(_)) => CommandKind::StemGain,
            Command::Stem(_, Action::Pan(_)) => CommandKind::StemPan,
            Command::Stem(_, Action::Mute(_)) => CommandKind::StemMute,
            Command::Stem(_, Action::Solo(_)) => CommandKind::StemSolo,
            Command::Stem(_, Action::Regen) => CommandKind::StemRegenerate,
            Command::Stem(_, Action::Freeze(_)) => CommandKind::StemFreeze,
            Command::Stem(_, Action::Undo) => CommandKind::StemUndo,
            Command::Stem(_, Action::Redo) => CommandKind::StemRedo,
            Command::Mode(_) => CommandKind::Mode,
            Command::LoopBars(_) => CommandKind::LoopBars,
            Command::Lag(_) => CommandKind::Lag,
            Command::Hop(_) => CommandKind::Hop,
            Command::Temperature(_) => CommandKind::Temperature,
            Command::TopK(_) => CommandKind::TopK,
            Command::TopP(_) => CommandKind::TopP,
            Command::Cfg(_) => CommandKind::CfgScale,
            Command::Seed(_) => CommandKind::Seed,
            Command::Section(name) if name.trim().is_empty() => CommandKind::NextSection,
            Command::Section(_) => CommandKind::GoToSection,
            Command::Fill => CommandKind::Fill,
            Command::Dim(_) => CommandKind::Dim,
            Command::Room(_) => CommandKind::Room,
            Command::Click(_) => CommandKind::Click,
            Command::Panic => CommandKind::Panic,
            Command::Cancel(_) => CommandKind::Cancel,
            Command::Record(_) => CommandKind::Record,
            Command::Keep(_) => CommandKind::SaveTake,
            Command::Learn(_) => CommandKind::MidiLearn,
            Command::Guided(_) => CommandKind::Guided,
            Command::Rest(_) => CommandKind::Rest,
        }
    }

    /// Clamps the command's value to its range. Returns the requested value and the one that is used, if they
    /// differ.
    pub fn clamp(&mut self) -> Option<Clamped> {
        let (name, range) = (self.kind().spec().name, self.kind().spec().range?);
        let (asked, used) = match self {
            Command::Tempo(value) => {
                let asked = *value;
                *value = range.clamp(asked);
                (asked as f32, *value as f32)
            }
            Command::Stem(_, Action::Gain(value) | Action::Pan(value))
            | Command::Temperature(value)
            | Command::TopP(value)
            | Command::Cfg(value)
            | Command::Dim(value)
            | Command::Room(value) => {
                let asked = *value;
                *value = range.clamp_f32(asked);
                (asked, *value)
            }
            // A freeze of 0 bars ends it.
            Command::Stem(_, Action::Freeze(0)) | Command::LoopBars(0) => return None,
            Command::CountIn(value)
            | Command::LoopBars(value)
            | Command::Hop(value)
            | Command::Stem(_, Action::Freeze(value)) => {
                let asked = *value;
                *value = range.clamp(f64::from(asked)) as u32;
                (asked as f32, *value as f32)
            }
            Command::Play
            | Command::Stop
            | Command::Tap
            | Command::Half
            | Command::Double
            | Command::One
            | Command::Meter(_)
            | Command::Clock(_)
            | Command::Text { .. }
            | Command::Chords(_)
            | Command::Key(_)
            | Command::InputStem(_)
            | Command::Stem(_, Action::Mute(_) | Action::Solo(_) | Action::Regen | Action::Undo | Action::Redo)
            | Command::Mode(_)
            | Command::Lag(_)
            | Command::TopK(_)
            | Command::Seed(_)
            | Command::Section(_)
            | Command::Fill
            | Command::Click(_)
            | Command::Panic
            | Command::Cancel(_)
            | Command::Record(_)
            | Command::Keep(_)
            | Command::Learn(_)
            | Command::Guided(_)
            | Command::Rest(_) => return None,
        };
        (asked != used).then_some(Clamped { name, asked, used })
    }
}

/// A value that was out of range.
#[derive(Debug, Clone, Copy)]
pub struct Clamped {
    /// Name of the command.
    pub name: &'static str,
    /// The value that was requested.
    pub asked: f32,
    /// The value that is used.
    pub used: f32,
}

/// NaN equals NaN: a notice that is shown already is not shown again.
impl PartialEq for Clamped {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.asked.total_cmp(&other.asked).is_eq() && self.used.total_cmp(&other.used).is_eq()
    }
}

impl std::fmt::Display for Clamped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} is out of range: {} is used", self.name, self.asked, self.used)
    }
}
