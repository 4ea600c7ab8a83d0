//! From a prompt to what the language model attends to: tokenizer, then T5's encoder, on the CPU.

pub(crate) mod charsmap;
mod t5;
mod tokenizer;

pub use t5::{T5, bucket};
pub use tokenizer::Tokenizer;

use sideman_kernels::cpu::CpuBackend;

use crate::error::Result;
use crate::model::ModelDir;

/// What the encoder makes of a text: `len` rows of `dim` values, before the language model's own projection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hidden {
    /// Tokens, the end of the sentence included; 0 is the null condition.
    pub len: usize,
    /// Values [len, dim], row after row.
    pub data: Vec<f32>,
}

/// Tokenizer and T5 with a small player of their own: a text is encoded once, so it never goes to the GPU.
pub struct TextEncoder {
    tokenizer: Tokenizer,
    t5: T5<CpuBackend>,
    cpu: CpuBackend,
}

impl TextEncoder {
    /// Loads `tokenizer.json` and `text.safetensors`. None where the model has no text.
    ///
    /// # Errors
    /// A file is missing, damaged or doesn't fit the configuration.
    pub fn load(dir: &ModelDir) -> Result<Option<Self>> {
        let Some(config) = &dir.config.text else { return Ok(None) };
        let mut cpu = CpuBackend::new(1);
        let tokenizer = Tokenizer::open(&dir.path.join("tokenizer.json"), config)?;
        let t5 = T5::load(&mut cpu, config, dir.tensors("text.safetensors")?)?;
        Ok(Some(TextEncoder { tokenizer, t5, cpu }))
    }

    /// Encodes a prompt. A blank one is the null condition, with no token at all.
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

    /// Ids of a text, the end of the sentence included.
    ///
    /// # Errors
    /// The text is too long.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.ids(text)
    }

    /// The encoder's output for ids.
    ///
    /// # Errors
    /// An id is out of the vocabulary.
    pub fn hidden(&mut self, ids: &[u32]) -> Result<Hidden> {
        self.t5.encode(&mut self.cpu, ids)
    }
}
