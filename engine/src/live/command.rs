//! What may be asked of a running band: one type for keys, OSC, MIDI, the command line and takes (`events.jsonl`).

use serde::{Deserialize, Serialize};

use crate::task::Meter;

/// Who asked: an echo does not go back to its sender. 0 is the program itself.
pub type Origin = u64;

/// One wish, and when it is to come true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// What.
    pub command: Command,
    /// When; none: the command's own ([`Command::when`]).
    pub when: Option<When>,
    /// Who.
    pub from: Origin,
}

/// The boundary that a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The next sample that is not decided yet.
    Now,
    /// The next beat.
    Beat,
    /// The next bar.
    Bar,
    /// The next section of the chart; where it has none with names, a multiple of 8 bars.
    Section,
    /// The beginning of a bar by its number: a whole piece can be asked for ahead. One that has begun already is now.
    AtBar(i64),
    /// A sample of song time: what follows a clock from outside. One that is decided already is now.
    Sample(i64),
}

/// Which stems a command means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// One, in the model's order.
    One(u8),
    /// All of the band's.
    All,
}

/// What the band does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It listens and plays along.
    #[default]
    Follow,
    /// It repeats its last bars.
    Loop,
    /// It plays on by itself: the player's stem is the model's too, unheard.
    Lead,
}

/// Where the beat comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Our own tempo, set or tapped.
    #[default]
    Internal,
    /// MIDI clock.
    Midi,
    /// JACK transport.
    Jack,
    /// Ableton Link.
    Link,
    /// None: the model gets no beat and follows by ear.
    Free,
}

/// What is done to a stem.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Level in dB, −60 (silence) to 12.
    Gain(f32),
    /// Position, −1 (left) to 1.
    Pan(f32),
    /// Silenced; the model goes on hearing it.
    Mute(bool),
    /// Only solo stems sound.
    Solo(bool),
    /// Something else from the boundary on.
    Regen,
    /// Repeats its last bars; 0: plays freely again.
    Freeze(u32),
    /// The material before the last regenerate or freeze comes back.
    Undo,
    /// And away again.
    Redo,
}

/// A wish. Values out of range are brought into range by who takes the request, who says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The band plays from bar 1, after a count-in if one is set.
    Play,
    /// The band falls silent at the boundary; the clock goes on.
    Stop,
    /// Bars of clicks before bar 1, from the next [`Command::Play`] on: 0 to 4.
    CountIn(u32),
    /// Quarter notes a minute, 20 to 400.
    Tempo(f64),
    /// One tap of a tempo; the runner makes [`Command::Tempo`] of several.
    Tap,
    /// Meter.
    Meter(Meter),
    /// Source of the beat.
    Clock(Clock),
    /// Describes the music; empty: no text. Part 0 is the text, 1 to 4 are weighted parts of it.
    Text {
        /// Part.
        part: u8,
        /// Words.
        text: String,
        /// Weight of a part.
        weight: f32,
    },
    /// Chords as the chart reads them, from the boundary on, repeated; empty: not known.
    Chords(String),
    /// The key, like `Em` or `Bb major`; chords that are known move with it from one key to the next. Empty: not known.
    Key(String),
    /// The stem that the player plays, in the model's order; none: the band plays all.
    #[serde(alias = "player")]
    InputStem(Option<u8>),
    /// Something done to stems.
    Stem(Which, Action),
    /// Follow, loop or lead.
    Mode(Mode),
    /// Bars that a loop takes: 1 to 16.
    LoopBars(u32),
    /// Frames by which the player's stem is delayed; takes effect with the next window.
    Lag(u32),
    /// Frames at a time: 1 to 25. The runner's.
    Hop(u32),
    /// How boldly: 0 to 4.
    Temperature(f32),
    /// The k likeliest; 0: all.
    TopK(u32),
    /// Nucleus; 0: off.
    TopP(f32),
    /// Guidance by text, clock, chords and player, as far as the model has learnt it; 1: none.
    Cfg(f32),
    /// Other dice.
    Seed(u64),
    /// Goes to a section of the chart by name, or by number from 1 where none is called so; empty: the next one. A chart without names
    /// begins anew.
    Section(String),
    /// A fill into the next bar: bolder dice for one bar.
    Fill,
    /// Everything but the player down by so many dB; 0: back.
    #[serde(alias = "dip")]
    Dim(f32),
    /// Click of the metronome.
    Click(bool),
    /// Silence at once, nothing pending, no loop; the clock goes on.
    Panic,
    /// Takes back what is pending: everything, or what is pending for one stem.
    Cancel(Option<u8>),
    /// Starts or ends a take. The runner's.
    Record(bool),
    /// Keeps the last ten minutes under a name. The runner's.
    Keep(String),
    /// The next MIDI control that moves is for this OSC address. The hands' own.
    Learn(String),
    /// Guidance switched by the ladder, not by a person.
    Guided(bool),
}

impl Command {
    /// The boundary that it waits for unless the request says otherwise: what is heard as music waits for a bar, a hand on a fader
    /// does not wait.
    pub fn when(&self) -> When {
        use Command::{Chords, InputStem, Key, LoopBars, Meter, Mode, Section, Stem, Stop, Tempo};
        match self {
            Stem(_, Action::Gain(_) | Action::Pan(_) | Action::Mute(_) | Action::Solo(_)) => When::Now,
            Section(name) if name.trim().is_empty() => When::Section,
            Section(_) | Stop | Chords(_) | Key(_) | LoopBars(_) | Meter(_) | Mode(_) | InputStem(_) | Stem(..) => When::Bar,
            Tempo(_) => When::Beat,
            _ => When::Now,
        }
    }
}
