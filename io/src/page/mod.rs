//! The page of a song or a take: `index.html` beside its WAVs, which a browser shows and plays from disk, without a
//! network. It holds pictures of the stems, the song's beats and chords, and what the model was given; the sound stays in
//! the WAVs.
//!
//! Nothing that came from outside can run as a script: texts are JSON in an element that browsers don't execute, the
//! script puts them on the page as text only, and the page's policy allows that one script by its SHA-256, no other, and
//! nothing from a network. What is written depends on the recordings and texts only, so the same seed gives the same page.

mod load;
mod picture;
mod series;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sideman_engine::audio::RATE;
use sideman_engine::task::SongMap;
use sideman_engine::{Error, Result, atomic};

use load::DrawnLoad;
pub use load::Load;
use picture::Drawn;
pub use picture::Picture;

/// Name of the file.
pub const FILE: &str = "index.html";
/// Most beats on a page; with more it has bars only, and no more of them.
const MOST_BEATS: usize = 12_000;
/// Most chords, sections and events on a page.
const MOST_ENTRIES: usize = 4_000;
/// Most characters of a text on a page.
const MOST_CHARACTERS: usize = 4_000;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A stem on a page.
pub struct PageStem {
    /// Its name.
    pub name: String,
    /// Its WAV.
    pub file: String,
    /// Where it comes from, in a word or two.
    pub origin: &'static str,
    /// Its picture.
    pub picture: Picture,
}

/// What a page shows.
pub struct Page<'a> {
    /// Length of the recordings in samples.
    pub samples: u64,
    /// The stems. The file of their mix is mix.wav.
    pub stems: Vec<PageStem>,
    /// Gain at which the stems play, so that they are as loud as in the mix.
    pub gain: f32,
    /// Beats, chords and sections.
    pub map: &'a SongMap,
    /// What the model was given: names and values.
    pub given: Vec<(&'static str, String)>,
    /// What happened, at which second.
    pub events: Vec<(f64, String)>,
    /// Computing time of live play.
    pub load: Option<Load>,
    /// Other files of the folder that the page links to.
    pub files: Vec<&'static str>,
}

/// What the script reads.
#[derive(Serialize)]
struct Data {
    version: &'static str,
    seconds: f64,
    gain: f32,
    stems: Vec<DrawnStem>,
    /// Seconds and number of each bar.
    bars: Vec<(f64, i64)>,
    /// Seconds of each beat; empty where there are too many.
    beats: Vec<f64>,
    chords: Vec<(f64, String)>,
    sections: Vec<(f64, String)>,
    given: Vec<(&'static str, String)>,
    events: Vec<(f64, String)>,
    load: Option<DrawnLoad>,
    files: Vec<&'static str>,
}

#[derive(Serialize)]
struct DrawnStem {
    name: String,
    file: String,
    origin: &'static str,
    #[serde(flatten)]
    drawn: Drawn,
}

/// Writes the page into the folder `dir`.
///
/// # Errors
/// The disk is full, or the file can't be written.
pub fn write(dir: &Path, page: Page) -> Result<()> {
    let path = dir.join(FILE);
    let data = serde_json::to_string(&data(page)).map_err(|e| Error::file(&path, e.to_string()))?;
    atomic::write(&path, html(&data).as_bytes())
}

fn data(page: Page) -> Data {
    let round = |seconds: f64| (seconds * 1e4).round() / 1e4;
    let entries = |from: &[(f64, String)]| {
        let texts = from.iter().take(MOST_ENTRIES).map(|(seconds, text)| (round(*seconds), short(text)));
        texts.collect::<Vec<_>>()
    };
    let beats = &page.map.beats;
    let bars = beats.iter().filter(|beat| beat.number == 1).take(MOST_BEATS).map(|beat| (round(beat.seconds), beat.bar));
    let stem = |stem: PageStem| DrawnStem { file: stem.file, name: stem.name, origin: stem.origin, drawn: stem.picture.draw() };
    Data {
        version: env!("CARGO_PKG_VERSION"),
        seconds: round(page.samples as f64 / f64::from(RATE)),
        gain: page.gain,
        bars: bars.collect(),
        beats: if beats.len() > MOST_BEATS { Vec::new() } else { beats.iter().map(|beat| round(beat.seconds)).collect() },
        chords: entries(&page.map.chords),
        sections: entries(&page.map.sections),
        given: page.given.into_iter().map(|(name, value)| (name, short(&value))).collect(),
        events: entries(&page.events),
        load: page.load.map(Load::draw),
        files: page.files,
        stems: page.stems.into_iter().map(stem).collect(),
    }
}

/// A text of at most [`MOST_CHARACTERS`] characters.
fn short(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The page with this JSON.
fn html(data: &str) -> String {
    // `</script>` and `<!--` would end the JSON's element or change how it is read.
    let data = data.replace('<', "\\u003c");
    let hash = STANDARD.encode(Sha256::digest(SCRIPT.as_bytes()));
    let mut out = String::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + data.len() + hash.len());
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(match name {
            "style" => STYLE,
            "script" => SCRIPT,
            "hash" => &hash,
            "data" => &data,
            _ => "",
        });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(map: &SongMap, text: &str) -> String {
        let stems = vec![PageStem {
            name: "bass".into(),
            file: "bass.wav".into(),
            origin: "generated",
            picture: Picture::of(&[0.5; 6400]),
        }];
        let given = vec![("Text", text.to_owned())];
        let dir = tempfile::tempdir().unwrap();
        let (events, load) = (vec![(0.1, text.to_owned())], Some(Load::default()));
        write(dir.path(), Page { samples: 6400, stems, gain: 1.0, map, given, events, load, files: vec!["song.json"] }).unwrap();
        std::fs::read_to_string(dir.path().join(FILE)).unwrap()
    }

    /// The JSON as a browser finds it: from its element's start tag to the first end tag.
    fn json(html: &str) -> serde_json::Value {
        let (_, rest) = html.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script").unwrap().0).unwrap()
    }

    #[test]
    fn texts_from_outside_are_data_whatever_is_in_them() {
        let empty = page(&SongMap::default(), "");
        for text in ["</script><script>alert(1)</script>", "<!--<script>", "\"'&{{script}}{{data}}\u{2028}\\u003c", "]]>", "a\0b"]
        {
            let map = SongMap { chords: vec![(0.0, text.into())], sections: vec![(0.1, text.into())], ..SongMap::default() };
            let html = page(&map, text);
            let data = json(&html);
            assert_eq!([&data["given"][0][1], &data["chords"][0][1], &data["sections"][0][1], &data["events"][0][1]], [text; 4]);
            for tag in ["<script", "</script", "<!--", "<"] {
                assert_eq!(html.matches(tag).count(), empty.matches(tag).count(), "{tag} in {text}");
            }
        }
    }

    #[test]
    fn the_page_s_policy_allows_its_own_script_and_nothing_from_a_network() {
        let html = page(&SongMap::default(), "");
        let (_, rest) = html.split_once("<script>").unwrap();
        let script = rest.split_once("</script>").unwrap().0;
        let hash = STANDARD.encode(Sha256::digest(script.as_bytes()));
        assert!(html.contains(&format!("script-src 'sha256-{hash}'")), "the script is not the one that the policy allows");
        assert!(html.contains("default-src 'none'") && !html.contains("http:") && !html.contains("https:"));
        assert!(!html.contains("{{"));
    }

    #[test]
    fn the_page_of_two_hours_is_bounded() {
        let beat = |n: u32| sideman_engine::task::Beat {
            seconds: f64::from(n) * 0.15,
            bar: i64::from(n / 4),
            number: n % 4 + 1,
            meter: sideman_engine::task::Meter::FourFour,
            tempo: 400.0,
        };
        let texts = |text: &str| (0..50_000).map(|n| (f64::from(n), text.repeat(10))).collect::<Vec<_>>();
        let map = SongMap { beats: (0..48_000).map(beat).collect(), chords: texts("Em"), sections: texts("A") };
        let data = json(&page(&map, &"x".repeat(1 << 20)));
        let length = |name: &str| data[name].as_array().unwrap().len();
        assert_eq!([length("beats"), length("bars"), length("chords"), length("sections")], [0, 12_000, 4_000, 4_000]);
        assert!(data.to_string().len() < 1_000_000);
    }
}
