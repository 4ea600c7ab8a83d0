//! The one key table: what the handler does, what `?` and `sideman keys` show and what docs/reference/keys.md says all come from it. A player
//! binds other keys in a TOML file: `mute = "M"`, `panic = ["!", "f12"]`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sideman_engine::live::When;

use crate::usage;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // [`TABLE`] says it.
pub enum Act {
    Play,
    Tap,
    Stem,
    All,
    Up,
    Down,
    Mute,
    Solo,
    Louder,
    Softer,
    Regenerate,
    Reject,
    Freeze,
    Undo,
    Redo,
    Text,
    Chords,
    Next,
    Fill,
    Mode,
    Faster,
    Slower,
    Click,
    Record,
    Keep,
    Cancel,
    Panic,
    Help,
    Quit,
}

/// A row of the table.
pub struct Row {
    /// What is done.
    pub act: Act,
    /// Its name in the TOML file and on the screen.
    pub name: &'static str,
    /// Keys, unless bound otherwise. Of [`Act::Stem`] the nth chooses the nth stem.
    pub keys: &'static [&'static str],
    /// In a sentence's words.
    pub does: &'static str,
    /// The boundary that it waits for; none: it asks nothing of the band.
    pub when: Option<When>,
}

const fn row(act: Act, name: &'static str, keys: &'static [&'static str], when: Option<When>, does: &'static str) -> Row {
    Row { act, name, keys, does, when }
}

/// All keys.
pub const TABLE: [Row; 29] = [
    row(Act::Play, "play", &["space"], Some(When::Bar), "stop at the bar; while the band is silent: play"),
    row(Act::Tap, "tap", &["t"], Some(When::Beat), "tap the tempo, twice or more"),
    row(Act::Stem, "stem", &["1", "2", "3", "4", "5", "6", "7", "8", "9"], None, "choose a stem"),
    row(Act::All, "all", &["0"], None, "choose all stems of the band"),
    row(Act::Up, "up", &["up"], None, "choose the stem above"),
    row(Act::Down, "down", &["down"], None, "choose the stem below"),
    row(Act::Mute, "mute", &["m"], Some(When::Now), "silence the stem; the band goes on hearing it"),
    row(Act::Solo, "solo", &["s"], Some(When::Now), "hear the stem alone, beside other solo stems"),
    row(Act::Louder, "louder", &["+", "="], Some(When::Now), "the stem's fader up by 1 dB"),
    row(Act::Softer, "softer", &["-"], Some(When::Now), "the stem's fader down by 1 dB"),
    row(Act::Regenerate, "regenerate", &["r"], Some(When::Bar), "something else from this stem"),
    row(Act::Reject, "reject", &["x"], Some(When::Beat), "reject the stem's open plan: as regenerate, a beat from now"),
    row(Act::Freeze, "freeze", &["f"], Some(When::Bar), "repeat the stem's last 4 bars; again: play freely"),
    row(Act::Undo, "undo", &["u"], Some(When::Bar), "back to what the stem was before regenerate or freeze"),
    row(Act::Redo, "redo", &["ctrl-r"], Some(When::Bar), "and away from it again"),
    row(Act::Text, "text", &["e"], Some(When::Now), "edit the text that describes the music"),
    row(Act::Chords, "chords", &["c"], Some(When::Bar), "edit the chords, one a bar: Em Em C D"),
    row(Act::Next, "next", &["n"], Some(When::Section), "to the next section of the chart; one with names waits for a bar"),
    row(Act::Fill, "fill", &["F"], Some(When::Now), "a fill into the next bar"),
    row(Act::Mode, "mode", &["o"], Some(When::Bar), "follow you, loop the last bars, or lead"),
    row(Act::Faster, "faster", &[">", "."], Some(When::Beat), "1 bpm faster"),
    row(Act::Slower, "slower", &["<", ","], Some(When::Beat), "1 bpm slower"),
    row(Act::Click, "click", &["k"], Some(When::Now), "click on or off"),
    row(Act::Record, "record", &["R"], Some(When::Now), "begin or end a take"),
    row(Act::Keep, "keep", &["K"], Some(When::Now), "keep the last ten minutes as a take"),
    row(Act::Cancel, "cancel", &["esc"], Some(When::Now), "take back all that is pending"),
    row(Act::Panic, "panic", &["!"], Some(When::Now), "silence at once; the clock goes on"),
    row(Act::Help, "help", &["?"], None, "show these keys"),
    row(Act::Quit, "quit", &["q"], None, "end the session; asks while the band plays"),
];

/// A key as it is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
    alt: bool,
}

/// Names of keys that are not one character.
const NAMES: [(&str, KeyCode); 16] = [
    ("space", KeyCode::Char(' ')),
    ("esc", KeyCode::Esc),
    ("enter", KeyCode::Enter),
    ("tab", KeyCode::Tab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("backtab", KeyCode::BackTab),
];

impl From<KeyEvent> for Key {
    /// Shift is in the character already.
    fn from(event: KeyEvent) -> Self {
        let has = |m| event.modifiers.contains(m);
        Key { code: event.code, ctrl: has(KeyModifiers::CONTROL), alt: has(KeyModifiers::ALT) }
    }
}

impl FromStr for Key {
    type Err = String;

    /// Reads `m`, `R`, `!`, `space`, `f5`, `ctrl-r`, `alt-x`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut rest, mut ctrl, mut alt) = (text, false, false);
        loop {
            // "-" itself is a key.
            match rest.split_once('-') {
                Some(("ctrl", more)) if !more.is_empty() => (ctrl, rest) = (true, more),
                Some(("alt", more)) if !more.is_empty() => (alt, rest) = (true, more),
                _ => break,
            }
        }
        let mut chars = rest.chars();
        let function = || rest.strip_prefix('f')?.parse().ok().filter(|n| (1..=12).contains(n)).map(KeyCode::F);
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_whitespace() && !c.is_control() => KeyCode::Char(c),
            _ => NAMES.iter().find(|n| n.0 == rest).map(|n| n.1).or_else(function).ok_or_else(|| {
                let names: Vec<&str> = NAMES.iter().map(|n| n.0).collect();
                format!("\"{text}\" is no key: one character, f1 to f12, {}; ctrl- or alt- before it", names.join(", "))
            })?,
        };
        Ok(Key { code, ctrl, alt })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (NAMES.iter().find(|n| n.1 == self.code), self.code) {
            (Some((name, _)), _) => (*name).to_owned(),
            (None, KeyCode::Char(c)) => c.to_string(),
            (None, KeyCode::F(n)) => format!("f{n}"),
            _ => "?".to_owned(),
        };
        write!(f, "{}{}{name}", if self.ctrl { "ctrl-" } else { "" }, if self.alt { "alt-" } else { "" })
    }
}

/// The keys as they are bound: those of each row of [`TABLE`].
pub struct Keymap(Vec<Vec<Key>>);

impl Default for Keymap {
    fn default() -> Self {
        // The table's keys can be read: a test holds it.
        Keymap(TABLE.iter().map(|row| row.keys.iter().filter_map(|k| k.parse().ok()).collect()).collect())
    }
}

impl Keymap {
    /// The player's keys: `file`, else `sideman/keys.toml` in their folder of settings, where there is one.
    ///
    /// # Errors
    /// What is wrong with the file, by its name.
    pub fn find(file: Option<&Path>) -> anyhow::Result<Keymap> {
        let own = || {
            let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
            let folder = var("XDG_CONFIG_HOME").or_else(|| Some(var("HOME")?.join(".config")))?;
            Some(folder.join("sideman/keys.toml")).filter(|path| path.exists())
        };
        let Some(path) = file.map(Path::to_owned).or_else(own) else { return Ok(Keymap::default()) };
        let text = std::fs::read_to_string(&path).map_err(|e| usage(format!("{}: {e}", path.display())))?;
        Keymap::read(&text).map_err(|e| usage(format!("{}: {e}", path.display())))
    }

    /// The table's keys, where the TOML text says no others.
    ///
    /// # Errors
    /// A name that is not in the table, something that is no key, or a key for two things.
    pub fn read(text: &str) -> Result<Keymap, String> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let mut map = Keymap::default();
        for (name, value) in &table {
            let row = TABLE.iter().position(|row| row.name == name).ok_or_else(|| {
                let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
                format!("{name} is no action; there are {}", names.join(", "))
            })?;
            let one = |v: &toml::Value| match v.as_str() {
                Some(key) => key.parse::<Key>().map_err(|e| format!("{name}: {e}")),
                None => Err(format!("{name} = {v}: a key in quotes, or a list of them")),
            };
            map.0[row] = match value.as_array() {
                Some(list) => list.iter().map(one).collect::<Result<_, _>>()?,
                None => vec![one(value)?],
            };
        }
        let mut seen: Vec<(Key, usize)> = vec![];
        for (row, keys) in map.0.iter().enumerate() {
            for &key in keys {
                if let Some((_, other)) = seen.iter().find(|s| s.0 == key) {
                    return Err(format!("{key} is bound to {} and to {}", TABLE[*other].name, TABLE[row].name));
                }
                seen.push((key, row));
            }
        }
        Ok(map)
    }

    /// What a key does, and which of the row's keys it is.
    pub fn act(&self, key: Key) -> Option<(Act, usize)> {
        self.0.iter().enumerate().find_map(|(row, keys)| Some((TABLE[row].act, keys.iter().position(|k| *k == key)?)))
    }

    /// The keys of an action, as they are written; the digits of stems are short.
    pub fn written(&self, act: Act) -> String {
        let row = TABLE.iter().position(|row| row.act == act).unwrap_or(0);
        let keys: Vec<String> = self.0[row].iter().map(Key::to_string).collect();
        match (act, keys.first(), keys.last()) {
            (Act::Stem, Some(first), Some(last)) if keys.len() > 2 => format!("{first}-{last}"),
            _ => keys.join(" "),
        }
    }

    /// The table in lines: key, name, what it does, what it waits for.
    pub fn lines(&self) -> Vec<String> {
        let head = format!("{:<8}{:<12}{:<9}{}", "key", "name", "waits", "does");
        let rows = TABLE.iter().map(|row| {
            let waits = match row.when {
                None => "-",
                Some(When::Now) => "no",
                Some(When::Beat) => "beat",
                Some(When::Bar) => "bar",
                Some(When::Section) => "section",
                // No key names one bar or sample.
                Some(When::AtBar(_) | When::Sample(_)) => "its time",
            };
            format!("{:<8}{:<12}{waits:<9}{}", self.written(row.act), row.name, row.does)
        });
        std::iter::once(head).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_s_keys_can_be_read_and_none_is_twice() {
        let map = Keymap::read("").unwrap();
        for (row, keys) in TABLE.iter().zip(&map.0) {
            assert_eq!(keys.len(), row.keys.len(), "{}", row.name);
            assert!(keys.iter().zip(row.keys).all(|(key, text)| key.to_string() == **text), "{}", row.name);
        }
        let key = |text: &str| text.parse::<Key>().unwrap();
        assert_eq!(map.act(key("3")), Some((Act::Stem, 2)));
        assert_eq!((map.act(key("ctrl-r")), map.act(key("r"))), (Some((Act::Redo, 0)), Some((Act::Regenerate, 0))));
        assert_eq!(map.written(Act::Stem), "1-9");
    }

    #[test]
    fn keys_are_bound_anew() {
        let map = Keymap::read("mute = \"M\"\npanic = [\"f12\", \"ctrl-x\"]\nsolo = []\n").unwrap();
        let act = |text: &str| map.act(text.parse().unwrap()).map(|a| a.0);
        assert_eq!(
            (act("M"), act("m"), act("f12"), act("ctrl-x"), act("!")),
            (Some(Act::Mute), None, Some(Act::Panic), Some(Act::Panic), None)
        );
        assert_eq!((act("s"), act("-")), (None, Some(Act::Softer)));
        for (text, messages) in [
            ("mutt = \"M\"", "mutt is no action"),
            ("mute = \"mm\"", "\"mm\" is no key"),
            ("mute = 3", "a key in quotes"),
            ("mute = \"s\"", "s is bound to mute and to solo"),
            ("mute = ", "TOML"),
        ] {
            let said = Keymap::read(text).err().unwrap_or_default();
            assert!(said.contains(messages), "{text}: {said}");
        }
    }
}
