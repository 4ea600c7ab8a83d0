//! The chart: tempo, meter and chords of a song, and the control values that they give each frame
//! (docs/reference/model-format.md, "Controls").

use std::fmt;
use std::str::FromStr;

use crate::{Error, limits, model};

/// Samples of one frame.
const FRAME: i128 = model::FRAME as i128;
/// Samples of a second.
const RATE: f64 = model::SAMPLE_RATE as f64;
/// Positions in a bar that the `beat` control tells apart.
const POSITIONS: i128 = 48;
/// Ticks of 5 ms that are told apart, either side.
const TICKS: i128 = 8;
/// Value of the `chord` control where no chord sounds.
const NO_CHORD: i32 = 96;

/// Meters that the `beat` control knows, in the order of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Meter {
    /// 4/4.
    #[default]
    #[serde(rename = "4/4")]
    FourFour,
    /// 3/4.
    #[serde(rename = "3/4")]
    ThreeFour,
    /// 6/8.
    #[serde(rename = "6/8")]
    SixEight,
    /// 12/8.
    #[serde(rename = "12/8")]
    TwelveEight,
}

impl Meter {
    /// Length of a bar in quarter notes.
    pub fn quarters(self) -> usize {
        match self {
            Meter::FourFour => 4,
            Meter::ThreeFour | Meter::SixEight => 3,
            Meter::TwelveEight => 6,
        }
    }
}

impl FromStr for Meter {
    type Err = Error;

    /// Reads "4/4", "3/4", "6/8" or "12/8".
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "4/4" => Ok(Meter::FourFour),
            "3/4" => Ok(Meter::ThreeFour),
            "6/8" => Ok(Meter::SixEight),
            "12/8" => Ok(Meter::TwelveEight),
            other => Err(Error::Input(format!("meter \"{other}\" is not known: 4/4, 3/4, 6/8 or 12/8"))),
        }
    }
}

/// A chord as the model hears it: its `chord` control value, root · 8 + quality, or 96 for "no chord sounds".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chord(i32);

impl Chord {
    /// The control value.
    pub fn value(self) -> i32 {
        self.0
    }

    /// The same so many semitones higher.
    pub fn moved(self, semitones: i32) -> Chord {
        if self.0 == NO_CHORD { self } else { Chord((self.0 / 8 + semitones).rem_euclid(12) * 8 + self.0 % 8) }
    }
}

/// Names of the twelve notes, as most charts write them.
const NOTES: [&str; 12] = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];

/// The note that a text begins with, in semitones above C, and what follows it.
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

/// A chord symbol so many semitones higher, its bass too; what is no note stays as it is.
pub fn transposed(symbol: &str, semitones: i32) -> String {
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

/// The keynote of a key, in semitones above C: of `C`, `F#m`, `Bb major`, `E minor`. None: it is no key. Allocates nothing.
pub fn keynote(key: &str) -> Option<i32> {
    let (at, rest) = note(key.trim())?;
    ["", "m", "min", "minor", "maj", "major", "M"].contains(&rest.trim()).then_some(at)
}

impl FromStr for Chord {
    type Err = Error;

    /// Reads a chord symbol: `Em`, `Bb7`, `F#m7b5/A`, `Cmaj7`, `Gsus4`, `C°`, `NC`. The bass after a slash is dropped.
    fn from_str(symbol: &str) -> Result<Self, Error> {
        let symbol = symbol.trim();
        if ["N", "NC", "N.C.", "N.C"].contains(&symbol.to_ascii_uppercase().as_str()) {
            return Ok(Chord(NO_CHORD));
        }
        let unknown =
            || Error::Input(format!("chord \"{symbol}\" is not known: write it like Em, Bb7, Cmaj7, F#m7b5, Gsus4, C/E or NC"));
        let (root, rest) = note(symbol).ok_or_else(unknown)?;
        // "6/9" is a quality, every other slash brings the bass.
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

/// Semitones of an accidental.
fn accidental(c: char) -> Option<i32> {
    match c {
        '#' | '♯' => Some(1),
        'b' | '♭' => Some(-1),
        _ => None,
    }
}

/// Quality number of what follows the root: 0 maj, 1 min, 2 dom7, 3 maj7, 4 min7, 5 dim, 6 sus, 7 aug.
/// Colours above the seventh are heard as the chord that they colour.
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
    // A capital M is major, a small one minor: tell them apart before the case is dropped.
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

/// Chords of bars, one or more sharing each bar equally, repeated: what a chart is written with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chords {
    bars: Vec<Vec<(Chord, Box<str>)>>,
    /// Sections in their order, each with its first bar; none: the chart has no names.
    sections: Vec<(Box<str>, usize)>,
}

impl FromStr for Chords {
    type Err = Error;

    /// Reads one symbol a bar: "Em Em C D". A bar may be shared: "Dm7,G7 Cmaj7". `%` repeats the bar before, `|` may stand between
    /// bars. `[Verse] Em Em C D [Chorus] G D` names sections; a name that has been before, and no bars after it, plays those again.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut chords = Chords::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('[') {
            chords.read(before)?;
            let (name, after) = after
                .split_once(']')
                .ok_or_else(|| Error::Input(format!("the section \"[{}\" has no end: write it like [A]", after.trim())))?;
            chords.begin(name.trim())?;
            rest = after;
        }
        chords.read(rest)?;
        chords.again()?;
        if chords.bars.is_empty() {
            return Err(Error::Input("no chord is given: write one a bar, like \"Em Em C D\"".into()));
        }
        Ok(chords)
    }
}

impl Chords {
    /// The most bars of a chart: names that repeat each other's bars end somewhere.
    const MOST: usize = 1 << 14;

    /// Adds bars to the last section.
    fn read(&mut self, text: &str) -> Result<(), Error> {
        for bar in text.split(|c: char| c.is_whitespace() || c == '|').filter(|bar| !bar.is_empty()) {
            let chords = match (bar, self.bars.last()) {
                ("%", Some(last)) => last.clone(),
                _ => bar.split(',').map(|symbol| Ok((symbol.parse()?, symbol.into()))).collect::<Result<_, Error>>()?,
            };
            self.bars.push(chords);
        }
        Ok(())
    }

    /// Begins a section.
    fn begin(&mut self, name: &str) -> Result<(), Error> {
        if name.is_empty() || name.contains('[') {
            return Err(Error::Input("a section without a name: write it like [A]".into()));
        }
        if self.sections.is_empty() && !self.bars.is_empty() {
            // What comes before the first name.
            self.sections.push(("".into(), 0));
        }
        self.again()?;
        self.sections.push((name.into(), self.bars.len()));
        Ok(())
    }

    /// Ends a section: one without bars of its own has those of the first one of its name.
    fn again(&mut self) -> Result<(), Error> {
        let Some((name, _)) = self.sections.last().filter(|s| s.1 == self.bars.len()) else { return Ok(()) };
        let first = self.sections.iter().position(|s| s.0 == *name).unwrap_or(0);
        if first + 1 == self.sections.len() {
            return Err(Error::Input(format!("section [{name}] has no bars: write them after its name, like [{name}] Em C")));
        }
        let (from, to) = (self.sections[first].1, self.sections[first + 1].1);
        if self.bars.len() + to - from > Self::MOST {
            return Err(Error::Input(format!("the chart is longer than {} bars", Self::MOST)));
        }
        self.bars.extend_from_within(from..to);
        Ok(())
    }

    /// The chord that sounds `num / den` of bar `bar` in, and how it was written; bar 0 is the first. None: before it.
    pub fn at(&self, bar: i64, num: i128, den: i128) -> Option<(Chord, &str)> {
        let bars = self.bars.len() as i64;
        let bar = if bar < 0 || bars == 0 { return None } else { &self.bars[(bar % bars) as usize] };
        let (chord, symbol) = bar.get((num * bar.len() as i128 / den) as usize)?;
        Some((*chord, symbol))
    }

    /// Names of the sections in their order; what comes before the first name has none.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|s| &*s.0)
    }

    /// The section that bar `bar` lies in (bar 0 is the first, the chart is repeated): its place among them, its name, and bars from `bar`
    /// until the next one begins. None: there are no names, or it lies before bar 0.
    pub fn section(&self, bar: i64) -> Option<(usize, &str, i64)> {
        let bar = usize::try_from(bar).ok()?.checked_rem(self.bars.len())?;
        let i = self.sections.iter().rposition(|s| s.1 <= bar)?;
        let end = self.sections.get(i + 1).map_or(self.bars.len(), |s| s.1);
        Some((i, &self.sections[i].0, (end - bar) as i64))
    }

    /// First bar of the section of that place, from 0; those past the last are the first ones again.
    pub fn begins(&self, section: usize) -> Option<i64> {
        Some(self.sections[section.checked_rem(self.sections.len())?].1 as i64)
    }

    /// First bar of the first section of that name, whatever its case; a number is the section of that place, counted from 1, where none is
    /// called so. Allocates nothing.
    pub fn find(&self, name: &str) -> Option<i64> {
        let name = name.trim();
        let named = self.sections.iter().find(|s| s.0.eq_ignore_ascii_case(name)).map(|s| s.1 as i64);
        let number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|n| *n < self.sections.len());
        named.or_else(|| self.begins(number()?))
    }
}

/// Controls `beat` and `tick` (docs/reference/model-format.md) of a frame whose middle lies `num / den` of a bar in.
///
/// * `micro`: the tempo in millionths of a quarter note a minute.
pub fn clock_values(meter: Meter, (num, den): (i128, i128), micro: i128) -> (i32, i32) {
    /// Ticks (5 ms) in a 48th of a quarter note at one millionth of a quarter note a minute.
    const QUARTER: i128 = 60 * 1_000_000 * 200 / POSITIONS;
    let near = (2 * POSITIONS * num + den).div_euclid(2 * den);
    let (off, one) = ((POSITIONS * num - near * den) * meter.quarters() as i128 * QUARTER, den * micro);
    let steps = (2 * off + one).div_euclid(2 * one).clamp(-TICKS, TICKS);
    (meter as i32 * POSITIONS as i32 + (near % POSITIONS) as i32, (steps + TICKS) as i32)
}

/// Tempo, meter, where bar 1 begins, and the chords: what the band knows ahead.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    tempo: f64,
    bar1: f64,
    meter: Meter,
    /// From bar 1 on. Empty: not known.
    chords: Chords,
}

impl Chart {
    /// A chart without chords.
    ///
    /// * `tempo`: quarter notes a minute ([`limits::TEMPO`]).
    /// * `bar1`: where bar 1 begins in the song, in seconds, up to an hour either way.
    pub fn new(tempo: f64, bar1: f64, meter: Meter) -> Result<Self, Error> {
        if !limits::TEMPO.contains(tempo) {
            return Err(Error::Input(format!("tempo {tempo} is out of range: {}", limits::TEMPO)));
        }
        if !limits::BAR1.contains(bar1) {
            return Err(Error::Input(format!("bar 1 at {bar1} s is out of range: {}", limits::BAR1)));
        }
        Ok(Chart { tempo, bar1, meter, chords: Chords::default() })
    }

    /// The chart with chords, as [`Chords`] reads them.
    pub fn with_chords(mut self, chords: &str) -> Result<Self, Error> {
        self.chords = chords.parse()?;
        Ok(self)
    }

    fn micro(&self) -> i128 {
        (self.tempo * 1e6).round() as i128
    }

    /// Where frame `frame`'s middle lies: its bar, 0 is the first, and `num / den` of it, exact.
    fn position(&self, frame: i64) -> (i64, (i128, i128)) {
        let samples = FRAME * i128::from(frame) + FRAME / 2 - (self.bar1 * RATE).round() as i128;
        let (num, den) = (samples * self.micro(), 60 * RATE as i128 * 1_000_000 * self.meter.quarters() as i128);
        (num.div_euclid(den) as i64, (num.rem_euclid(den), den))
    }

    /// `beat` and `tick` control values of a frame. The clock also runs before bar 1.
    pub fn clock(&self, frame: i64) -> (i32, i32) {
        clock_values(self.meter, self.position(frame).1, self.micro())
    }

    /// Whether any chord is given.
    pub fn has_chords(&self) -> bool {
        !self.chords.bars.is_empty()
    }

    /// `chord` control value of a frame; none before bar 1 and where no chords are given.
    pub fn chord(&self, frame: i64) -> Option<i32> {
        let (bar, (num, den)) = self.position(frame);
        self.chords.at(bar, num, den).map(|(chord, _)| chord.value())
    }

    /// Value of the control `name` at a frame; none (the null value) where it is not known.
    pub fn control(&self, name: &str, frame: i64) -> Option<i32> {
        match name {
            "beat" => Some(self.clock(frame).0),
            "tick" => Some(self.clock(frame).1),
            "chord" => self.chord(frame),
            _ => None,
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["4/4", "3/4", "6/8", "12/8"][*self as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(symbol: &str) -> i32 {
        symbol.parse::<Chord>().unwrap_or_else(|e| panic!("{e}")).value()
    }

    #[test]
    fn chord_symbols() {
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
    fn chords_move_with_their_key() {
        for (symbol, moved) in [("Em7", "Gm7"), ("C/G", "Eb/Bb"), ("F#m7b5/A", "Am7b5/C"), ("Bb6/9", "Db6/9"), ("NC", "NC")] {
            assert_eq!(transposed(symbol, 3), moved);
            assert_eq!(symbol.parse::<Chord>().unwrap().moved(3), moved.parse().unwrap());
            assert_eq!(symbol.parse::<Chord>().unwrap().moved(-9), moved.parse().unwrap());
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
            assert_eq!(keynote(key), at, "{key}");
        }
    }

    #[test]
    fn beats_fall_on_their_frames() {
        // 120 a minute, 4/4: a bar is exactly 100 frames, a 48th 41.7 ms, and frame 0's middle is 10 ms after the line.
        let chart = Chart::new(120.0, 0.0, Meter::FourFour).unwrap();
        assert_eq!((0..4).map(|f| chart.clock(f)).collect::<Vec<_>>(), [(0, 10), (1, 6), (1, 10), (2, 5)]);
        assert_eq!((chart.clock(100), chart.clock(99), chart.clock(-1)), ((0, 10), (0, 6), (0, 6)));
        assert_eq!(chart.chord(0), None);
        // 97 a minute, waltz, bar 1 half a second in; against plain arithmetic away from the borders.
        let chart = Chart::new(97.0, 0.5, Meter::ThreeFour).unwrap();
        for f in 0..2000 {
            let length = 3.0 * 60.0 / 97.0;
            let at = ((f as f64 + 0.5) * 0.02 - 0.5) / length * 48.0;
            let ticks = (at - at.round()) * length / 48.0 / 0.005;
            if (at - at.floor() - 0.5).abs() > 1e-6 && (ticks - ticks.floor() - 0.5).abs() > 1e-6 {
                assert_eq!(chart.clock(f), (48 + (at.round() as i32).rem_euclid(48), ticks.round() as i32 + 8), "frame {f}");
            }
        }
        assert_eq!(Chart::new(120.0, 0.01, "12/8".parse().unwrap()).unwrap().clock(75), (144 + 24, 8));
        // 20 a minute: the ticks end where they end.
        assert_eq!(Chart::new(20.0, 0.0, Meter::FourFour).unwrap().clock(4), (0, 16));
    }

    #[test]
    fn chords_change_with_their_bars() {
        let chart = Chart::new(120.0, 1.0, Meter::FourFour).unwrap().with_chords("| Em % | Dm7,G7 NC |").unwrap();
        let at = |frame| chart.chord(frame);
        assert_eq!((at(49), at(50), at(249), at(250)), (None, Some(33), Some(33), Some(20)));
        assert_eq!((at(299), at(300), at(350), at(450)), (Some(20), Some(58), Some(96), Some(33)));
        assert!(Chart::new(120.0, 0.0, Meter::FourFour).unwrap().with_chords("Em X").is_err());
        assert!(Chart::new(120.0, 0.0, Meter::FourFour).unwrap().with_chords(" | ").is_err());
        assert!(Chart::new(f64::NAN, 0.0, Meter::FourFour).is_err());
        assert!(Chart::new(120.0, f64::INFINITY, Meter::FourFour).is_err());
        assert!("5/4".parse::<Meter>().is_err());
    }

    #[test]
    fn sections_have_names() {
        let written: Chords = "Em [Verse 1] Em % |C D| [B]G D,A [Verse 1] [coda]Am".parse().unwrap();
        let plain: Chords = "Em Em Em C D G D,A Em Em C D Am".parse().unwrap();
        for bar in -3..30 {
            for part in 0..4 {
                assert_eq!(written.at(bar, part, 4), plain.at(bar, part, 4));
            }
            assert_eq!(plain.section(bar), None);
        }
        assert_eq!(written.names().collect::<Vec<_>>(), ["", "Verse 1", "B", "Verse 1", "coda"]);
        let at = |bar| written.section(bar);
        assert_eq!([at(-1), at(0), at(1)], [None, Some((0, "", 1)), Some((1, "Verse 1", 4))]);
        assert_eq!([at(4), at(6), at(10)], [Some((1, "Verse 1", 1)), Some((2, "B", 1)), Some((3, "Verse 1", 1))]);
        assert_eq!([at(11), at(12), at(17)], [Some((4, "coda", 1)), Some((0, "", 1)), Some((2, "B", 2))]);
        let find = |name| written.find(name);
        assert_eq!([find("b"), find(" VERSE 1 "), find("coda"), find("x"), find("0")], [Some(5), Some(1), Some(11), None, None]);
        assert_eq!([find("2"), find("5"), find("6")], [Some(1), Some(11), None], "by their place, where none is called so");
        assert_eq!([written.begins(2), written.begins(5), plain.begins(0)], [Some(5), Some(0), None]);
        assert_eq!("[2] Em [1] C".parse::<Chords>().unwrap().find("2"), Some(0));
        for bad in ["[A]", "[A] Em [B] [C] D", "[A Em", "[] Em", "Em] C", "[A] Em [A", "[[A] Em"] {
            assert!(bad.parse::<Chords>().is_err(), "{bad}");
        }
        assert!(("[A] Em".to_owned() + &" [A]".repeat(20_000)).parse::<Chords>().is_err());
    }
}
