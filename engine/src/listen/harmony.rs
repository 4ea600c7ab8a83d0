//! Harmony by ear: the chord of each bar of the input stem.
//!
//! [`Harmony::push`] takes the features of each frame and its place in the bar. [`Harmony::chord`] gives the
//! chord of a bar: the one that was heard, or, before enough of the bar is heard, the one that a loop of the
//! bars before predicts. Every bar has one chord. The caller has a clock; this module finds no beat.

use super::Features;

/// Bars that are kept: more than a window of the model holds.
const KEPT: i64 = 64;
/// Frames after the bar line that don't count: the pitch still is that of the note before.
const SETTLE: u32 = 2;
/// Voiced frames of which the commonest pitch class is the root.
const FIRST: u32 = 6;
/// Voiced frames from which on the root is known at a beat line.
const FEWEST: u32 = 3;
/// Frames after the bar line from which on the chroma counts: the chord before has died away.
const CHROMA_SETTLE: u32 = 8;
/// Frames of chroma from which on a chord is known at a beat line.
const CHROMA_FEWEST: u32 = 4;
/// Bars with the same roots before two bars from which on the one predicts the other.
const CONTEXT: i64 = 2;
/// Longest context that is compared, in bars.
const CONTEXT_LONGEST: i64 = 16;
/// Equal bars from which on the bars are called a loop.
const LOOP_CONTEXT: i64 = 4;
/// Share of the votes that a prediction needs, as a fraction.
const AGREEMENT: (u32, u32) = (3, 4);
/// Share of the counts that is left after a bar.
const DECAY: f64 = 0.97;
/// How far the evidence for one third must outweigh the other, as a logarithm of odds.
const SURE: f64 = 0.4;

/// Weight of each pitch class above the root, for a major third: of the square root of its share in the notes,
/// and of its share in the roots. Fitted to the bass lines of 1500 generated songs (docs/explanation/listening.md).
pub(super) const NOTE_WEIGHTS: [f64; 12] = [0.89, 2.53, 0.89, -5.25, 3.5, -0.43, -1.54, 0.58, -1.91, 0.82, 1.72, 0.29];
pub(super) const ROOT_WEIGHTS: [f64; 12] = [-2.26, 1.2, 0.93, -1.04, 0.26, 1.98, -1.94, -0.23, -1.06, 0.97, -1.76, 2.11];
pub(super) const BIAS: f64 = 0.68;

/// What the musician plays, which decides how chords are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A bass: the first note of a bar is the root.
    Bass,
    /// Another instrument: the notes of a bar are a triad.
    Chords,
}

/// The third of a chord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Third {
    /// Three semitones.
    Minor,
    /// Four semitones.
    Major,
}

/// A chord as heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeardChord {
    /// Pitch class of the root, C is 0.
    pub root: u8,
    /// The third; `None`: not known.
    pub third: Option<Third>,
}

/// One bar.
#[derive(Debug, Clone, Copy)]
struct Bar {
    number: i64,
    /// What was heard in it.
    heard: Option<HeardChord>,
    /// What the bars before it predicted.
    predicted: Option<HeardChord>,
}

/// The chords of the last bars, and what they are found from. It does not allocate.
#[derive(Debug, Clone)]
pub struct Harmony {
    part: Part,
    /// Bar `n` at `n % KEPT`.
    bars: [Bar; KEPT as usize],
    /// The bar in progress; `None`: nothing was heard yet.
    bar: Option<i64>,
    /// The beat in progress, from 1.
    beat: u32,
    /// Frames of the bar so far.
    frames: u32,
    /// Frames of its first notes, by pitch class, and their sum.
    first: [u32; 12],
    voiced: u32,
    /// Frames of all its notes, by pitch class.
    notes: [u32; 12],
    /// Sum of its chroma by pitch class, and the frames in it.
    chroma: [u32; 12],
    chroma_frames: u32,
    /// Frames of the notes, and roots, of the bars before; older ones count less.
    past_notes: [f64; 12],
    past_roots: [f64; 12],
    /// Length of the loop in bars, if there is one.
    looped: Option<i64>,
}

impl Harmony {
    /// No bar has been heard.
    pub fn new(part: Part) -> Self {
        Harmony {
            part,
            bars: [Bar { number: i64::MIN, heard: None, predicted: None }; KEPT as usize],
            bar: None,
            beat: 0,
            frames: 0,
            first: [0; 12],
            voiced: 0,
            notes: [0; 12],
            chroma: [0; 12],
            chroma_frames: 0,
            past_notes: [0.0; 12],
            past_roots: [0.0; 12],
            looped: None,
        }
    }

    /// Takes the features of the next frame, which ends in beat `beat` (from 1) of bar `bar`.
    pub fn push(&mut self, features: &Features, bar: i64, beat: u32) {
        if self.bar != Some(bar) {
            self.begin_bar(bar);
        }
        let beat_line = beat != self.beat && beat > 1;
        self.beat = beat;
        // What is heard in the first frame of a beat belongs to the beat before.
        if beat_line {
            self.settle();
        }
        self.frames += 1;
        if self.frames > SETTLE
            && let Some(note) = features.note()
        {
            let class = usize::from(note % 12);
            self.notes[class] += 1;
            if self.voiced < FIRST {
                self.first[class] += 1;
                self.voiced += 1;
                if self.part == Part::Bass && self.voiced == FIRST && self.heard().is_none() {
                    self.hear_root();
                }
            }
        }
        if self.frames > CHROMA_SETTLE && features.sounding {
            self.chroma_frames += 1;
            self.chroma.iter_mut().zip(features.chroma).for_each(|(sum, c)| *sum += u32::from(c));
        }
    }

    /// The chord of a bar: as heard, or as predicted. `None`: not known.
    pub fn chord(&self, bar: i64) -> Option<HeardChord> {
        let kept = self.kept(bar)?;
        kept.heard.or(kept.predicted)
    }

    /// Length of the loop in bars, if the bars repeat.
    pub fn loop_bars(&self) -> Option<u32> {
        self.looped.map(|bars| bars as u32)
    }

    fn kept(&self, bar: i64) -> Option<&Bar> {
        Some(&self.bars[bar.rem_euclid(KEPT) as usize]).filter(|kept| kept.number == bar)
    }

    fn slot(&mut self, bar: i64) -> &mut Bar {
        let slot = &mut self.bars[bar.rem_euclid(KEPT) as usize];
        if slot.number != bar {
            *slot = Bar { number: bar, heard: None, predicted: None };
        }
        slot
    }

    /// What was heard in the bar in progress.
    fn heard(&self) -> Option<HeardChord> {
        self.kept(self.bar?)?.heard
    }

    fn root(&self, bar: i64) -> Option<u8> {
        Some(self.kept(bar)?.heard?.root)
    }

    /// Ends the bar in progress and begins bar `bar`.
    fn begin_bar(&mut self, bar: i64) {
        if let Some(before) = self.bar {
            self.past_notes.iter_mut().zip(self.notes).for_each(|(past, now)| *past = *past * DECAY + f64::from(now));
            self.past_roots.iter_mut().for_each(|past| *past *= DECAY);
            if let Some(root) = self.root(before) {
                self.past_roots[usize::from(root)] += 1.0;
            }
            if before + 1 != bar {
                // The song starts again, or jumps: the bars before are not the ones before this one.
                self.bars.iter_mut().for_each(|kept| kept.number = i64::MIN);
            }
        }
        (self.bar, self.beat, self.frames, self.voiced, self.chroma_frames) = (Some(bar), 0, 0, 0, 0);
        (self.first, self.notes, self.chroma) = ([0; 12], [0; 12], [0; 12]);
        self.slot(bar);
        self.looped = None;
        self.predict(bar);
        self.predict(bar + 1);
    }

    /// How many bars before `a` and before `b` have the same roots, up to 16.
    fn context(&self, a: i64, b: i64) -> i64 {
        let root = |bar: i64| Some(self.chord(bar)?.root);
        let equal = |n: &i64| root(a - n).is_some_and(|heard| root(b - n) == Some(heard));
        (1..=CONTEXT_LONGEST).take_while(equal).count() as i64
    }

    /// Predicts bar `bar`: each earlier bar that came after the same roots votes for its own, with a weight that
    /// doubles with each bar of these.
    fn predict(&mut self, bar: i64) {
        let mut votes = [0u32; 12];
        let (mut best, mut looped) = (LOOP_CONTEXT - 1, None);
        for earlier in (bar - KEPT + CONTEXT_LONGEST + 1..bar).rev() {
            let Some(chord) = self.kept(earlier).and_then(|kept| kept.heard) else { continue };
            let context = self.context(bar, earlier);
            if context >= CONTEXT {
                votes[usize::from(chord.root)] += 1 << context.min(8);
            }
            if context > best {
                (best, looped) = (context, Some(bar - earlier));
            }
        }
        let (most, all) = (votes.iter().max().copied().unwrap_or(0), votes.iter().sum::<u32>());
        let root = votes.iter().position(|&v| v == most).filter(|_| most > 0 && most * AGREEMENT.1 >= all * AGREEMENT.0);
        let predicted = root.map(|root| self.with_third(root as u8));
        self.slot(bar).predicted = predicted;
        if looped.is_some() {
            self.looped = looped;
        }
    }

    /// At a beat line: the chord of the notes so far, if there are enough.
    fn settle(&mut self) {
        if self.part == Part::Bass && self.voiced >= FEWEST {
            if self.heard().is_none() {
                self.hear_root();
            }
        } else if self.chroma_frames >= CHROMA_FEWEST {
            // With more of the bar the triad is surer.
            let chord = triad(&self.chroma);
            self.hear(chord);
        }
    }

    /// The root is the commonest of the first notes.
    fn hear_root(&mut self) {
        let most = self.first.iter().max().copied().unwrap_or(0);
        let root = self.first.iter().position(|&frames| frames == most).unwrap_or(0) as u8;
        let chord = self.with_third(root);
        self.hear(chord);
    }

    fn hear(&mut self, chord: HeardChord) {
        let Some(bar) = self.bar else { return };
        let slot = self.slot(bar);
        slot.heard = Some(chord);
        self.predict(bar + 1);
    }

    /// The chord on a root, with the third that the notes and roots so far make likely.
    fn with_third(&self, root: u8) -> HeardChord {
        let share = |counts: &[f64; 12], weights: &[f64; 12]| {
            let sum = counts.iter().sum::<f64>().max(1.0);
            let weighted = |(above, weight): (usize, &f64)| weight * (counts[(usize::from(root) + above) % 12] / sum).sqrt();
            weights.iter().enumerate().map(weighted).sum::<f64>()
        };
        let odds = share(&self.past_notes, &NOTE_WEIGHTS) + share(&self.past_roots, &ROOT_WEIGHTS) + BIAS;
        let third = match odds {
            SURE.. => Some(Third::Major),
            _ if odds <= -SURE => Some(Third::Minor),
            _ => None,
        };
        HeardChord { root, third }
    }
}

/// The major or minor triad whose notes sound loudest.
fn triad(chroma: &[u32; 12]) -> HeardChord {
    let at = |class: u8| chroma[usize::from(class % 12)];
    let mut best = (0, HeardChord { root: 0, third: None });
    for root in 0..12 {
        for (third, above) in [(Third::Minor, 3), (Third::Major, 4)] {
            let sum = at(root) + at(root + above) + at(root + 7);
            if sum > best.0 {
                best = (sum, HeardChord { root, third: Some(third) });
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame in which `note` sounds.
    fn note(note: u8) -> Features {
        Features { pitch: f64::from(note), confidence: 0.9, level: -20.0, sounding: true, onset: None, chroma: [0; 12] }
    }

    /// Hears bars of four beats of 25 frames, each a list of its notes, which share the bar.
    fn hear(harmony: &mut Harmony, first: i64, bars: &[&[u8]]) {
        for (bar, notes) in (first..).zip(bars) {
            for frame in 0..100 {
                harmony.push(&note(notes[frame * notes.len() / 100]), bar, (frame / 25) as u32 + 1);
            }
        }
    }

    #[test]
    fn the_root_of_a_bass_is_the_first_note_of_the_bar() {
        let mut harmony = Harmony::new(Part::Bass);
        hear(&mut harmony, 1, &[&[40, 47, 52, 47], &[45, 52, 57, 52]]);
        assert_eq!([1, 2].map(|bar| harmony.chord(bar).map(|c| c.root)), [Some(4), Some(9)]);
        // A beat is enough, and the note before may sound on for a moment.
        for frame in 0..10 {
            harmony.push(&note(if frame < 2 { 57 } else { 43 }), 3, 1);
        }
        assert_eq!(harmony.chord(3).map(|c| c.root), Some(7));
        assert_eq!(harmony.chord(4), None, "nothing repeats yet");
    }

    #[test]
    fn a_loop_predicts_the_bars_to_come_and_goes_on_while_nothing_sounds() {
        let mut harmony = Harmony::new(Part::Bass);
        let bars: [&[u8]; 4] = [&[40], &[45], &[36], &[43]];
        (0..3).for_each(|time| hear(&mut harmony, 1 + 4 * time, &bars));
        assert_eq!(harmony.loop_bars(), Some(4));
        let silence = Features { confidence: 0.0, sounding: false, ..note(0) };
        for bar in 13..17 {
            harmony.push(&silence, bar, 1);
            let root = bars[(bar - 1) as usize % 4][0] % 12;
            assert_eq!(harmony.chord(bar).map(|c| c.root), Some(root), "bar {bar}");
        }
        // What is heard wins.
        hear(&mut harmony, 17, &[&[41]]);
        assert_eq!(harmony.chord(17).map(|c| c.root), Some(5));
    }

    #[test]
    fn thirds_are_those_of_the_scale_that_sounds() {
        for (bars, third) in [
            ([[40, 43, 47, 50], [45, 48, 52, 48], [40, 43, 47, 43], [45, 48, 52, 50]], Third::Minor),
            ([[40, 44, 47, 49], [45, 49, 52, 49], [47, 51, 54, 51], [45, 49, 52, 51]], Third::Major),
        ] {
            let mut harmony = Harmony::new(Part::Bass);
            let bars: Vec<&[u8]> = bars.iter().map(|bar| &bar[..]).collect();
            (0..3).for_each(|time| hear(&mut harmony, 1 + 4 * time, &bars));
            assert_eq!(harmony.chord(9).and_then(|c| c.third), Some(third));
        }
    }

    #[test]
    fn the_chord_of_another_instrument_is_its_triad() {
        let mut harmony = Harmony::new(Part::Chords);
        let chord = |classes: [usize; 3]| {
            let mut chroma = [10; 12];
            classes.iter().for_each(|&class| chroma[class] = 140);
            Features { chroma, confidence: 0.1, ..note(0) }
        };
        for (bar, classes, root, third) in [(1, [9, 0, 4], 9, Third::Minor), (2, [5, 9, 0], 5, Third::Major)] {
            (0..50).for_each(|frame| harmony.push(&chord(classes), bar, frame / 25 + 1));
            assert_eq!(harmony.chord(bar), Some(HeardChord { root, third: Some(third) }));
        }
    }

    #[test]
    fn a_song_that_starts_again_forgets_its_bars() {
        let mut harmony = Harmony::new(Part::Bass);
        hear(&mut harmony, 1, &[&[40], &[45]]);
        hear(&mut harmony, 1, &[&[36]]);
        assert_eq!((harmony.chord(1).map(|c| c.root), harmony.chord(2)), (Some(0), None));
    }
}
