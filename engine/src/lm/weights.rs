//! Weights of the transformer in the player's memory, under the names of docs/model-format.md.

use sideman_kernels::{Act, Format, Linear, Norm, Ops};

use crate::error::Result;
use crate::model::{Config, Tensors};

/// Cross-attention of one layer: `x += out · attend(q · LN(x), k · text, v · text)`.
pub(super) struct Cross<O: Ops> {
    /// [d, d], with norm_cross.
    pub q: Linear<O>,
    /// [d, d], over the projected text.
    pub k: Linear<O>,
    /// [d, d], over the projected text.
    pub v: Linear<O>,
    /// [d, d], adds to the residual.
    pub out: Linear<O>,
}

/// One block of the transformer.
pub(super) struct Layer<O: Ops> {
    /// [3d, d], rows q‖k‖v, with norm1.
    pub qkv: Linear<O>,
    /// [d, d], adds to the residual.
    pub out: Linear<O>,
    /// Absent in a model without text.
    pub cross: Option<Cross<O>>,
    /// [ffn, d], with norm2, GELU.
    pub up: Linear<O>,
    /// [d, ffn], adds to the residual.
    pub down: Linear<O>,
}

/// All weights of the language model.
pub(super) struct Weights<O: Ops> {
    /// Per stream [card + 1, d]; the last row is the special id's.
    pub emb: Vec<O::Mat>,
    /// Per control [card + 1, d]; the last row is the null value's.
    pub controls: Vec<O::Mat>,
    /// In order.
    pub layers: Vec<Layer<O>>,
    /// All streams' heads one under another, [Σ cards, d], with out_norm.
    pub heads: Linear<O>,
    /// Text to model: [d, text dim] with bias.
    pub project: Option<Linear<O>>,
}

/// A matrix without bias, norm or activation.
fn plain<O: Ops>(weight: O::Mat) -> Linear<O> {
    Linear { weight, bias: None, norm: None, act: Act::None, add: false }
}

/// A matrix that adds to the residual.
fn adding<O: Ops>(weight: O::Mat) -> Linear<O> {
    Linear { add: true, ..plain(weight) }
}

impl<O: Ops> Weights<O> {
    /// Reads `lm.safetensors`. Matrices are kept in `format`; tables of embeddings (one row of each is read a step) in
    /// f32 where that is f32, else in bf16, which is how the house model stores them.
    pub fn load(ops: &mut O, config: &Config, mut file: Tensors, format: Format) -> Result<Self> {
        let lm = &config.lm;
        let d = lm.dim;
        let table = if format == Format::F32 { Format::F32 } else { Format::Bf16 };
        let norm = |ops: &mut O, file: &mut Tensors, name: &str| -> Result<Option<Norm<O>>> {
            let weight = file.buf(ops, &format!("{name}.weight"), d)?;
            let bias = file.buf(ops, &format!("{name}.bias"), d)?;
            Ok(Some(Norm { weight, bias: Some(bias), eps: lm.norm_eps }))
        };

        let mut emb = Vec::with_capacity(config.streams.len());
        let mut head_rows = Vec::new();
        for (k, stream) in config.streams.iter().enumerate() {
            emb.push(file.mat(ops, &format!("emb.{k}.weight"), stream.card + 1, d, table)?);
            head_rows.extend(file.get(&format!("linears.{k}.weight"), &[stream.card, d])?);
        }
        let heads =
            Linear { norm: norm(ops, &mut file, "out_norm")?, ..plain(ops.mat(head_rows.len() / d, d, &head_rows, format)?) };
        let mut controls = Vec::with_capacity(config.controls.len());
        for control in &config.controls {
            controls.push(file.mat(ops, &format!("control.{}.weight", control.name), control.card + 1, d, table)?);
        }

        let mut layers = Vec::with_capacity(lm.layers);
        for n in 0..lm.layers {
            let name = |what: &str| format!("transformer.layers.{n}.{what}");
            let qkv = Linear {
                norm: norm(ops, &mut file, &name("norm1"))?,
                ..plain(file.mat(ops, &name("self_attn.in_proj_weight"), 3 * d, d, format)?)
            };
            let out = adding(file.mat(ops, &name("self_attn.out_proj.weight"), d, d, format)?);
            let cross = match &config.text {
                None => None,
                Some(_) => {
                    let rows = file.get(&name("cross_attention.in_proj_weight"), &[3 * d, d])?;
                    let part = |ops: &mut O, i: usize| ops.mat(d, d, &rows[i * d * d..(i + 1) * d * d], format);
                    Some(Cross {
                        q: Linear { norm: norm(ops, &mut file, &name("norm_cross"))?, ..plain(part(ops, 0)?) },
                        k: plain(part(ops, 1)?),
                        v: plain(part(ops, 2)?),
                        out: adding(file.mat(ops, &name("cross_attention.out_proj.weight"), d, d, format)?),
                    })
                }
            };
            let up = Linear {
                norm: norm(ops, &mut file, &name("norm2"))?,
                act: Act::Gelu,
                ..plain(file.mat(ops, &name("linear1.weight"), lm.ffn, d, format)?)
            };
            let down = adding(file.mat(ops, &name("linear2.weight"), d, lm.ffn, format)?);
            layers.push(Layer { qkv, out, cross, up, down });
        }

        let project = match &config.text {
            None => None,
            Some(text) => {
                let name = "condition_provider.conditioners.description.output_proj";
                let bias = Some(file.buf(ops, &format!("{name}.bias"), d)?);
                // Used once a text: not worth a coarse format.
                Some(Linear { bias, ..plain(file.mat(ops, &format!("{name}.weight"), d, text.dim, Format::F32)?) })
            }
        };
        file.finish()?;
        Ok(Weights { emb, controls, layers, heads, project })
    }
}
