//! A stack of ConvNeXt blocks that runs on new rows only: each block's input is kept for as long as its
//! convolution reads it.

use sideman_kernels::{Backend, Rows};

use super::Block;
use crate::error::Result;
use crate::model::IstftConfig;

/// State of a stack of blocks.
pub(super) struct Stack<B: Backend> {
    /// Input of each block, after its history: [kernel − 1 + rows, dim]; then the output [rows, dim].
    x: Vec<B::Buf>,
    /// Values of history: (kernel − 1) · dim.
    history: usize,
}

/// Buffers that all blocks share.
pub(super) struct Scratch<B: Backend> {
    /// [rows, dim].
    mixed: B::Buf,
    /// [rows, ffn].
    wide: B::Buf,
}

impl<B: Backend> Scratch<B> {
    pub(super) fn new(backend: &mut B, c: &IstftConfig, rows: usize) -> Result<Self> {
        Ok(Scratch { mixed: backend.buf(rows * c.dim)?, wide: backend.buf(rows * c.ffn)? })
    }
}

impl<B: Backend> Stack<B> {
    pub(super) fn new(backend: &mut B, c: &IstftConfig, blocks: usize, rows: usize) -> Result<Self> {
        let history = (c.kernel - 1) * c.dim;
        let mut x = (0..blocks).map(|_| backend.buf(history + rows * c.dim)).collect::<Result<Vec<_>, _>>()?;
        x.push(backend.buf(rows * c.dim)?);
        Ok(Stack { x, history })
    }

    /// Where new rows go, and from which index on.
    pub(super) fn input(&mut self) -> (&mut B::Buf, usize) {
        let at = if self.x.len() > 1 { self.history } else { 0 };
        (&mut self.x[0], at)
    }

    /// Runs `n` new rows through the blocks; they are at the start of the last buffer after.
    pub(super) fn run(&mut self, backend: &mut B, c: &IstftConfig, blocks: &[Block<B>], s: &mut Scratch<B>, n: usize) -> &B::Buf {
        for (i, b) in blocks.iter().enumerate() {
            let at = if i + 1 < blocks.len() { self.history } else { 0 };
            let (before, after) = self.x.split_at_mut(i + 1);
            let (x, y) = (&mut before[i], &mut after[0]);
            let to = Rows { count: n, at, stride: c.dim };
            backend.depthwise(&b.depthwise, x, 0, n, &mut s.mixed);
            backend.linear(&b.wide, &s.mixed, Rows::packed(n, c.dim), &mut s.wide, Rows::packed(n, c.ffn));
            backend.copy(x, Rows { count: n, at: self.history, stride: c.dim }, y, to, c.dim);
            backend.linear(&b.narrow, &s.wide, Rows::packed(n, c.ffn), y, to);
            backend.shift(x, n * c.dim, 0, self.history);
        }
        &self.x[blocks.len()]
    }

    pub(super) fn reset(&mut self, backend: &mut B) {
        let (history, blocks) = (self.history, self.x.len() - 1);
        self.x[..blocks].iter_mut().for_each(|x| backend.zero(x, 0, history));
    }
}
