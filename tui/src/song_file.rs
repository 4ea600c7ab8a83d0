//! Reads the JSON file beside a recording, or the song.json of a folder. Another program may have written the
//! file for itself, so whatever in it is not understood is left out with a sentence, and never an error.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};
use sideman_engine::limits;
use sideman_engine::task::{BeatMap, Chords, Meter};

use crate::song_info::{BeatTimes, SongInfo};

/// Most bytes that are read. A song's file has a few hundred.
const MAX_BYTES: u64 = 1 << 20;

/// What is known from the file, and a sentence for each field of a known name that is left out.
pub fn read(path: &Path) -> (SongInfo, Vec<String>) {
    let ignored = |why: String| (SongInfo::default(), vec![format!("{}: {why}; the file is ignored", path.display())]);
    let mut bytes = Vec::new();
    if let Err(e) = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)) {
        return ignored(format!("can't be read: {e}"));
    }
    if bytes.len() as u64 > MAX_BYTES {
        return ignored("is larger than 1 MB, so it does not describe a song".to_owned());
    }
    // Editors on Windows begin a file with a byte order mark.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let fields = match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return ignored("should be an object such as {\"bpm\": 100}".to_owned()),
        Err(e) => return ignored(format!("is not JSON: {e}")),
    };
    let mut reader = Reader { path, fields, notes: Vec::new() };
    let info = SongInfo {
        bpm: reader.field("bpm", "a number, 20 to 400", |v| number(v).filter(|bpm| limits::TEMPO.contains(*bpm))),
        meter: reader.field("meter", "[4, 4], [3, 4], [6, 8] or [12, 8]", meter),
        bar1: reader.field("bar1", "seconds from the start", |v| number(v).filter(|bar1| limits::BAR1.contains(*bar1))),
        chords: reader.field("chords", "text such as \"Em7 Em7 A7 A7\"", chords),
        beats: reader.field("beats", "the times of the beats and the index of bar 1", beats),
        key: reader.field("key", "a key such as \"Em\"", |v| words(v, " ")),
        heard: None,
        text: reader.field("text", "a description in words", |v| words(v, ", ")),
        style: reader.field("style", "a word", |v| words(v, ", ")),
    };
    (info, reader.notes)
}

struct Reader<'a> {
    path: &'a Path,
    fields: Map<String, Value>,
    notes: Vec<String>,
}

impl Reader<'_> {
    /// A field, if `read` understands it; `right` says what it should be.
    fn field<T>(&mut self, name: &str, right: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.fields.get(name).filter(|value| !value.is_null())?;
        let found = read(value);
        if found.is_none() {
            let shown: String = value.to_string().chars().take(40).collect();
            self.notes.push(format!("{}: {name}: {shown} is ignored; it should be {right}", self.path.display()));
        }
        found
    }
}

/// A number, also as text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|x: &f64| x.is_finite())
}

/// `[6, 8]` or "6/8".
fn meter(value: &Value) -> Option<[u8; 2]> {
    let pair = match value {
        Value::Array(pair) => match &pair[..] {
            [n, d] => [u8::try_from(n.as_u64()?).ok()?, u8::try_from(d.as_u64()?).ok()?],
            _ => return None,
        },
        Value::String(text) => {
            let (n, d) = text.split_once('/')?;
            [n.trim().parse().ok()?, d.trim().parse().ok()?]
        }
        _ => return None,
    };
    format!("{}/{}", pair[0], pair[1]).parse::<Meter>().ok().map(|_| pair)
}

/// Chords as text, or a list with a bar in each element; a bar can be a list of its chords.
fn chords(value: &Value) -> Option<String> {
    let bar = |bar: &Value| match bar {
        Value::String(chords) => Some(chords.clone()),
        other => words(other, ","),
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(bars) => bars.iter().map(bar).collect::<Option<Vec<_>>>()?.join(" "),
        _ => return None,
    };
    (text.trim().is_empty() || text.parse::<Chords>().is_ok()).then_some(text)
}

/// Beats as `song.json` has them.
fn beats(value: &Value) -> Option<BeatTimes> {
    let beats: BeatTimes = serde_json::from_value(value.clone()).ok()?;
    BeatMap::new(&beats.times, beats.bar1).ok().map(|_| beats)
}

/// Text, or a list of texts.
fn words(value: &Value, between: &str) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => Some(list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?.join(between)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (SongInfo, usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bass.json");
        std::fs::write(&path, text).unwrap();
        let (info, notes) = read(&path);
        assert!(notes.iter().all(|note| note.contains("bass.json")), "{notes:?}");
        (info, notes.len())
    }

    #[test]
    fn lists_and_texts_are_read_as_what_they_say() {
        let (info, notes) =
            of(r#"{"bpm": "100", "meter": "6/8", "chords": ["Em7", ["Dm7", "G7"], "A7"], "text": ["warm", "dry"]}"#);
        assert_eq!((info.bpm, info.meter, notes), (Some(100.0), Some([6, 8]), 0));
        assert_eq!((info.chords.as_deref(), info.text.as_deref()), (Some("Em7 Dm7,G7 A7"), Some("warm, dry")));
    }

    #[test]
    fn what_is_not_a_songs_is_left_out_with_a_sentence_each() {
        let chords =
            r#"{"bpm": 90, "chords": [{"time": 0.5, "chord": "Em"}], "bar1": [1, 2], "text": null, "duration": {"s": 3}}"#;
        let (info, notes) = of(chords);
        assert_eq!((info, notes), (SongInfo { bpm: Some(90.0), ..SongInfo::default() }, 2));
        for bad in [r#"{"bpm": 1e9}"#, r#"{"meter": [5, 4]}"#, r#"{"chords": "Hm"}"#, r#"{"bar1": "soon"}"#, "[1, 2]", "{", ""] {
            assert_eq!(of(bad), (SongInfo::default(), 1), "{bad}");
        }
        assert_eq!(of(&format!("{{\"x\": \"{}\"}}", "y".repeat(2 << 20))), (SongInfo::default(), 1));
        assert_eq!(of(&"[".repeat(100_000)), (SongInfo::default(), 1));
        assert_eq!(of("\u{feff}{\"bpm\": 90}").0.bpm, Some(90.0));
    }
}
