//! Imports separators of the package `demucs`: Hybrid Transformer Demucs from a `.th` file (a pickle), from a
//! safetensors file, or from a folder with several networks and the YAML file of their bag.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Value, json};

use super::keys::Keys;
use super::needed::{NeededTensor, Role};
use super::recipe::{self, Recipe};
use super::source::{Source, Stored};
use super::writer::{Quant, Writer};
use super::{Progress, Report, published};
use crate::atomic::AtomicDir;
use crate::error::{Error, Result};
use crate::separate::{HtdemucsSizes, NetworkSizes, SeparatorConfig, SeparatorDir, htdemucs_tensors};

/// The longest YAML file of a bag that is read, in bytes.
const MAX_BAG: u64 = 1 << 16;

/// What is known about the licence of the published weights.
const LICENCE: &str = "unclear. The code is MIT. Of the weights their author wrote \"only for scientific purposes\" \
    (facebookresearch/demucs, issue 327, 2022) and \"research purpose\" (issue 508, 2023); the export tool of the package \
    4.1.0 (2026) writes cards that say \"license: mit\". Whoever uses them has to judge";

/// Separators whose structure has been read and checked, ready to be written as one directory.
#[derive(Debug)]
pub struct SeparatorPlan {
    config: SeparatorConfig,
    /// One for each network.
    sources: Vec<Source>,
    tensors: Vec<NeededTensor>,
    notes: Vec<String>,
}

/// The result of an import.
#[derive(Debug)]
pub struct ImportedSeparator {
    /// The configuration that was written.
    pub config: SeparatorConfig,
    /// What was found, a sentence each.
    pub notes: Vec<String>,
}

/// A network of a bag: its weights, and the arguments that the package builds it with.
struct Network {
    source: Source,
    keys: Keys,
}

impl SeparatorPlan {
    /// Whether `src` looks like a separator: a file, or a folder that has a `.yaml` or a `.th` file and no language model.
    pub fn is_separator(src: &Path) -> bool {
        let is_model = ["config.json", "state_dict.bin"].iter().any(|file| src.join(file).exists());
        src.is_file() || (!is_model && ["yaml", "th"].iter().any(|ending| !files(src, ending).is_empty()))
    }

    /// Reads the structure of the networks in `src`: a `.th` or safetensors file, or a folder with the YAML file of
    /// a bag.
    ///
    /// # Errors
    /// A file is damaged or hostile, the network is of another kind, or a tensor is missing, unknown or has the wrong
    /// shape. The error names it.
    pub fn open(src: &Path) -> Result<SeparatorPlan> {
        let Bag { name, paths, shares } =
            if src.is_dir() { bag(src)? } else { Bag { name: stem(src), paths: vec![src.to_owned()], shares: None } };
        let networks = paths.iter().map(|path| open(path)).collect::<Result<Vec<_>>>()?;
        let first = arguments(&networks[0].keys)?;
        for (network, path) in networks.iter().zip(&paths).skip(1) {
            if arguments(&network.keys)? != first {
                let what = format!("another network than {}; those of a bag should have the same arguments", paths[0].display());
                return Err(Error::file(path, what));
            }
        }
        let (sources, sample_rate, sizes) = first;
        let bag = shares.unwrap_or_else(|| vec![vec![1.0; sources.len()]; networks.len()]);
        let config = SeparatorConfig {
            format: 1,
            name,
            licence: LICENCE.into(),
            provenance: String::new(),
            sources,
            sample_rate,
            network: NetworkSizes::Htdemucs(sizes.clone()),
            bag,
        };
        config.validate(src)?;
        let needed = htdemucs_tensors(&sizes, config.sources.len());
        let needed = needed.into_iter().map(|t| NeededTensor { name: t.name, shape: t.shape, role: Role::Text });
        let mut plan = SeparatorPlan { config, sources: Vec::new(), tensors: needed.collect(), notes: Vec::new() };
        for mut network in networks {
            for tensor in &plan.tensors {
                recipe::check(&mut network.source, tensor, &Recipe::Copy(tensor.name.clone()))?;
            }
            if let Some(name) = network.source.unused(|_| false) {
                let what = "unknown: a network with its arguments has no such tensor";
                return Err(Error::tensor(network.source.path(name), name, what));
            }
            plan.sources.push(network.source);
        }
        plan.note_structure();
        Ok(plan)
    }

    /// The configuration that will be written. Its provenance is still empty.
    pub fn config(&self) -> &SeparatorConfig {
        &self.config
    }

    /// Writes the directory `to`, which must not exist or be empty. It appears when it is complete.
    ///
    /// # Errors
    /// `to` exists or can't be written, a file can't be read or has a value that is not finite, or `report`
    /// returned `Break`. Nothing is left behind.
    pub fn write(mut self, to: &Path, report: Report<'_>) -> Result<ImportedSeparator> {
        let dir = AtomicDir::create(to)?;
        let paths: Vec<PathBuf> = self.sources.iter().flat_map(|s| s.paths().map(Path::to_owned)).collect();
        let sizes = paths.iter().map(|p| fs::metadata(p).map(|m| m.len()).map_err(Error::io(p))).collect::<Result<Vec<u64>>>()?;
        let total = 2 * sizes.iter().sum::<u64>();
        let (mut done, mut hashes) = (0, Vec::new());
        for path in &paths {
            let hash = published::sha256(path, &mut |n| {
                done += n;
                report(Progress { done, total })
            })?;
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            hashes.push(format!("{name} {hash}"));
        }
        self.config.provenance = format!("{}, by `sideman model import` from (SHA-256) {}", self.config.name, hashes.join(", "));
        let numbered: Vec<(usize, NeededTensor, NeededTensor)> = (0..self.sources.len())
            .flat_map(|k| {
                self.tensors.iter().map(move |t| (k, t.clone(), NeededTensor { name: format!("{k}.{}", t.name), ..t.clone() }))
            })
            .collect();
        let dtype = |k: usize, name: &str| self.sources[k].get(name).map_or(Dtype::F32, |t| t.dtype);
        let types: Vec<(&NeededTensor, Dtype)> = numbered.iter().map(|(k, from, to)| (to, dtype(*k, &from.name))).collect();
        let mut writer = Writer::create(&dir.temporary().join("separator.safetensors"), &types, Quant::AsItIs)?;
        for (k, from, to) in &numbered {
            let values = self.sources[*k].read(&from.name)?;
            writer.put(&to.name, &values)?;
            done += self.sources[*k].get(&from.name).map_or(0, Stored::bytes);
            if report(Progress { done: done.min(total), total }).is_break() {
                return Err(Error::Cancelled);
            }
        }
        writer.finish()?;
        let path = dir.temporary().join("separator.json");
        let mut json = serde_json::to_vec_pretty(&self.config).map_err(|e| Error::file(&path, e.to_string()))?;
        json.push(b'\n');
        fs::write(&path, json).map_err(Error::io(&path))?;
        SeparatorDir::open(dir.temporary())?;
        dir.commit()?;
        report(Progress { done: total, total }).is_break();
        Ok(ImportedSeparator { config: self.config, notes: self.notes })
    }

    fn note_structure(&mut self) {
        let SeparatorConfig { name, sources, network, sample_rate, bag, .. } = &self.config;
        let networks = if bag.len() == 1 { "one network".into() } else { format!("{} networks", bag.len()) };
        self.notes.push(format!(
            "{name}: {networks} of {} tensors, for {}; segments of {:.1} s at {sample_rate} Hz",
            self.tensors.len(),
            sources.join(", "),
            network.segment() as f64 / *sample_rate as f64,
        ));
    }
}

/// Files of a folder with this ending, in order.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    found.sort();
    found
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The files of one separator.
struct Bag {
    name: String,
    /// One for each network.
    paths: Vec<PathBuf>,
    /// Share of each network in each source; none where all are equal.
    shares: Option<Vec<Vec<f32>>>,
}

/// The bag in a folder.
fn bag(dir: &Path) -> Result<Bag> {
    let yaml = match &files(dir, "yaml")[..] {
        [yaml] => yaml.clone(),
        found => {
            let what = format!("{} YAML files; it should have one, which names the networks of the bag", found.len());
            return Err(Error::file(dir, what));
        }
    };
    let len = fs::metadata(&yaml).map_err(Error::io(&yaml))?.len();
    if len > MAX_BAG {
        return Err(Error::file(&yaml, format!("not the definition of a bag: it should have at most {MAX_BAG} bytes")));
    }
    let text = fs::read_to_string(&yaml).map_err(Error::io(&yaml))?;
    let keys = Keys::yaml(&yaml, &text, "the definition of a bag")?;
    let models = keys.texts("models")?;
    if models.is_empty() || models.len() > 16 {
        return Err(keys.error("models", format!("{} networks; there should be 1 to 16", models.len())));
    }
    let all: Vec<PathBuf> = ["safetensors", "th"].iter().flat_map(|ending| files(dir, ending)).collect();
    let find = |model: &String| {
        let is_it = |path: &&PathBuf| stem(path).split('-').next() == Some(model);
        all.iter().find(is_it).cloned().ok_or_else(|| {
            keys.error("models", format!("{model}: the folder should have {model}.safetensors, {model}.th or {model}-HASH.th"))
        })
    };
    let paths = models.iter().map(find).collect::<Result<Vec<_>>>()?;
    let numbers =
        |row: &Value| row.as_array().and_then(|r| r.iter().map(|v| v.as_f64().map(|n| n as f32)).collect::<Option<Vec<_>>>());
    let shares = match keys.get("weights") {
        None => None,
        Some(rows) => match rows.as_array().and_then(|rows| rows.iter().map(numbers).collect::<Option<Vec<_>>>()) {
            Some(rows) if rows.len() == models.len() => Some(rows),
            _ => return Err(keys.error("weights", "it should have a list of numbers for each network")),
        },
    };
    Ok(Bag { name: stem(&yaml), paths, shares })
}

/// Opens a file with one network.
fn open(path: &Path) -> Result<Network> {
    if path.extension().is_some_and(|e| e == "safetensors") {
        let (source, metadata) = Source::safetensors(path)?;
        let part = |key: &str| -> Result<Value> {
            let text = metadata.get(key).ok_or_else(|| {
                Error::file(path, format!("no `{key}` in its metadata; it should be a file of the package demucs, which has one"))
            })?;
            serde_json::from_str(text).map_err(|e| Error::file(path, format!("`{key}` in its metadata: not JSON: {e}")))
        };
        let class = metadata.get("klass").cloned().unwrap_or_default();
        let root = json!({"klass": class, "args": part("args")?, "kwargs": part("kwargs")?});
        return Ok(Network { source, keys: Keys::value(path, root) });
    }
    let (source, checkpoint) = Source::pickle(path).map_err(|e| match e {
        Error::File { path, what } => {
            let hint = "the same networks are published as safetensors files, which can be imported too";
            Error::File { path, what: format!("{what} ({hint})") }
        }
        other => other,
    })?;
    match checkpoint.network {
        Some(root) => Ok(Network { source, keys: Keys::value(path, root) }),
        None => Err(Error::file(path, "not a separator: it should be a file of the package demucs, with `klass` and `state`")),
    }
}

/// Arguments that have to be missing or as here. Others change sizes, or only training.
fn fixed() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("audio_channels", vec![2.into()]),
        ("channels_time", vec![Value::Null]),
        ("growth", vec![2.into(), 2.0.into()]),
        ("wiener_iters", vec![0.into()]),
        ("cac", vec![true.into()]),
        ("depth", vec![4.into()]),
        ("rewrite", vec![true.into()]),
        ("multi_freqs", vec![json!([])]),
        ("freq_emb", vec![0.2.into()]),
        ("emb_scale", vec![10.into(), 10.0.into()]),
        ("kernel_size", vec![8.into()]),
        ("stride", vec![4.into()]),
        ("context", vec![1.into()]),
        ("context_enc", vec![0.into()]),
        ("norm_starts", vec![4.into()]),
        ("dconv_mode", vec![3.into()]),
        ("dconv_depth", vec![2.into()]),
        ("dconv_comp", vec![8.into(), 8.0.into()]),
        ("t_emb", vec!["sin".into()]),
        ("t_norm_in", vec![true.into()]),
        ("t_norm_in_group", vec![false.into(), 0.into()]),
        ("t_group_norm", vec![false.into(), 0.into()]),
        ("t_norm_first", vec![true.into()]),
        ("t_norm_out", vec![true.into(), 1.into()]),
        ("t_max_period", vec![10_000.into(), 10_000.0.into()]),
        ("t_layer_scale", vec![true.into()]),
        ("t_gelu", vec![true.into()]),
        ("t_weight_pos_embed", vec![1.into(), 1.0.into()]),
        ("t_sin_random_shift", vec![0.into()]),
        ("t_sparse_self_attn", vec![false.into()]),
        ("t_sparse_cross_attn", vec![false.into()]),
        ("t_cross_first", vec![false.into()]),
        ("use_train_segment", vec![true.into()]),
    ]
}

/// Sources, sample rate and sizes of a network. Missing arguments have the package's defaults.
fn arguments(network: &Keys) -> Result<(Vec<String>, usize, HtdemucsSizes)> {
    match network.text("klass")? {
        "demucs.htdemucs.HTDemucs" => {}
        "demucs.hdemucs.HDemucs" => {
            let what = "Hybrid Demucs of version 3 (hdemucs_mmi), which has LSTMs and local attention that sideman can't run; \
                use htdemucs, htdemucs_ft or htdemucs_6s";
            return Err(network.error("klass", what));
        }
        other => {
            return Err(network.error("klass", format!("{other:?}; sideman runs demucs.htdemucs.HTDemucs only")));
        }
    }
    let kwargs = network.under("kwargs").unwrap_or_else(|| network.clone());
    for (key, values) in fixed() {
        kwargs.only(key, &values)?;
    }
    if kwargs.get("dconv_mode").is_none() {
        return Err(kwargs.error("dconv_mode", "missing; sideman supports only 3, DConv in encoder and decoder"));
    }
    // The first argument, by position or by name.
    let first = network.get("args").and_then(|args| args.get(0)).or(kwargs.get("sources")).cloned();
    let sources = network.with("sources", first.unwrap_or(Value::Null)).texts("sources")?;
    let sample_rate = kwargs.size_or("samplerate", 44_100)?;
    let rate = sample_rate as u64;
    let segment = match kwargs.get("segment") {
        None => Some(10 * rate),
        Some(v) if v.is_object() => {
            let (n, d) = (v.get("numerator").and_then(Value::as_u64), v.get("denominator").and_then(Value::as_u64));
            n.zip(d).filter(|(_, d)| *d > 0).and_then(|(n, d)| Some(n.checked_mul(rate)? / d))
        }
        Some(v) => v.as_f64().filter(|s| (0.0..1e4).contains(s)).map(|s| (s * rate as f64) as u64),
    };
    let segment = segment.and_then(|n| usize::try_from(n).ok());
    let segment = segment.ok_or_else(|| kwargs.error("segment", "it should be a length in seconds"))?;
    let channels = kwargs.size_or("channels", 48)?;
    let bottom = kwargs.size_or("bottom_channels", 0)?;
    let mut sizes = HtdemucsSizes {
        channels,
        n_fft: kwargs.size_or("nfft", 4096)?,
        bottom,
        layers: kwargs.size_or("t_layers", 5)?,
        heads: kwargs.size_or("t_heads", 8)?,
        ffn: 0,
        segment,
    };
    if channels > 1 << 16 || bottom > 1 << 16 {
        return Err(kwargs.error("channels", "far too many"));
    }
    sizes.ffn = (sizes.dim() as f64 * f64::from(kwargs.number_or("t_hidden_scale", 4.0)?)).clamp(0.0, 1e9) as usize;
    Ok((sources, sample_rate, sizes))
}
