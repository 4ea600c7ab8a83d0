//! The text encoder: turns a prompt into the hidden states that the language model attends to (tokenizer,
//! then T5's encoder).

pub(crate) mod charsmap;
mod t5;
mod tokenizer;

pub use t5::{T5, bucket};
pub use tokenizer::Tokenizer;

use sideman_kernels::cpu::CpuBackend;

use crate::error::Result;
use crate::model::ModelDir;

/// Hidden states of a text: `len` rows of `dim` values, before the language model's projection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hidden {
    /// Tokens, with the end of the sentence; 0: no text (the null condition).
    pub len: usize,
    /// Values \[len, dim\], row by row.
    pub data: Vec<f32>,
}

/// Tokenizer and T5. Always on the CPU, with one thread: a text is encoded once, which takes some
/// milliseconds.
pub struct TextEncoder {
    tokenizer: Tokenizer,
    t5: T5<CpuBackend>,
    cpu: CpuBackend,
}

impl TextEncoder {
    /// Loads `tokenizer.json` and `text.safetensors`; none where the model takes no text.
    ///
    /// # Errors
    /// A file is missing or damaged, or does not fit the configuration.
    pub fn load(dir: &ModelDir) -> Result<Option<Self>> {
        let Some(config) = &dir.config.text else { return Ok(None) };
        let mut cpu = CpuBackend::new(1);
        let tokenizer = Tokenizer::open(&dir.path.join("tokenizer.json"), config)?;
        let t5 = T5::load(&mut cpu, config, dir.tensors("text.safetensors")?)?;
        Ok(Some(TextEncoder { tokenizer, t5, cpu }))
    }

    /// Encodes a prompt. A blank one is the null condition and has no tokens.
    ///
    /// # Errors
    /// The text is too long.
    pub fn encode(&mut self, text: &str) -> Result<Hidden> {
        if text.trim().is_empty() {
            return Ok(Hidden::default());
        }
        let ids = self.ids(text)?;
        self.hidden(&ids)
    }

    /// Token ids of a text, with the end of the sentence.
    ///
    /// # Errors
    /// The text is too long.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.ids(text)
    }

    /// Hidden states of token ids.
    ///
    /// # Errors
    /// An id is not in the vocabulary.
    pub fn hidden(&mut self, ids: &[u32]) -> Result<Hidden> {
        self.t5.encode(&mut self.cpu, ids)
    }
}
