//! Writes a safetensors file one tensor at a time: first the header, whose sizes are all known, then each
//! tensor's data.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sideman_kernels::quant::{BLOCK, to_q4, to_q8};

use super::needed::{NeededTensor, Role};
use crate::error::{Error, Result};

/// Precision that the language model's matrices are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quant {
    /// As in the checkpoint.
    #[default]
    AsItIs,
    /// bf16, 2 bytes per weight.
    Bf16,
    /// 8-bit blocks, 1.125 bytes per weight.
    Q8,
    /// 4-bit blocks, 0.625 bytes per weight.
    Q4,
}

/// The storage format of one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain(Dtype),
    Q8,
    Q4,
}

/// A file that is being written.
pub struct Writer {
    path: PathBuf,
    file: File,
    /// Position of the tensors' data.
    data: u64,
    header: Metadata,
    forms: Vec<(String, Form)>,
}

/// The storage format of a tensor whose values have the type `found` in the checkpoint.
fn form(need: &NeededTensor, found: Dtype, quant: Quant) -> Form {
    let blocks = need.shape.last().is_some_and(|cols| cols.is_multiple_of(BLOCK)) && need.shape.len() == 2;
    match (need.role, quant) {
        (Role::Codec, _) => Form::Plain(Dtype::F32),
        (Role::Text, _) | (_, Quant::AsItIs) => Form::Plain(found),
        (Role::Vector, _) => Form::Plain(Dtype::F32),
        (Role::Matrix, Quant::Q8) if blocks => Form::Q8,
        (Role::Matrix, Quant::Q4) if blocks => Form::Q4,
        (Role::Matrix | Role::Table, _) => Form::Plain(Dtype::BF16),
    }
}

impl Writer {
    /// Creates the file and writes the header for `needs`: the tensors, each with its type in the checkpoint.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn create(path: &Path, needs: &[(&NeededTensor, Dtype)], quant: Quant) -> Result<Writer> {
        let mut parts: Vec<(String, Dtype, Vec<usize>)> = Vec::new();
        let mut forms = Vec::new();
        for (need, found) in needs {
            let form = form(need, *found, quant);
            forms.push((need.name.clone(), form));
            let mut shape = need.shape.clone();
            match form {
                Form::Plain(dtype) => parts.push((need.name.clone(), dtype, shape)),
                Form::Q8 | Form::Q4 => {
                    parts.push((format!("{}.scale", need.name), Dtype::F32, vec![shape[0], shape[1] / BLOCK]));
                    let dtype = if form == Form::Q8 { Dtype::I8 } else { Dtype::U8 };
                    shape[1] /= if form == Form::Q4 { 2 } else { 1 };
                    parts.push((need.name.clone(), dtype, shape));
                }
            }
        }
        // Wide types first, as the safetensors library does: every tensor is aligned then.
        parts.sort_by(|a, b| width(b.1).cmp(&width(a.1)).then(a.0.cmp(&b.0)));
        let mut end = 0;
        let infos = parts.into_iter().map(|(name, dtype, shape)| {
            let from = end;
            end += shape.iter().product::<usize>() * width(dtype);
            (name, TensorInfo { dtype, shape, data_offsets: (from, end) })
        });
        let header =
            Metadata::new(None, infos.collect()).map_err(|e| Error::file(path, format!("its header can't be written: {e}")))?;
        let mut json = serde_json::to_vec(&header).map_err(|e| Error::file(path, format!("its header can't be written: {e}")))?;
        json.resize(json.len().next_multiple_of(8), b' ');
        let mut file = File::create(path).map_err(Error::io(path))?;
        let start = [(json.len() as u64).to_le_bytes().as_slice(), &json].concat();
        file.write_all(&start).map_err(Error::io(path))?;
        Ok(Writer { path: path.to_owned(), file, data: start.len() as u64, header, forms })
    }

    /// Writes one tensor's values.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn put(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let form = self.forms.iter().find(|(n, _)| n == name).map_or(Form::Plain(Dtype::F32), |(_, f)| *f);
        let cols = self.header.info(name).and_then(|i| i.shape.last().copied()).unwrap_or(1);
        match form {
            Form::Plain(Dtype::F16) => {
                self.bytes(name, &values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect::<Vec<_>>())
            }
            Form::Plain(Dtype::BF16) => {
                self.bytes(name, &values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect::<Vec<_>>())
            }
            Form::Plain(_) => self.bytes(name, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()),
            Form::Q8 => {
                let (mut ints, mut scales) = (vec![0; values.len()], vec![0.0; values.len() / BLOCK]);
                for (r, row) in values.chunks_exact(cols).enumerate() {
                    let (a, b) = (r * cols, r * cols / BLOCK);
                    to_q8(row, &mut ints[a..a + cols], &mut scales[b..b + cols / BLOCK]);
                }
                self.scales(name, &scales)?;
                self.bytes(name, &ints.iter().map(|i| i.cast_unsigned()).collect::<Vec<_>>())
            }
            Form::Q4 => {
                let (mut nibbles, mut scales) = (vec![0; values.len() / 2], vec![0.0; values.len() / BLOCK]);
                to_q4(values, &mut nibbles, &mut scales);
                self.scales(name, &scales)?;
                self.bytes(name, &nibbles)
            }
        }
    }

    /// Syncs the file to disk.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(Error::io(&self.path))
    }

    fn scales(&mut self, name: &str, scales: &[f32]) -> Result<()> {
        self.bytes(&format!("{name}.scale"), &scales.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let range = self.header.info(name).map(|i| i.data_offsets).filter(|(from, to)| to - from == bytes.len());
        let Some((from, _)) = range else { return Err(Error::tensor(&self.path, name, "its size is not that of the header")) };
        self.file.seek(SeekFrom::Start(self.data + from as u64)).map_err(Error::io(&self.path))?;
        self.file.write_all(bytes).map_err(Error::io(&self.path))
    }
}

/// Bytes per value, for the types that are written.
fn width(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F32 => 4,
        Dtype::F16 | Dtype::BF16 => 2,
        _ => 1,
    }
}
