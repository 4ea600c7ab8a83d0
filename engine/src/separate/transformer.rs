//! The transformer between encoder and decoder: layers of self-attention in each branch, and of attention from
//! each branch to the other, in turn.

use sideman_kernels::{
    Act, Backend, Format, GroupNorm, Groups, Heads, LaneText, LayerRows, Linear, Norm, Rows, SeparatorBackend,
};

use super::config::HtdemucsSizes;
use super::load::Loader;
use super::plane::Plane;
use crate::error::Result;
use crate::model::upload;

/// Longest wavelength of the positions, in steps / 2π.
const PERIOD: f64 = 10_000.0;

/// Gets the number of a layer, and the tokens of both branches after it.
pub type LayerProbe<'a, B> = &'a mut dyn FnMut(&mut B, usize, &[<B as Backend>::Buf; 2]);

/// Weights of the transformer, for the frequency branch (0) and the time branch (1).
pub struct Transformer<B: SeparatorBackend> {
    branches: [Branch<B>; 2],
    sizes: HtdemucsSizes,
}

struct Branch<B: SeparatorBackend> {
    tokens: usize,
    norm_in: Norm<B>,
    /// [tokens, dim], added after the norm.
    positions: B::Buf,
    layers: Vec<Layer<B>>,
}

struct Layer<B: SeparatorBackend> {
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    /// With the layer scale; adds.
    output: Linear<B>,
    up: Linear<B>,
    /// With the layer scale; adds.
    down: Linear<B>,
    /// Over all tokens and channels.
    norm_out: GroupNorm<B>,
    /// Attends to the other branch.
    is_cross: bool,
}

/// Buffers of the transformer.
pub struct TransformerState<B: SeparatorBackend> {
    /// Activations of each branch [tokens, dim].
    pub x: [B::Buf; 2],
    /// What the queries of each branch attend to.
    seen: [B::Kv; 2],
    /// Queries, keys or values of a branch, and the result of attention [tokens, dim].
    a: B::Buf,
    b: B::Buf,
    /// [tokens, ffn].
    wide: B::Buf,
}

/// Sines and cosines of a frame's and a band's number [frames · bands, dim]: the first half of the channels is
/// (sin, cos) of the frame, the second of the band.
fn positions_2d(plane: Plane, dim: usize) -> Vec<f32> {
    let half = dim / 2;
    let mut all = vec![0.0; plane.all() * dim];
    for (token, row) in all.chunks_exact_mut(dim).enumerate() {
        let (frame, band) = (token / plane.rows, token % plane.rows);
        for (row, at) in row.chunks_exact_mut(half).zip([frame, band]) {
            for (i, pair) in row.chunks_exact_mut(2).enumerate() {
                let phase = at as f64 * PERIOD.powf(-2.0 * i as f64 / half as f64);
                (pair[0], pair[1]) = (phase.sin() as f32, phase.cos() as f32);
            }
        }
    }
    all
}

/// Cosines, then sines, of a step's number [steps, dim].
fn positions_1d(steps: usize, dim: usize) -> Vec<f32> {
    let half = dim / 2;
    let mut all = vec![0.0; steps * dim];
    for (step, row) in all.chunks_exact_mut(dim).enumerate() {
        let (cos, sin) = row.split_at_mut(half);
        for (k, (cos, sin)) in cos.iter_mut().zip(sin).enumerate() {
            let phase = step as f64 / PERIOD.powf(k as f64 / (half.max(2) - 1) as f64);
            (*cos, *sin) = (phase.cos() as f32, phase.sin() as f32);
        }
    }
    all
}

impl<B: SeparatorBackend> Transformer<B> {
    /// Loads `crosstransformer`. `plane`: frames and bands of the frequency branch; `steps` of the time branch.
    pub fn load(from: &mut Loader<B>, sizes: &HtdemucsSizes, plane: Plane, steps: usize) -> Result<Self> {
        let dim = sizes.dim();
        let mut branch = |suffix: &str, positions: Vec<f32>| -> Result<Branch<B>> {
            let norm_in = from.norm(&format!("crosstransformer.norm_in{suffix}"), dim)?;
            let layers =
                (0..sizes.layers).map(|n| Layer::load(from, &format!("crosstransformer.layers{suffix}.{n}"), sizes, n % 2 == 1));
            let layers = layers.collect::<Result<_>>()?;
            Ok(Branch { tokens: positions.len() / dim, norm_in, positions: upload(from.backend, &positions)?, layers })
        };
        let branches = [branch("", positions_2d(plane, dim))?, branch("_t", positions_1d(steps, dim))?];
        Ok(Transformer { branches, sizes: sizes.clone() })
    }

    /// Buffers for one segment.
    pub fn state(&self, backend: &mut B) -> Result<TransformerState<B>> {
        let (dim, [f, t]) = (self.sizes.dim(), [0, 1].map(|b: usize| self.branches[b].tokens));
        let most = f.max(t);
        let heads = Heads { heads: self.sizes.heads, head_dim: dim / self.sizes.heads };
        Ok(TransformerState {
            x: [backend.buf(f * dim)?, backend.buf(t * dim)?],
            seen: [backend.kv(1, 1, most, heads, Format::F32)?, backend.kv(1, 1, most, heads, Format::F32)?],
            a: backend.buf(most * dim)?,
            b: backend.buf(most * dim)?,
            wide: backend.buf(most * self.sizes.ffn)?,
        })
    }

    /// Changes both branches in `state.x`.
    pub fn run(&self, backend: &mut B, state: &mut TransformerState<B>, probe: LayerProbe<'_, B>) {
        let dim = self.sizes.dim();
        let TransformerState { x, seen, a, b, wide } = state;
        for (branch, x) in self.branches.iter().zip(x.iter_mut()) {
            let len = branch.tokens * dim;
            backend.norm_rows(&branch.norm_in, x, branch.tokens, dim, a);
            backend.add(&branch.positions, 0, a, 0, len);
            backend.copy(a, Rows::packed(1, len), x, Rows::packed(1, len), len);
        }
        for n in 0..self.sizes.layers {
            // Keys and values of both branches come from what is there before the layer.
            for (own, seen) in seen.iter_mut().enumerate() {
                let layer = &self.branches[own].layers[n];
                let from = if layer.is_cross { 1 - own } else { own };
                let tokens = self.branches[from].tokens;
                let rows = Rows::packed(tokens, dim);
                backend.linear(&layer.key, &x[from], rows, a, rows);
                backend.linear(&layer.value, &x[from], rows, b, rows);
                backend.set_text(seen, LaneText { layer: 0, lane: 0, len: tokens }, a, b);
            }
            for (own, (x, seen)) in x.iter_mut().zip(seen.iter()).enumerate() {
                let Branch { tokens, layers, .. } = &self.branches[own];
                let (layer, tokens, rows) = (&layers[n], *tokens, Rows::packed(*tokens, dim));
                backend.linear(&layer.query, x, rows, a, rows);
                backend.attend_text(a, LayerRows { layer: 0, lanes: 1, n: tokens }, seen, b);
                backend.linear(&layer.output, b, rows, x, rows);
                backend.linear(&layer.up, x, rows, wide, Rows::packed(tokens, self.sizes.ffn));
                backend.linear(&layer.down, wide, Rows::packed(tokens, self.sizes.ffn), x, rows);
                backend.group_norm(&layer.norm_out, Groups { groups: 1, rows: tokens, width: dim }, false, x);
            }
            probe(backend, n, x);
        }
    }
}

impl<B: SeparatorBackend> Layer<B> {
    fn load(from: &mut Loader<B>, name: &str, sizes: &HtdemucsSizes, is_cross: bool) -> Result<Self> {
        let (dim, ffn) = (sizes.dim(), sizes.ffn);
        let attention = if is_cross { "cross_attn" } else { "self_attn" };
        let weight = from.get(&format!("{name}.{attention}.in_proj_weight"), &[3 * dim, dim])?;
        let bias = from.get(&format!("{name}.{attention}.in_proj_bias"), &[3 * dim])?;
        // Queries come from this branch; keys and values of cross-attention from the other one, with a norm of
        // their own.
        let (of_keys, of_ffn) = if is_cross { ("norm2", "norm3") } else { ("norm1", "norm2") };
        let mut part = |i: usize, norm: &str| -> Result<Linear<B>> {
            let norm = Some(from.norm(&format!("{name}.{norm}"), dim)?);
            let weight = &weight[i * dim * dim..(i + 1) * dim * dim];
            Ok(Linear { norm, ..from.linear(dim, dim, weight, Some(&bias[i * dim..(i + 1) * dim]))? })
        };
        let (query, key, value) = (part(0, "norm1")?, part(1, of_keys)?, part(2, of_keys)?);
        let up = from.point(&format!("{name}.linear1"), ffn, dim, 0)?;
        Ok(Layer {
            query,
            key,
            value,
            output: Self::scaled(from, &format!("{name}.{attention}.out_proj"), &format!("{name}.gamma_1.scale"), (dim, dim))?,
            up: Linear { norm: Some(from.norm(&format!("{name}.{of_ffn}"), dim)?), act: Act::Gelu, ..up },
            down: Self::scaled(from, &format!("{name}.linear2"), &format!("{name}.gamma_2.scale"), (dim, ffn))?,
            norm_out: from.group_norm(&format!("{name}.norm_out"), dim)?,
            is_cross,
        })
    }

    /// A product that adds, with its outputs times the layer scale.
    fn scaled(from: &mut Loader<B>, name: &str, scale: &str, (rows, cols): (usize, usize)) -> Result<Linear<B>> {
        let mut weight = from.get(&format!("{name}.weight"), &[rows, cols])?;
        let mut bias = from.get(&format!("{name}.bias"), &[rows])?;
        let scale = from.get(scale, &[rows])?;
        weight.chunks_exact_mut(cols).zip(&scale).for_each(|(row, s)| row.iter_mut().for_each(|w| *w *= s));
        bias.iter_mut().zip(&scale).for_each(|(b, s)| *b *= s);
        Ok(Linear { add: true, ..from.linear(rows, cols, &weight, Some(&bias))? })
    }
}
