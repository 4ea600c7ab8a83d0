//! The key table, and the keys that a musician binds instead in keys.toml: `mute = "M"`, `panic = ["!",
//! "f12"]`.
//!
//! The key handler ([`super::actions`]), the help on the screen and `sideman keys` read the table. A test
//! compares docs/reference/keys.md with it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sideman_engine::live::When;
use sideman_engine::live::commands::CommandKind;

use crate::{folders, usage};

/// The actions of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // [`TABLE`] has the help text of each.
pub enum Act {
    Play,
    Tap,
    Half,
    Double,
    One,
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
    Wetter,
    Drier,
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
    /// What the key does.
    pub act: Act,
    /// The action's name in keys.toml and on the screen.
    pub name: &'static str,
    /// The default keys. The nth key of [`Act::Stem`] selects the nth stem.
    pub keys: &'static [&'static str],
    /// Help text.
    pub help: &'static str,
    /// When its command takes effect; `None`: it sends no command.
    pub when: Option<When>,
}

/// A key action of the table of commands.
const fn command(act: Act, kind: CommandKind, nth: usize) -> Row {
    let spec = kind.spec();
    let Some(action) = spec.key_action(nth) else { panic!("the command has no such key") };
    let when = match action.boundary {
        Some(when) => when,
        None => spec.boundary,
    };
    Row { act, name: action.name, keys: action.keys, help: action.help, when: Some(when) }
}

/// A key action of the screen alone.
const fn screen(act: Act, name: &'static str, keys: &'static [&'static str], help: &'static str) -> Row {
    Row { act, name, keys, help, when: None }
}

/// All key actions, in the order in which help shows them. Those that send a command come from
/// `sideman_engine::live::commands`.
pub const TABLE: [Row; 34] = [
    command(Act::Play, CommandKind::Play, 0),
    command(Act::Tap, CommandKind::Tap, 0),
    command(Act::Half, CommandKind::Half, 0),
    command(Act::Double, CommandKind::Double, 0),
    command(Act::One, CommandKind::One, 0),
    screen(Act::Stem, "stem", &["1", "2", "3", "4", "5", "6", "7", "8", "9"], "select a stem"),
    screen(Act::All, "all", &["0"], "select all stems of the band"),
    screen(Act::Up, "up", &["up"], "select the stem above"),
    screen(Act::Down, "down", &["down"], "select the stem below"),
    command(Act::Mute, CommandKind::StemMute, 0),
    command(Act::Solo, CommandKind::StemSolo, 0),
    command(Act::Louder, CommandKind::StemGain, 0),
    command(Act::Softer, CommandKind::StemGain, 1),
    command(Act::Regenerate, CommandKind::StemRegenerate, 0),
    command(Act::Reject, CommandKind::StemRegenerate, 1),
    command(Act::Freeze, CommandKind::StemFreeze, 0),
    command(Act::Undo, CommandKind::StemUndo, 0),
    command(Act::Redo, CommandKind::StemRedo, 0),
    command(Act::Text, CommandKind::Text, 0),
    command(Act::Chords, CommandKind::Chords, 0),
    command(Act::Next, CommandKind::NextSection, 0),
    command(Act::Fill, CommandKind::Fill, 0),
    command(Act::Mode, CommandKind::Mode, 0),
    command(Act::Faster, CommandKind::Tempo, 0),
    command(Act::Slower, CommandKind::Tempo, 1),
    command(Act::Wetter, CommandKind::Room, 0),
    command(Act::Drier, CommandKind::Room, 1),
    command(Act::Click, CommandKind::Click, 0),
    command(Act::Record, CommandKind::Record, 0),
    command(Act::Keep, CommandKind::SaveTake, 0),
    command(Act::Cancel, CommandKind::Cancel, 0),
    command(Act::Panic, CommandKind::Panic, 0),
    screen(Act::Help, "help", &["?"], "show these keys"),
    screen(Act::Quit, "quit", &["q"], "end the session; asks first while the band plays"),
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
    /// The character already includes the shift key.
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
            // A "-" alone is a key.
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
                format!(
                    "\"{text}\" is no key: give one character, f1 to f12 or one of {}, with ctrl- or alt- in front",
                    names.join(", ")
                )
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

/// The keys in use, for each row of [`TABLE`].
pub struct Keymap(Vec<Vec<Key>>);

impl Default for Keymap {
    fn default() -> Self {
        // A test checks that every key of the table parses.
        Keymap(TABLE.iter().map(|row| row.keys.iter().filter_map(|k| k.parse().ok()).collect()).collect())
    }
}

impl Keymap {
    /// The musician's keys: from `file`, else from `sideman/keys.toml` in the configuration folder if it
    /// exists, else the defaults.
    ///
    /// # Errors
    /// The file can't be read, or those of [`Keymap::read`]; the message names the file.
    pub fn find(file: Option<&Path>) -> anyhow::Result<Keymap> {
        let own = || folders::config_file("keys.toml").filter(|path| path.exists());
        let Some(path) = file.map(Path::to_owned).or_else(own) else { return Ok(Keymap::default()) };
        let text = std::fs::read_to_string(&path).map_err(|e| usage(format!("{}: {e}", path.display())))?;
        Keymap::read(&text).map_err(|e| usage(format!("{}: {e}", path.display())))
    }

    /// The default keys, changed by a TOML text.
    ///
    /// # Errors
    /// The text is no TOML, names an unknown action or key, or binds a key to two actions.
    pub fn read(text: &str) -> Result<Keymap, String> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let mut map = Keymap::default();
        for (name, value) in &table {
            let row = TABLE.iter().position(|row| row.name == name).ok_or_else(|| {
                let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
                format!("unknown action {name}; the actions are {}", names.join(", "))
            })?;
            let one = |v: &toml::Value| match v.as_str() {
                Some(key) => key.parse::<Key>().map_err(|e| format!("{name}: {e}")),
                None => Err(format!("{name} = {v}: must be a key in quotes, or a list of them")),
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

    /// The action of a key, and the key's index in its row.
    pub fn act(&self, key: Key) -> Option<(Act, usize)> {
        self.0.iter().enumerate().find_map(|(row, keys)| Some((TABLE[row].act, keys.iter().position(|k| *k == key)?)))
    }

    /// The keys of an action as text; the digits that select stems are shortened to `1-9`.
    pub fn written(&self, act: Act) -> String {
        let row = TABLE.iter().position(|row| row.act == act).unwrap_or(0);
        let keys: Vec<String> = self.0[row].iter().map(Key::to_string).collect();
        match (act, keys.first(), keys.last()) {
            (Act::Stem, Some(first), Some(last)) if keys.len() > 2 => format!("{first}-{last}"),
            _ => keys.join(" "),
        }
    }

    /// The table as lines: key, name, when it takes effect, help.
    pub fn lines(&self) -> Vec<String> {
        let head = format!("{:<8}{:<12}{:<9}{}", "key", "name", "when", "what it does");
        let rows = TABLE.iter().map(|row| {
            let when = match row.when {
                None => "-",
                Some(When::Now) => "now",
                Some(When::Beat) => "beat",
                Some(When::Bar) => "bar",
                Some(When::Section) => "section",
                // No key has a numbered bar or a sample as its boundary.
                Some(When::AtBar(_) | When::Sample(_)) => "later",
            };
            format!("{:<8}{:<12}{when:<9}{}", self.written(row.act), row.name, row.help)
        });
        std::iter::once(head).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_parses_and_has_one_action() {
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
    fn the_table_has_each_key_action_of_every_command_once() {
        for action in CommandKind::ALL.iter().flat_map(|kind| kind.spec().keys()) {
            assert_eq!(TABLE.iter().filter(|row| row.name == action.name).count(), 1, "{}", action.name);
        }
    }

    #[test]
    fn keys_toml_binds_other_keys() {
        let map = Keymap::read("mute = \"M\"\npanic = [\"f12\", \"ctrl-x\"]\nsolo = []\n").unwrap();
        let act = |text: &str| map.act(text.parse().unwrap()).map(|a| a.0);
        assert_eq!(
            (act("M"), act("m"), act("f12"), act("ctrl-x"), act("!")),
            (Some(Act::Mute), None, Some(Act::Panic), Some(Act::Panic), None)
        );
        assert_eq!((act("s"), act("-")), (None, Some(Act::Softer)));
    }

    #[test]
    fn an_error_in_keys_toml_names_the_action_and_the_key() {
        for (text, names) in [
            ("mutt = \"M\"", &["mutt"][..]),
            ("mute = \"mm\"", &["mute", "\"mm\""]),
            ("mute = 3", &["mute"]),
            ("mute = \"s\"", &["mute", "solo"]),
            ("mute = ", &["TOML"]),
        ] {
            let error = Keymap::read(text).err().unwrap_or_default();
            assert!(!error.is_empty() && names.iter().all(|name| error.contains(name)), "{text}: {error}");
        }
    }
}
