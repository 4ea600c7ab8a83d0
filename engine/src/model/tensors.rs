//! Reads a safetensors file through a memory map. Files are not trusted: sizes are checked against the file's
//! length before anything is copied, tensors against the shape that the model needs, and a tensor that is not
//! part of the model is an error.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use sideman_kernels::quant::{BLOCK, ints_of};
use sideman_kernels::{Backend, Format};

use crate::error::{Error, Result};
use crate::placeholder;

/// The longest header that is read, in bytes: the largest published model's has 80 KiB.
const MAX_HEADER: usize = 16 << 20;

/// An open safetensors file. Read the tensors by name and shape, then call [`Tensors::finish`].
#[derive(Debug)]
pub struct Tensors {
    path: PathBuf,
    map: Mmap,
    /// Position of the tensors' data: after the 8 bytes of the header's length and the header.
    data: usize,
    header: Metadata,
    /// Names of the tensors that have been read.
    read: BTreeSet<String>,
}

impl Tensors {
    /// Opens a file. Checks the length of its header, the header's JSON, and that the tensors fill the rest
    /// of the file exactly.
    ///
    /// # Errors
    /// The file can't be read, is truncated or too long, or is not a safetensors file.
    pub fn open(path: &Path) -> Result<Tensors> {
        let file = File::open(path).map_err(Error::io(path))?;
        let meta = file.metadata().map_err(Error::io(path))?;
        placeholder::check(path)?;
        if !meta.is_file() || meta.len() < 8 {
            return Err(Error::file(path, "not a safetensors file: it should begin with the length of its header, 8 bytes"));
        }
        let map = map(&file).map_err(Error::io(path))?;
        let data = 8 + header_len(path, &map, map.len() as u64)?;
        let header = header(path, &map[8..data], (map.len() - data) as u64)?;
        Ok(Tensors { path: path.to_owned(), map, data, header, read: BTreeSet::new() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shape of a tensor as it is stored; none where the file does not have it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.info(name).map(|i| i.shape.as_slice())
    }

    /// Names of all tensors, in the file's order.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Values of the tensor `name`, which must have exactly the shape `shape`. Its type is F32, F16 or BF16,
    /// or it is a quantized matrix (I8 or U8 with scales in `NAME.scale`).
    ///
    /// # Errors
    /// The tensor is missing, has another shape or type, or a value that is not finite.
    pub fn get(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let dtype = self.mark_read(name)?;
        let stored = if dtype == Dtype::U8 {
            // Two weights per byte.
            let mut half = shape.to_vec();
            if let Some(cols) = half.last_mut() {
                *cols /= 2;
            }
            half
        } else {
            shape.to_vec()
        };
        self.check(name, &stored)?;
        let scales = if matches!(dtype, Dtype::I8 | Dtype::U8) { self.scales(name, shape)? } else { Vec::new() };
        let bytes = self.bytes(name)?;
        let values: Vec<f32> = match dtype {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::I8 | Dtype::U8 => {
                let ints: Vec<i8> =
                    if dtype == Dtype::I8 { bytes.iter().map(|b| *b as i8).collect() } else { ints_of(bytes).collect() };
                ints.chunks_exact(BLOCK)
                    .zip(&scales)
                    .flat_map(|(block, s)| block.iter().map(move |i| f32::from(*i) * s))
                    .collect()
            }
            other => {
                return Err(self.wrong(name, format!("type {other:?}; it should be F32, F16, BF16, or I8 or U8 with scales")));
            }
        };
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(self.wrong(name, format!("value {at} is {}; it should be finite: the file is damaged", values[at])));
        }
        Ok(values)
    }

    /// Shape and values of the tensor `name`, for golden files.
    ///
    /// # Errors
    /// The tensor is missing, has another type than [`Tensors::get`] reads, or a value that is not finite.
    pub fn values(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let shape = self.shape(name).ok_or_else(|| self.wrong(name, "missing"))?.to_vec();
        let values = self.get(name, &shape)?;
        Ok((shape, values))
    }

    /// Copies the matrix `name` \[rows, cols\] to the backend, in `format`. A matrix that is stored as q8 or
    /// q4 keeps its integers and scales where `format` is the same, and where it is stored as q4 and `format`
    /// is [`Format::Q8`]. One that is stored as q8 becomes f32 weights by [`Backend::mat_dequantized`]. All others
    /// are converted from f32.
    ///
    /// # Errors
    /// Those of [`Tensors::get`], or the backend's memory is full.
    pub fn mat<B: Backend>(&mut self, backend: &mut B, name: &str, rows: usize, cols: usize, format: Format) -> Result<B::Mat> {
        let stored = self.mark_read(name)?;
        match (stored, format) {
            (Dtype::I8, Format::Q8 | Format::F32) => self.check(name, &[rows, cols])?,
            (Dtype::U8, Format::Q4 | Format::Q8) => self.check(name, &[rows, cols / 2])?,
            _ => {
                let values = self.get(name, &[rows, cols])?;
                return Ok(backend.mat(rows, cols, &values, format)?);
            }
        }
        let scales = self.scales(name, &[rows, cols])?;
        if format == Format::F32 && scales.iter().any(|scale| !(scale * 128.0).is_finite()) {
            // Says which weight is damaged, if one is.
            let values = self.get(name, &[rows, cols])?;
            return Ok(backend.mat(rows, cols, &values, format)?);
        }
        let bytes = self.bytes(name)?;
        Ok(match (stored, format) {
            (Dtype::U8, Format::Q4) => backend.mat_q4(rows, cols, bytes, &scales)?,
            (Dtype::I8, Format::F32) => {
                let ints: Vec<i8> = bytes.iter().map(|b| b.cast_signed()).collect();
                backend.mat_dequantized(rows, cols, &ints, &scales)?
            }
            (Dtype::U8, _) => backend.mat_q8(rows, cols, &ints_of(bytes).collect::<Vec<_>>(), &scales)?,
            _ => backend.mat_q8(rows, cols, &bytes.iter().map(|b| b.cast_signed()).collect::<Vec<_>>(), &scales)?,
        })
    }

    /// Copies the vector `name` \[len\] to the backend.
    ///
    /// # Errors
    /// Those of [`Tensors::get`], or the backend's memory is full.
    pub fn buf<B: Backend>(&mut self, backend: &mut B, name: &str, len: usize) -> Result<B::Buf> {
        let values = self.get(name, &[len])?;
        upload(backend, &values)
    }

    /// Shape and values of a tensor of integers (I64 or I32), for golden files.
    ///
    /// # Errors
    /// The tensor is missing or has another type.
    pub fn ints(&mut self, name: &str) -> Result<(Vec<usize>, Vec<i64>)> {
        let dtype = self.mark_read(name)?;
        let bytes = self.bytes(name)?;
        let values = match dtype {
            Dtype::I64 => bytes.chunks_exact(8).filter_map(|b| b.first_chunk()).map(|b| i64::from_le_bytes(*b)).collect(),
            Dtype::I32 => bytes.chunks_exact(4).filter_map(|b| b.first_chunk()).map(|b| i32::from_le_bytes(*b).into()).collect(),
            other => return Err(self.wrong(name, format!("type {other:?}; it should be I64 or I32"))),
        };
        Ok((self.shape(name).unwrap_or_default().to_vec(), values))
    }

    /// Marks the tensors whose names begin with `prefix` as read: parts of the model that are not needed now.
    pub fn skip(&mut self, prefix: &str) {
        let names = self.names().into_iter().filter(|name| name.starts_with(prefix));
        self.read.extend(names);
    }

    /// Checks that all tensors have been read.
    ///
    /// # Errors
    /// A tensor has not been read: the file does not belong to the configuration.
    pub fn finish(self) -> Result<()> {
        match self.names().into_iter().find(|k| !self.read.contains(k)) {
            Some(name) => Err(self.wrong(&name, "unknown: the model in config.json has no such tensor")),
            None => Ok(()),
        }
    }

    /// Type of a tensor; marks it as read.
    fn mark_read(&mut self, name: &str) -> Result<Dtype> {
        let Some(dtype) = self.header.info(name).map(|i| i.dtype) else {
            return Err(self.wrong(name, "missing"));
        };
        if !self.read.contains(name) {
            self.read.insert(name.to_owned());
        }
        Ok(dtype)
    }

    fn bytes(&self, name: &str) -> Result<&[u8]> {
        let range = self.header.info(name).map_or(0..0, |i| i.data_offsets.0..i.data_offsets.1);
        self.map[self.data..].get(range).ok_or_else(|| self.wrong(name, "its data is outside the file"))
    }

    /// Scales of a quantized matrix of `shape` weights.
    fn scales(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let &[rows, cols] = shape else {
            return Err(self.wrong(name, "it is quantized; only matrices can be"));
        };
        if !cols.is_multiple_of(BLOCK) {
            return Err(self.wrong(
                name,
                format!("it is quantized with rows of {cols}; the length of a row should be a multiple of {BLOCK}"),
            ));
        }
        let name = format!("{name}.scale");
        if self.mark_read(&name)? != Dtype::F32 {
            return Err(self.wrong(&name, "its type should be F32"));
        }
        self.get(&name, &[rows, cols / BLOCK])
    }

    /// Checks that the tensor is stored with the shape `shape`.
    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        match self.shape(name) {
            Some(found) if found == shape => Ok(()),
            found => Err(self.wrong(name, format!("shape {:?}; it should be {shape:?}", found.unwrap_or_default()))),
        }
    }

    fn wrong(&self, name: &str, what: impl Into<String>) -> Error {
        Error::tensor(&self.path, name, what)
    }
}

/// Length of the header of a safetensors file of `len` bytes that begins with `start`.
///
/// # Errors
/// The header is not inside the file: it is truncated, or not a safetensors file.
pub(super) fn header_len(path: &Path, start: &[u8], len: u64) -> Result<usize> {
    let n = start.first_chunk().map_or(u64::MAX, |b: &[u8; 8]| u64::from_le_bytes(*b));
    match usize::try_from(n).ok().filter(|n| *n <= MAX_HEADER && *n as u64 + 8 <= len) {
        Some(n) => Ok(n),
        None => Err(Error::file(path, format!("truncated, or not a safetensors file: its header would be {n} bytes long"))),
    }
}

/// Parses a header. Its tensors must fill `len` bytes exactly.
///
/// # Errors
/// The header can't be read, or the tensors have another size.
pub(super) fn header(path: &Path, json: &[u8], len: u64) -> Result<Metadata> {
    // `SafeTensors::deserialize` adds sizes without a check for overflow; the parser of headers alone does
    // not.
    let header: Metadata =
        serde_json::from_slice(json).map_err(|e| Error::file(path, format!("its safetensors header can't be read: {e}")))?;
    if header.data_len() as u64 != len {
        let what = if header.data_len() as u64 > len { "truncated" } else { "too long" };
        return Err(Error::file(path, format!("{what}: it has {len} bytes of tensors; its header says {}", header.data_len())));
    }
    Ok(header)
}

/// Copies `values` to a new buffer of the backend.
pub(crate) fn upload<B: Backend>(backend: &mut B, values: &[f32]) -> Result<B::Buf> {
    let mut buf = backend.buf(values.len())?;
    backend.write(&mut buf, 0, values);
    Ok(buf)
}

/// Maps a file into memory. The engine's only unsafe code.
#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and is read as bytes, for which every pattern is valid. The file must not
    // be truncated while it is mapped: models are never written in place (import and export rename finished
    // files), and the map is dropped as soon as the weights are in the backend's memory.
    unsafe { Mmap::map(file) }
}
