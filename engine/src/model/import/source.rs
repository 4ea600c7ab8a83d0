//! Tensors that lie in checkpoints of either kind, read one at a time: memory holds the largest tensor, not the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;

use super::keys::Keys;
use super::pickle::{self, Checkpoint, size_of};
use crate::error::{Error, Result};
use crate::model::tensors;

/// Where one tensor's values lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Which file of the [`Source`].
    pub(super) file: usize,
    /// F32, F16 or BF16.
    pub dtype: Dtype,
    /// Byte of its first value.
    pub(super) at: u64,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Values from one index to the next, for each dimension.
    pub(super) stride: Vec<usize>,
}

impl Stored {
    /// Bytes of its values.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * size_of(self.dtype)
    }
}

/// Tensors of one or more files, by name.
#[derive(Debug)]
pub struct Source {
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, Stored>,
    used: BTreeSet<String>,
}

impl Source {
    /// A pickled checkpoint, with its configuration.
    ///
    /// # Errors
    /// See [`pickle::read`].
    pub fn pickle(path: &Path) -> Result<(Source, Checkpoint)> {
        let mut file = open(path)?;
        let mut found = pickle::read(path, &mut file)?;
        let tensors = std::mem::take(&mut found.tensors);
        Ok((Source { files: vec![(path.to_owned(), file)], tensors, used: BTreeSet::new() }, found))
    }

    /// The weights of a Hugging Face folder: `model.safetensors`, `pytorch_model.bin`, or either in pieces with an index.
    ///
    /// # Errors
    /// None of them is there, or a file is damaged.
    pub fn folder(dir: &Path) -> Result<Source> {
        let mut source = Source { files: Vec::new(), tensors: BTreeMap::new(), used: BTreeSet::new() };
        for whole in ["model.safetensors", "pytorch_model.bin"] {
            let index = dir.join(format!("{whole}.index.json"));
            if dir.join(whole).exists() {
                source.add(&dir.join(whole))?;
                return Ok(source);
            } else if index.exists() {
                for piece in pieces(&index)? {
                    source.add(&dir.join(piece))?;
                }
                return Ok(source);
            }
        }
        Err(Error::file(dir, "no weights: it should hold model.safetensors, or its pieces with model.safetensors.index.json"))
    }

    /// Adds a file's tensors.
    fn add(&mut self, path: &Path) -> Result<()> {
        let mut file = open(path)?;
        let safe = path.extension().is_some_and(|e| e == "safetensors");
        let tensors = if safe { safetensors(path, &mut file)? } else { pickle::read(path, &mut file)?.tensors };
        for (name, stored) in tensors {
            let stored = Stored { file: self.files.len(), ..stored };
            if self.tensors.insert(name.clone(), stored).is_some() {
                return Err(Error::tensor(path, &name, "it is in another file of the same model already"));
            }
        }
        self.files.push((path.to_owned(), file));
        Ok(())
    }

    /// Files, for the report.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor, if it is there.
    pub fn get(&self, name: &str) -> Option<&Stored> {
        self.tensors.get(name)
    }

    /// Where a tensor is, or should have been: for errors.
    pub fn path(&self, name: &str) -> &Path {
        let file = self.tensors.get(name).map_or(0, |t| t.file);
        self.files.get(file).map_or(Path::new("?"), |(path, _)| path)
    }

    /// Notes that a tensor is part of the model.
    pub fn mark(&mut self, name: &str) {
        self.used.insert(name.to_owned());
    }

    /// The first tensor that is no part of the model so far.
    pub fn unused(&self, skip: impl Fn(&str) -> bool) -> Option<&str> {
        self.names().find(|n| !self.used.contains(*n) && !skip(n))
    }

    /// A tensor's values in row-major order.
    ///
    /// # Errors
    /// No such tensor, a file that was cut short, or a value that is not finite.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>> {
        let Some(stored) = self.tensors.get(name) else {
            return Err(Error::tensor(self.path(name), name, "missing"));
        };
        let (path, file) = &mut self.files[stored.file];
        let count: usize = stored.shape.iter().product();
        if count == 0 {
            return Ok(Vec::new());
        }
        // Both kinds of file have checked that this lies inside of them.
        let span = 1 + stored.shape.iter().zip(&stored.stride).map(|(n, s)| (n - 1) * s).sum::<usize>();
        let bytes = read_at(path, file, stored.at, span * size_of(stored.dtype) as usize)?;
        let values: Vec<f32> = match stored.dtype {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => halves(&bytes),
            _ => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        };
        drop(bytes);
        let values = if contiguous(&stored.shape, &stored.stride) { values } else { gather(&values, stored, count) };
        match values.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(Error::tensor(path, name, format!("value {at} is {}: the file is damaged", values[at]))),
            None => Ok(values),
        }
    }
}

/// f16 to f32, by the processor's own instruction where it has one.
fn halves(bytes: &[u8]) -> Vec<f32> {
    use half::slice::HalfFloatSliceExt;
    let mut values = vec![0.0; bytes.len() / 2];
    let mut part = [f16::ZERO; 1024];
    for (bytes, values) in bytes.chunks(2048).zip(values.chunks_mut(1024)) {
        let part = &mut part[..values.len()];
        part.iter_mut().zip(bytes.chunks_exact(2)).for_each(|(h, b)| *h = f16::from_le_bytes([b[0], b[1]]));
        part.convert_to_f32_slice(values);
    }
    values
}

/// True where the values lie in row-major order without gaps.
fn contiguous(shape: &[usize], stride: &[usize]) -> bool {
    let mut want = 1;
    for (n, s) in shape.iter().zip(stride).rev() {
        if *n != 1 && *s != want {
            return false;
        }
        want *= n;
    }
    true
}

/// Values in row-major order from where their strides put them.
fn gather(values: &[f32], stored: &Stored, count: usize) -> Vec<f32> {
    let mut index = vec![0; stored.shape.len()];
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        out.push(values[index.iter().zip(&stored.stride).map(|(i, s)| i * s).sum::<usize>()]);
        for (i, n) in index.iter_mut().zip(&stored.shape).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// File names that an index of pieces lists: plain names, each in the same folder.
fn pieces(index: &Path) -> Result<BTreeSet<String>> {
    let keys = Keys::json(index)?;
    let map = keys.get("weight_map").and_then(|v| v.as_object());
    let Some(map) = map else { return Err(Error::file(index, "it should have a `weight_map` of tensors to files")) };
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':']);
    let names = map.values().map(|v| match v.as_str() {
        Some(name) if plain(name) => Ok(name.to_owned()),
        _ => Err(Error::file(index, format!("`weight_map` names the file {v}; it should be a file beside it"))),
    });
    names.collect()
}

/// Structure of a safetensors file.
fn safetensors(path: &Path, file: &mut File) -> Result<BTreeMap<String, Stored>> {
    let len = file.metadata().map_err(Error::io(path))?.len();
    let start = read_at(path, file, 0, 8.min(len as usize))?;
    let header = tensors::header_len(path, &start, len)?;
    let header_bytes = read_at(path, file, 8, header)?;
    let metadata = tensors::header(path, &header_bytes, len - 8 - header as u64)?;
    let mut found = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(Error::tensor(path, &name, format!("type {:?}; it should be F32, F16 or BF16", info.dtype)));
        }
        let mut stride: Vec<usize> =
            info.shape.iter().rev().scan(1usize, |s, n| Some(std::mem::replace(s, s.saturating_mul(*n)))).collect();
        stride.reverse();
        let at = (8 + header + info.data_offsets.0) as u64;
        found.insert(name, Stored { file: 0, dtype: info.dtype, at, shape: info.shape.clone(), stride });
    }
    Ok(found)
}

fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(Error::io(path))?;
    match file.metadata().map_err(Error::io(path))?.is_file() {
        true => Ok(file),
        false => Err(Error::file(path, "not a file")),
    }
}

/// `len` bytes from `at`; the caller has checked that the file is long enough for `len` to be no matter of trust.
pub(super) fn read_at(path: &Path, file: &mut File, at: u64, len: usize) -> Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at)).map_err(Error::io(path))?;
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}
