//! Splits a text into token ids with the crate `tokenizers`. The text is not lower-cased; `</s>` is appended
//! (docs/explanation/musicgen-stem.md section 4).

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::charsmap;
use crate::error::{Error, Result};
use crate::lm::MAX_TEXT;
use crate::model::TextConfig;

/// The longest `tokenizer.json` that is read, in bytes: t5-base's has 2.4 MB.
const MAX_FILE: u64 = 64 << 20;
/// The longest text that is tokenized, in bytes. A longer one has more than [`MAX_TEXT`] tokens in any case.
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
    /// The file can't be read, or is not a tokenizer.
    pub fn open(path: &Path, config: &TextConfig) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(Error::io(path))?;
        if !meta.is_file() || meta.len() > MAX_FILE {
            return Err(Error::file(path, format!("not a tokenizer: it should be a file of at most {MAX_FILE} bytes")));
        }
        crate::placeholder::check(path)?;
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        rules(&bytes).map_err(|what| Error::file(path, what))?;
        let wrong = |e: tokenizers::Error| Error::file(path, format!("can't be read as a tokenizer: {e}"));
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(wrong)?;
        // Texts are neither cut nor padded, whatever the file says.
        inner.with_truncation(None).map_err(wrong)?;
        inner.with_padding(None);
        Ok(Tokenizer { path: path.to_owned(), inner, eos: config.eos, vocab: config.vocab })
    }

    /// Token ids of a text. The end of the sentence is appended, whatever the file's post-processor does.
    ///
    /// # Errors
    /// The text has more than [`MAX_TEXT`] tokens, or the file has an id that the model does not have.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let long = |what: String| Error::Input(format!("the text has {what}; it should have at most {MAX_TEXT} tokens"));
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
            Some(id) => Err(Error::file(&self.path, format!("token id {id}; the model has only {} ids", self.vocab))),
            None => Ok(ids),
        }
    }
}

/// Checks the compiled rules of the file's normalizers, which the crate `tokenizers` does not check.
fn rules(json: &[u8]) -> Result<(), String> {
    // Parses the whole file: the crate panics where it can't read a decoder.
    let mut file: serde_json::Value = serde_json::from_slice(json).map_err(|e| format!("can't be read as a tokenizer: {e}"))?;
    let mut open: Vec<serde_json::Value> = file.get_mut("normalizer").map(serde_json::Value::take).into_iter().collect();
    while let Some(value) = open.pop() {
        match value {
            serde_json::Value::Object(map) => {
                let text = map.get("precompiled_charsmap");
                // The crate panics on a normalizer of this type without rules.
                if text.is_some() || map.get("type").is_some_and(|t| t == "Precompiled") {
                    let text =
                        text.and_then(|v| v.as_str()).ok_or("its normalizer `Precompiled` has no `precompiled_charsmap`")?;
                    let bytes =
                        BASE64_STANDARD.decode(text).map_err(|e| format!("its normalization rules are not base64: {e}"))?;
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
