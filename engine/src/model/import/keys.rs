//! The configuration of a checkpoint, `config.json` or audiocraft's `xp.cfg` (YAML), looked up by keys with
//! dots.

use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The longest JSON file that is read, in bytes: an index of pieces has some 100 kB.
const MAX_JSON: u64 = 8 << 20;
/// The longest YAML text that is read, in bytes: a published one has 20 kB.
const MAX_YAML: usize = 1 << 20;
/// The deepest nesting of a YAML text.
const MAX_DEPTH: usize = 32;
/// Most references `${key}` that are followed one after another.
const MAX_HOPS: usize = 8;

/// A tree of keys and values, and the file that it comes from.
#[derive(Debug, Clone)]
pub struct Keys {
    path: PathBuf,
    root: Value,
}

impl Keys {
    /// Reads a JSON file.
    ///
    /// # Errors
    /// The file can't be read, is too long, or is not JSON.
    pub fn json(path: &Path) -> Result<Keys> {
        let meta = std::fs::metadata(path).map_err(Error::io(path))?;
        if !meta.is_file() || meta.len() > MAX_JSON {
            return Err(Error::file(path, format!("not a configuration: it should be a file of at most {MAX_JSON} bytes")));
        }
        crate::placeholder::check(path)?;
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let root = serde_json::from_slice(&bytes).map_err(|e| Error::file(path, format!("not JSON: {e}")))?;
        Ok(Keys { path: path.to_owned(), root })
    }

    /// The keys of a value that the file at `path` holds.
    pub fn value(path: &Path, root: Value) -> Keys {
        Keys { path: path.to_owned(), root }
    }

    /// Reads the YAML text `name` in the file at `path`. A value that is an alias (`*anchor`) is read as null.
    ///
    /// # Errors
    /// The text is not YAML, too long, or nested too deeply.
    pub fn yaml(path: &Path, text: &str, name: &str) -> Result<Keys> {
        let root = yaml(text).map_err(|what| Error::file(path, format!("{name}: {what}")))?;
        Ok(Keys { path: path.to_owned(), root })
    }

    /// The tree below `key`.
    pub fn under(&self, key: &str) -> Option<Keys> {
        self.get(key).map(|v| Keys { path: self.path.clone(), root: v.clone() })
    }

    /// One key of the same file.
    pub fn with(&self, key: &str, value: Value) -> Keys {
        Keys { path: self.path.clone(), root: Value::Object(Map::from_iter([(key.to_owned(), value)])) }
    }

    /// The value of a key such as `lm.dim`. References `${other.key}` are followed. None where it is missing
    /// or null.
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

    /// An integer.
    ///
    /// # Errors
    /// The key is missing, or another type.
    pub fn size(&self, key: &str) -> Result<usize> {
        match self.get(key).map(|v| v.as_u64().and_then(|n| usize::try_from(n).ok())) {
            Some(Some(n)) => Ok(n),
            _ => Err(self.wrong(key, "an integer")),
        }
    }

    /// An integer, or `default` where the key is missing.
    ///
    /// # Errors
    /// The value has another type.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.get(key).is_some() { self.size(key) } else { Ok(default) }
    }

    /// A number, or `default` where the key is missing.
    ///
    /// # Errors
    /// The value has another type.
    pub fn number_or(&self, key: &str, default: f32) -> Result<f32> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_f64().map(|n| n as f32).ok_or_else(|| self.wrong(key, "a number")),
        }
    }

    /// A list of integers.
    ///
    /// # Errors
    /// The key is missing, or another type.
    pub fn sizes(&self, key: &str) -> Result<Vec<usize>> {
        let list = self.get(key).and_then(Value::as_array);
        let sizes =
            list.and_then(|l| l.iter().map(|v| v.as_u64().and_then(|n| usize::try_from(n).ok())).collect::<Option<Vec<_>>>());
        sizes.ok_or_else(|| self.wrong(key, "a list of integers"))
    }

    /// A string.
    ///
    /// # Errors
    /// The key is missing, or another type.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.get(key).and_then(Value::as_str).ok_or_else(|| self.wrong(key, "a string"))
    }

    /// A list of strings.
    ///
    /// # Errors
    /// The key is missing, or another type.
    pub fn texts(&self, key: &str) -> Result<Vec<String>> {
        let list = self.get(key).and_then(Value::as_array);
        let texts = list.and_then(|l| l.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        texts.ok_or_else(|| self.wrong(key, "a list of strings"))
    }

    /// A boolean, or `default` where the key is missing.
    ///
    /// # Errors
    /// The value has another type.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    /// Checks that a key is missing or has one of the values that the engine supports.
    ///
    /// # Errors
    /// It has another value.
    pub fn only(&self, key: &str, values: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(v) if !values.contains(v) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                Err(self.error(key, format!("{v}; sideman supports only {}", values.join(" or "))))
            }
            _ => Ok(()),
        }
    }

    /// An [`Error::Key`] with the key.
    pub fn error(&self, key: &str, what: impl Into<String>) -> Error {
        Error::Key { path: self.path.clone(), key: key.to_owned(), what: what.into() }
    }

    fn wrong(&self, key: &str, want: &str) -> Error {
        let found = self.get(key).map_or("missing".into(), |v| v.to_string().chars().take(80).collect::<String>());
        self.error(key, format!("{found}; it should be {want}"))
    }
}

/// Parses a YAML text into JSON values.
fn yaml(text: &str) -> Result<Value, String> {
    if text.len() > MAX_YAML {
        return Err(format!("{} bytes; it should have at most {MAX_YAML}", text.len()));
    }
    // Open maps and lists, each with its key in the map that contains it.
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    let mut key: Option<String> = None;
    let mut root = Value::Null;
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|e| format!("not YAML: {e}"))?;
        let value = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if open.len() == MAX_DEPTH {
                    return Err(format!("it is nested more than {MAX_DEPTH} levels deep"));
                }
                let map = matches!(event, Event::MappingStart(..));
                if matches!(open.last(), Some((Value::Object(_), _))) && key.is_none() {
                    return Err("a key is not a scalar".into());
                }
                open.push((if map { Value::Object(Map::new()) } else { Value::Array(Vec::new()) }, key.take()));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let Some((value, at)) = open.pop() else { return Err("not YAML: a map or list ends that has not begun".into()) };
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
                    return Err("a key is not a scalar".into());
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

/// A YAML scalar. Quoted ones are strings.
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
