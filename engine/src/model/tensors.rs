//! One safetensors file, read by a memory map and taken on no trust: every size is checked against the file's length before
//! a byte is copied, every tensor against the shape that the model needs, and what nobody asked for is an error.

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

/// The longest header that is read: the largest published model's has 80 KiB.
const MAX_HEADER: usize = 16 << 20;

/// An open safetensors file. Readers ask for tensors by name and shape, then call [`Tensors::finish`].
#[derive(Debug)]
pub struct Tensors {
    path: PathBuf,
    map: Mmap,
    /// Where the data begin: past the 8 bytes of the header's length and the header.
    data: usize,
    header: Metadata,
    asked: BTreeSet<String>,
}

impl Tensors {
    /// Opens and checks a file: the header's length, its JSON, and that the tensors fill the rest of the file exactly.
    ///
    /// # Errors
    /// The file can't be read, or is truncated, oversized or not a safetensors file.
    pub fn open(path: &Path) -> Result<Tensors> {
        let file = File::open(path).map_err(Error::io(path))?;
        let meta = file.metadata().map_err(Error::io(path))?;
        if !meta.is_file() || meta.len() < 8 {
            return Err(Error::file(path, "not a safetensors file: it should begin with 8 bytes that give the header's length"));
        }
        let map = map(&file).map_err(Error::io(path))?;
        let data = 8 + header_len(path, &map, map.len() as u64)?;
        let header = header(path, &map[8..data], (map.len() - data) as u64)?;
        Ok(Tensors { path: path.to_owned(), map, data, header, asked: BTreeSet::new() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shape of a tensor as stored, if the file has it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.info(name).map(|i| i.shape.as_slice())
    }

    /// Names of all tensors, in the order of the file.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// The values of `name`, which must have exactly `shape`: F32, F16, BF16, or a quantized matrix (I8 or U8 with `NAME.scale`).
    ///
    /// # Errors
    /// No such tensor, another shape or type, or a value that is not finite.
    pub fn get(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let dtype = self.ask(name)?;
        let stored = if dtype == Dtype::U8 {
            // Two weights a byte.
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
            return Err(self.wrong(name, format!("value {at} is {}: the file is damaged", values[at])));
        }
        Ok(values)
    }

    /// The values of `name` as [`Tensors::get`] gives them, whatever its shape, and the shape: inputs and outputs of golden files.
    ///
    /// # Errors
    /// No such tensor, another type, or a value that is not finite.
    pub fn values(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let shape = self.shape(name).ok_or_else(|| self.wrong(name, "missing"))?.to_vec();
        let values = self.get(name, &shape)?;
        Ok((shape, values))
    }

    /// The player's matrix [rows, cols] of `name` in `format`. A matrix that is stored as q8 or q4 goes to the player as it stands
    /// where `format` is the same, and one of q4 with the same numbers and scales where it is [`Format::Q8`]; all else passes
    /// through f32.
    ///
    /// # Errors
    /// As [`Tensors::get`], and the player's.
    pub fn mat<B: Backend>(&mut self, backend: &mut B, name: &str, rows: usize, cols: usize, format: Format) -> Result<B::Mat> {
        let stored = self.ask(name)?;
        match (stored, format) {
            (Dtype::I8, Format::Q8) => self.check(name, &[rows, cols])?,
            (Dtype::U8, Format::Q4 | Format::Q8) => self.check(name, &[rows, cols / 2])?,
            _ => {
                let values = self.get(name, &[rows, cols])?;
                return Ok(backend.mat(rows, cols, &values, format)?);
            }
        }
        let scales = self.scales(name, &[rows, cols])?;
        let bytes = self.bytes(name)?;
        Ok(match (stored, format) {
            (Dtype::U8, Format::Q4) => backend.mat_q4(rows, cols, bytes, &scales)?,
            (Dtype::U8, _) => backend.mat_q8(rows, cols, &ints_of(bytes).collect::<Vec<_>>(), &scales)?,
            _ => backend.mat_q8(rows, cols, &bytes.iter().map(|b| b.cast_signed()).collect::<Vec<_>>(), &scales)?,
        })
    }

    /// The player's buffer of a vector `name` [len].
    ///
    /// # Errors
    /// As [`Tensors::get`], and the player's.
    pub fn buf<B: Backend>(&mut self, backend: &mut B, name: &str, len: usize) -> Result<B::Buf> {
        let values = self.get(name, &[len])?;
        upload(backend, &values)
    }

    /// A tensor of whole numbers (I64 or I32), with its shape: ids, tokens and codes of golden files.
    ///
    /// # Errors
    /// No such tensor, or another type.
    pub fn ints(&mut self, name: &str) -> Result<(Vec<usize>, Vec<i64>)> {
        let dtype = self.ask(name)?;
        let bytes = self.bytes(name)?;
        let values = match dtype {
            Dtype::I64 => bytes.chunks_exact(8).filter_map(|b| b.first_chunk()).map(|b| i64::from_le_bytes(*b)).collect(),
            Dtype::I32 => bytes.chunks_exact(4).filter_map(|b| b.first_chunk()).map(|b| i32::from_le_bytes(*b).into()).collect(),
            other => return Err(self.wrong(name, format!("type {other:?}; it should be I64 or I32"))),
        };
        Ok((self.shape(name).unwrap_or_default().to_vec(), values))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Names the first tensor that nobody asked for: the file and the configuration don't belong together.
    pub fn finish(self) -> Result<()> {
        match self.names().into_iter().find(|k| !self.asked.contains(k)) {
            Some(name) => Err(self.wrong(&name, "the model of config.json has no such tensor")),
            None => Ok(()),
        }
    }

    /// Type of a tensor; notes that it was asked for.
    fn ask(&mut self, name: &str) -> Result<Dtype> {
        let Some(dtype) = self.header.info(name).map(|i| i.dtype) else {
            return Err(self.wrong(name, "missing"));
        };
        if !self.asked.contains(name) {
            self.asked.insert(name.to_owned());
        }
        Ok(dtype)
    }

    fn bytes(&self, name: &str) -> Result<&[u8]> {
        let range = self.header.info(name).map_or(0..0, |i| i.data_offsets.0..i.data_offsets.1);
        self.map[self.data..].get(range).ok_or_else(|| self.wrong(name, "lies outside of the file"))
    }

    /// Scales of a quantized matrix of logical `shape`.
    fn scales(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let &[rows, cols] = shape else {
            return Err(self.wrong(name, "quantized, but only matrices may be"));
        };
        if !cols.is_multiple_of(BLOCK) {
            return Err(self.wrong(name, format!("quantized, but its rows of {cols} are no multiple of {BLOCK}")));
        }
        let name = format!("{name}.scale");
        if self.ask(&name)? != Dtype::F32 {
            return Err(self.wrong(&name, "scales should be F32"));
        }
        self.get(&name, &[rows, cols / BLOCK])
    }

    /// Errors unless the stored shape is `shape`.
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

/// Length of the header of a safetensors file of `len` bytes that begins with `start`; it lies inside of the file.
///
/// # Errors
/// The file is truncated, or no safetensors file.
pub(super) fn header_len(path: &Path, start: &[u8], len: u64) -> Result<usize> {
    let n = start.first_chunk().map_or(u64::MAX, |b: &[u8; 8]| u64::from_le_bytes(*b));
    match usize::try_from(n).ok().filter(|n| *n <= MAX_HEADER && *n as u64 + 8 <= len) {
        Some(n) => Ok(n),
        None => Err(Error::file(path, format!("truncated or no safetensors file: its header should be {n} bytes long"))),
    }
}

/// Reads a header whose tensors should fill `len` bytes exactly.
///
/// # Errors
/// No header, or one of tensors that don't fit the file.
pub(super) fn header(path: &Path, json: &[u8], len: u64) -> Result<Metadata> {
    // The crate's reader of whole files adds unchecked sizes; its reader of headers doesn't. So the sum is ours.
    let header: Metadata =
        serde_json::from_slice(json).map_err(|e| Error::file(path, format!("its safetensors header can't be read: {e}")))?;
    if header.data_len() as u64 != len {
        let what = if header.data_len() as u64 > len { "truncated" } else { "too long" };
        return Err(Error::file(path, format!("{what}: {len} bytes of tensors where the header says {}", header.data_len())));
    }
    Ok(header)
}

/// A player's buffer holding `values`.
pub(crate) fn upload<B: Backend>(backend: &mut B, values: &[f32]) -> Result<B::Buf> {
    let mut buf = backend.buf(values.len())?;
    backend.write(&mut buf, 0, values);
    Ok(buf)
}

/// The one unsafe line outside of the kernels.
#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and only read as bytes, of which every pattern is valid. Like any reader of model files
    // by map we rely on nobody cutting the file short while we read it; models are not written in place (import and export
    // rename a finished file), and the map is dropped once the weights are in the player's memory.
    unsafe { Mmap::map(file) }
}
