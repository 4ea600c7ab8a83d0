//! Text to ids, by the `tokenizers` crate: raw text, nothing lower-cased, `</s>` at the end (docs/explanation/musicgen-stem.md section 4).

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::charsmap;
use crate::error::{Error, Result};
use crate::lm::MAX_TEXT;
use crate::model::TextConfig;

/// The longest `tokenizer.json` that is read: t5-base's has 2.4 MB.
const MAX_FILE: u64 = 64 << 20;
/// The longest text that is looked at, in bytes; a longer one could not have few enough tokens.
const MAX_BYTES: usize = 64 * MAX_TEXT;

/// A loaded `tokenizer.json`.
pub struct Tokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    eos: u32,
    vocab: usize,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// The file can't be read, or isn't a tokenizer.
    pub fn open(path: &Path, config: &TextConfig) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(Error::io(path))?;
        if !meta.is_file() || meta.len() > MAX_FILE {
            return Err(Error::file(path, format!("no tokenizer: it should be a file of at most {MAX_FILE} bytes")));
        }
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        rules(&bytes).map_err(|what| Error::file(path, what))?;
        let wrong = |e: tokenizers::Error| Error::file(path, format!("no tokenizer that can be read: {e}"));
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(wrong)?;
        // Neither is part of the model: a text keeps its own length.
        inner.with_truncation(None).map_err(wrong)?;
        inner.with_padding(None);
        Ok(Tokenizer { path: path.to_owned(), inner, eos: config.eos, vocab: config.vocab })
    }

    /// Ids of a text; the end of the sentence is appended here, whatever the file's own post-processor says.
    ///
    /// # Errors
    /// The text has more than 512 tokens, or the file gives an id that the model lacks.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let long = |what: String| Error::Input(format!("the text is too long: {what}, at most {MAX_TEXT} tokens are read"));
        if text.len() > MAX_BYTES {
            return Err(long(format!("{} bytes", text.len())));
        }
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|e| Error::file(&self.path, format!("the text can't be tokenized: {e}")))?;
        let mut ids = encoding.get_ids().to_vec();
        ids.push(self.eos);
        if ids.len() > MAX_TEXT {
            return Err(long(format!("{} tokens", ids.len())));
        }
        match ids.iter().find(|&&id| id as usize >= self.vocab) {
            Some(id) => Err(Error::file(&self.path, format!("id {id} is beyond the model's vocabulary of {}", self.vocab))),
            None => Ok(ids),
        }
    }
}

/// Checks the compiled rules of the file's normalizers, which the crate would take on trust.
fn rules(json: &[u8]) -> Result<(), String> {
    // All of it, as values: where the crate can't read a decoder, it panics.
    let mut file: serde_json::Value = serde_json::from_slice(json).map_err(|e| format!("no tokenizer that can be read: {e}"))?;
    let mut open: Vec<serde_json::Value> = file.get_mut("normalizer").map(serde_json::Value::take).into_iter().collect();
    while let Some(value) = open.pop() {
        match value {
            serde_json::Value::Object(map) => {
                let text = map.get("precompiled_charsmap");
                // The crate panics where a normalizer of this type has no rules.
                if text.is_some() || map.get("type").is_some_and(|t| t == "Precompiled") {
                    let text =
                        text.and_then(|v| v.as_str()).ok_or("a normalizer `Precompiled` without `precompiled_charsmap`")?;
                    let bytes =
                        BASE64_STANDARD.decode(text).map_err(|e| format!("its normalization rules are no base64: {e}"))?;
                    charsmap::check(&bytes)?;
                }
                open.extend(map.into_iter().map(|(_, v)| v));
            }
            serde_json::Value::Array(list) => open.extend(list),
            _ => {}
        }
    }
    Ok(())
}
