//! `spiece.model`, a SentencePiece unigram model (a protocol buffer), as the `tokenizer.json` that the engine reads.

use serde_json::{Value, json};
use tokenizers::normalizers::Precompiled;

use crate::text::charsmap;

/// Names that T5 appends to its pieces.
const EXTRA_IDS: usize = 100;

/// One field of a protocol buffer.
enum Field<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
    Other,
}

/// Reads fields one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or("it ends in the middle of a number")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number of more than 10 bytes".into())
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let len = usize::try_from(len).ok().filter(|n| *n <= self.0.len()).ok_or("it ends in the middle of a field")?;
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(bytes)
    }

    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Other
            }
            2 => {
                let len = self.varint()?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Fixed32(self.take(4)?.try_into().map_err(|_| "it ends in the middle of a field".to_owned())?),
            kind => return Err(format!("a field of the wire type {kind}, which SentencePiece does not write")),
        };
        Ok(Some((tag >> 3, field)))
    }
}

/// What is read of the model.
#[derive(Default)]
struct Model<'a> {
    /// Pieces with their scores.
    pieces: Vec<(&'a str, f32)>,
    /// Ids of the pieces that are no text: `<pad>`, `</s>`, `<unk>`.
    special: Vec<usize>,
    unknown: Option<usize>,
    charsmap: &'a [u8],
    /// 1: unigram.
    kind: u64,
    squeeze: bool,
}

/// The text of a `tokenizer.json` that splits like `spiece.model`; `vocab` is the number of T5's embeddings.
///
/// # Errors
/// No SentencePiece unigram model; the text says why.
pub fn convert(bytes: &[u8], vocab: usize) -> Result<Vec<u8>, String> {
    let model = parse(bytes)?;
    if model.kind != 1 {
        return Err(format!("a SentencePiece model of the kind {}; T5's is unigram (1)", model.kind));
    }
    let Some(unknown) = model.unknown else { return Err("a SentencePiece model without a piece for the unknown".into()) };
    if model.pieces.len() > vocab {
        return Err(format!("{} pieces, but T5 has only {vocab} embeddings", model.pieces.len()));
    }
    let mut pieces: Vec<Value> = model.pieces.iter().map(|(piece, score)| json!([piece, f64::from(*score)])).collect();
    let special = |id: usize, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let mut added: Vec<Value> = model.special.iter().map(|id| special(*id, model.pieces[*id].0)).collect();
    if vocab - pieces.len() >= EXTRA_IDS {
        for n in (0..EXTRA_IDS).rev() {
            let name = format!("<extra_id_{n}>");
            added.push(special(pieces.len(), &name));
            pieces.push(json!([name, 0.0]));
        }
    }
    let normalizer = if model.charsmap.is_empty() {
        Value::Null
    } else {
        charsmap::check(model.charsmap)?;
        let rules = Precompiled::from(model.charsmap).map_err(|e| format!("its normalization rules: {e}"))?;
        serde_json::to_value(rules).map_err(|e| e.to_string())?
    };
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let split = if model.squeeze {
        json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace.clone()]})
    } else {
        metaspace.clone()
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": split, "post_processor": null, "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": pieces, "byte_fallback": false},
    });
    serde_json::to_vec(&tokenizer).map_err(|e| e.to_string())
}

fn parse(bytes: &[u8]) -> Result<Model<'_>, String> {
    let mut model = Model { kind: 1, squeeze: true, ..Model::default() };
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(piece)) => parse_piece(piece, &mut model)?,
            (2, Field::Bytes(trainer)) => {
                let mut fields = Fields(trainer);
                while let Some((number, field)) = fields.next()? {
                    if let (3, Field::Varint(kind)) = (number, field) {
                        model.kind = kind;
                    }
                }
            }
            (3, Field::Bytes(normalizer)) => {
                let mut fields = Fields(normalizer);
                while let Some((number, field)) = fields.next()? {
                    match (number, field) {
                        (2, Field::Bytes(rules)) => model.charsmap = rules,
                        (4, Field::Varint(flag)) => model.squeeze = flag != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if model.pieces.is_empty() { Err("no SentencePiece model: it has no pieces".into()) } else { Ok(model) }
}

fn parse_piece<'a>(bytes: &'a [u8], model: &mut Model<'a>) -> Result<(), String> {
    let (mut text, mut score, mut kind) = ("", 0.0f32, 1);
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(piece)) => text = std::str::from_utf8(piece).map_err(|_| "a piece is not UTF-8".to_owned())?,
            (2, Field::Fixed32(bits)) => score = f32::from_le_bytes(bits),
            (3, Field::Varint(n)) => kind = n,
            _ => {}
        }
    }
    if !score.is_finite() {
        return Err(format!("the piece {text:?} has the score {score}"));
    }
    let id = model.pieces.len();
    if kind == 2 {
        model.unknown = Some(id);
    }
    // 2: unknown, 3: control. The rest are text; T5 has no bytes (6).
    if kind == 2 || kind == 3 {
        model.special.push(id);
    }
    model.pieces.push((text, score));
    Ok(())
}
