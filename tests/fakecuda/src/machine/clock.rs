//! The happens-before order of one block: which warps have synchronised with which.
//!
//! A block has one time, which ticks at every synchronisation. An access notes the time. It happened before what
//! warp `w` does now if `w` has since synchronised with the accessing warp (directly or through others).

/// The clocks of a block.
#[derive(Default)]
pub struct Clocks {
    /// The current time.
    pub now: u32,
    /// For each warp: when its lanes last synchronised with each other.
    warp_sync: Vec<u32>,
    /// For each warp: up to when it has synchronised with each other warp.
    seen: Vec<[u32; 32]>,
    /// For each warp: its last fence of grid scope. Its next strong write publishes what it did before that.
    fenced: Vec<u32>,
    /// The same for fences of any scope, published within the block.
    fenced_block: Vec<u32>,
    /// For each other block: up to when this block has synchronised with it. Empty until the first acquire.
    pub blocks: Vec<u32>,
}

/// The clocks of a warp as it reaches a barrier.
#[derive(Clone, Copy)]
pub struct Arrival {
    warp: usize,
    time: u32,
    seen: [u32; 32],
    fenced: u32,
}

impl Clocks {
    /// A new block of `warps`.
    pub fn reset(&mut self, warps: usize) {
        self.now = 1;
        self.warp_sync.clear();
        self.warp_sync.resize(warps, 0);
        self.seen.clear();
        self.seen.resize(warps, [0; 32]);
        self.fenced.clear();
        self.fenced.resize(warps, 0);
        self.fenced_block.clear();
        self.fenced_block.resize(warps, 0);
        self.blocks.clear();
    }

    /// Whether what `other` did at `time` happened before what `warp` does now.
    pub fn before(&self, warp: usize, other: usize, time: u32) -> bool {
        if warp == other { time < self.warp_sync[warp] } else { time < self.seen[warp][other] }
    }

    /// The lanes of a warp synchronise.
    pub fn sync_warp(&mut self, warp: usize) {
        self.now += 1;
        self.warp_sync[warp] = self.now;
    }

    /// A warp reaches a barrier.
    pub fn arrive(&mut self, warp: usize) -> Arrival {
        self.now += 1;
        Arrival { warp, time: self.now, seen: self.seen[warp], fenced: self.fenced[warp] }
    }

    /// A barrier opens: each of `waiting` is now synchronised with whatever any of the arrivals was, and a strong write of any of
    /// them publishes what each has fenced for the grid.
    pub fn open(&mut self, arrivals: &[Arrival], waiting: &[usize]) {
        let mut all = [0u32; 32];
        let fenced = arrivals.iter().map(|a| a.fenced).max().unwrap_or(0);
        for a in arrivals {
            for (to, from) in all.iter_mut().zip(a.seen) {
                *to = (*to).max(from);
            }
            all[a.warp] = all[a.warp].max(a.time);
        }
        self.now += 1;
        for &w in waiting {
            for (to, from) in self.seen[w].iter_mut().zip(all) {
                *to = (*to).max(from);
            }
            self.warp_sync[w] = self.now;
            self.fenced[w] = self.fenced[w].max(fenced);
            self.fenced_block[w] = self.fenced_block[w].max(fenced);
        }
    }

    /// A warp fences, for the grid or only for its block.
    pub fn fence(&mut self, warp: usize, grid: bool) {
        self.now += 1;
        self.fenced_block[warp] = self.now;
        if grid {
            self.fenced[warp] = self.now;
        }
    }

    /// What a strong write by this warp publishes: to other blocks the time of its last fence (0 is nothing), to its own
    /// block its clocks. A releasing write fences first. None if it never fenced.
    pub fn release(&mut self, warp: usize, releases: bool) -> Option<(u32, [u32; 32])> {
        if releases {
            self.fence(warp, true);
        }
        let time = self.fenced_block[warp];
        (time > 0).then(|| {
            let mut seen = self.seen[warp];
            seen[warp] = seen[warp].max(time);
            (self.fenced[warp], seen)
        })
    }

    /// A warp acquires what another warp of its block published.
    pub fn learn(&mut self, warp: usize, seen: &[u32; 32]) {
        for (to, from) in self.seen[warp].iter_mut().zip(seen) {
            *to = (*to).max(*from);
        }
    }

    /// The block acquires what other blocks published.
    pub fn learn_blocks(&mut self, times: &[u32]) {
        if self.blocks.len() < times.len() {
            self.blocks.resize(times.len(), 0);
        }
        for (to, from) in self.blocks.iter_mut().zip(times) {
            *to = (*to).max(*from);
        }
    }
}
