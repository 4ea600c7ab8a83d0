//! A codec's residual quantizer (docs/explanation/musicgen-stem.md 3.7): its books, and the buffer that codes
//! pass through between the backend's memory and the host's.

use std::sync::Arc;

use sideman_kernels::{Act, Backend, Book, Format, Linear, Rows};

use crate::error::{Error, Result};
use crate::model::{QuantizerConfig, QuantizerKind, Tensors, upload};

/// Books of a codec, in a backend's memory.
pub(super) struct Quantizer<B: Backend> {
    pub config: QuantizerConfig,
    pub books: Vec<Book<B>>,
}

/// Codes of one chunk of frames on their way between the backend's memory and the host's.
pub(super) struct Codes<B: Backend> {
    quantizer: Arc<Quantizer<B>>,
    /// [books, frames], in the backend's memory and in the host's.
    codes: B::Ints,
    host: Vec<i32>,
}

impl<B: Backend> Codes<B> {
    /// Room for `frames` frames.
    pub fn new(backend: &mut B, quantizer: &Arc<Quantizer<B>>, frames: usize) -> Result<Self> {
        let len = quantizer.books.len() * frames;
        Ok(Codes { quantizer: quantizer.clone(), codes: backend.ints(len)?, host: vec![0; len] })
    }

    /// Codes of one frame.
    pub fn books(&self) -> usize {
        self.quantizer.books.len()
    }

    /// Values of a latent.
    pub fn dim(&self) -> usize {
        self.quantizer.config.dim
    }

    /// Quantizes the first `frames` latents.
    pub fn quantize(&mut self, backend: &mut B, latents: &mut B::Buf, frames: usize) {
        if frames > 0 {
            let (rows, cr) = (Rows::packed(frames, self.dim()), Rows::packed(self.books(), frames));
            backend.quantize(&self.quantizer.books, latents, rows, &mut self.codes, cr);
        }
    }

    /// Appends the codes of `frames` quantized frames, frame-major.
    pub fn append_to(&mut self, backend: &mut B, frames: usize, codes: &mut Vec<u32>) {
        if frames > 0 {
            let host = &mut self.host[..self.quantizer.books.len() * frames];
            backend.read_ints(&self.codes, 0, host);
            for f in 0..frames {
                codes.extend(host.iter().skip(f).step_by(frames).map(|c| c.cast_unsigned()));
            }
        }
    }

    /// Errors unless `codes` are whole frames of codes within their books.
    pub fn check(&self, codes: &[u32]) -> Result<()> {
        let (books, card) = (self.books(), self.quantizer.config.card);
        if !codes.len().is_multiple_of(books) {
            return Err(Error::Input(format!("{} codes are no whole number of frames of {books}", codes.len())));
        }
        match codes.iter().position(|c| *c as usize >= card) {
            None => Ok(()),
            Some(at) => {
                let (frame, book) = (at / books, at % books);
                Err(Error::Input(format!("code {} of frame {frame}, book {book}: it should be below {card}", codes[at])))
            }
        }
    }

    /// Writes the codes of whole frames, frame-major, to the backend; gives the number of frames.
    pub fn write(&mut self, backend: &mut B, codes: &[u32]) -> usize {
        let books = self.books();
        let frames = codes.len() / books;
        let host = &mut self.host[..codes.len()];
        for (i, c) in codes.iter().enumerate() {
            host[i % books * frames + i / books] = c.cast_signed();
        }
        backend.write_ints(&mut self.codes, 0, host);
        frames
    }

    /// Latents of `frames` written frames, to `z` from index `at` on.
    pub fn dequantize(&self, backend: &mut B, frames: usize, z: &mut B::Buf, at: usize) {
        let rows = Rows { count: frames, at, stride: self.dim() };
        backend.dequantize(&self.quantizer.books, &self.codes, Rows::packed(self.books(), frames), z, rows);
    }
}

/// Reads the books of a codec, `quantizer.vq.*`.
///
/// # Errors
/// A tensor is missing or has the wrong shape, or the backend's memory is full.
pub fn load<B: Backend>(backend: &mut B, config: &QuantizerConfig, tensors: &mut Tensors) -> Result<Vec<Book<B>>> {
    (0..config.books)
        .map(|q| match config.kind {
            QuantizerKind::Euclidean => euclidean(backend, config, tensors, &format!("quantizer.vq.layers.{q}._codebook.embed")),
            QuantizerKind::Factorised => factorised(backend, config, tensors, &format!("quantizer.vq.quantizers.{q}")),
        })
        .collect()
}

fn euclidean<B: Backend>(backend: &mut B, c: &QuantizerConfig, tensors: &mut Tensors, name: &str) -> Result<Book<B>> {
    let codes = tensors.get(name, &[c.card, c.dim])?;
    let norms: Vec<f32> = codes.chunks_exact(c.dim).map(|e| dot(e, e) as f32).collect();
    Ok(Book::Euclidean { codes: backend.mat(c.card, c.dim, &codes, Format::F32)?, norms: upload(backend, &norms)? })
}

fn factorised<B: Backend>(backend: &mut B, c: &QuantizerConfig, tensors: &mut Tensors, name: &str) -> Result<Book<B>> {
    let (weight, bias) = (format!("{name}.in_proj.weight"), format!("{name}.in_proj.bias"));
    let project_in = Linear {
        weight: tensors.mat(backend, &weight, c.code_dim, c.dim, Format::F32)?,
        bias: Some(tensors.buf(backend, &bias, c.code_dim)?),
        norm: None,
        act: Act::None,
        add: false,
    };
    let out = tensors.get(&format!("{name}.out_proj.weight"), &[c.dim, c.code_dim])?;
    let shift = tensors.get(&format!("{name}.out_proj.bias"), &[c.dim])?;
    let book = tensors.get(&format!("{name}.codebook.weight"), &[c.card, c.code_dim])?;
    let (mut unit, mut codes) = (Vec::with_capacity(book.len()), Vec::with_capacity(c.card * c.dim));
    for code in book.chunks_exact(c.code_dim) {
        // The floor of the reference (F.normalize).
        let norm = dot(code, code).sqrt().max(1e-12);
        unit.extend(code.iter().map(|v| (f64::from(*v) / norm) as f32));
        codes.extend(out.chunks_exact(c.code_dim).zip(&shift).map(|(row, b)| (dot(row, code) + f64::from(*b)) as f32));
    }
    let unit = backend.mat(c.card, c.code_dim, &unit, Format::F32)?;
    Ok(Book::Factorised { project_in, unit, codes: backend.mat(c.card, c.dim, &codes, Format::F32)? })
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
