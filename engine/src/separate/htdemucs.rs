//! Hybrid Transformer Demucs: a spectrogram and a waveform go through encoders, meet in a transformer, and go
//! through decoders. The estimates of both are added up. Takes one segment of fixed length at a time, because
//! every norm is over the whole segment.

use sideman_kernels::{Linear, Rows, SeparatorBackend};

use super::config::{DEPTH, HtdemucsSizes};
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::load::Loader;
use super::plane::{Plane, Scratch, ScratchSizes};
use super::stft::Stft;
use super::transformer::{Transformer, TransformerState};
use crate::error::Result;
use crate::model::{Tensors, upload};

/// Channels of the audio.
pub const CHANNELS: usize = 2;
/// What the embedding of a band is multiplied by: weight 0.2, scale 10.
const EMBEDDING_GAIN: f32 = 2.0;
/// Added to a standard deviation, by which a signal is divided.
const EPS: f64 = 1e-5;

/// Gets the values of a layer's output by the name that the package has for the layer. For tests.
pub type Probe<'a> = &'a mut dyn FnMut(&str, &[f32]);

/// Weights of the network.
pub struct Htdemucs<B: SeparatorBackend> {
    sizes: HtdemucsSizes,
    sources: usize,
    /// Frequency branch, time branch.
    branches: [Branch<B>; 2],
    /// Of the first encoder layer's bands [bands, channels], times the gain.
    embedding: B::Buf,
    /// From the encoder's width to the transformer's and back, for each branch.
    bottom: Option<[(Linear<B>, Linear<B>); 2]>,
    transformer: Transformer<B>,
}

struct Branch<B: SeparatorBackend> {
    encoders: Vec<Encoder<B>>,
    decoders: Vec<Decoder<B>>,
    /// Where the input of each encoder layer lies, and the output of the last.
    planes: Vec<Plane>,
    /// Channels of the input.
    input: usize,
}

/// Buffers of one segment.
pub struct HtdemucsState<B: SeparatorBackend> {
    scratch: Scratch<B>,
    /// The input and the activations of the decoder, for each branch.
    x: [B::Buf; 2],
    /// The output of each encoder layer, for each branch.
    skips: [Vec<B::Buf>; 2],
    transformer: TransformerState<B>,
    stft: Stft,
    /// A spectrogram [frames, bins, 4], or [frames, bins, 4 · sources], on the host.
    spectrum: Vec<f32>,
    /// Samples [segment, 2], or [segment, 2 · sources], on the host.
    waves: Vec<f32>,
}

/// Name of a branch's layers.
const NAMES: [&str; 2] = ["", "t"];

/// Makes the mean 0 and the standard deviation 1. Gives both.
fn normalise(x: &mut [f32]) -> (f32, f32) {
    let count = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let squares = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
    let std = (squares / (count - 1.0).max(1.0)).sqrt();
    x.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) / (EPS + std)) as f32);
    (mean as f32, std as f32)
}

impl<B: SeparatorBackend> Branch<B> {
    fn load(from: &mut Loader<B>, sizes: &HtdemucsSizes, branch: usize, sources: usize) -> Result<Self> {
        let (is_time, name) = (branch == 1, NAMES[branch]);
        let first = if is_time {
            Plane { frames: 1, rows: sizes.segment }
        } else {
            Plane { frames: sizes.frames(), rows: sizes.n_fft / 2 }
        };
        let input = if is_time { CHANNELS } else { 2 * CHANNELS };
        let mut planes = vec![first];
        let (mut encoders, mut decoders) = (Vec::new(), Vec::new());
        for i in 0..DEPTH {
            let plane = planes[i];
            let widths = (if i == 0 { input } else { sizes.width(i - 1) }, sizes.width(i));
            encoders.push(Encoder::load(from, &format!("{name}encoder.{i}"), plane, widths, usize::from(!is_time))?);
            planes.push(Encoder::<B>::output(plane));
        }
        for j in 0..DEPTH {
            let i = DEPTH - 1 - j;
            let (plane, rows) = (planes[i + 1], planes[i].rows);
            let widths = (sizes.width(i), if i == 0 { input * sources } else { sizes.width(i - 1) });
            decoders.push(Decoder::load(from, &format!("{name}decoder.{j}"), (plane, rows), widths, (is_time, i == 0))?);
        }
        Ok(Branch { encoders, decoders, planes, input })
    }

    /// Scratch memory of all layers, and values of the largest input or output of a decoder layer.
    fn memory(&self, sizes: &HtdemucsSizes, sources: usize) -> (ScratchSizes, usize) {
        let (mut scratch, mut largest) = (ScratchSizes::default(), self.planes[0].all() * self.input * sources);
        for i in 0..DEPTH {
            let (input, width) = (if i == 0 { self.input } else { sizes.width(i - 1) }, sizes.width(i));
            let output = if i == 0 { input * sources } else { input };
            scratch = scratch.max(Encoder::<B>::scratch(self.planes[i], input, width));
            scratch = scratch.max(Decoder::<B>::scratch(self.planes[i + 1], width, output));
            largest = largest.max(self.planes[i + 1].all() * width);
        }
        (scratch, largest)
    }
}

impl<B: SeparatorBackend> Htdemucs<B> {
    /// Loads the network whose tensors begin with `prefix`.
    ///
    /// # Errors
    /// A tensor is missing or damaged, or the backend's memory is full.
    pub fn load(backend: &mut B, tensors: &mut Tensors, prefix: &str, sizes: &HtdemucsSizes, sources: usize) -> Result<Self> {
        let mut from = Loader { backend, tensors, prefix: prefix.to_owned() };
        let branches = [Branch::load(&mut from, sizes, 0, sources)?, Branch::load(&mut from, sizes, 1, sources)?];
        let embedding = from.get("freq_emb.embedding.weight", &[sizes.n_fft / 8, sizes.channels])?;
        let embedding: Vec<f32> = embedding.iter().map(|x| x * EMBEDDING_GAIN).collect();
        let embedding = upload(from.backend, &embedding)?;
        let (top, dim) = (sizes.width(DEPTH - 1), sizes.dim());
        let mut projections = |suffix: &str| -> Result<_> {
            let up = from.point(&format!("channel_upsampler{suffix}"), dim, top, 1)?;
            Ok((up, from.point(&format!("channel_downsampler{suffix}"), top, dim, 1)?))
        };
        let bottom = if sizes.bottom > 0 { Some([projections("")?, projections("_t")?]) } else { None };
        let (plane, steps) = (branches[0].planes[DEPTH], branches[1].planes[DEPTH].rows);
        let transformer = Transformer::load(&mut from, sizes, plane, steps)?;
        Ok(Htdemucs { sizes: sizes.clone(), sources, branches, embedding, bottom, transformer })
    }

    /// Samples of a segment.
    pub fn segment(&self) -> usize {
        self.sizes.segment
    }

    /// Buffers for [`Htdemucs::run`].
    ///
    /// # Errors
    /// The backend's memory is full.
    pub fn state(&self, backend: &mut B) -> Result<HtdemucsState<B>> {
        let [(f, wide_f), (t, wide_t)] = [0, 1].map(|b: usize| self.branches[b].memory(&self.sizes, self.sources));
        let most = f.max(t);
        let scratch = Scratch {
            padded: backend.buf(most.padded)?,
            wide: backend.buf(most.wide)?,
            narrow: backend.buf(most.narrow)?,
            hidden: backend.buf(most.hidden)?,
        };
        let mut skips = |b: usize| -> Result<Vec<B::Buf>> {
            (0..DEPTH).map(|i| Ok(backend.buf(self.branches[b].planes[i + 1].all() * self.sizes.width(i))?)).collect()
        };
        let skips = [skips(0)?, skips(1)?];
        Ok(HtdemucsState {
            scratch,
            x: [backend.buf(wide_f)?, backend.buf(wide_t)?],
            skips,
            transformer: self.transformer.state(backend)?,
            stft: Stft::new(self.sizes.n_fft),
            spectrum: Vec::new(),
            waves: Vec::new(),
        })
    }

    /// Estimates of one segment: `mix` is two channels of [`Htdemucs::segment`] samples, `out` [sources, 2,
    /// segment].
    pub fn run(&self, backend: &mut B, state: &mut HtdemucsState<B>, mix: [&[f32]; CHANNELS], out: &mut [f32]) {
        self.probed(backend, state, mix, out, None);
    }

    /// As [`Htdemucs::run`]; `probe` gets the output of each layer.
    pub fn probed(
        &self,
        backend: &mut B,
        state: &mut HtdemucsState<B>,
        mix: [&[f32]; CHANNELS],
        out: &mut [f32],
        mut probe: Option<Probe<'_>>,
    ) {
        let HtdemucsState { scratch, x, skips, transformer, stft, spectrum, waves } = state;
        let mut see = |backend: &mut B, name: &str, x: &B::Buf, len: usize| {
            if let Some(probe) = &mut probe {
                let mut values = vec![0.0; len];
                backend.read(x, 0, &mut values);
                probe(name, &values);
            }
        };
        let (n, bins, frames) = (self.sizes.segment, self.sizes.n_fft / 2, self.sizes.frames());

        let step = 2 * CHANNELS;
        spectrum.clear();
        spectrum.resize(frames * bins * step, 0.0);
        waves.clear();
        waves.resize(n * CHANNELS, 0.0);
        for (c, mix) in mix.into_iter().enumerate() {
            stft.forward(&mix[..n], spectrum, step, 2 * c);
            waves.iter_mut().skip(c).step_by(CHANNELS).zip(mix).for_each(|(to, x)| *to = *x);
        }
        let statistics = [normalise(spectrum), normalise(waves)];
        backend.write(&mut x[0], 0, spectrum);
        backend.write(&mut x[1], 0, waves);

        for (b, branch) in self.branches.iter().enumerate() {
            for (i, encoder) in branch.encoders.iter().enumerate() {
                let (before, after) = skips[b].split_at_mut(i);
                encoder.run(backend, before.last().unwrap_or(&x[b]), scratch, &mut after[0]);
                let (plane, width) = (branch.planes[i + 1], self.sizes.width(i));
                see(backend, &format!("{}encoder.{i}", NAMES[b]), &after[0], plane.all() * width);
                if b == 0 && i == 0 {
                    let len = plane.rows * width;
                    (0..plane.frames).for_each(|t| backend.add(&self.embedding, 0, &mut after[0], t * len, len));
                }
            }
        }

        let (top, dim) = (self.sizes.width(DEPTH - 1), self.sizes.dim());
        let tokens = [0, 1].map(|b: usize| self.branches[b].planes[DEPTH].all());
        for b in 0..2 {
            let (from, to) = (Rows::packed(tokens[b], top), Rows::packed(tokens[b], dim));
            match &self.bottom {
                Some(projections) => backend.linear(&projections[b].0, &skips[b][DEPTH - 1], from, &mut transformer.x[b], to),
                None => backend.copy(&skips[b][DEPTH - 1], from, &mut transformer.x[b], to, dim),
            }
        }
        self.transformer.run(backend, transformer, &mut |backend, n, x| {
            see(backend, &format!("layers.{n}"), &x[0], tokens[0] * dim);
            see(backend, &format!("layers_t.{n}"), &x[1], tokens[1] * dim);
        });
        for b in 0..2 {
            let (from, to) = (Rows::packed(tokens[b], dim), Rows::packed(tokens[b], top));
            match &self.bottom {
                Some(projections) => backend.linear(&projections[b].1, &transformer.x[b], from, &mut x[b], to),
                None => backend.copy(&transformer.x[b], from, &mut x[b], to, dim),
            }
        }

        for (b, branch) in self.branches.iter().enumerate() {
            for (j, decoder) in branch.decoders.iter().enumerate() {
                let i = DEPTH - 1 - j;
                decoder.run(backend, &skips[b][i], scratch, &mut x[b]);
                let width = if i == 0 { branch.input * self.sources } else { self.sizes.width(i - 1) };
                see(backend, &format!("{}decoder.{j}", NAMES[b]), &x[b], branch.planes[i].all() * width);
            }
        }

        let [(mean, std), (mean_t, std_t)] = statistics;
        let channels = self.sources * CHANNELS;
        spectrum.resize(frames * bins * 2 * channels, 0.0);
        waves.resize(n * channels, 0.0);
        backend.read(&x[0], 0, spectrum);
        backend.read(&x[1], 0, waves);
        for (c, out) in out.chunks_exact_mut(n).enumerate().take(channels) {
            out.iter_mut().zip(waves.iter().skip(c).step_by(channels)).for_each(|(out, x)| *out = x * std_t + mean_t);
            stft.add_inverse(spectrum, frames, 2 * channels, 2 * c, (std, mean), out);
        }
    }
}
