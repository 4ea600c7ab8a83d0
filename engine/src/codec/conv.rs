//! One streaming convolution of an EnCodec: its weights, and the rows that it still has to read.
//!
//! What a run reads, writes and drops is worked out first by arithmetic ([`Conv::plan`]), then launched
//! ([`Conv::run`]).

use sideman_kernels::{Backend, Linear, Rows};

use crate::error::Result;

/// A convolution as a matrix product over overlapping rows, with the ELU and the residual that EnCodec puts
/// around it (docs/explanation/musicgen-stem.md 3.2–3.4).
///
/// A transposed convolution of kernel 2·`up` is one too: the window (x[t−1], x[t]) makes the `up` rows of
/// block t, with one zero row before the start and one past the end, and `cut` rows are dropped at both ends
/// of the result.
pub struct Conv<B: Backend> {
    /// [up · output, kernel · input]; of a residual block [hidden, kernel · input].
    pub linear: Linear<B>,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
    /// Rows of a window.
    pub kernel: usize,
    /// Rows from one window to the next.
    pub stride: usize,
    /// Rows of padding before the start.
    pub left: usize,
    /// Rows of padding past the end, besides those that fill up the last stride.
    pub right: usize,
    /// Rows out for one window.
    pub up: usize,
    /// Rows dropped at the start and at the end of the output.
    pub cut: (usize, usize),
    /// Padding mirrors the signal; otherwise it is zeros.
    pub reflect: bool,
    /// Applies ELU to the input first.
    pub elu: bool,
    /// A residual block's second convolution [output, hidden], of kernel 1: y = x +
    /// residual(elu(linear(elu(x)))).
    pub residual: Option<(Linear<B>, usize)>,
}

/// How far a layer has read its queue, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Rows in the queue.
    pub have: usize,
    /// First row of the next window.
    pub next: usize,
    /// Rows of signal that have come. Replayed runs do not count theirs, which are whole strides.
    pub fed: usize,
    /// Rows of output still to be dropped at the start.
    pub uncut: usize,
}

/// The rows that one layer still has to read.
pub struct Queue<B: Backend> {
    /// [room, channels]: padding, past rows, new rows.
    pub x: B::Buf,
    /// What of them has been read.
    pub at: Position,
    /// Carried state of an LSTM [layers, 2, size], and its length.
    pub memory: Option<(B::Buf, usize)>,
}

impl<B: Backend> Queue<B> {
    /// A queue with room for `len` values.
    pub fn new(backend: &mut B, len: usize, memory: Option<(B::Buf, usize)>) -> Result<Self> {
        Ok(Queue { x: backend.buf(len)?, at: Position::default(), memory })
    }
}

/// Buffers that all layers of a chain share.
pub struct Scratch<B: Backend> {
    /// ELU of a layer's input, or of a residual block's middle.
    pub active: B::Buf,
    /// A residual block's middle.
    pub middle: B::Buf,
}

/// What one run of a convolution does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    /// Mirrors the first rows into the padding before the start.
    mirror: bool,
    /// Where the padding past the end goes, at the end of the signal.
    pad: Option<Position>,
    /// Position before the first window.
    start: Position,
    /// Windows.
    windows: usize,
    /// Rows dropped from the queue's start afterwards.
    read: usize,
    /// Rows dropped from the start of the output.
    cut: usize,
    /// Rows of output, those dropped at the end not counted.
    pub rows: usize,
}

impl<B: Backend> Conv<B> {
    /// Rows behind the newest one that the mirror at the end may read, the newest included.
    fn keep(&self) -> usize {
        if self.reflect { self.right + self.stride } else { 0 }
    }

    /// Rows that the queue must hold for `new` rows at a time.
    pub fn room(&self, new: usize) -> usize {
        // Old rows: those of no window yet (twice the padding where mirroring waits for the start), or those
        // of the mirror.
        let old = (self.kernel - 1).max(2 * self.left).max(self.keep());
        old + new + self.right + self.stride
    }

    /// The most rows that `new` rows (and the end of the signal) can make, those to be dropped included.
    pub fn most(&self, new: usize) -> usize {
        ((new + self.left + self.right + self.stride) / self.stride + 1) * self.up
    }

    /// Rows put out once `fed` rows have come and the end of the signal has not.
    pub fn known(&self, fed: usize) -> usize {
        if self.reflect && fed <= self.left {
            return 0;
        }
        match (fed + self.left).checked_sub(self.kernel) {
            Some(past) => ((past / self.stride + 1) * self.up).saturating_sub(self.cut.0),
            None => 0,
        }
    }

    /// Whether more rows have been fed than mirroring reads. From then on the launches of a run don't depend on
    /// `fed`; those at the end of the signal depend only on the remainder of the last stride.
    pub fn settled(&self, fed: usize) -> bool {
        fed > self.left.max(self.right + self.stride)
    }

    /// Rows of padding past the end of a signal of `fed` rows.
    fn padding(&self, fed: usize) -> usize {
        self.right + (fed.next_multiple_of(self.stride) - fed)
    }

    /// Works out a run with `new` rows, and at the `end` of the signal with its padding; moves `at` on.
    pub fn plan(&self, at: &mut Position, new: usize, end: bool) -> Plan {
        let mirror = self.reflect && new > 0 && at.fed <= self.left && at.fed + new > self.left;
        let mut plan = Plan { mirror, ..Plan::default() };
        at.have += new;
        at.fed += new;
        if at.fed == 0 || (self.reflect && at.fed <= self.left && !end) {
            return plan;
        }
        if end {
            plan.pad = Some(*at);
            at.have += self.padding(at.fed);
        }
        let Some(past) = at.have.checked_sub(at.next + self.kernel) else {
            return plan;
        };
        plan.start = *at;
        plan.windows = past / self.stride + 1;
        at.next += plan.windows * self.stride;
        plan.read = at.next.min(at.have.saturating_sub(self.keep()));
        (at.have, at.next) = (at.have - plan.read, at.next - plan.read);
        plan.cut = at.uncut.min(plan.windows * self.up);
        at.uncut -= plan.cut;
        let rows = plan.windows * self.up - plan.cut;
        plan.rows = if end { rows.saturating_sub(self.cut.1) } else { rows };
        plan
    }

    /// Reads `new` rows that are in the queue and puts rows into `out`, behind those that it holds; gives
    /// their number.
    pub fn run(
        &self,
        backend: &mut B,
        q: &mut Queue<B>,
        (new, end): (usize, bool),
        scratch: &mut Scratch<B>,
        out: &mut Queue<B>,
    ) -> usize {
        let plan = self.plan(&mut q.at, new, end);
        if plan.mirror {
            for i in 1..=self.left {
                backend.shift(&mut q.x, (self.left + i) * self.input, (self.left - i) * self.input, self.input);
            }
        }
        if let Some(at) = plan.pad {
            self.pad(backend, &mut q.x, at);
        }
        if plan.windows == 0 {
            return 0;
        }
        let (count, start, Scratch { active, middle }) = (plan.windows, plan.start, scratch);
        let windows = Rows { count, at: start.next * self.input, stride: self.stride * self.input };
        let out_at = out.at.have * self.output;
        let rows = Rows { count, at: out_at, stride: self.up * self.output };
        if self.elu {
            backend.elu(&q.x, active, start.have * self.input);
        }
        let x = if self.elu { &*active } else { &q.x };
        if let Some((residual, hidden)) = &self.residual {
            backend.linear(&self.linear, x, windows, middle, Rows::packed(count, *hidden));
            backend.elu(middle, active, count * hidden);
            let skip = Rows { count, at: (start.next + self.left) * self.input, stride: self.input };
            backend.copy(&q.x, skip, &mut out.x, rows, self.input);
            backend.linear(residual, active, Rows::packed(count, *hidden), &mut out.x, rows);
        } else {
            backend.linear(&self.linear, x, windows, &mut out.x, rows);
        }
        if plan.read > 0 {
            backend.shift(&mut q.x, plan.read * self.input, 0, (start.have - plan.read) * self.input);
        }
        if plan.cut > 0 {
            let kept = count * self.up - plan.cut;
            backend.shift(&mut out.x, out_at + plan.cut * self.output, out_at, kept * self.output);
        }
        plan.rows
    }

    /// Writes the padding past the end (and before the start, where the signal was too short for that until
    /// now), as PyTorch does: a signal too short to be mirrored counts as followed by zeros
    /// (docs/explanation/musicgen-stem.md 3.2).
    fn pad(&self, backend: &mut B, x: &mut B::Buf, Position { have, fed, .. }: Position) {
        let right = self.padding(fed);
        if !self.reflect {
            backend.zero(x, have * self.input, right * self.input);
            return;
        }
        let len = fed.max(self.left.max(right) + 1);
        let mut put = |to: usize, row: usize| {
            if row >= fed {
                backend.zero(x, to * self.input, self.input);
            } else {
                // Counted from the end of the signal: the queue no longer holds its start.
                backend.shift(x, (have - (fed - row)) * self.input, to * self.input, self.input);
            }
        };
        if fed <= self.left {
            for i in 1..=self.left {
                put(self.left - i, i);
            }
        }
        for row in fed..fed + right {
            put(have + (row - fed), if row < len { row } else { 2 * (len - 1) - row });
        }
    }
}
