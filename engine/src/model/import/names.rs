//! Which tensors a model has (docs/reference/model-format.md), and what they are called in checkpoints of either layout
//! (docs/explanation/musicgen-stem.md sections 3 to 5).

use super::source::Source;
use crate::error::{Error, Result};
use crate::model::{Config, QuantizerKind, SeanetConfig, TextConfig};

/// Whose names a checkpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// audiocraft's.
    Audiocraft,
    /// Hugging Face transformers'.
    HuggingFace,
}

/// How a tensor may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A matrix of the language model: may be quantized.
    Matrix,
    /// A table or projection of which little is read a step: at most halved.
    Table,
    /// A vector of the language model.
    Vector,
    /// T5's: as it is.
    Text,
    /// A codec's: always f32.
    Codec,
}

/// A tensor that the model directory needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// Its name in the directory.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// How it may be stored.
    pub role: Role,
}

/// What a needed tensor is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Take {
    /// One tensor.
    One(String),
    /// Tensors one under another: q, k and v.
    Rows(Vec<String>),
    /// Weight norm: W = g · v/‖v‖, the norm over all dimensions but the first.
    Norm { g: String, v: String },
}

impl Take {
    /// The tensors that it reads.
    pub fn parts(&self) -> Vec<&str> {
        match self {
            Take::One(name) => vec![name],
            Take::Rows(names) => names.iter().map(String::as_str).collect(),
            Take::Norm { g, v } => vec![g, v],
        }
    }
}

/// Collects the needs of one file.
struct Needs(Vec<Need>);

impl Needs {
    fn add(&mut self, name: impl Into<String>, shape: &[usize], role: Role) {
        self.0.push(Need { name: name.into(), shape: shape.to_vec(), role });
    }

    fn pair(&mut self, name: &str, weight: &[usize], bias: usize, role: Role) {
        self.add(format!("{name}.weight"), weight, role);
        self.add(format!("{name}.bias"), &[bias], role);
    }
}

/// Prefix of the projection of the text.
const PROJECTION: &str = "condition_provider.conditioners.description.output_proj";

/// Tensors of `lm.safetensors`.
pub fn lm(config: &Config) -> Vec<Need> {
    let (d, ffn) = (config.lm.dim, config.lm.ffn);
    let mut needs = Needs(Vec::new());
    for (k, stream) in config.streams.iter().enumerate() {
        needs.add(format!("emb.{k}.weight"), &[stream.card + 1, d], Role::Table);
        needs.add(format!("linears.{k}.weight"), &[stream.card, d], Role::Matrix);
    }
    for n in 0..config.lm.layers {
        let name = |what: &str| format!("transformer.layers.{n}.{what}");
        let mut attention = |norm: &str, what: &str| {
            needs.pair(&name(norm), &[d], d, Role::Vector);
            needs.add(name(&format!("{what}.in_proj_weight")), &[3 * d, d], Role::Matrix);
            needs.add(name(&format!("{what}.out_proj.weight")), &[d, d], Role::Matrix);
        };
        attention("norm1", "self_attn");
        if config.text.is_some() {
            attention("norm_cross", "cross_attention");
        }
        needs.pair(&name("norm2"), &[d], d, Role::Vector);
        needs.add(name("linear1.weight"), &[ffn, d], Role::Matrix);
        needs.add(name("linear2.weight"), &[d, ffn], Role::Matrix);
    }
    needs.pair("out_norm", &[d], d, Role::Vector);
    if let Some(text) = &config.text {
        needs.add(format!("{PROJECTION}.weight"), &[d, text.dim], Role::Table);
        needs.add(format!("{PROJECTION}.bias"), &[d], Role::Vector);
    }
    needs.0
}

/// True for what only a model with text needs, under our names.
pub fn cross(name: &str) -> bool {
    name.contains(".cross_attention.") || name.contains(".norm_cross.") || name.starts_with(PROJECTION)
}

/// Tensors of `text.safetensors`; the names are T5's own.
pub fn text(config: &TextConfig) -> Vec<Need> {
    let (d, inner, ffn) = (config.dim, config.heads * config.head_dim, config.ffn);
    let mut needs = Needs(Vec::new());
    needs.add("shared.weight", &[config.vocab, d], Role::Text);
    let table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    needs.add(table, &[config.buckets, config.heads], Role::Text);
    for n in 0..config.layers {
        for part in ["q", "k", "v"] {
            needs.add(format!("encoder.block.{n}.layer.0.SelfAttention.{part}.weight"), &[inner, d], Role::Text);
        }
        needs.add(format!("encoder.block.{n}.layer.0.SelfAttention.o.weight"), &[d, inner], Role::Text);
        needs.add(format!("encoder.block.{n}.layer.0.layer_norm.weight"), &[d], Role::Text);
        needs.add(format!("encoder.block.{n}.layer.1.DenseReluDense.wi.weight"), &[ffn, d], Role::Text);
        needs.add(format!("encoder.block.{n}.layer.1.DenseReluDense.wo.weight"), &[d, ffn], Role::Text);
        needs.add(format!("encoder.block.{n}.layer.1.layer_norm.weight"), &[d], Role::Text);
    }
    needs.add("encoder.final_layer_norm.weight", &[d], Role::Text);
    needs.0
}

/// Tensors of `codec.STEM.safetensors` of kind seanet (docs/explanation/musicgen-stem.md 3.3, 3.4, 3.7).
pub fn codec(c: &SeanetConfig) -> Vec<Need> {
    let mut needs = Needs(Vec::new());
    let mut conv = |name: String, output: usize, input: usize, kernel: usize| {
        needs.pair(&format!("{name}.conv.conv"), &[output, input, kernel], output, Role::Codec);
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
        needs.pair(&format!("decoder.model.{m}.convtr.convtr"), &[width, width / 2, 2 * ratio], width / 2, Role::Codec);
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
                needs.add(format!("{name}.{part}_l{layer}"), &shape, Role::Codec);
            }
        }
    }
    for q in 0..c.books {
        match (c.quantizer, c.code_dim) {
            (QuantizerKind::Factorised, Some(code_dim)) => {
                let name = format!("quantizer.vq.quantizers.{q}");
                needs.pair(&format!("{name}.in_proj"), &[code_dim, c.dim], code_dim, Role::Codec);
                needs.pair(&format!("{name}.out_proj"), &[c.dim, code_dim], c.dim, Role::Codec);
                needs.add(format!("{name}.codebook.weight"), &[c.card, code_dim], Role::Codec);
            }
            _ => needs.add(format!("quantizer.vq.layers.{q}._codebook.embed"), &[c.card, c.dim], Role::Codec),
        }
    }
    needs.0
}

/// What a tensor of the language model is made of.
pub fn take_lm(layout: Layout, name: &str) -> Take {
    if layout == Layout::Audiocraft {
        return Take::One(name.to_owned());
    }
    if let Some(rest) = name.strip_prefix("emb.") {
        return Take::One(format!("decoder.model.decoder.embed_tokens.{rest}"));
    }
    if let Some(rest) = name.strip_prefix("linears.") {
        return Take::One(format!("decoder.lm_heads.{rest}"));
    }
    if let Some(rest) = name.strip_prefix("out_norm.") {
        return Take::One(format!("decoder.model.decoder.layer_norm.{rest}"));
    }
    if let Some(rest) = name.strip_prefix(PROJECTION) {
        return Take::One(format!("enc_to_dec_proj{rest}"));
    }
    let parts = [
        ("self_attn.", "self_attn."),
        ("cross_attention.", "encoder_attn."),
        ("norm1.", "self_attn_layer_norm."),
        ("norm_cross.", "encoder_attn_layer_norm."),
        ("norm2.", "final_layer_norm."),
        ("linear1.", "fc1."),
        ("linear2.", "fc2."),
    ];
    let layer = name.strip_prefix("transformer.").and_then(|rest| {
        let (ours, theirs) = parts.iter().find(|(ours, _)| rest.contains(&format!(".{ours}")))?;
        Some(format!("decoder.model.decoder.{}", rest.replacen(ours, theirs, 1)))
    });
    match layer.as_deref().map(|l| (l, l.strip_suffix("in_proj_weight"))) {
        Some((_, Some(stem))) => Take::Rows(["q", "k", "v"].map(|p| format!("{stem}{p}_proj.weight")).to_vec()),
        Some((whole, None)) => Take::One(whole.to_owned()),
        None => Take::One(name.to_owned()),
    }
}

/// What a tensor of a codec is made of: weight norm of either age, or a plain weight. `prefix` comes before their names.
pub fn take_codec(layout: Layout, prefix: &str, name: &str, source: &Source) -> Take {
    let theirs = match layout {
        Layout::Audiocraft => format!("{prefix}{name}"),
        Layout::HuggingFace => {
            let name = name.replacen("coder.model.", "coder.layers.", 1).replacen(".conv.conv.", ".conv.", 1);
            let name = name.replacen(".convtr.convtr.", ".conv.", 1).replacen("quantizer.vq.layers.", "quantizer.layers.", 1);
            format!("{prefix}{}", name.replacen("._codebook.", ".codebook.", 1))
        }
    };
    if let Some(stem) = theirs.strip_suffix("weight").filter(|_| !theirs.contains("codebook")) {
        for (g, v) in [("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")] {
            let (g, v) = (format!("{stem}{g}"), format!("{stem}{v}"));
            if source.get(&g).is_some() || source.get(&v).is_some() {
                return Take::Norm { g, v };
            }
        }
    }
    Take::One(theirs)
}

/// What a tensor of T5 is made of: the table may be stored under its other name only.
pub fn take_text(prefix: &str, name: &str, source: &Source) -> Take {
    let other = format!("{prefix}encoder.embed_tokens.weight");
    let theirs = format!("{prefix}{name}");
    if name == "shared.weight" && source.get(&theirs).is_none() && source.get(&other).is_some() {
        return Take::One(other);
    }
    Take::One(theirs)
}

/// Checks that every tensor of `take` is there with the shape that `need` asks for, and marks it as used.
///
/// # Errors
/// Names the tensor that is missing or misshapen.
pub fn check(source: &mut Source, need: &Need, take: &Take) -> Result<()> {
    let want = |part: usize| -> Vec<usize> {
        match take {
            Take::One(_) => need.shape.clone(),
            Take::Rows(names) => std::iter::once(need.shape[0] / names.len()).chain(need.shape[1..].iter().copied()).collect(),
            Take::Norm { .. } if part == 0 => vec![need.shape[0]],
            Take::Norm { .. } => need.shape.clone(),
        }
    };
    for (i, name) in take.parts().into_iter().enumerate() {
        let want = want(i);
        match source.get(name) {
            None => {
                return Err(Error::tensor(
                    source.path(name),
                    name,
                    format!("missing; the model needs it with the shape {want:?}"),
                ));
            }
            // Convolutions of one tap and norms have ones at the end that say nothing.
            Some(found) if !fits(&found.shape, &want) => {
                return Err(Error::tensor(source.path(name), name, format!("shape {:?}; it should be {want:?}", found.shape)));
            }
            Some(_) => source.mark(name),
        }
    }
    Ok(())
}

/// Equal but for ones at the end of `found`.
fn fits(found: &[usize], want: &[usize]) -> bool {
    found.len() >= want.len() && found[..want.len()] == *want && found[want.len()..].iter().all(|n| *n == 1)
}

/// A needed tensor's values, in f32.
///
/// # Errors
/// A file was cut short, or a value is not finite.
pub fn read(source: &mut Source, take: &Take) -> Result<Vec<f32>> {
    match take {
        Take::One(name) => source.read(name),
        Take::Rows(names) => {
            let mut all = Vec::new();
            for name in names {
                all.extend(source.read(name)?);
            }
            Ok(all)
        }
        Take::Norm { g, v } => {
            let (gains, mut values) = (source.read(g)?, source.read(v)?);
            let row = values.len() / gains.len().max(1);
            for (gain, values) in gains.iter().zip(values.chunks_exact_mut(row.max(1))) {
                let norm = values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
                if norm == 0.0 && *gain != 0.0 {
                    return Err(Error::tensor(source.path(v), v, "a row of zeros has no direction: the file is damaged"));
                }
                let scale = if norm > 0.0 { f64::from(*gain) / norm } else { 0.0 };
                values.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
            }
            Ok(values)
        }
    }
}
