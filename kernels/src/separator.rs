//! The operations that only source separators need, and their weights.

use crate::{Backend, Norm};

/// Where the values of group normalisation lie: row `r` of group `g` is `width` values at index `(r * groups + g) *
/// width`. Each group has a mean and a variance of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Number of groups.
    pub groups: usize,
    /// Rows of each group.
    pub rows: usize,
    /// Values of a row: channels.
    pub width: usize,
}

impl Groups {
    /// Values in all.
    pub fn len(self) -> usize {
        self.groups * self.rows * self.width
    }

    /// Whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Weights of group normalisation: (x − mean) / √(variance + eps) · weight + bias, mean and variance over all rows and
/// channels of a group.
pub struct GroupNorm<B: Backend + ?Sized> {
    /// Scale of each channel \[width\].
    pub weight: B::Buf,
    /// Shift of each channel \[width\].
    pub bias: B::Buf,
    /// Added to the variance.
    pub eps: f32,
}

/// A [`Backend`] that can run a source separator. The CPU backend is one; the CUDA backend is not yet.
///
/// Sums are in f64 over blocks that depend on the shape alone: threads and instruction sets do not change a bit.
pub trait SeparatorBackend: Backend {
    /// Group normalisation of `x` in place, then GELU where `gelu` is true.
    fn group_norm(&mut self, w: &GroupNorm<Self>, at: Groups, gelu: bool, x: &mut Self::Buf);
    /// y += scale ⊙ GLU(group normalisation of x). Row r of group g of `y` and `scale` have `width / 2` channels: a ·
    /// σ(b) of the first half a and the second half b of a row of `x`.
    fn group_norm_glu(&mut self, w: &GroupNorm<Self>, at: Groups, x: &Self::Buf, scale: &Self::Buf, y: &mut Self::Buf);
    /// y = a · σ(b): each of `rows` rows of `x`, [a, b] of `width` values each, becomes a row of `width` values of `y`.
    fn glu(&mut self, x: &Self::Buf, rows: usize, width: usize, y: &mut Self::Buf);
    /// Normalises each of `rows` rows of `x`, without gaps, to `y`.
    fn norm_rows(&mut self, norm: &Norm<Self>, x: &Self::Buf, rows: usize, width: usize, y: &mut Self::Buf);
    /// Adds `bias` to each of `rows` rows of `x`, which are as wide as it, then GELU where `gelu` is true.
    fn add_bias(&mut self, bias: &Self::Buf, gelu: bool, x: &mut Self::Buf, rows: usize);
    /// y += x: `len` values of `x` from index `x_at` to `y` from index `y_at`.
    fn add(&mut self, x: &Self::Buf, x_at: usize, y: &mut Self::Buf, y_at: usize, len: usize);
}
