//! Reads the checkpoints of Hugging Face transformers: `config.json`, weights in one or more files
//! (docs/explanation/musicgen-stem.md sections 2 to 5).

use std::collections::BTreeMap;
use std::path::Path;

use super::keys::Keys;
use super::parts::{Codec, Parts, Text};
use super::recipe::Layout;
use super::source::Source;
use crate::error::{Error, Result};
use crate::model::{Config, LmConfig, PadMode, QuantizerKind, SamplingConfig, SeanetConfig, Stream, TextConfig, TextKind};

/// Longest grid that MusicGen was trained on, in frames (30 s).
const MAX_FRAMES: usize = 1500;

/// Reads the structure of a MusicGen in `src`; `text` replaces the T5 in it.
///
/// # Errors
/// A file is missing or damaged, or the engine can't run the model; the error says which and why.
pub fn read(src: &Path, text: Option<Text>) -> Result<Parts> {
    let path = src.join("config.json");
    let keys = Keys::json(&path)?;
    match keys.text("model_type")? {
        "musicgen" => {}
        "musicgen_melody" => {
            return Err(Error::file(
                &path,
                "a melody model, which sideman can't run: it needs a chromagram; use small, medium or large",
            ));
        }
        "encodec" => {
            return Err(Error::file(
                &path,
                "a codec without a language model; it should be the folder of a MusicGen, which has both",
            ));
        }
        other => return Err(keys.error("model_type", format!("{other:?}; it should be \"musicgen\""))),
    }
    if keys.size_or("decoder.audio_channels", 1)? != 1 {
        return Err(Error::file(&path, "a stereo model, which sideman can't run; use the mono one"));
    }
    keys.only("decoder.activation_function", &["gelu".into()])?;
    keys.only("decoder.scale_embedding", &[false.into()])?;
    let source = Source::folder(src)?;
    let dim = keys.size("decoder.hidden_size")?;
    let (count, card) = (keys.size("decoder.num_codebooks")?, keys.size("decoder.vocab_size")?);
    let Some(audio) = keys.under("audio_encoder") else {
        return Err(keys.error("audio_encoder", "missing; it should have the sizes of the codec"));
    };
    let codec = codec(&audio, "audio_encoder.", &source, count)?;
    let text = match (text, keys.under("text_encoder")) {
        (Some(text), _) => text,
        (None, Some(keys)) => Text { config: text_config(&keys)?, source: None, prefix: "text_encoder.", folder: src.to_owned() },
        (None, None) => return Err(keys.error("text_encoder", "missing; it should have the sizes of T5")),
    };
    let own = src.join("generation_config.json");
    let cfg = if own.exists() { Keys::json(&own)?.number_or("guidance_scale", 3.0)? } else { 3.0 };
    let config = Config {
        format: 1,
        name: format!("musicgen-{}", super::parts::size_name(dim)),
        licence: super::published::LICENCE.into(),
        provenance: String::new(),
        sample_rate: crate::model::SAMPLE_RATE,
        frame_rate: crate::model::FRAME_RATE,
        stems: vec!["mix".into()],
        streams: (0..count.min(64)).map(|k| Stream { stem: "mix".into(), level: k, delay: k, card }).collect(),
        lm: LmConfig {
            dim,
            layers: keys.size("decoder.num_hidden_layers")?,
            heads: keys.size("decoder.num_attention_heads")?,
            ffn: keys.size("decoder.ffn_dim")?,
            norm_eps: 1e-5,
        },
        text: Some(text.config.clone()),
        controls: Vec::new(),
        edit: None,
        max_frames: MAX_FRAMES,
        live: Some(super::parts::anticipate()),
        // MusicGen was published with top-k 250; the default of transformers is 50.
        sampling: SamplingConfig { temperature: 1.0, top_k: 250, top_p: 0.0, cfg, cfg_scale: BTreeMap::new() },
        codecs: BTreeMap::new(),
        fixture: false,
    };
    Ok(Parts { layout: Layout::HuggingFace, config, lm: source, codecs: vec![codec], text: Some(text) })
}

/// Reads the configuration of an EnCodec: `keys` is its own `config.json`, or the part of MusicGen's.
fn codec(keys: &Keys, prefix: &'static str, source: &Source, books: usize) -> Result<Codec> {
    keys.only("model_type", &["encodec".into()])?;
    keys.only("sampling_rate", &[crate::model::SAMPLE_RATE.into()])?;
    keys.only("normalize", &[false.into()])?;
    keys.only("norm_type", &["weight_norm".into()])?;
    keys.only("num_residual_layers", &[1.into()])?;
    keys.only("use_conv_shortcut", &[false.into()])?;
    keys.only("trim_right_ratio", &[1.0.into(), 1.into()])?;
    if keys.get("chunk_length_s").is_some() {
        return Err(keys.error("chunk_length_s", "it should be missing or null: sideman can't run a codec that works in chunks"));
    }
    let (dim, book) = (keys.size("hidden_size")?, format!("{prefix}quantizer.layers.0.codebook.embed"));
    if source.get(&book).is_none() {
        return Err(Error::tensor(source.path(&book), &book, "missing; the codec has no quantizer that sideman knows"));
    }
    let config = SeanetConfig {
        causal: keys.flag_or("use_causal_conv", true)?,
        pad_mode: match keys.get("pad_mode").map_or(Some("reflect"), |v| v.as_str()) {
            Some("reflect") => PadMode::Reflect,
            Some("constant") => PadMode::Constant,
            _ => return Err(keys.error("pad_mode", "it should be \"reflect\" or \"constant\"")),
        },
        channels: keys.size_or("audio_channels", 1)?,
        dim,
        filters: keys.size("num_filters")?,
        ratios: keys.sizes("upsampling_ratios")?,
        kernel: keys.size_or("kernel_size", 7)?,
        last_kernel: keys.size_or("last_kernel_size", 7)?,
        residual_kernel: keys.size_or("residual_kernel_size", 3)?,
        compress: keys.size_or("compress", 2)?,
        lstm: keys.size_or("num_lstm_layers", 2)?,
        quantizer: QuantizerKind::Euclidean,
        books,
        card: keys.size("codebook_size")?,
        code_dim: None,
    };
    Ok(Codec { stem: "mix".into(), config, source: None, prefix })
}

/// Reads the sizes of a T5 from its own `config.json`, or from the part of MusicGen's.
///
/// # Errors
/// Another kind of T5 (gated), or a size is missing.
pub fn text_config(keys: &Keys) -> Result<TextConfig> {
    keys.only("model_type", &["t5".into()])?;
    keys.only("feed_forward_proj", &["relu".into()])?;
    keys.only("is_gated_act", &[false.into()])?;
    let id = |key: &str, default: usize| -> Result<u32> {
        u32::try_from(keys.size_or(key, default)?).map_err(|_| keys.error(key, "it should be an id of the vocabulary"))
    };
    Ok(TextConfig {
        kind: TextKind::T5,
        dim: keys.size("d_model")?,
        layers: keys.size("num_layers")?,
        heads: keys.size("num_heads")?,
        head_dim: keys.size("d_kv")?,
        ffn: keys.size("d_ff")?,
        vocab: keys.size("vocab_size")?,
        buckets: keys.size_or("relative_attention_num_buckets", 32)?,
        max_distance: keys.size_or("relative_attention_max_distance", 128)?,
        eps: keys.number_or("layer_norm_epsilon", 1e-6)?,
        pad: id("pad_token_id", 0)?,
        eos: id("eos_token_id", 1)?,
    })
}

/// Reads a T5 in a folder of its own.
///
/// # Errors
/// A file is missing or damaged, or another kind of T5.
pub fn text(dir: &Path) -> Result<Text> {
    let config = text_config(&Keys::json(&dir.join("config.json"))?)?;
    Ok(Text { config, source: Some(Source::folder(dir)?), prefix: "", folder: dir.to_owned() })
}

/// True for tensors of MusicGen that are not needed. `other_t5`: its T5 is replaced.
pub fn ignored(name: &str, other_t5: bool) -> bool {
    let of_book = name.starts_with("audio_encoder.quantizer.layers.")
        && [".inited", ".cluster_size", ".embed_avg"].iter().any(|e| name.ends_with(e));
    of_book
        || name.starts_with("decoder.model.decoder.embed_positions.")
        || name == "text_encoder.encoder.embed_tokens.weight"
        || (other_t5 && name.starts_with("text_encoder."))
}

/// True for tensors of a T5 that its encoder does not need.
pub fn ignored_text(name: &str) -> bool {
    name.starts_with("decoder.") || name.starts_with("lm_head.") || name == "encoder.embed_tokens.weight"
}
