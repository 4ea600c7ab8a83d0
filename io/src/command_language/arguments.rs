//! The arguments of a message, read one after another.

use sideman_engine::live::{When, Which};

use super::{ALL, Namespace, Value};

/// The longest text, in bytes.
const MAX_TEXT: usize = 4096;

/// The arguments that are left to read. Each method takes the next ones, or returns a sentence that says what is wrong.
pub struct Arguments<'a> {
    pub(super) left: &'a [Value],
    pub(super) namespace: &'a Namespace,
    pub(super) address: &'a str,
}

impl<'a> Arguments<'a> {
    /// The arguments of a message to an address.
    pub fn new(arguments: &'a [Value], namespace: &'a Namespace, address: &'a str) -> Self {
        Arguments { left: arguments, namespace, address }
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn next(&mut self) -> Result<&'a Value, String> {
        let (first, rest) = self.left.split_first().ok_or("an argument is missing")?;
        self.left = rest;
        Ok(first)
    }

    /// Whether a number is next, or a text that is one.
    pub fn number_next(&self) -> bool {
        self.left.first().is_some_and(|a| numeric(a).is_some())
    }

    /// Whether a button's value is next, at an address that takes `arguments`. Where it takes a text, a text is no button's value.
    pub(super) fn press_next(&self, arguments: &str) -> bool {
        self.number_next() && (arguments.is_empty() || self.left.first().is_some_and(|a| a.number().is_some()))
    }

    /// A number.
    ///
    /// # Errors
    /// It is none, or not finite.
    pub fn number(&mut self) -> Result<f64, String> {
        numeric(self.next()?).filter(|n| n.is_finite()).ok_or_else(|| "must be a number".into())
    }

    pub(super) fn float(&mut self) -> Result<f32, String> {
        let n = self.number()? as f32;
        if n.is_finite() { Ok(n) } else { Err("the number is too large".into()) }
    }

    /// A whole number of 0 or more. The fraction of a fader's value is rounded.
    ///
    /// # Errors
    /// It is no number, or below 0, or too large.
    pub fn whole(&mut self) -> Result<u32, String> {
        let n = self.number()?.round();
        if (0.0..=f64::from(u32::MAX)).contains(&n) { Ok(n as u32) } else { Err(format!("{n}: must be a whole number from 0")) }
    }

    /// A seed: the bits of a 64-bit number, or a whole number.
    pub(super) fn seed(&mut self) -> Result<u64, String> {
        match self.left.first() {
            Some(Value::Long(n)) => {
                let n = n.cast_unsigned();
                self.next()?;
                Ok(n)
            }
            _ => self.whole().map(u64::from),
        }
    }

    pub(super) fn flag(&mut self) -> Result<bool, String> {
        Ok(self.number()? >= 0.5)
    }

    /// A text.
    ///
    /// # Errors
    /// It is none, or too long.
    pub fn text(&mut self) -> Result<String, String> {
        match self.next()? {
            Value::Text(text) if text.len() <= MAX_TEXT => Ok(text.clone()),
            Value::Text(text) => Err(format!("a text of {} bytes: must be at most {MAX_TEXT}", text.len())),
            _ => Err("must be a text".into()),
        }
    }

    /// One of several names.
    pub(super) fn one_of<T: Copy>(&mut self, all: &[(&str, T)]) -> Result<T, String> {
        let word = self.text()?;
        all.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or_else(|| format!("unknown name {word:?}"))
    }

    pub(super) fn instrument(&mut self) -> Result<Option<u8>, String> {
        let word = self.text()?;
        if word == "none" { Ok(None) } else { self.stem(&word).map(Some) }
    }

    /// The stem whose pending commands are cancelled; `None`: all are.
    pub(super) fn cancelled(&mut self) -> Result<Option<u8>, String> {
        match self.left.first() {
            Some(Value::Text(s)) if s == ALL => {
                self.next()?;
                Ok(None)
            }
            Some(Value::Text(s)) if boundary(s).is_none() => self.instrument(),
            _ => Ok(None),
        }
    }

    fn stem(&self, name: &str) -> Result<u8, String> {
        self.namespace.stem(name).ok_or_else(|| format!("no stem {name:?}: must be one of {}", self.namespace.stems().join(", ")))
    }

    /// The stem in the address.
    pub(super) fn which(&self) -> Which {
        let name = self.address.split('/').nth(3).unwrap_or(ALL);
        self.namespace.which(name).unwrap_or(Which::All)
    }

    /// The number at the end of the address.
    pub(super) fn part(&self) -> u8 {
        self.address.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(1)
    }

    /// The boundary, which may be the last argument.
    pub(super) fn when(&mut self) -> Result<Option<When>, String> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let word = self.text()?;
        let unknown = || format!("no boundary {word:?}: must be now, beat, bar, section or \"bar 17\"");
        boundary(&word).map(Some).ok_or_else(unknown)
    }
}

/// A value as a number. Some programs send every value as a text.
fn numeric(value: &Value) -> Option<f64> {
    match value {
        Value::Text(text) => text.trim().parse().ok(),
        Value::Int(_) | Value::Long(_) | Value::Float(_) => value.number(),
    }
}

fn boundary(word: &str) -> Option<When> {
    if let Some(number) = word.strip_prefix("bar ") {
        return number.trim().parse().ok().map(When::AtBar);
    }
    [("now", When::Now), ("beat", When::Beat), ("bar", When::Bar), ("section", When::Section)]
        .into_iter()
        .find(|(name, _)| *name == word)
        .map(|(_, when)| when)
}
