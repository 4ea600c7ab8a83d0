//! The tensors of a checkpoint, in pickles or safetensors files. They are read one at a time: memory is
//! needed for the largest tensor, not for the file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;

use super::keys::Keys;
use super::pickle::{self, Checkpoint, size_of};
use crate::error::{Error, Result};
use crate::model::tensors;

/// Position, type and shape of a tensor in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Index of the file in the [`Source`].
    pub(super) file: usize,
    /// F32, F16 or BF16.
    pub dtype: Dtype,
    /// Position of the first value in the file, in bytes.
    pub(super) at: u64,
    /// Shape.
    pub shape: Vec<usize>,
    /// Stride of each dimension, in values.
    pub(super) stride: Vec<usize>,
}

impl Stored {
    /// Size of the values in bytes.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * size_of(self.dtype)
    }
}

/// The tensors of one or more files, by name.
#[derive(Debug)]
pub struct Source {
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, Stored>,
    /// Names of the tensors that are part of the model.
    used: BTreeSet<String>,
}

impl Source {
    /// Opens a pickle, with its configuration.
    ///
    /// # Errors
    /// Not a zip file of `torch.save`, or its pickle has something that weights don't need.
    pub fn pickle(path: &Path) -> Result<(Source, Checkpoint)> {
        let mut file = open(path)?;
        let mut found = pickle::read(path, &mut file)?;
        let tensors = std::mem::take(&mut found.tensors);
        Ok((Source { files: vec![(path.to_owned(), file)], tensors, used: BTreeSet::new() }, found))
    }

    /// Opens a safetensors file, with the metadata of its header.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn safetensors(path: &Path) -> Result<(Source, HashMap<String, String>)> {
        let mut file = open(path)?;
        let (tensors, metadata) = safetensors(path, &mut file)?;
        Ok((Source { files: vec![(path.to_owned(), file)], tensors, used: BTreeSet::new() }, metadata))
    }

    /// Opens the weights in a Hugging Face folder: `model.safetensors` or `pytorch_model.bin`, or either in
    /// pieces with an index.
    ///
    /// # Errors
    /// The folder has no weights, or a file is damaged.
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
        Err(Error::file(dir, "no weights: it should have model.safetensors, or its pieces with model.safetensors.index.json"))
    }

    /// Adds a file's tensors.
    fn add(&mut self, path: &Path) -> Result<()> {
        let mut file = open(path)?;
        let safe = path.extension().is_some_and(|e| e == "safetensors");
        let tensors = if safe { safetensors(path, &mut file)?.0 } else { pickle::read(path, &mut file)?.tensors };
        for (name, stored) in tensors {
            let stored = Stored { file: self.files.len(), ..stored };
            if self.tensors.insert(name.clone(), stored).is_some() {
                return Err(Error::tensor(path, &name, "it occurs in two files of the model"));
            }
        }
        self.files.push((path.to_owned(), file));
        Ok(())
    }

    /// Paths of the files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor; none where it is missing.
    pub fn get(&self, name: &str) -> Option<&Stored> {
        self.tensors.get(name)
    }

    /// File of a tensor (the first file where it is missing), for errors.
    pub fn path(&self, name: &str) -> &Path {
        let file = self.tensors.get(name).map_or(0, |t| t.file);
        self.files.get(file).map_or(Path::new("?"), |(path, _)| path)
    }

    /// Marks a tensor as part of the model.
    pub fn mark(&mut self, name: &str) {
        self.used.insert(name.to_owned());
    }

    /// The first tensor that is not marked and that `skip` does not exclude.
    pub fn unused(&self, skip: impl Fn(&str) -> bool) -> Option<&str> {
        self.names().find(|n| !self.used.contains(*n) && !skip(n))
    }

    /// Reads a tensor's values in row-major order.
    ///
    /// # Errors
    /// The tensor is missing, its file is truncated, or a value is not finite.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>> {
        let Some(stored) = self.tensors.get(name) else {
            return Err(Error::tensor(self.path(name), name, "missing"));
        };
        let (path, file) = &mut self.files[stored.file];
        let count: usize = stored.shape.iter().product();
        if count == 0 {
            return Ok(Vec::new());
        }
        // Opening has checked that this is inside the file.
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
            Some(at) => {
                Err(Error::tensor(path, name, format!("value {at} is {}; it should be finite: the file is damaged", values[at])))
            }
            None => Ok(values),
        }
    }
}

/// Converts f16 to f32, with the processor's instruction where it has one.
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

/// Whether the values are in row-major order without gaps.
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

/// Copies values with any strides to row-major order.
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

/// File names in an index of pieces. Only names of files in the same folder are accepted.
fn pieces(index: &Path) -> Result<BTreeSet<String>> {
    let keys = Keys::json(index)?;
    let map = keys.get("weight_map").and_then(|v| v.as_object());
    let Some(map) = map else { return Err(Error::file(index, "it should have a `weight_map` from tensors to files")) };
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':']);
    let names = map.values().map(|v| match v.as_str() {
        Some(name) if plain(name) => Ok(name.to_owned()),
        _ => Err(Error::file(index, format!("`weight_map` has the file {v}; it should be a file name in the same folder"))),
    });
    names.collect()
}

/// Reads the structure of a safetensors file, and the metadata of its header.
fn safetensors(path: &Path, file: &mut File) -> Result<(BTreeMap<String, Stored>, HashMap<String, String>)> {
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
    Ok((found, metadata.metadata().clone().unwrap_or_default()))
}

fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(Error::io(path))?;
    crate::placeholder::check(path)?;
    match file.metadata().map_err(Error::io(path))?.is_file() {
        true => Ok(file),
        false => Err(Error::file(path, "it should be a file")),
    }
}

/// Reads `len` bytes at `at`. The caller has checked `len` against the length of the file.
pub(super) fn read_at(path: &Path, file: &mut File, at: u64, len: usize) -> Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at)).map_err(Error::io(path))?;
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}
