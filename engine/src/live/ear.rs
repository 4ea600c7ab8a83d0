//! [`Ear`]: what the session finds in the musician's samples without the model: features, chords and beats.
//!
//! It takes one frame at a time, whatever the hop, allocates nothing, and moves with the song on failover.

use super::timeline::{Timeline, middle};
use crate::listen::{Features, Harmony, HeardChord, Listener, Part, Third};
use crate::model::FRAME;

/// What the session hears.
#[derive(Debug, Clone)]
pub(super) struct Ear {
    listener: Listener,
    harmony: Harmony,
    part: Part,
    /// Chords by ear are on.
    pub chords: bool,
}

impl Ear {
    pub fn new(part: Part, chords: bool) -> Self {
        Ear { listener: Listener::new(), harmony: Harmony::new(part), part, chords }
    }

    /// Takes the musician's frame `f`. Returns its features.
    pub fn push(&mut self, frame: &[f32; FRAME], f: i64, timeline: &Timeline) -> Features {
        let features = self.listener.push(frame);
        let position = timeline.position((f + 1) * FRAME as i64 - 1);
        self.harmony.push(&features, position.bar, position.beat);
        features
    }

    /// Sets what the musician plays. What was heard of another part is forgotten.
    pub fn set_part(&mut self, part: Part) {
        if part != self.part {
            (self.part, self.harmony) = (part, Harmony::new(part));
        }
    }

    /// The chord at sample `t`; `None`: not known, or chords by ear are off.
    pub fn chord(&self, t: i64, timeline: &Timeline) -> Option<HeardChord> {
        if self.chords { self.harmony.chord(timeline.position(t).bar) } else { None }
    }

    /// Value of the `chord` control of a frame, if chords by ear know it.
    pub fn chord_control(&self, frame: i64, timeline: &Timeline) -> Option<i32> {
        self.chord(middle(frame), timeline).map(control)
    }

    /// Length of the loop that the chords repeat, in bars; 0: none is known.
    pub fn loop_bars(&self) -> u32 {
        self.harmony.loop_bars().filter(|_| self.chords).unwrap_or(0)
    }
}

/// Value of the `chord` control (docs/reference/model-format.md, "Controls").
fn control(chord: HeardChord) -> i32 {
    let quality = match chord.third {
        Some(Third::Major) => 0,
        Some(Third::Minor) => 1,
        // A suspended chord has no third.
        None => 6,
    };
    i32::from(chord.root) * 8 + quality
}

/// The symbol of a chord as heard, as a chart would have it.
pub(super) fn symbol(chord: HeardChord) -> &'static str {
    const SYMBOLS: [[&str; 3]; 12] = [
        ["C", "Cm", "Csus"],
        ["Db", "Dbm", "Dbsus"],
        ["D", "Dm", "Dsus"],
        ["Eb", "Ebm", "Ebsus"],
        ["E", "Em", "Esus"],
        ["F", "Fm", "Fsus"],
        ["F#", "F#m", "F#sus"],
        ["G", "Gm", "Gsus"],
        ["Ab", "Abm", "Absus"],
        ["A", "Am", "Asus"],
        ["Bb", "Bbm", "Bbsus"],
        ["B", "Bm", "Bsus"],
    ];
    let quality = match chord.third {
        Some(Third::Major) => 0,
        Some(Third::Minor) => 1,
        None => 2,
    };
    SYMBOLS[usize::from(chord.root % 12)][quality]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Chord;

    #[test]
    fn a_heard_chord_has_the_control_value_of_its_symbol() {
        for root in 0..12 {
            for third in [Some(Third::Major), Some(Third::Minor), None] {
                let chord = HeardChord { root, third };
                assert_eq!(symbol(chord).parse::<Chord>().map(Chord::value).ok(), Some(control(chord)));
            }
        }
    }
}
