//! Residual quantizers (docs/explanation/musicgen-stem.md 3.7): what the player needs of a book, worked out once at load.

use sideman_kernels::{Act, Backend, Book, Format, Linear};

use crate::error::Result;
use crate::model::{QuantizerConfig, QuantizerKind, Tensors, upload};

/// Reads the books of a codec, `quantizer.vq.*`.
///
/// # Errors
/// A tensor is missing or misshapen, or the player's memory is full.
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
