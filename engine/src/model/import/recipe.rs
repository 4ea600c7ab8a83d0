//! Which tensors of a checkpoint a needed tensor is made of, in either layout of names
//! (docs/explanation/musicgen-stem.md sections 3 to 5), and the conversion.

use super::needed::{NeededTensor, PROJECTION};
use super::source::Source;
use crate::error::{Error, Result};

/// The layout of names in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Audiocraft's names.
    Audiocraft,
    /// The names of Hugging Face transformers.
    HuggingFace,
}

/// What a needed tensor is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Recipe {
    /// One tensor, as it is.
    Copy(String),
    /// Tensors concatenated along the first dimension: q, k and v.
    Concat(Vec<String>),
    /// Weight norm: W = g · v/‖v‖, with the norm over all dimensions except the first.
    WeightNorm { g: String, v: String },
}

impl Recipe {
    /// Names of the tensors that are read.
    pub fn parts(&self) -> Vec<&str> {
        match self {
            Recipe::Copy(name) => vec![name],
            Recipe::Concat(names) => names.iter().map(String::as_str).collect(),
            Recipe::WeightNorm { g, v } => vec![g, v],
        }
    }
}

/// The recipe of a tensor of the language model.
pub fn lm(layout: Layout, name: &str) -> Recipe {
    if layout == Layout::Audiocraft {
        return Recipe::Copy(name.to_owned());
    }
    if let Some(rest) = name.strip_prefix("emb.") {
        return Recipe::Copy(format!("decoder.model.decoder.embed_tokens.{rest}"));
    }
    if let Some(rest) = name.strip_prefix("linears.") {
        return Recipe::Copy(format!("decoder.lm_heads.{rest}"));
    }
    if let Some(rest) = name.strip_prefix("out_norm.") {
        return Recipe::Copy(format!("decoder.model.decoder.layer_norm.{rest}"));
    }
    if let Some(rest) = name.strip_prefix(PROJECTION) {
        return Recipe::Copy(format!("enc_to_dec_proj{rest}"));
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
        Some((_, Some(stem))) => Recipe::Concat(["q", "k", "v"].map(|p| format!("{stem}{p}_proj.weight")).to_vec()),
        Some((whole, None)) => Recipe::Copy(whole.to_owned()),
        None => Recipe::Copy(name.to_owned()),
    }
}

/// The recipe of a tensor of a codec. PyTorch has two sets of names for weight norm; weights can also be
/// plain. `prefix` comes before the names in the checkpoint.
pub fn codec(layout: Layout, prefix: &str, name: &str, source: &Source) -> Recipe {
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
                return Recipe::WeightNorm { g, v };
            }
        }
    }
    Recipe::Copy(theirs)
}

/// The recipe of a tensor of T5. Some checkpoints store the embeddings under their other name only.
pub fn text(prefix: &str, name: &str, source: &Source) -> Recipe {
    let other = format!("{prefix}encoder.embed_tokens.weight");
    let theirs = format!("{prefix}{name}");
    if name == "shared.weight" && source.get(&theirs).is_none() && source.get(&other).is_some() {
        return Recipe::Copy(other);
    }
    Recipe::Copy(theirs)
}

/// Checks that the checkpoint has every tensor of `recipe` with the right shape, and marks them as used.
///
/// # Errors
/// A tensor is missing or has the wrong shape; the error names it.
pub fn check(source: &mut Source, tensor: &NeededTensor, recipe: &Recipe) -> Result<()> {
    let want = |part: usize| -> Vec<usize> {
        match recipe {
            Recipe::Copy(_) => tensor.shape.clone(),
            Recipe::Concat(names) => {
                std::iter::once(tensor.shape[0] / names.len()).chain(tensor.shape[1..].iter().copied()).collect()
            }
            Recipe::WeightNorm { .. } if part == 0 => vec![tensor.shape[0]],
            Recipe::WeightNorm { .. } => tensor.shape.clone(),
        }
    };
    for (i, name) in recipe.parts().into_iter().enumerate() {
        let want = want(i);
        match source.get(name) {
            None => {
                return Err(Error::tensor(source.path(name), name, format!("missing; it should have the shape {want:?}")));
            }
            // Norms and convolutions of kernel size 1 have extra dimensions of size 1 at the end.
            Some(found) if !fits(&found.shape, &want) => {
                return Err(Error::tensor(source.path(name), name, format!("shape {:?}; it should be {want:?}", found.shape)));
            }
            Some(_) => source.mark(name),
        }
    }
    Ok(())
}

/// Whether the shapes are equal, except for dimensions of size 1 at the end of `found`.
fn fits(found: &[usize], want: &[usize]) -> bool {
    found.len() >= want.len() && found[..want.len()] == *want && found[want.len()..].iter().all(|n| *n == 1)
}

/// Reads and converts a needed tensor.
///
/// # Errors
/// A file is truncated, or a value is not finite.
pub fn read(source: &mut Source, recipe: &Recipe) -> Result<Vec<f32>> {
    match recipe {
        Recipe::Copy(name) => source.read(name),
        Recipe::Concat(names) => {
            let mut all = Vec::new();
            for name in names {
                all.extend(source.read(name)?);
            }
            Ok(all)
        }
        Recipe::WeightNorm { g, v } => {
            let (gains, mut values) = (source.read(g)?, source.read(v)?);
            let row = values.len() / gains.len().max(1);
            for (gain, values) in gains.iter().zip(values.chunks_exact_mut(row.max(1))) {
                let norm = values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
                if norm == 0.0 && *gain != 0.0 {
                    return Err(Error::tensor(source.path(v), v, "a row is all zeros, but its gain is not: the file is damaged"));
                }
                let scale = if norm > 0.0 { f64::from(*gain) / norm } else { 0.0 };
                values.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
            }
            Ok(values)
        }
    }
}
