//! The plan of an import: the configuration of the new model, and where each of its tensors comes from.

use std::fs;
use std::path::Path;

use super::needed::{self, NeededTensor};
use super::parts::Parts;
use super::recipe::{self, Layout, Recipe};
use super::source::Source;
use super::{audiocraft, huggingface, spiece};
use crate::error::{Error, Result};
use crate::model::{CodecConfig, Config};

/// The longest tokenizer file that is copied, in bytes: t5-base's has 2.4 MB.
const MAX_TOKENIZER: u64 = 64 << 20;

/// A tensor file of the new directory.
#[derive(Debug)]
pub(super) struct TensorFile {
    pub name: String,
    /// Index of the checkpoint file(s) in [`Plan::sources`].
    pub source: usize,
    pub tensors: Vec<(NeededTensor, Recipe)>,
}

/// A checkpoint whose structure has been read and checked, ready to be written as a model directory.
#[derive(Debug)]
pub struct Plan {
    pub(super) config: Config,
    pub(super) sources: Vec<Source>,
    /// The language model's file first.
    pub(super) files: Vec<TensorFile>,
    /// The text of `tokenizer.json`; none where the model takes no text.
    pub(super) tokenizer: Option<Vec<u8>>,
    pub(super) notes: Vec<String>,
}

impl Plan {
    /// Reads the structure of the checkpoint in the folder `src`. T5 comes from the folder `t5` where it is
    /// given. Audiocraft's pickles have no T5: without `t5` their model takes no text.
    ///
    /// # Errors
    /// `src` has no checkpoint, or one of a kind that the engine can't run; a file is damaged or hostile; a
    /// tensor is missing, unknown or has the wrong shape. The error names it.
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
                "not a checkpoint: it should be a folder with state_dict.bin (audiocraft) or config.json (Hugging Face)",
            ));
        };
        let mut plan = Plan::check(src, parts, given)?;
        plan.note_structure();
        Ok(plan)
    }

    /// The configuration that will be written. Its provenance is still empty.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Number of tensors in the language model's file.
    pub fn tensors(&self) -> usize {
        self.files.first().map_or(0, |file| file.tensors.len())
    }

    /// Lists the tensors that the directory needs. Checks that the checkpoint has all of them and no others.
    ///
    /// * `own_t5`: T5 comes from a folder of its own.
    fn check(src: &Path, found: Parts, own_t5: bool) -> Result<Plan> {
        let Parts { layout, mut config, lm, codecs, text } = found;
        for codec in &codecs {
            config.codecs.insert(codec.stem.clone(), CodecConfig::Seanet(codec.config.clone()));
        }
        config.validate(src)?;
        let mut plan = Plan { sources: vec![lm], files: Vec::new(), tokenizer: None, notes: Vec::new(), config };
        let recipe = |tensor: NeededTensor| (recipe::lm(layout, &tensor.name), tensor);
        let lm = needed::lm(&plan.config).into_iter().map(recipe).map(|(recipe, tensor)| (tensor, recipe)).collect();
        plan.add("lm.safetensors".into(), 0, lm)?;
        for codec in codecs {
            let own = plan.add_source(codec.source);
            let source = &plan.sources[own];
            let recipe = |tensor: NeededTensor| (recipe::codec(layout, codec.prefix, &tensor.name, source), tensor);
            let tensors = needed::codec(&codec.config).into_iter().map(recipe).map(|(recipe, tensor)| (tensor, recipe)).collect();
            plan.add(format!("codec.{}.safetensors", codec.stem), own, tensors)?;
        }
        let mut text_source = None;
        if let Some(text) = text {
            let own = plan.add_source(text.source);
            text_source = Some(own).filter(|own| *own > 0);
            let source = &plan.sources[own];
            let recipe = |tensor: NeededTensor| (recipe::text(text.prefix, &tensor.name, source), tensor);
            let tensors = needed::text(&text.config).into_iter().map(recipe).map(|(recipe, tensor)| (tensor, recipe)).collect();
            plan.add("text.safetensors".into(), own, tensors)?;
            plan.tokenizer = Some(tokenizer(&text.folder, text.config.vocab)?);
        }
        let has_text = plan.config.text.is_some();
        for (i, source) in plan.sources.iter().enumerate() {
            let skip = |name: &str| match layout {
                _ if text_source == Some(i) => huggingface::ignored_text(name),
                Layout::Audiocraft => audiocraft::ignored(name, has_text),
                Layout::HuggingFace => huggingface::ignored(name, own_t5),
            };
            if let Some(name) = source.unused(skip) {
                return Err(Error::tensor(source.path(name), name, "unknown: the model in its configuration has no such tensor"));
            }
        }
        Ok(plan)
    }

    /// Adds a source and returns its index; 0, the language model's, where there is none.
    fn add_source(&mut self, source: Option<Source>) -> usize {
        let Some(source) = source else { return 0 };
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// Adds a tensor file after a check of its tensors.
    fn add(&mut self, name: String, source: usize, tensors: Vec<(NeededTensor, Recipe)>) -> Result<()> {
        for (tensor, recipe) in &tensors {
            recipe::check(&mut self.sources[source], tensor, recipe)?;
        }
        self.files.push(TensorFile { name, source, tensors });
        Ok(())
    }

    /// Adds the notes about sizes, codecs and T5.
    fn note_structure(&mut self) {
        let (c, lm) = (&self.config, &self.config.lm);
        let delays: Vec<String> = c.streams.iter().map(|s| s.delay.to_string()).collect();
        self.notes.push(format!(
            "{}: {} streams of {} with the delays {}; transformer with {} layers of width {}, {} tensors",
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
                let kind = format!("{:?}, padding {:?}", s.quantizer, s.pad_mode).to_lowercase();
                self.notes.push(format!("codec of {stem}: {} x {} codes per frame, {kind}", s.books, s.card));
            }
        }
        self.notes.push(match &c.text {
            Some(t) => format!("T5 with {} layers of width {}", t.layers, t.dim),
            None => "no T5: the model will take no text; audiocraft's files have none, so give its folder with --t5".into(),
        });
    }
}

/// The text of `tokenizer.json` from the folder of a T5.
fn tokenizer(dir: &Path, vocab: usize) -> Result<Vec<u8>> {
    let read = |path: &Path| -> Result<Vec<u8>> {
        let len = fs::metadata(path).map_err(Error::io(path))?.len();
        if len > MAX_TOKENIZER {
            return Err(Error::file(path, format!("not a tokenizer: it should have at most {MAX_TOKENIZER} bytes")));
        }
        crate::placeholder::check(path)?;
        fs::read(path).map_err(Error::io(path))
    };
    let (json, spiece) = (dir.join("tokenizer.json"), dir.join("spiece.model"));
    if json.exists() {
        read(&json)
    } else if spiece.exists() {
        spiece::convert(&read(&spiece)?, vocab).map_err(|what| Error::file(&spiece, what))
    } else {
        Err(Error::file(dir, "no tokenizer: the folder of T5 should have tokenizer.json or spiece.model"))
    }
}
