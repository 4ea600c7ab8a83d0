//! Configurations of checkpoints: `config.json` and audiocraft's `xp.cfg` (YAML), looked up by dotted keys.

use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The longest JSON file that is read: an index of pieces has some 100 kB.
const MAX_JSON: u64 = 8 << 20;
/// The longest YAML text: a published one has 20 kB.
const MAX_YAML: usize = 1 << 20;
/// The deepest nesting of a YAML text.
const MAX_DEPTH: usize = 32;
/// Hops from one `${key}` to another.
const MAX_HOPS: usize = 8;

/// A tree of keys, and the file that it is from.
#[derive(Debug, Clone)]
pub struct Keys {
    path: PathBuf,
    root: Value,
}

impl Keys {
    /// Reads a JSON file.
    ///
    /// # Errors
    /// The file can't be read, is too long, or is no JSON.
    pub fn json(path: &Path) -> Result<Keys> {
        let meta = std::fs::metadata(path).map_err(Error::io(path))?;
        if !meta.is_file() || meta.len() > MAX_JSON {
            return Err(Error::file(path, format!("no configuration: it should be a file of at most {MAX_JSON} bytes")));
        }
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let root = serde_json::from_slice(&bytes).map_err(|e| Error::file(path, format!("no JSON: {e}")))?;
        Ok(Keys { path: path.to_owned(), root })
    }

    /// Reads the YAML text of the checkpoint at `path`. Anchors are not followed: a value that is one counts as null.
    ///
    /// # Errors
    /// No YAML, or too long or deep a one.
    pub fn yaml(path: &Path, text: &str) -> Result<Keys> {
        let root = yaml(text).map_err(|what| Error::file(path, format!("its configuration `xp.cfg`: {what}")))?;
        Ok(Keys { path: path.to_owned(), root })
    }

    /// The keys under `key`, as a tree of their own.
    pub fn under(&self, key: &str) -> Option<Keys> {
        self.get(key).map(|v| Keys { path: self.path.clone(), root: v.clone() })
    }

    /// The value of a dotted key, `${other.key}` followed; none where it is absent or null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let mut found = self.walk(key)?;
        for _ in 0..MAX_HOPS {
            match found.as_str().and_then(|s| s.strip_prefix("${")?.strip_suffix('}')) {
                Some(other) => found = self.walk(other)?,
                None => break,
            }
        }
        Some(found).filter(|v| !v.is_null())
    }

    fn walk(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.root, |v, part| v.get(part))
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// It is absent, or something else.
    pub fn size(&self, key: &str) -> Result<usize> {
        match self.get(key).map(|v| v.as_u64().and_then(|n| usize::try_from(n).ok())) {
            Some(Some(n)) => Ok(n),
            _ => Err(self.wrong(key, "a whole number")),
        }
    }

    /// A whole number, or what it is where the key is absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.get(key).is_some() { self.size(key) } else { Ok(default) }
    }

    /// A number, or what it is where the key is absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn number_or(&self, key: &str, default: f32) -> Result<f32> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_f64().map(|n| n as f32).ok_or_else(|| self.wrong(key, "a number")),
        }
    }

    /// A list of whole numbers that must be there.
    ///
    /// # Errors
    /// It is absent, or something else.
    pub fn sizes(&self, key: &str) -> Result<Vec<usize>> {
        let list = self.get(key).and_then(Value::as_array);
        let sizes =
            list.and_then(|l| l.iter().map(|v| v.as_u64().and_then(|n| usize::try_from(n).ok())).collect::<Option<Vec<_>>>());
        sizes.ok_or_else(|| self.wrong(key, "a list of whole numbers"))
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// It is absent, or something else.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.get(key).and_then(Value::as_str).ok_or_else(|| self.wrong(key, "a text"))
    }

    /// True or false, or what it is where the key is absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    /// Checks that a key, where it is there, has one of the values that the engine plays.
    ///
    /// # Errors
    /// It has another.
    pub fn only(&self, key: &str, values: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(v) if !values.contains(v) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                Err(self.error(key, format!("{v}; only {} is played", values.join(" or "))))
            }
            _ => Ok(()),
        }
    }

    /// An error at a key.
    pub fn error(&self, key: &str, what: impl Into<String>) -> Error {
        Error::Key { path: self.path.clone(), key: key.to_owned(), what: what.into() }
    }

    fn wrong(&self, key: &str, want: &str) -> Error {
        let found = self.get(key).map_or("missing".into(), |v| v.to_string().chars().take(80).collect::<String>());
        self.error(key, format!("{found}; it should be {want}"))
    }
}

/// A YAML text as JSON.
fn yaml(text: &str) -> Result<Value, String> {
    if text.len() > MAX_YAML {
        return Err(format!("{} bytes; at most {MAX_YAML} are read", text.len()));
    }
    // Open containers, each with the key that it will be filed under.
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    let mut key: Option<String> = None;
    let mut root = Value::Null;
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|e| format!("no YAML: {e}"))?;
        let value = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if open.len() == MAX_DEPTH {
                    return Err(format!("more than {MAX_DEPTH} levels deep"));
                }
                let map = matches!(event, Event::MappingStart(..));
                if matches!(open.last(), Some((Value::Object(_), _))) && key.is_none() {
                    return Err("a key that is no plain text".into());
                }
                open.push((if map { Value::Object(Map::new()) } else { Value::Array(Vec::new()) }, key.take()));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let Some((value, at)) = open.pop() else { return Err("an end without a beginning".into()) };
                key = at;
                value
            }
            Event::Scalar(text, style, ..) => {
                if matches!(open.last(), Some((Value::Object(_), _))) && key.is_none() {
                    key = Some(text.into_owned());
                    continue;
                }
                scalar(&text, style)
            }
            Event::Alias(_) => {
                if matches!(open.last(), Some((Value::Object(_), _))) && key.is_none() {
                    return Err("a key that is no plain text".into());
                }
                Value::Null
            }
            _ => continue,
        };
        match open.last_mut() {
            Some((Value::Object(map), _)) => {
                map.insert(key.take().unwrap_or_default(), value);
            }
            Some((Value::Array(list), _)) => list.push(value),
            _ => root = value,
        }
    }
    Ok(root)
}

/// A YAML scalar: quoted ones are text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" | "True" => true.into(),
        "false" | "False" => false.into(),
        _ => {
            if let Ok(n) = text.parse::<i64>() {
                n.into()
            } else if let Ok(n) = text.parse::<f64>()
                && n.is_finite()
            {
                n.into()
            } else {
                text.into()
            }
        }
    }
}
