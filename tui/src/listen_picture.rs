//! A picture of what is heard in recordings: notes over time, with beats, bar lines and chords.

use std::fmt::Write;

use sideman_engine::listen::{Heard, Notes, Voice};

/// Pixels of a second.
const SECOND: f64 = 60.0;
/// Pixels of a semitone.
const SEMITONE: f64 = 6.0;
/// Height of a row of onsets without pitch.
const ROW: f64 = 40.0;
/// Space above the notes for bar numbers and chords.
const TOP: f64 = 40.0;

/// The picture as SVG.
pub fn svg(heard: &Heard, parts: &[(Voice, Notes)]) -> String {
    let seconds = parts.iter().map(|(_, notes)| notes.features.len()).max().unwrap_or(0) as f64 / 50.0;
    let pitches = |notes: &Notes| notes.features.iter().filter_map(|f| f.note()).collect::<Vec<_>>();
    let single = parts.iter().find(|(voice, _)| *voice == Voice::Single).map(|(_, notes)| notes);
    let (low, high) = single.map_or((40, 40), |notes| {
        let all = pitches(notes);
        (all.iter().copied().min().unwrap_or(40), all.iter().copied().max().unwrap_or(40))
    });
    let height = f64::from(high - low + 2) * SEMITONE + ROW * parts.len() as f64;
    let bottom = TOP + height;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
        seconds * SECOND,
        bottom + 10.0
    );
    let per_bar = heard.meter.beats();
    let symbols: Vec<&str> = heard.chords.split(' ').collect();
    for (k, time) in heard.beats.iter().enumerate() {
        let since = k as i64 - heard.bar1 as i64;
        let x = time * SECOND;
        let is_bar = since.rem_euclid(per_bar) == 0;
        let colour = if is_bar { "#444" } else { "#ccc" };
        let _ = writeln!(out, "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.0}\" stroke=\"{colour}\"/>");
        if is_bar {
            let bar = since.div_euclid(per_bar);
            let chord = usize::try_from(bar).ok().and_then(|bar| symbols.get(bar)).copied().unwrap_or("");
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"14\" fill=\"#888\">{}</text><text x=\"{:.1}\" y=\"32\" font-weight=\"bold\">{chord}</text>",
                x + 2.0,
                bar + 1,
                x + 2.0
            );
        }
    }
    if let Some(notes) = single {
        for (f, note) in notes.features.iter().enumerate().filter_map(|(f, features)| features.note().map(|note| (f, note))) {
            let y = TOP + f64::from(high - note + 1) * SEMITONE;
            let _ = writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" fill=\"#2a6fbb\"/>",
                f as f64 * SECOND / 50.0,
                y - SEMITONE / 2.0,
                SECOND / 50.0,
                SEMITONE - 1.0
            );
        }
    }
    for (row, (_, notes)) in parts.iter().enumerate() {
        let base = bottom - ROW * row as f64;
        for event in &notes.events {
            let x = event.time * SECOND;
            let top = base - (event.accent * 18.0).min(ROW - 4.0);
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base:.1}\" y2=\"{top:.1}\" stroke=\"#c33\" stroke-width=\"2\"/>"
            );
        }
    }
    out.push_str("</svg>\n");
    out
}
