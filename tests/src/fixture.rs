//! A writer of tiny models with random weights in Sideman's model format (docs/reference/model-format.md).
//!
//! Their output is noise; `config.json` has `fixture: true`, and every command that loads such a model prints a warning.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::rng::Rng;

/// The words of the text vocabulary; everything else is tokenized as letters.
const WORDS: [&str; 8] = ["▁funk", "▁rock", "▁drums", "▁slow", "▁jazz", "▁warm", "▁bass", "▁piano"];

/// A fixture model. `Fixture::default()` has the house model's features: three stems, six streams, text, controls, lags.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// Seed of all weights.
    pub seed: u64,
    /// Has T5, a tokenizer and cross-attention.
    pub text: bool,
    /// Has the controls beat, tick and chord.
    pub controls: bool,
    /// `live.strategy` is `lagged`; otherwise it is `anticipate`.
    pub lagged: bool,
    /// The null lane lacks the controls and the input stem too, not only the text.
    pub guides: bool,
    /// Frames of an edit window: a multiple of 5 (1250 in the published models).
    pub window: usize,
    /// The longest run in frames (1500 in the published models).
    pub max_frames: usize,
}

impl Default for Fixture {
    fn default() -> Self {
        Fixture { seed: 1, text: true, controls: true, lagged: true, guides: false, window: 1250, max_frames: 1500 }
    }
}

/// The streams: stem, codebook level, delay in frames.
const STREAMS: [(&str, usize, usize); 6] =
    [("bass", 0, 0), ("drums", 0, 0), ("other", 0, 0), ("other", 1, 1), ("other", 2, 2), ("other", 3, 3)];
/// Codes in a codebook.
pub const CARD: usize = 64;
const DIM: usize = 64;
const LAYERS: usize = 2;
const FFN: usize = 128;
const TEXT_DIM: usize = 32;
const CODEC_DIM: usize = 32;
const LATENT: usize = 16;

impl Fixture {
    /// A fixture with windows of 2 s and runs of 2.4 s, so that tests of long songs are fast.
    pub fn short() -> Self {
        Fixture { window: 100, max_frames: 120, ..Fixture::default() }
    }

    /// Writes the model to the directory `dir`, which is created if necessary.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("config.json"), serde_json::to_vec_pretty(&self.config())?)?;
        let mut rng = Rng(self.seed);
        self.lm(&mut rng).save(&dir.join("lm.safetensors"))?;
        for stem in ["bass", "drums", "other"] {
            codec(&mut rng, books(stem)).save(&dir.join(format!("codec.{stem}.safetensors")))?;
        }
        if self.text {
            let tokenizer = tokenizer();
            let vocab = tokenizer["model"]["vocab"].as_array().map_or(0, Vec::len);
            text(&mut rng, vocab).save(&dir.join("text.safetensors"))?;
            std::fs::write(dir.join("tokenizer.json"), serde_json::to_vec_pretty(&tokenizer)?)?;
        }
        Ok(())
    }

    /// The content of `config.json`.
    pub fn config(&self) -> Value {
        let streams: Vec<Value> = STREAMS
            .iter()
            .map(|(stem, level, delay)| json!({"stem": stem, "level": level, "delay": delay, "card": CARD}))
            .collect();
        let codec = |stem| {
            json!({
                "kind": "istft", "causal": true, "dim": CODEC_DIM, "latent": LATENT, "ffn": 48, "kernel": 5, "eps": 1e-6,
                "encoder_blocks": 1, "encoder_blocks50": 1, "decoder_blocks50": 1, "decoder_blocks": 1,
                "analysis": [{"n_fft": 256, "bins": 65}, {"n_fft": 512, "bins": 32}], "analysis_ahead": 640,
                "n_fft": 1280, "hop": 320, "max_log": 7.0,
                "quantizer": "factorised", "code_dim": 8, "books": books(stem), "card": CARD,
                "look_ahead": {"encode": 1, "decode": 1}
            })
        };
        let text = json!({
            "kind": "t5", "dim": TEXT_DIM, "layers": 2, "heads": 2, "head_dim": 16, "ffn": 64,
            "vocab": tokenizer()["model"]["vocab"].as_array().map_or(0, Vec::len),
            "buckets": 32, "max_distance": 128, "eps": 1e-6, "pad": 0, "eos": 1
        });
        json!({
            "format": 1, "name": "fixture", "licence": "MIT OR Apache-2.0", "provenance": "random weights, for tests", "fixture": true,
            "sample_rate": 32000, "frame_rate": 50, "stems": ["bass", "drums", "other"], "streams": streams,
            "lm": {"dim": DIM, "layers": LAYERS, "heads": 2, "ffn": FFN, "norm_eps": 1e-5},
            "text": if self.text { text } else { Value::Null },
            "controls": if self.controls { json!([{"name": "beat", "card": 192, "guides": self.guides}, {"name": "tick", "card": 17, "guides": self.guides}, {"name": "chord", "card": 97, "guides": self.guides}]) } else { json!([]) },
            "edit": {"window": self.window, "decimation": 5},
            "max_frames": self.max_frames,
            "live": if self.lagged { json!({"strategy": "lagged", "lags": [4, 25], "guides": self.guides}) } else { json!({"strategy": "anticipate"}) },
            "sampling": {"temperature": 1.0, "top_k": 250, "top_p": 0.0, "cfg": 3.0},
            "codecs": {"bass": codec("bass"), "drums": codec("drums"), "other": codec("other")}
        })
    }

    fn lm(&self, rng: &mut Rng) -> File {
        let mut f = File::default();
        for k in 0..STREAMS.len() {
            f.random(rng, &format!("emb.{k}.weight"), &[CARD + 1, DIM], 0.5);
            // Widely spread logits, so that each token depends on those before it at every guidance scale and temperature.
            f.random(rng, &format!("linears.{k}.weight"), &[CARD, DIM], 1.5 / (DIM as f32).sqrt());
        }
        for n in 0..LAYERS {
            let layer = format!("transformer.layers.{n}");
            f.matrix(rng, &format!("{layer}.self_attn.in_proj_weight"), 3 * DIM, DIM);
            f.matrix(rng, &format!("{layer}.self_attn.out_proj.weight"), DIM, DIM);
            f.matrix(rng, &format!("{layer}.linear1.weight"), FFN, DIM);
            f.matrix(rng, &format!("{layer}.linear2.weight"), DIM, FFN);
            f.norm(rng, &format!("{layer}.norm1"), DIM);
            f.norm(rng, &format!("{layer}.norm2"), DIM);
            if self.text {
                f.matrix(rng, &format!("{layer}.cross_attention.in_proj_weight"), 3 * DIM, DIM);
                f.matrix(rng, &format!("{layer}.cross_attention.out_proj.weight"), DIM, DIM);
                f.norm(rng, &format!("{layer}.norm_cross"), DIM);
            }
        }
        f.norm(rng, "out_norm", DIM);
        if self.text {
            f.linear(rng, "condition_provider.conditioners.description.output_proj", DIM, TEXT_DIM);
        }
        if self.controls {
            f.random(rng, "control.beat.weight", &[193, DIM], 0.3);
            f.random(rng, "control.chord.weight", &[98, DIM], 0.3);
            f.random(rng, "control.tick.weight", &[18, DIM], 0.3);
        }
        f
    }
}

/// The number of codebooks of a stem's codec.
fn books(stem: &str) -> usize {
    STREAMS.iter().filter(|s| s.0 == stem).count()
}

fn codec(rng: &mut Rng, books: usize) -> File {
    let mut f = File::default();
    f.linear(rng, "encoder.in", CODEC_DIM, 65 + 32);
    f.linear(rng, "encoder.down", CODEC_DIM, 2 * CODEC_DIM);
    f.norm(rng, "encoder.norm", CODEC_DIM);
    f.linear(rng, "encoder.out", LATENT, CODEC_DIM);
    f.linear(rng, "decoder.in", CODEC_DIM, LATENT);
    f.linear(rng, "decoder.up", 2 * CODEC_DIM, CODEC_DIM);
    f.norm(rng, "decoder.norm", CODEC_DIM);
    f.linear(rng, "decoder.head", 1282, CODEC_DIM);
    for block in ["encoder.blocks.0", "encoder.blocks50.0", "decoder.blocks50.0", "decoder.blocks.0"] {
        f.random(rng, &format!("{block}.dw.weight"), &[CODEC_DIM, 5], 0.4);
        f.random(rng, &format!("{block}.dw.bias"), &[CODEC_DIM], 0.1);
        f.norm(rng, &format!("{block}.norm"), CODEC_DIM);
        f.linear(rng, &format!("{block}.pw1"), 48, CODEC_DIM);
        f.linear(rng, &format!("{block}.pw2"), CODEC_DIM, 48);
    }
    for q in 0..books {
        let name = format!("quantizer.vq.quantizers.{q}");
        f.linear(rng, &format!("{name}.in_proj"), 8, LATENT);
        f.linear(rng, &format!("{name}.out_proj"), LATENT, 8);
        f.random(rng, &format!("{name}.codebook.weight"), &[CARD, 8], 0.5);
    }
    f
}

fn text(rng: &mut Rng, vocab: usize) -> File {
    let mut f = File::default();
    f.random(rng, "shared.weight", &[vocab, TEXT_DIM], 1.0);
    for n in 0..2 {
        let block = format!("encoder.block.{n}");
        for name in ["q", "k", "v", "o"] {
            f.matrix(rng, &format!("{block}.layer.0.SelfAttention.{name}.weight"), TEXT_DIM, TEXT_DIM);
        }
        f.matrix(rng, &format!("{block}.layer.1.DenseReluDense.wi.weight"), 64, TEXT_DIM);
        f.matrix(rng, &format!("{block}.layer.1.DenseReluDense.wo.weight"), TEXT_DIM, 64);
        f.ones(rng, &format!("{block}.layer.0.layer_norm.weight"), TEXT_DIM);
        f.ones(rng, &format!("{block}.layer.1.layer_norm.weight"), TEXT_DIM);
    }
    f.random(rng, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", &[32, 2], 0.5);
    f.ones(rng, "encoder.final_layer_norm.weight", TEXT_DIM);
    f
}

/// A Unigram tokenizer like T5's, with a vocabulary of letters and a few words.
fn tokenizer() -> Value {
    let mut vocab = vec![json!(["<pad>", 0.0]), json!(["</s>", 0.0]), json!(["<unk>", 0.0]), json!(["▁", -3.0])];
    vocab.extend(WORDS.iter().map(|word| json!([word, -4.0])));
    vocab.extend(('a'..='z').map(|c| json!([c.to_string(), -5.0])));
    let special = |id: usize, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": false}
    })
}

/// The tensors of one file by name: shape, and values as little-endian f32.
#[derive(Default)]
struct File(BTreeMap<String, (Vec<usize>, Vec<u8>)>);

impl File {
    fn put(&mut self, name: &str, shape: &[usize], values: impl Iterator<Item = f32>) {
        let len = shape.iter().product();
        self.0.insert(name.into(), (shape.to_vec(), values.take(len).flat_map(f32::to_le_bytes).collect()));
    }

    fn random(&mut self, rng: &mut Rng, name: &str, shape: &[usize], scale: f32) {
        self.put(name, shape, std::iter::from_fn(|| Some(rng.normal() * scale)));
    }

    /// A matrix that keeps the variance of its input.
    fn matrix(&mut self, rng: &mut Rng, name: &str, rows: usize, cols: usize) {
        self.random(rng, name, &[rows, cols], 1.0 / (cols as f32).sqrt());
    }

    fn linear(&mut self, rng: &mut Rng, name: &str, rows: usize, cols: usize) {
        self.matrix(rng, &format!("{name}.weight"), rows, cols);
        self.random(rng, &format!("{name}.bias"), &[rows], 0.1);
    }

    fn ones(&mut self, rng: &mut Rng, name: &str, len: usize) {
        self.put(name, &[len], std::iter::from_fn(|| Some(1.0 + 0.1 * rng.normal())));
    }

    fn norm(&mut self, rng: &mut Rng, name: &str, len: usize) {
        self.ones(rng, &format!("{name}.weight"), len);
        self.random(rng, &format!("{name}.bias"), &[len], 0.1);
    }

    fn save(&self, path: &Path) -> io::Result<()> {
        let views = self.0.iter().map(|(name, (shape, data))| Ok((name, TensorView::new(Dtype::F32, shape.clone(), data)?)));
        let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>().map_err(io::Error::other)?;
        safetensors::serialize_to_file(views, None, path).map_err(io::Error::other)
    }
}
