//! The tensors that a model directory needs, with their shapes (docs/reference/model-format.md).

use crate::model::{Config, QuantizerKind, SeanetConfig, TextConfig};

/// How a tensor can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A matrix of the language model: can be quantized.
    Matrix,
    /// A table or projection of which a step reads little: not quantized, at most rounded to bf16.
    Table,
    /// A vector of the language model.
    Vector,
    /// A tensor of T5: stored as it is.
    Text,
    /// A tensor of a codec: always f32.
    Codec,
}

/// A tensor that a model directory needs.
#[derive(Debug, Clone, PartialEq)]
pub struct NeededTensor {
    /// Name in the directory.
    pub name: String,
    /// Shape in the directory.
    pub shape: Vec<usize>,
    /// How it can be stored.
    pub role: Role,
}

/// Collects the tensors of a file.
struct List(Vec<NeededTensor>);

impl List {
    fn add(&mut self, name: impl Into<String>, shape: &[usize], role: Role) {
        self.0.push(NeededTensor { name: name.into(), shape: shape.to_vec(), role });
    }

    fn pair(&mut self, name: &str, weight: &[usize], bias: usize, role: Role) {
        self.add(format!("{name}.weight"), weight, role);
        self.add(format!("{name}.bias"), &[bias], role);
    }
}

/// Prefix of the projection of the text's hidden states.
pub const PROJECTION: &str = "condition_provider.conditioners.description.output_proj";

/// Tensors of `lm.safetensors`.
pub fn lm(config: &Config) -> Vec<NeededTensor> {
    let (d, ffn) = (config.lm.dim, config.lm.ffn);
    let mut list = List(Vec::new());
    for (k, stream) in config.streams.iter().enumerate() {
        list.add(format!("emb.{k}.weight"), &[stream.card + 1, d], Role::Table);
        list.add(format!("linears.{k}.weight"), &[stream.card, d], Role::Matrix);
    }
    for n in 0..config.lm.layers {
        let name = |what: &str| format!("transformer.layers.{n}.{what}");
        let mut attention = |norm: &str, what: &str| {
            list.pair(&name(norm), &[d], d, Role::Vector);
            list.add(name(&format!("{what}.in_proj_weight")), &[3 * d, d], Role::Matrix);
            list.add(name(&format!("{what}.out_proj.weight")), &[d, d], Role::Matrix);
        };
        attention("norm1", "self_attn");
        if config.text.is_some() {
            attention("norm_cross", "cross_attention");
        }
        list.pair(&name("norm2"), &[d], d, Role::Vector);
        list.add(name("linear1.weight"), &[ffn, d], Role::Matrix);
        list.add(name("linear2.weight"), &[d, ffn], Role::Matrix);
    }
    list.pair("out_norm", &[d], d, Role::Vector);
    if let Some(text) = &config.text {
        list.add(format!("{PROJECTION}.weight"), &[d, text.dim], Role::Table);
        list.add(format!("{PROJECTION}.bias"), &[d], Role::Vector);
    }
    list.0
}

/// True for the names of tensors that only a model with text has.
pub fn only_with_text(name: &str) -> bool {
    name.contains(".cross_attention.") || name.contains(".norm_cross.") || name.starts_with(PROJECTION)
}

/// Tensors of `text.safetensors`, with T5's own names.
pub fn text(config: &TextConfig) -> Vec<NeededTensor> {
    let (d, inner, ffn) = (config.dim, config.heads * config.head_dim, config.ffn);
    let mut list = List(Vec::new());
    list.add("shared.weight", &[config.vocab, d], Role::Text);
    let table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    list.add(table, &[config.buckets, config.heads], Role::Text);
    for n in 0..config.layers {
        for part in ["q", "k", "v"] {
            list.add(format!("encoder.block.{n}.layer.0.SelfAttention.{part}.weight"), &[inner, d], Role::Text);
        }
        list.add(format!("encoder.block.{n}.layer.0.SelfAttention.o.weight"), &[d, inner], Role::Text);
        list.add(format!("encoder.block.{n}.layer.0.layer_norm.weight"), &[d], Role::Text);
        list.add(format!("encoder.block.{n}.layer.1.DenseReluDense.wi.weight"), &[ffn, d], Role::Text);
        list.add(format!("encoder.block.{n}.layer.1.DenseReluDense.wo.weight"), &[d, ffn], Role::Text);
        list.add(format!("encoder.block.{n}.layer.1.layer_norm.weight"), &[d], Role::Text);
    }
    list.add("encoder.final_layer_norm.weight", &[d], Role::Text);
    list.0
}

/// Tensors of `codec.STEM.safetensors` of kind seanet (docs/explanation/musicgen-stem.md 3.3, 3.4, 3.7).
pub fn codec(c: &SeanetConfig) -> Vec<NeededTensor> {
    let mut list = List(Vec::new());
    let mut conv = |name: String, output: usize, input: usize, kernel: usize| {
        list.pair(&format!("{name}.conv.conv"), &[output, input, kernel], output, Role::Codec);
    };
    let (mut width, mut n) = (c.filters, 1);
    let block = |conv: &mut dyn FnMut(String, usize, usize, usize), name: String, width: usize| {
        conv(format!("{name}.block.1"), width / c.compress, width, c.residual_kernel);
        conv(format!("{name}.block.3"), width, width / c.compress, 1);
    };
    conv("encoder.model.0".into(), width, c.channels, c.kernel);
    for ratio in c.ratios.iter().rev() {
        block(&mut conv, format!("encoder.model.{n}"), width);
        conv(format!("encoder.model.{}", n + 2), 2 * width, width, 2 * ratio);
        (width, n) = (2 * width, n + 3);
    }
    conv(format!("encoder.model.{}", n + 2), c.dim, width, c.last_kernel);
    conv("decoder.model.0".into(), width, c.dim, c.kernel);
    let (wide, bottom, mut m) = (width, n, 3);
    for _ in &c.ratios {
        block(&mut conv, format!("decoder.model.{}", m + 1), width / 2);
        (width, m) = (width / 2, m + 3);
    }
    conv(format!("decoder.model.{m}"), c.channels, width, c.last_kernel);
    let (mut width, mut m) = (wide, 3);
    for ratio in &c.ratios {
        list.pair(&format!("decoder.model.{m}.convtr.convtr"), &[width, width / 2, 2 * ratio], width / 2, Role::Codec);
        (width, m) = (width / 2, m + 3);
    }
    for name in [format!("encoder.model.{bottom}.lstm"), "decoder.model.1.lstm".into()] {
        for layer in 0..c.lstm {
            for (part, shape) in [
                ("weight_ih", vec![4 * wide, wide]),
                ("weight_hh", vec![4 * wide, wide]),
                ("bias_ih", vec![4 * wide]),
                ("bias_hh", vec![4 * wide]),
            ] {
                list.add(format!("{name}.{part}_l{layer}"), &shape, Role::Codec);
            }
        }
    }
    for q in 0..c.books {
        match (c.quantizer, c.code_dim) {
            (QuantizerKind::Factorised, Some(code_dim)) => {
                let name = format!("quantizer.vq.quantizers.{q}");
                list.pair(&format!("{name}.in_proj"), &[code_dim, c.dim], code_dim, Role::Codec);
                list.pair(&format!("{name}.out_proj"), &[c.dim, code_dim], c.dim, Role::Codec);
                list.add(format!("{name}.codebook.weight"), &[c.card, code_dim], Role::Codec);
            }
            _ => list.add(format!("quantizer.vq.layers.{q}._codebook.embed"), &[c.card, c.dim], Role::Codec),
        }
    }
    list.0
}
