//! Weights of the transformer in the backend's memory, under the names of docs/reference/model-format.md.

use sideman_kernels::{Act, Backend, Format, Linear, Norm};

use crate::error::Result;
use crate::model::{Config, Tensors};

/// Cross-attention of one layer: `x += out · attend(q · LN(x), k · text, v · text)`.
pub(super) struct Cross<B: Backend> {
    /// [d, d], with norm_cross.
    pub q: Linear<B>,
    /// [d, d], over the projected text.
    pub k: Linear<B>,
    /// [d, d], over the projected text.
    pub v: Linear<B>,
    /// [d, d], adds to the residual.
    pub out: Linear<B>,
}

/// One block of the transformer.
pub(super) struct Layer<B: Backend> {
    /// [3d, d], rows q‖k‖v, with norm1.
    pub qkv: Linear<B>,
    /// [d, d], adds to the residual.
    pub out: Linear<B>,
    /// Absent in a model without text.
    pub cross: Option<Cross<B>>,
    /// [ffn, d], with norm2, GELU.
    pub up: Linear<B>,
    /// [d, ffn], adds to the residual.
    pub down: Linear<B>,
}

/// All weights of the language model.
pub(super) struct Weights<B: Backend> {
    /// Per stream [card + 1, d]; the last row is the special id's.
    pub emb: Vec<B::Mat>,
    /// Per control [card + 1, d]; the last row is the null value's.
    pub controls: Vec<B::Mat>,
    /// In order.
    pub layers: Vec<Layer<B>>,
    /// Heads of all streams, one after another, [Σ cards, d], with out_norm.
    pub heads: Linear<B>,
    /// Text to model: [d, text dim] with bias.
    pub project: Option<Linear<B>>,
}

/// A matrix without bias, norm or activation.
fn plain<B: Backend>(weight: B::Mat) -> Linear<B> {
    Linear { weight, bias: None, norm: None, act: Act::None, add: false }
}

/// A matrix that adds to the residual.
fn adding<B: Backend>(weight: B::Mat) -> Linear<B> {
    Linear { add: true, ..plain(weight) }
}

impl<B: Backend> Weights<B> {
    /// Reads `lm.safetensors`. Matrices are stored in `format`, embedding tables (one row of each is read a
    /// step) in f32 where `format` is f32, else in bf16, as in the house model's file.
    pub fn load(backend: &mut B, config: &Config, mut file: Tensors, format: Format) -> Result<Self> {
        let lm = &config.lm;
        let d = lm.dim;
        let table = if format == Format::F32 { Format::F32 } else { Format::Bf16 };
        let norm = |backend: &mut B, file: &mut Tensors, name: &str| -> Result<Option<Norm<B>>> {
            let weight = file.buf(backend, &format!("{name}.weight"), d)?;
            let bias = file.buf(backend, &format!("{name}.bias"), d)?;
            Ok(Some(Norm { weight, bias: Some(bias), eps: lm.norm_eps }))
        };

        let mut emb = Vec::with_capacity(config.streams.len());
        let mut head_rows = Vec::new();
        for (k, stream) in config.streams.iter().enumerate() {
            emb.push(file.mat(backend, &format!("emb.{k}.weight"), stream.card + 1, d, table)?);
            head_rows.extend(file.get(&format!("linears.{k}.weight"), &[stream.card, d])?);
        }
        let heads = Linear {
            norm: norm(backend, &mut file, "out_norm")?,
            ..plain(backend.mat(head_rows.len() / d, d, &head_rows, format)?)
        };
        let mut controls = Vec::with_capacity(config.controls.len());
        for control in &config.controls {
            controls.push(file.mat(backend, &format!("control.{}.weight", control.name), control.card + 1, d, table)?);
        }

        let mut layers = Vec::with_capacity(lm.layers);
        for n in 0..lm.layers {
            let name = |what: &str| format!("transformer.layers.{n}.{what}");
            let qkv = Linear {
                norm: norm(backend, &mut file, &name("norm1"))?,
                ..plain(file.mat(backend, &name("self_attn.in_proj_weight"), 3 * d, d, format)?)
            };
            let out = adding(file.mat(backend, &name("self_attn.out_proj.weight"), d, d, format)?);
            let cross = match &config.text {
                None => None,
                Some(_) => {
                    let rows = file.get(&name("cross_attention.in_proj_weight"), &[3 * d, d])?;
                    let part = |backend: &mut B, i: usize| backend.mat(d, d, &rows[i * d * d..(i + 1) * d * d], format);
                    Some(Cross {
                        q: Linear { norm: norm(backend, &mut file, &name("norm_cross"))?, ..plain(part(backend, 0)?) },
                        k: plain(part(backend, 1)?),
                        v: plain(part(backend, 2)?),
                        out: adding(file.mat(backend, &name("cross_attention.out_proj.weight"), d, d, format)?),
                    })
                }
            };
            let up = Linear {
                norm: norm(backend, &mut file, &name("norm2"))?,
                act: Act::Gelu,
                ..plain(file.mat(backend, &name("linear1.weight"), lm.ffn, d, format)?)
            };
            let down = adding(file.mat(backend, &name("linear2.weight"), d, lm.ffn, format)?);
            layers.push(Layer { qkv, out, cross, up, down });
        }

        let project = match &config.text {
            None => None,
            Some(text) => {
                let name = "condition_provider.conditioners.description.output_proj";
                let bias = Some(file.buf(backend, &format!("{name}.bias"), d)?);
                // Used once for each text: a smaller format is not worth its error.
                Some(Linear { bias, ..plain(file.mat(backend, &format!("{name}.weight"), d, text.dim, Format::F32)?) })
            }
        };
        file.finish()?;
        Ok(Weights { emb, controls, layers, heads, project })
    }
}
