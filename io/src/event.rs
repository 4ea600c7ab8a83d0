//! The events of a session, as enums: code that shows, echoes or tests them matches on variants. Their texts
//! are in this file only.

use std::fmt;
use std::path::PathBuf;

use sideman_engine::live::{LoadShedding, Request};

/// What happened in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The session took a request and applies it at its quantize boundary.
    Applied {
        /// Song time, in samples, of the hop before which it was taken.
        at: i64,
        /// The request; its `from` names the source, which needs no echo.
        request: Request,
    },
    /// A request was not taken.
    Refused(Refusal),
    /// A take was started, closed or lost.
    Recording(RecordingEvent),
    /// The audio device was opened or lost.
    Device(DeviceEvent),
    /// The engine met a fault or adapted to one.
    Engine(EngineEvent),
    /// A message of OSC, MIDI or Ableton Link, in words.
    Controls(String),
}

impl Event {
    /// The event as a message for the musician. None for a request that was applied: that shows in the
    /// snapshot.
    pub fn message(&self) -> Option<String> {
        match self {
            Event::Applied { .. } => None,
            Event::Refused(refusal) => Some(refusal.to_string()),
            Event::Recording(event) => Some(event.to_string()),
            Event::Device(event) => Some(event.to_string()),
            Event::Engine(event) => Some(event.to_string()),
            Event::Controls(text) => Some(text.clone()),
        }
    }
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Too many requests already wait for their bar.
    TooManyScheduled,
    /// The clock can't follow Ableton Link: files are played, or the program was built without the feature
    /// `link`.
    NoLink,
    /// The clock can't follow JACK's transport: the host is not JACK.
    NoJackTransport,
    /// The hop is as long as the lead or longer, so every hop would be late. Both in frames.
    HopTooLong {
        /// The hop.
        frames: usize,
        /// The longest that can be in time.
        most: usize,
    },
    /// The model takes no text.
    NoTextEncoder,
    /// The text can't be encoded.
    Text {
        /// The cause.
        error: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::TooManyScheduled => write!(f, "request not taken: too many requests already wait for their bar"),
            Refusal::NoLink => write!(f, "Ableton Link is not available: it needs devices and a build with --features link"),
            Refusal::NoJackTransport => write!(f, "there is no JACK transport to follow: it needs --host jack"),
            Refusal::HopTooLong { frames, most } => {
                write!(f, "a hop of {frames} frames is longer than the lead, so all would be late; at most {most} frames fit")
            }
            Refusal::NoTextEncoder => write!(f, "this model takes no text"),
            Refusal::Text { error } => write!(f, "the text is unchanged: {error}"),
        }
    }
}

/// What happened to a take.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordingEvent {
    /// A take was started.
    Started {
        /// Its folder.
        dir: PathBuf,
        /// Song time of its first sample.
        at: i64,
    },
    /// A take was closed.
    Finished {
        /// Its folder.
        dir: PathBuf,
        /// Its length.
        seconds: f64,
    },
    /// A take could not be started.
    NotStarted {
        /// The cause, with the file.
        error: String,
    },
    /// A take ended early. What was written before is complete, and take.json says where it ended; the session
    /// goes on.
    Stopped {
        /// Its folder.
        dir: PathBuf,
        /// Length of what was written.
        seconds: f64,
        /// The cause, with the file.
        error: String,
    },
    /// A take could not be closed. It can be read like that of a program that was killed.
    NotClosed {
        /// The cause, with the file.
        error: String,
    },
    /// The disk is slower than the music for longer than the queue lasts: from here on the take has silence in
    /// place of hops, until the disk keeps up.
    Gap,
    /// The last minutes were kept as a take.
    Kept {
        /// Its folder.
        dir: PathBuf,
        /// Its length.
        seconds: f64,
    },
    /// The last minutes could not be kept as a take.
    NotKept {
        /// The cause.
        error: String,
    },
    /// From now on the last minutes are not buffered and can't be kept.
    BufferLost {
        /// The cause.
        error: String,
    },
}

impl RecordingEvent {
    /// Whether a take is missing or incomplete that was requested.
    pub fn is_failure(&self) -> bool {
        matches!(self, RecordingEvent::NotStarted { .. } | RecordingEvent::Stopped { .. } | RecordingEvent::NotClosed { .. })
    }
}

impl fmt::Display for RecordingEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordingEvent::Started { dir, .. } => write!(f, "recording to {}", dir.display()),
            RecordingEvent::Finished { dir, seconds } => write!(f, "{}: {seconds:.1} s recorded", dir.display()),
            RecordingEvent::NotStarted { error } => write!(f, "nothing is recorded: {error}"),
            RecordingEvent::Stopped { dir, seconds, error } => {
                write!(
                    f,
                    "recording has stopped: {error}; {} holds the first {seconds:.0} s, and the music goes on",
                    dir.display()
                )
            }
            RecordingEvent::NotClosed { error } => write!(f, "the take could not be closed, but can be read: {error}"),
            RecordingEvent::Gap => write!(f, "the disk is too slow: the take has silence from here until it keeps up"),
            RecordingEvent::Kept { dir, seconds } => write!(f, "{}: the last {seconds:.0} s are kept", dir.display()),
            RecordingEvent::NotKept { error } => write!(f, "the last ten minutes could not be kept: {error}"),
            RecordingEvent::BufferLost { error } => write!(f, "from now on the last ten minutes can't be kept: {error}"),
        }
    }
}

/// What happened to the audio device.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceEvent {
    /// It was opened at the start.
    Opened {
        /// System, names, rates and period.
        description: String,
    },
    /// It is gone. The session goes on, and the device is opened again when it comes back.
    Lost {
        /// What the system reported.
        error: String,
    },
    /// It was opened again.
    Reopened {
        /// System, names, rates and period.
        description: String,
    },
}

impl fmt::Display for DeviceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceEvent::Opened { description } => write!(f, "{description}"),
            DeviceEvent::Lost { error } => write!(f, "audio device lost ({error}): the session goes on until it is back"),
            DeviceEvent::Reopened { description } => write!(f, "audio device back: {description}"),
        }
    }
}

/// A fault in the engine, or a change that it made because of one.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineEvent {
    /// A hop could not be played: the band is silent for its length.
    HopFailed {
        /// The cause.
        error: String,
    },
    /// A stem was silent for too long and is regenerated.
    StemRegenerated {
        /// Its name.
        stem: String,
    },
    /// The model gave logits of which none was finite; code 0 was taken in their place.
    NotFinite,
    /// A hop came late: the last bar is repeated where music is missing.
    LateHop {
        /// Milliseconds.
        late: f64,
    },
    /// A hop, its computing time and the devices' latencies are longer than the lead, in ms: hops will be late.
    LeadTooShort {
        /// What they need.
        needed: f64,
        /// The lead.
        lead: f64,
    },
    /// The computer is too slow: this much is given up.
    Overload(LoadShedding),
    /// The computer keeps up again: one level less is given up.
    Recovered,
    /// The music is too late to be caught up with, by milliseconds: the model rests until it is in time.
    Rest {
        /// Milliseconds.
        late: f64,
    },
    /// Input was lost on the way from the device, and the device did not report it. Silence of the same
    /// length is inserted.
    InputGap {
        /// Milliseconds.
        length: f64,
    },
    /// Events that could not be sent: more came at once than there is room for.
    EventsLost {
        /// How many.
        count: u64,
    },
    /// The backend is lost and the CPU takes over.
    Failover {
        /// What the backend reported.
        fault: String,
    },
    /// The backend is lost and the CPU can't take over.
    FailoverFailed {
        /// What the backend reported.
        fault: String,
        /// Why the CPU can't.
        error: String,
    },
}

impl fmt::Display for EngineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineEvent::HopFailed { error } => write!(f, "the band is silent for one hop: {error}"),
            EngineEvent::StemRegenerated { stem } => write!(f, "{stem} was silent for too long and is regenerated"),
            EngineEvent::NotFinite => {
                write!(f, "the model gave values that are not finite: the first code was played instead")
            }
            EngineEvent::LateHop { late } => write!(f, "the music came {late:.0} ms late: the last bar was repeated"),
            EngineEvent::LeadTooShort { needed, lead } => {
                write!(
                    f,
                    "hops need {needed:.0} ms and the lead is {lead:.0} ms: stems will be late; take a longer --lag or a shorter --hop"
                )
            }
            EngineEvent::Overload(level) => write!(f, "the computer is too slow: {}", shedding(*level)),
            EngineEvent::Rest { late } => {
                write!(f, "the music is {late:.0} ms late and the computer can't catch up: the band comes in again at a bar line")
            }
            EngineEvent::Recovered => write!(f, "the computer keeps up again"),
            EngineEvent::InputGap { length } => {
                write!(f, "{length:.0} ms of input were lost before they reached the program: silence is inserted for them")
            }
            EngineEvent::EventsLost { count } => {
                write!(f, "{count} messages of the engine could not be shown: too many came at once")
            }
            EngineEvent::Failover { fault } => write!(f, "{fault}: the CPU takes over at the next bar line that it can reach"),
            EngineEvent::FailoverFailed { fault, error } => write!(f, "{fault}, and the CPU can't take over: {error}"),
        }
    }
}

/// What is given up at a level of load shedding, in words; empty where nothing is.
pub fn shedding(level: LoadShedding) -> &'static str {
    match level {
        LoadShedding::None => "",
        LoadShedding::RepeatedBar => "the last bar is repeated where music comes late",
        LoadShedding::NoGuidance => "guidance is off, so text and chords are followed less closely",
        LoadShedding::LongerHops => "hops are longer, so the band reacts later",
    }
}

impl From<Refusal> for Event {
    fn from(refusal: Refusal) -> Event {
        Event::Refused(refusal)
    }
}

impl From<RecordingEvent> for Event {
    fn from(event: RecordingEvent) -> Event {
        Event::Recording(event)
    }
}

impl From<DeviceEvent> for Event {
    fn from(event: DeviceEvent) -> Event {
        Event::Device(event)
    }
}

impl From<EngineEvent> for Event {
    fn from(event: EngineEvent) -> Event {
        Event::Engine(event)
    }
}
