//! A chain of convolutions and LSTMs that runs on any number of rows at a time and gives, bit for bit, what it would give on all
//! of them at once: the streaming half of kind `seanet`.
//!
//! Every layer keeps the rows that it still has to read before the new ones; the layer below writes into that buffer. A row of
//! the output is made as soon as the last row that it reads is there, so what a chain has put out is exactly what is final
//! (docs/explanation/musicgen-stem.md 3.9), and nothing is computed twice. Padding is put in where the signal begins and ends, and only there.

use sideman_kernels::{Backend, Linear, Lstm, Rows};

use crate::error::Result;

/// A convolution as a matrix product over overlapping rows, and what goes with it in an EnCodec (docs/explanation/musicgen-stem.md 3.2–3.4).
///
/// A transposed one of kernel 2·`up` is one, too: the window (x[t−1], x[t]) makes the `up` rows of block t, between one zero row
/// before the start and one past the end, and `cut` rows are dropped at both ends of the result.
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
    /// Padding mirrors the signal; else it is zeros.
    pub reflect: bool,
    /// ELU comes before.
    pub elu: bool,
    /// A residual block's second convolution [output, hidden], of kernel 1: y = x + residual(elu(linear(elu(x)))).
    pub residual: Option<(Linear<B>, usize)>,
}

/// One layer of a [`Chain`].
pub enum Layer<B: Backend> {
    /// A convolution, transposed convolution or residual block.
    Conv(Conv<B>),
    /// An LSTM with its skip.
    Lstm(Lstm<B>),
}

/// Weights of a chain.
pub struct Chain<B: Backend> {
    /// In order.
    pub layers: Vec<Layer<B>>,
}

/// What one layer has still to read.
struct Queue<B: Backend> {
    /// [room, channels]: padding, past rows, new rows.
    x: B::Buf,
    /// Rows in `x`.
    have: usize,
    /// First row of the next window.
    next: usize,
    /// Rows of signal that ever came, or (of replayed runs) as many as make the same difference.
    fed: usize,
    /// Rows of output still to be dropped at the start.
    uncut: usize,
    /// LSTM state [layers, 2, size].
    memory: Option<(B::Buf, usize)>,
}

/// State of a chain: of one signal on its way through.
pub struct ChainState<B: Backend> {
    /// One for each layer, and the output.
    queues: Vec<Queue<B>>,
    /// ELU of a layer's input, or of a residual block's middle.
    active: B::Buf,
    /// A residual block's middle.
    middle: B::Buf,
    /// Rows that fit into the output.
    room: usize,
}

/// Runs of a chain that are the same launches each time, since each leaves all queues where it found them. Of one number of rows.
pub struct Lap<B: Backend> {
    /// Where each queue stands.
    stand: Vec<[usize; 3]>,
    /// Rows that such a run puts out; 0: there was none yet.
    rows: usize,
    graph: B::Graph,
}

impl<B: Backend> Lap<B> {
    /// There was such a run.
    pub fn found(&self) -> bool {
        self.rows > 0
    }
}

impl<B: Backend> Chain<B> {
    /// A lap not run yet.
    pub fn lap(&self) -> Lap<B> {
        Lap { stand: vec![[0; 3]; self.layers.len()], rows: 0, graph: B::Graph::default() }
    }

    /// Does `work`, which is a [`Chain::run`] of equally many rows each time it is done with this `lap`, and what goes with it; gives its
    /// rows. A player that records work replays it once it is the same launches again, which in a signal fed by whole frames it soon is.
    pub fn replay(
        &self,
        backend: &mut B,
        state: &mut ChainState<B>,
        lap: &mut Lap<B>,
        work: &mut dyn FnMut(&mut B, &mut ChainState<B>) -> usize,
    ) -> usize {
        if !B::RECORDS || !self.settled(state) {
            return work(backend, state);
        }
        let stands = |lap: &Lap<B>, state: &ChainState<B>| state.stand().eq(lap.stand.iter().copied());
        if lap.rows > 0 {
            if !stands(lap, state) {
                return work(backend, state);
            }
            backend.replay(&mut lap.graph, &mut |backend| _ = work(backend, state));
            return lap.rows;
        }
        lap.stand.iter_mut().zip(state.stand()).for_each(|(to, now)| *to = now);
        let rows = work(backend, state);
        if stands(lap, state) {
            lap.rows = rows;
        }
        rows
    }

    /// Whether every layer has read more than its mirrors reach: how much more, its launches don't depend on (nor does what comes at the
    /// end, but for the rest of the last stride), so that a replayed run need not count its rows.
    fn settled(&self, state: &ChainState<B>) -> bool {
        self.layers.iter().zip(&state.queues).all(|(layer, q)| match layer {
            Layer::Conv(c) => q.fed > c.left.max(c.right + c.stride),
            Layer::Lstm(_) => true,
        })
    }

    /// State for at most `rows` new rows at a time.
    pub fn state(&self, backend: &mut B, rows: usize) -> Result<ChainState<B>> {
        let (mut queues, mut rows, mut active, mut middle, mut output) = (Vec::new(), rows, 0, 0, 0);
        for layer in &self.layers {
            match layer {
                Layer::Conv(c) => {
                    let room = c.room(rows);
                    queues.push(Queue::new(backend, room * c.input, None)?);
                    rows = c.most(rows);
                    let hidden = c.residual.as_ref().map_or(0, |(_, hidden)| rows * hidden);
                    active = active.max(if c.elu { room * c.input } else { 0 }).max(hidden);
                    middle = middle.max(hidden);
                    output = c.output;
                }
                Layer::Lstm(l) => {
                    let len = l.hidden.len() * 2 * l.size;
                    let memory = Some((backend.buf(len)?, len));
                    queues.push(Queue::new(backend, rows * l.size, memory)?);
                    output = l.size;
                }
            }
        }
        queues.push(Queue::new(backend, rows * output, None)?);
        let mut state = ChainState { queues, active: backend.buf(active)?, middle: backend.buf(middle)?, room: rows };
        self.reset(backend, &mut state);
        Ok(state)
    }

    /// Takes `new` rows that the caller has put at [`ChainState::input`], and where the signal is at its `end` all that is left.
    /// Gives the number of rows that are now at the start of [`ChainState::output`].
    pub fn run(&self, backend: &mut B, state: &mut ChainState<B>, new: usize, end: bool) -> usize {
        let ChainState { queues, active, middle, .. } = state;
        let mut rows = new;
        for (i, layer) in self.layers.iter().enumerate() {
            if rows == 0 && !end {
                return 0;
            }
            let (before, after) = queues.split_at_mut(i + 1);
            let (q, out) = (&mut before[i], &mut after[0]);
            rows = match layer {
                Layer::Conv(c) => c.run(backend, q, rows, end, active, middle, out),
                Layer::Lstm(l) => {
                    let (memory, _) = q.memory.as_mut().expect("an LSTM's queue has its memory");
                    let to = Rows { count: rows, at: out.have * l.size, stride: l.size };
                    if rows > 0 {
                        backend.lstm(l, &q.x, Rows::packed(rows, l.size), memory, &mut out.x, to);
                    }
                    rows
                }
            };
        }
        rows
    }

    /// Makes the state ready for another signal.
    pub fn reset(&self, backend: &mut B, state: &mut ChainState<B>) {
        for (layer, q) in self.layers.iter().zip(&mut state.queues) {
            (q.have, q.next, q.fed, q.uncut) = match layer {
                Layer::Conv(c) => {
                    backend.zero(&mut q.x, 0, c.left * c.input);
                    (c.left, 0, 0, c.cut.0)
                }
                Layer::Lstm(_) => (0, 0, 0, 0),
            };
            if let Some((memory, len)) = &mut q.memory {
                backend.zero(memory, 0, *len);
            }
        }
    }

    /// Rows put out once `fed` rows have come and the end has not: arithmetic alone.
    pub fn known(&self, fed: usize) -> usize {
        self.layers.iter().fold(fed, |rows, layer| match layer {
            Layer::Lstm(_) => rows,
            Layer::Conv(c) if c.reflect && rows <= c.left => 0,
            Layer::Conv(c) => match (rows + c.left).checked_sub(c.kernel) {
                Some(past) => ((past / c.stride + 1) * c.up).saturating_sub(c.cut.0),
                None => 0,
            },
        })
    }
}

impl<B: Backend> ChainState<B> {
    /// Where each layer's queue stands: all that the launches of a run depend on, besides its rows, once it is settled.
    fn stand(&self) -> impl Iterator<Item = [usize; 3]> {
        self.queues[..self.queues.len() - 1].iter().map(|q| [q.have, q.next, q.uncut])
    }

    /// Where new rows go, and from which index on.
    pub fn input(&mut self, channels: usize) -> (&mut B::Buf, usize) {
        let q = &mut self.queues[0];
        (&mut q.x, q.have * channels)
    }

    /// Rows of the last [`Chain::run`], packed.
    pub fn output(&mut self) -> &mut B::Buf {
        &mut self.queues.last_mut().expect("a chain has an output").x
    }

    /// The most rows that a run can put out.
    pub fn room(&self) -> usize {
        self.room
    }
}

impl<B: Backend> Queue<B> {
    fn new(backend: &mut B, len: usize, memory: Option<(B::Buf, usize)>) -> Result<Self> {
        Ok(Queue { x: backend.buf(len)?, have: 0, next: 0, fed: 0, uncut: 0, memory })
    }
}

impl<B: Backend> Conv<B> {
    /// Rows behind the newest that the mirror at the end may read, itself included.
    fn keep(&self) -> usize {
        if self.reflect { self.right + self.stride } else { 0 }
    }

    /// Rows that the queue must hold for `new` at a time.
    fn room(&self, new: usize) -> usize {
        // Before: what no window has passed yet (where mirroring waits for the start, twice the padding), or what the mirror needs.
        let before = (self.kernel - 1).max(2 * self.left).max(self.keep());
        before + new + self.right + self.stride
    }

    /// The most rows that `new` rows (and the end) can make, those to be cut included.
    fn most(&self, new: usize) -> usize {
        ((new + self.left + self.right + self.stride) / self.stride + 1) * self.up
    }

    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        backend: &mut B,
        q: &mut Queue<B>,
        new: usize,
        end: bool,
        active: &mut B::Buf,
        middle: &mut B::Buf,
        out: &mut Queue<B>,
    ) -> usize {
        if self.reflect && new > 0 && q.fed <= self.left && q.fed + new > self.left {
            // Enough to mirror at the start.
            for i in 1..=self.left {
                backend.shift(&mut q.x, (self.left + i) * self.input, (self.left - i) * self.input, self.input);
            }
        }
        q.have += new;
        q.fed += new;
        if q.fed == 0 || (self.reflect && q.fed <= self.left && !end) {
            return 0;
        }
        if end {
            self.close(backend, q);
        }
        let Some(past) = q.have.checked_sub(q.next + self.kernel) else {
            return 0;
        };
        let count = past / self.stride + 1;
        let windows = Rows { count, at: q.next * self.input, stride: self.stride * self.input };
        let rows = Rows { count, at: out.have * self.output, stride: self.up * self.output };
        if self.elu {
            backend.elu(&q.x, active, q.have * self.input);
        }
        let x = if self.elu { &*active } else { &q.x };
        if let Some((residual, hidden)) = &self.residual {
            backend.linear(&self.linear, x, windows, middle, Rows::packed(count, *hidden));
            backend.elu(middle, active, count * hidden);
            let skip = Rows { count, at: (q.next + self.left) * self.input, stride: self.input };
            backend.copy(&q.x, skip, &mut out.x, rows, self.input);
            backend.linear(residual, active, Rows::packed(count, *hidden), &mut out.x, rows);
        } else {
            backend.linear(&self.linear, x, windows, &mut out.x, rows);
        }
        q.next += count * self.stride;
        let drop = q.next.min(q.have.saturating_sub(self.keep()));
        if drop > 0 {
            backend.shift(&mut q.x, drop * self.input, 0, (q.have - drop) * self.input);
            (q.have, q.next) = (q.have - drop, q.next - drop);
        }
        self.trim(backend, q, count * self.up, end, out)
    }

    /// Drops what a transposed convolution makes too much.
    fn trim(&self, backend: &mut B, q: &mut Queue<B>, rows: usize, end: bool, out: &mut Queue<B>) -> usize {
        let cut = q.uncut.min(rows);
        q.uncut -= cut;
        let rows = rows - cut;
        if cut > 0 {
            let at = out.have * self.output;
            backend.shift(&mut out.x, at + cut * self.output, at, rows * self.output);
        }
        if end { rows.saturating_sub(self.cut.1) } else { rows }
    }

    /// Puts the padding past the end (and before the start, where the signal was too short for that until now), as PyTorch does:
    /// a signal too short to be mirrored counts as followed by zeros (docs/explanation/musicgen-stem.md 3.2).
    fn close(&self, backend: &mut B, q: &mut Queue<B>) {
        let right = self.right + (q.fed.next_multiple_of(self.stride) - q.fed);
        if !self.reflect {
            backend.zero(&mut q.x, q.have * self.input, right * self.input);
            q.have += right;
            return;
        }
        let long = self.left.max(right);
        let len = q.fed.max(long + 1);
        let mut put = |at: usize, p: usize| {
            if p >= q.fed {
                backend.zero(&mut q.x, at * self.input, self.input);
            } else {
                // Row p of the signal, counted from its end: the queue has forgotten its start.
                backend.shift(&mut q.x, (q.have - (q.fed - p)) * self.input, at * self.input, self.input);
            }
        };
        if q.fed <= self.left {
            for i in 1..=self.left {
                put(self.left - i, i);
            }
        }
        for p in q.fed..q.fed + right {
            put(q.have + (p - q.fed), if p < len { p } else { 2 * (len - 1) - p });
        }
        q.have += right;
    }
}
