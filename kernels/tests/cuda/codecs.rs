//! Cases of the codecs' operations that run on both backends, each written once over [`Backend`].

use crate::cases::{Case, all, buf, ints, noise};
use sideman_kernels::{Act, Backend, Book, Format, InverseStft, Linear, LockedSpectra, Lstm, Rows, Stft};

/// Values moved within a buffer and cleared.
#[derive(Debug, Clone)]
pub struct Moves;

impl Case for Moves {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let mut a = buf(backend, &noise(1, 5000));
        backend.shift(&mut a, 7, 0, 4000);
        backend.shift(&mut a, 0, 100, 4000);
        backend.zero(&mut a, 33, 17);
        all(backend, &a, 5000)
    }
}

/// Rows copied from one buffer to another.
#[derive(Debug, Clone)]
pub struct Copies {
    pub count: usize,
    pub width: usize,
    /// From one row to the next: of the source, whose rows may overlap, and what lies between those of the target.
    pub stride: usize,
    pub gap: usize,
}

impl Case for Copies {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Copies { count, width, stride, gap } = *self;
        let (from, to) = (Rows { count, at: 3, stride }, Rows { count, at: 5, stride: width + gap });
        let (a, len) = (buf(backend, &noise(1, 3 + count * stride + width)), 5 + count * (width + gap));
        let mut b = buf(backend, &noise(2, len));
        backend.copy(&a, from, &mut b, to, width);
        all(backend, &b, len)
    }
}

/// ELU of values of every size.
#[derive(Debug, Clone)]
pub struct Elus(pub usize);

impl Case for Elus {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let scale = [1.0, 1e-6, 30.0, 0.0, 200.0];
        let x: Vec<f32> = noise(self.0 as u64, self.0 + 3).iter().enumerate().map(|(i, x)| x * scale[i % scale.len()]).collect();
        let (x, mut y) = (buf(backend, &x), buf(backend, &noise(2, self.0 + 3)));
        backend.elu(&x, &mut y, self.0);
        all(backend, &y, self.0 + 3)
    }
}

/// A depthwise convolution over rows with their history.
#[derive(Debug, Clone)]
pub struct Depthwise {
    pub kernel: usize,
    pub dim: usize,
    pub count: usize,
    pub at: usize,
}

impl Case for Depthwise {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Depthwise { kernel, dim, count, at } = *self;
        let (taps, bias) = (buf(backend, &noise(3, kernel * dim)), buf(backend, &noise(4, dim)));
        let w = sideman_kernels::Depthwise::<B> { taps, bias, kernel, dim };
        let x = buf(backend, &noise(5, at + (count + kernel - 1) * dim));
        let mut y = buf(backend, &noise(6, count * dim + 2));
        backend.depthwise(&w, &x, at, count, &mut y);
        all(backend, &y, count * dim + 2)
    }
}

/// An LSTM from a state on.
#[derive(Debug, Clone)]
pub struct Recurrence {
    pub size: usize,
    pub layers: usize,
    pub count: usize,
}

impl Case for Recurrence {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Recurrence { size, layers, count } = *self;
        let mut w = Lstm::<B> { input: Vec::new(), hidden: Vec::new(), size };
        for l in 0..layers as u64 {
            let small: Vec<f32> = noise(20 + l, 4 * size * size).iter().map(|w| w * 0.3).collect();
            let weight = backend.mat(4 * size, size, &small, Format::F32).unwrap();
            let bias = Some(buf(backend, &noise(30 + l, 4 * size)));
            w.input.push(Linear { weight, bias, norm: None, act: Act::None, add: false });
            w.hidden.push(backend.mat(4 * size, size, &small, Format::F32).unwrap());
        }
        let x = buf(backend, &noise(3, 4 + count * (size + 3)));
        let mut state = buf(backend, &noise(4, layers * 2 * size));
        let mut y = backend.buf(count * size).unwrap();
        backend.lstm(&w, &x, Rows { count, at: 4, stride: size + 3 }, &mut state, &mut y, Rows::packed(count, size));
        [all(backend, &y, count * size), all(backend, &state, layers * 2 * size)].concat()
    }
}

/// Log spectra of overlapping windows, into columns of wider rows.
#[derive(Debug, Clone)]
pub struct Spectra {
    pub n_fft: usize,
    pub bins: usize,
    pub hop: usize,
    pub count: usize,
    pub col: usize,
}

impl Case for Spectra {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Spectra { n_fft, bins, hop, count, col } = *self;
        let (end, stride) = (n_fft + 5, col + bins + 3);
        let x = buf(backend, &noise(1, end + count * hop));
        let mut y = buf(backend, &noise(2, 3 + count * stride));
        backend.spectrum(Stft { n_fft, hop, bins }, &x, end, &mut y, Rows { count, at: 3 + col, stride });
        all(backend, &y, 3 + count * stride)
    }
}

/// Inverse transforms of spectra with predicted phases, or locked ones from a bin on, `parts` hops at a time, over one tail.
#[derive(Debug, Clone)]
pub struct Inverse {
    pub n_fft: usize,
    pub hop: usize,
    pub max_log: f32,
    pub locked_from: Option<usize>,
    pub parts: Vec<usize>,
}

impl Case for Inverse {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Inverse { n_fft, hop, max_log, locked_from, ref parts } = *self;
        let (half, count, stride) = (n_fft / 2 + 1, parts.iter().sum::<usize>(), n_fft + 5);
        // Phases of several turns; as logits of noise shares, some beyond the largest.
        let spectra: Vec<f32> =
            (noise(3, count * stride).iter().enumerate()).map(|(i, x)| x * if i % stride < half { 3.0 } else { 40.0 }).collect();
        let (x, mut tail, mut wave) =
            (buf(backend, &spectra), buf(backend, &noise(4, n_fft)), buf(backend, &noise(5, 2 + count * hop)));
        let stft = InverseStft { n_fft, hop };
        let (mut complex, mut state) = (backend.buf(3 + count * stride).unwrap(), backend.ints(half + 1).unwrap());
        let mut done = 0;
        for n in parts {
            let rows = Rows { count: *n, at: done * stride, stride };
            let to = Rows { at: 3 + done * stride, ..rows };
            if let Some(locked_from) = locked_from {
                let spec = LockedSpectra { stft, max_log, locked_from: locked_from.min(half / 2 * 2), noise_seed: 7 };
                backend.locked_spectra(spec, &x, rows, &mut state, &mut complex, to);
            } else {
                backend.polar_spectra(half, max_log, &x, rows, &mut complex, to);
            }
            backend.istft(stft, &complex, to, &mut tail, &mut wave, 2 + done * hop);
            done += n;
        }
        let mut phases = vec![0; half + 1];
        backend.read_ints(&state, 0, &mut phases);
        // Byte by byte, because phases are equal to the last bit.
        let bytes: Vec<f32> = phases.iter().flat_map(|p| p.to_le_bytes()).map(f32::from).collect();
        [all(backend, &wave, 2 + count * hop), all(backend, &tail, n_fft), bytes].concat()
    }
}

/// A residual quantizer of either kind, there and back.
#[derive(Debug, Clone)]
pub struct Codes {
    pub factorised: bool,
    pub dim: usize,
    pub card: usize,
    /// Of a factorised book.
    pub width: usize,
    pub books: usize,
    pub count: usize,
}

impl Case for Codes {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let Codes { factorised, dim, card, width, books: n, count } = *self;
        let mut books = Vec::new();
        for q in 0..n as u64 {
            let mut codes = noise(10 + q, card * dim);
            // Two equal code vectors: the first wins.
            codes.copy_within(0..dim, (card - 1) * dim);
            let norms: Vec<f32> = codes.chunks(dim).map(|c| c.iter().map(|x| x * x).sum()).collect();
            let codes = backend.mat(card, dim, &codes, Format::F32).unwrap();
            books.push(if factorised {
                let weight = backend.mat(width, dim, &noise(20 + q, width * dim), Format::F32).unwrap();
                let bias = Some(buf(backend, &noise(30 + q, width)));
                let project_in = Linear { weight, bias, norm: None, act: Act::None, add: false };
                let unit = backend.mat(card, width, &noise(40 + q, card * width), Format::F32).unwrap();
                Book::<B>::Factorised { project_in, unit, codes }
            } else {
                Book::Euclidean { codes, norms: buf(backend, &norms) }
            });
        }
        let (stride, zr) = (count + 5, Rows { count, at: 5, stride: dim + 1 });
        let len = 5 + count * (dim + 1);
        let (mut z, mut out) = (buf(backend, &noise(1, len)), ints(backend, &vec![-7; n * stride]));
        let cr = Rows { count: n, at: 4, stride };
        backend.quantize(&books, &mut z, zr, &mut out, cr);
        let mut host = vec![0; n * stride];
        backend.read_ints(&out, 0, &mut host);
        let mut back = buf(backend, &noise(2, len));
        backend.dequantize(&books, &out, cr, &mut back, zr);
        [host.iter().map(|c| *c as f32).collect(), all(backend, &z, len), all(backend, &back, len)].concat()
    }
}
