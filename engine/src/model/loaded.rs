//! A loaded model: language model, codecs and text encoder on a backend. Converts between samples and tokens.

use sideman_kernels::{Backend, Format};

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::lm::Lm;
use crate::model::{Config, FRAME, ModelDir};
use crate::task::{Codes, Settings, Song};
use crate::text::{Hidden, TextEncoder};

/// A model loaded on a backend. Tasks ([`crate::task`]) and live sessions ([`crate::live`]) take it.
///
/// ```
/// use sideman_engine::model::{FRAME, Model, ModelDir};
/// use sideman_kernels::{Format, cpu::CpuBackend};
///
/// let dir = ModelDir::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/six"))?;
/// let mut cpu = CpuBackend::new(1);
/// let model = Model::load(&mut cpu, &dir, Format::F32)?;
/// // Stem 0 has one stream: 3 frames of samples become 3 tokens.
/// let tokens = model.encode(&mut cpu, 0, &vec![0.1; 3 * FRAME])?;
/// assert_eq!((tokens.len(), tokens[0].len()), (1, 3));
/// # Ok::<(), sideman_engine::Error>(())
/// ```
pub struct Model<B: Backend> {
    /// The language model.
    pub lm: Lm<B>,
    /// The codec of each stem, in the model's order.
    pub codecs: Vec<Codec<B>>,
    /// None where the model takes no text.
    pub text: Option<TextEncoder>,
}

impl<B: Backend> Model<B> {
    /// Loads a model directory. The language model's matrices are kept in `format`; codecs and text encoder
    /// are always f32.
    ///
    /// # Errors
    /// A file or tensor is missing or damaged, or the backend's memory is full.
    pub fn load(backend: &mut B, dir: &ModelDir, format: Format) -> Result<Self> {
        let codecs = dir.config.stems.iter().map(|stem| Codec::load(backend, dir, stem)).collect::<Result<_>>()?;
        Ok(Model { lm: Lm::load(backend, dir, format)?, codecs, text: TextEncoder::load(dir)? })
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        self.lm.config()
    }

    /// Hidden states of the settings' text; none where the text is empty.
    ///
    /// # Errors
    /// The text is too long, or the model has no text encoder.
    pub(crate) fn hidden(&mut self, settings: &Settings) -> Result<Option<Hidden>> {
        if settings.text.trim().is_empty() {
            return Ok(None);
        }
        match &mut self.text {
            Some(text) => Ok(Some(text.encode(&settings.text)?)),
            None => Err(Error::Input(format!("the model {} takes no text", self.config().name))),
        }
    }

    /// Tokens of a stem's samples: its levels × ceil(samples / [`FRAME`]) frames.
    ///
    /// # Errors
    /// The backend's memory is full.
    pub fn encode(&self, backend: &mut B, stem: usize, samples: &[f32]) -> Result<Codes> {
        let codes = self.codecs[stem].encode(backend, samples)?;
        let books = self.codecs[stem].books();
        Ok((0..books).map(|q| codes.iter().skip(q).step_by(books).map(|&c| c as i32).collect()).collect())
    }

    /// Samples of a stem, [`FRAME`] per frame, from the tokens of all streams.
    ///
    /// # Errors
    /// A token is not a code (special or unknown), or the backend's memory is full.
    pub fn decode(&self, backend: &mut B, stem: usize, song: &Codes) -> Result<Vec<f32>> {
        let streams = self.config().streams_of(&self.config().stems[stem]);
        let frames = streams.iter().map(|&k| song[k].len()).min().unwrap_or(0);
        let code = |(t, k): (usize, usize)| {
            let token = song[k][t];
            let code = u32::try_from(token).ok().filter(|&c| (c as usize) < self.config().streams[k].card);
            code.ok_or_else(|| {
                Error::Input(format!("token {token} of stream {k}: it should be a code below {}", self.config().streams[k].card))
            })
        };
        let frame_major = (0..frames).flat_map(|t| streams.iter().map(move |&k| (t, k)));
        let codes = frame_major.map(code).collect::<Result<Vec<u32>>>()?;
        self.codecs[stem].decode(backend, &codes)
    }

    /// A song of `len` samples from its tokens; for stems in `kept`, the given samples are used instead.
    pub(crate) fn song(&self, backend: &mut B, codes: Codes, len: usize, kept: &[Option<&[f32]>]) -> Result<Song> {
        let mut stems = Vec::with_capacity(kept.len());
        for (stem, given) in kept.iter().enumerate() {
            let mut samples = match given {
                Some(given) => given.to_vec(),
                None => self.decode(backend, stem, &codes)?,
            };
            samples.resize(len, 0.0);
            stems.push(samples);
        }
        Ok(Song { stems, kept: kept.iter().map(Option::is_some).collect(), codes })
    }

    /// Tokens of the given stems, padded with silence to `frames`; UNKNOWN on the streams of the other stems.
    pub(crate) fn encode_all(&self, backend: &mut B, given: &[Option<&[f32]>], frames: usize) -> Result<Codes> {
        let config = self.config();
        let mut codes = vec![vec![sideman_kernels::UNKNOWN; frames]; config.streams.len()];
        for (stem, samples) in given.iter().enumerate() {
            let Some(samples) = samples else { continue };
            let mut padded = samples.to_vec();
            padded.resize(frames * FRAME, 0.0);
            for (k, row) in config.streams_of(&config.stems[stem]).into_iter().zip(self.encode(backend, stem, &padded)?) {
                codes[k] = row;
            }
        }
        Ok(codes)
    }

    /// Checks the given stems. Returns the length of the longest in samples.
    pub(crate) fn check_given(&self, given: &[Option<&[f32]>]) -> Result<usize> {
        let stems = &self.config().stems;
        if given.len() != stems.len() {
            return Err(Error::Input(format!("{} stems are given; the model has {}", given.len(), stems.len())));
        }
        for (stem, samples) in stems.iter().zip(given) {
            if let Some(at) = samples.and_then(|s| s.iter().position(|v| !v.is_finite())) {
                return Err(Error::Input(format!("sample {at} of {stem} is NaN or infinite")));
            }
        }
        let len = given.iter().flatten().map(|s| s.len()).max().unwrap_or(0);
        if len == 0 {
            return Err(Error::Input(format!(
                "no samples are given; give at least one of the model's stems {}",
                stems.join(", ")
            )));
        }
        Ok(len)
    }
}
