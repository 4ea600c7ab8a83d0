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
        let unknown = || Error::Input(unknown(symbol));
        let (root, rest) = note(symbol).ok_or_else(unknown)?;
        // "6/9" and "sus2/4" are qualities; every other slash is followed by the bass.
        let bass = |at: usize| rest[at + 1..].chars().next().is_some_and(|c| ('A'..='G').contains(&c));
        let digit = |at: usize| rest[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        let quality = match rest.match_indices('/').map(|(at, _)| at).find(|at| !digit(*at)) {
            Some(at) if bass(at) => &rest[..at],
            Some(_) => return Err(unknown()),
            None => rest,
        };
        let quality = quality_of(quality).ok_or_else(unknown)?;
        Ok(Chord(root * 8 + quality))
    }
}

/// Why a symbol is no chord: with the nearest spelling that is one.
fn unknown(symbol: &str) -> String {
    let shown: String = symbol.chars().take(40).collect();
    match nearest(symbol) {
        Some(nearest) => format!("chord {shown:?} is not known; the nearest spelling is {nearest}"),
        None => format!("chord {shown:?} is not known; write chords like Em, Bb7, Cmaj7, F#m7b5, Gsus4, C/E or NC"),
    }
}

/// Spellings of qualities that are suggested.
const SPELLINGS: [&str; 24] = [
    "", "m", "7", "maj7", "m7", "dim", "dim7", "m7b5", "sus4", "sus2", "7sus4", "aug", "6", "m6", "9", "m9", "maj9", "add9",
    "11", "m11", "13", "7b9", "7#9", "mMaj7",
];

/// The known spelling that is most like a symbol, if one is.
fn nearest(symbol: &str) -> Option<String> {
    /// The most characters that may differ.
    const MOST: usize = 2;
    let upper: String = symbol.chars().take(1).flat_map(char::to_uppercase).chain(symbol.chars().skip(1)).take(20).collect();
    // H is B, as Germans call it.
    let upper = upper.strip_prefix('H').map_or(upper.clone(), |rest| format!("B{rest}"));
    let (_, rest) = note(&upper)?;
    if upper != symbol && quality_of(rest).is_some() {
        return Some(upper);
    }
    let (root, (quality, bass)) = (&upper[..upper.len() - rest.len()], rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let known = SPELLINGS.into_iter().map(|spelling| (distance(quality, spelling), spelling));
    let (far, spelling) = known.min_by_key(|(far, _)| *far)?;
    let bass = if note(bass.trim_start_matches('/')).is_some_and(|(_, rest)| rest.is_empty()) { bass } else { "" };
    // Not one that shares nothing with it.
    (far <= MOST && far < quality.chars().count()).then(|| format!("{root}{spelling}{bass}"))
}

/// The number of characters to insert, remove or replace to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, c) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for m in 0..b.len() {
            let replaced = diagonal + usize::from(c != b[m]);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row[b.len()]
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
    let text = normal(text);
    if let Some(quality) = base_quality(&text) {
        return Some(quality);
    }
    // Alterations and additions after a quality.
    let (mut base, mut altered) = (text.as_str(), Vec::new());
    loop {
        let (rest, last) = ALTERATIONS.into_iter().find_map(|last| Some((base.strip_suffix(last)?, last)))?;
        altered.push(last);
        base = rest;
        let Some(quality) = base_quality(base) else { continue };
        return Some(match quality {
            // C(b9) and C(#11) are dominant chords.
            0 if base.is_empty() && altered.iter().any(|a| ["b9", "#9", "#11", "b13"].contains(a)) => 2,
            1 | 4 if altered.contains(&"b5") => 5,
            0 | 2 | 3 if altered.contains(&"#5") => 7,
            quality => quality,
        });
    }
}

/// What may follow a quality.
const ALTERATIONS: [&str; 20] = [
    "b5", "#5", "b6", "b9", "#9", "#11", "b13", "#13", "b11", "add2", "add4", "add6", "add9", "add11", "add13", "no3", "no5",
    "omit3", "omit5", "b10",
];

/// A quality in lower case, with one spelling for each sign: `MA7` and `Maj7` are `maj7`, `-5` is `b5`.
fn normal(text: &str) -> String {
    let sign = |c: char| match c {
        '♭' => 'b',
        '♯' => '#',
        '△' | '∆' => 'Δ',
        'º' | '˚' => '°',
        '−' | '–' => '-',
        c => c,
    };
    let text: String = text.chars().filter(|c| !"() ,/".contains(*c)).map(sign).collect();
    // M is major and m minor: replace them before the text is made lower case.
    let text = text.replace("mM", "minmaj").replace('M', "maj").to_lowercase().replace("majaj", "maj").replace("majin", "min");
    // MA7 and MI7, then ma7 and mi7; madd9 is minor.
    let mut text = text.replace("maja7", "maj7").replace("maja9", "maj9").replace("maji", "min");
    if text == "maja" {
        text = "maj".into();
    }
    for (short, long, but) in [("ma", "maj", ["maj", "madd"]), ("mi", "min", ["min", "min"])] {
        if text.starts_with(short) && !but.iter().any(|but| text.starts_with(but)) {
            text = text.replacen(short, long, 1);
        }
    }
    // A sign before a number in the middle of a quality is an accidental; at its start it is minor or augmented.
    let mut all = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let number = chars.peek().is_some_and(char::is_ascii_digit);
        all.push(match c {
            '-' if number && !all.is_empty() => 'b',
            '+' if number && !all.is_empty() => '#',
            c => c,
        });
    }
    all
}

/// Number of a quality without alterations, or with usual ones.
fn base_quality(text: &str) -> Option<i32> {
    Some(match text {
        "" | "maj" | "major" | "5" | "2" | "6" | "69" | "add9" | "add2" | "add4" | "add11" | "maj6" | "maj69" => 0,
        "m" | "min" | "minor" | "-" | "m6" | "min6" | "-6" | "m69" | "min69" | "madd9" | "minadd9" | "minmaj7" | "mmaj7"
        | "-maj7" | "minmaj9" => 1,
        "7" | "9" | "11" | "13" | "dom7" | "7b9" | "7#9" | "7b5" | "7#11" | "9#11" | "13#11" | "7b13" | "7alt" | "alt"
        | "13b9" | "7b9b13" | "7#9b13" | "7add13" => 2,
        "maj7" | "maj9" | "maj11" | "maj13" | "δ" | "δ7" | "δ9" | "maj7#11" | "maj9#11" | "j7" | "j" | "major7" => 3,
        "m7" | "min7" | "-7" | "m9" | "min9" | "-9" | "m11" | "min11" | "-11" | "m13" | "min13" | "minor7" => 4,
        "dim" | "dim7" | "°" | "°7" | "o" | "o7" | "ø" | "ø7" | "m7b5" | "min7b5" | "-7b5" | "hdim" | "hdim7" | "mb5" => 5,
        "sus" | "sus2" | "sus4" | "7sus" | "7sus4" | "7sus2" | "9sus" | "9sus4" | "13sus" | "13sus4" | "sus7" | "sus24"
        | "sus2sus4" => 6,
        "aug" | "+" | "+7" | "aug7" | "7#5" | "#5" | "maj7#5" | "9#5" | "+maj7" | "augmaj7" => 7,
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

    #[test]
    fn spellings_of_other_charts_are_read() {
        for (theirs, ours) in [
            ("C△7", "Cmaj7"),
            ("C△", "Cmaj7"),
            ("CMA7", "Cmaj7"),
            ("CMAJ7", "Cmaj7"),
            ("Cma7", "Cmaj7"),
            ("CMa9", "Cmaj9"),
            ("Cma", "C"),
            ("CMA", "C"),
            ("Cmi7", "Cm7"),
            ("CMI7", "Cm7"),
            ("Cmi", "Cm"),
            ("CMin7", "Cm7"),
            ("Cmi(maj7)", "CmMaj7"),
            ("Dº7", "Ddim7"),
            ("Dº", "Ddim"),
            ("Em7(add11)", "Em7"),
            ("Emadd9", "Em"),
            ("CMadd9", "C"),
            ("C7(b9,#11)", "C7"),
            ("C(b9)", "C7"),
            ("Dm7-5", "Dm7b5"),
            ("D-7-5", "Dm7b5"),
            ("Dm7(♭5)", "Dm7b5"),
            ("C7-9", "C7b9"),
            ("C7+5", "C7#5"),
            ("C7+9", "C7#9"),
            ("Cmaj7+11", "Cmaj7"),
            ("Dm9b5", "Dm7b5"),
            ("Asus2/4", "Asus4"),
            ("Asus2/4/E", "Asus4"),
            ("A7sus4(b9)", "A7sus4"),
            ("C6/9/G", "C"),
            ("C13(b9,#11)", "C7"),
            ("C(no3)", "C5"),
            ("C7alt(b9)", "C7"),
        ] {
            assert_eq!(value(theirs), value(ours), "{theirs}");
        }
    }

    #[test]
    fn an_unknown_chord_is_told_the_nearest_spelling() {
        for (wrong, right) in [
            ("em7", "Em7"),
            ("Hm", "Bm"),
            ("Amn7", "Am7"),
            ("Cmajr7", "Cmaj7"),
            ("Gsuss4", "Gsus4"),
            ("F#dimm7/A", "F#dim7/A"),
            ("Bb77", "Bb7"),
        ] {
            assert_eq!(nearest(wrong).as_deref(), Some(right), "{wrong}");
            assert!(wrong.parse::<Chord>().unwrap_err().to_string().contains(right));
        }
        for odd in ["", "foo", "é", "Cwxyzwxyz", "(", "C😀😀😀", "9", "ß"] {
            assert!(odd.parse::<Chord>().is_err() && nearest(odd).is_none(), "{odd}");
        }
    }
}
