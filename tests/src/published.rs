//! The tensor names, shapes and configurations of the published MusicGen-Stem checkpoints (docs/explanation/musicgen-stem.md sections 3
//! to 5), at any size.

use crate::checkpoint::{Data, Tensor};

/// A language model's tensors (section 5), all zeros.
pub fn lm(streams: usize, d: usize, layers: usize) -> Vec<Tensor> {
    let mut all: Vec<(String, Vec<usize>)> = Vec::new();
    for k in 0..streams {
        all.push((format!("emb.{k}.weight"), vec![2049, d]));
        all.push((format!("linears.{k}.weight"), vec![2048, d]));
    }
    for n in 0..layers {
        let mut put = |what: &str, shape: &[usize]| all.push((format!("transformer.layers.{n}.{what}"), shape.to_vec()));
        for what in ["norm1.weight", "norm1.bias", "norm_cross.weight", "norm_cross.bias", "norm2.weight", "norm2.bias"] {
            put(what, &[d]);
        }
        for what in ["self_attn", "cross_attention"] {
            put(&format!("{what}.in_proj_weight"), &[3 * d, d]);
            put(&format!("{what}.out_proj.weight"), &[d, d]);
        }
        put("linear1.weight", &[4 * d, d]);
        put("linear2.weight", &[d, 4 * d]);
    }
    let project = "condition_provider.conditioners.description.output_proj";
    for (name, shape) in [("out_norm.weight", vec![d]), ("out_norm.bias", vec![d])] {
        all.push((name.into(), shape));
    }
    all.push((format!("{project}.weight"), vec![d, 768]));
    all.push((format!("{project}.bias"), vec![d]));
    all.into_iter().map(|(name, shape)| Tensor { name, shape, data: Data::Sparse }).collect()
}

/// A codec's tensors (sections 3.3, 3.4 and 3.7), all zeros.
pub fn codec(books: usize, factorised: bool) -> Vec<Tensor> {
    let mut all: Vec<(String, Vec<usize>)> = Vec::new();
    let mut conv = |name: &str, shape: [usize; 3], bias: usize| {
        all.push((format!("{name}.weight_v"), shape.to_vec()));
        all.push((format!("{name}.weight_g"), vec![shape[0], 1, 1]));
        all.push((format!("{name}.bias"), vec![bias]));
    };
    let plain = [
        ("encoder.model.0", [64, 1, 7]),
        ("encoder.model.1.block.1", [32, 64, 3]),
        ("encoder.model.1.block.3", [64, 32, 1]),
        ("encoder.model.3", [128, 64, 8]),
        ("encoder.model.4.block.1", [64, 128, 3]),
        ("encoder.model.4.block.3", [128, 64, 1]),
        ("encoder.model.6", [256, 128, 8]),
        ("encoder.model.7.block.1", [128, 256, 3]),
        ("encoder.model.7.block.3", [256, 128, 1]),
        ("encoder.model.9", [512, 256, 10]),
        ("encoder.model.10.block.1", [256, 512, 3]),
        ("encoder.model.10.block.3", [512, 256, 1]),
        ("encoder.model.12", [1024, 512, 16]),
        ("encoder.model.15", [128, 1024, 7]),
        ("decoder.model.0", [1024, 128, 7]),
        ("decoder.model.4.block.1", [256, 512, 3]),
        ("decoder.model.4.block.3", [512, 256, 1]),
        ("decoder.model.7.block.1", [128, 256, 3]),
        ("decoder.model.7.block.3", [256, 128, 1]),
        ("decoder.model.10.block.1", [64, 128, 3]),
        ("decoder.model.10.block.3", [128, 64, 1]),
        ("decoder.model.13.block.1", [32, 64, 3]),
        ("decoder.model.13.block.3", [64, 32, 1]),
        ("decoder.model.15", [1, 64, 7]),
    ];
    for (name, shape) in plain {
        conv(&format!("{name}.conv.conv"), shape, shape[0]);
    }
    for (n, shape) in [(3, [1024, 512, 16]), (6, [512, 256, 10]), (9, [256, 128, 8]), (12, [128, 64, 8])] {
        conv(&format!("decoder.model.{n}.convtr.convtr"), shape, shape[1]);
    }
    for q in 0..if factorised { books } else { 0 } {
        conv(&format!("quantizer.vq.quantizers.{q}.in_proj"), [8, 128, 1], 8);
        conv(&format!("quantizer.vq.quantizers.{q}.out_proj"), [128, 8, 1], 128);
    }
    for lstm in ["encoder.model.13", "decoder.model.1"] {
        for l in 0..2 {
            for (what, shape) in [
                ("weight_ih", vec![4096, 1024]),
                ("weight_hh", vec![4096, 1024]),
                ("bias_ih", vec![4096]),
                ("bias_hh", vec![4096]),
            ] {
                all.push((format!("{lstm}.lstm.{what}_l{l}"), shape));
            }
        }
    }
    for q in 0..books {
        if factorised {
            all.push((format!("quantizer.vq.quantizers.{q}.codebook.weight"), vec![2048, 8]));
        } else {
            let book = format!("quantizer.vq.layers.{q}._codebook");
            all.push((format!("{book}.inited"), vec![1]));
            all.push((format!("{book}.cluster_size"), vec![2048]));
            all.push((format!("{book}.embed"), vec![2048, 128]));
            all.push((format!("{book}.embed_avg"), vec![2048, 128]));
        }
    }
    all.into_iter().map(|(name, shape)| Tensor { name, shape, data: Data::Sparse }).collect()
}

/// The language model's `xp.cfg`.
pub fn lm_yaml(d: usize, heads: usize, layers: usize, delays: &[usize]) -> String {
    format!(
        "transformer_lm: {{dim: {d}, num_heads: {heads}, num_layers: {layers}, hidden_scale: 4, n_q: {}, card: 2048}}\n\
         codebooks_pattern: {{modeling: delay, delay: {{delays: {delays:?}, flatten_first: 0, empty_initial: 0}}}}\ndataset: {{segment_duration: 30}}\n",
        delays.len()
    )
}

/// The codec's `xp.cfg`.
pub fn codec_yaml(factorised: bool, books: usize) -> String {
    let kind = if factorised { "dac" } else { "rvq" };
    format!(
        "encodec: {{autoencoder: seanet, quantizer: {kind}, sample_rate: 32000, channels: 1, causal: false, renormalize: false}}\n\
         seanet: {{dimension: 128, n_filters: 64, ratios: [8, 5, 4, 4], pad_mode: constant, lstm: 2}}\n{kind}: {{n_q: {books}, bins: 2048}}\n"
    )
}
