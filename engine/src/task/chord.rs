//! Chord symbols, and the chord control value that the model gets for each (docs/reference/model-format.md,
//! "Controls").

use std::str::FromStr;

use crate::Error;

/// Value of the `chord` control where no chord sounds.
const NO_CHORD: i32 = 96;

/// A chord, reduced to what the `chord` control tells apart: its value is root · 8 + quality, or 96 where no
/// chord sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chord(i32);

impl Chord {
    /// Value of the `chord` control.
    pub fn value(self) -> i32 {
        self.0
    }

    /// The chord `semitones` higher.
    pub fn transpose(self, semitones: i32) -> Chord {
        if self.0 == NO_CHORD { self } else { Chord((self.0 / 8 + semitones).rem_euclid(12) * 8 + self.0 % 8) }
    }
}

/// Names of the twelve notes, spelled as most chord charts spell them.
const NOTES: [&str; 12] = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];

/// The note at the start of a text in semitones above C, and the rest of the text.
fn note(text: &str) -> Option<(i32, &str)> {
    let letter = text.chars().next()?;
    let (_, mut at) =
        [('C', 0), ('D', 2), ('E', 4), ('F', 5), ('G', 7), ('A', 9), ('B', 11)].into_iter().find(|n| n.0 == letter)?;
    let mut rest = &text[1..];
    while let Some((sign, shift)) = rest.chars().next().and_then(|c| accidental(c).map(|s| (c, s))) {
        at += shift;
        rest = &rest[sign.len_utf8()..];
    }
    Some((at.rem_euclid(12), rest))
}

/// A chord symbol `semitones` higher, its bass too. A symbol without a note (`NC`) stays as it is.
pub fn transpose_symbol(symbol: &str, semitones: i32) -> String {
    let up = |text: &str| match note(text) {
        Some((at, rest)) => (NOTES[(at + semitones).rem_euclid(12) as usize], rest.to_owned()),
        None => ("", text.to_owned()),
    };
    let (root, rest) = up(symbol);
    match rest.rsplit_once('/') {
        Some((quality, bass)) => {
            let (bass, after) = up(bass);
            format!("{root}{quality}/{bass}{after}")
        }
        None => format!("{root}{rest}"),
    }
}

/// The tonic of a key in semitones above C. Reads keys like `C`, `F#m`, `Bb major`, `E minor`; none for
/// another text. Does not allocate.
pub fn tonic(key: &str) -> Option<i32> {
    let (at, rest) = note(key.trim())?;
    ["", "m", "min", "minor", "maj", "major", "M"].contains(&rest.trim()).then_some(at)
}

/// The symbol of a chord: `root` in semitones above C, `quality` as in the `chord` control. `None` for a value
/// that no chord has.
pub fn chord_name(root: u8, quality: u8) -> Option<String> {
    let suffix = ["", "m", "7", "maj7", "m7", "dim", "sus4", "aug"].get(usize::from(quality))?;
    Some(format!("{}{suffix}", NOTES.get(usize::from(root))?))
}

impl FromStr for Chord {
    type Err = Error;

    /// Reads a chord symbol such as `Em`, `Bb7`, `F#m7b5/A`, `Cmaj7`, `Gsus4`, `C°` or `NC`. The bass after a
    /// slash is dropped.
    fn from_str(symbol: &str) -> Result<Self, Error> {
        let symbol = symbol.trim();
        if ["N", "NC", "N.C.", "N.C"].contains(&symbol.to_ascii_uppercase().as_str()) {
            return Ok(Chord(NO_CHORD));
        }
        let unknown =
            || Error::Input(format!("chord {symbol:?} is not known; write chords like Em, Bb7, Cmaj7, F#m7b5, Gsus4, C/E or NC"));
        let (root, rest) = note(symbol).ok_or_else(unknown)?;
        // "6/9" is a quality; every other slash is followed by the bass.
        let rest = rest.replace("6/9", "69");
        let quality = match rest.split_once('/') {
            Some((quality, bass)) if bass.chars().next().is_some_and(|c| ('A'..='G').contains(&c)) => quality,
            Some(_) => return Err(unknown()),
            None => &rest,
        };
        let quality = quality_of(quality).ok_or_else(unknown)?;
        Ok(Chord(root * 8 + quality))
    }
}

/// Semitones that an accidental adds.
fn accidental(c: char) -> Option<i32> {
    match c {
        '#' | '♯' => Some(1),
        'b' | '♭' => Some(-1),
        _ => None,
    }
}

/// Number of the quality written after the root: 0 maj, 1 min, 2 dom7, 3 maj7, 4 min7, 5 dim, 6 sus, 7 aug.
/// Extensions above the seventh are ignored.
fn quality_of(text: &str) -> Option<i32> {
    let text: String = text
        .chars()
        .filter(|c| !"() ,".contains(*c))
        .map(|c| {
            if c == '♭' {
                'b'
            } else if c == '♯' {
                '#'
            } else {
                c
            }
        })
        .collect();
    // M is major and m minor: replace them before the text is made lower case.
    let text = text.replace("mM", "minmaj").replace('M', "maj").to_lowercase().replace("majaj", "maj").replace("majin", "min");
    Some(match text.as_str() {
        "" | "maj" | "major" | "5" | "2" | "6" | "69" | "add9" | "add2" | "add4" | "add11" | "maj6" | "maj69" => 0,
        "m" | "min" | "minor" | "-" | "m6" | "min6" | "-6" | "m69" | "madd9" | "minadd9" | "minmaj7" | "mmaj7" | "-maj7"
        | "minmaj9" => 1,
        "7" | "9" | "11" | "13" | "dom7" | "7b9" | "7#9" | "7b5" | "7#11" | "9#11" | "13#11" | "7b13" | "7alt" | "alt"
        | "13b9" | "7b9b13" | "7#9b13" | "7add13" => 2,
        "maj7" | "maj9" | "maj11" | "maj13" | "δ" | "δ7" | "δ9" | "maj7#11" | "maj9#11" | "j7" | "j" | "major7" => 3,
        "m7" | "min7" | "-7" | "m9" | "min9" | "-9" | "m11" | "min11" | "-11" | "m13" | "min13" | "minor7" => 4,
        "dim" | "dim7" | "°" | "°7" | "o" | "o7" | "ø" | "ø7" | "m7b5" | "min7b5" | "-7b5" | "hdim" | "hdim7" | "mb5" => 5,
        "sus" | "sus2" | "sus4" | "7sus" | "7sus4" | "7sus2" | "9sus" | "9sus4" | "13sus" | "13sus4" | "sus7" | "sus24"
        | "sus2sus4" => 6,
        "aug" | "+" | "+7" | "aug7" | "7#5" | "#5" | "maj7#5" | "9#5" => 7,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(symbol: &str) -> i32 {
        symbol.parse::<Chord>().unwrap_or_else(|e| panic!("{e}")).value()
    }

    #[test]
    fn chord_symbols_have_their_values() {
        let table: &[(i32, i32, &[&str])] = &[
            (0, 0, &["C", "Cmaj", "CM", "C5", "C6", "C6/9", "Cadd9", "C/E", "C/Bb", "B#", "Dbb", "Cmajor"]),
            (4, 1, &["Em", "Emin", "E-", "Em6", "EmMaj7", "EmM7", "Em/G", "Fbm", "Eminor"]),
            (10, 2, &["Bb7", "A#7", "B♭9", "Bb13", "Bb7b9", "Bb7(#9)", "Bb7#11", "Bb7alt"]),
            (5, 3, &["Fmaj7", "FM7", "FΔ", "FΔ7", "Fmaj9", "FM9", "FMaj7", "Fma\u{6a}7"]),
            (2, 4, &["Dm7", "Dmin7", "D-7", "Dm9", "Dm11", "DMin7"]),
            (6, 5, &["F#dim", "Gb°", "F#dim7", "F#m7b5", "F#ø", "F♯o7", "F#m7(b5)/A"]),
            (7, 6, &["Gsus", "Gsus2", "Gsus4", "G7sus4", "G9sus4"]),
            (9, 7, &["Aaug", "A+", "A7#5", "Aaug7"]),
        ];
        for (root, quality, symbols) in table {
            for symbol in *symbols {
                assert_eq!(value(symbol), root * 8 + quality, "{symbol}");
            }
        }
        assert_eq!((value("NC"), value("N"), value("N.C.")), (96, 96, 96));
        for bad in ["", "H7", "Cfoo", "m7", "C/", "C/x", "7", "é"] {
            assert!(bad.parse::<Chord>().is_err(), "{bad}");
        }
    }

    #[test]
    fn chords_symbols_and_keys_are_transposed_alike() {
        for (symbol, moved) in [("Em7", "Gm7"), ("C/G", "Eb/Bb"), ("F#m7b5/A", "Am7b5/C"), ("Bb6/9", "Db6/9"), ("NC", "NC")] {
            assert_eq!(transpose_symbol(symbol, 3), moved);
            assert_eq!(symbol.parse::<Chord>().unwrap().transpose(3), moved.parse().unwrap());
            assert_eq!(symbol.parse::<Chord>().unwrap().transpose(-9), moved.parse().unwrap());
        }
        for (key, at) in [
            ("C", Some(0)),
            ("F#m", Some(6)),
            (" Bb major ", Some(10)),
            ("E minor", Some(4)),
            ("H", None),
            ("C7", None),
            ("", None),
        ] {
            assert_eq!(tonic(key), at, "{key}");
        }
    }
}
