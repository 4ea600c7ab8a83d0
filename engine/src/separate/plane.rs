//! Where activations lie: frames of rows of channels. The frequency branch has a frame for each STFT window and
//! a row for each band; the time branch has one frame, with a row for each step of time.

use sideman_kernels::{Backend, Rows};

/// Number of frames, and of rows in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// Frames.
    pub frames: usize,
    /// Rows of a frame.
    pub rows: usize,
}

impl Plane {
    /// Rows of all frames.
    pub fn all(self) -> usize {
        self.frames * self.rows
    }

    /// Steps of time, and bands that have no part in each other, as DConv sees them: the rows of the only frame,
    /// or the frames.
    pub fn steps_and_bands(self) -> (usize, usize) {
        if self.frames == 1 { (self.rows, 1) } else { (self.frames, self.rows) }
    }

    /// The first values of the frames, where a frame has `pitch` rows of `channels` values, from row `first` on.
    pub fn frames_at(self, pitch: usize, first: usize, channels: usize) -> Rows {
        Rows { count: self.frames, at: first * channels, stride: pitch * channels }
    }
}

/// Copies frames without gaps to frames of `pitch` rows, each from row `first` on. All other rows become zeros.
pub fn pad<B: Backend>(
    backend: &mut B,
    x: &B::Buf,
    (plane, channels): (Plane, usize),
    (pitch, first): (usize, usize),
    len: usize,
    y: &mut B::Buf,
) {
    backend.zero(y, 0, len);
    let width = plane.rows * channels;
    backend.copy(x, plane.frames_at(plane.rows, 0, channels), y, plane.frames_at(pitch, first, channels), width);
}

/// Copies `plane.rows` rows of each frame of `pitch` rows, from row `first` on, to frames without gaps.
pub fn crop<B: Backend>(
    backend: &mut B,
    x: &B::Buf,
    (plane, channels): (Plane, usize),
    (pitch, first): (usize, usize),
    y: &mut B::Buf,
) {
    let width = plane.rows * channels;
    backend.copy(x, plane.frames_at(pitch, first, channels), y, plane.frames_at(plane.rows, 0, channels), width);
}

/// Buffers that all layers use in turn.
pub struct Scratch<B: Backend> {
    /// Frames with rows of zeros between them.
    pub padded: B::Buf,
    /// The output of a convolution.
    pub wide: B::Buf,
    /// A gated or compact version of it.
    pub narrow: B::Buf,
    /// The hidden channels of DConv.
    pub hidden: B::Buf,
}

/// Lengths of the buffers of a [`Scratch`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ScratchSizes {
    pub padded: usize,
    pub wide: usize,
    pub narrow: usize,
    pub hidden: usize,
}

impl ScratchSizes {
    /// Room for both.
    pub fn max(self, other: Self) -> Self {
        ScratchSizes {
            padded: self.padded.max(other.padded),
            wide: self.wide.max(other.wide),
            narrow: self.narrow.max(other.narrow),
            hidden: self.hidden.max(other.hidden),
        }
    }
}
