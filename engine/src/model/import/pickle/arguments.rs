//! The arguments that a checkpoint of the package `demucs` has for its network, as JSON: the same as in the
//! package's safetensors files.

use serde_json::{Map, Value as Json, json};

use super::machine::{Global, Machine, Value};

/// The deepest nesting of arguments.
const MAX_DEPTH: usize = 8;
/// Most values of the arguments: a published network has 80.
const MAX_VALUES: usize = 10_000;
/// The longest text among them, in bytes. A text can occur many times.
const MAX_TEXT: usize = 64;

impl Machine<'_, '_> {
    /// `{"klass", "args", "kwargs"}` of a checkpoint.
    pub fn network(&self, class: Value, args: Option<Value>, kwargs: Option<Value>) -> Result<Json, String> {
        let Value::Global(Global::Class(class)) = class else { return Err("`klass` should be a class".into()) };
        let mut left = MAX_VALUES;
        let mut json = |value: Option<Value>| self.json(value.unwrap_or(Value::None), 0, &mut left);
        Ok(json!({"klass": class, "args": json(args)?, "kwargs": json(kwargs)?}))
    }

    /// A plain value as JSON. A fraction is an object, as in the package.
    fn json(&self, value: Value, depth: usize, left: &mut usize) -> Result<Json, String> {
        *left =
            left.checked_sub(1).filter(|_| depth < MAX_DEPTH).ok_or("the arguments of its network are too many or too deep")?;
        let list = |items: &[Value], left: &mut usize| {
            items.iter().map(|item| self.json(*item, depth + 1, left)).collect::<Result<Vec<Json>, String>>()
        };
        Ok(match value {
            Value::None => Json::Null,
            Value::Bool(b) => b.into(),
            Value::Int(n) => n.into(),
            Value::Float(n) => n.into(),
            Value::Text(_) => match self.text(value) {
                Some(text) if text.len() <= MAX_TEXT => text.into(),
                _ => return Err(format!("an argument of its network has more than {MAX_TEXT} bytes")),
            },
            Value::Tuple(at) => list(&self.tuples[at], left)?.into(),
            Value::List(at) => list(&self.lists[at], left)?.into(),
            Value::Dict(at) => {
                let mut map = Map::new();
                for (key, value) in &self.dicts[at] {
                    let key = self
                        .text(*key)
                        .filter(|key| key.len() <= MAX_TEXT)
                        .ok_or("an argument's name should be a short string")?;
                    map.insert(key.to_owned(), self.json(*value, depth + 1, left)?);
                }
                map.into()
            }
            Value::Fraction(at) => {
                let (n, d) = self.fractions[at];
                json!({"_type": "fraction", "numerator": n, "denominator": d})
            }
            Value::Global(_) | Value::Storage(_) | Value::Tensor(_) | Value::Opaque => {
                return Err("the arguments of its network should be plain values".into());
            }
        })
    }
}
