//! A chord progression in bars, with named sections, and the notation in which charts and the command
//! `/jam/chords` write it.

use std::str::FromStr;

use super::Chord;
use crate::Error;

/// Chords in bars, repeated without end. The chords of a bar share it equally. Bars may belong to named
/// sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chords {
    bars: Vec<Vec<(Chord, Box<str>)>>,
    /// Name and first bar of each section, in order; empty where no section is named.
    sections: Vec<(Box<str>, usize)>,
}

impl FromStr for Chords {
    type Err = Error;

    /// Reads one chord per bar: `Em Em C D`. Chords that share a bar are separated by commas: `Dm7,G7 Cmaj7`.
    /// `%` repeats the bar before; `|` between bars is ignored. `[Verse] Em Em C D [Chorus] G D` names
    /// sections. A name that is used again without bars after it repeats the bars of the first section of
    /// that name.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut chords = Chords::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('[') {
            chords.read_bars(before)?;
            let (name, after) = after.split_once(']').ok_or_else(|| {
                Error::Input(format!("section \"[{}\": the closing ] is missing; write sections like [A]", after.trim()))
            })?;
            chords.begin_section(name.trim())?;
            rest = after;
        }
        chords.read_bars(rest)?;
        chords.end_section()?;
        if chords.bars.is_empty() {
            return Err(Error::Input("no chords: write one per bar, like \"Em Em C D\"".into()));
        }
        Ok(chords)
    }
}

impl Chords {
    /// Most bars. Sections that repeat sections can double the length with every few characters.
    const MAX_BARS: usize = 1 << 14;

    /// Whether there are no bars.
    pub(super) fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }

    /// Adds bars to the last section.
    fn read_bars(&mut self, text: &str) -> Result<(), Error> {
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
    fn begin_section(&mut self, name: &str) -> Result<(), Error> {
        if name.is_empty() || name.contains('[') {
            return Err(Error::Input("a section without a name; write sections like [A]".into()));
        }
        if self.sections.is_empty() && !self.bars.is_empty() {
            // The bars before the first name.
            self.sections.push(("".into(), 0));
        }
        self.end_section()?;
        self.sections.push((name.into(), self.bars.len()));
        Ok(())
    }

    /// Ends the last section. Where it has no bars, it gets those of the first section of its name.
    fn end_section(&mut self) -> Result<(), Error> {
        let Some((name, _)) = self.sections.last().filter(|s| s.1 == self.bars.len()) else { return Ok(()) };
        let first = self.sections.iter().position(|s| s.0 == *name).unwrap_or(0);
        if first + 1 == self.sections.len() {
            return Err(Error::Input(format!("section [{name}] has no bars; write them after its name, like [{name}] Em C")));
        }
        let (from, to) = (self.sections[first].1, self.sections[first + 1].1);
        if self.bars.len() + to - from > Self::MAX_BARS {
            return Err(Error::Input(format!("the chords have more than {} bars, the most there can be", Self::MAX_BARS)));
        }
        self.bars.extend_from_within(from..to);
        Ok(())
    }

    /// The chord at the fraction `num / den` of bar `bar`, and its symbol as written. Bars count from 0; none
    /// before bar 0.
    pub fn at(&self, bar: i64, num: i128, den: i128) -> Option<(Chord, &str)> {
        let bars = self.bars.len() as i64;
        let bar = if bar < 0 || bars == 0 { return None } else { &self.bars[(bar % bars) as usize] };
        let (chord, symbol) = bar.get((num * bar.len() as i128 / den) as usize)?;
        Some((*chord, symbol))
    }

    /// Names of the sections in order. The bars before the first name are a section with an empty name.
    pub fn section_names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|s| &*s.0)
    }

    /// The section of bar `bar`: its index, its name, and the number of bars from `bar` until the next
    /// section begins. None where no section is named, and before bar 0.
    pub fn section(&self, bar: i64) -> Option<(usize, &str, i64)> {
        let bar = usize::try_from(bar).ok()?.checked_rem(self.bars.len())?;
        let i = self.sections.iter().rposition(|s| s.1 <= bar)?;
        let end = self.sections.get(i + 1).map_or(self.bars.len(), |s| s.1);
        Some((i, &self.sections[i].0, (end - bar) as i64))
    }

    /// First bar of the section of that index, which wraps around.
    pub fn section_start(&self, section: usize) -> Option<i64> {
        Some(self.sections[section.checked_rem(self.sections.len())?].1 as i64)
    }

    /// First bar of the first section of that name, upper or lower case. Where none has that name and it is a
    /// number, the first bar of the section of that number, counted from 1. Does not allocate.
    pub fn find_section(&self, name: &str) -> Option<i64> {
        let name = name.trim();
        let named = self.sections.iter().find(|s| s.0.eq_ignore_ascii_case(name)).map(|s| s.1 as i64);
        let number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|n| *n < self.sections.len());
        named.or_else(|| self.section_start(number()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
