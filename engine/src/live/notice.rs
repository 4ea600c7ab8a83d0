//! [`Notice`]: what a session reports about a request. Its text is in this file alone.
//!
//! The screen and OSC show the latest one ([`super::Snapshot::notice`]). Programs and tests compare variants.

use std::fmt;

use super::Clamped;
use super::schedule::MAX_PENDING;
use crate::limits::TEMPO;

/// What a session reports about a request: why it was refused, changed or ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A value was out of range and has been clamped.
    Clamped(Clamped),
    /// Play was requested while the band plays.
    AlreadyPlaying,
    /// As many requests as there is room for are pending. This one was refused.
    TooManyRequests,
    /// The chords can't be read; the text says which, and why.
    InvalidChords(String),
    /// The key can't be read.
    InvalidKey(String),
    /// The chart has no section of this name.
    UnknownSection {
        /// The name.
        name: String,
        /// The names that the chart has, in order.
        sections: Vec<String>,
    },
    /// A section was requested by name, and the chart names none.
    ChartWithoutSections,
    /// The chart was replaced while the request was pending; the new one has no section of the name.
    SectionGone,
    /// The model has no stem of this number.
    NoSuchStem {
        /// The number, from 0.
        stem: u8,
        /// The model's stems.
        stems: Vec<String>,
    },
    /// The request is for a stem that the model plays, and the musician plays this one.
    StemIsInput,
    /// The model has one stem. If the musician plays it, the band has nothing to play.
    SingleStemModel,
    /// A freeze or a loop was requested before a whole bar was played.
    NoBarToRepeat,
    /// A freeze was requested of more bars than have been played.
    FewerBars {
        /// Bars that were requested.
        asked: u32,
        /// Bars that are repeated.
        repeated: u32,
    },
    /// The stem has no step to undo.
    NothingToUndo,
    /// The stem has no step to redo.
    NothingToRedo,
    /// Half or double the tempo would be out of its range.
    TempoLimit,
    /// The tempo or the meter changed so much that the repeated bars no longer fit: the stems play freely.
    LoopReleased,
}

impl Notice {
    /// Whether it holds memory, so that dropping it in a hop would free some.
    fn owns_memory(&self) -> bool {
        match self {
            Notice::InvalidChords(_) | Notice::InvalidKey(_) | Notice::UnknownSection { .. } | Notice::NoSuchStem { .. } => true,
            Notice::Clamped(_)
            | Notice::AlreadyPlaying
            | Notice::TooManyRequests
            | Notice::ChartWithoutSections
            | Notice::SectionGone
            | Notice::StemIsInput
            | Notice::SingleStemModel
            | Notice::NoBarToRepeat
            | Notice::FewerBars { .. }
            | Notice::NothingToUndo
            | Notice::NothingToRedo
            | Notice::TempoLimit
            | Notice::LoopReleased => false,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Clamped(clamped) => clamped.fmt(f),
            Notice::AlreadyPlaying => f.write_str("the band is already playing"),
            Notice::TooManyRequests => write!(f, "{MAX_PENDING} requests are pending: this one was refused"),
            Notice::InvalidChords(why) => f.write_str(why),
            Notice::InvalidKey(key) => write!(f, "key \"{key}\" is not known: write it like C, F#m, Bb major or E minor"),
            Notice::UnknownSection { name, sections } => {
                write!(f, "the chart has no section {name}; it has {}", sections.join(", "))
            }
            Notice::ChartWithoutSections => {
                f.write_str("the chart has no sections: write them into the chords, like [A] Em C [B] G D")
            }
            Notice::SectionGone => f.write_str("the chart now playing has no section of that name"),
            Notice::NoSuchStem { stem, stems } => write!(f, "there is no stem {stem}: the model has {}", stems.join(", ")),
            Notice::StemIsInput => f.write_str("that stem is played by the musician"),
            Notice::SingleStemModel => f.write_str("the model has one stem: the band would have nothing left to play"),
            Notice::NoBarToRepeat => f.write_str("no whole bar has been played yet: there is nothing to repeat"),
            Notice::FewerBars { asked, repeated } => {
                write!(f, "{asked} bars asked for, {repeated} played so far: those are repeated")
            }
            Notice::NothingToUndo => f.write_str("there is nothing to undo"),
            Notice::NothingToRedo => f.write_str("there is nothing to redo"),
            Notice::TempoLimit => write!(f, "the tempo would be out of its range, {TEMPO}: it stays"),
            Notice::LoopReleased => {
                f.write_str("the repeated bars don't fit the new tempo or meter: the stems play freely again")
            }
        }
    }
}

/// The latest notice of a session.
#[derive(Default)]
pub(super) struct NoticeSlot {
    latest: Option<Notice>,
    /// A notice that owns memory and was replaced in a hop. It is freed at the next request, because a hop
    /// frees nothing.
    replaced: Option<Notice>,
}

impl NoticeSlot {
    /// The latest notice.
    pub fn latest(&self) -> Option<&Notice> {
        self.latest.as_ref()
    }

    /// Replaces the latest notice. Frees nothing between two calls of [`NoticeSlot::free_replaced`] if
    /// `notice` owns no memory.
    pub fn set(&mut self, notice: Notice) {
        let old = self.latest.replace(notice);
        if old.as_ref().is_some_and(Notice::owns_memory) {
            self.replaced = old;
        }
    }

    /// Frees the notice that was replaced in a hop. Not to be called in a hop.
    pub fn free_replaced(&mut self) {
        self.replaced = None;
    }
}
