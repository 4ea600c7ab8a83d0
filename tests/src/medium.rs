//! A writer of models with random weights, as wide as MusicGen medium and few layers deep, for tests that need sums as long as in real
//! models.

use std::io;
use std::path::Path;

use half::bf16;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::published;
use crate::rng::Rng;

/// MusicGen medium's model dimension. It has 24 heads and a feed-forward dimension of four times this.
const DIM: usize = 1536;
/// Codes in a codebook.
const CARD: usize = 2048;
/// The input stem and a generated one, four codebooks each.
const STEMS: [&str; 2] = ["bass", "other"];

/// Writes `config.json` and `lm.safetensors` of a model with `layers` layers into `dir` (about 220 MB of bf16 for two layers).
///
/// # Errors
/// The disk is full.
pub fn write(dir: &Path, layers: usize) -> io::Result<()> {
    std::fs::write(dir.join("config.json"), serde_json::to_vec_pretty(&config(layers))?)?;
    let (tensors, mut rng) = (published::lm(4 * STEMS.len(), DIM, layers), Rng(11));
    let data = tensors.iter().map(|t| {
        // Activations of the order of one, and logits spread widely enough that each token depends on those before it.
        let (mean, scale) = match t.name.as_str() {
            name if name.starts_with("emb.") => (0.0, 0.5),
            name if name.starts_with("linears.") => (0.0, 3.0 / (DIM as f32).sqrt()),
            name if name.contains("norm") && name.ends_with("weight") => (1.0, 0.2),
            _ if t.shape.len() == 1 => (0.0, 0.2),
            _ => (0.0, 1.7 / (t.shape[1] as f32).sqrt()),
        };
        let len: usize = t.shape.iter().product();
        (0..len).flat_map(|_| bf16::from_f32(mean + scale * rng.value()).to_le_bytes()).collect()
    });
    let data: Vec<Vec<u8>> = data.collect();
    let views = tensors.iter().zip(&data).map(|(t, d)| Ok((&t.name, TensorView::new(Dtype::BF16, t.shape.clone(), d)?)));
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>().map_err(io::Error::other)?;
    safetensors::serialize_to_file(views, None, &dir.join("lm.safetensors")).map_err(io::Error::other)
}

fn config(layers: usize) -> Value {
    let stream = |stem, level| json!({"stem": stem, "level": level, "delay": level, "card": CARD});
    let streams: Vec<Value> = STEMS.iter().flat_map(|stem| (0..4).map(move |level| stream(stem, level))).collect();
    let codec = json!({
        "kind": "seanet", "causal": false, "pad_mode": "reflect", "channels": 1, "dim": 128, "filters": 64, "ratios": [8, 5, 4, 4],
        "kernel": 7, "last_kernel": 7, "residual_kernel": 3, "compress": 2, "lstm": 2, "quantizer": "euclidean", "books": 4, "card": CARD
    });
    json!({
        "format": 1, "name": "medium-width", "licence": "MIT OR Apache-2.0", "provenance": "random weights, for tests", "fixture": true,
        "sample_rate": 32000, "frame_rate": 50, "stems": STEMS, "streams": streams,
        "lm": {"dim": DIM, "layers": layers, "heads": 24, "ffn": 4 * DIM, "norm_eps": 1e-5},
        "text": {"kind": "t5", "dim": 768, "layers": 2, "heads": 4, "head_dim": 64, "ffn": 3072, "vocab": 1024, "buckets": 32,
                 "max_distance": 128, "eps": 1e-6, "pad": 0, "eos": 1},
        "controls": [], "edit": {"window": 1250, "decimation": 5}, "max_frames": 1500, "live": null,
        "sampling": {"temperature": 1.0, "top_k": 250, "top_p": 0.0, "cfg": 3.0},
        "codecs": {"bass": codec, "other": codec}
    })
}
