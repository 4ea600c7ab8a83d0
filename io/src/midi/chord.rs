//! The chord symbol of held keys, in the chart's notation.

use std::collections::BTreeSet;

/// Chord qualities: intervals above the root, and the suffix of the symbol. Larger chords come first.
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

/// The chord of some keys. The lowest key is the root if that makes a chord, else any other one. `None`: they make no chord.
pub fn chord_name(keys: &BTreeSet<u8>) -> Option<String> {
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

/// The keys that are held on the chord channel. The chord stays when they are released.
#[derive(Debug, Clone, Default)]
pub struct HeldChord {
    keys: BTreeSet<u8>,
    last: Option<String>,
}

impl HeldChord {
    /// A key goes down or up. Returns the chord if it is a new one. Releasing a key makes no new chord.
    pub fn note(&mut self, key: u8, down: bool) -> Option<String> {
        if !down {
            self.keys.remove(&key);
            return None;
        }
        self.keys.insert(key);
        let chord = chord_name(&self.keys).filter(|c| self.last.as_ref() != Some(c))?;
        self.last = Some(chord.clone());
        Some(chord)
    }
}
