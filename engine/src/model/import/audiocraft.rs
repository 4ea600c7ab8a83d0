//! Reads audiocraft's checkpoints: `state_dict.bin` and `compression_state_dict*.bin` with their
//! configurations `xp.cfg` (docs/explanation/musicgen-stem.md section 2).

use std::collections::BTreeMap;
use std::path::Path;

use super::keys::Keys;
use super::needed;
use super::parts::{Codec, Parts, Text};
use super::recipe::Layout;
use super::source::Source;
use crate::error::{Error, Result};
use crate::model::{Config, EditConfig, LmConfig, PadMode, QuantizerKind, SamplingConfig, SeanetConfig, Stream};

/// The stems of MusicGen-Stem in its order.
const STEMS: [&str; 3] = ["bass", "drums", "other"];

/// Reads the structure of the checkpoints in `src`.
///
/// # Errors
/// A file is missing or damaged, or the engine can't run the model; the error says which and why.
pub fn read(src: &Path, text: Option<Text>) -> Result<Parts> {
    let path = src.join("state_dict.bin");
    let (lm, keys) = open(&path)?;
    check_kind(&path, &lm, &keys)?;
    let mut codecs = Vec::new();
    let stems: &[&str] = if src.join("compression_state_dict_bass.bin").exists() { &STEMS } else { &["mix"] };
    for stem in stems {
        let file =
            if *stem == "mix" { "compression_state_dict.bin".into() } else { format!("compression_state_dict_{stem}.bin") };
        codecs.push(codec(stem, &src.join(file))?);
    }

    let (dim, count) = (keys.size("transformer_lm.dim")?, keys.size("transformer_lm.n_q")?);
    let card = keys.size("transformer_lm.card")?;
    let delays = keys.sizes("codebooks_pattern.delay.delays")?;
    let books: usize = codecs.iter().map(|c| c.config.books).sum();
    if delays.len() != count || books != count {
        let what = format!(
            "{count} streams; there are {} delays and {books} books, and the three numbers should be equal",
            delays.len()
        );
        return Err(keys.error("transformer_lm.n_q", what));
    }
    let places = codecs.iter().flat_map(|c| (0..c.config.books).map(move |level| (c.stem.clone(), level)));
    let streams: Vec<Stream> = places.zip(delays).map(|((stem, level), delay)| Stream { stem, level, delay, card }).collect();
    let seconds = keys.size_or("dataset.segment_duration", 30)?;
    let max_frames = seconds.saturating_mul(crate::model::FRAME_RATE);
    let stem = codecs.len() == STEMS.len();
    let size = LmConfig {
        dim,
        layers: keys.size("transformer_lm.num_layers")?,
        heads: keys.size("transformer_lm.num_heads")?,
        ffn: dim.saturating_mul(keys.size_or("transformer_lm.hidden_scale", 4)?),
        norm_eps: 1e-5,
    };
    let config = Config {
        format: 1,
        name: if stem { format!("musicgen-stem-{count}cb") } else { format!("musicgen-{}", super::parts::size_name(dim)) },
        licence: super::published::LICENCE.into(),
        provenance: String::new(),
        sample_rate: crate::model::SAMPLE_RATE,
        frame_rate: crate::model::FRAME_RATE,
        stems: codecs.iter().map(|c| c.stem.clone()).collect(),
        streams,
        lm: size,
        text: text.as_ref().map(|t| t.config.clone()),
        controls: Vec::new(),
        // The grid has 250 prefix frames, a transition and 1250 frames of song (section 8): the window is
        // five sixths of the grid.
        edit: stem.then_some(EditConfig { window: (max_frames / 6).saturating_mul(5).max(5), decimation: 5 }),
        max_frames,
        live: Some(super::parts::anticipate()),
        sampling: SamplingConfig {
            temperature: 1.0,
            top_k: 250,
            top_p: 0.0,
            cfg: keys.number_or("classifier_free_guidance.inference_coef", 3.0)?,
            cfg_scale: BTreeMap::new(),
        },
        codecs: BTreeMap::new(),
        fixture: false,
    };
    Ok(Parts { layout: Layout::Audiocraft, config, lm, codecs, text })
}

/// Opens a checkpoint with its configuration.
fn open(path: &Path) -> Result<(Source, Keys)> {
    let (source, checkpoint) = Source::pickle(path)?;
    if let Some(other) = checkpoint.pretrained {
        let what =
            format!("it has no weights of its own, only the name of a codec, `{other}`; import a model that has its codec");
        return Err(Error::file(path, what));
    }
    let Some(text) = checkpoint.config else {
        return Err(Error::file(path, "it has no configuration `xp.cfg`; it should be a checkpoint that audiocraft exported"));
    };
    let keys = Keys::yaml(path, &text, "its configuration `xp.cfg`")?;
    Ok((source, keys))
}

/// Fails for models that the engine can't run.
fn check_kind(path: &Path, lm: &Source, keys: &Keys) -> Result<()> {
    if lm.names().any(|n| n.starts_with("condition_provider.conditioners.self_wav")) {
        return Err(Error::file(
            path,
            "a melody model, which sideman can't run: it needs a chromagram; use small, medium or large",
        ));
    }
    if keys.flag_or("interleave_stereo_codebooks.use", false)? {
        return Err(Error::file(path, "a stereo model, which sideman can't run; use the mono one"));
    }
    keys.only("codebooks_pattern.modeling", &["delay".into()])?;
    keys.only("codebooks_pattern.delay.flatten_first", &[0.into()])?;
    keys.only("codebooks_pattern.delay.empty_initial", &[0.into()])?;
    keys.only("transformer_lm.positional_embedding", &["sin".into()])?;
    keys.only("transformer_lm.activation", &["gelu".into()])?;
    keys.only("transformer_lm.norm_first", &[true.into()])?;
    keys.only("transformer_lm.norm", &["layer_norm".into()])
}

/// Reads the codec of a stem.
fn codec(stem: &str, path: &Path) -> Result<Codec> {
    let (source, keys) = open(path)?;
    let shape = |name: &str| source.get(name).map(|t| t.shape.clone());
    let count = |name: &dyn Fn(usize) -> String| (0..64).take_while(|q| source.get(&name(*q)).is_some()).count();
    let (quantizer, section, book, counted) = if source.names().any(|n| n.starts_with("quantizer.vq.quantizers.")) {
        let books = count(&|q| format!("quantizer.vq.quantizers.{q}.codebook.weight"));
        (QuantizerKind::Factorised, "dac", "quantizer.vq.quantizers.0.codebook.weight", books)
    } else {
        let books = count(&|q| format!("quantizer.vq.layers.{q}._codebook.embed"));
        (QuantizerKind::Euclidean, "rvq", "quantizer.vq.layers.0._codebook.embed", books)
    };
    let Some(&[card, width]) = shape(book).as_deref() else {
        return Err(Error::tensor(path, book, "it should be a matrix: the codec has no quantizer that sideman knows"));
    };
    keys.only("encodec.autoencoder", &["seanet".into()])?;
    keys.only("encodec.sample_rate", &[crate::model::SAMPLE_RATE.into()])?;
    keys.only("encodec.renormalize", &[false.into()])?;
    let net = Net { keys: &keys };
    for (key, values) in [
        ("n_residual_layers", &[1.into()][..]),
        ("true_skip", &[true.into()]),
        ("activation", &["ELU".into()]),
        ("norm", &["weight_norm".into()]),
        ("disable_norm_outer_blocks", &[0.into()]),
        ("trim_right_ratio", &[1.0.into(), 1.into()]),
        ("activation_params.alpha", &[1.0.into(), 1.into()]),
    ] {
        keys.only(&net.key(key)?, values)?;
    }
    if keys.get("seanet.decoder.final_activation").is_some() {
        return Err(keys.error(
            "seanet.decoder.final_activation",
            "it should be missing: sideman can't run a codec with a final activation",
        ));
    }
    let pad = net.key("pad_mode")?;
    let config = SeanetConfig {
        causal: keys.flag_or("encodec.causal", false)?,
        pad_mode: match keys.text(&pad)? {
            "reflect" => PadMode::Reflect,
            "constant" => PadMode::Constant,
            other => return Err(keys.error(&pad, format!("{other:?}; it should be \"reflect\" or \"constant\""))),
        },
        channels: keys.size_or("encodec.channels", 1)?,
        dim: keys.size(&net.key("dimension")?)?,
        filters: keys.size(&net.key("n_filters")?)?,
        ratios: keys.sizes(&net.key("ratios")?)?,
        kernel: keys.size_or(&net.key("kernel_size")?, 7)?,
        last_kernel: keys.size_or(&net.key("last_kernel_size")?, 7)?,
        residual_kernel: keys.size_or(&net.key("residual_kernel_size")?, 3)?,
        compress: keys.size_or(&net.key("compress")?, 2)?,
        lstm: keys.size_or(&net.key("lstm")?, 2)?,
        quantizer,
        books: keys.size_or(&format!("{section}.n_q"), counted)?,
        card: keys.size_or(&format!("{section}.bins"), card)?,
        code_dim: (quantizer == QuantizerKind::Factorised).then_some(width),
    };
    Ok(Codec { stem: stem.into(), config, source: Some(source), prefix: "" })
}

/// The keys of SEANet. Each can be set for both halves, or for encoder and decoder alone.
struct Net<'a> {
    keys: &'a Keys,
}

impl Net<'_> {
    /// The full name of a key.
    ///
    /// # Errors
    /// Encoder and decoder have different values.
    fn key(&self, key: &str) -> Result<String> {
        let [all, encoder, decoder] = ["seanet", "seanet.encoder", "seanet.decoder"].map(|s| format!("{s}.{key}"));
        let of = |half: &str| self.keys.get(half).or(self.keys.get(&all));
        // A key that is set for one half only belongs to that half (`trim_right_ratio`).
        match (self.keys.get(&encoder).is_some(), self.keys.get(&decoder).is_some()) {
            (false, false) => Ok(all),
            (true, false) if self.keys.get(&all).is_none() => Ok(encoder),
            (false, true) if self.keys.get(&all).is_none() => Ok(decoder),
            _ if of(&encoder) == of(&decoder) => Ok(if self.keys.get(&encoder).is_some() { encoder } else { decoder }),
            _ => Err(self.keys.error(&decoder, "encoder and decoder have different values; they should be the same")),
        }
    }
}

/// True for tensors that only training needs.
pub fn ignored(name: &str, text: bool) -> bool {
    let of_book =
        name.starts_with("quantizer.vq.layers.") && [".inited", ".cluster_size", ".embed_avg"].iter().any(|e| name.ends_with(e));
    of_book || (!text && needed::only_with_text(name))
}
