//! Held keys as a chord symbol that the chart reads.

use std::collections::BTreeSet;

/// Qualities: intervals over the root, and how they are written. Fuller ones first.
const QUALITIES: [(&[u8], &str); 14] = [
    (&[0, 4, 7, 11], "maj7"),
    (&[0, 3, 7, 10], "m7"),
    (&[0, 4, 7, 10], "7"),
    (&[0, 3, 6, 10], "m7b5"),
    (&[0, 3, 6, 9], "dim7"),
    (&[0, 5, 7, 10], "7sus4"),
    (&[0, 4, 8], "aug"),
    (&[0, 3, 6], "dim"),
    (&[0, 4, 7], ""),
    (&[0, 3, 7], "m"),
    (&[0, 5, 7], "sus4"),
    (&[0, 2, 7], "sus2"),
    (&[0, 4, 10], "7"),
    (&[0, 7], "5"),
];
const ROOTS: [&str; 12] = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];

/// The chord of some keys: the lowest is the root where that makes one, else any that does. None where they make none.
pub fn name(keys: &BTreeSet<u8>) -> Option<String> {
    let lowest = keys.first()? % 12;
    let classes: BTreeSet<u8> = keys.iter().map(|k| k % 12).collect();
    let roots = std::iter::once(lowest).chain(classes.iter().copied().filter(|c| *c != lowest));
    roots.into_iter().find_map(|root| {
        let over: BTreeSet<u8> = classes.iter().map(|c| (c + 12 - root) % 12).collect();
        let quality = QUALITIES.iter().find(|(set, _)| {
            over.iter().eq({
                let mut sorted: Vec<&u8> = set.iter().collect();
                sorted.sort();
                sorted
            })
        })?;
        Some(format!("{}{}", ROOTS[usize::from(root)], quality.1))
    })
}

/// Keys that are down on the chord channel. A chord stays when the keys are let go.
#[derive(Debug, Clone, Default)]
pub struct Held {
    keys: BTreeSet<u8>,
    last: Option<String>,
}

impl Held {
    /// A key goes down or up: the chord, where it is another one now. Letting go one key after another makes no new chord.
    pub fn note(&mut self, key: u8, down: bool) -> Option<String> {
        if !down {
            self.keys.remove(&key);
            return None;
        }
        self.keys.insert(key);
        let chord = name(&self.keys).filter(|c| self.last.as_ref() != Some(c))?;
        self.last = Some(chord.clone());
        Some(chord)
    }
}
