//! Converts `spiece.model`, a SentencePiece unigram model in a protocol buffer, to the `tokenizer.json` that
//! the engine reads.

use prost::Message;
use serde_json::{Value, json};
use tokenizers::normalizers::Precompiled;

use crate::text::charsmap;

/// The longest file that is read: t5-base's has 0.8 MB, mT5's 4.3 MB. Every 2 bytes of a hostile file can
/// take 40 in memory.
const MAX_BYTES: usize = 8 << 20;

/// Number of names (`<extra_id_0>` …) that T5 appends to the pieces.
const EXTRA_IDS: usize = 100;

/// The kind of model that T5 uses, in [`Trainer::model_type`].
const UNIGRAM: i32 = 1;

/// The kinds of piece that are not text, in [`Piece::kind`]. T5 has no byte pieces (6).
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;

/// `ModelProto` of SentencePiece's `sentencepiece_model.proto`, with the fields that the conversion needs.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

/// `ModelProto.SentencePiece`.
#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(float, tag = "2")]
    score: f32,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

/// `TrainerSpec`.
#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
}

/// `NormalizerSpec`.
#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", tag = "2")]
    precompiled_charsmap: Vec<u8>,
    /// True where it is missing.
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
}

/// The text of a `tokenizer.json` that splits texts as the `spiece.model` in `bytes` does; `vocab` is the
/// number of T5's embeddings.
///
/// # Errors
/// `bytes` is not a SentencePiece unigram model, or does not fit `vocab`; the text says why.
pub fn convert(bytes: &[u8], vocab: usize) -> Result<Vec<u8>, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("{} bytes; a SentencePiece model for T5 has at most {MAX_BYTES}", bytes.len()));
    }
    let model = Model::decode(bytes).map_err(|e| format!("not a SentencePiece model: {e}"))?;
    if model.pieces.is_empty() {
        return Err("not a SentencePiece model: it has no pieces".into());
    }
    let kind = model.trainer.and_then(|t| t.model_type).unwrap_or(UNIGRAM);
    if kind != UNIGRAM {
        return Err(format!("a SentencePiece model of type {kind}; T5's type is unigram ({UNIGRAM})"));
    }
    if model.pieces.len() > vocab {
        return Err(format!("{} pieces; T5 has only {vocab} embeddings", model.pieces.len()));
    }
    if let Some(piece) = model.pieces.iter().find(|p| !p.score.is_finite()) {
        return Err(format!("piece {:?} has the score {}; it should be a finite number", piece.text, piece.score));
    }
    let Some(unknown) = model.pieces.iter().rposition(|p| p.kind == Some(UNKNOWN)) else {
        return Err("no piece of the type unknown (2); a SentencePiece model has one".into());
    };
    let mut vocabulary: Vec<Value> = model.pieces.iter().map(|p| json!([p.text, f64::from(p.score)])).collect();
    let special = |id: usize, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    let not_text = |p: &Piece| matches!(p.kind, Some(UNKNOWN | CONTROL));
    let mut added: Vec<Value> =
        model.pieces.iter().enumerate().filter(|(_, p)| not_text(p)).map(|(id, p)| special(id, &p.text)).collect();
    if vocab - vocabulary.len() >= EXTRA_IDS {
        for n in (0..EXTRA_IDS).rev() {
            let name = format!("<extra_id_{n}>");
            added.push(special(vocabulary.len(), &name));
            vocabulary.push(json!([name, 0.0]));
        }
    }
    let rules = model.normalizer.unwrap_or_default();
    let normalizer = if rules.precompiled_charsmap.is_empty() {
        Value::Null
    } else {
        charsmap::check(&rules.precompiled_charsmap)?;
        let compiled =
            Precompiled::from(&rules.precompiled_charsmap).map_err(|e| format!("its normalization rules can't be read: {e}"))?;
        serde_json::to_value(compiled).map_err(|e| e.to_string())?
    };
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let split = if rules.remove_extra_whitespaces.unwrap_or(true) {
        json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace.clone()]})
    } else {
        metaspace.clone()
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": split, "post_processor": null, "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": false},
    });
    serde_json::to_vec(&tokenizer).map_err(|e| e.to_string())
}
