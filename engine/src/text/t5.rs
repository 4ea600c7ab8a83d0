//! T5's encoder (docs/explanation/musicgen-stem.md section 4): RMSNorm, no biases, relative positions, ReLU.
//! Its matrix products run on a [`Backend`]; its attention runs here, since a prompt has only some tens of
//! tokens.

use sideman_kernels::{Act, Backend, Format, Linear, Norm, Rows};

use super::Hidden;
use crate::error::{Error, Result};
use crate::model::{Tensors, TextConfig};

/// One block: attention, then feed-forward.
struct Block<B: Backend> {
    /// q ‖ k ‖ v: \[3·inner, dim\], with RMSNorm before it.
    qkv: Linear<B>,
    /// \[dim, inner\]; adds to the residual.
    out: Linear<B>,
    /// \[ffn, dim\], with RMSNorm before it and ReLU after it.
    up: Linear<B>,
    /// \[dim, ffn\]; adds to the residual.
    down: Linear<B>,
}

/// Weights of the encoder on a backend.
pub struct T5<B: Backend> {
    config: TextConfig,
    /// Embeddings \[vocab, dim\].
    shared: Vec<f32>,
    blocks: Vec<Block<B>>,
    /// Position bias \[buckets, heads\] of the attention scores; the same in every block.
    bias: Vec<f32>,
    /// Final RMSNorm \[dim\].
    norm: Vec<f32>,
}

/// Bucket of the relative position `offset` = key − query. Half of the buckets are for each side: exact for
/// near positions, logarithmic up to `max_distance`.
pub fn bucket(offset: i64, buckets: usize, max_distance: usize) -> usize {
    let side = buckets / 2;
    let exact = side / 2;
    let n = offset.unsigned_abs() as usize;
    let near = if n < exact {
        n
    } else {
        let share = (n as f64 / exact as f64).ln() / (max_distance as f64 / exact as f64).ln();
        // The borders are exactly at powers of 2 (16, 32, 64 of 128): 1e-9 keeps rounding from moving them.
        (exact + (share * (side - exact) as f64 + 1e-9) as usize).min(side - 1)
    };
    if offset > 0 { side + near } else { near }
}

impl<B: Backend> T5<B> {
    /// Reads `text.safetensors`.
    ///
    /// # Errors
    /// A tensor is missing, unknown or has the wrong shape.
    pub fn load(backend: &mut B, config: &TextConfig, mut file: Tensors) -> Result<Self> {
        let (dim, inner, ffn) = (config.dim, config.heads * config.head_dim, config.ffn);
        let plain = |weight| Linear { weight, bias: None, norm: None, act: Act::None, add: false };
        let mut blocks = Vec::with_capacity(config.layers);
        for n in 0..config.layers {
            let attention = |what: &str| format!("encoder.block.{n}.layer.0.{what}.weight");
            let dense = |what: &str| format!("encoder.block.{n}.layer.1.{what}.weight");
            let norm = |backend: &mut B, file: &mut Tensors, name: &str| -> Result<_> {
                Ok(Some(Norm { weight: file.buf(backend, name, dim)?, bias: None, eps: config.eps }))
            };
            let mut rows = Vec::with_capacity(3 * inner * dim);
            for part in ["q", "k", "v"] {
                rows.extend(file.get(&attention(&format!("SelfAttention.{part}")), &[inner, dim])?);
            }
            let qkv = backend.mat(3 * inner, dim, &rows, Format::F32)?;
            let out = file.mat(backend, &attention("SelfAttention.o"), dim, inner, Format::F32)?;
            let up = file.mat(backend, &dense("DenseReluDense.wi"), ffn, dim, Format::F32)?;
            let down = file.mat(backend, &dense("DenseReluDense.wo"), dim, ffn, Format::F32)?;
            blocks.push(Block {
                qkv: Linear { norm: norm(backend, &mut file, &attention("layer_norm"))?, ..plain(qkv) },
                out: Linear { add: true, ..plain(out) },
                up: Linear { norm: norm(backend, &mut file, &dense("layer_norm"))?, act: Act::Relu, ..plain(up) },
                down: Linear { add: true, ..plain(down) },
            });
        }
        let table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        let t5 = T5 {
            shared: file.get("shared.weight", &[config.vocab, dim])?,
            bias: file.get(table, &[config.buckets, config.heads])?,
            norm: file.get("encoder.final_layer_norm.weight", &[dim])?,
            config: config.clone(),
            blocks,
        };
        file.finish()?;
        Ok(t5)
    }

    /// Hidden states \[ids.len(), dim\] of token ids.
    ///
    /// # Errors
    /// An id is not in the vocabulary, or the backend's memory is full.
    pub fn encode(&self, backend: &mut B, ids: &[u32]) -> Result<Hidden> {
        let TextConfig { dim, ffn, vocab, .. } = self.config;
        let inner = self.config.heads * self.config.head_dim;
        let len = ids.len();
        let rows = |width| Rows::packed(len, width);
        let mut x = backend.buf(len * dim)?;
        for (i, &id) in ids.iter().enumerate() {
            let row = self.shared.chunks_exact(dim).nth(id as usize);
            let row = row
                .ok_or_else(|| Error::Input(format!("token id {id}: it should be below {vocab}, the size of the vocabulary")))?;
            backend.write(&mut x, i * dim, row);
        }
        let (mut qkv, mut att, mut hidden) = (backend.buf(len * 3 * inner)?, backend.buf(len * inner)?, backend.buf(len * ffn)?);
        let (mut projected, mut mixed) = (vec![0.0; len * 3 * inner], vec![0.0; len * inner]);
        for block in &self.blocks {
            backend.linear(&block.qkv, &x, rows(dim), &mut qkv, rows(3 * inner));
            backend.read(&qkv, 0, &mut projected);
            self.attend(&projected, &mut mixed);
            backend.write(&mut att, 0, &mixed);
            backend.linear(&block.out, &att, rows(inner), &mut x, rows(dim));
            backend.linear(&block.up, &x, rows(dim), &mut hidden, rows(ffn));
            backend.linear(&block.down, &hidden, rows(ffn), &mut x, rows(dim));
        }
        let mut data = vec![0.0; len * dim];
        backend.read(&x, 0, &mut data);
        for row in data.chunks_exact_mut(dim) {
            let square = row.iter().map(|v| v * v).sum::<f32>() / dim as f32;
            let scale = 1.0 / (square + self.config.eps).sqrt();
            row.iter_mut().zip(&self.norm).for_each(|(v, w)| *v *= scale * w);
        }
        Ok(Hidden { len, data })
    }

    /// Attention of every token to every token: `qkv` \[len, 3·inner\] to `out` \[len, inner\]. T5 does not
    /// scale the scores.
    fn attend(&self, qkv: &[f32], out: &mut [f32]) {
        let TextConfig { heads, head_dim, buckets, max_distance, .. } = self.config;
        let inner = heads * head_dim;
        let len = out.len() / inner;
        let at = |token: usize, part: usize, head: usize| &qkv[(token * 3 + part) * inner + head * head_dim..][..head_dim];
        let mut weights = vec![0.0f32; len];
        for query in 0..len {
            for head in 0..heads {
                for (key, weight) in weights.iter_mut().enumerate() {
                    let dot: f32 = at(query, 0, head).iter().zip(at(key, 1, head)).map(|(a, b)| a * b).sum();
                    *weight = dot + self.bias[bucket(key as i64 - query as i64, buckets, max_distance) * heads + head];
                }
                let most = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                weights.iter_mut().for_each(|w| *w = (*w - most).exp());
                let total: f32 = weights.iter().sum();
                let row = &mut out[query * inner + head * head_dim..][..head_dim];
                row.fill(0.0);
                for (key, weight) in weights.iter().enumerate() {
                    row.iter_mut().zip(at(key, 2, head)).for_each(|(o, v)| *o += weight / total * v);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn buckets_are_those_of_section_4() {
        let table = [(8, 8), (12, 9), (16, 10), (23, 11), (32, 12), (46, 13), (64, 14), (91, 15)];
        for n in 0..1000 {
            let near = table.iter().rev().find(|row| n >= row.0).map_or(n as usize, |row| row.1);
            assert_eq!(bucket(-n, 32, 128), near, "{n}");
            assert_eq!(bucket(n, 32, 128), near + if n > 0 { 16 } else { 0 }, "{n}");
        }
    }
}
