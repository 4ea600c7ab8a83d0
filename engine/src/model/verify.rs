//! Numeric verification of a model: compares what it computes on a backend with a golden file.
//!
//! A golden file is a safetensors file with inputs and with the outputs that a reference implementation
//! computed from them. Its tensors (all optional, but at least one input must be there):
//!
//! | input | outputs that are compared |
//! |---|---|
//! | `text.ids` \[tokens\] | `text.hidden` \[tokens, text dim\] |
//! | `lm.tokens` \[streams, steps\], `lm.hidden` \[tokens, text dim\] | `lm.logits` \[steps, streams, card\] |
//! | `codec.STEM.audio` \[samples\] | `codec.STEM.codes` \[books, frames\] |
//! | `codec.STEM.codes` \[books, frames\] | `codec.STEM.decoded` \[samples\] |
//!
//! `sideman model verify` prints the result. It says nothing about the music: for that, listen.

use std::path::Path;

use sideman_kernels::{Backend, BackendError, Format, Sampling};

use crate::error::{Error, Result};
use crate::lm::RunSpec;
use crate::model::{Model, Tensors};
use crate::text::Hidden;

/// The largest relative error that passes. f32 sums in another order differ by about 1e-6 (CPU, all
/// fixtures).
pub const TOLERANCE: f64 = 1e-4;

/// How near the model's output is to the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Agreement {
    /// Of values.
    Values {
        /// ‖ours − theirs‖ / ‖theirs‖; infinite where a value of ours is NaN.
        relative: f64,
        /// The largest |ours − theirs|; NaN where a value of ours is NaN.
        largest: f64,
    },
    /// Of codes.
    Codes {
        /// Share of the codes that are equal, 0 to 1.
        equal: f64,
    },
}

/// One compared output.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The output's tensor in the golden file.
    pub name: String,
    /// The result.
    pub agreement: Agreement,
}

impl Part {
    /// Whether the values agree within [`TOLERANCE`], or all codes are equal.
    pub fn passes(&self) -> bool {
        match self.agreement {
            Agreement::Values { relative, .. } => relative <= TOLERANCE,
            Agreement::Codes { equal } => equal == 1.0,
        }
    }
}

/// Compares `model` with the golden file `golden`. Load the model in [`Format::F32`]: other formats round the
/// weights.
///
/// # Errors
/// The golden file is damaged, has none of the inputs or does not fit the model; or the backend failed.
pub fn verify<B: Backend>(model: &mut Model<B>, backend: &mut B, golden: &Path) -> Result<Vec<Part>> {
    let mut check = Check { golden: Tensors::open(golden)?, parts: Vec::new() };
    check.text(model)?;
    check.lm(model, backend)?;
    for stem in 0..model.codecs.len() {
        check.codec(model, backend, stem)?;
    }
    if let Some(why) = backend.failure() {
        return Err(BackendError::Lost(why.to_owned()).into());
    }
    if check.parts.is_empty() {
        let what = "nothing to compare: it should have text.ids, lm.tokens or codec.STEM.codes of a stem of the model";
        return Err(Error::file(golden, what));
    }
    Ok(check.parts)
}

/// The golden file, and what has been compared so far.
struct Check {
    golden: Tensors,
    parts: Vec<Part>,
}

impl Check {
    fn has(&self, name: &str) -> bool {
        self.golden.shape(name).is_some()
    }

    fn wrong(&self, name: &str, what: impl Into<String>) -> Error {
        Error::tensor(self.golden.path(), name, what)
    }

    /// Compares `ours` with the values of `name`.
    fn compare(&mut self, name: &str, ours: &[f32]) -> Result<()> {
        let (_, theirs) = self.golden.values(name)?;
        if ours.len() != theirs.len() {
            return Err(self.wrong(name, format!("{} values; the model computes {}", theirs.len(), ours.len())));
        }
        self.parts.push(Part { name: name.to_owned(), agreement: values(ours, &theirs) });
        Ok(())
    }

    fn text<B: Backend>(&mut self, model: &mut Model<B>) -> Result<()> {
        if !self.has("text.ids") {
            return Ok(());
        }
        let name = model.config().name.clone();
        let Some(encoder) = &mut model.text else {
            return Err(self.wrong("text.ids", format!("the model {name} takes no text: use a golden file without it")));
        };
        let (_, ids) = self.golden.ints("text.ids")?;
        let ids = ids.into_iter().map(u32::try_from).collect::<Result<Vec<_>, _>>();
        let ids = ids.map_err(|_| self.wrong("text.ids", "an id is negative or above 2^32 - 1"))?;
        let hidden = encoder.hidden(&ids)?;
        self.compare("text.hidden", &hidden.data)
    }

    fn lm<B: Backend>(&mut self, model: &Model<B>, backend: &mut B) -> Result<()> {
        if !self.has("lm.tokens") {
            return Ok(());
        }
        let streams = &model.config().streams;
        let (shape, tokens) = self.golden.ints("lm.tokens")?;
        let steps = match shape[..] {
            [rows, steps] if rows == streams.len() && steps >= 2 => steps,
            _ => {
                let what = format!("shape {shape:?}; it should be [{} streams, 2 or more steps]", streams.len());
                return Err(self.wrong("lm.tokens", what));
            }
        };
        let hidden = if self.has("lm.hidden") {
            let (shape, data) = self.golden.values("lm.hidden")?;
            Some(Hidden { len: shape.first().copied().unwrap_or(0), data })
        } else {
            None
        };
        // The golden tokens already have the delay pattern applied. So the run has no delays: its column s +
        // 1 is frame s of every stream, whatever it holds.
        let spec = RunSpec {
            songs: 1,
            guided: false,
            delays: &vec![0; streams.len()],
            frames: steps,
            texts: &[hidden.as_ref()],
            text_room: 0,
            kv: Format::F32,
            block: 1,
            sampling: Sampling { temperature: 0.0, top_k: 0, top_p: 0.0, cfg: 1.0, seed: 0, frame_base: 0 },
        };
        let mut run = model.lm.run(backend, &spec)?;
        for (k, row) in tokens.chunks_exact(steps).enumerate() {
            let special = streams[k].card;
            if row[0] != special as i64 {
                let what = format!("stream {k} begins with {}; it should begin with its special id, {special}", row[0]);
                return Err(self.wrong("lm.tokens", what));
            }
            let row: Vec<i32> = row[1..].iter().map(|t| i32::try_from(*t).unwrap_or(i32::MAX)).collect();
            run.put(backend, 0, k, 0, &row)?;
        }
        let width: usize = streams.iter().map(|s| s.card).sum();
        let mut logits = vec![0.0; steps * width];
        for step in logits.chunks_exact_mut(width) {
            run.step(backend, &model.lm);
            run.logits(backend, step);
        }
        self.compare("lm.logits", &logits)
    }

    fn codec<B: Backend>(&mut self, model: &Model<B>, backend: &mut B, stem: usize) -> Result<()> {
        let (codec, stem) = (&model.codecs[stem], &model.config().stems[stem]);
        let [name, audio, decoded] = ["codes", "audio", "decoded"].map(|part| format!("codec.{stem}.{part}"));
        if !self.has(&name) {
            return Ok(());
        }
        let (shape, codes) = self.golden.ints(&name)?;
        let books = codec.books();
        let frames = match shape[..] {
            [rows, frames] if rows == books => frames,
            _ => return Err(self.wrong(&name, format!("shape {shape:?}; it should be [{books} books, frames]"))),
        };
        // From [books, frames] to [frames, books], as the engine has them.
        let theirs = (0..frames * books).map(|i| u32::try_from(codes[i % books * frames + i / books]));
        let theirs = theirs.collect::<Result<Vec<u32>, _>>();
        let theirs = theirs.map_err(|_| self.wrong(&name, "a code is negative or above 2^32 - 1"))?;
        if self.has(&audio) {
            let (_, audio) = self.golden.values(&audio)?;
            let ours = codec.encode(backend, &audio)?;
            if ours.len() != theirs.len() {
                let what = format!("{frames} frames; the model makes {} of {} samples", ours.len() / books, audio.len());
                return Err(self.wrong(&name, what));
            }
            let equal = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
            let equal = equal as f64 / theirs.len().max(1) as f64;
            self.parts.push(Part { name, agreement: Agreement::Codes { equal } });
        }
        if self.has(&decoded) {
            self.compare(&decoded, &codec.decode(backend, &theirs)?)?;
        }
        Ok(())
    }
}

/// Compares values; both slices have the same length.
fn values(ours: &[f32], theirs: &[f32]) -> Agreement {
    let (mut off, mut norm, mut largest) = (0.0f64, 0.0f64, 0.0f64);
    for (a, b) in ours.iter().zip(theirs) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        off += (a - b).powi(2);
        norm += b * b;
        // `f64::max` would drop a NaN, and it must not pass.
        largest = if (a - b).abs() > largest || a.is_nan() { (a - b).abs() } else { largest };
    }
    let relative = (off / norm.max(f64::MIN_POSITIVE)).sqrt();
    Agreement::Values { relative: if relative.is_nan() { f64::INFINITY } else { relative }, largest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(ours: &[f32], theirs: &[f32]) -> bool {
        Part { name: String::new(), agreement: values(ours, theirs) }.passes()
    }

    #[test]
    fn equal_values_pass_and_others_do_not() {
        assert_eq!(values(&[3.0, 4.0], &[3.0, 4.0]), Agreement::Values { relative: 0.0, largest: 0.0 });
        assert_eq!(values(&[3.0, 4.5], &[3.0, 4.0]), Agreement::Values { relative: 0.1, largest: 0.5 });
        assert!(passes(&[1.00001], &[1.0]) && !passes(&[1.001], &[1.0]));
        assert!(passes(&[0.0], &[0.0]) && !passes(&[1e-3], &[0.0]));
    }

    #[test]
    fn a_value_that_is_not_a_number_never_passes() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!passes(&[1.0, bad, 1.0], &[1.0, 1.0, 1.0]), "{bad}");
        }
    }

    #[test]
    fn codes_pass_only_where_all_are_equal() {
        let part = |equal| Part { name: String::new(), agreement: Agreement::Codes { equal } };
        assert!(part(1.0).passes() && !part(0.999).passes());
    }
}
