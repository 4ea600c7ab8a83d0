//! Model directories of published shapes with random weights, for timing: the time of a step does not depend on the weights.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use half::bf16;
use serde_json::{Value, json};
use sideman_engine::codec::Codec;
use sideman_engine::model::{CodecConfig, Config, ModelDir, QuantizerKind, SeanetConfig, Tensors};
use sideman_kernels::Backend;

/// Where they are stored between runs; `cargo clean` removes them.
const KEPT: &str = "target/bench-models";

/// Shapes that can be named: width, layers, heads, stems with their levels, controls.
struct Shape {
    name: &'static str,
    dim: usize,
    layers: usize,
    heads: usize,
    text: usize,
    streams: &'static [(&'static str, usize, usize)],
    card: usize,
    controls: bool,
}

const SHAPES: [Shape; 3] = [
    // docs/reference/model-format.md's example: 28 M weights or so.
    Shape {
        name: "house",
        dim: 384,
        layers: 8,
        heads: 6,
        text: 256,
        streams: &[("bass", 0, 0), ("drums", 0, 0), ("other", 0, 0), ("other", 1, 1), ("other", 2, 2), ("other", 3, 3)],
        card: 1024,
        controls: true,
    },
    Shape { name: "small", dim: 1024, layers: 24, heads: 16, text: 768, streams: &MONO, card: 2048, controls: false },
    Shape { name: "medium", dim: 1536, layers: 48, heads: 24, text: 768, streams: &MONO, card: 2048, controls: false },
];

/// MusicGen's four streams.
const MONO: [(&str, usize, usize); 4] = [("mix", 0, 0), ("mix", 1, 1), ("mix", 2, 2), ("mix", 3, 3)];

/// A model directory by name (`house`, `small`, `medium`: random weights, written at first use), or by path.
///
/// # Errors
/// There is no such name or directory, or the disk is full.
pub fn open(name: &str) -> Result<ModelDir> {
    let path = Path::new(name);
    if path.join("config.json").is_file() {
        return Ok(ModelDir::open(path)?);
    }
    let shape = SHAPES.iter().find(|s| s.name == name);
    let shape = shape.ok_or_else(|| anyhow!("{name}: no model directory, and none of house, small, medium"))?;
    let dir = PathBuf::from(KEPT).join(name);
    if !dir.join("config.json").is_file() {
        make(shape, &dir).with_context(|| dir.display().to_string())?;
    }
    Ok(ModelDir::open(&dir)?)
}

/// EnCodec at 32 kHz as in MusicGen, or with `factorised` as for bass and drums in MusicGen-Stem.
pub fn seanet(books: usize, factorised: bool) -> CodecConfig {
    CodecConfig::Seanet(SeanetConfig {
        causal: false,
        pad_mode: sideman_engine::model::PadMode::Reflect,
        channels: 1,
        dim: 128,
        filters: 64,
        ratios: vec![8, 5, 4, 4],
        kernel: 7,
        last_kernel: 7,
        residual_kernel: 3,
        compress: 2,
        lstm: 2,
        quantizer: if factorised { QuantizerKind::Factorised } else { QuantizerKind::Euclidean },
        books,
        card: 2048,
        code_dim: factorised.then_some(8),
    })
}

/// Such a codec with random weights.
pub fn read_seanet<B: Backend>(backend: &mut B, books: usize, factorised: bool) -> Result<Codec<B>> {
    let folder = Path::new(KEPT).join("codecs");
    std::fs::create_dir_all(&folder)?;
    let (config, path) = (seanet(books, factorised), folder.join(format!("{books}.safetensors")));
    write(&path, &seanet_tensors(&config)?)?;
    Ok(Codec::read(backend, &config, Tensors::open(&path)?)?)
}

fn make(shape: &Shape, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    eprintln!("making {} (random weights)", dir.display());
    let stems: Vec<&str> = shape.streams.iter().filter(|s| s.1 == 0).map(|s| s.0).collect();
    let levels = |stem: &str| shape.streams.iter().filter(|s| s.0 == stem).count();
    let streams: Vec<Value> = (shape.streams.iter())
        .map(|(stem, level, delay)| json!({"stem": stem, "level": level, "delay": delay, "card": shape.card}))
        .collect();
    let codecs: serde_json::Map<String, Value> = (stems.iter())
        .map(|stem| {
            let mut codec = serde_json::to_value(seanet(levels(stem), false))?;
            codec["card"] = json!(shape.card);
            Ok(((*stem).to_owned(), codec))
        })
        .collect::<Result<_>>()?;
    let controls = if shape.controls {
        json!([{"name": "beat", "card": 192}, {"name": "tick", "card": 17}, {"name": "chord", "card": 97}])
    } else {
        json!([])
    };
    let config = json!({
        "format": 1, "name": format!("random-{}", shape.name), "fixture": true, "licence": "none", "provenance": "random weights, for speed alone",
        "sample_rate": 32000, "frame_rate": 50, "stems": stems, "streams": streams,
        "lm": {"dim": shape.dim, "layers": shape.layers, "heads": shape.heads, "ffn": 4 * shape.dim, "norm_eps": 1e-5},
        "text": {"kind": "t5", "dim": shape.text, "layers": 2, "heads": 4, "head_dim": 64, "ffn": 4 * shape.text, "vocab": 1024, "buckets": 32,
                 "max_distance": 128, "eps": 1e-6, "pad": 0, "eos": 1},
        "controls": controls, "edit": {"window": 1250, "decimation": 5}, "max_frames": 1500, "live": null,
        "sampling": {"temperature": 1.0, "top_k": 250, "top_p": 0.0, "cfg": 3.0}, "codecs": codecs,
    });
    let config: Config = serde_json::from_value(config)?;
    write(&dir.join("lm.safetensors"), &lm_tensors(&config))?;
    // Written last, so that a folder with a config.json is complete.
    std::fs::write(dir.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

/// Names and shapes of docs/reference/model-format.md.
fn lm_tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (d, ffn) = (config.lm.dim, config.lm.ffn);
    let mut all = Vec::new();
    for (k, stream) in config.streams.iter().enumerate() {
        all.push((format!("emb.{k}.weight"), vec![stream.card + 1, d]));
        all.push((format!("linears.{k}.weight"), vec![stream.card, d]));
    }
    for control in &config.controls {
        all.push((format!("control.{}.weight", control.name), vec![control.card + 1, d]));
    }
    let norm = |all: &mut Vec<_>, name: String| {
        all.push((format!("{name}.weight"), vec![d]));
        all.push((format!("{name}.bias"), vec![d]));
    };
    norm(&mut all, "out_norm".to_owned());
    for n in 0..config.lm.layers {
        let name = |what: &str| format!("transformer.layers.{n}.{what}");
        for what in ["norm1", "norm2", "norm_cross"] {
            norm(&mut all, name(what));
        }
        for what in ["self_attn", "cross_attention"] {
            all.push((name(&format!("{what}.in_proj_weight")), vec![3 * d, d]));
            all.push((name(&format!("{what}.out_proj.weight")), vec![d, d]));
        }
        all.push((name("linear1.weight"), vec![ffn, d]));
        all.push((name("linear2.weight"), vec![d, ffn]));
    }
    if let Some(text) = &config.text {
        let name = "condition_provider.conditioners.description.output_proj";
        all.push((format!("{name}.weight"), vec![d, text.dim]));
        all.push((format!("{name}.bias"), vec![d]));
    }
    all
}

/// Tensors of a seanet codec, by the reference's names.
pub fn seanet_tensors(config: &CodecConfig) -> Result<Vec<(String, Vec<usize>)>> {
    let CodecConfig::Seanet(c) = config else { return Err(anyhow!("not a seanet codec")) };
    let mut all = Vec::new();
    let conv = |all: &mut Vec<_>, name: String, shape: [usize; 3], bias: usize| {
        all.push((format!("{name}.weight"), shape.to_vec()));
        all.push((format!("{name}.bias"), vec![bias]));
    };
    let residual = |all: &mut Vec<_>, name: String, width: usize| {
        let hidden = width / c.compress;
        conv(all, format!("{name}.block.1.conv.conv"), [hidden, width, c.residual_kernel], hidden);
        conv(all, format!("{name}.block.3.conv.conv"), [width, hidden, 1], width);
    };
    let lstm = |all: &mut Vec<(String, Vec<usize>)>, name: &str, size: usize| {
        for n in 0..c.lstm {
            all.push((format!("{name}.weight_ih_l{n}"), vec![4 * size, size]));
            all.push((format!("{name}.weight_hh_l{n}"), vec![4 * size, size]));
            all.push((format!("{name}.bias_ih_l{n}"), vec![4 * size]));
            all.push((format!("{name}.bias_hh_l{n}"), vec![4 * size]));
        }
    };
    let (mut width, mut n) = (c.filters, 1);
    conv(&mut all, "encoder.model.0.conv.conv".to_owned(), [width, c.channels, c.kernel], width);
    for ratio in c.ratios.iter().rev() {
        residual(&mut all, format!("encoder.model.{n}"), width);
        conv(&mut all, format!("encoder.model.{}.conv.conv", n + 2), [2 * width, width, 2 * ratio], 2 * width);
        (width, n) = (2 * width, n + 3);
    }
    lstm(&mut all, &format!("encoder.model.{n}.lstm"), width);
    conv(&mut all, format!("encoder.model.{}.conv.conv", n + 2), [c.dim, width, c.last_kernel], c.dim);
    conv(&mut all, "decoder.model.0.conv.conv".to_owned(), [width, c.dim, c.kernel], width);
    lstm(&mut all, "decoder.model.1.lstm", width);
    let mut n = 3;
    for ratio in &c.ratios {
        conv(&mut all, format!("decoder.model.{n}.convtr.convtr"), [width, width / 2, 2 * ratio], width / 2);
        residual(&mut all, format!("decoder.model.{}", n + 1), width / 2);
        (width, n) = (width / 2, n + 3);
    }
    conv(&mut all, format!("decoder.model.{n}.conv.conv"), [c.channels, width, c.last_kernel], c.channels);
    for q in 0..c.books {
        match c.code_dim {
            None => all.push((format!("quantizer.vq.layers.{q}._codebook.embed"), vec![c.card, c.dim])),
            Some(code) => {
                let name = format!("quantizer.vq.quantizers.{q}");
                all.push((format!("{name}.in_proj.weight"), vec![code, c.dim]));
                all.push((format!("{name}.in_proj.bias"), vec![code]));
                all.push((format!("{name}.out_proj.weight"), vec![c.dim, code]));
                all.push((format!("{name}.out_proj.bias"), vec![c.dim]));
                all.push((format!("{name}.codebook.weight"), vec![c.card, code]));
            }
        }
    }
    Ok(all)
}

/// A safetensors file of random bf16 values, ±0.5/√(last dimension): sums stay of the order of one, as in a trained model.
///
/// # Errors
/// The disk is full.
pub fn write(path: &Path, tensors: &[(String, Vec<usize>)]) -> Result<()> {
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<usize>();
        header.insert(name.clone(), json!({"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let header = serde_json::to_vec(&header)?;
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for (_, shape) in tensors {
        let scale = 1.0 / (*shape.last().unwrap_or(&1) as f32).sqrt();
        for _ in 0..shape.iter().product::<usize>() {
            // xorshift64.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let uniform = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
            file.write_all(&bf16::from_f32(uniform * scale).to_le_bytes())?;
        }
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sideman_engine::codec::Codec;
    use sideman_engine::lm::Lm;
    use sideman_kernels::Format;
    use sideman_kernels::cpu::CpuBackend;

    /// The engine loads a small model and both codecs written by this module, so names and shapes are right.
    #[test]
    fn the_engine_takes_what_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { name: "tiny", dim: 64, layers: 2, heads: 1, text: 32, streams: &MONO, card: 64, controls: true };
        make(&shape, dir.path()).unwrap();
        let mut cpu = CpuBackend::new(1);
        Lm::load(&mut cpu, &ModelDir::open(dir.path()).unwrap(), Format::Bf16).unwrap();
        for factorised in [false, true] {
            let CodecConfig::Seanet(mut config) = seanet(2, factorised) else { unreachable!() };
            (config.filters, config.dim, config.card) = (4, 16, 32);
            let config = CodecConfig::Seanet(config);
            let path = dir.path().join("codec.safetensors");
            write(&path, &seanet_tensors(&config).unwrap()).unwrap();
            Codec::read(&mut cpu, &config, sideman_engine::model::Tensors::open(&path).unwrap()).unwrap();
        }
    }
}
