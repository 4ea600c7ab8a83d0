//! A reader of the pickles in published checkpoints that runs nothing: it knows the opcodes that torch.save writes and four names
//! (docs/explanation/musicgen-stem.md section 2); any other opcode or name is refused. Values live in flat arenas, so no nesting can exhaust the
//! stack, and everything that is kept is bounded by the pickle's own length.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use safetensors::Dtype;

use super::archive::Archive;
use super::source::Stored;
use crate::error::{Error, Result};

/// The longest `data.pkl` that is read: a published one has 130 kB.
const MAX_PICKLE: u64 = 4 << 20;
/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;

/// What a checkpoint holds.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// Tensors of `best_state`, or of the whole file where it is a bare `state_dict`.
    pub tensors: BTreeMap<String, Stored>,
    /// The training configuration, YAML: `xp.cfg`.
    pub config: Option<String>,
    /// The model that this file stands for, where it holds no weights: `pretrained`.
    pub pretrained: Option<String>,
}

/// Reads the structure of a checkpoint; the tensors' values stay in the file.
///
/// # Errors
/// Not a zip as torch.save writes it, or a pickle with anything in it that weights don't need; the text names it.
pub fn read(path: &Path, file: &mut File) -> Result<Checkpoint> {
    let archive = Archive::open(path, file)?;
    let Some(prefix) = archive.prefix().map(str::to_owned) else {
        return Err(Error::file(path, "a zip, but no checkpoint: it should have one record `data.pkl` in a folder"));
    };
    let order = format!("{prefix}byteorder");
    if archive.range(&order).is_some() && archive.read(path, file, &order, 16)? != b"little" {
        return Err(Error::file(path, "its numbers are not little-endian"));
    }
    let pickle = archive.read(path, file, &format!("{prefix}data.pkl"), MAX_PICKLE)?;
    let record = |key: &str| archive.range(&format!("{prefix}data/{key}"));
    parse(&pickle, &record).map_err(|what| Error::file(path, format!("its pickle: {what}")))
}

/// The names that may be called or referred to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    Storage(Dtype),
}

/// A value on the machine's stack; what has parts is an index into an arena.
#[derive(Debug, Clone, Copy)]
enum Value {
    None,
    Bool,
    Int(i64),
    Text(usize),
    Tuple(usize),
    List,
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
}

/// A run of numbers of one type in the file.
#[derive(Debug, Clone, Copy)]
struct Storage {
    dtype: Dtype,
    at: u64,
    len: u64,
}

/// The machine. `record` finds a storage's bytes by its key.
struct Machine<'a, 'r> {
    pickle: &'a [u8],
    at: usize,
    record: &'r dyn Fn(&str) -> Option<(u64, u64)>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    texts: Vec<&'a str>,
    tuples: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    tensors: Vec<Stored>,
}

/// Runs a pickle and takes the checkpoint from what it leaves. `record` gives first byte and length of a storage by its key.
///
/// # Errors
/// What is wrong, in words, with the byte at which it stands.
pub fn parse(pickle: &[u8], record: &dyn Fn(&str) -> Option<(u64, u64)>) -> Result<Checkpoint, String> {
    let mut machine = Machine {
        pickle,
        at: 0,
        record,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        texts: Vec::new(),
        tuples: Vec::new(),
        dicts: Vec::new(),
        storages: Vec::new(),
        tensors: Vec::new(),
    };
    let top = machine.run().map_err(|what| format!("byte {}: {what}", machine.at))?;
    machine.checkpoint(top)
}

impl<'a> Machine<'a, '_> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            let opcode = self.byte()?;
            match opcode {
                0x80 => match self.byte()? {
                    2 => {}
                    n => return Err(format!("protocol {n}; torch.save writes 2")),
                },
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.stack.push(Value::None),
                0x88 | 0x89 => self.stack.push(Value::Bool),
                b'K' => {
                    let n = self.byte()?;
                    self.stack.push(Value::Int(n.into()));
                }
                b'M' => {
                    let n = u16::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(n.into()));
                }
                b'J' => {
                    let n = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(n.into()));
                }
                0x8a => self.long()?,
                b'X' => {
                    let len = u32::from_le_bytes(self.array()?);
                    let text = std::str::from_utf8(self.take(len as usize)?).map_err(|_| "a string is not UTF-8".to_owned())?;
                    self.texts.push(text);
                    self.stack.push(Value::Text(self.texts.len() - 1));
                }
                b']' => self.stack.push(Value::List),
                b'a' => {
                    self.pop()?;
                    self.list()?;
                }
                b'e' => {
                    self.since_mark()?;
                    self.list()?;
                }
                b'}' => self.dict(),
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set(items)?;
                }
                b')' => self.tuple(Vec::new()),
                b't' => {
                    let items = self.since_mark()?;
                    self.tuple(items);
                }
                0x85..=0x87 => {
                    // As many as there are, and no room for more: a file may hold millions of these.
                    let count = usize::from(opcode - 0x84);
                    let at = self.stack.len().checked_sub(count).filter(|at| *at >= self.floor());
                    let items = self.stack.split_off(at.ok_or("a value is taken from an empty stack")?);
                    self.tuple(items);
                }
                b'q' => {
                    let slot = self.byte()?;
                    self.put(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.put(slot)?;
                }
                b'h' => {
                    let slot = self.byte()?;
                    self.get(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.get(slot)?;
                }
                b'c' => self.global()?,
                b'R' => self.reduce()?,
                b'b' => {
                    // Attributes of the object below: torch's `_metadata`. Nothing of them is needed.
                    self.pop()?;
                    self.expect_dict()?;
                }
                b'Q' => self.storage()?,
                other => return Err(format!("opcode {}, which weights don't need; such a file is not read", name_of(other))),
            }
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let bytes = self.pickle[self.at..].get(..len).ok_or("it ends in the middle of a value")?;
        self.at += len;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "it ends in the middle of a value".to_owned())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.pickle[self.at..];
        let len = rest.iter().take(256).position(|b| *b == b'\n').ok_or("a name without an end")?;
        let line = self.take(len + 1)?;
        std::str::from_utf8(&line[..len]).map_err(|_| "a name is not UTF-8".into())
    }

    /// The bottom of what may be popped: the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, String> {
        if self.stack.len() <= self.floor() {
            return Err("a value is taken from an empty stack".into());
        }
        self.stack.pop().ok_or_else(|| "a value is taken from an empty stack".into())
    }

    fn top(&self) -> Result<Value, String> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| "a value is taken from an empty stack".into())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("no mark where one is needed")?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, items: Vec<Value>) {
        self.tuples.push(items);
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
    }

    fn dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn list(&self) -> Result<(), String> {
        match self.top()? {
            Value::List => Ok(()),
            _ => Err("something is appended to what is no list".into()),
        }
    }

    fn expect_dict(&self) -> Result<usize, String> {
        match self.top()? {
            Value::Dict(at) => Ok(at),
            _ => Err("items or attributes are set on what is no dictionary".into()),
        }
    }

    fn set(&mut self, items: Vec<Value>) -> Result<(), String> {
        let dict = self.expect_dict()?;
        if !items.len().is_multiple_of(2) {
            return Err("a key without a value".into());
        }
        self.dicts[dict].extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    fn put(&mut self, slot: u32) -> Result<(), String> {
        self.memo.insert(slot, self.top()?);
        Ok(())
    }

    fn get(&mut self, slot: u32) -> Result<(), String> {
        let value = *self.memo.get(&slot).ok_or_else(|| format!("memo {slot} is used and never set"))?;
        self.stack.push(value);
        Ok(())
    }

    fn long(&mut self) -> Result<(), String> {
        let len = self.byte()?;
        let bytes = self.take(len.into())?;
        if bytes.len() > 8 {
            return Err(format!("a number of {len} bytes; at most 8 are read"));
        }
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut full = [fill; 8];
        full[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(full)));
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
            ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
            _ => return Err(format!("the name `{module}.{name}`, which weights don't need; such a file is not read")),
        };
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = arguments else { return Err("a call without a tuple of arguments".into()) };
        match callee {
            Value::Global(Global::OrderedDict) if self.tuples[arguments].is_empty() => self.dict(),
            Value::Global(Global::RebuildTensor) => {
                let tensor = self.tensor(arguments)?;
                self.tensors.push(tensor);
                self.stack.push(Value::Tensor(self.tensors.len() - 1));
            }
            _ => return Err("a call of something else than OrderedDict() or _rebuild_tensor_v2".into()),
        }
        Ok(())
    }

    fn text(&self, value: Value) -> Option<&'a str> {
        if let Value::Text(at) = value { Some(self.texts[at]) } else { None }
    }

    /// The storage of a persistent id ('storage', class, key, location, count).
    fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let Value::Tuple(id) = id else { return Err("a persistent id that is no tuple".into()) };
        let &[kind, Value::Global(Global::Storage(dtype)), key, _, Value::Int(len)] = self.tuples[id].as_slice() else {
            return Err("a persistent id that is no storage (kind, class, key, location, count)".into());
        };
        let (Some("storage"), Some(key)) = (self.text(kind), self.text(key)) else {
            return Err("a persistent id that is no storage (kind, class, key, location, count)".into());
        };
        let (at, bytes) = (self.record)(key).ok_or_else(|| format!("storage `{key}` has no record"))?;
        let len = u64::try_from(len).map_err(|_| format!("storage `{key}` of {len} values"))?;
        if len.checked_mul(size_of(dtype)) != Some(bytes) {
            return Err(format!("storage `{key}` should hold {len} values of type {dtype:?}, but its record has {bytes} bytes"));
        }
        self.storages.push(Storage { dtype, at, len });
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    /// The tensor of (storage, offset, size, stride, requires_grad, hooks).
    fn tensor(&self, arguments: usize) -> Result<Stored, String> {
        let [Value::Storage(storage), Value::Int(offset), Value::Tuple(size), Value::Tuple(stride), ..] =
            self.tuples[arguments].as_slice()
        else {
            return Err("a tensor that is not made of storage, offset, size and stride".into());
        };
        let storage = self.storages[*storage];
        let whole = |tuple: &usize, what: &str| -> Result<Vec<usize>, String> {
            let items = self.tuples[*tuple].iter().map(|v| match v {
                Value::Int(n) => usize::try_from(*n).map_err(|_| format!("a tensor with a {what} of {n}")),
                _ => Err(format!("a tensor with a {what} that is no number")),
            });
            items.collect()
        };
        let (shape, stride) = (whole(size, "size")?, whole(stride, "stride")?);
        if shape.len() != stride.len() || shape.len() > MAX_RANK {
            return Err(format!("a tensor of {} sizes and {} strides", shape.len(), stride.len()));
        }
        let offset = u64::try_from(*offset).map_err(|_| format!("a tensor with an offset of {offset}"))?;
        let outside =
            || format!("a tensor of shape {shape:?}, strides {stride:?}, offset {offset} in a storage of {} values", storage.len);
        let count = shape.iter().try_fold(1u64, |n, s| n.checked_mul(*s as u64)).ok_or_else(outside)?;
        if count > 0 {
            let steps = shape.iter().zip(&stride).map(|(n, s)| (*n as u64 - 1).checked_mul(*s as u64));
            let last = steps.into_iter().try_fold(offset, |at, step| at.checked_add(step?)).ok_or_else(outside)?;
            // Repeated values (stride 0) would be memory that the file does not hold; weights have none.
            if last >= storage.len || count > storage.len {
                return Err(outside());
            }
        }
        let at = if count > 0 { storage.at + offset * size_of(storage.dtype) } else { storage.at };
        Ok(Stored { file: 0, dtype: storage.dtype, at, shape, stride })
    }

    fn checkpoint(&self, top: Value) -> Result<Checkpoint, String> {
        let Value::Dict(top) = top else { return Err("it holds no dictionary".into()) };
        let named = |key: &str| self.dicts[top].iter().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, v)| *v);
        let config = named("xp.cfg").and_then(|v| self.text(v)).map(str::to_owned);
        let pretrained = named("pretrained").and_then(|v| self.text(v)).map(str::to_owned);
        let state = match named("best_state") {
            Some(Value::Dict(state)) => state,
            Some(_) => return Err("`best_state` is no dictionary".into()),
            None if pretrained.is_some() => return Ok(Checkpoint { config, pretrained, ..Checkpoint::default() }),
            None => top,
        };
        let mut tensors = BTreeMap::new();
        for (key, value) in &self.dicts[state] {
            let (Some(name), Value::Tensor(at)) = (self.text(*key), *value) else {
                let key = self.text(*key).unwrap_or("something unnamed");
                return Err(format!("`{key}` is no tensor; the file should hold `best_state`, or tensors only"));
            };
            if tensors.insert(name.to_owned(), self.tensors[at].clone()).is_some() {
                return Err(format!("tensor `{name}` is there twice"));
            }
        }
        Ok(Checkpoint { tensors, config, pretrained })
    }
}

/// Bytes of a value.
pub(super) fn size_of(dtype: Dtype) -> u64 {
    if dtype == Dtype::F32 { 4 } else { 2 }
}

/// What an opcode is called, where pickles that do harm have it.
fn name_of(opcode: u8) -> String {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x93 => "STACK_GLOBAL",
        0x82..=0x84 => "EXT",
        b'P' => "PERSID",
        b'0' | b'1' => "POP",
        b'2' => "DUP",
        b'F' | b'G' => "FLOAT",
        b'I' | b'L' => "INT as text",
        b'S' | b'T' | b'U' | b'V' => "STRING",
        b'B' | b'C' | 0x8e | 0x96 => "BYTES",
        b'l' | b'd' => "LIST or DICT from a mark",
        b'p' | b'g' | 0x94 => "PUT, GET or MEMOIZE",
        0x8b => "LONG4",
        0x95 => "FRAME",
        0x8c | 0x8d => "UNICODE of protocol 4",
        0x8f..=0x91 => "SET",
        0x97 | 0x98 => "BUFFER",
        _ => return format!("{opcode:#04x}"),
    };
    format!("{name} ({opcode:#04x})")
}
