//! Storages and tensors of a pickle: checks that their values are inside the file.

use safetensors::Dtype;

use super::super::source::Stored;
use super::machine::{Global, Machine, Value};

/// Most dimensions of a tensor.
const MAX_RANK: usize = 8;

/// Consecutive values of one type in the file.
#[derive(Debug, Clone, Copy)]
pub struct Storage {
    dtype: Dtype,
    /// Position of the first value in the file, in bytes.
    at: u64,
    /// Number of values.
    len: u64,
}

impl Machine<'_, '_> {
    /// Pops a persistent id, ('storage', class, key, location, count), and pushes its storage.
    pub fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let Value::Tuple(id) = id else { return Err("a persistent id that is not a tuple".into()) };
        let &[kind, Value::Global(Global::Storage(dtype)), key, _, Value::Int(len)] = self.tuples[id].as_slice() else {
            return Err("a persistent id that is not a storage (kind, class, key, location, count)".into());
        };
        let (Some("storage"), Some(key)) = (self.text(kind), self.text(key)) else {
            return Err("a persistent id that is not a storage (kind, class, key, location, count)".into());
        };
        let (at, bytes) = (self.record)(key).ok_or_else(|| format!("storage `{key}` has no record in the zip file"))?;
        let len =
            u64::try_from(len).map_err(|_| format!("storage `{key}` has {len} values; the number should not be negative"))?;
        if len.checked_mul(size_of(dtype)) != Some(bytes) {
            return Err(format!("storage `{key}` should hold {len} values of type {dtype:?}, but its record has {bytes} bytes"));
        }
        self.storages.push(Storage { dtype, at, len });
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    /// The tensor of the arguments (storage, offset, size, stride, requires_grad, hooks).
    pub fn tensor(&self, arguments: usize) -> Result<Stored, String> {
        let [Value::Storage(storage), Value::Int(offset), Value::Tuple(size), Value::Tuple(stride), ..] =
            self.tuples[arguments].as_slice()
        else {
            return Err("the arguments of a tensor should be storage, offset, size and stride".into());
        };
        let storage = self.storages[*storage];
        let whole = |tuple: &usize, what: &str| -> Result<Vec<usize>, String> {
            let items = self.tuples[*tuple].iter().map(|v| match v {
                Value::Int(n) => usize::try_from(*n).map_err(|_| format!("a tensor with a {what} of {n}")),
                _ => Err(format!("a tensor with a {what} that is not an integer")),
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
            // Weights don't repeat values (stride 0). A hostile tensor that did would need more memory than
            // the file has.
            if last >= storage.len || count > storage.len {
                return Err(outside());
            }
        }
        let at = if count > 0 { storage.at + offset * size_of(storage.dtype) } else { storage.at };
        Ok(Stored { file: 0, dtype: storage.dtype, at, shape, stride })
    }
}

/// Size of a value in bytes.
pub fn size_of(dtype: Dtype) -> u64 {
    if dtype == Dtype::F32 { 4 } else { 2 }
}
