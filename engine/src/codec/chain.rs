//! A chain of convolutions and LSTMs that takes any number of rows at a time and gives, bit for bit, what it
//! would give for all of them at once. [`super::seanet`] builds the encoder and the decoder of kind `seanet`
//! of it.
//!
//! Each layer has a queue of rows that it still has to read; the layer before it writes there. A row of
//! output is made as soon as the last row that it reads is there, so a chain has always put out all that is
//! final (docs/explanation/musicgen-stem.md 3.9), and computes nothing twice. Padding goes in where the
//! signal begins and ends.

use sideman_kernels::{Backend, Lstm, Rows};

use super::conv::{Conv, Queue, Scratch};
use crate::error::Result;

/// One layer of a [`Chain`].
pub enum Layer<B: Backend> {
    /// A convolution, transposed convolution or residual block.
    Conv(Conv<B>),
    /// An LSTM with its skip.
    Lstm(Lstm<B>),
}

/// Weights of a chain.
pub struct Chain<B: Backend> {
    /// In the order of the signal.
    pub layers: Vec<Layer<B>>,
}

/// State of a chain for one signal.
pub struct ChainState<B: Backend> {
    /// One for each layer, and the output.
    queues: Vec<Queue<B>>,
    scratch: Scratch<B>,
    /// Rows that fit into the output.
    room: usize,
    /// What the backend has recorded of [`Chain::run_recorded`], and the key of the next run.
    graphs: B::Graphs,
    key: Vec<usize>,
}

impl<B: Backend> Chain<B> {
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
        let scratch = Scratch { active: backend.buf(active)?, middle: backend.buf(middle)? };
        let key = Vec::with_capacity(1 + 3 * self.layers.len());
        let mut state = ChainState { queues, scratch, room: rows, graphs: B::Graphs::default(), key };
        self.reset(backend, &mut state);
        Ok(state)
    }

    /// Reads `new` rows that the caller has put at [`ChainState::input`], and at the `end` of the signal all
    /// that is left. Gives the number of rows that are now at the start of [`ChainState::output`].
    pub fn run(&self, backend: &mut B, state: &mut ChainState<B>, new: usize, end: bool) -> usize {
        let ChainState { queues, scratch, .. } = state;
        let mut rows = new;
        for (i, layer) in self.layers.iter().enumerate() {
            if rows == 0 && !end {
                return 0;
            }
            let (before, after) = queues.split_at_mut(i + 1);
            let (q, out) = (&mut before[i], &mut after[0]);
            rows = match layer {
                Layer::Conv(c) => c.run(backend, q, (rows, end), scratch, out),
                Layer::Lstm(l) => {
                    let (memory, _) = q.memory.as_mut().expect("an LSTM's queue has its memory");
                    let to = Rows { count: rows, at: out.at.have * l.size, stride: l.size };
                    if rows > 0 {
                        backend.lstm(l, &q.x, Rows::packed(rows, l.size), memory, &mut out.x, to);
                    }
                    rows
                }
            };
        }
        rows
    }

    /// Rows of output of a run of `new` rows, if the run is steady: it leaves every queue in the state in which
    /// it was, so such runs make the same launches each time. `None` if it does not, or if its launches depend
    /// on how much has been fed.
    pub fn steady(&self, state: &ChainState<B>, new: usize) -> Option<usize> {
        let mut rows = new;
        for (layer, q) in self.layers.iter().zip(&state.queues) {
            let Layer::Conv(c) = layer else { continue };
            let mut at = q.at;
            rows = c.plan(&mut at, rows, false).rows;
            at.fed = q.at.fed;
            if rows == 0 || at != q.at || !c.settled(at.fed) {
                return None;
            }
        }
        Some(rows)
    }

    /// Runs `work`, which calls [`Chain::run`] with `new` rows, and returns its number of rows. A backend that
    /// records graphs records and replays a steady run.
    pub fn run_recorded(
        &self,
        backend: &mut B,
        state: &mut ChainState<B>,
        new: usize,
        work: &mut dyn FnMut(&mut B, &mut ChainState<B>) -> usize,
    ) -> usize {
        let Some(rows) = self.steady(state, new) else {
            return work(backend, state);
        };
        // All that the launches depend on.
        let (mut graphs, mut key) = (std::mem::take(&mut state.graphs), std::mem::take(&mut state.key));
        key.clear();
        key.push(new);
        key.extend(state.queues[..self.layers.len()].iter().flat_map(|q| [q.at.have, q.at.next, q.at.uncut]));
        backend.run_recorded(&mut graphs, &key, &mut |backend| _ = work(backend, state));
        (state.graphs, state.key) = (graphs, key);
        rows
    }

    /// Makes the state ready for another signal.
    pub fn reset(&self, backend: &mut B, state: &mut ChainState<B>) {
        for (layer, q) in self.layers.iter().zip(&mut state.queues) {
            q.at = Default::default();
            if let Layer::Conv(c) = layer {
                backend.zero(&mut q.x, 0, c.left * c.input);
                (q.at.have, q.at.uncut) = (c.left, c.cut.0);
            }
            if let Some((memory, len)) = &mut q.memory {
                backend.zero(memory, 0, *len);
            }
        }
    }

    /// Rows put out once `fed` rows have come and the end of the signal has not.
    pub fn known(&self, fed: usize) -> usize {
        self.layers.iter().fold(fed, |rows, layer| match layer {
            Layer::Lstm(_) => rows,
            Layer::Conv(c) => c.known(rows),
        })
    }
}

impl<B: Backend> ChainState<B> {
    /// Where new rows go, and from which index on.
    pub fn input(&mut self, channels: usize) -> (&mut B::Buf, usize) {
        let q = &mut self.queues[0];
        (&mut q.x, q.at.have * channels)
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
