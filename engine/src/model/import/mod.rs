//! Published checkpoints become model directories: MusicGen-Stem and MusicGen from audiocraft's pickles, MusicGen from Hugging Face
//! folders, T5 with its tokenizer (docs/explanation/musicgen-stem.md sections 2 to 5). Nothing in a checkpoint is run, no size is taken on trust, and
//! tensors pass through memory one at a time.
//!
//! [`Plan::open`] reads structure only: what it accepts has every tensor at its right shape. [`Plan::write`] copies.

mod archive;
mod audiocraft;
mod huggingface;
mod keys;
mod names;
mod parts;
mod pickle;
mod published;
mod source;
mod spiece;
mod write;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use sideman_kernels::cpu::CpuBackend;

use crate::atomic::AtomicDir;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::model::{CodecConfig, Config, ModelDir, SAMPLE_RATE};
use crate::text::Tokenizer;
use names::{Layout, Need, Take};
pub use pickle::{Checkpoint, parse as parse_pickle};
pub use source::{Source, Stored};
pub use spiece::convert as convert_spiece;
pub use write::Quant;
use write::Writer;

/// The longest tokenizer file that is copied: t5-base's has 2.4 MB.
const MAX_TOKENIZER: u64 = 64 << 20;

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the checkpoints that are done with.
    pub done: u64,
    /// Bytes that there are, each read twice: for the hash, and for its weights.
    pub total: u64,
}

/// Called after each tensor; `Break` ends the import with [`Error::Cancelled`].
pub type Report<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// One tensor file of the directory.
#[derive(Debug)]
struct Part {
    file: String,
    source: usize,
    items: Vec<(Need, Take)>,
}

/// A checkpoint whose structure has been read and found right.
#[derive(Debug)]
pub struct Plan {
    config: Config,
    sources: Vec<Source>,
    parts: Vec<Part>,
    tokenizer: Option<Vec<u8>>,
    notes: Vec<String>,
}

/// What an import has found.
#[derive(Debug)]
pub struct Imported {
    /// The configuration that was written.
    pub config: Config,
    /// What there is to know, a sentence each.
    pub notes: Vec<String>,
    /// What gives reason to doubt the files, a sentence each.
    pub doubts: Vec<String>,
}

impl Plan {
    /// Reads the structure of the checkpoint in the folder `src`, with T5 from the folder `t5` where it is given. Without one, a
    /// model from audiocraft's pickles, which hold no T5, takes no text.
    ///
    /// # Errors
    /// No checkpoint, or one that the engine does not play; a file that is damaged or hostile; a tensor that is missing, misshapen or
    /// unknown. The error names it.
    pub fn open(src: &Path, t5: Option<&Path>) -> Result<Plan> {
        let given = t5.is_some();
        let text = t5.map(huggingface::text).transpose()?;
        let parts = if src.join("state_dict.bin").exists() {
            audiocraft::read(src, text)?
        } else if src.join("config.json").exists() {
            huggingface::read(src, text)?
        } else {
            return Err(Error::file(
                src,
                "no checkpoint: it should be a folder with state_dict.bin (audiocraft) or config.json (Hugging Face)",
            ));
        };
        let mut plan = Plan::check(src, parts, given)?;
        plan.note();
        Ok(plan)
    }

    /// The configuration that will be written, but for its provenance.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Tensors of the language model's file in the directory.
    pub fn tensors(&self) -> usize {
        self.parts.first().map_or(0, |p| p.items.len())
    }

    /// Lists what the directory needs, and checks that it is all there and nothing else.
    fn check(src: &Path, found: parts::Parts, given: bool) -> Result<Plan> {
        let parts::Parts { layout, mut config, lm, codecs, text } = found;
        for codec in &codecs {
            config.codecs.insert(codec.stem.clone(), CodecConfig::Seanet(codec.config.clone()));
        }
        config.validate(src)?;
        let mut plan = Plan { sources: vec![lm], parts: Vec::new(), tokenizer: None, notes: Vec::new(), config };
        let items = names::lm(&plan.config).into_iter().map(|need| (names::take_lm(layout, &need.name), need));
        let items = items.map(|(take, need)| (need, take)).collect();
        plan.add("lm.safetensors".into(), 0, items)?;
        for codec in codecs {
            let own = plan.own(codec.source);
            let source = &plan.sources[own];
            let take = |need: Need| (names::take_codec(layout, codec.prefix, &need.name, source), need);
            let items = names::codec(&codec.config).into_iter().map(take).map(|(take, need)| (need, take)).collect();
            plan.add(format!("codec.{}.safetensors", codec.stem), own, items)?;
        }
        let mut of_text = None;
        if let Some(text) = text {
            let own = plan.own(text.source);
            of_text = Some(own).filter(|own| *own > 0);
            let source = &plan.sources[own];
            let take = |need: Need| (names::take_text(text.prefix, &need.name, source), need);
            let items = names::text(&text.config).into_iter().map(take).map(|(take, need)| (need, take)).collect();
            plan.add("text.safetensors".into(), own, items)?;
            plan.tokenizer = Some(tokenizer(&text.folder, text.config.vocab)?);
        }
        let has_text = plan.config.text.is_some();
        for (i, source) in plan.sources.iter().enumerate() {
            let skip = |name: &str| match layout {
                _ if of_text == Some(i) => huggingface::ignored_text(name),
                Layout::Audiocraft => audiocraft::ignored(name, has_text),
                Layout::HuggingFace => huggingface::ignored(name, given),
            };
            if let Some(name) = source.unused(skip) {
                return Err(Error::tensor(source.path(name), name, "the model of its configuration has no such tensor"));
            }
        }
        Ok(plan)
    }

    /// The place of a part's own source among the sources; 0 for a part without one.
    fn own(&mut self, source: Option<Source>) -> usize {
        let Some(source) = source else { return 0 };
        self.sources.push(source);
        self.sources.len() - 1
    }

    fn add(&mut self, file: String, source: usize, items: Vec<(Need, Take)>) -> Result<()> {
        for (need, take) in &items {
            names::check(&mut self.sources[source], need, take)?;
        }
        self.parts.push(Part { file, source, items });
        Ok(())
    }

    /// Says what was found.
    fn note(&mut self) {
        let (c, lm) = (&self.config, &self.config.lm);
        let delays: Vec<String> = c.streams.iter().map(|s| s.delay.to_string()).collect();
        self.notes.push(format!(
            "{}: {} streams of {} with the delays {}; transformer of {} layers of {}, {} tensors",
            c.name,
            c.streams.len(),
            c.stems.join(", "),
            delays.join(" "),
            lm.layers,
            lm.dim,
            self.tensors()
        ));
        for (stem, codec) in &c.codecs {
            if let CodecConfig::Seanet(s) = codec {
                let kind = format!("{:?}, edges {:?}", s.quantizer, s.pad_mode).to_lowercase();
                self.notes.push(format!("codec of {stem}: {} x {} codes a frame, {kind}", s.books, s.card));
            }
        }
        self.notes.push(match &c.text {
            Some(t) => format!("T5 of {} layers of {}", t.layers, t.dim),
            None => "no T5: the model will take no text; audiocraft's files hold none, so give its folder with --t5".into(),
        });
    }

    /// Writes the model directory `to`, which must not be there yet. It appears under its name when it is whole.
    ///
    /// # Errors
    /// `to` is there already or can't be written, a file can't be read or holds a value that is not finite, or `report` says stop;
    /// nothing is left behind.
    pub fn write(mut self, to: &Path, quant: Quant, report: Report<'_>) -> Result<Imported> {
        let dir = AtomicDir::create(to)?;
        let folder = dir.temporary();
        let paths: Vec<PathBuf> = self.sources.iter().flat_map(|s| s.paths().map(Path::to_owned)).collect();
        let sizes = paths.iter().map(|p| fs::metadata(p).map(|m| m.len()).map_err(Error::io(p))).collect::<Result<Vec<u64>>>()?;
        let total = 2 * sizes.iter().sum::<u64>();
        let mut done = 0;
        let mut doubts = Vec::new();
        let mut hashes = Vec::new();
        for (path, size) in paths.iter().zip(&sizes) {
            let hash = published::sha256(path, &mut |n| {
                done += n;
                report(Progress { done, total })
            })?;
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let (what, doubt) = published::known(*size, &hash);
            if doubt { &mut doubts } else { &mut self.notes }.push(format!("{name}: {what}"));
            hashes.push(format!("{name} {hash}"));
        }
        self.config.provenance = format!("{}, by `sideman model import` from (SHA-256) {}", self.config.name, hashes.join(", "));

        for part in &self.parts {
            let source = &mut self.sources[part.source];
            let needs: Vec<(&Need, Dtype)> = part.items.iter().map(|(need, take)| (need, dtype(source, take))).collect();
            let mut writer = Writer::create(&folder.join(&part.file), &needs, quant)?;
            for (need, take) in &part.items {
                let values = names::read(source, take)?;
                writer.put(&need.name, &values)?;
                done += take.parts().iter().filter_map(|n| source.get(n)).map(Stored::bytes).sum::<u64>();
                if report(Progress { done: done.min(total), total }).is_break() {
                    return Err(Error::Cancelled);
                }
            }
            writer.finish()?;
        }
        if let (Some(text), Some(config)) = (&self.tokenizer, &self.config.text) {
            let path = folder.join("tokenizer.json");
            fs::write(&path, text).map_err(Error::io(&path))?;
            // It must be one, and give ids that the model has.
            Tokenizer::open(&path, config)?.ids("a bass line")?;
        }
        let path = folder.join("config.json");
        let mut json = serde_json::to_vec_pretty(&self.config).map_err(|e| Error::file(&path, e.to_string()))?;
        json.push(b'\n');
        fs::write(&path, json).map_err(Error::io(&path))?;
        let written = ModelDir::open(folder)?;
        self.silence(&written, &mut doubts)?;
        dir.commit()?;
        report(Progress { done: total, total }).is_break();
        Ok(Imported { config: self.config, notes: self.notes, doubts })
    }

    /// Holds codecs of the published sizes to what they are said to make of silence (section 3.10).
    fn silence(&mut self, dir: &ModelDir, doubts: &mut Vec<String>) -> Result<()> {
        for (stem, codec) in &self.config.codecs {
            let CodecConfig::Seanet(codec) = codec else { continue };
            let Some(want) = published::silence(stem, codec) else { continue };
            let mut cpu = CpuBackend::new(1);
            let codec = Codec::load(&mut cpu, dir, stem)?;
            let codes = codec.encode(&mut cpu, &vec![0.0; 2 * SAMPLE_RATE])?;
            // Away from both edges, where the network has settled.
            let frame = codes.chunks_exact(want.len()).nth(75).unwrap_or_default();
            if frame == want {
                self.notes.push(format!("codec of {stem}: silence becomes the codes {want:?}, as it should"));
            } else {
                doubts.push(format!(
                    "codec of {stem}: silence becomes the codes {frame:?}; the published codec is said to give {want:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Type of the values that a tensor is made of; f32 where they are computed or differ.
fn dtype(source: &Source, take: &Take) -> Dtype {
    let mut found = take.parts().into_iter().filter_map(|n| source.get(n)).map(|t| t.dtype);
    match (take, found.next()) {
        (Take::Norm { .. }, _) | (_, None) => Dtype::F32,
        (_, Some(first)) => {
            if found.all(|d| d == first) {
                first
            } else {
                Dtype::F32
            }
        }
    }
}

/// The text of `tokenizer.json` from a T5's folder.
fn tokenizer(dir: &Path, vocab: usize) -> Result<Vec<u8>> {
    let read = |path: &Path| -> Result<Vec<u8>> {
        let len = fs::metadata(path).map_err(Error::io(path))?.len();
        if len > MAX_TOKENIZER {
            return Err(Error::file(path, format!("no tokenizer: it should have at most {MAX_TOKENIZER} bytes")));
        }
        fs::read(path).map_err(Error::io(path))
    };
    let (json, spiece) = (dir.join("tokenizer.json"), dir.join("spiece.model"));
    if json.exists() {
        read(&json)
    } else if spiece.exists() {
        convert_spiece(&read(&spiece)?, vocab).map_err(|what| Error::file(&spiece, what))
    } else {
        Err(Error::file(dir, "no tokenizer: T5's folder should hold tokenizer.json or spiece.model"))
    }
}
