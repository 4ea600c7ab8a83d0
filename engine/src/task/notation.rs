//! The notation of chord charts: from text to bars and sections.
//!
//! One chord per bar: `Em Em C D`. Chords that share a bar are separated by commas: `Dm7,G7 Cmaj7`. `%` repeats the
//! bar before. Bar lines are ignored, except where `/` counts beats: `| Am / F / |` is one bar. `|: Am F :|` is
//! played twice, `:| x3` three times; `Am F x3` repeats the bars since the beginning of the section or the
//! repeat before. `[Verse] Em Em C D [Chorus] G D` names sections. A name that is used again without bars
//! after it repeats the bars of the first section of that name.

use std::sync::Arc;

use super::Chord;
use super::chords::{Bar, Parts};
use crate::Error;
use crate::limits::{CHART_BARS, CHART_CHORDS};

/// The most times that a passage can be repeated by one sign.
const MAX_TIMES: usize = 64;

/// Reads a chart.
///
/// # Errors
/// [`Error::Input`]: what can't be read, and in which bar.
pub(super) fn read(text: &str) -> Result<Parts, Error> {
    let mut reader = Reader::default();
    let mut rest = text;
    while let Some(token) = next(&mut rest).map_err(|e| reader.error(&e))? {
        reader.take(token)?;
    }
    reader.end()
}

/// A sign or a bar of the notation.
#[derive(Debug, PartialEq)]
enum Token<'a> {
    /// `[name]`.
    Section(&'a str),
    /// `|`.
    BarLine,
    /// `|:`.
    RepeatBegin,
    /// `:|`.
    RepeatEnd,
    /// `x3`.
    Times(usize),
    /// `%`.
    Same,
    /// `/`: the chord before sounds for another beat.
    Beat,
    /// The chords of a bar.
    Bar(&'a str),
}

/// Takes the next token from a text.
fn next<'a>(text: &mut &'a str) -> Result<Option<Token<'a>>, String> {
    *text = text.trim_start();
    let Some(first) = text.chars().next() else { return Ok(None) };
    // Splits off the first n bytes.
    let split = |text: &mut &'a str, n: usize| {
        let (token, rest) = text.split_at(n);
        *text = rest;
        token
    };
    let bar_lines = |text: &str| text.len() - text.trim_start_matches('|').len();
    Ok(Some(match first {
        '[' => {
            let Some((name, rest)) = text[1..].split_once(']') else {
                return Err(format!("section \"{}\": the closing ] is missing; write sections like [A]", text.trim()));
            };
            *text = rest;
            Token::Section(name.trim())
        }
        '|' => {
            split(text, bar_lines(text));
            if text.starts_with(':') {
                split(text, 1);
                Token::RepeatBegin
            } else {
                Token::BarLine
            }
        }
        ':' if text[1..].starts_with('|') => {
            split(text, 1);
            // `:|:` ends a repeat and begins another one: its bar line is read again.
            let after = &text[bar_lines(text)..];
            if !after.starts_with(':') || after[1..].starts_with('|') {
                *text = after;
            }
            Token::RepeatEnd
        }
        _ => {
            let word = split(text, word_length(text)?);
            match word {
                "%" => Token::Same,
                "/" => Token::Beat,
                _ => times(word).map_or(Token::Bar(word), Token::Times),
            }
        }
    }))
}

/// Length of the word at the start of a text. What is in parentheses belongs to it.
fn word_length(text: &str) -> Result<usize, String> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or_else(|| format!("{:?}: a ) without a (", shown(text)))?,
            '|' | '[' if depth > 0 => break,
            '|' | '[' => return Ok(at),
            ':' if depth == 0 && text[at + 1..].starts_with('|') => return Ok(at),
            _ if depth == 0 && c.is_whitespace() => return Ok(at),
            _ => {}
        }
    }
    if depth == 0 { Ok(text.len()) } else { Err(format!("{:?}: the closing ) is missing", shown(text))) }
}

/// The beginning of a text, for an error.
fn shown(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().chars().take(40).collect()
}

/// Reads `x3`, `×3`, `3x` or `(x3)`.
fn times(word: &str) -> Option<usize> {
    let word = word.strip_prefix('(').and_then(|word| word.strip_suffix(')')).unwrap_or(word);
    let number = word.strip_prefix(['x', 'X', '×']).or_else(|| word.strip_suffix(['x', 'X', '×']))?;
    number.parse().ok()
}

/// A cell of the notation between two bar lines.
enum Cell {
    /// The chords of a bar.
    Chords(Bar),
    /// Another beat of the chord before.
    Beat,
}

/// The bars and sections read so far.
#[derive(Default)]
struct Reader {
    parts: Parts,
    /// Cells since the last bar line, section or repeat sign, and whether they follow a bar line.
    cells: Vec<Cell>,
    after_bar_line: bool,
    /// The bar in which the passage begins that a repeat sign repeats.
    from: usize,
    /// The bar after `|:`, while it is open.
    open: Option<usize>,
    /// The passage of the `:|` that was read last, which `x3` may follow.
    ended: Option<(usize, usize)>,
    /// The bar before was `N`.
    lone_n: bool,
}

impl Reader {
    /// The bar that is read now, from 1.
    fn bar(&self) -> usize {
        let in_one_bar = self.cells.iter().any(|cell| matches!(cell, Cell::Beat));
        self.parts.bars.len() + 1 + if in_one_bar { 0 } else { self.cells.len() }
    }

    fn error(&self, what: &str) -> Error {
        Error::Input(format!("bar {}: {what}", self.bar()))
    }

    fn take(&mut self, token: Token) -> Result<(), Error> {
        let ended = self.ended.take();
        let lone_n = std::mem::take(&mut self.lone_n);
        match token {
            Token::Section(name) => self.begin_section(name)?,
            Token::BarLine => self.end_cells(true)?,
            Token::RepeatBegin => {
                self.end_cells(true)?;
                if self.open.is_some() {
                    return Err(self.error("a repeat |: inside another one; close it with :| first"));
                }
                self.open = Some(self.parts.bars.len());
            }
            Token::RepeatEnd => {
                self.end_cells(true)?;
                let from = self.open.take().unwrap_or_else(|| self.from.max(self.section_start()));
                let to = self.parts.bars.len();
                self.repeat(from, to, 2)?;
                self.ended = Some((from, to));
            }
            Token::Times(n) if !(1..=MAX_TIMES).contains(&n) => {
                return Err(self.error(&format!("x{n}: must be x1 to x{MAX_TIMES}")));
            }
            Token::Times(n) => match ended {
                Some((from, to)) => {
                    self.parts.bars.truncate(to);
                    self.repeat(from, to, n)?;
                }
                None => {
                    self.end_cells(false)?;
                    let from = self.from.max(self.section_start()).max(self.open.unwrap_or(0));
                    self.repeat(from, self.parts.bars.len(), n)?;
                }
            },
            Token::Same => {
                let last = self.cells.iter().rev().find_map(|cell| if let Cell::Chords(bar) = cell { Some(bar) } else { None });
                let last = last.or(self.parts.bars.last()).cloned();
                self.cells.push(Cell::Chords(last.ok_or_else(|| self.error("% repeats the bar before: there is none"))?));
            }
            Token::Beat => self.cells.push(Cell::Beat),
            Token::Bar(symbols) => {
                if lone_n && matches!(symbols, "C" | "C." | "c") {
                    return Err(self.error("\"N C\": write NC for a bar without a chord"));
                }
                self.lone_n = symbols.eq_ignore_ascii_case("n");
                let bar = self.read_bar(symbols)?;
                self.cells.push(Cell::Chords(bar));
            }
        }
        if self.parts.bars.len() + self.cells.len() > CHART_BARS { Err(self.too_long()) } else { Ok(()) }
    }

    fn too_long(&self) -> Error {
        Error::Input(format!("the chords have more than {CHART_BARS} bars, the most there can be"))
    }

    /// Reads the chords of a bar, separated by commas outside parentheses.
    fn read_bar(&self, symbols: &str) -> Result<Bar, Error> {
        let mut depth = 0;
        let apart = |c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        };
        let read = |symbol: &str| match symbol.parse::<Chord>() {
            Ok(chord) => Ok((chord, Box::from(symbol))),
            Err(e) => Err(self.error(&e.to_string())),
        };
        let bar = symbols.split(apart).map(read).collect::<Result<Bar, Error>>()?;
        if bar.len() > CHART_CHORDS { Err(self.error(&too_many(bar.len()))) } else { Ok(bar) }
    }

    /// The first bar of the section that is read.
    fn section_start(&self) -> usize {
        self.parts.sections.last().map_or(0, |section| section.1)
    }

    /// Makes bars of the cells.
    fn end_cells(&mut self, bar_line: bool) -> Result<(), Error> {
        let cells = std::mem::take(&mut self.cells);
        let delimited = std::mem::replace(&mut self.after_bar_line, bar_line) || bar_line;
        if !cells.iter().any(|cell| matches!(cell, Cell::Beat)) {
            let bars = cells.into_iter().filter_map(|cell| if let Cell::Chords(bar) = cell { Some(bar) } else { None });
            self.parts.bars.extend(bars);
            return Ok(());
        }
        // A run: a chord and its beats.
        let mut runs: Vec<((Chord, Box<str>), usize)> = Vec::new();
        for cell in cells {
            match cell {
                Cell::Chords(bar) => runs.extend(bar.iter().map(|chord| (chord.clone(), 1))),
                Cell::Beat => match (runs.last_mut(), self.parts.bars.last().and_then(|bar| bar.last())) {
                    (Some(run), _) => run.1 += 1,
                    (None, Some(before)) => runs.push((before.clone(), 1)),
                    (None, None) => return Err(self.error("/ is another beat of the chord before: there is none")),
                },
            }
        }
        if delimited {
            let bar = beats(&runs).ok_or_else(|| self.error(&too_many(runs.iter().map(|run| run.1).sum())))?;
            self.parts.bars.push(bar);
        } else if runs.iter().all(|run| run.1 == 4) || runs.iter().all(|run| run.1 == 3) {
            self.parts.bars.extend(runs.into_iter().map(|(chord, _)| Bar::from([chord])));
        } else {
            return Err(self.error("where / counts beats, write | between the bars, like | Am / F / |"));
        }
        Ok(())
    }

    /// Plays the bars of a passage a number of times, once included.
    fn repeat(&mut self, from: usize, to: usize, times: usize) -> Result<(), Error> {
        if from >= to {
            return Err(self.error("a repeat of no bars"));
        }
        if self.parts.bars.len() + (to - from) * (times - 1) > CHART_BARS {
            return Err(self.too_long());
        }
        (1..times).for_each(|_| self.parts.bars.extend_from_within(from..to));
        self.from = self.parts.bars.len();
        Ok(())
    }

    fn begin_section(&mut self, name: &str) -> Result<(), Error> {
        if name.is_empty() || name.contains('[') {
            return Err(Error::Input("a section without a name; write sections like [A]".into()));
        }
        self.end_cells(false)?;
        if self.parts.sections.is_empty() && !self.parts.bars.is_empty() {
            // The bars before the first name.
            self.parts.sections.push(("".into(), 0));
        }
        self.end_section()?;
        self.after_bar_line = false;
        self.parts.sections.push((name.into(), self.parts.bars.len()));
        Ok(())
    }

    /// Ends the last section. Where it has no bars, it gets those of the first section of its name.
    fn end_section(&mut self) -> Result<(), Error> {
        if self.open.is_some() {
            return Err(self.error("the repeat |: is not closed by :|"));
        }
        let Parts { bars, sections } = &mut self.parts;
        let Some((name, _)) = sections.last().filter(|s| s.1 == bars.len()) else { return Ok(()) };
        let first = sections.iter().position(|s| s.0 == *name).unwrap_or(0);
        if first + 1 == sections.len() {
            return Err(Error::Input(format!("section [{name}] has no bars; write them after its name, like [{name}] Em C")));
        }
        let (from, to) = (sections[first].1, sections[first + 1].1);
        if bars.len() + to - from > CHART_BARS {
            return Err(self.too_long());
        }
        bars.extend_from_within(from..to);
        Ok(())
    }

    fn end(mut self) -> Result<Parts, Error> {
        self.end_cells(false)?;
        self.end_section()?;
        if self.parts.bars.is_empty() {
            return Err(Error::Input("no chords: write one per bar, like \"Em Em C D\"".into()));
        }
        Ok(self.parts)
    }
}

fn too_many(chords: usize) -> String {
    format!("{chords} chords or beats in one bar: at most {CHART_CHORDS} are read")
}

/// The bar of some runs, which share it by their beats; none where they are too many.
fn beats(runs: &[((Chord, Box<str>), usize)]) -> Option<Bar> {
    let gcd = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let unit = runs.iter().fold(0, |unit, run| gcd(unit, run.1));
    let beats: usize = runs.iter().map(|run| run.1).sum();
    (beats <= CHART_CHORDS).then(|| {
        let all = runs.iter().flat_map(|(chord, beats)| std::iter::repeat_n(chord.clone(), beats / unit));
        Arc::from(all.collect::<Vec<_>>())
    })
}
