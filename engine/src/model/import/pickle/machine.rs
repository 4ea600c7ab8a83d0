//! A stack machine for the opcodes of pickle that `torch.save` writes. Values are indices into flat arenas:
//! nesting can't overflow the stack, and memory is bounded by the length of the pickle.

use std::collections::HashMap;

use safetensors::Dtype;

use super::super::source::Stored;
use super::tensor::Storage;

/// The Python names that a pickle can refer to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Global {
    OrderedDict,
    RebuildTensor,
    Storage(Dtype),
    Fraction,
    /// A class of the package `demucs`. It is never called.
    Class(&'static str),
    /// A function of NumPy that makes a number for the log of a training. Nothing reads what a call of it gives.
    Number,
}

/// The classes of networks that checkpoints of `demucs` name.
const CLASSES: [(&str, &str, &str); 4] = [
    ("demucs.htdemucs", "HTDemucs", "demucs.htdemucs.HTDemucs"),
    ("demucs.hdemucs", "HDemucs", "demucs.hdemucs.HDemucs"),
    ("demucs.demucs", "Demucs", "demucs.demucs.Demucs"),
    ("demucs.wdemucs", "WDemucs", "demucs.wdemucs.WDemucs"),
];

/// A value on the stack. Values with parts are indices into the machine's arenas.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
    Fraction(usize),
    /// What a call of [`Global::Number`] gives.
    Opaque,
}

/// The state of the machine.
pub struct Machine<'a, 'r> {
    pickle: &'a [u8],
    /// Position in the pickle.
    pub at: usize,
    /// Position and length of a storage by its key.
    pub record: &'r dyn Fn(&str) -> Option<(u64, u64)>,
    pub stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    texts: Vec<&'a str>,
    pub tuples: Vec<Vec<Value>>,
    pub lists: Vec<Vec<Value>>,
    pub dicts: Vec<Vec<(Value, Value)>>,
    /// Numerators and denominators.
    pub fractions: Vec<(i64, i64)>,
    pub storages: Vec<Storage>,
    pub tensors: Vec<Stored>,
}

impl<'a, 'r> Machine<'a, 'r> {
    /// A machine at the start of a pickle.
    pub fn new(pickle: &'a [u8], record: &'r dyn Fn(&str) -> Option<(u64, u64)>) -> Self {
        Machine {
            pickle,
            at: 0,
            record,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            texts: Vec::new(),
            tuples: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            fractions: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Runs to the end. Returns the value that is left on the stack.
    pub fn run(&mut self) -> Result<Value, String> {
        loop {
            let opcode = self.byte()?;
            match opcode {
                0x80 => match self.byte()? {
                    2 => {}
                    n => return Err(format!("protocol {n}; it should be 2, as torch.save writes it")),
                },
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.stack.push(Value::None),
                0x88 | 0x89 => self.stack.push(Value::Bool(opcode == 0x88)),
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
                b'G' => {
                    let n = f64::from_be_bytes(self.array()?);
                    self.stack.push(Value::Float(n));
                }
                b'X' => {
                    let len = u32::from_le_bytes(self.array()?);
                    let text = std::str::from_utf8(self.take(len as usize)?).map_err(|_| "a string is not UTF-8".to_owned())?;
                    self.texts.push(text);
                    self.stack.push(Value::Text(self.texts.len() - 1));
                }
                b']' => {
                    self.lists.push(Vec::new());
                    self.stack.push(Value::List(self.lists.len() - 1));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.append(&items)?;
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
                    // Allocates no spare capacity: a file can have millions of these.
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
                    // Attributes of the object below it on the stack (torch's `_metadata`, the state of a NumPy
                    // type), which are not needed.
                    self.pop()?;
                    if !matches!(self.top()?, Value::Opaque) {
                        self.expect_dict()?;
                    }
                }
                b'Q' => self.storage()?,
                other => return Err(format!("opcode {}, which a file of weights does not need: it is refused", name_of(other))),
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
        let len = rest.iter().take(256).position(|b| *b == b'\n').ok_or("a name has no end")?;
        let line = self.take(len + 1)?;
        std::str::from_utf8(&line[..len]).map_err(|_| "a name is not UTF-8".into())
    }

    /// Position of the last mark: values below it can't be popped.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub fn pop(&mut self) -> Result<Value, String> {
        if self.stack.len() <= self.floor() {
            return Err("a value is taken from an empty stack".into());
        }
        self.stack.pop().ok_or_else(|| "a value is taken from an empty stack".into())
    }

    fn top(&self) -> Result<Value, String> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| "a value is taken from an empty stack".into())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
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

    fn append(&mut self, items: &[Value]) -> Result<(), String> {
        let Value::List(list) = self.top()? else {
            return Err("an item is appended to something that is not a list".into());
        };
        self.lists[list].extend_from_slice(items);
        Ok(())
    }

    fn expect_dict(&self) -> Result<usize, String> {
        match self.top()? {
            Value::Dict(at) => Ok(at),
            _ => Err("items or attributes are set on something that is not a dictionary".into()),
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
        let value = *self.memo.get(&slot).ok_or_else(|| format!("memo {slot} is used before it is set"))?;
        self.stack.push(value);
        Ok(())
    }

    fn long(&mut self) -> Result<(), String> {
        let len = self.byte()?;
        let bytes = self.take(len.into())?;
        if bytes.len() > 8 {
            return Err(format!("an integer of {len} bytes; it should have at most 8"));
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
            ("fractions", "Fraction") => Global::Fraction,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") | ("numpy", "dtype") | ("_codecs", "encode") => {
                Global::Number
            }
            _ => match CLASSES.iter().find(|c| (c.0, c.1) == (module, name)) {
                Some((.., class)) => Global::Class(class),
                None => return Err(format!("the name `{module}.{name}`, which a file of weights does not need: it is refused")),
            },
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
            Value::Global(Global::Fraction) => {
                let fraction = self.fraction(arguments)?;
                self.fractions.push(fraction);
                self.stack.push(Value::Fraction(self.fractions.len() - 1));
            }
            Value::Global(Global::Number) => self.stack.push(Value::Opaque),
            _ => return Err("a call of something other than OrderedDict() or _rebuild_tensor_v2: it is refused".into()),
        }
        Ok(())
    }

    /// The fraction of the arguments ("39/5",) or (39, 5).
    fn fraction(&self, arguments: usize) -> Result<(i64, i64), String> {
        let parts = match *self.tuples[arguments].as_slice() {
            [Value::Int(n), Value::Int(d)] => Some((n, d)),
            [Value::Text(text)] => {
                let (n, d) = self.texts[text].split_once('/').unwrap_or((self.texts[text], "1"));
                n.parse().ok().zip(d.parse().ok())
            }
            _ => None,
        };
        match parts {
            Some((n, d)) if d > 0 => Ok((n, d)),
            _ => Err("the arguments of a fraction should be two integers or a text such as 39/5".into()),
        }
    }

    pub fn text(&self, value: Value) -> Option<&'a str> {
        if let Value::Text(at) = value { Some(self.texts[at]) } else { None }
    }
}

/// The name of an opcode that harmful pickles use; the number of any other.
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
        b'F' => "FLOAT as text",
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
