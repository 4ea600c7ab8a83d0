//! Reads a take for a replay.

use std::collections::VecDeque;
use std::path::Path;

use sideman_engine::live::{Command, by_ear};
use sideman_engine::model::is_plain_name;
use sideman_engine::task::{Chords, WrittenChords};
use sideman_engine::{Error, Result};

use super::{Entry, TakeInfo, wav_file};

/// What a replay needs of a take.
pub struct Take {
    /// `take.json`.
    pub info: TakeInfo,
    /// The musician's samples.
    pub input: Vec<f32>,
    /// `events.jsonl`, in order.
    pub events: VecDeque<Entry>,
}

/// Reads a take, also one whose program was killed.
///
/// # Errors
/// A file is missing or not a take's; which.
pub fn read(dir: &Path) -> Result<Take> {
    let path = dir.join("take.json");
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let mut info: TakeInfo = serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, format!("not a take: {e}")))?;
    info.config.chords = info.config.chords.map(readable);
    // They become names of files.
    if let Some(stem) = info.stems.iter().find(|stem| !is_plain_name(stem)) {
        return Err(Error::file(
            &path,
            format!("stems: {stem:?} is no name of a stem: 1 to 32 of the letters a-z, digits and _"),
        ));
    }
    Ok(Take { info, input: read_input(dir)?, events: read_events(&dir.join("events.jsonl"))? })
}

fn read_input(dir: &Path) -> Result<Vec<f32>> {
    // Takes of version 0.1.0 have player.wav.
    let (new, old) = (dir.join("input.wav"), dir.join("player.wav"));
    let path = if !new.exists() && old.exists() { old } else { new };
    wav_file::read(&path)
}

fn read_events(path: &Path) -> Result<VecDeque<Entry>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let mut events = VecDeque::new();
    for (n, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str::<Entry>(line) {
            Ok(mut entry) => {
                if let Command::Chords(chords) = &mut entry.request.command {
                    *chords = WrittenChords::from(readable(chords.text().to_owned()));
                }
                events.push_back(entry);
            }
            // The last line of a program that was killed.
            Err(_) if !line.ends_with('\n') => break,
            Err(e) => return Err(Error::file(path, format!("line {}: {e}", n + 1))),
        }
    }
    Ok(events)
}

/// A chart with the same chords that can be read. Takes of version 0.1.0 may have `N C` for two bars, the first
/// without a chord, and parentheses that are not closed; both are errors now.
fn readable(chart: String) -> String {
    let reads = |chart: &str| chart.trim().is_empty() || by_ear(chart) || chart.parse::<Chords>().is_ok();
    if reads(&chart) {
        return chart;
    }
    let word = |word: &str| if word.eq_ignore_ascii_case("n") { "NC".to_owned() } else { word.replace(['(', ')'], "") };
    let words: Vec<String> = chart.split_whitespace().map(word).collect();
    Some(words.join(" ")).filter(|mended| reads(mended)).unwrap_or(chart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_of_older_takes_have_the_chords_that_they_had() {
        for (old, now) in [
            ("N C Em", "NC C Em"),
            ("[A] Em n C [B] G", "[A] Em NC C [B] G"),
            ("C7(b9 Em", "C7b9 Em"),
            ("Em G)", "Em G"),
            ("Em7 | D7,G7 %", "Em7 | D7,G7 %"),
            ("ear", "ear"),
            ("", ""),
        ] {
            assert_eq!(readable(old.to_owned()), now);
        }
        // What never was a chart stays as it is, and its error names it.
        assert_eq!(readable("(H7".into()), "(H7");
        // Nested sections of more bars than a new chart would have had.
        let long = "[A] Em ".to_owned() + &"[A] ".repeat(9000);
        assert!(readable(long.clone()).parse::<Chords>().is_ok());
    }
}
