//! A chord progression in bars, with named sections, and [`WrittenChords`], the same with its text.

use std::str::FromStr;
use std::sync::Arc;

use super::{Chord, notation};
use crate::Error;

/// The chords of a bar, which share it equally, each with its symbol. Bars that repeat share their memory.
pub(super) type Bar = Arc<[(Chord, Box<str>)]>;

/// Bars and sections of [`Chords`].
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Parts {
    pub bars: Vec<Bar>,
    /// Name and first bar of each section, in order; empty where no section is named.
    pub sections: Vec<(Box<str>, usize)>,
}

/// Chords in bars, repeated without end. Bars may belong to named sections. Clones share their memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chords(Arc<Parts>);

impl FromStr for Chords {
    type Err = Error;

    /// Reads the notation of charts: `[A] Em C,D | G % | [B] Am / / / | D x2`.
    ///
    /// # Errors
    /// [`Error::Input`]: what can't be read, and in which bar; or the limit of bars or chords that is exceeded.
    fn from_str(text: &str) -> Result<Self, Error> {
        notation::read(text).map(|parts| Chords(Arc::new(parts)))
    }
}

/// What is written in place of a chart for chords by ear, in `--chords` and in [`crate::live::Command::Chords`].
pub const CHORDS_BY_EAR: &str = "ear";

/// Whether a chart, as it was written, asks for chords by ear.
pub fn by_ear(chart: &str) -> bool {
    chart.trim().eq_ignore_ascii_case(CHORDS_BY_EAR)
}

/// Chords as they were written, and what was read. They are read where they are made, so that the thread that
/// plays them doesn't have to; clones share what was read.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(from = "String", into = "String")]
pub struct WrittenChords {
    text: String,
    chords: Option<Result<Chords, Arc<str>>>,
}

impl WrittenChords {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The chords; `None`: the text is empty or asks for chords by ear, so they are not known.
    ///
    /// # Errors
    /// Why the text can't be read.
    pub fn chords(&self) -> Result<Option<&Chords>, &str> {
        match &self.chords {
            None => Ok(None),
            Some(Ok(chords)) => Ok(Some(chords)),
            Some(Err(why)) => Err(why),
        }
    }
}

impl From<String> for WrittenChords {
    fn from(text: String) -> Self {
        let read = || text.parse::<Chords>().map_err(|e| e.to_string().into());
        let chords = if text.trim().is_empty() || by_ear(&text) { None } else { Some(read()) };
        WrittenChords { text, chords }
    }
}

impl From<WrittenChords> for String {
    fn from(written: WrittenChords) -> String {
        written.text
    }
}

impl From<&str> for WrittenChords {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl PartialEq for WrittenChords {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Chords {
    /// Whether there are no bars.
    pub(super) fn is_empty(&self) -> bool {
        self.0.bars.is_empty()
    }

    /// The chord at the fraction `num / den` of bar `bar`, and its symbol as written. Bars count from 0; none
    /// before bar 0.
    pub fn at(&self, bar: i64, num: i128, den: i128) -> Option<(Chord, &str)> {
        let bars = self.0.bars.len() as i64;
        let bar = if bar < 0 || bars == 0 { return None } else { &self.0.bars[(bar % bars) as usize] };
        let (chord, symbol) = bar.get((num * bar.len() as i128 / den) as usize)?;
        Some((*chord, symbol))
    }

    /// The symbols of bar `bar`, which share it equally. Bars count from 0; none before bar 0.
    pub fn symbols(&self, bar: i64) -> impl ExactSizeIterator<Item = &str> {
        let bars = self.0.bars.len() as i64;
        let chords: &[_] = if bar < 0 || bars == 0 { &[] } else { &self.0.bars[(bar % bars) as usize] };
        chords.iter().map(|(_, symbol)| &**symbol)
    }

    /// Names of the sections in order. The bars before the first name are a section with an empty name.
    pub fn section_names(&self) -> impl Iterator<Item = &str> {
        self.0.sections.iter().map(|s| &*s.0)
    }

    /// The section of bar `bar`: its index, its name, and the number of bars from `bar` until the next
    /// section begins. None where no section is named, and before bar 0.
    pub fn section(&self, bar: i64) -> Option<(usize, &str, i64)> {
        let bar = usize::try_from(bar).ok()?.checked_rem(self.0.bars.len())?;
        let i = self.0.sections.iter().rposition(|s| s.1 <= bar)?;
        let end = self.0.sections.get(i + 1).map_or(self.0.bars.len(), |s| s.1);
        Some((i, &self.0.sections[i].0, (end - bar) as i64))
    }

    /// First bar of the section of that index, which wraps around.
    pub fn section_start(&self, section: usize) -> Option<i64> {
        Some(self.0.sections[section.checked_rem(self.0.sections.len())?].1 as i64)
    }

    /// First bar of the first section of that name, upper or lower case. Where none has that name and it is a
    /// number, the first bar of the section of that number, counted from 1. Does not allocate.
    pub fn find_section(&self, name: &str) -> Option<i64> {
        let name = name.trim();
        let named = self.0.sections.iter().find(|s| s.0.eq_ignore_ascii_case(name)).map(|s| s.1 as i64);
        let number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|n| *n < self.0.sections.len());
        named.or_else(|| self.section_start(number()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CHART_BARS, CHART_CHORDS};

    #[test]
    fn sections_are_found_by_bar_name_and_number() {
        let written: Chords = "Em [Verse 1] Em % |C D| [B]G D,A [Verse 1] [coda]Am".parse().unwrap();
        let plain: Chords = "Em Em Em C D G D,A Em Em C D Am".parse().unwrap();
        for bar in -3..30 {
            for part in 0..4 {
                assert_eq!(written.at(bar, part, 4), plain.at(bar, part, 4));
            }
            assert_eq!(plain.section(bar), None);
        }
        assert_eq!(written.section_names().collect::<Vec<_>>(), ["", "Verse 1", "B", "Verse 1", "coda"]);
        let at = |bar| written.section(bar);
        assert_eq!([at(-1), at(0), at(1)], [None, Some((0, "", 1)), Some((1, "Verse 1", 4))]);
        assert_eq!([at(4), at(6), at(10)], [Some((1, "Verse 1", 1)), Some((2, "B", 1)), Some((3, "Verse 1", 1))]);
        assert_eq!([at(11), at(12), at(17)], [Some((4, "coda", 1)), Some((0, "", 1)), Some((2, "B", 2))]);
        let find = |name| written.find_section(name);
        assert_eq!([find("b"), find(" VERSE 1 "), find("coda"), find("x"), find("0")], [Some(5), Some(1), Some(11), None, None]);
        assert_eq!([find("2"), find("5"), find("6")], [Some(1), Some(11), None], "by number where no section has that name");
        assert_eq!([written.section_start(2), written.section_start(5), plain.section_start(0)], [Some(5), Some(0), None]);
        assert_eq!("[2] Em [1] C".parse::<Chords>().unwrap().find_section("2"), Some(0));
        for bad in ["[A]", "[A] Em [B] [C] D", "[A Em", "[] Em", "Em] C", "[A] Em [A", "[[A] Em"] {
            assert!(bad.parse::<Chords>().is_err(), "{bad}");
        }
        assert!(("[A] Em".to_owned() + &" [A]".repeat(20_000)).parse::<Chords>().is_err());
    }

    /// The symbols of the bars of a chart, at the four quarters of each.
    fn quarters(text: &str) -> Vec<String> {
        let chords: Chords = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let symbol = |bar, n| chords.at(bar, n, 4).map(|at| at.1.to_owned()).unwrap();
        (0..chords.0.bars.len() as i64).map(|bar| (0..4).map(|n| symbol(bar, n)).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn repeats_and_beats_are_written_out() {
        for (short, long) in [
            ("|: Am F :|", "Am F Am F"),
            ("C |: Am F :| G", "C Am F Am F G"),
            ("|: Am F :| x3 G", "Am F Am F Am F G"),
            ("|: Am :|: F :|x3 C", "Am Am F F F C"),
            ("Am F :| C", "Am F Am F C"),
            ("Am x2", "Am Am"),
            ("Am F x2 C D x2", "Am F Am F C D C D"),
            ("Am F (x2)\nC 3x", "Am F Am F C C C"),
            ("C G\nAm F x2", "C G Am F C G Am F"),
            ("[A] C x2 [B] Am :| [A]", "C C Am Am C C"),
            ("|: Am x2 F :|", "Am Am F Am Am F"),
            ("Am / / /", "Am"),
            ("Am / / / F / / /", "Am F"),
            ("| Am / / / | F / C / |", "Am F,C"),
            ("| Am / / G | / / / / |", "Am,Am,Am,G G"),
            ("|: Am / / / :|", "Am Am"),
            ("Dm7 / / G7 | C", "Dm7,Dm7,Dm7,G7 C"),
            ("Am||F | | C", "Am F C"),
            ("C7(b9, #11),F", "C7(b9, #11),F"),
        ] {
            assert_eq!(quarters(short), quarters(long), "{short}");
        }
    }

    #[test]
    fn an_unreadable_chart_names_its_bar() {
        for (chart, bar) in [
            ("Em Em C Dxyz", 4),
            ("[A] Em [B] C H", 3),
            ("Em C,Foo D", 2),
            ("|: Em C :| D Xm", 6),
            ("| Em / / / | C / Foo / |", 2),
            ("N C Em", 2),
            ("Em N C", 3),
            ("Em C7(b9 Em", 2),
            ("Em C7b9) Em", 2),
            ("Em |: C |: D :|", 3),
            ("Em F |: C", 4),
            ("Em C / D", 1),
            ("/ Em", 1),
            ("% Em", 1),
            ("Em x0", 2),
            ("Em x100000", 2),
            ("x2 Em", 1),
            ("Em :| :|", 3),
        ] {
            let error = chart.parse::<Chords>().unwrap_err().to_string();
            assert!(error.contains(&format!("bar {bar}:")), "{chart}: {error}");
        }
    }

    #[test]
    fn bars_and_chords_are_limited_and_the_error_names_the_limit() {
        let crowded = format!("[A] {} ", vec!["C"; 1000].join(","));
        let charts = [
            (crowded.clone() + &"[A] ".repeat(700), CHART_CHORDS),
            (crowded + &"% ".repeat(1000), CHART_CHORDS),
            (format!("| C {}|", "/ ".repeat(1000)), CHART_CHORDS),
            ("|: C,D,E,F :| x64 ".repeat(300), CHART_BARS),
            ("C x64 ".repeat(600), CHART_BARS),
            ("[A] Em ".to_owned() + &"[A] ".repeat(20_000), CHART_BARS),
            ("Em ".repeat(CHART_BARS + 1), CHART_BARS),
        ];
        for (chart, limit) in charts {
            let error = chart.parse::<Chords>().unwrap_err().to_string();
            assert!(error.contains(&limit.to_string()), "{error}");
        }
        // Of what is allowed, repeated bars share their memory.
        let long: Chords =
            format!("[A] {} [B] {}", "C,D,E,F ".repeat(8), "[A] [B] ".repeat(125)).replacen("[B] ", "[B] G ", 1).parse().unwrap();
        let shared = |bar: usize| Arc::ptr_eq(&long.0.bars[bar], &long.0.bars[0]);
        assert!(long.0.bars.len() > 1000 && shared(9) && !shared(1));
    }

    #[test]
    fn a_chart_of_any_usual_length_is_read() {
        // Over 1400 bytes, of 65 sections.
        let long: String = (0..65).map(|n| format!("[part {n}] Em7 Am7 D7 Gmaj7 ")).collect();
        assert!(long.len() > 1400);
        assert_eq!(long.parse::<Chords>().unwrap().section_names().count(), 65);
    }
}
