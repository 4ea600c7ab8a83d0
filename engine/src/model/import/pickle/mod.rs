//! Reads the pickle of a published checkpoint: its tensors' positions and its configuration. No code in the
//! pickle is run.
//!
//! [`machine`] knows only the opcodes and the names that checkpoints of `torch.save` need; any other is an error
//! (docs/explanation/musicgen-stem.md section 2, docs/reference/separator-format.md).

mod arguments;
mod machine;
mod tensor;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::archive::Archive;
use super::source::Stored;
use crate::error::{Error, Result};
use machine::{Machine, Value};
pub(super) use tensor::size_of;

/// The longest `data.pkl` that is read, in bytes: a published one has 130 kB.
const MAX_PICKLE: u64 = 4 << 20;

/// The content of a checkpoint.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// Tensors of `best_state`, or of the whole file where it is a plain `state_dict`.
    pub tensors: BTreeMap<String, Stored>,
    /// The training configuration `xp.cfg`, YAML.
    pub config: Option<String>,
    /// Name of another model, `pretrained`, where the file has no weights of its own.
    pub pretrained: Option<String>,
    /// How the package `demucs` would build the network: `klass`, `args` and `kwargs`. The tensors are those of
    /// `state`.
    pub network: Option<serde_json::Value>,
}

/// Reads the structure of a checkpoint, without the values of its tensors.
///
/// # Errors
/// Not a zip file of `torch.save`, or its pickle has something that weights don't need; the error names it.
pub fn read(path: &Path, file: &mut File) -> Result<Checkpoint> {
    let archive = Archive::open(path, file)?;
    let Some(prefix) = archive.prefix().map(str::to_owned) else {
        return Err(Error::file(path, "a zip file, but not a checkpoint: it should have one record `data.pkl` in a folder"));
    };
    let order = format!("{prefix}byteorder");
    if archive.range(&order).is_some() && archive.read(path, file, &order, 16)? != b"little" {
        return Err(Error::file(path, "its byte order should be little-endian"));
    }
    let pickle = archive.read(path, file, &format!("{prefix}data.pkl"), MAX_PICKLE)?;
    let record = |key: &str| archive.range(&format!("{prefix}data/{key}"));
    parse(&pickle, &record).map_err(|what| Error::file(path, format!("its pickle: {what}")))
}

/// Reads the checkpoint in a pickle. `record` returns position and length of a storage by its key.
///
/// # Errors
/// The text says what is wrong, and at which byte.
pub fn parse(pickle: &[u8], record: &dyn Fn(&str) -> Option<(u64, u64)>) -> Result<Checkpoint, String> {
    let mut machine = Machine::new(pickle, record);
    let top = machine.run().map_err(|what| format!("byte {}: {what}", machine.at))?;
    machine.checkpoint(top)
}

impl Machine<'_, '_> {
    /// The checkpoint in the value that the pickle leaves on the stack.
    fn checkpoint(&self, top: Value) -> Result<Checkpoint, String> {
        let Value::Dict(top) = top else { return Err("it should be a dictionary".into()) };
        let named = |key: &str| self.dicts[top].iter().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, v)| *v);
        let config = named("xp.cfg").and_then(|v| self.text(v)).map(str::to_owned);
        let pretrained = named("pretrained").and_then(|v| self.text(v)).map(str::to_owned);
        let network = named("klass").map(|class| self.network(class, named("args"), named("kwargs"))).transpose()?;
        let state = match named(if network.is_some() { "state" } else { "best_state" }) {
            Some(Value::Dict(state)) => state,
            Some(_) => return Err("its weights, `best_state` or `state`, should be a dictionary".into()),
            None if network.is_some() => return Err("`state`, its weights, is missing".into()),
            None if pretrained.is_some() => return Ok(Checkpoint { config, pretrained, ..Checkpoint::default() }),
            None => top,
        };
        let mut tensors = BTreeMap::new();
        for (key, value) in &self.dicts[state] {
            let (Some(name), Value::Tensor(at)) = (self.text(*key), *value) else {
                let key = self.text(*key).unwrap_or("a key that is not a string");
                return Err(format!("`{key}` is not a tensor; the file should have `best_state`, or tensors only"));
            };
            if tensors.insert(name.to_owned(), self.tensors[at].clone()).is_some() {
                return Err(format!("tensor `{name}` occurs twice"));
            }
        }
        Ok(Checkpoint { tensors, config, pretrained, network })
    }
}
