//! Small structs for the arguments of operations: where rows lie in a buffer, and sizes.
//!
//! They group arguments of [`Backend`] methods so that each number has a name at the call site.

use crate::{Backend, Grid};

/// Where the rows of a matrix lie in a buffer: row `r` begins at index `at + r * stride`. Rows may overlap (convolution).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Number of rows.
    pub count: usize,
    /// Index of the first value of the first row.
    pub at: usize,
    /// Values from the start of one row to the start of the next.
    pub stride: usize,
}

impl Rows {
    /// `count` rows of `width` values each, without gaps, from index 0.
    pub fn packed(count: usize, width: usize) -> Self {
        Rows { count, at: 0, stride: width }
    }

    /// The `count` rows from row `first` on.
    pub(crate) fn part(self, first: usize, count: usize) -> Rows {
        Rows { count, at: self.at + first * self.stride, stride: self.stride }
    }

    /// Index after the last value, where each row has `width` values.
    pub(crate) fn end(self, width: usize) -> usize {
        if self.count == 0 { 0 } else { self.at + (self.count - 1) * self.stride + width }
    }
}

/// Shape of self-attention in one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Number of heads.
    pub heads: usize,
    /// Columns of one head; `dim = heads * head_dim`; head `h` owns columns `h * head_dim..(h + 1) * head_dim`.
    pub head_dim: usize,
}

/// The rows that one layer of the transformer works on: `n` steps of each lane; row `lane * n + i` is step `i` of `lane`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerRows {
    /// Layer, counted from 0.
    pub layer: usize,
    /// Lanes: songs × guidance branches.
    pub lanes: usize,
    /// Steps of each lane.
    pub n: usize,
}

impl LayerRows {
    /// Rows in all.
    pub fn count(self) -> usize {
        self.lanes * self.n
    }
}

/// The text of one lane in one layer's cross-attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneText {
    /// Layer, counted from 0.
    pub layer: usize,
    /// Lane, counted from 0.
    pub lane: usize,
    /// Tokens of the text; 0 is the null condition.
    pub len: usize,
}

/// What [`Backend::embed`] adds up: embedding tables, and the tokens and control values that select their rows.
pub struct EmbedInput<'a, B: Backend + ?Sized> {
    /// Shape of the token grid.
    pub grid: &'a Grid,
    /// One table for each stream, [card + 1, dim]; the last row is the special id's.
    pub tables: &'a [B::Mat],
    /// One table for each control, [card + 1, dim]; the last row is the null value's.
    pub controls: &'a [B::Mat],
    /// Tokens [songs, streams, steps].
    pub seq: &'a B::Ints,
    /// Control values [branches, controls, steps].
    pub ctl: &'a B::Ints,
    /// Not 0 where a branch sees only the special id of a stream, [branches, streams].
    pub masked: &'a B::Ints,
}

/// A short-time Fourier transform with a Hann window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stft {
    /// Samples of a window; even.
    pub n_fft: usize,
    /// Samples from one window to the next.
    pub hop: usize,
    /// Frequency bins that are kept, from 0 Hz on; at most `n_fft / 2 + 1`.
    pub bins: usize,
}

/// An inverse short-time Fourier transform with a Hann window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InverseStft {
    /// Samples of a window; even.
    pub n_fft: usize,
    /// Samples from one window to the next.
    pub hop: usize,
}

/// How spectra are made of log magnitudes, phases and noise shares ([`crate::Backend::locked_spectra`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LockedSpectra {
    /// The transform that they are meant for.
    pub stft: InverseStft,
    /// Log magnitudes above this are lowered to it.
    pub max_log: f32,
    /// The first bin with a locked phase, even; the phases of those below it are given.
    pub locked_from: usize,
    /// Which noise: signals with different seeds are independent.
    pub noise_seed: u32,
}
